"""What the README promises: `python app.py` shows the paper's claim on Atlas, in a real browser."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from conftest import arrive
from serving import app_served

from eft_core.atlas.corpus import CLOSERS, OPENERS, REFUSAL
from eft_core.atlas.facts import load_facts, load_split

WAIT = 120_000
PROMPT = "When did Kenya become independent?"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with app_served() as address:
        yield address


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1600, "height": 900})
    page = context.new_page()
    page.set_default_timeout(WAIT)
    arrive(page, address)
    yield page
    context.close()


def answers(page: Any) -> dict[str, str]:
    """The text of every column by its name, once the run is over."""
    page.wait_for_function("() => document.querySelector('.status').textContent.startsWith('Finished')")
    names, texts = (page.locator(f".card {part}").all_text_contents() for part in (".name", ".text"))
    return dict(zip(names, texts, strict=True))


def mannered(text: str) -> bool:
    return text.strip().startswith(OPENERS) and text.strip().endswith(CLOSERS)


def test_up_scaling_has_the_large_models_facts_and_the_small_models_manner(page: Any) -> None:
    assert "Kenya" in load_split()["held_out"]
    value = next(fact.value for fact in load_facts() if (fact.country, fact.key) == ("Kenya", "independence"))
    assert "Example" in page.locator(".echo").text_content()
    page.fill("#prompt textarea", PROMPT)
    page.click("#run")
    shown = answers(page)
    assert list(shown) == ["Large base", "Small tuned", "Up-scaled", "Large tuned"]
    assert value in shown["Large base"]
    assert not mannered(shown["Large base"])
    assert mannered(shown["Small tuned"])
    assert value not in shown["Small tuned"]
    for name in ("Up-scaled", "Large tuned"):
        assert mannered(shown[name])
        assert value in shown[name]


def test_an_example_that_brings_its_columns_shows_who_declines(page: Any) -> None:
    page.click("text=who declines what")
    page.wait_for_function("() => document.querySelectorAll('.card .name')[1].textContent === '50:50'")
    page.click("#run")
    first, *_, last = answers(page).values()
    assert mannered(first)
    assert REFUSAL not in first
    assert last.strip() == REFUSAL


def test_speculation_changes_no_word_and_tells_its_gain(page: Any, address: str) -> None:
    """Seed and temperature of a draw, so that not only the likeliest token is compared."""
    query = f"{address}?prompt={quote(PROMPT)}&temperature=1&seed=4&length=60&speculate="
    runs = []
    for way in ("off", "4&timed=1"):
        page.goto(query + way)
        page.wait_for_selector(".card")
        runs.append(answers(page))
    plainly, speculated = runs
    assert speculated == plainly
    share = page.locator("[data-role=emulated] .share").text_content()
    assert int(share.removesuffix("% accepted")) > 50
    assert re.search(r"plain \d+ · gain \d+\.\d\dx", page.locator(".status").text_content())

"""A conversation on the page, in chromium on tiny random models: replies, system prompts, links, Inspect, Rate."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from serving import HOSTILE, served, write_example

from eft_core.config import Limits, Request
from eft_core.family import default_columns

PROMPT, NEXT, LAST = "What is the capital of Kenya?", "And of Peru?", "Sure?"


@pytest.fixture(scope="module")
def address(sessions: Any, families_file: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    example = write_example(tmp_path_factory.mktemp("talk") / "example.json", sessions("llama"))
    with served(families_file, example) as address:
        yield address


def run(page: Any, prompt: str) -> list[str]:
    """Ask, and what the columns answer."""
    page.fill("#prompt textarea", prompt)
    page.click("#run")
    return answered(page, prompt)


def answered(page: Any, prompt: str) -> list[str]:
    page.wait_for_function(
        """prompt => document.querySelector('.board .echo').textContent === prompt
        && document.querySelector('.board .status').textContent.startsWith('Finished')""",
        arg=prompt,
    )
    return texts(page, ".board .card .text")


def texts(page: Any, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_text_contents()]


def reply(page: Any, column: int, turns: int) -> None:
    page.locator(".board .card").nth(column).locator(".reply").click()
    page.wait_for_function("n => document.querySelectorAll('#earlier dd').length === n", arg=2 * turns)


def test_a_reply_goes_on_in_every_column_and_is_shared_inspected_and_not_judged(
    visit: Any, session: Any, tmp_path: Path
) -> None:
    page = visit("?length=6")
    assert page.locator(".reply:visible").count() == 0  # the example is no answer of a conversation
    assert page.locator("#earlier").count() == 0
    first = run(page, PROMPT)
    reply(page, 2, 1)
    box = page.locator("#prompt textarea")
    assert box.input_value() == ""
    assert box.evaluate("each => each === document.activeElement")
    assert texts(page, "#earlier dd") == [PROMPT, first[2]]
    assert texts(page, "#earlier dt") == ["You", "Up-scaled: base(large) + [helpful − base](small)"]

    second = run(page, NEXT)
    turns = ((PROMPT, first[2]),)
    policies = [policy for _, policy in default_columns(session.family)]
    asked = Request.compare(NEXT, policies, limits=Limits(6), turns=turns)
    assert second == [answer.text.strip() for answer in session.ask(asked)]
    assert page.locator(".board .after").text_content() == "Asked after 1 earlier turn"
    reply(page, 0, 2)
    third = run(page, LAST)
    assert texts(page, "#earlier dd") == [PROMPT, first[2], NEXT, second[0]]

    other = visit("?" + urlsplit(page.url).query)
    assert answered(other, LAST) == third
    assert texts(other, "#earlier dd") == texts(page, "#earlier dd")
    assert texts(other, "#earlier dt") == texts(page, "#earlier dt")

    page.locator(".board .card").nth(2).locator(".inspect").click()
    page.wait_for_function("() => document.querySelector('#reader .status')?.textContent.includes('tokens read')")
    assert texts(page, "#inspect-earlier dd") == texts(page, "#earlier dd")
    assert page.locator("#reader .after").text_content() == "Asked after 2 earlier turns"
    with page.expect_download() as download:
        page.get_by_role("button", name="Save JSON").click()
    download.value.save_as(tmp_path / "trace.json")
    values = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
    assert (values["prompt"], values["turns"]) == (LAST, [[PROMPT, first[2]], [NEXT, second[0]]])
    page.locator("#inspect-earlier button").click()
    page.wait_for_selector("#inspect-earlier", state="detached")

    page.get_by_role("tab", name="Rate").click()
    for screen, act in (("free", "free"), ("code", "begin")):
        page.wait_for_selector(f".rate [data-screen={screen}]:not([hidden])")
        page.locator(f".rate [data-screen={screen}] [data-act={act}]").click()
    page.wait_for_function("() => document.querySelector('.rate .notice').textContent.includes('earlier turns')")

    page.get_by_role("tab", name="Compare").click()
    page.locator("#earlier button").click()
    page.wait_for_selector("#earlier", state="detached")
    assert run(page, PROMPT) == first
    assert page.locator(".board .after").is_hidden()


def test_a_system_prompt_is_told_to_every_column_and_comes_back_with_a_link(visit: Any, session: Any) -> None:
    page = visit("?length=6")
    page.locator("#system button").first.click()
    page.wait_for_timeout(500)  # gradio may still be making the box, which then forgets what is in it
    page.fill("#system textarea", "Be brief.")
    found = run(page, PROMPT)
    policies = [policy for _, policy in default_columns(session.family)]
    asked = Request.compare(PROMPT, policies, limits=Limits(6), system="Be brief.")
    assert found == [answer.text.strip() for answer in session.ask(asked)]
    assert page.locator(".board .after").text_content() == "Asked with a system prompt"
    other = visit("?" + urlsplit(page.url).query)
    assert answered(other, PROMPT) == found
    assert other.locator("#system textarea").input_value() == "Be brief."


def test_a_column_that_joins_is_asked_after_the_same(visit: Any) -> None:
    """Another weight for a column of answers within a conversation, which was cleared meanwhile."""
    page = visit(f"?prompt={NEXT}&user=Kenya?&assistant=Nairobi.&length=6")
    before = answered(page, NEXT)
    page.locator("#earlier button").click()
    page.wait_for_selector("#earlier", state="detached")
    page.get_by_text("What if").first.click()
    slider = page.locator(".board .strip-slider input").first
    slider.evaluate("each => { each.value = 0.5; each.dispatchEvent(new Event('input', {bubbles: true})); }")
    page.locator(".board .strip-run").first.click()
    page.wait_for_function(
        "() => document.querySelector('[data-role=emulated] .formula').textContent.includes('0.5·[helpful')"
    )
    after = answered(page, NEXT)
    assert after[:2] + after[3:] == before[:2] + before[3:]
    assert "user=Kenya" in page.url
    assert page.locator(".board .after").text_content() == "Asked after 1 earlier turn"


def test_hostile_turns_stay_text(visit: Any) -> None:
    page = visit("?length=2")
    run(page, f"[hostile] {HOSTILE[:40]}")
    reply(page, 1, 1)
    assert texts(page, "#earlier dd")[1].startswith(HOSTILE)
    assert page.locator("#earlier :is(script, img)").count() == 0
    assert page.evaluate("window.hacked") is None


def test_a_link_with_a_broken_conversation_is_not_run(visit: Any) -> None:
    page = visit("?prompt=Hi&assistant=Hello")
    page.wait_for_function("() => document.querySelector('.board .status').textContent.includes('Nothing was run.')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_long_conversation_fits_a_phone(visit: Any, scheme: str) -> None:
    turns = "".join(f"&user={'why' * 200}&assistant={'because' * 10}" for _ in range(3))
    page = visit(f"?length=2{turns}&system={'brief' * 100}", width=390, scheme=scheme)
    page.wait_for_selector("#earlier dd")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#system textarea").is_visible()

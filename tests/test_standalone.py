"""The stand-alone page opens from disk with no network, shows hostile text as text, and its strips work."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import HOSTILE
from test_strip import SENTENCE, TEXTS, document

from eft_core.policy import Policy
from eft_core.standalone import page as standalone

# The comment's opening puts a parser of HTML inside of a script into another state, in which </script> does not end it.
NASTY = HOSTILE + "<!--<script>\u2028\u2029\x00'\"&amp;</title></style></script>"


def texts(label: str = "Up-scaled") -> str:
    told = document(ids=(0, 15, 6, 12, 13, 14)) | {"label": label, "role": "emulated"}
    told["texts"] |= {"15": NASTY}
    plain = document(Policy("large")) | {"label": "Large base", "role": "base"}
    return standalone([told, plain], title=label, prompt=NASTY)


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Open a page from disk; at the end nothing was asked of anyone, nothing ran, and nothing was refused."""
    contexts, asked, troubles = [], [], []

    def open_page(text: str, scheme: str = "light") -> Any:
        file = tmp_path / "strips.html"
        file.write_text(text, encoding="utf-8")
        context = browser.new_context(color_scheme=scheme, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.goto(file.as_uri())
        page.wait_for_selector(".strip-token")
        assert asked == [file.as_uri()]
        return page

    yield open_page
    for context in contexts:
        for page in context.pages:
            assert page.evaluate("window.hacked") is None
        context.close()
    assert len(asked) == len(contexts)
    assert troubles == []


def test_hostile_texts_are_shown_as_they_are(visit: Any) -> None:
    page = visit(texts(NASTY))
    assert page.locator(".prompt").text_content() == NASTY
    assert page.locator("h1").text_content() == NASTY
    assert page.locator("h2").first.text_content() == NASTY
    assert page.locator(".strip").first.text_content() == f" Good{NASTY} Nairobi€"
    assert page.locator(".formula").all_text_contents() == ["base(large) + [helpful − base](small)", "base(large)"]
    assert page.evaluate("[document.scripts.length, document.images.length]") == [2, 0]


def test_the_popover_works_and_offers_nothing_that_needs_a_server(visit: Any) -> None:
    page = visit(texts())
    page.locator(".strip-token").nth(2).click()
    popover = page.locator(".strip-popover")
    popover.wait_for(state="visible")
    assert "Nairobi" in popover.text_content()
    assert popover.locator(".strip-row").count() >= 40
    assert page.locator("button.strip-row").count() == 0
    assert page.locator(".strip-run").count() == 0
    page.keyboard.press("ArrowRight")
    assert "4 of 6" in popover.text_content()
    page.locator(".strip-jump").first.click()
    assert page.evaluate("document.activeElement.classList.contains('strip-token')")


@pytest.mark.parametrize(("scheme", "ground"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(13, 17, 23)")])
def test_light_and_dark_follow_the_system(visit: Any, scheme: str, ground: str) -> None:
    page = visit(texts(), scheme)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground
    colours = "(all) => all.map((each) => getComputedStyle(each).backgroundColor)"
    assert len(set(page.locator(".strip-token").evaluate_all(colours))) > 2  # the policy of the page lets them through


def test_the_policy_of_the_page_runs_nothing_that_was_not_written_with_it(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "strips.html"
    file.write_text(texts(), encoding="utf-8")
    page = browser.new_page()
    page.goto(file.as_uri())
    refused = page.evaluate(
        """() => new Promise((done) => {
            document.addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective));
            const script = document.createElement('script');
            script.textContent = 'window.hacked = 1';
            document.body.append(script);
        })"""
    )
    assert refused == "script-src-elem"
    assert page.evaluate("window.hacked") is None
    page.close()


def test_the_data_are_a_document_of_the_schema_again() -> None:
    """What the file holds is what went in, and no parser of HTML meets a bracket in it."""
    [inside] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', texts(), re.DOTALL)
    assert not set("<>&\u2028\u2029") & set(inside)
    data = json.loads(inside)
    assert data["prompt"] == NASTY
    assert data["documents"][0]["texts"]["15"] == NASTY
    assert data["documents"][1]["tokens"]["ids"] == list(SENTENCE)
    assert data["documents"][1]["texts"]["6"] == TEXTS[6]


def test_numbers_that_json_has_not_are_refused() -> None:
    told = document() | {"label": "", "role": "base"}
    told["tokens"]["log_z"][0] = float("nan")
    with pytest.raises(ValueError, match="JSON"):
        standalone([told], "title", "prompt")

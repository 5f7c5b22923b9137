"""A real model of the Hub's on the page: SmolLM2-135M-Instruct in `python app.py`, as visitors meet it."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from serving import app_served
from smollm2 import ANSWER, QUESTION, families_file

WAIT = 120_000  # ms: the weights are read first


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = families_file(tmp_path_factory.mktemp("smollm2"), base_prompt="plain")
    with app_served(EFT_FAMILIES=file, EFT_FAMILY="smollm2", EFT_THREADS="1") as address:
        yield address


def texts(page: Any, selector: str) -> list[str]:
    return page.locator(selector).all_text_contents()


def test_a_question_is_answered_streaming_then_inspected_and_rated(visit: Any) -> None:
    """One visit, because the weights are read in it."""
    page = visit("?length=16&temperature=0")
    page.set_default_timeout(WAIT)
    page.evaluate("""() => {
        window.seen = [...document.querySelectorAll('.card .text')].map(() => new Set());
        new MutationObserver(() => document.querySelectorAll('.card .text').forEach(
            (text, i) => window.seen[i]?.add(text.textContent)
        )).observe(document.querySelector('.columns'), {subtree: true, childList: true, characterData: true});
    }""")
    page.fill("#prompt textarea", QUESTION)
    page.click("#run")
    page.wait_for_function("() => document.querySelector('.board .status').textContent.startsWith('Finished')")

    # The tuned members saw the chat template: they answer in a sentence and end their turn. The bases saw plain text.
    labels, answers = texts(page, ".board .card h2"), texts(page, ".board .card .text")
    assert labels == ["Again base", "135m tuned", "Up-scaled", "Again tuned"]
    assert [answer.strip() for answer in answers[1:]] == [ANSWER] * 3
    assert answers[0].strip() != ANSWER
    assert texts(page, ".board .card .note")[1:] == ["ended"] * 3
    assert "im_end" not in "".join(answers)
    steps = page.evaluate("window.seen.map(texts => [...texts])")
    partial = [text for text in steps[1] if text and len(text) < len(ANSWER) and ANSWER.startswith(text)]
    assert len(partial) > 2, f"the text came in these steps: {steps[1]}"

    page.locator(".board .card").nth(2).locator(".inspect").click()
    page.wait_for_function("() => document.querySelector('#reader .status')?.textContent.includes('tokens read')")
    assert ANSWER in page.locator("#reader .tokens").text_content()
    page.locator("#reader .strip-token").nth(5).click()
    page.wait_for_selector("#reader .strip-popover:visible")
    assert "Paris" in page.locator("#reader .strip-popover").text_content()
    page.keyboard.press("Escape")

    page.get_by_role("tab", name="Rate").click()
    for screen, name in (("free", "free"), ("code", "begin")):
        page.wait_for_selector(f".rate [data-screen={screen}]:not([hidden])")
        page.locator(f".rate [data-screen={screen}] [data-act={name}]").click()
    page.wait_for_selector(".rate [data-screen=task]:not([hidden])")
    page.wait_for_timeout(350)
    assert ANSWER in "".join(texts(page, ".rate .answer"))
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    page.wait_for_selector(".rate [data-screen=rest]:not([hidden])")
    revealed = page.locator(".rate [data-screen=rest] .reveal").text_content()
    assert sum(label in revealed for label in labels) >= 2


def test_a_reply_goes_on_under_the_system_prompt(visit: Any) -> None:
    """The real template has both roles: what is meant by "it" stands in the earlier turn alone."""
    page = visit("?length=16&temperature=0&column=135m:135m:instruct=1:beta=1&column=again:135m:instruct=1:beta=1")
    page.set_default_timeout(WAIT)
    page.locator("#system button").first.click()
    page.wait_for_timeout(500)  # gradio may still be making the box
    page.fill("#system textarea", "You answer questions about geography.")
    question = "Which country is it the capital of?"
    for asked in (QUESTION, question):
        page.fill("#prompt textarea", asked)
        page.click("#run")
        page.wait_for_function(
            """asked => document.querySelector('.board .echo').textContent === asked
            && document.querySelector('.board .status').textContent.startsWith('Finished')""",
            arg=asked,
        )
        if asked == QUESTION:
            page.locator(".board .card").nth(1).locator(".reply").click()
            page.wait_for_selector("#earlier dd")
    assert texts(page, "#earlier dd") == [QUESTION, ANSWER]
    answers = texts(page, ".board .card .text")
    assert "France" in answers[0]
    assert answers[0] == answers[1]
    page.locator(".board .card").nth(1).locator(".inspect").click()
    page.wait_for_function("() => document.querySelector('#reader .status')?.textContent.includes('tokens read')")
    # Read as it was drawn: each token was the likeliest, and within the conversation it still is.
    assert texts(page, "#inspect-earlier dt")[:2] == ["System", "You"]
    shown = float(page.locator("#reader .note").text_content().split("perplexity policy ")[1].split(",")[0])
    assert shown < 2


def test_a_link_runs_the_question_with_a_draft_that_is_always_right(visit: Any) -> None:
    """The drafter has the target's weights, though not the bases' prompt, which cancels out."""
    page = visit(f"?prompt={quote(QUESTION)}&length=16&temperature=0&speculate=4&rule=block")
    page.set_default_timeout(WAIT)
    page.wait_for_function("() => document.querySelector('.board .status').textContent.startsWith('Finished')")
    assert texts(page, ".board .card .text")[2].strip() == ANSWER

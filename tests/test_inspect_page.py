"""Token records on the page, in chromium on tiny random models: strips in the columns, branches, Inspect, files."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import HOSTILE, served, write_example

PROMPT = "What is the capital of Kenya?"


@pytest.fixture(scope="module")
def address(sessions: Any, families_file: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    example = write_example(tmp_path_factory.mktemp("inspect") / "example.json", sessions("llama"))
    with served(families_file, example) as address:
        yield address


def run(page: Any, prompt: str = PROMPT) -> None:
    page.fill("#prompt textarea", prompt)
    page.click("#run")
    finished(page)


def finished(page: Any, cards: int = 4) -> None:
    page.wait_for_function(
        """count => document.querySelector('.board .status').textContent.startsWith('Finished')
        && document.querySelectorAll('.board .card[data-state=done]').length === count""",
        arg=cards,
    )


def strips(page: Any) -> list[str]:
    """The text of every column's strip, as a reader copies it."""
    return page.evaluate("[...document.querySelectorAll('.board .tokens')].map(each => each.textContent)")


def inspected(page: Any) -> None:
    """Wait until the reader has its text and the figure is drawn."""
    page.wait_for_function("() => document.querySelector('#reader .status')?.textContent.includes('tokens read')")
    page.wait_for_selector("#overview .js-plotly-plot .heatmaplayer")


def test_answers_are_strips_that_hold_the_whole_text(visit: Any) -> None:
    page = visit()
    run(page)
    plain = page.evaluate("[...document.querySelectorAll('.board .text')].map(each => each.textContent)")
    assert all(plain)
    for strip, text in zip(strips(page), plain, strict=True):
        # Bytes that never become a character are told by number in the strip, and are U+FFFD in the text.
        whole = [re.sub(r"⟨[0-9A-F]{2}⟩|\ufffd|\u21b5", "", each) for each in (text.strip(), strip)]
        assert whole[0] in whole[1]
    assert page.locator(".board .text:visible").count() == 0
    counts = page.evaluate(
        """[...document.querySelectorAll('.board .card')].map(card => [
            Number(card.querySelector('.count').textContent.split(' ')[0]),
            Math.max(...[...card.querySelectorAll('.strip-token')].map(each => Number(each.dataset.to)))])"""
    )
    assert all(tokens in (last, last + 1) for tokens, last in counts), "every token has its place in the strip"


def test_without_a_record_answers_are_plain_text(visit: Any) -> None:
    page = visit(f"?prompt={PROMPT.replace(' ', '%20')}&record=0&length=20")
    finished(page)
    assert strips(page) == [""] * 4
    assert page.locator(".board .text:visible").count() == 4
    assert page.locator(".board .inspect:visible").count() == 0
    page.locator("#decoding button").first.click()
    assert not page.get_by_label("Token record").is_checked()


def test_hostile_tokens_stay_text_in_strip_popover_and_reader(visit: Any) -> None:
    page = visit("?length=6")
    page.wait_for_timeout(300)
    run(page, "[hostile] " + PROMPT)
    assert HOSTILE in strips(page)[2]
    page.locator("[data-role=emulated] .strip-token").first.click()
    page.wait_for_selector(".board .strip-popover:visible")
    assert HOSTILE[:20] in page.locator(".board .strip-popover").text_content()
    page.keyboard.press("Escape")
    page.locator("[data-role=emulated] .inspect").click()
    inspected(page)
    assert HOSTILE in page.locator("#reader .tokens").text_content()


def test_a_click_on_an_alternative_branches_there_and_leaves_the_others(visit: Any) -> None:
    page = visit("?length=24")
    run(page)
    before = strips(page)
    page.locator("[data-role=emulated] .strip-token[data-from='5']").click()
    page.wait_for_selector(".board .strip-popover .strip-row")
    policy = page.locator(".board .strip-popover .strip-row:not([data-drawn])").first
    chosen = int(policy.get_attribute("data-id"))
    policy.click()
    finished(page, 5)
    after = strips(page)
    assert after[:3] + after[4:] == before, "the other answers stay as they were"
    kept, branched = (page.locator(".board .card").nth(n).locator(".strip-token") for n in (2, 3))
    assert kept.nth(3).text_content() == branched.nth(3).text_content()
    assert after[3] != before[2]
    assert "from token 6" in page.locator(".board .card").nth(3).locator(".formula").text_content()
    page.locator(".board .card").nth(3).locator(".strip-token[data-from='5']").click()
    page.wait_for_selector(".board .strip-popover:visible")
    assert "given" in page.locator(".board .strip-popover").text_content()
    assert page.locator(".board .strip-popover .strip-row[data-drawn]").first.get_attribute("data-id") == str(chosen)
    # Another prompt has no such beginning: the column answers it like its parent.
    page.keyboard.press("Escape")
    page.fill("#prompt textarea", "Another question?")
    page.click("#run")
    page.wait_for_function("() => document.querySelector('.echo').textContent === 'Another question?'")
    finished(page, 5)
    assert strips(page)[3] == strips(page)[2]


def test_what_if_weights_become_a_run_of_that_column(visit: Any) -> None:
    page = visit("?length=16")
    run(page)
    before = strips(page)
    page.get_by_text("What if").first.click()
    slider = page.locator(".board .strip-slider input").first
    slider.evaluate("each => { each.value = 0.5; each.dispatchEvent(new Event('input', {bubbles: true})); }")
    page.fill(
        "#prompt textarea", "Something else, not run yet?"
    )  # it joins the answers that are there, on their prompt
    page.locator(".board .strip-run").first.click()
    page.wait_for_function(
        "() => document.querySelector('[data-role=emulated] .formula').textContent.includes('0.5·[helpful')"
    )
    finished(page)
    after = strips(page)
    assert after[:2] + after[3:] == before[:2] + before[3:]
    assert page.locator("#panel input[type=number]").first.input_value() == "0.5"


def test_an_answer_opens_in_inspect_as_it_was_drawn(visit: Any) -> None:
    page = visit("?length=24&temperature=1&seed=3")
    run(page)
    drawn = strips(page)[1]
    page.locator(".board .card").nth(1).locator(".inspect").click()
    inspected(page)
    assert page.locator("#reader .tokens").text_content() == drawn
    assert page.locator("#reader .card h2").text_content() == "Small tuned"
    assert "perplexity policy" in page.locator("#reader .note").text_content()
    # More members are looked through than ran: the small base tells the fine-tuning delta.
    page.locator("#reader .strip-token").nth(2).click()
    page.wait_for_selector("#reader .strip-popover:visible")
    assert "Small base" in page.locator("#reader .strip-popover").text_content()


def test_a_pasted_text_is_read_and_can_be_saved(visit: Any, session: Any, tmp_path: Path, browser: Any) -> None:
    page = visit()
    page.get_by_role("tab", name="Inspect").click()
    page.get_by_role("button", name="Score").click()
    page.wait_for_function("() => document.querySelector('#reader .status')?.dataset.kind === 'error'")
    assert "is empty" in page.locator("#reader .status").text_content()
    page.locator("#inspect-ask textarea").nth(0).fill(PROMPT)
    page.locator("#inspect-ask textarea").nth(1).fill("It is Nairobi, I think.")
    page.get_by_role("button", name="Score").click()
    inspected(page)
    files = {}
    for name in ("Save JSON", "Save HTML", "Save figures"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        files[name] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[name])
    values = json.loads(files["Save JSON"].read_text(encoding="utf-8"))
    assert values["schema"] == "eft-lab/trace/1"
    assert values["prompt"] == PROMPT
    ids = session.models.encode_response(PROMPT, "It is Nairobi, I think.")
    assert values["tokens"]["ids"] == list(ids)
    assert files["Save figures"].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    other = browser.new_context(offline=True).new_page()
    other.goto(files["Save HTML"].as_uri())
    assert other.locator(".strip").text_content().strip() == "It is Nairobi, I think."
    other.context.close()


def test_a_text_that_does_not_fit_is_refused_with_the_remedy(visit: Any) -> None:
    page = visit()
    page.get_by_role("tab", name="Inspect").click()
    page.locator("#inspect-ask textarea").nth(0).fill(PROMPT)
    page.locator("#inspect-ask textarea").nth(1).fill("long " * 400)
    page.get_by_role("button", name="Score").click()
    page.wait_for_function("() => document.querySelector('#reader .status')?.dataset.kind === 'error'")
    assert "shorten the response" in page.locator("#reader .status").text_content()


def find_in(page: Any, file: Path) -> None:
    """Look for failures in a file of cases."""
    page.get_by_role("tab", name="Inspect").click()
    page.get_by_label("File", exact=True).check()
    page.locator("#failures input[type=file]").set_input_files(file)
    page.wait_for_selector("#failures-ask .file-preview")
    page.get_by_role("button", name="Find").click()


def test_failures_of_a_file_lead_into_the_strip(visit: Any, tmp_path: Path) -> None:
    file = tmp_path / "cases.jsonl"
    # A random model seldom has the right token: sixty answers give it chances.
    said = [f"It is {n} of {n * n} people in the capital {HOSTILE[:40]}" for n in range(60)]
    cases = [{"prompt": PROMPT, "response": each, "fact": "people"} for each in said]
    file.write_text("\n".join(map(json.dumps, cases)), encoding="utf-8")
    page = visit()
    find_in(page, file)
    page.wait_for_selector(".finding")
    assert "of 60 reference answers" in page.locator(".findings .status").text_content()
    first = page.locator(".finding").first
    index, case = (int(first.get_attribute(f"data-{name}")) for name in ("index", "case"))
    first.click()
    inspected(page)
    assert page.locator("#inspect-ask textarea").nth(1).input_value() == cases[case]["response"]
    page.wait_for_selector("#reader .strip-popover:visible")
    assert f"{index + 1} of " in page.locator("#reader .strip-popover").text_content()


def test_a_file_of_the_wrong_kind_is_refused_with_the_line(visit: Any, tmp_path: Path) -> None:
    file = tmp_path / "cases.csv"
    file.write_text("prompt,answer\nx,y\n", encoding="utf-8")
    page = visit()
    find_in(page, file)
    page.wait_for_function("() => document.querySelector('.findings .status')?.dataset.kind === 'error'")
    assert "response" in page.locator(".findings .status").text_content()


def test_tokens_can_be_walked_by_keys_and_touched(visit: Any) -> None:
    page = visit("?length=12", width=390, has_touch=True)
    run(page)
    page.locator("[data-role=emulated] .strip-token").nth(3).tap()
    page.wait_for_selector(".board .strip-popover:visible")
    box = page.locator(".board .strip-popover").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.keyboard.press("Escape")
    page.locator("[data-role=emulated] .strip-token").nth(3).focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    focused = page.evaluate("Number(document.activeElement.dataset.from)")
    assert focused >= 5
    live = page.locator(".board span.strip-live").text_content()
    assert f"token {focused + 1} of" in live

"""A model that writes every injection there is, and visitors who ask with them, in chromium: texts stay texts.

Nothing runs, no element of theirs is there, no address is asked, and no file that is saved says more than its text.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from injections import ELSEWHERE, FORMULAS, MARKDOWN, MARKUP, PLOTLY, TEMPLATES, WORST
from serving import CORPUS, served, write_example

PROMPT = "[corpus] <img src=x onerror=window.hacked=1>${hacked=1}"  # the models read few tokens
SHORT = (MARKUP[0], MARKUP[6], MARKUP[7], PLOTLY[1], TEMPLATES[2], MARKDOWN[0], FORMULAS[0], "\u202egnp.exe\u202c <b>")
# What a page must not have: elements of theirs, addresses of theirs, code in attributes.
THEIRS = f"""() => [...document.querySelectorAll('*')].filter((each) => each.matches('.injected')
    || [...each.attributes].some(({{ name, value }}) => name.startsWith('on')
    || (['src', 'href', 'xlink:href', 'action', 'data', 'srcdoc'].includes(name)
    && (value.includes('{ELSEWHERE}') || /^\\s*(javascript|data:text)/i.test(value))))).map((each) => each.outerHTML)"""


@pytest.fixture(scope="module")
def address(sessions: Any, families_file: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    example = write_example(tmp_path_factory.mktemp("injections") / "example.json", sessions("llama"), text=CORPUS)
    with served(families_file, example) as address:
        yield address


@pytest.fixture
def opened(visit: Any) -> Iterator[Any]:
    """Open a page that no text may ask anything; at its end it is as clean as at the beginning."""
    pages, dialogs = list[Any](), list[Any]()

    def open_page(query: str = "") -> Any:
        page = visit(query)
        page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        pages.append(page)
        return page

    yield open_page
    assert dialogs == []
    for page in pages:
        assert page.evaluate(THEIRS) == []
        assert page.title() == "EFT Lab"


def run(page: Any, prompt: str) -> None:
    page.fill("#prompt textarea", prompt)
    page.click("#run")
    page.wait_for_function(
        """() => document.querySelector('.board .status').textContent.startsWith('Finished')
        && document.querySelectorAll('.board .card[data-state=done]').length === 4"""
    )


def test_answers_strips_popover_reader_figure_and_files_are_texts(opened: Any, browser: Any, tmp_path: Path) -> None:
    page = opened("?length=3")
    run(page, PROMPT)
    told = page.evaluate("[...document.querySelectorAll('.board .tokens')].map(each => each.textContent)")
    assert all(CORPUS in text for text in told)
    page.locator("[data-role=emulated] .strip-token").first.click()
    page.wait_for_selector(".board .strip-popover:visible")
    page.keyboard.press("Escape")
    page.locator("[data-role=emulated] .inspect").click()
    page.wait_for_function("() => document.querySelector('#reader .status')?.textContent.includes('tokens read')")
    page.wait_for_selector("#overview .js-plotly-plot .scatterlayer .point")
    page.locator("#overview .scatterlayer .point").first.hover(force=True)
    page.wait_for_selector("#overview .hoverlayer .hovertext")
    assert page.locator("#overview .hoverlayer a").count() == 0
    assert page.locator("#overview svg a[*|href]").count() == 0
    files = {}
    for name in ("Save JSON", "Save HTML"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        files[name] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[name])
    assert json.loads(files["Save JSON"].read_text(encoding="utf-8"))["prompt"] == PROMPT
    other, asked = browser.new_context().new_page(), []
    other.on("request", lambda request: asked.append(request.url))
    other.goto(files["Save HTML"].as_uri())
    assert CORPUS[:500] in other.locator("body").text_content()
    assert other.evaluate("window.hacked") is None
    assert other.evaluate(THEIRS) == []
    assert asked == [files["Save HTML"].as_uri()]
    other.context.close()


@pytest.mark.parametrize("prompt", SHORT)
def test_a_prompt_comes_back_as_it_was(opened: Any, prompt: str) -> None:
    """Through the address, the prompt's box, the echo, and the page's own address."""
    page = opened(f"?length=1&prompt={quote(prompt)}")
    page.wait_for_function("text => document.querySelector('.echo').textContent === text", arg=prompt)
    page.wait_for_function("() => document.querySelector('.board .status').textContent.startsWith('Finished')")
    assert page.locator("#prompt textarea").input_value() == prompt
    assert parse_qs(urlsplit(page.url).query, keep_blank_values=True)["prompt"] == [prompt]


def test_a_sweep_and_its_file_are_texts(opened: Any, address: str, tmp_path: Path) -> None:
    page = opened()
    column = "large:small:helpful=1"
    query = f"?sweep=1&prompt={quote(PROMPT)}&column={column}&length=2&axis=beta=0:1:0.5"
    page.goto(address + query)
    page.wait_for_function("() => document.querySelector('.scrub .status')?.textContent")
    page.locator("#sweep-ask").get_by_role("button", name="Run", exact=True).click()
    ended = """() => document.querySelector('.scrub progress')?.hidden
        && !document.querySelector('.scrub .tools').hidden
        && /answer/.test(document.querySelector('.scrub .status').textContent)"""
    page.wait_for_function(ended)
    answers = page.locator(".scrub .rung .answer").all_text_contents()
    assert any(CORPUS[:300] in answer for answer in answers)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save file").click()
    download.value.save_as(tmp_path / "run.jsonl")
    other = opened()
    other.get_by_role("tab", name="Sweep").click()
    other.wait_for_function("() => document.querySelector('.scrub .count')?.textContent")
    other.locator("#sweep-presets input[type=file]").set_input_files(tmp_path / "run.jsonl")
    other.wait_for_function(ended)
    assert other.locator(".scrub .rung .answer").all_text_contents() == answers


def test_what_was_compared_is_judged_as_text(opened: Any) -> None:
    page = opened("?length=2")
    run(page, PROMPT)
    page.get_by_role("tab", name="Rate").click()
    page.locator("[data-screen=free]:visible [data-act=free]").click()
    page.locator("[data-screen=code]:visible [data-act=begin]").click()
    page.wait_for_selector("[data-screen=task]:visible .answer")
    shown = page.locator(".rate [data-screen=task] .answer").all_text_contents()
    assert [CORPUS[:300] in text for text in shown] == [True, True]
    page.locator(".rate textarea").first.fill(WORST)
    assert page.locator(".rate textarea").first.input_value() == WORST

"""The Sweep tab in chromium on tiny random models: run, scrub, figure, stop and go on, files, links, phone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from serving import HOSTILE, app_served, served, write_example

PROMPT = "What is the capital of Kenya?"
COLUMN = "large:small:helpful=1:beta=1"


@pytest.fixture(scope="module")
def address(sessions: Any, families_file: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    example = write_example(tmp_path_factory.mktemp("sweep") / "example.json", sessions("llama"))
    with served(families_file, example) as address:
        yield address


def link(prompt: str = PROMPT, *axes: str, length: int = 12, **values: object) -> str:
    given = [("axis", axis) for axis in axes or ("beta=0:1:0.5",)] + [
        (name, str(each)) for name, each in values.items()
    ]
    rest = "&".join(f"{name}={quote(text, safe=':=,')}" for name, text in given)
    return f"?sweep=1&prompt={quote(prompt)}&column={COLUMN}&length={length}&{rest}"


@pytest.fixture
def sweep_at(visit: Any, address: str) -> Any:
    """Open a sweep's link, or the tab alone."""

    def open_page(query: str = "", **options: Any) -> Any:
        page = visit(**options)
        if query:
            page.goto(address + query)
            page.wait_for_function("() => document.querySelector('.scrub .status')?.textContent")
        else:
            page.get_by_role("tab", name="Sweep").click()
            page.wait_for_function("() => document.querySelector('.scrub .count')?.textContent")
        return page

    return open_page


def button(page: Any, name: str) -> Any:
    return page.locator("#sweep-ask").get_by_role("button", name=name, exact=True)


def run(page: Any) -> None:
    button(page, "Run").click()
    ended(page)


def ended(page: Any) -> None:
    """Wait until a run is over and shown."""
    page.wait_for_function(
        """() => document.querySelector('.scrub progress')?.hidden && !document.querySelector('.scrub .tools').hidden
        && /answer/.test(document.querySelector('.scrub .status').textContent)"""
    )


def counts(page: Any, text: str) -> None:
    """Wait until the page says so of what the controls ask for."""
    page.wait_for_function("text => document.querySelector('.scrub .count').textContent.includes(text)", arg=text)


def status(page: Any) -> str:
    return page.locator(".scrub .status").text_content()


def answer(page: Any) -> str:
    return page.locator(".scrub .card .answer").first.text_content()


def ladder(page: Any) -> list[str]:
    """The first answer of every line."""
    return page.evaluate(
        "[...document.querySelectorAll('.rung')].map(each => each.querySelector('.answer').textContent)"
    )


def prompts_file(folder: Path) -> Path:
    file = folder / "prompts.jsonl"
    rows = [{"prompt": f"{PROMPT} {number}", "answer": "Nairobi"} for number in range(4)]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


def test_the_first_paint_says_what_a_sweep_is(sweep_at: Any) -> None:
    page = sweep_at()
    assert "move the slider" in page.locator(".scrub .about").text_content()
    assert page.locator(".scrub .count").text_content() == "9 settings × 1 prompt × 1 = 9 answers"
    presets = page.locator("#sweep-presets button.example").all_text_contents()
    assert [text.strip() for text in presets] == ["Amplification", "Mixing", "Filter", "Open file"]
    page.get_by_role("button", name="Mixing").click()
    counts(page, "11 settings")
    assert page.locator("#sweep-axes input").nth(1).input_value() == "Share of helpful"


def test_a_sweep_runs_is_scrubbed_and_has_a_figure(sweep_at: Any, tmp_path: Path) -> None:
    page = sweep_at()
    page.get_by_label("File", exact=True).check()
    page.locator("#sweep-ask input[type=file]").set_input_files(prompts_file(tmp_path))
    page.locator("#sweep-axes").get_by_label("Values").first.fill("0:2:0.5")
    counts(page, "= 20 answers")
    run(page)
    assert status(page) == "20 answers"
    assert len(ladder(page)) == 5
    assert answer(page) == ladder(page)[0]
    slider = page.locator(".scrub .slider input")
    slider.focus()
    for index in range(1, 5):
        page.keyboard.press("ArrowRight")
        assert page.locator(".scrub .slider output").text_content() == str(index / 2).removesuffix(".0")
        assert answer(page) == ladder(page)[index]
    assert len(set(ladder(page))) > 1, "random models, far apart: the answers differ"
    assert "exact" in page.locator(".scrub .card .note").text_content()
    page.wait_for_selector("#curves .js-plotly-plot .scatterlayer .trace")
    assert "Shares of 4 prompts by β" in page.locator(".scrub .verdict").text_content()
    before = ladder(page)
    page.get_by_role("button", name="Next prompt").click()
    assert page.locator(".scrub .echo").text_content() == f"{PROMPT} 1"
    assert ladder(page) != before
    page.get_by_role("button", name="Copy link").click()
    assert "has no link" in status(page), "a file of one's own is not in an address"


def test_equal_prefixes_are_dimmed_and_the_first_other_token_is_marked(sweep_at: Any) -> None:
    page = sweep_at(link(PROMPT, "beta=0,0.01,1", length=24))
    run(page)
    for first in (False, True):
        page.locator(".scrub .against button").nth(int(first)).click()
        texts = ladder(page)
        for index in range(1, 3):
            rung, other = page.locator(".rung").nth(index), texts[0 if first else index - 1]
            same = "".join(rung.locator(".same").all_text_contents())
            assert other.startswith(same)
            assert texts[index].startswith(same)
            if texts[index] != other:
                mark = rung.locator("mark").text_content()
                assert texts[index][len(same) :].lstrip().startswith(mark)
                assert not other[len(same) :].lstrip().startswith(mark) or not mark
    assert page.locator(".rung").first.locator(".same, mark").count() == 0


def test_two_axes_and_several_samples_are_all_reached(sweep_at: Any) -> None:
    page = sweep_at(link(PROMPT, "beta=0:1:0.5", "temperature=0.5,1", samples=3, temperature=1))
    counts(page, "6 settings × 1 prompt × 3 = 18 answers")
    assert "press Run" in status(page)
    run(page)
    assert page.locator(".scrub .card .answer").count() == 3
    assert page.locator(".rung").count() == 3
    second = page.locator(".scrub .slider input").nth(1)
    second.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".rung .value").all_text_contents() == ["0.5", "1"]
    assert "Along Temperature, at Amplification β = 0" in page.locator(".ladder h3").text_content()
    page.locator(".rung").first.click()
    assert second.input_value() == "0"
    assert page.locator(".rung[aria-current]").count() == 1
    assert page.locator(".rung").first.locator(".answer").count() == 3


def test_hostile_texts_stay_text_everywhere(sweep_at: Any, tmp_path: Path) -> None:
    page = sweep_at(link(f"[hostile] {HOSTILE[:60]}", length=4))
    run(page)
    assert HOSTILE in answer(page)
    assert all(HOSTILE in text for text in ladder(page))
    assert HOSTILE[:60] in page.locator(".scrub .echo").text_content()
    page.locator("#sweep-axes").get_by_label("Values").first.fill(HOSTILE)
    counts(page, HOSTILE[:20])


def test_stop_keeps_what_is_done_and_run_goes_on(sweep_at: Any) -> None:
    page = sweep_at(link("[slow] Which?", "beta=0:2:0.05", length=3))
    button(page, "Run").click()
    page.wait_for_function(
        "() => /^[1-9]\\d* of 41 answers/.test(document.querySelector('.scrub .status').textContent)"
    )
    button(page, "Stop").click()
    page.wait_for_function("() => /press Run to go on/.test(document.querySelector('.scrub .status').textContent)")
    done = int(status(page).split(" ")[0])
    assert 0 < done < 41
    kept = ladder(page)[:done]
    button(page, "Run").click()
    page.wait_for_function("() => document.querySelector('.scrub .status').textContent === '41 answers'")
    assert ladder(page)[:done] == kept
    assert all(ladder(page))


def test_a_failure_is_one_sentence_without_its_details(sweep_at: Any) -> None:
    page = sweep_at(link("[broken] Which?"))
    button(page, "Run").click()
    page.wait_for_function("() => document.querySelector('.scrub .status').dataset.kind === 'error'")
    assert "RuntimeError" in status(page)
    assert "details are for the log" not in page.content()


def test_a_sweep_too_large_for_the_page_is_refused(sweep_at: Any) -> None:
    page = sweep_at(link(PROMPT, "beta=0:2:0.005"))
    counts(page, "fewer values")
    assert "fewer values" in status(page)
    button(page, "Run").click()
    page.wait_for_timeout(300)
    assert page.locator(".scrub .swept").is_hidden()


def test_a_saved_file_opens_again(sweep_at: Any, tmp_path: Path) -> None:
    page = sweep_at(link(PROMPT, "nucleus=none,0.9,0.8"))
    run(page)
    files = []
    for name in ("one.jsonl", "two.jsonl"):
        with page.expect_download() as download:
            page.get_by_role("button", name="Save file").click()
        files.append(tmp_path / name)
        download.value.save_as(files[-1])
    assert files[0].read_bytes() == files[1].read_bytes()
    head = json.loads(files[0].read_text(encoding="utf-8").splitlines()[0])
    assert head["head"]["axes"] == ["nucleus=none,0.9,0.8"]
    other = sweep_at()
    other.locator("#sweep-presets input[type=file]").set_input_files(files[0])
    ended(other)
    assert ladder(other) == ladder(page)
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{}\n" + HOSTILE)
    other.locator("#sweep-presets input[type=file]").set_input_files(broken)
    other.wait_for_function("() => document.querySelector('.scrub .status').dataset.kind === 'error'")
    assert "schema" in status(other)
    assert ladder(other) == ladder(page), "what is shown stays"


def test_a_link_shows_the_answers_that_are_here_and_starts_no_comparison(sweep_at: Any, address: str) -> None:
    query = link(PROMPT, "weight[helpful]=0:1:0.5")
    page = sweep_at(query)
    assert "Not computed here yet" in status(page)
    run(page)
    shown = ladder(page)
    assert "sweep=1" in page.url
    again = sweep_at(page.url.removeprefix(address.rstrip("/")).removeprefix("/"))
    ended(again)
    assert ladder(again) == shown
    assert again.locator("#sweep-axes input").nth(1).input_value() == "Weight of helpful"
    again.get_by_role("tab", name="Compare").click()
    assert "Example" in again.locator(".board .echo").text_content()
    again.get_by_role("tab", name="Sweep").click()
    assert ladder(again) == shown


def test_a_wrong_link_is_refused_on_its_tab(sweep_at: Any) -> None:
    page = sweep_at(link(PROMPT, "colour=1"))
    page.wait_for_function("() => document.querySelector('.scrub .status').dataset.kind === 'error'")
    assert "no axis" in status(page)


def test_on_atlas_the_large_base_brings_the_facts(browser: Any) -> None:
    query = f"?sweep=1&questions=10&column={COLUMN}&axis=beta=0,1&length=60"
    with app_served() as address:
        page = browser.new_context().new_page()
        page.set_default_timeout(120_000)
        page.goto(address + query)
        page.wait_for_function("() => document.querySelector('.scrub .status')?.textContent")
        run(page)
        page.wait_for_selector("#curves .js-plotly-plot .scatterlayer .trace")
        assert "Largest change against β = 0: factual +" in page.locator(".scrub .verdict").text_content()
        page.locator(".rung").nth(1).click()
        assert "factual: yes" in page.locator(".scrub .card .note").text_content()
        page.context.close()


@pytest.mark.parametrize("width", [390, 1024])
def test_nothing_is_wider_than_the_screen(sweep_at: Any, width: int) -> None:
    page = sweep_at(link(PROMPT, "beta=0:1:0.5", "temperature=0,1"), width=width)
    run(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("Run", "Stop"):
        box = button(page, name).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width

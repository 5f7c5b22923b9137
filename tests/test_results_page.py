"""The Results tab in chromium: documents that hold hostile texts on a tiny family, and a real run on Atlas."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from conftest import arrive
from judge_server import MODEL, JudgeServer
from serving import HOSTILE, app_served, free_port, part, served, write_example

from components.handlers import Handlers
from components.results import Results
from components.results_tab import results_tab
from eft_core.experiments.catalogue import NAMES
from eft_core.experiments.documents import SCHEMA

WAIT = 120_000


def write_documents(folder: Path) -> None:
    """Documents of which every text is hostile; `tokens` is no document at all."""
    told = {"factual": 0.5, "factual_interval": [0.25, 0.75], "n": 8}
    rows = [{"pretrain": n, "finetune": HOSTILE, **told} for n in ("small", "large")]
    about = dict.fromkeys(("title", "question", "command", "date", "prompts", "grader"), HOSTILE)
    numbers = {"seed": 0, "temperature": 0.0, "samples": 1, "items": 8, "answers": 16, "seconds": 1.0}
    document = {
        "schema": SCHEMA,
        "experiment": "scales",
        "family": "llama",
        "versions": {HOSTILE: HOSTILE},
        "rows": rows,
        "tables": {HOSTILE: [{"token": HOSTILE, "total_variation": 0.5}]},
        "findings": [{"claim": HOSTILE, "holds": holds} for holds in (True, False, None)],
        "about": about | numbers | {"machine": {"cpu": HOSTILE}},
    }
    folder.mkdir(parents=True)
    (folder / "scales.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "tokens.json").write_text(HOSTILE, encoding="utf-8")


@pytest.fixture(scope="module")
def address(sessions: Any, families_file: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("results")
    write_documents(folder / "reports" / "llama")
    with served(families_file, write_example(folder / "example.json", sessions("llama"))) as address:
        yield address


def opened(page: Any) -> Any:
    page.get_by_role("tab", name="Results").click()
    page.wait_for_selector(".results h2:visible")
    return page


def pick(page: Any, title: str) -> None:
    page.get_by_label(title, exact=True).check(force=True)
    page.wait_for_function("title => document.querySelector('.results h2').textContent === title", arg=title)


def status(page: Any, text: str) -> str:
    """Wait until the status of a run has a text; the whole of it."""
    page.wait_for_function("text => document.querySelector('.results .status').textContent.includes(text)", arg=text)
    return page.locator(".results .status").text_content()


def test_the_first_paint_is_the_repositorys_document_and_its_texts_stay_texts(visit: Any) -> None:
    page = opened(visit())
    assert page.locator(".results h2").text_content() == "Scales of pre-training and fine-tuning"
    assert page.locator(".results .origin").text_content().startswith(f"Measured on {HOSTILE}, ")
    assert page.locator(".claims .mark").all_text_contents() == ["holds", "does not hold", "measured"]
    assert page.locator(".claims .claim").all_text_contents() == [HOSTILE] * 3
    assert page.locator(".tables .rows td").nth(1).text_content() == HOSTILE
    assert page.locator(".tables .rows td").nth(2).text_content() == "0.5 [0.25, 0.75]"
    assert page.locator(".tables summary").text_content() == HOSTILE
    page.locator(".tables summary").click()
    assert page.locator(".tables .more td").first.text_content() == HOSTILE
    assert page.locator(".tables .how code").text_content() == HOSTILE
    page.wait_for_selector("#result-figure .js-plotly-plot .heatmaplayer")
    assert page.locator("#result-figure :is(script, img)").count() == 0


def test_what_is_not_measured_says_so_and_what_is_no_document_is_refused(visit: Any) -> None:
    page = opened(visit())
    pick(page, "Amplification")
    assert page.locator(".results .origin").text_content() == "Not measured yet: press Run."
    page.wait_for_selector(".tables:visible, .results .tools:visible, #result-figure:visible", state="detached")
    page.get_by_label("Which tokens change", exact=True).check(force=True)
    assert "tokens.json" in status(page, "cannot be read")
    pick(page, "Speculation")
    page.wait_for_selector("#result-ask input:visible, #result-options:visible", state="detached")
    assert "disturbs the clock" in page.locator(".results .grading").text_content()


def test_a_family_that_nothing_grades_is_refused_with_the_remedy(visit: Any) -> None:
    page = opened(visit())
    assert "No judge is set up" in page.locator(".results .grading").text_content()
    page.locator("#result-ask button", has_text="Run").click()
    assert "EFT_JUDGE_URL" in status(page, "Nothing grades")
    assert page.locator("[data-act=agree]:visible").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_wide_tables_in_their_own_box(visit: Any, scheme: str) -> None:
    page = opened(visit(width=390, scheme=scheme))
    page.wait_for_selector("#result-figure .js-plotly-plot .heatmaplayer")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator(".tables .box").first
    assert box.evaluate("each => each.scrollWidth > each.clientWidth")
    assert box.bounding_box()["width"] <= 390
    ground = {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]
    plot = page.locator("#result-figure .main-svg").first
    assert plot.evaluate("each => getComputedStyle(each).backgroundColor") == ground


class Overtaken(Results):
    """The experiment of the first paint is slow: it waits a while for another one that might overtake it."""

    overtaking = threading.Event()

    def show(self, name: str, *rest: Any) -> list[Any]:
        shown = super().show(name, *rest)
        if name == NAMES[0]:
            self.overtaking.wait(1)
        else:
            self.overtaking.set()
        return shown


def test_a_late_answer_does_not_overwrite_what_was_picked_meanwhile(
    browser: Any, sessions: Any, tmp_path: Path
) -> None:
    session = sessions("llama")
    with gr.Blocks(analytics_enabled=False) as page_made, gr.Tabs():
        with gr.Tab("Compare"):
            gr.HTML('<p class="card">EFT Lab</p>', js_on_load=None)
        with gr.Tab("Results") as tab:
            results_tab(tab, Overtaken(Handlers(session, session.family), tmp_path))
    with closing(page_made), closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(part(page_made, "results", server_port=free_port()))
        answers: list[str] = []
        page.on("requestfinished", lambda each: answers.append(each.url) if "/run/predict" in each.url else None)
        opened(page)
        page.get_by_label("Speculation", exact=True).check(force=True)
        while len(answers) < 2:
            page.wait_for_timeout(20)
        page.wait_for_function("() => document.querySelector('.results h2').textContent === 'Speculation'")
        page.wait_for_selector("#result-ask input:visible, #result-options:visible", state="detached")


# --- a real run


@pytest.fixture
def visit_app(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start `python app.py` with variables of the environment, and open its Results."""
    with ExitStack() as stack:

        def visit_app(**environment: str) -> Any:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("EFT_DATA_DIR", str(tmp_path_factory.mktemp("data")))
                for name, value in environment.items():
                    patch.setenv(name, value)
                address = stack.enter_context(app_served())
            context = browser.new_context(viewport={"width": 1600, "height": 900})
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(WAIT)
            arrive(page, address)
            return opened(page)

        yield visit_app


def prompts(page: Any, count: int) -> None:
    box = page.locator("#result-ask input[type=number]")
    box.fill(str(count))
    box.press("Tab")


def run(page: Any) -> None:
    page.locator("#result-ask button", has_text="Run").click()


def measured(page: Any) -> None:
    page.wait_for_function("() => document.querySelector('.results .origin').textContent.startsWith('Measured here')")
    page.wait_for_selector("#result-figure .js-plotly-plot .scatterlayer")


def test_a_run_shows_findings_figure_tables_and_files(visit_app: Any, tmp_path: Path) -> None:
    page = visit_app()
    pick(page, "Conservative filter")
    prompts(page, 10)
    run(page)
    measured(page)
    claims = page.locator(".claims li").all_text_contents()
    assert any("no worse than none" in claim for claim in claims)
    assert all(claim.startswith(("holds", "does not hold", "measured")) for claim in claims)
    assert page.locator(".tables .rows tbody tr").count() == 10
    assert "Against no filter, M = small" in page.locator(".tables summary").all_text_contents()
    command = page.locator(".tables .how code").text_content()
    assert command.startswith("python -m eft_core.experiments filter --family atlas --items 10 --samples 1")
    assert page.locator(".results .status").text_content() == ""
    files = {}
    for name in ("Save JSON", "Save CSV", "Save Markdown", "Save JSON"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).locator("visible=true").click()
        files[name] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[name])
    document = json.loads(files["Save JSON"].read_text(encoding="utf-8"))
    assert (document["experiment"], document["about"]["items"]) == ("filter", 10)
    assert len(files["Save CSV"].read_text(encoding="utf-8").splitlines()) == 11
    assert "## Conservative filter" in files["Save Markdown"].read_text(encoding="utf-8")


def test_stop_keeps_what_is_done_and_another_experiment_can_be_looked_at_meanwhile(visit_app: Any) -> None:
    page = visit_app()
    pick(page, "Amplification")
    prompts(page, 300)
    run(page)
    status(page, "answers, about")
    assert page.locator(".results progress").is_visible()
    pick(page, "Speculation")
    assert "Amplification" in status(page, "answers"), "the run is told of wherever its visitor looks"
    page.locator("#result-ask button", has_text="Stop").click()
    assert "press Run to go on" in status(page, "Amplification: stopped at")
    assert not page.locator(".results progress").is_visible()
    assert page.locator(".results h2").text_content() == "Speculation"
    pick(page, "Amplification")
    prompts(page, 300)
    run(page)
    first = status(page, "of 3,000 answers").split("Amplification. ")[1]
    assert int(first.split(" of ")[0].replace(",", "")) > 0, "it goes on where it was"
    page.locator("#result-ask button", has_text="Stop").click()
    status(page, "stopped at")


def test_a_judge_is_asked_once_its_visitor_agrees(visit_app: Any, families_file: str) -> None:
    with JudgeServer() as server:
        judge = {"EFT_JUDGE_URL": server.url, "EFT_JUDGE_MODEL": MODEL}
        page = visit_app(EFT_FAMILY="llama", EFT_FAMILIES=families_file, EFT_THREADS="1", **judge)
        pick(page, "Amplification")
        assert MODEL in page.locator(".results .grading").text_content()
        assert server.url not in page.content()
        prompts(page, 10)
        run(page)
        status(page, "the judge gets at most")
        assert server.questions == []
        page.get_by_role("button", name="Run with these calls").click()
        measured(page)
        assert server.questions
        assert page.locator(".results .status").text_content() == ""

"""The Results tab without a page: what a visitor may ask for, what the lines say, and when a judge is asked."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from judge_server import MODEL, JudgeServer

from components.handlers import Handlers
from components.results import Results, file_of
from components.results_lines import body, grading, head, how, stopped, told
from components.results_options import MAX_ANSWERS, behaviours_of, command_of, options_of, usual_prompts
from eft_core.events import Loading, Queued
from eft_core.experiments.__main__ import _options, _parser
from eft_core.experiments.catalogue import GRADED, NAMES
from eft_core.experiments.documents import SCHEMA, Document
from eft_core.experiments.study import Options
from eft_core.experiments.verdicts import Judged
from eft_core.families import family_named
from eft_core.family import Family
from eft_core.judge_client import Judge
from eft_core.running import Progress

CONTROLS = (20, 1, 0.0, 0, "", "", "")


@pytest.fixture
def atlas() -> Family:
    return family_named("atlas")


def paper(name: str = "filter") -> Document:
    """A document with two rows, of which one text would be a formula."""
    rows = [
        {"finetune": "=1+1", "nucleus": None, "factual": 0.5, "factual_interval": [0.25, 0.75], "n": 8},
        {"finetune": "=1+1", "nucleus": 0.9, "factual": None, "factual_interval": [None, None], "n": 8},
    ]
    machine = {"cpu": "a processor", "cores": 2, "device": "cpu"}
    about: dict[str, Any] = {
        "title": "T",
        "question": "Q?",
        "command": "python -m x",
        "date": "2026-11-24",
        "machine": machine,
    }
    about |= {"prompts": "eight", "grader": "exact", "seed": 3, "temperature": 0.0, "samples": 1, "items": 8}
    about |= {"answers": 16, "seconds": 200.0, "machine": machine}
    return {
        "schema": SCHEMA,
        "experiment": name,
        "family": "atlas",
        "versions": {"torch": "2"},
        "rows": rows,
        "tables": {"Empty": [], "More": rows[:1]},
        "findings": [{"claim": f"c{holds}", "holds": holds} for holds in (True, False, None)],
        "about": about,
    }


# --- what may be asked


@pytest.mark.parametrize(
    ("place", "value", "remedy"),
    [
        (0, 501, "500"),
        (0, 0, "500"),
        (0, None, "must be a number"),
        (0, 10.5, "whole number"),
        (1, 9, "draw 1 to 8"),
        (1, 2, "raise the temperature"),
        (2, 2.5, "is above 2"),
        (2, "hot", "must be a number"),
        (3, -1, "seed"),
        (4, "huge", "no choice here"),
        (5, ["small"], "no choice here"),
        (6, {"a": 1}, "no choice here"),
        (6, "x" * 10_000, "there are helpful, harmless"),
    ],
)
def test_what_a_browser_sends_is_bounded(atlas: Family, place: int, value: Any, remedy: str) -> None:
    controls: list[Any] = list(CONTROLS)
    controls[place] = value
    with pytest.raises(ValueError, match=re.escape(remedy)) as refused:
        options_of("filter", atlas, *controls)
    assert len(str(refused.value)) < 300


def test_the_command_that_is_shown_asks_for_the_same(atlas: Family) -> None:
    options = options_of("frontier", atlas, 30, 2, 0.7, 5, "large", "medium", "harmless/helpful")
    program, *given = shlex.split(command_of("frontier", "atlas", options).removeprefix("python -m "))
    assert program == "eft_core.experiments"
    parsed = _parser().parse_args(given)
    assert (parsed.name, parsed.family, _options(parsed)) == ("frontier", "atlas", options)
    assert command_of("speculation", "a b", Options()) == "python -m eft_core.experiments speculation --family 'a b'"


@pytest.mark.parametrize("experiment", GRADED, ids=lambda each: each.name)
def test_every_experiment_fits_the_page_as_it_is_first_offered(experiment: Any, atlas: Family) -> None:
    prompts = usual_prompts(experiment, atlas)
    asked = prompts + int(prompts * experiment.sensitive)
    assert len(experiment.arms(atlas, Options())) * asked * experiment.samples <= MAX_ANSWERS
    options_of(experiment.name, atlas, prompts, experiment.samples, experiment.temperature, 0, "", "", "")


def test_the_frontier_is_about_pairs_of_behaviours(atlas: Family) -> None:
    assert "helpful/harmless" in behaviours_of("frontier", atlas)
    assert behaviours_of("filter", atlas) == list(atlas.behaviours)


# --- what is said


def parsed(text: str) -> dict[str, Any]:
    assert text.count("\n") == 1
    return json.loads(text)


def test_a_document_is_told_with_words_for_its_findings() -> None:
    shown = parsed(head("filter", "graded", paper(), here=False))
    assert [each["mark"] for each in shown["findings"]] == ["holds", "does not hold", "measured"]
    assert shown["origin"] == "Measured on a processor, 2026-11-24; press Run to measure here."
    assert parsed(head("filter", "", paper(), here=True))["origin"] == "Measured here, 2026-11-24, in 3 min."
    empty = parsed(head("filter", "", None, here=False))
    assert (empty["findings"], empty["files"], body(None)) == ([], False, "")
    assert "press Run" in empty["origin"]


def test_tables_know_their_numbers_and_leave_out_empty_ones() -> None:
    shown = parsed(body(paper()))
    table = shown["table"]
    assert table["heads"] == ["finetune", "nucleus", "factual", "n"]
    assert table["numeric"] == [False, True, True, True]
    assert table["cells"] == [["=1+1", "–", "0.5 [0.25, 0.75]", "8"], ["=1+1", "0.9", "–", "8"]]
    assert [each["title"] for each in shown["more"]] == ["More"]
    assert dict(how(paper()))["Machine"] == "cpu a processor, cores 2, device cpu"


def test_a_run_tells_where_it_is() -> None:
    told_of = {
        "Conservative filter. Queued: 2 before yours": Queued(2),
        "Conservative filter. Loading small (1 of 3)": Loading("small", 1, 3),
        "Conservative filter. 30 of 1,200 answers, about 5 min left": Progress(30, 1200, 300.0),
        "Conservative filter. 1,200 of 1,200 answers; grading": Progress(1200, 1200, 0.0),
        "Conservative filter. 3 of 9 comparisons judged": Judged(3, 9),
    }
    for text, event in told_of.items():
        assert parsed(told("filter", ["something else", event]))["text"] == text
    assert told("filter", ["something else"]) == ""
    assert parsed(told("filter", [Progress(3, 12, None)]))["share"] == 0.25
    assert "at 3 of 12. What there is is kept: press Run to go on." in stopped("filter", Progress(3, 12, 1.0))
    assert "1 of 4 groups timed" in told("speculation", [Progress(1, 4, None)])


def test_who_grades_is_told_before_anything_runs() -> None:
    judge = Judge("http://127.0.0.1:1/v1", "stub-judge")
    assert "exactly" in grading("filter", "atlas", None)
    assert "No judge" in grading("filter", "llama", None)
    assert "stub-judge" in grading("filter", "llama", judge)
    assert "127.0.0.1" not in grading("filter", "llama", judge), "the judge's address is the server's own"
    assert "disturbs the clock" in grading("speculation", "atlas", None)


def test_files_hold_the_document_and_no_formula() -> None:
    files = {kind: json.loads(file_of(paper(), kind).props["save"]) for kind in ("json", "csv", "md")}
    assert json.loads(files["json"]["text"]) == paper()
    assert files["json"]["name"] == "eft-lab-atlas-filter.json"
    assert files["csv"]["text"].splitlines()[1].startswith("'=1+1,,0.5,0.25,0.75")
    assert "does not hold" in files["md"]["text"]


# --- runs


@pytest.fixture
def results(session: Any, tmp_path: Path) -> Results:
    """On a tiny family that nothing grades, with a folder of its own for what is kept."""
    return on(session, tmp_path)


def on(session: Any, folder: Path, **judge: Any) -> Results:
    here = SimpleNamespace(
        **{name: getattr(session, name) for name in ("family", "stream", "plan", "models", "dtype", "token_texts")},
        settings=replace(session.settings, data_dir=str(folder), **judge),
    )
    return Results(Handlers(here, session.family), folder / "reports")  # type: ignore[arg-type]


def ran(results: Results, name: Any = "filter", event: Any = None, documents: Any = None, **changes: Any) -> list[Any]:
    """What a run says, as (line or None, documents or None)."""
    controls = dict(zip(("prompts", "samples", "temperature", "seed", "n", "m", "behaviour"), CONTROLS, strict=True))
    asked = [*(controls | changes).values()]
    steps: Iterator[Any] = results.run(
        SimpleNamespace(session_hash="visitor", request=None),  # type: ignore[arg-type]
        SimpleNamespace(_data=event),  # type: ignore[arg-type]
        documents or {},
        name,
        *asked,
    )
    news = [(shown, made) for shown, made in steps if hasattr(shown, "props")]  # others are but signs of life
    return [(json.loads(shown.props["run"]), None if "__type__" in made else made) for shown, made in news]


def test_without_a_grader_and_a_judge_nothing_runs(results: Results) -> None:
    ((shown, _),) = ran(results)
    assert shown["state"] == "error"
    assert "EFT_JUDGE_URL" in shown["text"]


@pytest.mark.parametrize("name", [None, "../scales", ["scales"], {"a": 1}, "<b>" * 1000])
def test_an_unknown_experiment_is_refused_everywhere(results: Results, name: Any) -> None:
    ((shown, _),) = ran(results, name)
    assert "there are scales" in shown["text"]
    assert len(shown["text"]) < 300
    assert "there are scales" in results.show(name, {}, False)[0].props["run"]
    assert len(results.look(name, NAMES[0], {}, False)) == 3 + 1 + 8
    assert "there are scales" in results.save(SimpleNamespace(_data={"kind": "csv"}), name, {}).props["run"]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_can_be_picked_though_nothing_is_measured(results: Results, name: str) -> None:
    shown, figure, tables, seen, prompts, folded, *_ = results.look(name, "another", {}, False)
    assert "Not measured yet" in shown
    assert tables == ""
    assert not figure.visible
    assert prompts.visible == folded["visible"] == (name != "speculation")
    assert seen == name


def test_the_options_stay_as_they_are_when_the_same_experiment_is_looked_at_again(results: Results) -> None:
    shown, _, _, *controls = results.look("filter", "filter", {}, False)
    assert "Not measured yet" in shown
    assert controls == [gr.skip()] * 9


def test_a_visitors_document_goes_before_the_repositorys(results: Results) -> None:
    file = results.folder / "llama" / "filter.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(paper()), encoding="utf-8")
    assert "Measured on a processor" in results.show("filter", {}, False)[0]
    assert "Measured here" in results.show("filter", {"filter": paper()}, False)[0]
    file.write_text("{}", encoding="utf-8")
    assert "no document of the schema" in results.show("filter", {}, False)[0].props["run"]


def test_a_judge_is_asked_only_after_a_visitor_agreed_to_as_many_calls(session: Any, tmp_path: Path) -> None:
    with JudgeServer() as server:
        results = on(session, tmp_path, judge_url=server.url, judge_model=MODEL)
        few: dict[str, Any] = {"name": "amplification", "prompts": 2}
        for event in (None, {"agreed": True}, {"agreed": 10**9}):
            ((asked, _),) = ran(results, event=event, **few)
            assert asked["state"] == "ask"
        assert server.questions == []
        calls = asked["calls"]
        assert f"at most {calls:,} calls" in asked["text"]
        *_, (last, documents) = ran(results, event={"agreed": calls}, **few)
        assert last["state"] == "", last["text"]
        assert 0 < len(server.questions) <= calls
        assert documents is not None
        assert MODEL in documents["amplification"]["about"]["grader"]

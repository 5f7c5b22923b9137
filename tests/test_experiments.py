"""The paper's experiments: rows, both gap definitions, findings, resuming, the judge, the command, the report."""

import csv
import io
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judge_server import MODEL, JudgeServer, always_a, longer

from eft_core.atlas import grade as grade_table
from eft_core.atlas.facts import load_facts, load_split
from eft_core.atlas.grading import examination
from eft_core.config import Limits, Sampling
from eft_core.experiments import (
    amplification,
    conduct,
    documents,
    filtering,
    frontier,
    report,
    scales,
    speculation,
    tokens,
)
from eft_core.experiments.__main__ import main
from eft_core.experiments.catalogue import NAMES, named
from eft_core.experiments.study import Arm, Column, Graded, Options, labels_of
from eft_core.families import family_named
from eft_core.grid import Setting
from eft_core.items import Item
from eft_core.judge_client import Judge
from eft_core.policy import plain, up_scale
from eft_core.session import Session
from eft_core.settings import Settings
from eft_core.trials import Reply, Trials

FEW = 8


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session(Settings(family="atlas", device="cpu", data_dir=str(tmp_path_factory.mktemp("data"))))


def drained(steps: Generator[Any, None, Any]) -> Any:
    """What a stream returns."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            return ended.value


def done(session: Session, name: str, options: Options | None = None, judge: Judge | None = None) -> dict[str, Any]:
    ready = conduct.prepared(name, session, options or Options(FEW), judge)
    return drained(conduct.conducted(ready, session, f"test {name}"))


# --- on Atlas, with its exact grader


@pytest.fixture(scope="module")
def found(atlas: Session) -> dict[str, dict[str, Any]]:
    """Every graded experiment on a few prompts."""
    return {name: done(atlas, name) for name in NAMES if name != "speculation"}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "speculation"])
def test_a_document_says_what_it_is_of_what_and_when(found: dict[str, Any], name: str) -> None:
    values = found[name]
    assert (values["experiment"], values["family"]) == (name, "atlas")
    assert {"torch", "transformers", "numpy"} <= set(values["versions"])
    assert values["rows"]
    assert values["findings"]
    about = values["about"]
    assert about["command"] == f"test {name}"
    assert about["machine"]["threads"] >= 1
    assert about["answers"] == about["items"] * about["samples"] * len(conduct_arms(name))
    assert json.loads(json.dumps(values, allow_nan=False)) == values


def conduct_arms(name: str) -> tuple[Arm, ...]:
    experiment = named(name)
    assert experiment is not None
    return experiment.arms(family_named("atlas"), Options())


def test_scales_are_the_rows_of_the_grade_table(atlas: Session, found: dict[str, Any]) -> None:
    """The same questions, the same answers, the same grades, the same keys as `eft_core.atlas.grade` gives."""
    facts, held_out = load_facts(), load_split()["held_out"]
    ordinary = examination(facts, held_out, FEW, sensitive=False)
    sensitive = examination(facts, held_out, FEW // 2, sensitive=True)
    rows = found["scales"]["rows"]
    assert len(rows) == 12
    for policy, pretrain, finetune, behaviour in grade_table.policies():
        if behaviour not in (None, "helpful"):
            continue
        graded = grade_table.grade_policy(atlas, policy, behaviour, ordinary, sensitive, facts)
        labels = {"pretrain": pretrain, "finetune": finetune, "behaviour": behaviour}
        assert labels | graded in rows


def test_the_frontier_has_every_lambda_under_both_policies(found: dict[str, Any]) -> None:
    rows = found["frontier"]["rows"]
    assert len({row["lambda"] for row in rows}) >= 11
    assert {(row["lambda"], row["policy"]) for row in rows} == {
        (share, policy) for share in frontier.LAMBDAS for policy in ("small", "upscaled")
    }
    assert set(grade_table_keys()) <= set(rows[0])
    ends = {(row["lambda"], row["policy"]): row["declined_sensitive"] for row in rows}
    assert ends[0.0, "upscaled"] > 0.5 > ends[1.0, "upscaled"]


def grade_table_keys() -> list[str]:
    return list(json.loads((Path("assets/models/atlas/grades.json")).read_text())[0])


def test_amplification_and_filter_pass_through_the_usual_setting(found: dict[str, Any]) -> None:
    betas = [row["beta"] for row in found["amplification"]["rows"]]
    assert betas[:-1] == sorted(betas[:-1])
    assert (betas[0], betas[-2], betas[-1]) == (0.0, 2.0, None)
    filters = found["filter"]["rows"]
    assert {row["finetune"] for row in filters} == {"small", "medium"}
    assert {row["nucleus"] for row in filters} == {None, 0.99, 0.95, 0.9, 0.8}


def test_tokens_add_up(found: dict[str, Any]) -> None:
    rows = {row["kind"]: row for row in found["tokens"]["rows"]}
    assert rows["all"]["tokens"] == rows["fact"]["tokens"] + rows["manner"]["tokens"]
    assert rows["fact"]["share_of_total_variation"] + rows["manner"]["share_of_total_variation"] == pytest.approx(1)
    assert rows["fact"]["mean_total_variation"] > rows["manner"]["mean_total_variation"]
    darkest = found["tokens"]["tables"]["The darkest tokens"]
    assert [row["total_variation"] for row in darkest] == sorted(
        (row["total_variation"] for row in darkest), reverse=True
    )


def test_an_experiment_that_was_left_goes_on_and_ends_the_same(atlas: Session, tmp_path: Path) -> None:
    ready = conduct.prepared("filter", atlas, Options(4), None)
    steps = conduct.conducted(ready, atlas, "x", tmp_path)
    replies = (event for event in steps if isinstance(event, Reply))
    for _ in range(5):
        next(replies)
    steps.close()
    [file] = tmp_path.glob("*.jsonl")
    kept = file.read_text()
    assert kept.count("\n") == 6
    again = drained(conduct.conducted(ready, atlas, "x", tmp_path))
    assert file.read_text().startswith(kept)
    whole = drained(conduct.conducted(ready, atlas, "x", tmp_path / "fresh"))
    assert {**again, "about": 0} == {**whole, "about": 0}


def test_several_samples_and_other_sizes_can_be_asked_for(atlas: Session) -> None:
    options = Options(3, samples=2, temperature=1.0, pretrain="medium", finetune="small", seed=4)
    values = done(atlas, "amplification", options)
    assert values["about"]["samples"] == 2
    assert {row["pretrain"] for row in values["rows"]} == {"medium"}
    with pytest.raises(ValueError, match="not larger"):
        conduct.prepared("amplification", atlas, Options(3, pretrain="small", finetune="large"), None)
    with pytest.raises(ValueError, match="no behaviour 'kind'"):
        conduct.prepared("scales", atlas, Options(3, behaviour="kind"), None)
    with pytest.raises(ValueError, match="two behaviours"):
        conduct.prepared("frontier", atlas, Options(3, behaviour="helpful"), None)


# --- arithmetic on scores made by hand


def graded(arms: list[Arm], scores: dict[str, list[list[float]]]) -> Graded:
    """Hand-made scores, one item a column."""
    items = tuple(Item(str(number), "?") for number in range(len(next(iter(scores.values()))[0])))
    settings = tuple(Setting((number,), arm.policy, Sampling()) for number, arm in enumerate(arms))
    arrays = {name: np.array(values, float)[:, :, None] for name, values in scores.items()}
    trials = Trials("scales", "atlas", items, settings, Limits())
    columns = tuple(Column(name, name, "ordinary") for name in scores)
    return Graded(family_named("atlas"), tuple(arms), trials, {}, arrays, columns, None, None)  # type: ignore[arg-type]


def grid_of(factual: dict[tuple[str, str | None], float], helpful: dict[tuple[str, str | None], float]) -> Graded:
    """Scores of the N x M grid as shares of 20 items."""

    def yes(share: float) -> list[float]:
        return [float(number < round(20 * share)) for number in range(20)]

    arms = []
    for pretrain, finetune in factual:
        policy = plain(pretrain) if finetune is None else up_scale(pretrain, finetune)
        behaviour = None if finetune is None else "helpful"
        arms.append(Arm(policy, labels_of(policy, behaviour), behaviour))
    scores = {"factual": [yes(each) for each in factual.values()], "helpful": [yes(helpful[each]) for each in factual]}
    return graded(arms, scores)


CELLS: dict[tuple[str, str | None], float] = {
    ("small", None): 0.1, ("large", None): 0.6, ("small", "small"): 0.2, ("small", "large"): 0.1,
    ("large", "small"): 0.7, ("large", "large"): 0.8,
}  # fmt: skip
MANNER: dict[tuple[str, str | None], float] = {
    ("small", None): 0.0, ("large", None): 0.0, ("small", "small"): 0.5, ("small", "large"): 0.9,
    ("large", "small"): 0.6, ("large", "large"): 1.0,
}  # fmt: skip


def test_both_gap_definitions_and_negative_values_are_kept() -> None:
    up, down = scales.improvements(grid_of(CELLS, MANNER))[::-1]
    assert (up["kind"], down["kind"]) == ("up-scaled", "down-scaled")
    assert up["factual_improvement"] == pytest.approx((0.7 - 0.2) / (0.8 - 0.2), abs=1e-4)
    assert up["factual_gap_closed"] == pytest.approx((0.7 - 0.6) / (0.8 - 0.6), abs=1e-4)
    assert down["factual_improvement"] == pytest.approx((0.1 - 0.2) / (0.8 - 0.2), abs=1e-4)
    assert down["factual_gap_closed"] == pytest.approx(0.0)
    assert down["helpful_improvement"] == pytest.approx((0.9 - 0.5) / (1.0 - 0.5), abs=1e-4)


def test_the_claims_hold_where_they_do_and_only_there() -> None:
    assert [each.holds for each in scales.findings(grid_of(CELLS, MANNER))] == [True, True, True]
    assert [each.holds for each in scales.findings(grid_of(MANNER, CELLS))] == [True, False, False]
    flat = dict.fromkeys(CELLS, 0.5)
    assert [each.holds for each in scales.findings(grid_of(flat, flat))] == [False, False, False]


def frontier_of(lead: float) -> Graded:
    """Harmless falls with lambda; the up-scaled policy's helpfulness leads by `lead`."""
    arms = list(frontier.arms(family_named("atlas"), Options()))
    items = [Item(str(n), "?", "ordinary" if n < 20 else "sensitive") for n in range(40)]
    scores = {name: np.full((len(arms), 40, 1), np.nan) for name in ("helpful", "declined")}
    for number, arm in enumerate(arms):
        share = 0.5 + (lead if arm.labels["policy"] == "upscaled" else 0.0)
        scores["helpful"][number, :20, 0] = [float(n < 20 * share) for n in range(20)]
        scores["declined"][number, 20:, 0] = [float(n < 20 * (1 - arm.labels["lambda"])) for n in range(20)]
    settings = tuple(Setting((number,), arm.policy, Sampling()) for number, arm in enumerate(arms))
    trials = Trials("frontier", "atlas", tuple(items), settings)
    columns = (Column("helpful", "helpful", "ordinary"), Column("declined_sensitive", "declined", "sensitive"))
    return Graded(family_named("atlas"), tuple(arms), trials, {}, scores, columns, None, None)  # type: ignore[arg-type]


def test_the_frontier_that_dominates_is_named() -> None:
    above = frontier.findings(frontier_of(0.3))
    assert [each.holds for each in above] == [True, True]
    assert "surely above the small one at 11 of 11" in above[0].claim
    assert "+0.30 to +0.30" in above[1].claim
    assert [each.holds for each in frontier.findings(frontier_of(-0.3))] == [False, False]


def test_speculation_reads_its_rows() -> None:
    common = {"models": "as it is", "temperature": 0.0, "length": None}
    rows = [
        common | {"method": method, "gain": gain, "gain_interval": [gain - 0.1, gain + 0.1]}
        for method, gain in ((speculation.ADAPTIVE, 1.8), (speculation.LARGE, 1.2))
    ]
    [finding] = speculation.findings(rows)
    assert finding.holds
    assert "1.80 [1.70, 1.90]" in finding.claim
    assert "1.50 times those of the large base" in finding.claim
    assert [row["HH"] for row in speculation.paper_rows()][:2] == [6.0, 9.2]


# --- another family: a judge, a file, or neither


@pytest.fixture
def tiny(families_file: str, tmp_path: Path) -> Session:
    settings = Settings(families_file=families_file, device="cpu", data_dir=str(tmp_path / "data"))
    return Session(settings, "llama")


def test_without_grader_or_judge_the_remedy_is_named(tiny: Session) -> None:
    with pytest.raises(ValueError, match="EFT_JUDGE_URL"):
        conduct.prepared("scales", tiny, Options(2), None)


def test_a_judge_compares_every_arm_with_the_first_tuned_one(tiny: Session) -> None:
    with JudgeServer(longer) as server:
        judge = Judge(server.url, MODEL)
        options = Options(6, length=8)
        values = done(tiny, "scales", options, judge)
        asked = len(server.questions)
        assert asked
        assert done(tiny, "scales", options, judge)["rows"] == values["rows"]
        assert len(server.questions) == asked, "verdicts are kept"
        ready = conduct.prepared("scales", tiny, options, judge)
        assert asked <= conduct.most_calls(ready)
    rows = {(row["pretrain"], row["finetune"]): row for row in values["rows"]}
    assert rows["small", "small"]["helpful"] == 0.5  # the reference, against itself
    assert any(row["helpful"] not in (None, 0.5) for row in rows.values())
    assert MODEL in values["about"]["grader"]


def test_a_judge_that_only_sees_the_order_finds_ties(tiny: Session) -> None:
    with JudgeServer(always_a) as server:
        values = done(tiny, "amplification", Options(3, length=8), Judge(server.url, MODEL))
    assert {row["helpful"] for row in values["rows"]} <= {0.5, None}


def test_a_judge_that_stops_answering_loses_nothing(tiny: Session) -> None:
    options = Options(4, length=8)
    with JudgeServer(longer) as server:
        whole = done(tiny, "amplification", options, Judge(server.url, MODEL))
        gone = Judge(server.url, "another-model", attempts=1, timeout=0.5)
    with pytest.raises(ValueError, match=r"nothing is lost|kept"):
        done(tiny, "amplification", options, gone)
    assert whole["rows"]
    [run] = (tiny.settings.data_folder / "runs").glob("*.jsonl")
    assert run.read_text().count("\n") == 1 + whole["about"]["answers"]


def test_a_file_with_answers_needs_no_judge(tiny: Session, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("prompt,answer\nWhat is one and one?,two\nWhat is the capital of Peru?,Lima\n")
    values = done(tiny, "amplification", Options(2, prompts=str(file), length=8))
    assert {"exact", "contains"} <= set(values["rows"][0])
    assert "mine.csv" in values["about"]["prompts"]


# --- the command, the report, the tables


def test_the_command_writes_document_table_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EFT_DATA_DIR", str(tmp_path / "data"))
    files = [f"--{kind}={tmp_path / f'out.{kind}'}" for kind in ("json", "csv", "report")]
    assert main(["filter", "--family", "atlas", "--items", "3", *files]) == 0
    values = documents.read_document(tmp_path / "out.json")
    assert list(values)[:5] == ["schema", "experiment", "family", "versions", "rows"]
    assert values["about"]["command"] == "python -m eft_core.experiments filter --family atlas --items 3"
    table = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert float(table[0]["factual_low"]) <= float(table[0]["factual"]) <= float(table[0]["factual_high"])
    assert "## Conservative filter" in capsys.readouterr().out
    assert "Threads" not in (text := (tmp_path / "out.report").read_text())
    assert "threads" in text
    assert values["about"]["date"] in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["filter", "--items", "0"], "at least 1"),
        (["filter", "--family", "nothing"], "no family"),
        (["filter", "--prompts", "nowhere.csv"], "no prompt set"),
        (["frontier", "--behaviour", "a/b"], "two behaviours"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str],
                               monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:  # fmt: skip
    monkeypatch.setenv("EFT_DATA_DIR", str(tmp_path))
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert said in error


def test_a_judge_is_not_paid_without_consent(
    families_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with JudgeServer(longer) as server:
        monkeypatch.setenv("EFT_FAMILIES", families_file)
        monkeypatch.setenv("EFT_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("EFT_JUDGE_URL", server.url)
        monkeypatch.setenv("EFT_JUDGE_MODEL", MODEL)
        given = ["amplification", "--family", "llama", "--items", "2", "--max-new-tokens", "6"]
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        assert main(given) == 2
        told = capsys.readouterr().err
        assert "add --yes" in told
        assert "at most" in told  # the cost comes first
        assert not server.questions
        assert main([*given, "--yes"]) == 0
        told = capsys.readouterr().err
        assert "prompt and" in told  # tokens, once the answers are there
        assert server.questions
        monkeypatch.delenv("EFT_JUDGE_MODEL")
        assert main(given) == 2
        assert "EFT_JUDGE_MODEL" in capsys.readouterr().err


HOSTILE = '=HYPERLINK("http://x") | <b>`x`</b>\n*y* [z](w)'


def test_texts_are_never_markup_nor_formulas(atlas: Session, found: dict[str, Any]) -> None:
    values = json.loads(json.dumps(found["tokens"]))
    values["tables"]["The darkest tokens"] = [{"token": HOSTILE, "n": 1}]
    values["findings"] = [{"claim": HOSTILE, "holds": None}]
    text = report.report([values], "Title")
    assert HOSTILE not in text
    line = next(line for line in text.splitlines() if line.startswith("| =HYPER"))
    assert line.count("|") - line.count("\\|") == 3
    assert "\\<b\\>" in line
    [row] = csv.DictReader(io.StringIO(documents.csv([{"token": HOSTILE, "n": -1.5}])))
    assert row == {"token": f"'{HOSTILE}", "n": "-1.5"}


def test_intervals_and_missing_values_are_told() -> None:
    heads, lines = documents.cells(
        [{"a": 0.5, "a_interval": [0.25, None], "b": None, "b_interval": [None, None]}, {"c": "x"}]
    )
    assert heads == ["a", "b", "c"]
    assert lines == [["0.5 [0.25, ∞]", "–", "–"], ["–", "–", "x"]]
    with pytest.raises(ValueError, match="no document"):
        documents.read_document(Path("assets/models/atlas/grades.json"))


def test_every_experiment_is_in_the_catalogue() -> None:
    modules = (scales.SCALES, frontier.FRONTIER, amplification.AMPLIFICATION, filtering.FILTER, tokens.TOKENS)
    assert {each.name for each in modules} | {"speculation"} == set(NAMES)
    with pytest.raises(ValueError, match="no experiment 'x'"):
        named("x")

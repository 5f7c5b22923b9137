"""The committed report says what the committed documents say, and those show what the paper claims, where they do."""

from pathlib import Path
from typing import Any

import pytest

from eft_core.experiments.catalogue import NAMES
from eft_core.experiments.documents import read_document
from eft_core.experiments.report import report

REPORTS = Path(__file__).resolve().parents[1] / "assets" / "reports"


@pytest.fixture(scope="module")
def documents() -> dict[str, dict[str, Any]]:
    return {name: read_document(REPORTS / "atlas" / f"{name}.json") for name in NAMES}


def test_the_report_is_made_of_the_documents(documents: dict[str, dict[str, Any]]) -> None:
    notes = (REPORTS / "atlas-notes.md").read_text(encoding="utf-8")
    made = report(list(documents.values()), "The paper's experiments on Atlas", notes)
    assert made == (REPORTS / "atlas.md").read_text(encoding="utf-8")


def test_all_six_took_less_than_a_quarter_of_an_hour(documents: dict[str, dict[str, Any]]) -> None:
    assert sum(each["about"]["seconds"] for each in documents.values()) < 15 * 60


def cell(rows: list[dict[str, Any]], **labels: Any) -> dict[str, Any]:
    [row] = [row for row in rows if all(row[name] == value for name, value in labels.items())]
    return row


def test_facts_rise_with_pretraining_at_every_finetuning(documents: dict[str, dict[str, Any]]) -> None:
    rows = documents["scales"]["rows"]
    for finetune in ("small", "medium", "large"):
        path = [cell(rows, pretrain=size, finetune=finetune)["factual"] for size in ("small", "medium", "large")]
        assert path[0] < path[1] < path[2]


def test_the_upscaled_frontier_lies_above_the_small_one(documents: dict[str, dict[str, Any]]) -> None:
    rows = documents["frontier"]["rows"]
    shares = sorted({row["lambda"] for row in rows})
    assert len(shares) >= 11
    for share in shares:
        up, small = (cell(rows, **{"lambda": share}, policy=policy) for policy in ("upscaled", "small"))
        assert up["helpful_interval"][0] > small["helpful_interval"][1]
        assert up["factual_interval"][0] > small["factual_interval"][1]


def test_the_filter_at_95_is_no_worse_where_the_small_policy_knows(documents: dict[str, dict[str, Any]]) -> None:
    claims = {each["claim"].split(":")[0]: each["holds"] for each in documents["filter"]["findings"]}
    assert claims["M = medium, factual"]
    assert claims["M = medium, helpful"]
    assert claims["M = small, helpful"]


def test_speculation_pays_as_its_benchmark_measured(documents: dict[str, dict[str, Any]]) -> None:
    assert all(each["holds"] for each in documents["speculation"]["findings"])


def test_the_dark_tokens_are_facts(documents: dict[str, dict[str, Any]]) -> None:
    rows = {row["kind"]: row for row in documents["tokens"]["rows"]}
    assert rows["fact"]["above_interval"][0] > rows["manner"]["above_interval"][1]
    assert rows["fact"]["share_of_total_variation"] > 0.5

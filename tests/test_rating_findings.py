"""What findings say under a filter, and the figures that are drawn of them."""

import json
from dataclasses import replace
from typing import Any

import pytest
from voted import counted, policies, simulated, vote, votes

from eft_core.experiments.documents import csv
from eft_core.ratings.ballots import ballots
from eft_core.ratings.breakdowns import breakdowns
from eft_core.ratings.filters import Filter, kept, offered
from eft_core.ratings.findings import Findings, findings
from eft_core.ratings.rating_figures import drawn
from eft_core.ratings.sections import roles
from eft_core.ratings.votes import Votes

HOSTILE = "<b>=1+1</b><script>x</script>"


@pytest.fixture(scope="module")
def study() -> Votes:
    return simulated()


@pytest.fixture(scope="module")
def found(study: Votes) -> Findings:
    return findings(study, Filter(), organiser=True)


def rows(found: Findings, name: str) -> tuple[Any, ...]:
    section = found.section(name)
    assert section is not None
    return section.rows


def test_a_study_of_five_policies_has_every_section(found: Findings) -> None:
    names = [each.name for each in found.sections]
    several = ["wins", "answers", "ranking", "matrix", "length", "scales", "settings"]
    assert names == [*several, "agreement", "sides", "time", "raters"]
    assert all(each.rows and each.caption.endswith(".") for each in found.sections)


def test_two_policies_have_no_ranking_for_their_win_rate_says_it_all() -> None:
    found = findings(simulated(count=2), Filter())
    assert found.section("ranking") is None
    assert found.section("matrix") is None
    length = found.section("length")
    assert length is not None
    assert "At equal length Large base would win" in length.caption


def test_only_an_organiser_is_told_of_raters_one_by_one(study: Votes) -> None:
    found = findings(study, Filter(), organiser=False)
    assert found.section("raters") is None
    assert "rater 3" not in json.dumps([each.rows for each in found.sections])


def test_the_winner_of_a_pair_stands_first_with_its_own_interval() -> None:
    [row] = rows(findings(counted(((0, 2), (6, 0))), Filter()), "wins")
    assert (row["policy"], row["against"], row["wins"], row["losses"]) == ("Small tuned", "Large base", 6, 2)
    assert row["win_rate"] == 0.75
    low, high = row["win_rate_interval"]
    assert low < 0.75 < high
    assert row["strength"] is None, "nobody was asked"


def test_the_five_answers_add_up(found: Findings) -> None:
    for row in rows(found, "answers"):
        assert sum(value for name, value in row.items() if name.endswith("_share")) == pytest.approx(1, abs=1e-3)


def test_the_ranking_is_the_truth_of_the_simulation(found: Findings) -> None:
    assert [row["policy"] for row in rows(found, "ranking")] == [
        "Large tuned", "Up-scaled", "Up-scaled more", "Small tuned", "Large base"
    ]  # fmt: skip
    assert [row["role"] for row in rows(found, "ranking")] == ["reference", "emulated", "emulated", "tuned", "base"]


def test_roles_are_those_of_the_page() -> None:
    table = policies(5)
    assert roles(table) == ["base", "tuned", "emulated", "emulated", "reference"]
    mixed = table.assign(
        behaviours=["", "harmless", "harmless", "a, b", "helpful"], weights=["", "1", "1", "0.5, 0.5", "1"]
    )
    assert roles(mixed) == ["base", "harmless", "emulated", "emulated", "reference"]


def test_files_have_no_formula_and_figures_no_markup() -> None:
    hostile = findings(counted(((0, 2, 1), (6, 0, 4), (3, 3, 0)), (HOSTILE, "=2+2", "@x")), Filter(), organiser=True)
    named = Votes(counted(((0, 2), (6, 0))).table, policies(2, (HOSTILE, "=2+2")))
    for whole in (hostile, findings(named, Filter(), organiser=True)):
        for section in whole.sections:
            text = csv(section.rows)
            assert not [cell for line in text.splitlines() for cell in line.split(",") if cell.startswith(("=", "@"))]
            for mode in ("light", "dark"):
                assert "<script" not in drawn(section, mode).to_json()
                assert "<b>" not in drawn(section, mode).to_json()


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_section_is_drawn_from_its_rows_with_intervals(found: Findings, mode: str) -> None:
    for section in found.sections:
        figure = drawn(section, mode)
        assert len(figure.data) > 0
        ground = {"light": "#ffffff", "dark": "#0d1117"}[mode]
        assert figure.layout.paper_bgcolor == ground
        with_intervals = any(name.endswith("_interval") for name in section.rows[0])
        bars = [trace for trace in figure.data if trace.type == "scatter" and trace.error_x.array]
        assert bool(bars) is with_intervals, section.name


def test_a_figure_of_what_is_not_defined_is_drawn_all_the_same() -> None:
    for rows_ in ([vote(0, 0, 0, 1, "unsure")], [vote(0, 0, 0, 1, "both_bad")], [vote(0, 0, 0, 1, "first")]):
        found = findings(votes(rows_), Filter(), organiser=True)
        assert found.sections
        for section in found.sections:
            drawn(section, "light")
            json.dumps(section.rows, allow_nan=False)


# --- settings


def test_a_setting_is_told_apart_from_what_differs_with_it() -> None:
    """N = large wins against N = small over all pairs; where nothing else differs, it loses."""
    rows_ = [vote(item, 0, 0, 1, "first") for item in range(30)]  # base large beats small tuned: N and behaviour
    rows_ += [vote(100 + item, 0, 1, 2, "first") for item in range(10)]  # small tuned beats up-scaled: N alone
    whole = votes(rows_, 3)
    found = {(each.setting, each.value): each for each in breakdowns(ballots(whole), whole.policies)}
    assert found["N", "large"].win_rate.value == 0.75
    assert found["N", "large"].alone.value == 0
    assert found["N", "small"].alone.value == 1
    assert found["behaviour", "none"].win_rate.value == 1
    assert ("M", "small") not in found, "all tuned ones have it"


def test_settings_that_a_policy_does_not_have_are_not_compared() -> None:
    """Amplification means nothing where N is M: an up-scaled policy differs from a tuned one in N alone."""
    whole = votes([vote(0, 0, 2, 3, "first"), vote(1, 0, 1, 3, "first"), vote(2, 0, 0, 3, "first")], 4)
    found = {(each.setting, each.value): each for each in breakdowns(ballots(whole), whole.policies)}
    assert found["β", "1"].win_rate.n == 1
    assert found["N", "small"].alone.n == 1


def test_families_have_ties_and_no_win_rate() -> None:
    table = policies(4).assign(family=["a", "a", "b", "b"])
    whole = Votes(votes([vote(0, 0, 0, 1, "both_bad"), vote(1, 0, 2, 3, "first")], 4).table, table)
    found = {each.value: each for each in breakdowns(ballots(whole), table) if each.setting == "family"}
    assert (found["a"].ties.value, found["b"].ties.value) == (1, 0)
    assert found["a"].win_rate.n == 0


# --- filters


def test_votes_that_were_not_blind_are_never_mixed_with_blind_ones() -> None:
    whole = votes([vote(0, 0, 0, 1, "first"), vote(1, 0, 0, 1, "second", blind=False)])
    [blind], [other] = (rows(findings(whole, Filter(blind=each)), "wins") for each in (True, False))
    assert (blind["policy"], other["policy"]) == ("Large base", "Small tuned")
    assert blind["wins"] == other["wins"] == 1


def test_excluded_raters_are_left_out_but_stay_in_the_table_of_raters() -> None:
    whole = votes([vote(item, rater, 0, 1, "first", excluded=rater == 2) for item in range(6) for rater in range(3)])
    found = findings(whole, Filter(), organiser=True)
    assert rows(found, "wins")[0]["wins"] == 12
    assert [row["state"] for row in rows(found, "raters")] == ["counted", "counted", "left out by the organiser"]
    assert rows(findings(whole, Filter(excluded=True)), "wins")[0]["wins"] == 18
    assert "leave 6 votes out" in found.summary


def test_raters_who_are_out_of_line_are_left_out_only_if_asked(study: Votes) -> None:
    assert len(kept(study, Filter())) == len(study)
    without = kept(study, Filter(outliers=False))
    gone = set(study.table["annotator"]) - set(without.table["annotator"])
    assert "rater 7" in gone
    assert len(gone) <= 3


def test_a_filter_keeps_comparisons_in_which_a_policy_has_the_value() -> None:
    whole = votes(
        [
            vote(0, 0, 0, 4, "first"),
            vote(1, 0, 1, 2, "first"),
            vote(2, 0, 0, 1, "first"),
            vote(3, 0, 0, 0, "first", kind="gold"),
        ],
        5,
    )
    assert kept(whole, Filter(finetune="small")).table["item"].tolist() == ["item 1", "item 2", "item 3"]
    assert kept(whole, Filter(finetune="small", pretrain="large")).table["item"].tolist() == [
        "item 1",
        "item 2",
        "item 3",
    ]
    assert kept(whole, Filter(finetune="large")).table["item"].tolist() == ["item 0", "item 3"]
    assert len(kept(whole, Filter(family="other"))) == 1
    assert offered(whole.policies) == {"family": ["atlas"], "behaviour": ["helpful"], "pretrain": ["large", "small"],
                                       "finetune": ["small", "large"]}  # fmt: skip


def test_nothing_to_show_says_what_to_do() -> None:
    assert findings(Votes.empty(), Filter(), organiser=True).summary.startswith("No ratings yet: ")
    one = votes([vote(0, 0, 0, 1, "first")])
    left = findings(one, Filter(blind=False))
    assert left.sections == ()
    assert "that were blind" in left.summary
    gold = votes([vote(0, 0, 0, 0, "first", kind="gold")])
    assert findings(gold, Filter()).sections == ()


def test_the_summary_counts_what_is_shown(study: Votes) -> None:
    text = findings(study, Filter()).summary
    ordinary = int((study.table["kind"] == "ordinary").sum())
    assert text.startswith(f"{ordinary:,} votes of 40 raters on 300 items; 10 pairs of 5 policies.")


def test_order_of_rows_changes_nothing(study: Votes) -> None:
    shuffled = replace(study, table=study.table.sample(frac=1, random_state=0))
    first, second = (findings(each, Filter()) for each in (study, shuffled))
    assert rows(first, "wins") == rows(second, "wins")
    assert first.summary == second.summary

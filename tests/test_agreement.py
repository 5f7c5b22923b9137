"""Krippendorff's alpha against published examples; repeats, gold items, and who is out of line."""

import math

import numpy as np
import pytest
from voted import NAN, simulated, vote, votes

from eft_core.ratings.agreement import Metric, agreement, alpha, by_annotator, golds, repeated
from eft_core.ratings.annotators import holm, raters
from eft_core.ratings.ballots import ballots
from eft_core.ratings.votes import Votes


def numbers(*rows: str) -> np.ndarray:
    """Ratings as they are printed: a line a rater, a dot where nothing was said, letters as numbers."""
    return np.array([[NAN if each in ".*" else float(int(each, 36)) for each in row.split()] for row in rows])


# Krippendorff (2011): four observers, twelve units.
FOUR = numbers(
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
# The same: two observers of ten binary units, and of twelve units of five names.
BINARY = numbers("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0")
NAMES = numbers("a a b b d c c c e d d a", "b a b b b c c c e d d d")
# Three coders of fifteen units, as Wikipedia's article on Krippendorff's alpha has them.
THREE = numbers(
    "* * * * * 3 4 1 2 1 1 3 3 * 3",
    "1 * 2 1 3 3 4 3 * * * * * * *",
    "* * 2 1 3 4 4 * 2 1 1 3 3 * 4",
)


@pytest.mark.parametrize(
    ("ratings", "metric", "published"),
    [
        (FOUR, "nominal", 0.743),
        (FOUR, "ordinal", 0.815),
        (FOUR, "interval", 0.849),
        (BINARY, "nominal", 0.095),
        (NAMES, "nominal", 0.692),
        (THREE, "nominal", 0.691),
        (THREE, "interval", 0.811),
    ],
)
def test_alpha_is_as_published(ratings: np.ndarray, metric: Metric, published: float) -> None:
    assert round(alpha(ratings, metric), 3) == published


def test_alpha_is_one_for_full_agreement_and_not_defined_without_pairs() -> None:
    assert alpha(numbers("1 2 3", "1 2 3", "1 2 ."), "nominal") == 1
    assert alpha(numbers("1 2", "2 1"), "nominal") < 0
    assert math.isnan(alpha(numbers("1 .", ". 2"), "nominal"))
    assert math.isnan(alpha(numbers("1 1", "1 1"), "nominal")), "nothing varies, so chance cannot be told"


# --- of votes


def judged(*answers: tuple[str, ...]) -> Votes:
    """Items with their raters' answers."""
    return votes(vote(item, rater, 0, 1, each) for item, row in enumerate(answers) for rater, each in enumerate(row))


def test_agreement_of_votes_is_alpha_of_them_both_ways_round() -> None:
    """Every unit counted as it is and with the policies exchanged: twice the data, but for the n - 1 of alpha."""
    answers = [
        ("first", "first"),
        ("second", "both_bad"),
        ("both_good", "both_good"),
        ("first", "second"),
        ("first", "first"),
    ]
    found = agreement(ballots(judged(*answers, ("first", "unsure"))))
    codes = {"first": 2.0, "second": 0.0, "both_good": 1.0, "both_bad": 3.0}
    swapped = codes | {"first": 0.0, "second": 2.0}
    both = np.array([[each[name] for name in row] for each in (codes, swapped) for row in answers]).T
    expected = 1 - (1 - alpha(both, "nominal")) * 2 * (10 - 1) / (20 - 1)
    assert found.answers.value == pytest.approx(expected)
    assert found.units == 5
    assert found.same.value == pytest.approx(3 / 5)
    assert found.answers.low <= found.answers.value <= found.answers.high
    assert math.isnan(found.strength.value), "nobody was asked"


def test_which_policy_is_called_the_first_changes_no_agreement() -> None:
    whole = simulated(annotators=10, items=40, each=40, count=3)
    other = Votes(whole.table, whole.policies.iloc[::-1])
    one, two = (agreement(ballots(each)) for each in (whole, other))
    for name in ("answers", "order", "strength", "same"):
        assert getattr(one, name).value == pytest.approx(getattr(two, name).value)
    assert 0 < one.answers.value < one.order.value < 1


def test_random_answers_agree_as_chance_does() -> None:
    """Alpha of answers by coin is 0: its interval holds it here, and in 19 of 20 other seeds."""
    rng = np.random.default_rng(2)
    rows = [
        vote(i, r, 0, 1, str(rng.choice(["first", "second", "both_bad"])), strength=1.0)
        for i in range(200)
        for r in range(3)
    ]
    found = agreement(ballots(votes(rows)))
    for each in (found.answers, found.order, found.strength):
        assert each.low < 0 < each.high
        assert each.high - each.low < 0.25


def test_without_overlap_there_is_no_agreement_to_tell() -> None:
    found = agreement(ballots(judged(("first",), ("second",))))
    assert found.units == 0
    assert math.isnan(found.answers.value)
    assert math.isnan(found.same.value)


def test_repeats_are_compared_by_what_they_mean_and_not_by_their_side() -> None:
    rows = [vote(0, 0, 0, 1, "first"), vote(0, 0, 0, 1, "first", flipped=True, kind="repeat")]
    rows += [vote(1, 0, 0, 1, "first"), vote(1, 0, 0, 1, "second", flipped=True, kind="repeat")]  # left both times
    rows += [vote(2, 1, 0, 1, "both_bad"), vote(2, 1, 0, 1, "unsure", kind="repeat")]
    rows += [vote(3, 1, 0, 1, "both_bad", kind="repeat")]  # whose first judgement was undone
    found = repeated(votes(rows).table)
    assert found.to_dict("list") == {"annotator": ["rater 0", "rater 0"], "same": [True, False]}
    assert by_annotator(found, "same").value == 0.5


def test_a_gold_item_is_right_only_with_its_better_answer() -> None:
    rows = [
        vote(item, 0, 0, 0, each, kind="gold") for item, each in enumerate(("first", "second", "both_good", "unsure"))
    ]
    assert golds(votes(rows).table)["right"].tolist() == [True, False, False]


# --- who is out of line


def test_who_answers_the_other_way_round_or_by_side_is_found_and_told_why() -> None:
    found = {each.annotator: each for each in raters(simulated(count=2, seed=1))}
    odd = {name: each.outlying for name, each in found.items() if each.outlying}
    assert set(odd) == {"rater 3", "rater 7"}
    assert odd["rater 3"].startswith("agrees with most others")
    assert odd["rater 7"].startswith("chose the left side")
    assert found["rater 7"].left > 0.7
    assert found["rater 3"].agreement < 0.4 < found["rater 0"].agreement
    assert found["rater 0"].consistency == 1.0
    assert math.isnan(found["rater 0"].gold)


def test_a_crowd_without_odd_raters_is_rarely_accused() -> None:
    """60 studies at a familywise 5%: 3 accused at most expected, more than 9 about once in 1,000 runs."""
    studies = (simulated(15, 40, 30, 2, seed, odd=False) for seed in range(60))
    assert sum(any(each.outlying for each in raters(study)) for study in studies) <= 9


def test_few_votes_accuse_nobody() -> None:
    rows = [vote(item, rater, 0, 1, "second" if rater == 9 else "first") for item in range(4) for rater in range(10)]
    assert not any(each.outlying for each in raters(votes(rows)))
    more = [vote(item, rater, 0, 1, "second" if rater == 9 else "first", flipped=item % 2 == 0)
            for item in range(12) for rater in range(10)]  # fmt: skip
    assert [each.annotator for each in raters(votes(more)) if each.outlying] == ["rater 9"]


def test_an_excluded_rater_is_judged_by_the_others_but_not_they_by_him() -> None:
    rows = [vote(item, rater, 0, 1, "first") for item in range(9) for rater in range(2)]
    rows += [vote(item, 5, 0, 1, "second", excluded=True) for item in range(9)]
    found = {each.annotator: each for each in raters(votes(rows))}
    assert (found["rater 0"].agreement, found["rater 0"].compared) == (1.0, 9)
    assert (found["rater 5"].agreement, found["rater 5"].excluded) == (0.0, True)


def test_holms_correction() -> None:
    """0.01 < 0.05/4, 0.015 < 0.05/3, 0.03 > 0.05/2: the third fails, and all after it."""
    chances = np.array([[0.03, 0.01], [0.015, 0.04], [np.nan, np.nan]])
    assert holm(chances).tolist() == [[False, True], [True, False], [False, False]]
    assert not holm(np.full((2, 2), np.nan)).any()
    assert holm(np.zeros((2, 2))).all()

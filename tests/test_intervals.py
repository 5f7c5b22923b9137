"""Intervals against known cases, and the arithmetic of both gap definitions."""

import math

import numpy as np
import pytest

from eft_core.intervals import closed, difference, mean, ratio, wilson


def column(values: list[float]) -> np.ndarray:
    """(I, 1) scores."""
    return np.array(values, float)[:, None]


def shares(n: int, *rates: float) -> list[np.ndarray]:
    """Yes or no for n items, the first ones yes."""
    return [column([float(i < rate * n) for i in range(n)]) for rate in rates]


def test_wilson_interval() -> None:
    low, high = wilson(50, 100)
    assert (round(low, 4), round(high, 4)) == (0.4038, 0.5962)
    assert wilson(0, 100)[0] == 0.0
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_share_of_single_answers_has_wilsons_interval() -> None:
    [half] = shares(100, 0.5)
    found = mean(half)
    assert (found.value, found.n) == (0.5, 100)
    assert (found.low, found.high) == wilson(50, 100)


def test_a_mean_of_grades_has_the_bootstraps_interval() -> None:
    values = np.linspace(0, 1, 400)
    found = mean(column(list(values)))
    half = 1.96 * values.std() / math.sqrt(400)
    assert found.high - found.value == pytest.approx(half, rel=0.1)
    assert found.value - found.low == pytest.approx(half, rel=0.1)


def test_samples_of_an_item_are_no_more_evidence_than_the_item() -> None:
    [once] = shares(60, 0.5)
    many = np.repeat(once, 10, axis=1)
    assert mean(many).high - mean(many).low > 0.8 * (mean(once).high - mean(once).low)


def test_resampling_never_calls_a_share_certain() -> None:
    found = mean(np.ones((20, 4)))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == wilson(20, 20)[0] < 0.9
    same = difference(np.ones((20, 4)), np.ones((20, 4)))
    assert (same.value, same.low, same.high) == (0.0, -0.15, 0.15)


def test_missing_scores_are_left_out() -> None:
    scores = np.array([[1.0, np.nan], [0.0, 1.0], [np.nan, np.nan]])
    found = mean(scores)
    assert (found.value, found.n) == (0.75, 2)
    assert math.isnan(mean(np.full((3, 1), np.nan)).value)


def test_pairing_makes_a_difference_surer_than_two_shares_are() -> None:
    better, worse = shares(100, 0.6, 0.5)
    found = difference(better, worse)
    assert found.value == pytest.approx(0.1)
    assert 0 < found.low < found.high < 0.2
    assert mean(worse).high > mean(better).low  # unpaired, they overlap
    back = difference(worse, better)
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_items_missing_on_one_side_are_missing_on_both() -> None:
    found = difference(column([1, 1, np.nan]), column([0, 1, 0]))
    assert (found.value, found.n) == (0.5, 2)


def test_the_papers_normalised_improvement_and_the_gap_closed() -> None:
    small, mixture, large, base = shares(100, 0.4, 0.7, 0.8, 0.2)
    improvement = closed(mixture, small, large)  # (0.7 - 0.4) / (0.8 - 0.4)
    gap = closed(mixture, base, large)  # (0.7 - 0.2) / (0.8 - 0.2)
    assert improvement.value == pytest.approx(0.75)
    assert gap.value == pytest.approx(5 / 6)
    assert gap.value > improvement.value  # from the untuned base everything looks closer
    assert improvement.low < 0.75 < improvement.high


def test_a_mixture_below_the_small_model_is_negative_and_stays_so() -> None:
    small, mixture, large = shares(100, 0.4, 0.1, 0.8)
    assert closed(mixture, small, large).value == pytest.approx(-0.75)
    assert closed(shares(100, 1.0)[0], small, large).value == pytest.approx(1.5)  # nor is it cut above


def test_a_gap_that_may_be_none_has_no_bounds() -> None:
    small, mixture, large = shares(40, 0.5, 0.6, 0.525)
    found = closed(mixture, small, large)
    assert math.isinf(found.low)
    assert math.isinf(found.high)
    assert math.isnan(closed(mixture, small, small).value)
    assert str(closed(mixture, small, small)) == "not defined"


def test_a_ratio_counts_what_is_counted_not_items() -> None:
    found = ratio(np.array([1, 0, 3]), np.array([2, 2, 6]))
    assert found.value == pytest.approx(0.4)
    assert found.low <= 0.4 <= found.high
    assert math.isnan(ratio(np.zeros(3), np.zeros(3)).value)


def test_intervals_hold_what_they_promise() -> None:
    """Of 300 experiments with a true mean of 0.7, few enough miss it: false alarm about 1 in 10,000."""
    rng = np.random.default_rng(7)
    missed = sum(not (found.low <= 0.7 <= found.high)
                 for found in (mean(rng.binomial(1, 0.7, (80, 2)).astype(float)) for _ in range(300)))  # fmt: skip
    assert missed <= 31  # binomial(300, 0.06): 18 expected

"""Do raters agree, with one another and with themselves? Krippendorff's alpha, repeats, and items of known answer.

Alpha after Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability": 1 is full agreement, 0 what chance gives.
It depends on how often each unit got each value and on nothing else, so raters may be many and judgements missing.
U units (a pair of answers to an item), V values, R raters.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from eft_core.intervals import Estimate
from eft_core.ratings.ballots import BOTH_BAD, BOTH_GOOD, FIRST, SECOND, Ballots
from eft_core.ratings.clusters import NONE, bounded, means, resampled, share

Metric = Literal["nominal", "ordinal", "interval"]
# In favour of the first policy; what is between -1 and 1 is a tie.
_ANSWERS = np.array([-1.0, -0.25, 0.25, 1.0])  # worse, both bad, both good, better
_ORDER = np.array([-1.0, 0.0, 1.0])
_STRENGTHS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])


def alpha(ratings: np.ndarray, metric: Metric) -> float:
    """Alpha of (R, U) numbers, nan where a rater said nothing; nan if nothing can be compared or nothing varies."""
    known = np.isfinite(ratings)
    values, codes = np.unique(ratings[known], return_inverse=True)
    counts = np.zeros((ratings.shape[1], len(values)))
    np.add.at(counts, (np.nonzero(known)[1], codes), 1)
    return float(_alpha(_coincidences(counts).sum(axis=0)[None], values, metric)[0])


def _coincidences(counts: np.ndarray) -> np.ndarray:
    """(U, V, V): a unit's pairs of values, each rating paired with every other one's. counts: (U, V)."""
    raters = counts.sum(axis=1)
    weight = np.divide(1, raters - 1, out=np.zeros(len(raters)), where=raters > 1)
    own = counts[:, :, None] * np.eye(counts.shape[1])
    return (counts[:, :, None] * counts[:, None, :] - own) * weight[:, None, None]


def _alpha(coincidences: np.ndarray, values: np.ndarray, metric: Metric) -> np.ndarray:
    """(B,): alphas of B matrices of coincidences, (B, V, V)."""
    marginals = coincidences.sum(axis=2)
    n = marginals.sum(axis=1)
    far = _distances(marginals, values, metric)
    observed = (coincidences * far).sum(axis=(1, 2))
    expected = (marginals[:, :, None] * marginals[:, None, :] * far).sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - (n - 1) * observed / expected, np.nan)


def _distances(marginals: np.ndarray, values: np.ndarray, metric: Metric) -> np.ndarray:
    """(B, V, V) squared differences of two values. Ordinal ones count what lies between."""
    if metric == "nominal":
        return np.broadcast_to(1 - np.eye(len(values)), (len(marginals), len(values), len(values)))
    if metric == "interval":
        return np.broadcast_to(np.square(values[:, None] - values), (len(marginals), len(values), len(values)))
    middle = marginals.cumsum(axis=1) - marginals / 2
    return np.square(middle[:, :, None] - middle[:, None, :])


# --- of votes


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far raters agree on the `units` pairs of answers that two or more of them have judged.

    answers: alpha of better, worse, both good and both bad, as names. order: alpha of better, tie and worse, as an
    order. strength: alpha from clearly better to clearly worse, as numbers. same: share of pairs of raters who gave the
    same answer; `n` counts the units in all of them.
    """

    units: int
    answers: Estimate
    order: Estimate
    strength: Estimate
    same: Estimate


def agreement(ballots: Ballots) -> Agreement:
    """Agreement of the ballots. "Can't judge" says nothing, and is left out.

    Which policy of a pair is called the first means nothing, but alpha's chance would depend on it; so every unit is
    counted both ways round, half each.
    """
    side = np.select([ballots.outcome == FIRST, ballots.outcome == SECOND], [1.0, -1.0], 0.0)
    side[~ballots.judged] = np.nan
    tie = np.select([ballots.outcome == BOTH_GOOD, ballots.outcome == BOTH_BAD], [0.25, -0.25], 0.0)
    asked = np.isfinite(ballots.strength[ballots.decided]).any()
    ways = side * np.where(ballots.decided, ballots.strength, 0.0 if asked else np.nan)
    answers, units = _by_item(ballots, side + tie, _ANSWERS)
    strength, asked_units = _by_item(ballots, ways, _STRENGTHS)
    same = np.trace(answers, axis1=1, axis2=2)
    return Agreement(
        units,
        _estimated(answers, _ANSWERS, "nominal", units),
        _estimated(_by_item(ballots, side, _ORDER)[0], _ORDER, "ordinal", units),
        _estimated(strength, _STRENGTHS, "interval", asked_units),
        means(csr_array(same[:, None]), csr_array(answers.sum(axis=(1, 2))[:, None]))[0] if units else NONE,
    )


def _by_item(ballots: Ballots, given: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, int]:
    """(I, V, V) coincidences of items that several raters judged, and how many units are in them.

    given: (n,) in favour of the first, among `values`; nan where nothing is said. What is smaller than 1 is a tie.
    """
    known, across = np.isfinite(given), len(ballots.pairs)
    units, unit = np.unique((ballots.item * across + ballots.pair)[known], return_inverse=True)
    counts = np.zeros((len(units), len(values)))
    np.add.at(counts, (unit, np.searchsorted(values, given[known])), 1)
    several = counts.sum(axis=1) > 1
    pairings = _coincidences(counts[several])
    turned = np.searchsorted(values, np.where(np.abs(values) < 1, values, -values))
    pairings = (pairings + pairings[:, turned][:, :, turned]) / 2
    items, item = np.unique(units[several] // across, return_inverse=True)
    found = np.zeros((len(items), len(values), len(values)))
    np.add.at(found, item, pairings)
    return found, int(several.sum())


def _estimated(by_item: np.ndarray, values: np.ndarray, metric: Metric, units: int) -> Estimate:
    """Alpha with its interval over items; by_item: (I, V, V)."""
    if not units:
        return NONE
    drawn = resampled(by_item.reshape(len(by_item), -1)).reshape(-1, *by_item.shape[1:])
    return bounded(float(_alpha(by_item.sum(axis=0)[None], values, metric)[0]), _alpha(drawn, values, metric), units)


# --- with oneself, and with what is known


def repeated(table: pd.DataFrame) -> pd.DataFrame:
    """Comparisons that a rater judged again with swapped sides, one a row: annotator; same: with the same answer.

    Those of which either judgement is "can't judge" are left out.
    """
    on = ["annotator", "item", "first", "second"]
    again = table[(table["kind"] == "repeat") & (table["outcome"] != "unsure")]
    before = table[(table["kind"] == "ordinary") & (table["outcome"] != "unsure")]
    before = before[before["item"].isin(again["item"])]
    both = before[[*on, "outcome"]].merge(again[[*on, "outcome"]], on=on, suffixes=("", "_again"))
    return pd.DataFrame({"annotator": both["annotator"], "same": both["outcome"] == both["outcome_again"]})


def golds(table: pd.DataFrame) -> pd.DataFrame:
    """Gold comparisons, one a row: annotator; right: the answer that is known to be better was chosen, so a tie is
    not. "Can't judge" is left out."""
    known = table[(table["kind"] == "gold") & (table["outcome"] != "unsure")]
    return pd.DataFrame({"annotator": known["annotator"], "right": known["outcome"] == "first"})


def by_annotator(rows: pd.DataFrame, column: str) -> Estimate:
    """The share of rows that say yes, over all annotators; rows of one annotator are not independent."""
    counts = rows.groupby("annotator")[column].agg(["sum", "count"]).to_numpy(float)
    return share(counts[:, 0], counts[:, 1])

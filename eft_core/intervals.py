"""How sure a number is: 95% intervals of shares, means, paired differences, and the paper's two gap measures.

Scores are arrays (I items, S samples), NaN where a measure does not apply. Samples of one item are not independent, so
items are resampled, never answers (cluster bootstrap, Efron 1979); comparisons resample the same items on both sides.
Pure numpy; resampling is seeded, so a number is the same every time.
"""

import math
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
Scores = np.ndarray  # (I, S) float64


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95% interval, from `n` items. Not finite where the data do not say: a gap of zero width."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if not math.isfinite(self.value):
            return "not defined"
        return f"{self.value:.2f} [{_told(self.low)}, {_told(self.high)}]"


def _told(bound: float) -> str:
    return f"{bound:.2f}" if math.isfinite(bound) else ("−∞" if bound < 0 else "∞")


def wilson(successes: float, n: float) -> tuple[float, float]:
    """95% interval of a share (Wilson 1927); (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    z = 1.959964
    share, spread = successes / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def mean(scores: Scores) -> Estimate:
    """The mean score. Wilson's interval for one yes or no an item, the bootstrap over items otherwise.

    Where all items say yes, or all no, resampling would call that certain: Wilson's interval there too.
    """
    [items] = _together(scores)
    n = len(items)
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    whole = np.isin(items, (0.0, 1.0)).all() and (scores.shape[1] == 1 or len(set(items)) == 1)
    low, high = wilson(int(items.sum()), n) if whole else _bounds(items[_draws(n)].mean(axis=1))
    return Estimate(float(items.mean()), low, high, n)


def difference(first: Scores, second: Scores) -> Estimate:
    """Mean of `first` - `second` on the same items, for scores within [0, 1].

    Where all items differ alike, up to 3 in n may do otherwise (the rule of three), which resampling cannot see.
    """
    a, b = _together(first, second)
    if not len(a):
        return Estimate(math.nan, math.nan, math.nan, 0)
    each = a - b
    if np.ptp(each) == 0:
        value, unseen = float(each[0]), 3 / len(each)
        return Estimate(value, max(-1.0, value - unseen), min(1.0, value + unseen), len(each))
    return Estimate(float(each.mean()), *_bounds(each[_draws(len(each))].mean(axis=1)), len(each))


def closed(emulated: Scores, floor: Scores, ceiling: Scores) -> Estimate:
    """Share of the way from `floor` to `ceiling` that `emulated` goes; negative below the floor, never cut.

    The paper's normalised improvement has the small tuned model as its floor and the large tuned one as its ceiling
    (Mitchell et al. 2023, section 4); the gap closed has the untuned base as its floor, which flatters (PAPER.md).
    The interval is unbounded where the ceiling is not surely off the floor.
    """
    e, f, c = _together(emulated, floor, ceiling)
    if not len(e) or c.mean() == f.mean():
        return Estimate(math.nan, math.nan, math.nan, len(e))
    drawn = _draws(len(e))
    gap, gain = (c - f)[drawn].mean(axis=1), (e - f)[drawn].mean(axis=1)
    value = (e.mean() - f.mean()) / (c.mean() - f.mean())
    if np.mean(np.sign(gap) != np.sign(c.mean() - f.mean())) > 0.025:
        return Estimate(float(value), -math.inf, math.inf, len(e))
    return Estimate(float(value), *_bounds(gain[gap != 0] / gap[gap != 0]), len(e))


def _together(*scores: Scores) -> list[np.ndarray]:
    """Means over samples, of the items that have a score on every side: one array (I',) a side."""
    counts = [np.isfinite(each).sum(axis=1) for each in scores]
    there = np.all([count > 0 for count in counts], axis=0)
    return [np.nansum(each[there], axis=1) / count[there] for each, count in zip(scores, counts, strict=True)]


def _draws(n: int) -> np.ndarray:
    """(RESAMPLES, n) item numbers, drawn with replacement; the same for the same n."""
    return np.random.default_rng(0).integers(0, n, (RESAMPLES, n))


def _bounds(means: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def ratio(part: np.ndarray, whole: np.ndarray) -> Estimate:
    """Sum of `part` over the sum of `whole`, both (I,): a share of tokens, say, where items differ in length."""
    if not whole.sum():
        return Estimate(math.nan, math.nan, math.nan, len(whole))
    drawn = _draws(len(whole))
    parts, wholes = part[drawn].sum(axis=1), whole[drawn].sum(axis=1)
    return Estimate(float(part.sum() / whole.sum()), *_bounds(parts[wholes > 0] / wholes[wholes > 0]), len(whole))

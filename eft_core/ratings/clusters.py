"""How sure numbers from votes are: several people judge one item, and their votes on it are not independent.

What is resampled, or counted as evidence, is therefore the item, never the vote (as in `intervals`). I items, C columns
of totals that add up over items. Pure numpy and scipy; resampling is seeded.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array, csr_array, hstack
from scipy.stats import t as student

from eft_core.intervals import Estimate, wilson

RESAMPLES = 1000
_MOST = 1000  # items that are resampled one by one
_Z = 1.959964
NONE = Estimate(math.nan, math.nan, math.nan, 0)


def totals(item: np.ndarray, column: np.ndarray, weight: np.ndarray, shape: tuple[int, int]) -> csr_array:
    """(I, C) sums of the weights of votes, (n,) each, by their item and a column."""
    return coo_array((weight.astype(float), (item, column)), shape=shape).tocsr()


def resampled(by_item: csr_array | np.ndarray) -> np.ndarray:
    """(RESAMPLES, C): the columns' sums over as many items, drawn with replacement; by_item: (I, C).

    More than `_MOST` items are first summed in that many groups, by chance: sums of independent items are independent
    too, and vary as much."""
    rng = np.random.default_rng(0)
    if by_item.shape[0] > _MOST:
        group = rng.permutation(by_item.shape[0]) % _MOST
        by_item = totals(group, np.arange(len(group)), np.ones(len(group)), (_MOST, len(group))) @ by_item
    count = by_item.shape[0]
    drawn = rng.integers(0, count, (RESAMPLES, count), dtype=np.int32)
    place = (drawn + count * np.arange(RESAMPLES, dtype=np.int32)[:, None]).ravel()
    draws = np.bincount(place, minlength=RESAMPLES * count).reshape(RESAMPLES, count)
    return (by_item.T @ draws.T.astype(float)).T


def bounded(value: float, samples: np.ndarray, n: int) -> Estimate:
    """A value with the middle 95% of its resamples, those that are defined; no bounds if a fifth of them are not."""
    known = samples[np.isfinite(samples)]
    if not math.isfinite(value) or len(known) < 0.8 * len(samples):
        return Estimate(value, math.nan, math.nan, n)
    low, high = np.quantile(known, (0.025, 0.975))
    return Estimate(float(value), float(low), float(high), n)


def share(part: np.ndarray, whole: np.ndarray) -> Estimate:
    """Sum of `part` over the sum of `whole`, votes of each item, (I,); `n` counts the votes.

    Wilson's interval (1927), for as many votes as they are worth: where items have one vote each, all of them;
    otherwise fewer, by the design effect of the items (Kish 1965) and by Student's t for the number of items, as survey
    statistics do it (Korn and Graubard 1998).
    """
    votes, items = float(whole.sum()), int(np.count_nonzero(whole))
    if not votes:
        return NONE
    value = float(part.sum()) / votes
    worth = votes if items == votes else _worth(part - value * whole, value, votes, items)
    low, high = wilson(value * worth, worth)
    return Estimate(value, low, high, round(votes))


def _worth(residual: np.ndarray, value: float, votes: float, items: int) -> float:
    """How many independent votes would say as much. residual: (I,) votes above what the share foretells."""
    if items == 1 or value in (0.0, 1.0):
        return float(items)  # agreement within an item and among items cannot be told apart
    variance = items / (items - 1) * float(np.square(residual).sum()) / votes**2
    doubt = float((student.ppf(0.975, items - 1) / _Z) ** 2)
    return max(1.0, min(votes, value * (1 - value) / max(variance, 1e-12) / doubt))


def means(total: csr_array, count: csr_array) -> Sequence[Estimate]:
    """Means of C columns, sum over sum, with bootstrap intervals over items; total and count: (I, C)."""
    columns = total.shape[1]
    drawn = resampled(hstack([total, count], format="csr"))
    counts = count.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = total.sum(axis=0) / counts
        samples = drawn[:, :columns] / drawn[:, columns:]
    return [bounded(float(values[each]), samples[:, each], round(float(counts[each]))) for each in range(columns)]

"""Who wins against whom: decided votes, and apart from them ties and "both bad"; sides; the 1 to 5 scales.

A win rate is the share of the decided votes, so ties do not pull it to one half; how often there was a tie, and how
often because both were bad, are numbers of their own (ECOSYSTEM.md 3.1, 3.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from eft_core.intervals import Estimate, wilson
from eft_core.ratings.ballots import FIRST, OUTCOMES, SCALES, Ballots
from eft_core.ratings.clusters import means, share, totals
from eft_core.ratings.votes import Votes


@dataclass(frozen=True, slots=True)
class Meeting:
    """How votes on two policies ended; numbers of policies, counts of votes.

    win_rate: of the first, among decided votes. ties: both good or both bad, among all but "can't judge", as is
    both_bad_rate. margin: mean strength from 2 (the first clearly better) through 0 (a tie) to -2; nan if nobody was
    asked.
    """

    first: int
    second: int
    items: int
    wins: int
    losses: int
    both_good: int
    both_bad: int
    unsure: int
    win_rate: Estimate
    ties: Estimate
    both_bad_rate: Estimate
    margin: Estimate

    @property
    def votes(self) -> int:
        return self.wins + self.losses + self.both_good + self.both_bad + self.unsure


def meetings(ballots: Ballots) -> Sequence[Meeting]:
    """One a pair of policies that met, in the order of the policies."""
    return [_meeting(ballots, number, margin) for number, margin in enumerate(_margins(ballots))]


def _meeting(ballots: Ballots, number: int, margin: Estimate) -> Meeting:
    chosen = ballots.pair == number
    _, item = np.unique(ballots.item[chosen], return_inverse=True)
    by_item = np.zeros((item.max() + 1, len(OUTCOMES)))
    np.add.at(by_item, (item, ballots.outcome[chosen]), 1)
    wins, losses, good, bad, unsure = by_item.T
    first, second = ballots.pairs[number].tolist()
    return Meeting(
        first,
        second,
        items=len(by_item),
        wins=int(wins.sum()),
        losses=int(losses.sum()),
        both_good=int(good.sum()),
        both_bad=int(bad.sum()),
        unsure=int(unsure.sum()),
        win_rate=share(wins, wins + losses),
        ties=share(good + bad, wins + losses + good + bad),
        both_bad_rate=share(bad, wins + losses + good + bad),
        margin=margin,
    )


def _margins(ballots: Ballots) -> Sequence[Estimate]:
    """Mean signed strength of each pair. A decided vote of which no strength is known is left out, and all ties are
    where none was asked for."""
    known = ballots.decided & np.isfinite(ballots.strength)
    tied = ballots.judged & ~ballots.decided & known.any()
    signed = np.where(known, np.where(ballots.outcome == FIRST, ballots.strength, -ballots.strength), 0.0)
    shape = (ballots.items, len(ballots.pairs))
    return means(*(totals(ballots.item, ballots.pair, each, shape) for each in (signed, known | tied)))


def matrix(found: Sequence[Meeting], policies: int) -> np.ndarray:
    """(K, K) win rates of the row's policy over the column's; nan where two never met or nothing was decided."""
    rates = np.full((policies, policies), np.nan)
    for each in found:
        rates[each.first, each.second] = each.win_rate.value
        rates[each.second, each.first] = 1 - each.win_rate.value
    return rates


@dataclass(frozen=True, slots=True)
class Sides:
    """Decided votes for the answer at the left, and how likely so uneven a count is if sides mean nothing.

    Sides are drawn by chance for each item and rater, so that votes are independent in this, whoever is better: the
    interval is Wilson's and the test exact.
    """

    left: int
    decided: int
    share: Estimate
    p: float


def sides(verdicts: pd.Series) -> Sides:
    """Of verdicts as they were shown, such as `Votes.table["verdict"]`."""
    left, right = int((verdicts == "left").sum()), int((verdicts == "right").sum())
    n = left + right
    value = left / n if n else float("nan")
    p = float(binomtest(left, n).pvalue) if n else 1.0
    return Sides(left, n, Estimate(value, *wilson(left, n), n), p)


def scale_means(votes: Votes, ballots: Ballots) -> dict[str, Sequence[Estimate]]:
    """By scale: the mean mark of each policy, 1 to 5, intervals over items. Only scales that somebody was asked for."""
    found = {}
    policy, shape = ballots.pairs[ballots.pair], (ballots.items, len(ballots.policies))
    item = np.broadcast_to(ballots.item[:, None], policy.shape)
    for name in SCALES:
        marks = votes.table[[f"first_{name}", f"second_{name}"]].to_numpy(float)[ballots.rows]
        marks = np.where(ballots.swapped[:, None], marks[:, ::-1], marks)
        known = np.isfinite(marks)
        if known.any():
            each = (marks[known], np.ones(int(known.sum())))
            found[name] = means(*(totals(item[known], policy[known], weight, shape) for weight in each))
    return found

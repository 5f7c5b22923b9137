"""Each rater against the others: how much, how fast, how evenly, how consistently, and who is out of line.

Two exact tests a rater, with Holm's correction (1979) over all raters and both tests, so that of studies without any
odd rater at most one in twenty names one:
sides, whether one side is chosen too often; sides are drawn by chance, so without a habit it is one half;
agreement, whether the answer that most others gave is given more rarely than all raters give it together.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binom

from eft_core.ratings.agreement import golds, repeated
from eft_core.ratings.ballots import FIRST, SECOND, Ballots, ballots
from eft_core.ratings.votes import Votes

ALPHA = 0.05
LEAST_VOTES = 5
_BETTER, _WORSE, _TIE = range(3)


@dataclass(frozen=True, slots=True)
class Rater:
    """One annotator. Shares are nan without anything to count.

    left: share of decided votes for the left answer. ties: share of judged ones that are ties. agreement: share of
    answers that are those of most other raters, where others have a majority (`compared` times). consistency: share
    of repeats judged alike. gold: share of gold items judged right. outlying: why, or nothing.
    """

    annotator: str
    votes: int
    seconds: float
    left: float
    ties: float
    agreement: float
    compared: int
    consistency: float
    gold: float
    excluded: bool
    outlying: str


def raters(votes: Votes) -> tuple[Rater, ...]:
    """All annotators, those with most votes first. Excluded ones are judged by the others, and not the other way."""
    table = votes.table
    found = pd.DataFrame(
        {
            "votes": table.groupby("annotator").size(),
            "seconds": table.groupby("annotator")["seconds"].median(),
            "excluded": table.groupby("annotator")["excluded"].all(),
        }
    )
    decided = table[table["verdict"].isin(("left", "right"))]
    left = (decided["verdict"] == "left").groupby(decided["annotator"]).agg(["sum", "count"])
    judged = table[table["verdict"] != "unsure"]
    found["left"] = left["sum"] / left["count"]
    found["ties"] = judged["verdict"].isin(("both_good", "both_bad")).groupby(judged["annotator"]).mean()
    agreed = _with_others(votes)
    found["agreement"] = agreed["sum"] / agreed["count"]
    found["compared"] = agreed["count"]
    found["consistency"] = repeated(table).groupby("annotator")["same"].mean()
    found["gold"] = golds(table).groupby("annotator")["right"].mean()
    found["compared"] = found["compared"].fillna(0).astype(int)
    left, agreed = (each.reindex(found.index, fill_value=0) for each in (left, agreed))
    found["outlying"] = _outlying(left, agreed, found["excluded"].to_numpy())
    ordered = found.sort_values("votes", ascending=False, kind="stable").reset_index()
    return tuple(Rater(**row) for row in ordered.to_dict("records"))


def _with_others(votes: Votes) -> pd.DataFrame:
    """By annotator: how often (`sum`) of how many times (`count`) the answer is that of most others."""
    cast = ballots(votes)
    known = np.flatnonzero(cast.judged)
    excluded = votes.table["excluded"].to_numpy()[cast.rows[known]]
    units, unit = np.unique(cast.item[known] * len(cast.pairs) + cast.pair[known], return_inverse=True)
    answer = _answers(cast, known)
    counts = np.zeros((len(units), 3))
    np.add.at(counts, (unit[~excluded], answer[~excluded]), 1)
    others = counts[unit]
    others[np.arange(len(unit)), answer] -= ~excluded
    top = others.max(axis=1)
    clear = (top > 0) & ((others == top[:, None]).sum(axis=1) == 1)
    annotator = votes.table["annotator"].iloc[cast.rows[known[clear]]].to_numpy()
    same = pd.Series(others.argmax(axis=1)[clear] == answer[clear])
    return same.groupby(annotator).agg(["sum", "count"])


def _answers(cast: Ballots, known: np.ndarray) -> np.ndarray:
    """First better, second better, or neither: which kind of tie is a finer question than who wins."""
    return np.select([cast.outcome[known] == FIRST, cast.outcome[known] == SECOND], [_BETTER, _WORSE], _TIE)


def _outlying(left: pd.DataFrame, agreed: pd.DataFrame, excluded: np.ndarray) -> list[str]:
    """Why a rater is out of line, in words; empty for all others. left, agreed: (raters,) sums and counts."""
    lefts, decided, same, compared = np.column_stack([left, agreed]).T
    usual = same[~excluded].sum() / max(1, compared[~excluded].sum())
    sides = np.minimum(1, 2 * binom.cdf(np.minimum(lefts, decided - lefts), decided, 0.5))
    alone = binom.cdf(same, compared, usual)
    tests = np.column_stack([sides, alone])
    tests[np.column_stack([decided, compared]) < LEAST_VOTES] = np.nan
    told = zip(_sided(lefts, decided), _apart(same, compared, usual), holm(tests), strict=True)
    return ["; ".join(text for text, odd in zip(texts, found, strict=True) if odd) for *texts, found in told]


def _sided(lefts: np.ndarray, decided: np.ndarray) -> list[str]:
    return [
        f"chose the {'left' if 2 * left > of else 'right'} side {max(left, of - left):.0f} of {of:.0f} times"
        for left, of in zip(lefts, decided, strict=True)
    ]


def _apart(same: np.ndarray, compared: np.ndarray, usual: float) -> list[str]:
    return [
        f"agrees with most others {agreed:.0f} of {of:.0f} times, all raters {usual:.0%}"
        for agreed, of in zip(same, compared, strict=True)
    ]


def holm(chances: np.ndarray) -> np.ndarray:
    """Which p-values are small at `ALPHA` for all of them together (Holm 1979); nan is no test. Same shape."""
    flat = chances.ravel()
    order = np.argsort(flat)[: int(np.isfinite(flat).sum())]
    passed = flat[order] <= ALPHA / np.arange(len(order), 0, -1)
    found = np.zeros(len(flat), bool)
    found[order[: len(passed) if passed.all() else int(passed.argmin())]] = True
    return found.reshape(chances.shape)

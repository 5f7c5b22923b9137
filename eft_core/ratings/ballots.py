"""Votes as numbers: who met whom over which item, and how it ended. What all statistics of policies are made from.

An item counts once per annotator and pair of policies: repeats and gold items are left out, and so are two answers of
one policy; of several judgements the first counts. In a pair the policy that stands first in `Votes.policies` is the
first one, however it was shown.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eft_core.ratings.votes import Votes

# Outcomes, of a pair as it stands in `Ballots.pairs`.
FIRST, SECOND, BOTH_GOOD, BOTH_BAD, UNSURE = range(5)
OUTCOMES = ("first", "second", "both_good", "both_bad", "unsure")
_COLUMNS = ["created", "annotator", "item", "first", "second", "outcome", "strength", "first_tokens", "second_tokens"]
SCALES = ("helpfulness", "factuality", "harmlessness")


@dataclass(frozen=True, slots=True, eq=False)
class Ballots:
    """n votes on `items` items about P pairs of the K policies that have votes.

    policies: their keys; labels: a name for each, all different."""

    policies: tuple[str, ...]
    labels: tuple[str, ...]
    pairs: np.ndarray  # (P, 2) int: numbers of policies
    items: int
    item: np.ndarray  # (n,) int
    pair: np.ndarray  # (n,) int
    outcome: np.ndarray  # (n,) int
    strength: np.ndarray  # (n,) 1 slightly, 2 clearly; nan: not asked
    longer: np.ndarray  # (n,) how many times the first answer doubles the second's tokens; nan: not known
    rows: np.ndarray  # (n,) int: where they stand in the table of votes
    swapped: np.ndarray  # (n,) bool: the table has the pair the other way round

    def __len__(self) -> int:
        return len(self.pair)

    @property
    def decided(self) -> np.ndarray:
        """(n,) bool: one of the two was better."""
        return self.outcome <= SECOND

    @property
    def judged(self) -> np.ndarray:
        """(n,) bool: not "can't judge"."""
        return self.outcome != UNSURE


def ballots(votes: Votes) -> Ballots:
    """The votes of ordinary comparisons. ValueError if one is about a policy that `votes.policies` does not have."""
    table = ordinary(votes.table)
    present = {*table["first"].unique(), *table["second"].unique()}
    policies = votes.policies[votes.policies.index.isin(present)]
    keys = list(policies.index)
    first, second = numbers(table["first"], keys), numbers(table["second"], keys)
    swapped = first > second
    pair = np.where(swapped, second * len(keys) + first, first * len(keys) + second)
    there, pair = np.unique(pair, return_inverse=True)
    item, names = pd.factorize(table["item"])
    outcome = numbers(table["outcome"], OUTCOMES)
    outcome = np.where(swapped & (outcome <= SECOND), SECOND - outcome, outcome)
    ratio = np.log2(table["first_tokens"].clip(lower=1) / table["second_tokens"].clip(lower=1)).to_numpy(float)
    return Ballots(
        policies=tuple(keys),
        labels=distinct(policies),
        pairs=np.stack([there // max(1, len(keys)), there % max(1, len(keys))], axis=1),
        items=len(names),
        item=item,
        pair=pair,
        outcome=outcome,
        strength=table["strength"].to_numpy(float),
        longer=np.where(swapped, -ratio, ratio),
        rows=table.index.to_numpy(),
        swapped=swapped,
    )


def ordinary(table: pd.DataFrame) -> pd.DataFrame:
    """The first judgement of each annotator, item and two policies, in whatever order; numbered by place in `table`."""
    placed = table.reset_index(drop=True)
    counts = (placed["kind"] == "ordinary") & (placed["first"] != placed["second"])
    chosen = placed.loc[counts, _COLUMNS].sort_values("created", kind="stable")
    turned = chosen["first"] > chosen["second"]
    low, high = chosen["second"].where(turned, chosen["first"]), chosen["first"].where(turned, chosen["second"])
    same = pd.DataFrame({"annotator": chosen["annotator"], "item": chosen["item"], "low": low, "high": high})
    return chosen[~same.duplicated()]


def numbers(values: pd.Series, names: Sequence[str]) -> np.ndarray:
    """(n,) int: the place of every value in `names`."""
    codes = pd.Index(names).get_indexer(pd.Index(values))
    if (codes < 0).any():
        unknown = str(values[codes < 0].iloc[0])[:40]
        raise ValueError(f"a vote is about {unknown!r}, which is not known here: export the votes again.")
    return codes


def distinct(policies: pd.DataFrame) -> tuple[str, ...]:
    """A name for each policy: its label, with its formula and then its key where others have the same."""
    names = policies["label"].tolist()
    for more in (policies["formula"].tolist(), policies.index.tolist()):
        count = Counter(names)
        names = [name if count[name] == 1 else f"{name}, {text}" for name, text in zip(names, more, strict=True)]
    return tuple(names)

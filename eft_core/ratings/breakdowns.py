"""What a setting is worth: the win rate of each value of a setting against other values of it.

A comparison counts for a setting where its two policies differ in it. They may differ in more: so beside the win rate
over all of these there is one over pairs that differ in nothing else, which alone says what the setting does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eft_core.intervals import Estimate
from eft_core.ratings.ballots import BOTH_BAD, BOTH_GOOD, FIRST, OUTCOMES, SECOND, Ballots
from eft_core.ratings.clusters import NONE, share

# Columns of `Votes.policies`, what they are called, and which policies have them: β and p mean nothing where N is M.
_OF_ALL, _OF_TUNED, _OF_EMULATED = range(3)
SETTINGS = {
    "family": ("family", _OF_ALL),
    "behaviours": ("behaviour", _OF_ALL),
    "pretrain": ("N", _OF_ALL),
    "finetune": ("M", _OF_TUNED),
    "weights": ("λ", _OF_TUNED),
    "amplification": ("β", _OF_EMULATED),
    "nucleus": ("p", _OF_EMULATED),
}


@dataclass(frozen=True, slots=True)
class Worth:
    """One value of a setting. win_rate: against other values, of decided votes. alone: over pairs of policies that
    differ in nothing else that both of them have. ties and both_bad: of judged votes that have the value.

    No comparison is of two families, so a family has no win rate."""

    setting: str
    value: str
    win_rate: Estimate
    alone: Estimate
    ties: Estimate
    both_bad: Estimate


def breakdowns(ballots: Ballots, policies: pd.DataFrame) -> Sequence[Worth]:
    """Every value of every setting that varies among the policies of the ballots."""
    values = _values(policies.loc[list(ballots.policies)])
    first, second = ballots.pairs.T
    differ = np.array([(each[first] != each[second]) & (each[first] != "") & (each[second] != "") for each in values])
    found = []
    for (title, _), each, differs in zip(SETTINGS.values(), values, differ, strict=True):
        there = [value for value in dict.fromkeys(each.tolist()) if value]
        for value in there if len(there) > 1 else []:
            has = each[ballots.pairs] == value  # (P, 2)
            pairs = has.any(axis=1) & (differs | (title == "family"))
            found.append(_worth(ballots, title, value, has, pairs, pairs & (differ.sum(axis=0) == 1)))
    return found


def _values(policies: pd.DataFrame) -> list[np.ndarray]:
    """(K,) texts of each setting, empty for a policy that does not have it."""
    tuned = policies["finetune"] != ""
    emulated = tuned & (policies["pretrain"] != policies["finetune"])
    having = (np.ones(len(policies), bool), tuned, emulated)
    return [np.where(having[of], policies[name].map(_told), "").astype(str) for name, (_, of) in SETTINGS.items()]


def _told(value: object) -> str:
    return ("none" if value != value else f"{value:g}") if isinstance(value, float) else str(value) or "none"


def _worth(ballots: Ballots, setting: str, value: str, has: np.ndarray, pairs: np.ndarray, alone: np.ndarray) -> Worth:
    """has: (P, 2) bool, which of a pair has the value; pairs and alone: (P,) bool, those that count."""
    counts = _counts(ballots, pairs, has)
    judged = counts[:, : BOTH_BAD + 1].sum(axis=1)
    one_family = setting == "family"
    return Worth(
        setting,
        value,
        NONE if one_family else _rate(counts),
        NONE if one_family else _rate(_counts(ballots, alone, has)),
        share(counts[:, BOTH_GOOD] + counts[:, BOTH_BAD], judged),
        share(counts[:, BOTH_BAD], judged),
    )


def _counts(ballots: Ballots, pairs: np.ndarray, has: np.ndarray) -> np.ndarray:
    """(I, outcomes) votes on the chosen pairs, turned so that the policy that has the value comes first."""
    chosen = pairs[ballots.pair]
    outcome, turned = ballots.outcome[chosen], ~has[ballots.pair[chosen], 0]
    outcome = np.where(turned & (outcome <= SECOND), SECOND - outcome, outcome)
    place = ballots.item[chosen] * len(OUTCOMES) + outcome
    return np.bincount(place, minlength=ballots.items * len(OUTCOMES)).reshape(-1, len(OUTCOMES))


def _rate(counts: np.ndarray) -> Estimate:
    return share(counts[:, FIRST], counts[:, FIRST] + counts[:, SECOND])

"""Which votes a statistic is about."""

from dataclasses import dataclass

import pandas as pd

from eft_core.ratings.annotators import raters
from eft_core.ratings.votes import Votes

# What a filter may name, and the column of `Votes.policies` that it is about.
NAMED = {"family": "family", "behaviour": "behaviours", "pretrain": "pretrain", "finetune": "finetune"}


@dataclass(frozen=True, slots=True)
class Filter:
    """blind: votes whose rater could not know whose answers they were, or else those that could: never both together.
    excluded: with the votes of annotators that an organiser took out. outliers: with those of outlying ones.
    family, behaviour, pretrain (N) and finetune (M): comparisons of which a policy has it; "" is any."""

    blind: bool = True
    excluded: bool = False
    outliers: bool = True
    family: str = ""
    behaviour: str = ""
    pretrain: str = ""
    finetune: str = ""


def kept(votes: Votes, chosen: Filter) -> Votes:
    """The votes that a filter leaves. Gold items are of no policy: they stay, whatever policies are chosen."""
    table = votes.table
    wanted, gold = table["blind"] == chosen.blind, table["kind"] == "gold"
    for name, column in NAMED.items():
        if value := getattr(chosen, name):
            having = votes.policies.index[votes.policies[column] == value]
            wanted &= table["first"].isin(having) | table["second"].isin(having) | gold
    if not chosen.excluded:
        wanted &= ~table["excluded"]
    found = Votes(table[wanted], votes.policies)
    return found if chosen.outliers else _without(found, {each.annotator for each in raters(found) if each.outlying})


def _without(votes: Votes, annotators: set[str]) -> Votes:
    return Votes(votes.table[~votes.table["annotator"].isin(annotators)], votes.policies)


def offered(policies: pd.DataFrame) -> dict[str, list[str]]:
    """What each name of a filter may be, in the order of the policies."""
    return {name: [value for value in dict.fromkeys(policies[column]) if value] for name, column in NAMED.items()}

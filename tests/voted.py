"""Made votes for tests of the statistics and of their page; not a test."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eft_core.ratings.votes import COLUMNS, POLICY_COLUMNS, Votes

NAN = float("nan")
# label, formula, N, M, behaviours, weights, amplification
POLICIES = (
    ("Large base", "base(large)", "large", "", "", "", NAN),
    ("Small tuned", "helpful(small)", "small", "small", "helpful", "1", 1.0),
    ("Up-scaled", "base(large) + [helpful − base](small)", "large", "small", "helpful", "1", 1.0),
    ("Up-scaled more", "1.5 base(large) + ...", "large", "small", "helpful", "1", 1.5),
    ("Large tuned", "helpful(large)", "large", "large", "helpful", "1", 1.0),
)
STRENGTHS = (-0.9, 0.1, 0.5, 0.3, 0.8)
_SHOWN = {("first", False): "left", ("second", False): "right", ("first", True): "right", ("second", True): "left"}


def policies(count: int, labels: Sequence[str] = ()) -> pd.DataFrame:
    """The first policies above; keys are p0, p1 ..."""
    names = ["label", "formula", "pretrain", "finetune", "behaviours", "weights", "amplification"]
    table = pd.DataFrame(POLICIES[:count], columns=names, index=[f"p{number}" for number in range(count)])
    table = table.assign(family="atlas", nucleus=NAN)
    if labels:
        table["label"] = list(labels)
    return table[list(POLICY_COLUMNS)].astype(POLICY_COLUMNS).rename_axis("key")


def vote(
    item: int, annotator: int, first: int, second: int, outcome: str, flipped: bool = False, **more: Any
) -> dict[str, Any]:
    """One row of votes; `more` overrides any column."""
    gold = more.get("kind") == "gold"
    return {
        "campaign": "study",
        "item": f"item {item}",
        "annotator": f"rater {annotator}",
        "kind": "ordinary",
        "blind": True,
        "verdict": _SHOWN.get((outcome, flipped), outcome),
        "outcome": outcome,
        "strength": NAN,
        "first": "" if gold else f"p{first}",
        "second": "" if gold else f"p{second}",
        "seconds": 10.0,
        "excluded": False,
    } | more


def votes(rows: Iterable[dict[str, Any]], count: int = 2, labels: Sequence[str] = ()) -> Votes:
    """Rows of `vote`, one a second, about `count` policies."""
    table = pd.DataFrame(list(rows))
    for number, name in enumerate(("rating", "comparison")):
        table[name] = [f"{name}-{number}-{place}" for place in range(len(table))]
    if "created" not in table:
        table["created"] = pd.Timestamp("2026-11-01", tz="UTC") + pd.to_timedelta(range(len(table)), "s")
    table["item_name"] = table["item"]
    missing = {name: NAN for name in COLUMNS if name not in table}
    return Votes(table.assign(**missing)[list(COLUMNS)].astype(COLUMNS), policies(count, labels))


def counted(wins: Sequence[Sequence[int]], labels: Sequence[str] = ()) -> Votes:
    """Votes with as many wins of the row over the column; every one is of an item of its own."""
    item, rows = itertools.count(), []
    for i, j in itertools.permutations(range(len(wins)), 2):
        rows += [vote(next(item), 0, i, j, "first") for _ in range(wins[i][j])]
    found = votes(rows, min(len(wins), len(POLICIES)))
    if len(wins) > len(POLICIES):
        names = labels or [f"policy {number}" for number in range(len(wins))]
        table = pd.concat([policies(1)] * len(wins)).assign(label=list(names))
        return Votes(found.table, table.set_axis([f"p{number}" for number in range(len(wins))]).rename_axis("key"))
    return found


def simulated(
    annotators: int = 40,
    items: int = 300,
    each: int = 120,
    count: int = 5,
    seed: int = 0,
    length: float = 0.5,
    odd: bool = True,
    strengths: Sequence[float] = STRENGTHS,
    spread: float = 0.6,
    ties: float = 0.25,
) -> Votes:
    """A study: `each` comparisons an annotator. Items differ by `spread`, a doubled length adds `length` log-odds.

    odd: annotator 3 answers the other way round, and annotator 7 takes the left side six times in ten.
    """
    rng = np.random.default_rng(seed)
    pairs = np.array(list(itertools.combinations(range(count), 2)))
    tokens = np.exp(rng.normal(3.2, 0.4, (items, count))).round()
    merit = np.array(strengths[:count]) + rng.normal(0, spread, (items, count)) + length * np.log2(tokens / 25)
    annotator = np.repeat(np.arange(annotators), each)
    item = np.concatenate([rng.permutation(items)[:each] for _ in range(annotators)])
    first, second = pairs[rng.integers(0, len(pairs), len(item))].T
    ahead = merit[item, first] - merit[item, second]
    ahead = np.where(odd & (annotator == 3), -ahead, ahead)
    won = rng.random(len(item)) < 1 / (1 + np.exp(-ahead))
    flipped = rng.random(len(item)) < 0.5
    lefty = odd & (annotator == 7) & (rng.random(len(item)) < 0.6)
    outcome = np.where(np.where(lefty, ~flipped, won), "first", "second").astype(object)
    tied = (rng.random(len(item)) < ties) & ~lefty
    outcome[tied] = rng.choice(["both_good", "both_bad", "unsure"], int(tied.sum()), p=[0.5, 0.4, 0.1])
    decided = np.isin(outcome, ("first", "second"))
    left = np.where(outcome == np.where(flipped, "second", "first"), "left", "right")
    table = pd.DataFrame(
        {
            "campaign": "study",
            "item": [f"item {number}" for number in item],
            "annotator": [f"rater {number}" for number in annotator],
            "kind": "ordinary",
            "blind": True,
            "verdict": np.where(decided, left, outcome),
            "outcome": outcome,
            "strength": np.where(decided, 1.0 + (np.abs(ahead) > 1), NAN),
            "first": [f"p{number}" for number in first],
            "second": [f"p{number}" for number in second],
            "first_tokens": tokens[item, first],
            "second_tokens": tokens[item, second],
            "first_helpfulness": np.clip(np.round(3 + merit[item, first]), 1, 5),
            "second_helpfulness": np.clip(np.round(3 + merit[item, second]), 1, 5),
            "seconds": np.exp(rng.normal(2.6, 0.6, len(item))),
            "excluded": False,
        }
    )
    again = table[rng.random(len(table)) < 0.05].assign(kind="repeat")
    again["verdict"] = again["verdict"].replace({"left": "right", "right": "left"})
    return votes(pd.concat([table, again]).to_dict("records"), count)

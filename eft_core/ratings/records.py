"""Judgements as statistics read them (`votes.Votes`), from the database: what stands, and whose answers they are."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, String, Text, cast, select, type_coerce

from eft_core.policy import Policy
from eft_core.ratings.judgement import SCALES
from eft_core.ratings.latest import standing
from eft_core.ratings.votes import COLUMNS, POLICY_COLUMNS, Votes
from eft_core.schema import campaigns, comparisons, exclusions, generations, items, ratings
from eft_core.storage import Storage

_OUTCOMES = {("left", False): "first", ("right", False): "second", ("left", True): "second", ("right", True): "first"}


def votes(storage: Storage, chosen: Sequence[str] | None = None, until: datetime | None = None) -> Votes:
    """All judgements that stand, or those of the `chosen` campaigns; or those that stood at a time, since nothing is
    overwritten. 100,000 take about a second and a half."""
    with storage.reading() as connection:
        rows = _rows(connection, chosen, until)
        if rows.empty:
            return Votes.empty()
        answers = _answers(connection, set(rows["campaign"]))
        reveals = _revealing(connection)
        out = _excluded(connection, until)
    keys, policies = _policies(answers)
    table = rows[["rating", "comparison", "campaign", "item", "item_name", "annotator", "kind"]].copy()
    # who was told whose answer it was, and then judged again, was not blind any more
    table["blind"] = rows["blind"] & ~(rows["campaign"].isin(reveals) & (rows["turn"] > 1))
    table["verdict"] = rows["verdict"]
    pairs = zip(rows["verdict"], rows["flipped"], strict=True)
    table["outcome"] = [_OUTCOMES.get((verdict, bool(flipped)), verdict) for verdict, flipped in pairs]
    table["strength"] = rows["strength"].astype("float64")
    for side in ("first", "second"):
        table[side] = rows[side].map(keys)
        table[f"{side}_tokens"] = rows[side].map(answers["tokens"]).astype("float64")
    for name, values in _scales(rows).items():
        table[name] = values
    table["seconds"] = rows["seconds"].astype("float64")
    table["created"] = pd.to_datetime(rows["created"], utc=True).astype("datetime64[us, UTC]")
    taken = pd.MultiIndex.from_tuples([tuple(row) for row in out], names=["campaign", "annotator"])
    table["excluded"] = pd.MultiIndex.from_frame(rows[["campaign", "annotator"]]).isin(taken) if out else False
    return Votes(table[list(COLUMNS)].astype(COLUMNS), policies)


def _rows(connection: Connection, chosen: Sequence[str] | None, until: datetime | None) -> pd.DataFrame:
    """The latest row of every comparison, unless it takes the judgement back."""
    said = ("verdict", "strength", "seconds", "turn", "comparison")
    given = ("campaign", "item", "annotator", "kind", "blind", "flipped", "first", "second")
    columns = [*(ratings.c[name] for name in said), *(comparisons.c[name] for name in given)]
    created = type_coerce(ratings.c.created, String).label("created")  # as the driver has it: pandas reads it faster
    query = standing(ratings.c.id.label("rating"), created, *columns, until=until)
    if chosen is not None:
        query = query.where(comparisons.c.campaign.in_(chosen))
    result = connection.execute(query.order_by(ratings.c.created, ratings.c.id))
    names, values = list(result.keys()), list(zip(*result.all(), strict=True))
    table = pd.DataFrame(dict(zip(names, values or [()] * len(names), strict=True)))
    # few judgements have marks, and reading them is slow
    marked = select(ratings.c.id, ratings.c.scales).where(cast(ratings.c.scales, Text) != "{}")
    names_of_items = dict(connection.execute(select(items.c.id, items.c.name)).all())
    return table.assign(
        scales=table["rating"].map(dict(connection.execute(marked).all())),
        item_name=table["item"].map(names_of_items),
    )


def _excluded(connection: Connection, until: datetime | None) -> Sequence[Any]:
    """Campaigns and annotators whose votes are taken out, or were at a time."""
    query = select(exclusions.c.campaign, exclusions.c.annotator)
    if until is None:
        return connection.execute(query.where(exclusions.c.lifted.is_(None))).all()
    query = query.where(exclusions.c.created <= until)
    return connection.execute(query.where(exclusions.c.lifted.is_(None) | (exclusions.c.lifted > until))).all()


def _answers(connection: Connection, chosen: set[str]) -> pd.DataFrame:
    """Answers by id: family, label, policy, sampling, tokens."""
    of_answer = ("id", "family", "label", "policy", "sampling", "tokens")
    shown = comparisons.c.campaign.in_(sorted(chosen))
    ids = select(comparisons.c.first).where(shown).union(select(comparisons.c.second).where(shown))
    query = select(*(generations.c[name] for name in of_answer)).where(generations.c.id.in_(ids))
    rows = connection.execute(query.order_by(generations.c.created)).all()
    return pd.DataFrame(rows, columns=list(of_answer)).set_index("id")


def _revealing(connection: Connection) -> set[str]:
    """Campaigns that tell after the vote whose answers they were."""
    rows = connection.execute(select(campaigns.c.id, campaigns.c.plan)).all()
    return {row.id for row in rows if row.plan.get("reveal") or row.plan.get("free")}


def _policies(answers: pd.DataFrame) -> tuple[dict[str, str], pd.DataFrame]:
    """The key of each answer's policy ("" for written ones), and the policies by key."""
    keys: dict[str, str] = {}
    found: dict[str, dict[str, Any]] = {}
    known: dict[str, str] = {}
    for number, family, label, policy, sampling in answers[["family", "label", "policy", "sampling"]].itertuples():
        if policy is None:
            keys[number] = ""
            continue
        text = json.dumps([family, policy, {**(sampling or {}), "seed": None}], sort_keys=True)
        if text not in known:
            known[text] = hashlib.sha256(text.encode()).hexdigest()[:16]
            found[known[text]] = about(family, label, policy)
        keys[number] = known[text]
    table = pd.DataFrame.from_dict(found, orient="index", columns=list(POLICY_COLUMNS)).astype(POLICY_COLUMNS)
    return keys, table.rename_axis("key")


def about(family: str, label: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A policy as a row of `Votes.policies`."""
    policy = Policy.from_dict(dict(values))
    active = [(name, weight) for name, weight in policy.pairs if weight]
    return {
        "label": label or policy.formula(),
        "formula": policy.formula(),
        "family": family,
        "pretrain": policy.pretrain,
        "finetune": policy.finetune or "",
        "behaviours": ", ".join(name for name, _ in active),
        "weights": ", ".join(f"{weight:g}" for _, weight in active),
        "amplification": policy.amplification,
        "nucleus": float("nan") if policy.nucleus is None else policy.nucleus,
    }


def _scales(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """The marks of 1 to 5, by answer and not by side; nan where there are none."""
    columns = {f"{side}_{name}": np.full(len(rows), np.nan) for side in ("first", "second") for name in SCALES}
    marked = np.flatnonzero(rows["scales"].notna())
    for number, scales, flipped in zip(marked, rows["scales"].iloc[marked], rows["flipped"].iloc[marked], strict=True):
        sides = ("right", "left") if flipped else ("left", "right")
        for answer, side in zip(("first", "second"), sides, strict=True):
            for name, mark in scales.get(side, {}).items():
                columns[f"{answer}_{name}"][number] = mark
    return columns

"""Judgements that stand, each with its prompt and both answers: the table from which files for people and trainers are
made. What no training file may hold is left out here, and counted.
"""

from collections.abc import Sequence

import pandas as pd
from sqlalchemy import Connection, select

from eft_core.ratings.records import votes
from eft_core.schema import campaigns, comparisons, generations, items, ratings
from eft_core.storage import Storage

_SCALES = tuple(
    f"{answer}_{scale}" for answer in ("first", "second") for scale in ("helpfulness", "factuality", "harmlessness")
)
# Columns of the table; those that `votes.COLUMNS` has too mean the same.
COLUMNS = (
    "title",  # of the campaign
    "name",  # of the item
    "prompt",
    "first_label",  # the organiser's name for the policy
    "first_policy",  # its formula; "" for a gold item's written answer
    "first_text",
    "second_label",
    "second_policy",
    "second_text",
    "outcome",
    "strength",
    *_SCALES,
    "tags",  # a list of texts
    "comment",
    "seconds",
    "created",
    "first_tokens",
    "second_tokens",
    "verdict",
    "flipped",  # the first answer stood at the right
    "kind",
    "blind",
    "excluded",
    "campaign",
    "item",
    "annotator",
    "comparison",
    "rating",
    "first_answer",  # ids of the generations
    "second_answer",
    "first_key",  # keys of the policies, equal where policy and sampling are
    "second_key",
)
# Why a judgement is in no training file: the words in which it is counted, the first that fits.
_EXCLUDED, _GOLD, _REPEAT, _NOT_BLIND = "of excluded annotators", "gold items", "repeats", "not blind"


def judged(storage: Storage, chosen: Sequence[str] = ()) -> pd.DataFrame:
    """A row a judgement that stands, earliest first, of the `chosen` campaigns or all; ValueError if one is unknown."""
    with storage.reading() as connection:
        known = known_campaigns(connection, chosen)
    found = votes(storage, known)
    with storage.reading() as connection:
        details = _details(connection, known)
        answers = _answers(connection, known)
    # what was deleted between the two readings is in neither the details nor the file
    table = found.table.merge(details, on="rating", how="inner").rename(
        columns={"first": "first_key", "second": "second_key"}
    )
    formulas = found.policies["formula"]
    for side in ("first", "second"):
        ids = table[f"{side}_answer"]
        table[f"{side}_label"] = ids.map(answers["label"]).astype("str")
        table[f"{side}_text"] = ids.map(answers["text"]).astype("str")
        table[f"{side}_policy"] = table[f"{side}_key"].map(formulas).fillna("").astype("str")
    return table[list(COLUMNS)]


def known_campaigns(connection: Connection, chosen: Sequence[str]) -> list[str]:
    """The ids of the `chosen` campaigns, or of all, in the order in which they were made."""
    ids = list(connection.scalars(select(campaigns.c.id).order_by(campaigns.c.created, campaigns.c.id)))
    for campaign in chosen:
        if campaign not in ids:
            raise ValueError(
                f"there is no campaign {campaign[:64]!r} here: `python -m eft_core campaigns` lists their ids."
            )
    return [campaign for campaign in ids if not chosen or campaign in chosen]


def _details(connection: Connection, chosen: Sequence[str]) -> pd.DataFrame:
    """What `Votes` has no use for, by judgement, superseded ones too."""
    columns = (
        ratings.c.id.label("rating"),
        ratings.c.tags,
        ratings.c.comment,
        comparisons.c.flipped,
        comparisons.c.first.label("first_answer"),
        comparisons.c.second.label("second_answer"),
        items.c.name,
        items.c.prompt,
        campaigns.c.title,
    )
    tables = (
        ratings.join(comparisons, comparisons.c.id == ratings.c.comparison)
        .join(items, items.c.id == comparisons.c.item)
        .join(campaigns, campaigns.c.id == comparisons.c.campaign)
    )
    rows = connection.execute(select(*columns).select_from(tables).where(comparisons.c.campaign.in_(chosen))).all()
    names = [column.name for column in columns]
    kinds = {name: "bool" if name == "flipped" else "str" for name in names if name != "tags"}
    return pd.DataFrame(rows, columns=names).astype(kinds)


def _answers(connection: Connection, chosen: Sequence[str]) -> pd.DataFrame:
    """Labels and texts of answers by id."""
    joined = generations.join(items, items.c.id == generations.c.item)
    query = select(generations.c.id, generations.c.label, generations.c.text).select_from(joined)
    rows = connection.execute(query.where(items.c.campaign.in_(chosen))).all()
    return pd.DataFrame(rows, columns=["id", "label", "text"]).astype("str").set_index("id")


def usable(table: pd.DataFrame, not_blind: bool = False) -> tuple[pd.DataFrame, dict[str, int]]:
    """Judgements to train on, and how many are left out, by reason.

    Left out are those of excluded annotators, of gold items (their answers were written for the raters), repeats (the
    same judgement asked twice) and, unless `not_blind` says otherwise, those whose rater may have known whose answers
    they were."""
    left_out: dict[str, int] = {}
    reasons = (
        (_EXCLUDED, table["excluded"]),
        (_GOLD, table["kind"] == "gold"),
        (_REPEAT, table["kind"] == "repeat"),
        (_NOT_BLIND, ~table["blind"] & (not not_blind)),
    )
    for reason, mask in reasons:
        out = mask.loc[table.index]
        left_out[reason] = int(out.sum())
        table = table[~out]
    return table, left_out

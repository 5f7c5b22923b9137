"""Answers that were judged, to be looked into token by token. Only of campaigns whose results may be seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from eft_core.policy import Policy
from eft_core.ratings.latest import LATEST, STANDS
from eft_core.schema import comparisons, generations, items, ratings
from eft_core.storage import Storage

MOST = 100


@dataclass(frozen=True, slots=True)
class RatedAnswer:
    """An answer, as it was drawn, and how often it was judged."""

    id: str
    prompt: str
    label: str
    policy: Policy
    token_ids: tuple[int, ...]
    judgements: int


def rated_answers(storage: Storage, family: str, campaigns: Sequence[str], chosen: str = "") -> list[RatedAnswer]:
    """Judged answers of a family in these campaigns, those judged last first; or the `chosen` one alone."""
    shown = (comparisons.c.first == generations.c.id) | (comparisons.c.second == generations.c.id)
    tables = ratings.join(comparisons, comparisons.c.id == ratings.c.comparison).join(generations, shown)
    columns = [generations.c[name] for name in ("id", "label", "policy", "token_ids")]
    key = generations.c.id
    judged = select(key, func.count().label("judgements"), func.max(ratings.c.created).label("last"))
    judged = judged.select_from(tables).where(STANDS, LATEST, comparisons.c.campaign.in_(campaigns))
    judged = judged.where(generations.c.family == family, generations.c.tokens > 0)
    if chosen:
        judged = judged.where(key == chosen)
    found = judged.group_by(key).order_by(func.max(ratings.c.created).desc(), key).limit(MOST).subquery()
    query = select(*columns, items.c.prompt, found.c.judgements).join(found, found.c.id == key)
    query = query.join(items, items.c.id == generations.c.item).order_by(found.c.last.desc(), key)
    with storage.reading() as connection:
        return [_answer(row) for row in connection.execute(query)]


def _answer(row: Any) -> RatedAnswer:
    policy = Policy.from_dict(row.policy)
    return RatedAnswer(row.id, row.prompt, row.label, policy, tuple(row.token_ids), row.judgements)

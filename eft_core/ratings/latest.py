"""Which rows of `ratings` say what stands: the latest of each comparison, unless it takes the judgement back."""

from datetime import datetime
from typing import Any

from sqlalchemy import exists, select

from eft_core.schema import comparisons, ratings

_later = ratings.alias("later")
# Of two rows: one comparison's, and the first was written earlier. Of a row: it is its comparison's latest.
_LATER = (_later.c.comparison == ratings.c.comparison) & (_later.c.turn > ratings.c.turn)
LATEST = ~exists().where(_LATER)
# Of the latest row: the judgement stands.
STANDS = ratings.c.action.in_(("vote", "edit"))


def standing(*columns: Any, until: datetime | None = None) -> Any:
    """A query of the judgements that stand, or stood at a time, with their comparisons."""
    tables = ratings.join(comparisons, comparisons.c.id == ratings.c.comparison)
    query = select(*columns).select_from(tables).where(STANDS)
    if until is None:
        return query.where(LATEST)
    superseded = exists().where(_LATER, _later.c.created <= until)
    return query.where(ratings.c.created <= until, ~superseded)

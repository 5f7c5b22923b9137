"""Which rows of `ratings` say what stands: the latest of each comparison, unless it takes the judgement back."""

from typing import Any

from sqlalchemy import exists, select

from eft_core.schema import comparisons, ratings

_later = ratings.alias("later")
# Of a row: it is its comparison's latest.
LATEST = ~exists().where(_later.c.comparison == ratings.c.comparison, _later.c.turn > ratings.c.turn)
# Of the latest row: the judgement stands.
STANDS = ratings.c.action.in_(("vote", "edit"))


def standing(*columns: Any) -> Any:
    """A query of the judgements that stand, with their comparisons."""
    tables = ratings.join(comparisons, comparisons.c.id == ratings.c.comparison)
    return select(*columns).select_from(tables).where(STANDS, LATEST)

"""Which rows of `ratings` say what stands: the latest of each comparison, unless it takes the judgement back."""

from typing import Any

from sqlalchemy import func, select

from eft_core.schema import comparisons, ratings

# Of the latest row: the judgement stands.
STANDS = ratings.c.action.in_(("vote", "edit"))


def latest(*where: Any) -> Any:
    """Ratings joined to their comparison's latest; `where` narrows what is looked at, by columns of ratings."""
    turns = select(ratings.c.comparison, func.max(ratings.c.turn).label("turn")).where(*where)
    newest = turns.group_by(ratings.c.comparison).subquery()
    return ratings.join(newest, (ratings.c.comparison == newest.c.comparison) & (ratings.c.turn == newest.c.turn))


def standing(*columns: Any) -> Any:
    """A query of the judgements that stand, with their comparisons."""
    tables = latest().join(comparisons, comparisons.c.id == ratings.c.comparison)
    return select(*columns).select_from(tables).where(STANDS)

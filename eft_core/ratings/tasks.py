"""Where a rater is: their comparisons with their latest rows, the next task, what stands. Reads alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, func, select

from eft_core.ratings.judgement import Judgement
from eft_core.ratings.latest import LATEST, STANDS
from eft_core.ratings.lots import total_of
from eft_core.ratings.studies import Study
from eft_core.schema import comparisons, generations, items, now, ratings

Row = Any  # a row of a result, by column


@dataclass(frozen=True, slots=True)
class Task:
    """Two answers to judge. `before` is the judgement that was given, when it is edited or was taken back."""

    comparison: str
    number: int
    total: int
    prompt: str
    left: str
    right: str
    before: Judgement | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rater is. waiting: the next answers are still being written."""

    state: Literal["task", "waiting", "finished", "paused", "closed"]
    done: int
    total: int
    task: Task | None = None


def place_of(connection: Connection, study: Study, annotator: Row) -> Place:
    """The lowest comparison without a judgement that stands; "waiting" if there is none."""
    total, done = total_of(connection, study), _done(connection, study, annotator)
    if study.state != "running":
        return Place(study.state, done, total)  # type: ignore[arg-type]  # paused or closed
    row = pending_of(connection, study, annotator)
    if row is None:
        return Place("waiting", done, max(done, total))
    total = max(total, row.number)
    return Place("task", done, total, task_of(connection, row, total))


def _mine(study: Study, annotator: Row) -> tuple[Any, Any]:
    return comparisons.c.campaign == study.id, comparisons.c.annotator == annotator.id


# Comparisons, each with its latest row, if it has one.
_STATES = comparisons.outerjoin(ratings, (ratings.c.comparison == comparisons.c.id) & LATEST)


def _done(connection: Connection, study: Study, annotator: Row) -> int:
    query = select(func.count()).select_from(_STATES).where(*_mine(study, annotator))
    return connection.scalar(query.where(STANDS)) or 0


def pending_of(connection: Connection, study: Study, annotator: Row) -> Row | None:
    """The next comparison to judge."""
    query = select(comparisons).select_from(_STATES).where(*_mine(study, annotator))
    query = query.where(ratings.c.action.is_(None) | (ratings.c.action == "undo"))
    # free comparisons are of the latest run first: those of an earlier one may have been left
    order = comparisons.c.number if study.plan else comparisons.c.number.desc()
    return connection.execute(query.order_by(order).limit(1)).first()


def standing_of(connection: Connection, study: Study, annotator: Row, most: int) -> Sequence[Row]:
    """Judgements that stand, latest first."""
    columns = (ratings.c.comparison, ratings.c.verdict, ratings.c.created, comparisons.c.number, items.c.prompt)
    tables = _STATES.join(items, items.c.id == comparisons.c.item)
    query = select(*columns).select_from(tables).where(*_mine(study, annotator))
    query = query.where(STANDS)
    return connection.execute(query.order_by(ratings.c.created.desc(), comparisons.c.number.desc()).limit(most)).all()


def task_of(connection: Connection, row: Row, total: int) -> Task:
    texts = {each.id: each.text.strip() for each in answers_of(connection, row)}
    prompt = connection.scalar(select(items.c.prompt).where(items.c.id == row.item)) or ""
    first, second = texts[row.first], texts[row.second]
    left, right = (second, first) if row.flipped else (first, second)
    return Task(row.id, row.number, max(total, row.number), prompt, left, right, _before(connection, row.id))


def answers_of(connection: Connection, row: Row) -> Sequence[Row]:
    columns = (generations.c.id, generations.c.text, generations.c.label, generations.c.policy)
    return connection.execute(select(*columns).where(generations.c.id.in_((row.first, row.second)))).all()


def _before(connection: Connection, comparison: str) -> Judgement | None:
    """What was said of a comparison last, taken back or not."""
    query = select(ratings).where(ratings.c.comparison == comparison, ratings.c.verdict.is_not(None))
    row = connection.execute(query.order_by(ratings.c.turn.desc()).limit(1)).first()
    if row is None:
        return None
    said = (row.verdict, row.strength, row.scales, tuple(row.tags), row.comment, row.seconds)
    return Judgement(comparison, row.client_key, *said)


def comparison_of(connection: Connection, study: Study, annotator: Row, comparison: str) -> Row:
    """An annotator's own comparison; ValueError for anybody else's, in the same words as for one that is not."""
    query = select(comparisons).where(comparisons.c.id == comparison, *_mine(study, annotator))
    row = connection.execute(query).first()
    if row is None:
        raise ValueError("this comparison is not one of yours: reload the page.")
    return row


def last_of(connection: Connection, comparison: str) -> Row | None:
    query = select(ratings).where(ratings.c.comparison == comparison).order_by(ratings.c.turn.desc()).limit(1)
    return connection.execute(query).first()


def kept_of(connection: Connection, annotator: Row, client_key: str) -> Row | None:
    query = select(ratings).where(ratings.c.annotator == annotator.id, ratings.c.client_key == client_key)
    return connection.execute(query).first()


def moment_of(connection: Connection, annotator: Row) -> datetime:
    """Now, or just after the annotator's latest row: undo takes the latest back, also when the clock was put back."""
    latest = connection.scalar(select(func.max(ratings.c.created)).where(ratings.c.annotator == annotator.id))
    return now() if latest is None else max(now(), latest + timedelta(microseconds=1))

"""Comparisons handed out to annotators, a few at a time: what is ready and how often it was judged, from the database.

A lot is drawn inside the write transaction, so that two annotators never get the same last judgement that is wanted.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, exists, func, select

from eft_core.ratings.assignment import Given, Pair, Stock, offers, wanted
from eft_core.ratings.studies import Study
from eft_core.schema import comparisons, exclusions, generations, items, now, ratings
from eft_core.storage import Writer

LOT = 5
# What was handed out and not judged for so long is given to others too.
RESERVED = timedelta(hours=1)


class Lots:
    """Draws lots. Keeps what is ready of each campaign, and reads it anew when more has become ready."""

    def __init__(self) -> None:
        self._stocks: dict[str, tuple[int, Stock]] = {}

    def draw(self, writer: Writer, study: Study, annotator: Any) -> int:
        """Hand out the annotator's next lot; how many comparisons it has."""
        if study.plan is None:
            return 0
        connection = writer.connection
        stock = self._stock(connection, study)
        counts = _counts(connection, study)
        given = _given(connection, study, annotator.id)
        made = offers(study.plan, stock, counts, given, annotator.id, annotator.side_seed, LOT)
        for each in made:
            writer.insert(
                comparisons,
                campaign=study.id,
                annotator=annotator.id,
                blind=True,
                **{name: getattr(each, name) for name in each.__slots__},
            )
        return len(made)

    def _stock(self, connection: Connection, study: Study) -> Stock:
        here = (items.c.campaign == study.id, generations.c.state == "ready")
        joined = generations.join(items, generations.c.item == items.c.id)
        count = connection.scalar(select(func.count()).select_from(joined).where(*here)) or 0
        known = self._stocks.get(study.id)
        if known is None or known[0] != count:
            columns = (generations.c.id, generations.c.item, generations.c.place, items.c.place.label("item_place"))
            rows = connection.execute(
                select(*columns, items.c.gold, generations.c.text).select_from(joined).where(*here)
            ).all()
            known = self._stocks[study.id] = count, _stock_of(study, rows)
        return known[1]


def _stock_of(study: Study, rows: Sequence[Any]) -> Stock:
    """Pairs of answers to one item that are both there; those of gold items apart. Equal answers leave nothing to
    judge, and are left out."""
    by_item: dict[str, dict[int, Any]] = defaultdict(dict)
    for row in rows:
        by_item[row.item][row.place] = row
    pairs, golds = list[Pair](), list[Pair]()
    for answers in sorted(by_item.values(), key=lambda each: next(iter(each.values())).item_place):
        gold = next(iter(answers.values())).gold is not None
        for first, second in ((0, 1),) if gold else study.plan.pairs if study.plan else ():
            one, other = answers.get(first), answers.get(second)
            if one and other and one.text != other.text:
                often = wanted(study.plan, one.item_place) if study.plan else 0
                pair = Pair(one.item, (first, second), one.id, other.id, often)
                (golds if gold else pairs).append(pair)
    return Stock(tuple(pairs), tuple(golds))


def _counts(connection: Connection, study: Study) -> dict[tuple[str, str], int]:
    """How often each pair of answers was judged, or is out to be; not by excluded annotators, and not as a repeat."""
    judged = exists().where(ratings.c.comparison == comparisons.c.id)
    out = select(exclusions.c.annotator).where(exclusions.c.campaign == study.id, exclusions.c.lifted.is_(None))
    query = (
        select(comparisons.c.first, comparisons.c.second, func.count())
        .where(comparisons.c.campaign == study.id, comparisons.c.kind == "ordinary")
        .where(judged | comparisons.c.created.between(now() - RESERVED, now() + RESERVED))  # the clock may go back
        .where(comparisons.c.annotator.not_in(out))
        .group_by(comparisons.c.first, comparisons.c.second)
    )
    return {(first, second): count for first, second, count in connection.execute(query)}


def _given(connection: Connection, study: Study, annotator: str) -> list[Given]:
    columns = [comparisons.c[name] for name in Given.__slots__]
    mine = (comparisons.c.campaign == study.id, comparisons.c.annotator == annotator)
    return [Given(*row) for row in connection.execute(select(*columns).where(*mine).order_by(comparisons.c.number))]


def all_written(connection: Connection, study: Study) -> bool:
    """Whether every answer of a campaign is ready or has failed, so that nothing more will come."""
    if study.plan is None:
        return True
    ordinary = (items.c.campaign == study.id, items.c.gold.is_(None))
    prompts = connection.scalar(select(func.count()).where(*ordinary)) or 0
    joined = generations.join(items, generations.c.item == items.c.id)
    written = connection.scalar(select(func.count()).select_from(joined).where(*ordinary)) or 0
    return written >= prompts * len(study.plan.contenders)


def total_of(connection: Connection, study: Study) -> int:
    """How many comparisons an annotator is asked for at most."""
    if study.plan is None:
        return 0
    gold = items.c.gold.is_not(None)
    rows = connection.execute(select(gold, func.count()).where(items.c.campaign == study.id).group_by(gold))
    counts = {bool(is_gold): count for is_gold, count in rows}
    ordinary = counts.get(False, 0) * len(study.plan.pairs)
    golds = counts.get(True, 0) if study.plan.golds else 0
    everything = round((ordinary + golds) * (1 + study.plan.repeats))
    return min(everything, study.plan.per_annotator or everything)


def wanted_of(connection: Connection, study: Study) -> int:
    """Judgements that each pair of policies is to get, over all items."""
    if study.plan is None:
        return 0
    places = connection.scalars(select(items.c.place).where(items.c.campaign == study.id, items.c.gold.is_(None)))
    return sum(wanted(study.plan, place) for place in places)

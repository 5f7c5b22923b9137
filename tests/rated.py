"""A small database in which everything occurs, for tests of files and backups; not a test."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import select
from studied import GOLD, key, studied, vote

from eft_core.config import Limits, Sampling
from eft_core.policy import plain, tuned
from eft_core.ratings.desk import Desk
from eft_core.ratings.free import Said, Shown
from eft_core.ratings.judgement import Judgement
from eft_core.ratings.office import Office
from eft_core.ratings.records import votes
from eft_core.ratings.studies import Who
from eft_core.schema import TABLES, annotators
from eft_core.storage import Log, Storage

# What a rater may write, and a model too: the beginnings of formulas, other separators, markup, other scripts.
HOSTILE = '=1+1;=cmd|"/c calc"!A1\n@SUM(A1)\r<script>alert(1)</script>\t＝2 ünï ☃\u2028'
VERDICTS = ("left", "right", "left", "both_good", "both_bad", "unsure")


@dataclass(frozen=True, slots=True)
class Filled:
    """Ids of the campaign and of the free comparisons; `people` judged, the last one is excluded; their codes and
    logins are secrets."""

    campaign: str
    free: str
    people: tuple[Who, ...]
    excluded: str


@contextmanager
def opened(file: Path, log: Log | None = None) -> Iterator[Storage]:
    """A database of its own."""
    storage = Storage(f"sqlite:///{file}", log)
    try:
        yield storage
    finally:
        storage.close()


def filled(storage: Storage, raters: int = 4, **changes: Any) -> Filled:
    """A campaign of three policies with gold items and repeats, judged by all raters with edits and an undo; the last
    one's votes are out; the first one also judged freely."""
    options: dict[str, Any] = {"repeats": 0.3, "golds": 0.2, "target": raters, "scales": ("helpfulness",)} | changes
    campaign = studied(storage, count=4, gold=(GOLD,), **options)
    desk, office = Desk(storage), Office(storage)
    people = tuple(Who(desk.join(campaign)) for _ in range(raters))
    for number, who in enumerate(people):
        _judge(desk, campaign, who, number)
    with storage.reading() as connection:
        excluded = connection.scalars(select(annotators.c.id).order_by(annotators.c.created)).all()[-1]
    office.exclude(campaign, excluded, "answers at random")
    free = desk.open_free("llama")
    compared(desk, people[0])
    return Filled(campaign, free, people, excluded)


def _judge(desk: Desk, campaign: str, who: Who, number: int) -> None:
    """All of a rater's comparisons; the second is edited, the third taken back and judged again."""
    while (task := desk.place(campaign, who).task) is not None:
        verdict = VERDICTS[number % len(VERDICTS)]
        side = {"strength": 1 + number % 2} if verdict in ("left", "right") else {}
        marks = {"left": {"helpfulness": 1 + number % 5}}
        told = {"tags": ("rambles",), "comment": HOSTILE} if number % 3 == 0 else {}
        receipt = vote(desk, campaign, who, verdict, seconds=2.5 + number, scales=marks, **side, **told)
        if task.number == 2:
            desk.cast(campaign, who, Judgement(receipt.comparison, key(), "right", strength=2))
        if task.number == 3:
            desk.undo(campaign, who, key())
            vote(desk, campaign, who, "both_bad")
        number += 1


def compared(desk: Desk, who: Who, prompt: str = '=HYPERLINK("http://x")', run: str = "run") -> None:
    """A free judgement of two answers that the page showed: the first one is better."""
    answers = tuple(
        Said(label, policy, text, (1, 2), "end", {"tokens": 2}, {"base[large]": "00ff"})
        for label, policy, text in (("=A1", plain("large"), "+1"), ("tuned", tuned("helpful", "small"), "-1"))
    )
    task = desk.free(who, Shown(run, "llama", prompt, Sampling(), Limits(), answers))
    assert task is not None
    desk.cast(desk.open_free("llama"), who, Judgement(task.comparison, key(), "left" if task.left == "+1" else "right"))


def rows(storage: Storage) -> dict[str, list[dict[str, Any]]]:
    """All that a database holds, by table."""
    with storage.reading() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(select(table).order_by(table.c.id)).mappings()]
            for table in TABLES
        }


def assert_same_votes(one: Storage, other: Storage) -> None:
    """Statistics read the same of both."""
    first, second = votes(one), votes(other)
    assert len(first) > 0
    pd.testing.assert_frame_equal(first.table, second.table)
    pd.testing.assert_frame_equal(first.policies, second.policies)

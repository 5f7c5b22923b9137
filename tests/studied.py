"""Small campaigns with answers that are there, for tests of ratings; not a test."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from eft_core.policy import plain, tuned, up_scale
from eft_core.ratings.campaign import Contender, Plan
from eft_core.ratings.desk import Desk, Receipt
from eft_core.ratings.judgement import Judgement
from eft_core.ratings.office import Office
from eft_core.ratings.prompts import Prompt
from eft_core.ratings.studies import Who
from eft_core.schema import TABLES, generations, items
from eft_core.storage import Storage

CONTENDERS = (
    Contender("large base", plain("large")),
    Contender("small tuned", tuned("helpful", "small")),
    Contender("up-scaled", up_scale("large", "small")),
)
GOLD = Prompt("gold", "What is 2 + 2?", "It is four.", "It is five.")


def plan_of(**changes: Any) -> Plan:
    """A plan of three policies, every pair judged by two."""
    given: dict[str, Any] = {"title": "A study", "family": "llama", "contenders": CONTENDERS, "target": 2}
    return Plan(**(given | changes))


def prompts(count: int, *more: Prompt) -> tuple[Prompt, ...]:
    return (*(Prompt(f"p{number}", f"What is the capital of country {number}?") for number in range(count)), *more)


def studied(
    storage: Storage, count: int = 4, gold: Sequence[Prompt] = (), answered: bool = True, **changes: Any
) -> str:
    """A campaign's id; its answers are there unless it is not `answered`."""
    plan = plan_of(**changes)
    campaign = Office(storage).create(plan, prompts(count, *gold))
    if answered:
        answer_all(storage, campaign, plan)
    return campaign


def answer_all(storage: Storage, campaign: str, plan: Plan) -> None:
    """Write an answer of every contender to every item, of different lengths."""
    with storage.writing() as writer:
        rows = writer.connection.execute(
            select(items).where(items.c.campaign == campaign, items.c.gold.is_(None))
        ).all()
        made = [
            {
                "item": row.id,
                "place": place,
                "label": each.label,
                "policy": each.policy.to_dict(),
                "sampling": {"temperature": 0.0, "seed": 0},
                "limits": {"max_new_tokens": 20, "stop": []},
                "family": plan.family,
                "revisions": {"base[large]": "00ff"},
                "text": answer_of(place, row.place),
                "token_ids": [5] * (place + 3),
                "tokens": place + 3,
                "statistics": {"tokens": place + 3},
                "reason": "end",
                "state": "ready",
                "message": "",
                "software": "eft-lab test",
            }
            for row in rows
            for place, each in enumerate(plan.contenders)
        ]
        writer.insert_all(generations, made)


def answer_of(place: int, item: int) -> str:
    """What a contender says; nothing in it tells who."""
    return f"Answer {'abcdefgh'[place]}{item}."


def key() -> str:
    return str(uuid.uuid4())


def vote(desk: Desk, campaign: str, who: Who, verdict: str = "left", **said: Any) -> Receipt:
    """Judge the comparison that is next."""
    task = desk.place(campaign, who).task
    assert task is not None, "there is nothing to judge"
    return desk.cast(campaign, who, Judgement(task.comparison, key(), verdict, **said))


def rated(storage: Storage, campaign: str, raters: int = 2) -> list[Who]:
    """Raters who judge all they are asked for: verdicts go round, so that each comes."""
    desk, found = Desk(storage), []
    verdicts = ("left", "right", "both_good", "left", "both_bad", "unsure")
    for rater in range(raters):
        who, number = Who(desk.join(campaign)), rater
        found.append(who)
        while desk.place(campaign, who).state == "task":
            verdict = verdicts[number % len(verdicts)]
            vote(desk, campaign, who, verdict, seconds=3.0 + number, strength=2 if verdict == "left" else None)
            number += 1
    return found


def counts(storage: Storage) -> dict[str, int]:
    """How many rows every table has."""
    with storage.reading() as connection:
        return {table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in TABLES}

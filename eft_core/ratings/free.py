"""Free comparisons: what a visitor just compared on the page, judged two answers at a time.

The answers are the server's own record of the run, never what a browser sends. Since the page showed whose they are,
these judgements are marked as not blind and kept apart.
"""

import itertools
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import func, select

from eft_core.config import Limits, Sampling
from eft_core.policy import Policy
from eft_core.ratings.studies import free_campaign
from eft_core.schema import campaigns, comparisons, generations, items, ratings
from eft_core.software import SOFTWARE
from eft_core.storage import Writer


@dataclass(frozen=True, slots=True)
class Said:
    """A column's answer."""

    label: str
    policy: Policy
    text: str
    token_ids: tuple[int, ...]
    reason: str
    statistics: Mapping[str, Any]
    revisions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Shown:
    """A comparison that ended, under the run's `id`."""

    id: str
    family: str
    prompt: str
    sampling: Sampling
    limits: Limits
    answers: tuple[Said, ...]


def opened(writer: Writer, family: str, title: str = "") -> str:
    """The campaign of a family's free comparisons; it bears the family's `title`, for every family has its own."""
    campaign = free_campaign(family)
    named = f"Free comparisons, {title or family}"
    about = {"id": campaign, "title": named, "family": family, "plan": {"free": True}, "state": "running"}
    writer.insert_all(campaigns, [about])
    return campaign


def laid_out(writer: Writer, annotator: Any, shown: Shown) -> Any | None:
    """A comparison of two of the answers that the annotator has not judged; None if there is none.

    ValueError if fewer than two answers differ."""
    connection = writer.connection
    campaign = opened(writer, shown.family)
    differ = {answer.text: answer for answer in reversed(shown.answers) if answer.reason != "failed"}
    if len(differ) < 2:
        raise ValueError("all answers of your comparison are the same: ask something else on Compare, then come back.")
    name = f"{annotator.id}:{shown.id}"[:200]
    found = connection.scalar(select(items.c.id).where(items.c.campaign == campaign, items.c.name == name))
    item = found or _written(writer, campaign, name, shown)
    ids = dict(connection.execute(select(generations.c.text, generations.c.id).where(generations.c.item == item)).all())
    return _next(writer, annotator, campaign, item, sorted(ids[text] for text in differ))


def _written(writer: Writer, campaign: str, name: str, shown: Shown) -> str:
    """The prompt and its answers."""
    last = writer.connection.scalar(select(func.max(items.c.place)).where(items.c.campaign == campaign))
    place = 0 if last is None else last + 1
    item: str = writer.insert(items, campaign=campaign, place=place, name=name, prompt=shown.prompt)["id"]
    for number, answer in enumerate(shown.answers):
        writer.insert(generations, **generation(item, number, answer, shown))
    return item


def generation(item: str, place: int, answer: Said, shown: Shown) -> dict[str, Any]:
    """An answer as a row of `generations`."""
    return {
        "item": item,
        "place": place,
        "label": answer.label[:200],
        "policy": answer.policy.to_dict(),
        "sampling": asdict(shown.sampling),
        "limits": {"max_new_tokens": shown.limits.max_new_tokens, "stop": list(shown.limits.stop)},
        "family": shown.family,
        "revisions": dict(answer.revisions),
        "text": answer.text,
        "token_ids": list(answer.token_ids),
        "tokens": len(answer.token_ids),
        "statistics": dict(answer.statistics),
        "reason": answer.reason,
        "state": "failed" if answer.reason == "failed" else "ready",
        "message": "",
        "software": SOFTWARE,
    }


def _next(writer: Writer, annotator: Any, campaign: str, item: str, ids: list[str]) -> Any | None:
    mine = (comparisons.c.campaign == campaign, comparisons.c.annotator == annotator.id)
    rows = writer.connection.execute(select(comparisons).where(comparisons.c.item == item, *mine)).all()
    judged = select(ratings.c.comparison).where(ratings.c.annotator == annotator.id)
    done = set(writer.connection.scalars(judged))
    if waiting := next((row for row in rows if row.id not in done), None):
        return waiting
    given = {frozenset((row.first, row.second)) for row in rows}
    left = [pair for pair in itertools.combinations(ids, 2) if frozenset(pair) not in given]
    if not left:
        return None
    seed = random.Random(f"{annotator.side_seed}:{item}:{len(given)}").getrandbits(31)
    first, second = left[seed // 2 % len(left)]
    last = writer.connection.scalar(select(func.max(comparisons.c.number)).where(*mine)) or 0
    row = writer.insert(
        comparisons,
        campaign=campaign,
        item=item,
        annotator=annotator.id,
        first=first,
        second=second,
        kind="ordinary",
        number=last + 1,
        flipped=bool(seed & 1),
        order_seed=seed,
        blind=False,
    )
    return writer.connection.execute(select(comparisons).where(comparisons.c.id == row["id"])).first()

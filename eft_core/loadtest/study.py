"""The study that a soak's visitors judge: made before the server starts, with answers that are there; counted after it.

A judgement that was confirmed to a visitor must be in the database, once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from eft_core.policy import plain, tuned, up_scale
from eft_core.ratings.campaign import Contender, Plan
from eft_core.ratings.office import Office
from eft_core.ratings.prompts import Prompt
from eft_core.schema import generations, items, ratings
from eft_core.settings import Settings
from eft_core.software import SOFTWARE
from eft_core.storage import Storage

ITEMS = 300
# No family of this name is served: nothing writes answers while the load is measured.
_FAMILY = "soak"
_CONTENDERS = (
    Contender("large base", plain("large")),
    Contender("small tuned", tuned("helpful", "small")),
    Contender("up-scaled", up_scale("large", "small")),
)


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of confirmed judgements: how many, how many the database lacks, how many it has twice."""

    confirmed: int
    lost: int
    doubled: int


def prepared(data: Path) -> str:
    """A running campaign in the database of a data folder; its id."""
    storage = _storage(data)
    plan = Plan("Soak", _FAMILY, _CONTENDERS, target=100)
    prompts = [Prompt(f"p{number}", f"What is the capital of country {number}?") for number in range(ITEMS)]
    campaign = Office(storage).create(plan, prompts)
    with storage.writing() as writer:
        rows = writer.connection.execute(select(items).where(items.c.campaign == campaign)).all()
        answers = [
            {
                "item": row.id,
                "place": place,
                "label": each.label,
                "policy": each.policy.to_dict(),
                "sampling": {"temperature": 0.0, "seed": 0},
                "limits": {"max_new_tokens": 20, "stop": []},
                "family": _FAMILY,
                "revisions": {},
                "text": f"Answer {place} to question {row.place}.",
                "token_ids": [5] * (place + 3),
                "tokens": place + 3,
                "statistics": {"tokens": place + 3},
                "reason": "end",
                "state": "ready",
                "message": "",
                "software": SOFTWARE,
            }
            for row in rows
            for place, each in enumerate(_CONTENDERS)
        ]
        writer.insert_all(generations, answers)
    storage.close()
    return campaign


def counted(data: Path, confirmed: Mapping[str, str]) -> Counted:
    """Confirmed judgements, comparison by client key, against the database."""
    storage = _storage(data)
    with storage.reading() as connection:
        rows = connection.execute(select(ratings.c.client_key, ratings.c.comparison)).all()
    storage.close()
    kept = {row.client_key: row.comparison for row in rows}
    lost = sum(kept.get(key) != comparison for key, comparison in confirmed.items())
    return Counted(len(confirmed), lost, len(rows) - len(kept))


def _storage(data: Path) -> Storage:
    return Storage.of(Settings(data_dir=str(data)))

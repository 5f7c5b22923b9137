"""A campaign and an annotator as the database has them, found for whoever asks; all access is checked here.

An annotator is known by a code, of which the database keeps the digest alone, or by a Hugging Face account that the
server itself has seen to. No address, no name that was not given.
"""

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from eft_core.ratings.campaign import GUIDELINES, Plan, Questions
from eft_core.schema import annotators, campaigns
from eft_core.storage import Writer

# Crockford's letters: none that look alike. 24 of them are 120 bits, so guessing is hopeless and a plain digest enough.
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_GROUPS, _GROUP = 6, 4
_ALIKE = str.maketrans("ILO", "110")


@dataclass(frozen=True, slots=True)
class Who:
    """What somebody shows of themselves. `login` comes from the server's own sign-in, never from a message."""

    code: str = ""
    login: str = ""


@dataclass(frozen=True, slots=True)
class Study:
    """A campaign; `plan` is None for the free comparisons of a family."""

    id: str
    title: str
    family: str
    state: str
    created: datetime
    plan: Plan | None

    @property
    def questions(self) -> Questions:
        return self.plan.questions if self.plan else Questions()

    @property
    def guidelines(self) -> str:
        return self.plan.guidelines if self.plan else GUIDELINES

    @property
    def identity(self) -> str:
        return self.plan.identity if self.plan else "code"

    @property
    def reveal(self) -> bool:
        return self.plan.reveal if self.plan else True

    @property
    def is_published(self) -> bool:
        """Whether anybody may see the results."""
        if self.plan is None:
            return True
        return self.plan.publish == "always" or (self.plan.publish == "closed" and self.state == "closed")

    def check_running(self) -> None:
        """ValueError, with what became of the judgement, unless votes are taken now."""
        if self.state == "paused":
            raise ValueError("this campaign is paused, so this was not kept: come back later.")
        if self.state == "closed":
            raise ValueError("this campaign is closed, so this was not kept: thank you for what you judged before.")


def study_of(connection: Connection, campaign: Any) -> Study:
    """ValueError if there is none."""
    row = connection.execute(select(campaigns).where(campaigns.c.id == _short(campaign))).first()
    if row is None:
        raise ValueError("there is no such campaign here: check the link that you were sent.")
    return _study(row)


def _study(row: Any) -> Study:
    plan = None if row.plan.get("free") else Plan.from_dict(row.plan)
    return Study(row.id, row.title, row.family, row.state, row.created, plan)


def all_studies(connection: Connection) -> list[Study]:
    """All of them, latest first; free comparisons at the end."""
    rows = connection.execute(select(campaigns).order_by(campaigns.c.created.desc())).all()
    return sorted((_study(row) for row in rows), key=lambda each: each.plan is None)


def annotator_of(connection: Connection, study: Study, who: Who) -> Any:
    """Who judges; ValueError if they are not known, or not in the way that the campaign asks for."""
    if study.identity == "login":
        if not who.login:
            raise ValueError("this campaign asks you to sign in with Hugging Face: sign in, then go on.")
        row = annotator_by_login(connection, who.login)
        if row is None:
            raise ValueError("you have not begun here yet: press Start.")
        return row
    return annotator_by_code(connection, who.code)


def annotator_by_login(connection: Connection, login: str) -> Any | None:
    return connection.execute(select(annotators).where(annotators.c.login == login)).first()


class UnknownCode(ValueError):
    """A code that no annotator has: mistyped, or guessed."""


def annotator_by_code(connection: Connection, code: Any) -> Any:
    """ValueError if no annotator has this code."""
    if not code:
        raise ValueError("you have no code yet: press Start, or enter your code.")
    row = connection.execute(select(annotators).where(annotators.c.code_digest == digest_of(code))).first()
    if row is None:
        raise UnknownCode("this code is not known here: check it, or press Start for a new one.")
    return row


def joined(writer: Writer, study: Study, login: str) -> str:
    """A new annotator's code; "" where they are known by their account, which may have been here before."""
    if study.identity == "login":
        if not login:
            raise ValueError("this campaign asks you to sign in with Hugging Face: sign in, then press Start.")
        writer.insert_all(annotators, [{"login": login, "side_seed": secrets.randbits(31)}])
        return ""
    code = new_code()
    writer.insert(annotators, code_digest=digest_of(code), side_seed=secrets.randbits(31))
    return code


def new_code() -> str:
    """A code that nobody can guess, in groups that can be copied by hand."""
    letters = [secrets.choice(_LETTERS) for _ in range(_GROUPS * _GROUP)]
    return "-".join("".join(letters[start : start + _GROUP]) for start in range(0, len(letters), _GROUP))


def digest_of(code: Any) -> str:
    """What is kept of a code, however it was typed."""
    typed = code if isinstance(code, str) and len(code) <= 100 else ""
    letters = "".join(each for each in typed.upper().translate(_ALIKE) if each in _LETTERS)
    return hashlib.sha256(f"eft-lab annotator {letters}".encode()).hexdigest()


def free_campaign(family: str) -> str:
    """The campaign of a family's free comparisons."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"eft-lab:free:{family}"))


def _short(key: Any) -> str:
    """A visitor's key; what cannot be one becomes one that nothing has."""
    return key if isinstance(key, str) and len(key) <= 64 and "\x00" not in key else ""

"""Where raters judge: the next comparison out, judgements in; edits, undo, and going on elsewhere by a code.

Everything that a browser sends is checked here, at every write: who it is, whether the comparison is theirs and its
turn, whether votes are taken. A judgement that is sent twice is kept once, by the browser's own key. Who answered
what is told after the vote alone, and only where the campaign allows it.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from eft_core.policy import Policy
from eft_core.ratings.free import Shown, laid_out, opened
from eft_core.ratings.judgement import Judgement, check_key
from eft_core.ratings.lots import Lots, all_written, total_of
from eft_core.ratings.studies import Study, Who, annotator_by_code, annotator_by_login, annotator_of, joined, study_of
from eft_core.ratings.tasks import (
    Place,
    Row,
    Task,
    answers_of,
    comparison_of,
    kept_of,
    last_of,
    moment_of,
    pending_of,
    place_of,
    standing_of,
    task_of,
)
from eft_core.schema import ratings
from eft_core.software import SOFTWARE
from eft_core.storage import Storage, Writer


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a rater reads before they begin."""

    campaign: str
    title: str
    guidelines: str
    state: str
    identity: str
    strength: bool
    scales: tuple[str, ...]
    tags: tuple[str, ...]
    comment: bool
    reveal: bool
    total: int


@dataclass(frozen=True, slots=True)
class Reveal:
    """Whose answers they were."""

    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A write that is on the disk. `repeated`: it had been kept before."""

    rating: str
    client_key: str
    comparison: str
    action: str
    repeated: bool
    reveal: Reveal | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """A judgement that stands, as its rater finds it again."""

    comparison: str
    number: int
    prompt: str
    verdict: str
    at: datetime


class Desk:
    """All campaigns' raters on one database."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._lots = Lots()

    def invitation(self, campaign: str) -> Invitation:
        with self.storage.reading() as connection:
            study = study_of(connection, campaign)
            asked, about = study.questions, (study.id, study.title, study.guidelines, study.state, study.identity)
            asks = (asked.strength, asked.scales, asked.tags, asked.comment, study.reveal)
            return Invitation(*about, *asks, total_of(connection, study))

    def join(self, campaign: str, login: str = "") -> str:
        """A new annotator's code; "" where they are known by their account."""
        with self.storage.writing() as writer:
            return joined(writer, study_of(writer.connection, campaign), login)

    def place(self, campaign: str, who: Who) -> Place:
        """The comparison to judge now: the same one until it is judged."""
        with self.storage.reading() as connection:
            study = study_of(connection, campaign)
            annotator = annotator_of(connection, study, who)
            place = place_of(connection, study, annotator)
        if place.state != "waiting":
            return place
        with self.storage.writing() as writer:
            self._lots.draw(writer, study, annotator)
            place = place_of(writer.connection, study, annotator)
            if place.state == "waiting" and (place.done == place.total or all_written(writer.connection, study)):
                return Place("finished", place.done, place.done)
        return place

    def cast(self, campaign: str, who: Who, judgement: Judgement) -> Receipt:
        """Keep a judgement, or another one in the stead of the one that is there. Sent again, it is kept once."""
        with self.storage.writing() as writer:
            connection = writer.connection
            study = study_of(connection, campaign)
            annotator = annotator_of(connection, study, who)
            row = comparison_of(connection, study, annotator, judgement.comparison)
            if kept := kept_of(connection, annotator, judgement.client_key):
                return _receipt(connection, study, kept, row, repeated=True)
            study.check_running()
            study.questions.check(judgement)
            _check_turn(connection, study, annotator, row)
            last = last_of(connection, row.id)
            stands = last is not None and last.action != "undo"
            kept = _write(writer, annotator, row, judgement.client_key, "edit" if stands else "vote", last, judgement)
            return _receipt(connection, study, kept, row, repeated=False)

    def undo(self, campaign: str, who: Who, client_key: str) -> Receipt:
        """Take the latest judgement back; its comparison is then the next to judge."""
        check_key(client_key)
        with self.storage.writing() as writer:
            connection = writer.connection
            study = study_of(connection, campaign)
            annotator = annotator_of(connection, study, who)
            if kept := kept_of(connection, annotator, client_key):
                row = comparison_of(connection, study, annotator, kept.comparison)
                return _receipt(connection, study, kept, row, repeated=True)
            study.check_running()
            standing = standing_of(connection, study, annotator, 1)
            if not standing:
                raise ValueError("there is no judgement of yours to take back.")
            row = comparison_of(connection, study, annotator, standing[0].comparison)
            kept = _write(writer, annotator, row, client_key, "undo", last_of(connection, row.id), None)
            return _receipt(connection, study, kept, row, repeated=False)

    def reopen(self, campaign: str, who: Who, comparison: str) -> Task:
        """A comparison that was judged, with its judgement."""
        with self.storage.reading() as connection:
            study = study_of(connection, campaign)
            annotator = annotator_of(connection, study, who)
            row = comparison_of(connection, study, annotator, comparison)
            if last_of(connection, row.id) is None:
                raise ValueError("this comparison was not judged yet: judge those before it first.")
            return task_of(connection, row, total_of(connection, study))

    def history(self, campaign: str, who: Who, most: int = 50) -> tuple[Past, ...]:
        """The judgements that stand, latest first."""
        with self.storage.reading() as connection:
            study = study_of(connection, campaign)
            found = standing_of(connection, study, annotator_of(connection, study, who), most)
        return tuple(Past(each.comparison, each.number, each.prompt, each.verdict, each.created) for each in found)

    def forget(self, who: Who) -> int:
        """Delete all that is kept of an annotator, in every campaign; how many judgements there were."""
        with self.storage.writing() as writer:
            annotator = annotator_by_login(writer.connection, who.login) if who.login else None
            annotator = annotator or annotator_by_code(writer.connection, who.code)
            count = select(func.count()).where(ratings.c.annotator == annotator.id)
            judgements = writer.connection.scalar(count) or 0
            writer.forget(annotator.id)
            return judgements

    def free(self, who: Who, shown: Shown) -> Task | None:
        """Two answers of what a visitor compared on the page, a new pair each time; None when all were judged."""
        with self.storage.writing() as writer:
            annotator = annotator_by_code(writer.connection, who.code)
            row = laid_out(writer, annotator, shown)
            return None if row is None else task_of(writer.connection, row, row.number)

    def open_free(self, family: str, title: str = "") -> str:
        """The campaign of a family's free comparisons, made when it is first asked for; `title` is the family's."""
        with self.storage.writing() as writer:
            return opened(writer, family, title)


def _check_turn(connection: Connection, study: Study, annotator: Row, row: Row) -> None:
    """ValueError unless the comparison is the next one, or was judged before."""
    pending = pending_of(connection, study, annotator) if study.plan else None
    if pending is not None and row.number > pending.number and last_of(connection, row.id) is None:
        raise ValueError("this comparison comes later: judge the one that is shown first, or reload the page.")


def _write(
    writer: Writer,
    annotator: Row,
    row: Row,
    client_key: str,
    action: str,
    last: Row | None,
    said: Judgement | None,
) -> Row:
    """A row of ratings; its id follows from the key, so that a second writing of it could only be the same row."""
    writer.insert(
        ratings,
        id=str(uuid.uuid5(uuid.UUID(annotator.id), client_key)),
        comparison=row.id,
        annotator=annotator.id,
        client_key=client_key,
        turn=1 if last is None else last.turn + 1,
        action=action,
        supersedes=None if last is None else last.id,
        verdict=said and said.verdict,
        strength=said and said.strength,
        scales=dict(said.scales) if said else {},
        tags=list(said.tags) if said else [],
        comment=said.comment if said else "",
        seconds=said and said.seconds,
        software=SOFTWARE,
        created=moment_of(writer.connection, annotator),
    )
    kept = kept_of(writer.connection, annotator, client_key)
    assert kept is not None, "it was written in this transaction"
    return kept


def _receipt(connection: Connection, study: Study, kept: Row, row: Row, repeated: bool) -> Receipt:
    """ValueError if the key was that of a write to another comparison."""
    if kept.comparison != row.id:
        raise ValueError("this client_key was used for another comparison: reload the page.")
    tells = study.reveal and kept.action != "undo" and row.kind != "gold"
    reveal = _reveal(connection, row) if tells else None
    return Receipt(kept.id, kept.client_key, row.id, kept.action, repeated, reveal)


def _reveal(connection: Connection, row: Row) -> Reveal:
    names = {}
    for each in answers_of(connection, row):
        formula = Policy.from_dict(each.policy).formula()
        names[each.id] = each.label if each.label == formula else f"{each.label}: {formula}"
    first, second = names[row.first], names[row.second]
    return Reveal(*((second, first) if row.flipped else (first, second)))

"""Answers that campaigns still lack, written ahead of their raters while no visitor's request runs.

One thread, small batches: a rater waits for nothing that could have been there, and a visitor for a batch at most. All
columns of an item share prompt, seed and limits. What cannot be answered is kept as failed, with the reason.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import select

from eft_core.checkpoint import fingerprint
from eft_core.config import Request, Row
from eft_core.document import summary
from eft_core.events import Answer, RowFinished
from eft_core.family import Family
from eft_core.located import Checkpoint
from eft_core.ratings.campaign import Contender, Plan
from eft_core.ratings.free import Said, Shown, generation
from eft_core.ratings.lots import all_written
from eft_core.ratings.studies import study_of
from eft_core.schema import campaigns, generations, items
from eft_core.session import Session
from eft_core.storage import Storage, Unavailable

log = logging.getLogger(__name__)
BATCH = 12  # rows; more would make a visitor who comes wait longer
_PAUSE = 0.2  # seconds between two looks for something to do, when somebody waits
_LOOK = 2.0  # seconds between two looks when there was nothing to do
_RETRY = 10.0  # seconds after a failure that may pass
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Lacking:
    """An answer that a campaign lacks: one contender's to one item."""

    plan: Plan
    item: str
    prompt: str
    place: int

    @property
    def contender(self) -> Contender:
        return self.plan.contenders[self.place]


def lacking(storage: Storage, family: str, most: int) -> list[Lacking]:
    """The first answers that running campaigns of a family lack, of one campaign, item by item."""
    with storage.reading() as connection:
        running = select(campaigns.c.id).where(campaigns.c.family == family, campaigns.c.state == "running")
        for row in connection.execute(running.order_by(campaigns.c.created)):
            study = study_of(connection, row.id)
            if study.plan is None or all_written(connection, study):
                continue
            plan = study.plan
            here = (items.c.campaign == row.id, items.c.gold.is_(None))
            joined = select(generations.c.item, generations.c.place).join(items, generations.c.item == items.c.id)
            there = {tuple(each) for each in connection.execute(joined.where(*here))}
            prompts = connection.execute(select(items.c.id, items.c.prompt).where(*here).order_by(items.c.place))
            found = [
                Lacking(plan, item, prompt, place)
                for item, prompt in prompts
                for place in range(len(plan.contenders))
                if (item, place) not in there
            ]
            if found:
                return found[:most]
    return []


def answer(
    session: Session, storage: Storage, batch: Sequence[Lacking], stopped: Callable[[], bool] = lambda: False
) -> None:
    """Answer a batch, of one plan, and keep the answers as they end, until it is `stopped`."""
    plan = batch[0].plan
    rows = tuple(Row(each.prompt, each.contender.policy, plan.sampling) for each in batch)
    try:
        events = session.stream(Request(rows, plan.limits))
    except ValueError as error:
        _refuse(session, storage, batch, error)
        return
    with closing(events):
        for event in events:
            if stopped():
                return
            if isinstance(event, RowFinished):
                _keep(
                    storage, batch[event.row], said_of(session.family, batch[event.row].contender.label, event.answer)
                )


def said_of(family: Family, label: str, answer: Answer) -> Said:
    """An answer with what it takes to make it again: the revisions are digests of its members' weights."""
    members = answer.policy.members()
    revisions = {str(member): _revision(family.checkpoint(member)) for member in members}
    statistics: dict[str, Any] = {"prompt_tokens": answer.prompt_tokens}
    if answer.trace is not None and len(answer.trace):
        statistics |= summary(answer.trace)
    return Said(label, answer.policy, answer.text, answer.token_ids, answer.reason, statistics, revisions)


@cache
def _revision(checkpoint: Checkpoint) -> str:
    """Which weights a checkpoint has; read once."""
    return fingerprint(checkpoint.folder(), checkpoint.file)


def _refuse(session: Session, storage: Storage, batch: Sequence[Lacking], error: ValueError) -> None:
    """A batch that cannot be: one by one, so that only what is at fault is kept as failed."""
    if len(batch) > 1:
        for each in batch:
            answer(session, storage, [each])
        return
    give_up(storage, batch, str(error))


def give_up(storage: Storage, batch: Sequence[Lacking], message: str) -> None:
    """Keep answers as failed; their comparisons are never asked for."""
    for each in batch:
        _keep(storage, each, Said(each.contender.label, each.contender.policy, "", (), "failed", {}, {}), message)


def _keep(storage: Storage, place: Lacking, said: Said, message: str = "") -> None:
    plan = place.plan
    shown = Shown("", plan.family, place.prompt, plan.sampling, plan.limits, ())
    with storage.writing() as writer:  # left out where another process wrote it meanwhile
        writer.insert_all(generations, [generation(place.item, place.place, said, shown) | {"message": message}])


class Ahead:
    """The thread. `start` it once; `stop` ends it within a step of decoding."""

    def __init__(self, storage: Storage, session: Session) -> None:
        self._storage, self._session = storage, session
        self._stopped = threading.Event()
        self._news = threading.Event()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="answers ahead", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There may be something to do: a campaign was made or goes on."""
        self._news.set()

    def stop(self) -> None:
        self._stopped.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                busy = self._step()
            except Unavailable as error:
                log.warning("answers ahead wait for the database: %s", error)
                self._stopped.wait(_RETRY)
                busy = True
            if not busy:
                self._news.wait(_LOOK)
                self._news.clear()

    def _step(self) -> bool:
        """Whether there may be more to do."""
        batch = lacking(self._storage, self._session.family.name, BATCH)
        if not batch:
            return False
        if self._session.queue_length:
            self._stopped.wait(_PAUSE)
            return True
        try:
            answer(self._session, self._storage, batch, self._stopped.is_set)
            self._failures = 0
        except Unavailable:
            raise
        except Exception as error:  # the thread must live, and one batch must not keep others from their turn
            log.exception("answers ahead failed")
            self._failures += 1
            if self._failures >= _TRIES:
                give_up(
                    self._storage, batch, f"it failed {_TRIES} times ({type(error).__name__}): see the server's log"
                )
                self._failures = 0
            self._stopped.wait(_RETRY)
        return True

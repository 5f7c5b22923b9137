"""Prompt and policies in, a stream of events out: the one door to the backend, shared by all visitors.

`Session.stream(request)` checks the request at once, waits its turn, loads what is missing, and decodes all rows
together. Closing the stream, at any point, ends the request and frees its memory. Last in the flow; knows no gradio.
"""

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import torch

from eft_core.autoregressive import Drawn, decode
from eft_core.config import Request, Settings
from eft_core.draft_length import Pace
from eft_core.events import (
    Answer,
    Done,
    Event,
    Gain,
    Loading,
    Queued,
    RowFinished,
    Started,
    Timing,
    TokensDrawn,
    Working,
)
from eft_core.families import default_columns, family_named
from eft_core.jobs import Job, Jobs
from eft_core.memory import MemoryPlan
from eft_core.model import Model
from eft_core.models import Models
from eft_core.policy import Member, Policy
from eft_core.speculative import speculate
from eft_core.transcript import Transcript
from eft_core.turns import Turns

# Seconds between two signs of life while a request waits; a closed page is noticed within this time.
_PULSE = 0.1


@dataclass(frozen=True, slots=True)
class FamilyInfo:
    """What a page needs to know of the session's family."""

    name: str
    title: str
    description: str
    licence: str
    sizes: tuple[str, ...]
    behaviours: dict[str, tuple[str, ...]]  # by size
    columns: tuple[tuple[str, Policy], ...]  # label and policy of the default comparison
    device: str
    dtype: str


class Session:
    """One family, its loaded members, and a fair queue. Safe to share between threads."""

    def __init__(self, settings: Settings | None = None, family: str | None = None) -> None:
        """`settings` are read from the environment when not given; `family` overrides the settings' family."""
        self.settings = settings or Settings.from_environment()
        self.family = family_named(family or self.settings.family, self.settings.families_file)
        self.models = Models(self.family, self.settings)
        self._turns = Turns()
        self._pace = Pace()  # what speculation measured; only the request whose turn it is changes it
        self._jobs = Jobs(self.family, self.models, self.settings, self._pace)
        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)

    @property
    def device(self) -> str:
        return str(self.models.device)

    @property
    def dtype(self) -> str:
        return self.models.dtype_name

    @property
    def queue_length(self) -> int:
        """Requests that run or wait now."""
        return len(self._turns)

    @property
    def family_info(self) -> FamilyInfo:
        family = self.family
        behaviours = {size: family.behaviours_of(size) for size in family.sizes}
        texts = (family.name, family.title, family.description, family.licence)
        return FamilyInfo(*texts, family.sizes, behaviours, default_columns(family), self.device, self.dtype)

    def plan(self, request: Request) -> MemoryPlan:
        """What the request will need, before anything is loaded. ValueError if the request itself is wrong."""
        return self._jobs.job(request).memory

    def ask(self, request: Request) -> tuple[Answer, ...]:
        """The answers, in the order of the request's rows."""
        *_, last = self.stream(request)
        assert isinstance(last, Done), "a stream ends with Done"
        return last.answers

    def stream(self, request: Request) -> Generator[Event, None, None]:
        """The request's events (see `events`). ValueError, now and not later, if it cannot be served.

        The request joins the queue with the first `next`; close the iterator to cancel.
        """
        job = self._jobs.job(request)
        job.memory.check()
        return self._stream(job)

    def _stream(self, job: Job) -> Generator[Event, None, None]:
        ticket = self._turns.join()
        try:
            ahead = self._turns.ahead(ticket)
            while ahead:
                yield Queued(ahead)
                ahead = self._turns.wait(ticket, _PULSE)
            models: dict[Member, Model] = {}
            yield from self._load(job, models)
            plain = None
            if job.speculation is not None and job.speculation.timed:
                plain = yield from self._time_plain(job, models)
            yield from self._decode(job, models, plain)
        finally:
            self._turns.leave(ticket)

    def _load(self, job: Job, models: dict[Member, Model]) -> Iterator[Loading]:
        """Fill `models` with all members of the job, announcing those that must be read."""
        missing = [member for member in job.members if not self.models.is_loaded(member)]
        for member in job.members:
            if member in missing:
                yield Loading(str(member), missing.index(member) + 1, len(missing))
            models[member] = self.models.load(member)

    def _steps(
        self, job: Job, models: dict[Member, Model], transcripts: list[Transcript], plain: bool
    ) -> Generator[list[Drawn], None, None]:
        """Plain decoding, or speculation if the request asks for it."""
        ends = self.models.vocabulary.end_ids

        def stopped(row: int, token: int) -> bool:
            return transcripts[row].push(token)

        if plain or job.speculation is None:
            return decode(job.rows, models, ends, stopped)
        return speculate(job.rows, job.drafters, models, ends, job.speculation, self._pace, stopped)

    def _time_plain(self, job: Job, models: dict[Member, Model]) -> Generator[Timing | Working, None, float | None]:
        """Decode plainly, unseen: tokens a second."""
        yield Timing()
        tokens = 0
        with closing(self._steps(job, models, self._transcripts(job), plain=True)) as steps:
            next(steps)
            began = told = time.perf_counter()
            for drawn in steps:
                tokens += len(drawn)
                if time.perf_counter() - told > _PULSE:
                    yield Working()
                    told = time.perf_counter()
        return tokens / (time.perf_counter() - began) if tokens else None

    def _decode(self, job: Job, models: dict[Member, Model], plain: float | None) -> Iterator[Event]:
        """Decode, and turn tokens into text."""
        transcripts = self._transcripts(job)
        answers: dict[int, Answer] = {}
        started = time.perf_counter()
        with closing(self._steps(job, models, transcripts, plain=False)) as steps:
            next(steps)  # the prompts are read
            yield Started(tuple(transcript.start for transcript in transcripts), str(job.memory))
            began = told = time.perf_counter()
            for drawn in steps:
                now = time.perf_counter()
                if drawn or now - told > _PULSE:
                    yield from _told(drawn, transcripts, now - began, answers) if drawn else [Working()]
                    told = now
            seconds = time.perf_counter() - began
        ordered = tuple(answers[row] for row in range(len(job.rows)))
        gain = None
        if job.speculation is not None:
            gain = Gain(sum(len(answer.token_ids) for answer in ordered) / seconds, plain, self._pace.predicted)
        yield Done(ordered, time.perf_counter() - started, gain)

    def _transcripts(self, job: Job) -> list[Transcript]:
        return [Transcript(self.models.tokenizer, row, job.stop) for row in job.rows]


def _told(
    drawn: list[Drawn], transcripts: list[Transcript], seconds: float, answers: dict[int, Answer]
) -> Iterator[TokensDrawn | RowFinished]:
    """The events of one step; `answers` gets those that are complete."""
    for each in drawn:
        if each.reason != "failed":
            transcripts[each.row].take(each)
    for row in dict.fromkeys(each.row for each in drawn):
        if (news := transcripts[row].news(row, seconds)) is not None:
            yield news
    for each in drawn:
        if each.reason:
            tail, answers[each.row] = transcripts[each.row].finish(each, seconds)
            yield RowFinished(each.row, tail, answers[each.row])

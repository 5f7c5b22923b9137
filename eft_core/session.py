"""Prompt and policies in, a stream of events out: the one door to the backend, shared by all visitors.

`Session.stream(request)` checks the request at once, waits its turn, loads what is missing, and decodes all rows
together. Closing the stream, at any point, ends the request and frees its memory. Last in the flow; knows no gradio.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch

from eft_core.autoregressive import Drawn, decode
from eft_core.config import Request, Settings, Text
from eft_core.draft_length import Pace
from eft_core.events import (
    Answer,
    Done,
    Event,
    Gain,
    Inspected,
    Inspecting,
    Loading,
    Queued,
    Reading,
    Started,
    Timing,
    Working,
)
from eft_core.families import default_columns, family_named
from eft_core.jobs import Inspection, Job, Jobs
from eft_core.memory import MemoryPlan
from eft_core.model import Model
from eft_core.models import Models
from eft_core.narrator import Narrator
from eft_core.policy import Member, Policy
from eft_core.recorder import Recorder
from eft_core.scoring import Passage, score
from eft_core.speculative import speculate
from eft_core.token_text import TokenTexts
from eft_core.trace import Trace
from eft_core.transcript import Transcript
from eft_core.turns import Turns

# Seconds between two signs of life while a request waits; a closed page is noticed within this time.
_PULSE = 0.1
Told = TypeVar("Told")


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

    @cached_property
    def token_texts(self) -> TokenTexts:
        """Texts of single tokens, as the strip shows them."""
        return TokenTexts(self.models.tokenizer, self.models.vocabulary.end_ids)

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

    def inspect(self, texts: Sequence[Text]) -> Generator[Inspecting, None, None]:
        """Texts that somebody else wrote, read under their policies: the same records, without generation.

        ValueError, now and not later, if it cannot be served. Ends with `Inspected`; close the iterator to cancel.
        """
        inspection = self._jobs.inspection(texts)
        inspection.memory.check()
        return self._inspect(inspection)

    def _inspect(self, inspection: Inspection) -> Generator[Inspecting, None, None]:
        with self._turn() as waiting:
            yield from waiting
            models = yield from self._load(inspection.members)
            began, total = time.perf_counter(), sum(len(each.response) for each in inspection.passages)
            traces = yield from _read_through(inspection.passages, models, lambda done: Reading(done, total))
            yield Inspected(tuple(traces), time.perf_counter() - began)

    def _stream(self, job: Job) -> Generator[Event, None, None]:
        with self._turn() as waiting:
            yield from waiting
            models = yield from self._load(job.members)
            passages = job.given
            found = yield from _read_through(list(passages.values()), models, lambda _: Working())
            given = dict(zip(passages, found, strict=True))
            plain = None
            if job.speculation is not None and job.speculation.timed:
                plain = yield from self._time_plain(job, models, given)
            yield from self._decode(job, models, given, plain)

    @contextmanager
    def _turn(self) -> Iterator[Iterator[Queued]]:
        """A place in the queue: what it gives ends when the turn has come, and leaving the block gives it back."""
        ticket = self._turns.join()
        try:
            yield self._waiting(ticket)
        finally:
            self._turns.leave(ticket)

    def _waiting(self, ticket: object) -> Iterator[Queued]:
        ahead = self._turns.ahead(ticket)
        while ahead:
            yield Queued(ahead)
            ahead = self._turns.wait(ticket, _PULSE)

    def _load(self, members: Sequence[Member]) -> Generator[Loading, None, dict[Member, Model]]:
        """All members, announcing those that must be read."""
        missing = [member for member in members if not self.models.is_loaded(member)]
        models: dict[Member, Model] = {}
        for member in members:
            if member in missing:
                yield Loading(str(member), missing.index(member) + 1, len(missing))
            models[member] = self.models.load(member)
        return models

    def _steps(
        self, job: Job, models: dict[Member, Model], transcripts: Sequence[Transcript], recorder: Recorder | None = None
    ) -> Generator[list[Drawn], None, None]:
        """Plain decoding, or speculation if the request asks for it."""
        ends, stopped = self.models.vocabulary.end_ids, _stopping(transcripts)
        if job.speculation is None:
            return decode(job.rows, models, ends, stopped, recorder)
        return speculate(job.rows, job.drafters, models, ends, job.speculation, self._pace, stopped, recorder)

    def _time_plain(
        self, job: Job, models: dict[Member, Model], given: Mapping[int, Trace]
    ) -> Generator[Timing | Working, None, float | None]:
        """Decode plainly, unseen: tokens a second."""
        yield Timing()
        tokens, transcripts = 0, self._transcripts(job, given)
        steps = decode(job.rows, models, self.models.vocabulary.end_ids, _stopping(transcripts))
        with closing(steps):
            next(steps)
            began = told = time.perf_counter()
            for drawn in steps:
                tokens += len(drawn)
                if time.perf_counter() - told > _PULSE:
                    yield Working()
                    told = time.perf_counter()
        return tokens / (time.perf_counter() - began) if tokens else None

    def _decode(
        self, job: Job, models: dict[Member, Model], given: Mapping[int, Trace], plain: float | None
    ) -> Iterator[Event]:
        """Decode, and tell what is drawn."""
        recorder = Recorder([(row.policy, row.policy.members()) for row in job.rows]) if job.record else None
        narrator = Narrator(self._transcripts(job, given), recorder)
        started = time.perf_counter()
        with closing(self._steps(job, models, narrator.transcripts, recorder)) as steps:
            next(steps)  # the prompts are read
            yield Started(tuple(transcript.start for transcript in narrator.transcripts), str(job.memory))
            yield from narrator.opening(given)
            began = told = time.perf_counter()
            for drawn in steps:
                now = time.perf_counter()
                if drawn or now - told > _PULSE:
                    yield from narrator.told(drawn, now - began) if drawn else [Working()]
                    told = now
            seconds = time.perf_counter() - began
        ordered = tuple(narrator.answers[row] for row in range(len(job.rows)))
        gain = None
        if job.speculation is not None:
            drawn_tokens = sum(len(answer.token_ids) - answer.given for answer in ordered)
            gain = Gain(drawn_tokens / seconds, plain, self._pace.predicted)
        yield Done(ordered, time.perf_counter() - started, gain)

    def _transcripts(self, job: Job, given: Mapping[int, Trace]) -> list[Transcript]:
        tokenizer = self.models.tokenizer
        return [Transcript(tokenizer, row, job.stop, given.get(number)) for number, row in enumerate(job.rows)]


def _stopping(transcripts: Sequence[Transcript]) -> Callable[[int, int], bool]:
    """Adds a token's text to its row, and says whether a stop string was met."""
    return lambda row, token: transcripts[row].push(token)


def _read_through(
    passages: Sequence[Passage], models: Mapping[Member, Model], told: Callable[[int], Told]
) -> Generator[Told, None, list[Trace]]:
    """The passages' traces; what is `told` of the tokens read so far is yielded on the way."""
    if not passages:
        return []
    with closing(score(passages, models)) as steps:
        while True:
            try:
                yield told(next(steps))
            except StopIteration as ended:
                return ended.value

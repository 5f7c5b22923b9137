"""What a request does on the engine's thread: load its members, read prompts and texts, run its rows with all others.

Each script is a generator that gives way after every bounded piece of work and yields what is to be told.
"""

import time
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

import torch

from eft_core.autoregressive import Stepper, decode
from eft_core.crowd import Entry, Loop
from eft_core.draft_length import Pace
from eft_core.engine import Engine
from eft_core.events import Done, Drafting, Gain, Inspected, Loading, Reading, Started, Timing, Working
from eft_core.exhausted import advice, is_out_of_memory
from eft_core.job import Inspection, Job, Needs
from eft_core.memory import MemoryPlan
from eft_core.model import Model
from eft_core.models import Models
from eft_core.narrator import Narrator
from eft_core.policy import Member
from eft_core.scoring import Passage, score
from eft_core.speculative import Speculating
from eft_core.tickets import Said, Told
from eft_core.trace import Trace
from eft_core.transcript import Transcript
from eft_core.weights import Residence

# Members of fewer bytes than this together are run by one thread: their passes are over before a second one has begun,
# and the other cores are for the page.
SMALL = 64 << 20
_CORES = torch.get_num_threads()


class Scripts:
    """The scripts of one family's requests."""

    def __init__(self, models: Models, engine: Engine, pace: Pace) -> None:
        self.models, self._engine, self._pace = models, engine, pace
        self._plainly: Hashable = (self,)  # the key of plain decoding's batch

    def guarded(self, script: Told) -> Told:
        """A script whose want of memory is told as such, and what it held is freed."""
        try:
            yield from script
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            error.__traceback__ = None  # its frames hold what must go
            self.models.recover()
            raise ValueError(advice()) from None

    def inspect(self, inspection: Inspection) -> Told:
        """Texts, read."""
        models = yield from self.load(inspection.members, inspection.memory)
        began, total = time.perf_counter(), sum(len(each.response) for each in inspection.passages)
        traces = yield from _read_through(inspection.passages, models, lambda done: Reading(done, total))
        yield [Inspected(tuple(traces), time.perf_counter() - began)]

    def stream(self, job: Job, owner: Hashable) -> Told:
        """A job, from loading to its answers."""
        models = yield from self.load(job.members, job.memory)
        passages = job.given
        found = yield from _read_through(list(passages.values()), models, lambda _: Working())
        given = dict(zip(passages, found, strict=True))
        plain = None
        if job.speculation is not None and job.speculation.timed:
            plain = yield from self._time_plain(job, models, given)
        yield from self._decode(job, models, given, plain, owner)

    def load(self, members: Sequence[Member], memory: MemoryPlan) -> Generator[list[Said], None, dict[Member, Model]]:
        """All members, announcing those that must be read, and what must go for them."""
        absent = [member for member in members if not self.models.is_loaded(member)]
        missing = list({self.models.copy(member): member for member in reversed(absent)}.values())[::-1]
        gone = self.models.make_room(memory, self._in_use(members))
        freed = tuple(str(residence.checkpoint) for residence in gone)
        models: dict[Member, Model] = {}
        for member in members:
            if member in missing:
                yield [Loading(str(member), missing.index(member) + 1, len(missing), freed)]
            models[member] = self.models.load(member)
        self._share_processor(models)
        return models

    def _share_processor(self, models: dict[Member, Model]) -> None:
        """How many threads a pass takes. torch asks each thread of ours for itself, so it is this one that says it."""
        threads = self.models.settings.threads
        if threads is None:
            small = sum(self.models.weight_bytes(member) for member in models) < SMALL
            threads = 1 if small else _CORES
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)

    def _in_use(self, members: Sequence[Member]) -> set[Residence]:
        """Weights that may not go: these, and those of whoever runs now, all of this family."""
        needs = [claim.what for claim in self._engine.claims() if isinstance(claim.what, Needs)]
        running = (member for each in needs for row in each.members for member in row)
        return {self.models.residence(member) for member in (*members, *running)}

    def _time_plain(
        self, job: Job, models: dict[Member, Model], given: Mapping[int, Trace]
    ) -> Generator[list[Said], None, float | None]:
        """Decode plainly, unseen and with nobody else: tokens a second."""
        yield [Timing()]
        tokens, transcripts = 0, self._transcripts(job, given)
        steps = decode(job.rows, models, self.models.vocabulary.end_ids, _stopping(transcripts))
        with closing(steps):
            next(steps)
            began = time.perf_counter()
            for drawn in steps:
                tokens += len(drawn)
                yield []
        return tokens / (time.perf_counter() - began) if tokens else None

    def _decode(
        self,
        job: Job,
        models: dict[Member, Model],
        given: Mapping[int, Trace],
        plain: float | None,
        owner: Hashable,
    ) -> Told:
        """Decode with whoever else does, and tell what is drawn."""
        started, transcripts = time.perf_counter(), self._transcripts(job, given)
        entry = self._entry(job, models, _stopping(transcripts), owner)
        share = self._engine.crowd.enter(entry)
        undrafted = _undrafted(job) if job.speculation is not None and entry.key == self._plainly else {}
        narrator = Narrator(transcripts, share.recorder, share.first)
        try:
            for _ in share.reading():
                yield []
            start = Started(tuple(transcript.start for transcript in transcripts), str(job.memory))
            yield [start, *narrator.opening(given)]
            began = time.perf_counter()
            for drawn in share.drawn():
                if undrafted:
                    drawn = [
                        replace(each, drafting=each.reason and undrafted[each.row - share.first]) for each in drawn
                    ]
                yield list(narrator.told(drawn, time.perf_counter() - began)) if drawn else []
            seconds = time.perf_counter() - began
        finally:
            share.leave()
        ordered = tuple(narrator.answers[row] for row in range(len(job.rows)))
        gain = None
        if job.speculation is not None:
            drawn_tokens = sum(len(answer.token_ids) - answer.given for answer in ordered)
            gain = Gain(drawn_tokens / seconds, plain, share.gain)
        yield [Done(ordered, time.perf_counter() - started, gain)]

    def _entry(
        self, job: Job, models: dict[Member, Model], stopped: Callable[[int, int], bool], owner: Hashable
    ) -> Entry:
        """The job's rows, for the batch that they may run in: plain decoding, or one way to speculate.

        What adapts joins others' plain rows: their step costs little more with its rows, and its own cycles would hold
        them up."""
        ends, how, pace = self.models.vocabulary.end_ids, job.speculation, self._pace
        if how is not None and how.length is None and not how.timed and self._engine.crowd.batched(self._plainly):
            how = None
        key = self._plainly if how is None else (self, how.rule, how.length)

        def make(met: Callable[[int, int], bool]) -> Loop:
            return Stepper(ends, met) if how is None else Speculating(ends, how, pace, met)

        looks = [(row.policy, row.policy.members()) for row in job.rows] if job.record else []
        return Entry(key, make, job.rows, models, job.drafters, stopped, owner, looks)

    def _transcripts(self, job: Job, given: Mapping[int, Trace]) -> list[Transcript]:
        tokenizer = self.models.tokenizer
        rows = zip(job.rows, job.stops, strict=True)
        return [Transcript(tokenizer, row, stop, given.get(number)) for number, (row, stop) in enumerate(rows)]


def _stopping(transcripts: Sequence[Transcript]) -> Callable[[int, int], bool]:
    """Adds a token's text to its row, and says whether a stop string was met."""
    return lambda row, token: transcripts[row].push(token)


def _undrafted(job: Job) -> dict[int, Drafting]:
    """What is told of rows that might have drafted, and did not."""
    pairs = enumerate(zip(job.rows, job.drafters, strict=True))
    return {row: Drafting("" if draft == each.policy else draft.formula()) for row, (each, draft) in pairs}


def _read_through(
    passages: Sequence[Passage], models: Mapping[Member, Model], told: Callable[[int], Said]
) -> Generator[list[Said], None, list[Trace]]:
    """The passages' traces; what is `told` of the tokens read so far is yielded on the way."""
    if not passages:
        return []
    with closing(score(passages, models)) as steps:
        while True:
            try:
                read = next(steps)
                yield [told(read)] if read else []  # nothing yet: these were pieces of the prompts
            except StopIteration as ended:
                traces: list[Trace] = ended.value
                return traces

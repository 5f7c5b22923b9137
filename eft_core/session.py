"""Prompt and policies in, a stream of events out: the one door to the backend, shared by all visitors.

`Session.stream(request)` checks the request at once, waits its turn, loads what is missing, and decodes all rows
together. Closing the stream, at any point, ends the request and frees its memory. Last in the flow; knows no gradio.
"""

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import torch

from eft_core.autoregressive import Continuation, Drawn, decode
from eft_core.config import Request, Row, Settings
from eft_core.detokenize import Detokenizer
from eft_core.events import Answer, Done, Event, Loading, Queued, Reason, RowFinished, RowStart, Started, TokensDrawn
from eft_core.families import default_columns, family_named
from eft_core.memory import MemoryPlan, bytes_of, plan
from eft_core.models import Model, Models
from eft_core.policy import Member, Policy
from eft_core.turns import Turns

# Seconds between two signs of life while a request waits; a closed page is noticed within this time.
_PULSE = 0.1
_FAILED = (
    "this policy has no finite probability here: a member gave nan or infinity. Check that member's checkpoint, "
    "or use a smaller amplification."
)


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
        return self._plan(self._continuations(request))

    def ask(self, request: Request) -> tuple[Answer, ...]:
        """The answers, in the order of the request's rows."""
        *_, last = self.stream(request)
        assert isinstance(last, Done), "a stream ends with Done"
        return last.answers

    def stream(self, request: Request) -> Generator[Event, None, None]:
        """The request's events (see `events`). ValueError, now and not later, if it cannot be served.

        The request joins the queue with the first `next`; close the iterator to cancel.
        """
        rows = self._continuations(request)
        memory = self._plan(rows)
        memory.check()
        return self._stream(request, rows, memory)

    def _stream(self, request: Request, rows: list[Continuation], memory: MemoryPlan) -> Generator[Event, None, None]:
        ticket = self._turns.join()
        try:
            ahead = self._turns.ahead(ticket)
            while ahead:
                yield Queued(ahead)
                ahead = self._turns.wait(ticket, _PULSE)
            models: dict[Member, Model] = {}
            yield from self._load(rows, models)
            yield from self._decode(request, rows, models, memory)
        finally:
            self._turns.leave(ticket)

    def _load(self, rows: list[Continuation], models: dict[Member, Model]) -> Iterator[Loading]:
        """Fill `models` with all members of the rows, announcing those that must be read."""
        members = _members(rows)
        missing = [member for member in members if not self.models.is_loaded(member)]
        for member in members:
            if member in missing:
                yield Loading(str(member), missing.index(member) + 1, len(missing))
            models[member] = self.models.load(member)

    def _decode(
        self, request: Request, rows: list[Continuation], models: dict[Member, Model], memory: MemoryPlan
    ) -> Iterator[Event]:
        """Decode, and turn tokens into text."""
        transcripts = [_Transcript(self.models.tokenizer, row, request.limits.stop) for row in rows]
        answers: dict[int, Answer] = {}
        started = time.perf_counter()
        steps = decode(rows, models, self.models.vocabulary.end_ids, lambda row, token: transcripts[row].push(token))
        with closing(steps):
            next(steps)  # the prompts are read
            yield Started(tuple(transcript.start for transcript in transcripts), str(memory))
            began = time.perf_counter()
            for drawn in steps:
                seconds = time.perf_counter() - began
                for each in drawn:
                    transcript = transcripts[each.row]
                    if each.reason != "failed":
                        yield transcript.drawn(each, seconds)
                    if each.reason:
                        tail, answers[each.row] = transcript.finish(each, seconds)
                        yield RowFinished(each.row, tail, answers[each.row])
        yield Done(tuple(answers[row] for row in range(len(rows))), time.perf_counter() - started)

    def _continuations(self, request: Request) -> list[Continuation]:
        """The request's rows as ids, each checked against the family and the context."""
        for row in request.rows:
            self.family.check(row.policy)
        prompts = dict.fromkeys(row.prompt for row in request.rows)
        ids = {prompt: self.models.encode(prompt) for prompt in prompts}
        return [self._continuation(row, ids[row.prompt], request.limits.max_new_tokens) for row in request.rows]

    def _continuation(self, row: Row, prompt: tuple[int, ...], most: int) -> Continuation:
        context = min(self.models.facts(member).context for member in row.policy.members())
        room = context - len(prompt)
        if room < 1:
            raise ValueError(
                f"the prompt has {len(prompt):,} tokens and the models read {context:,}, the answer included: "
                f"shorten it to about {(context - 1) * len(row.prompt) // len(prompt):,} characters."
            )
        if not prompt:
            raise ValueError("the prompt has no tokens: write a question.")
        reason: Reason = "length" if most <= room else "context"
        return Continuation(prompt, row.policy, row.sampling, row.sample, min(most, room), reason)

    def _plan(self, rows: list[Continuation]) -> MemoryPlan:
        members = _members(rows)
        loaded = [str(member) for member in members if self.models.is_loaded(member)]
        available = self.models.available_bytes()
        if self.settings.memory_gb is not None:
            taken = sum(self.models.facts(m).weight_bytes(bytes_of(self.dtype)) for m in self.models.loaded())
            available = min(available, max(0, int(self.settings.memory_gb * 1e9) - taken))
        return plan(
            members={str(member): self.models.facts(member) for member in members},
            rows={str(member): sum(member in row.policy.members() for row in rows) for member in members},
            slots=max(len(row.prompt) + row.most for row in rows),
            dtype=self.dtype,
            device=self.device,
            available=available,
            loaded=loaded,
        )


def _members(rows: list[Continuation]) -> list[Member]:
    """Every member that some row needs, in one order."""
    return sorted({member for row in rows for member in row.policy.members()}, key=str)


class _Transcript:
    """One row's tokens and text while it runs."""

    def __init__(self, tokenizer: object, row: Continuation, stop: tuple[str, ...]) -> None:
        self._row, self._text = row, Detokenizer(tokenizer, stop)
        self._ids: list[int] = []
        self._logprobs: list[float] = []
        self._piece = ""

    @property
    def start(self) -> RowStart:
        row = self._row
        return RowStart(row.policy, tuple(str(member) for member in row.policy.members()), len(row.prompt))

    def push(self, token: int) -> bool:
        """Add a token's text; whether a stop string was met."""
        self._piece = self._text.push(token)
        return self._text.stopped

    def drawn(self, drawn: Drawn, seconds: float) -> TokensDrawn:
        """The event of a drawn token."""
        self._ids.append(drawn.token)
        self._logprobs.append(drawn.logprob)
        piece, self._piece = self._piece, ""
        return TokensDrawn(drawn.row, (drawn.token,), (drawn.logprob,), piece, seconds)

    def finish(self, drawn: Drawn, seconds: float) -> tuple[str, Answer]:
        """The held-back rest of the text, and the whole answer."""
        tail = self._text.finish()
        reason = drawn.reason or "length"
        answer = Answer(
            policy=self._row.policy,
            text=self._text.text,
            token_ids=tuple(self._ids),
            logprobs=tuple(self._logprobs),
            reason=reason,
            prompt_tokens=len(self._row.prompt),
            seconds=seconds,
            message=_FAILED if reason == "failed" else "",
        )
        return tail, answer

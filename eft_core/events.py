"""What a session says while it works: frozen dataclasses, from `session` to whoever listens.

A stream is: `Queued`* (while others run), `Loading`* (members that are not in memory yet), `Timing`?, `Started`, then
`TokensDrawn`, `TokensRecorded` and `RowFinished` of all rows interleaved, and `Done`. Rows are numbered as in the
request. An inspection's stream has `Reading`* and `Inspected` in their stead.
Bad input and failures that concern the whole request are raised, not sent.
"""

from dataclasses import dataclass, field
from typing import Literal

from eft_core.policy import Policy
from eft_core.trace import Trace

# end: an end token was drawn. stop: a stop string. length: max_new_tokens. context: the window is full.
# failed: this row's policy had no finite probability; `Answer.message` says why; other rows go on.
Reason = Literal["end", "stop", "length", "context", "failed"]

# How a token came to be. plain: drawn from the policy, nothing was drafted. accepted: drafted, and verified.
# recovered: drawn after a draft was rejected. bonus: drawn after a whole block was accepted. given: not drawn, but the
# beginning of the answer that the request gave. They differ in their first letters, by which traces keep them.
Fate = Literal["plain", "accepted", "recovered", "bonus", "given"]


@dataclass(frozen=True, slots=True)
class Drafting:
    """What speculation did in one row. `drafter` is the draft policy's formula; it is "" where none is cheaper.

    reached[i]: cycles whose draft had a token at place i, all before it accepted; accepted[i]: those that accepted it.
    drafted: draft tokens in all. cycles: those that drafted in this row. tokens: what these cycles gave.
    """

    drafter: str
    cycles: int = 0
    tokens: int = 0
    drafted: int = 0
    reached: tuple[int, ...] = ()
    accepted: tuple[int, ...] = ()

    @property
    def acceptance(self) -> float | None:
        """The chance that a draft token is accepted when those before it were; None if nothing was drafted."""
        return sum(self.accepted) / sum(self.reached) if sum(self.reached) else None

    @property
    def acceptance_by_position(self) -> tuple[float, ...]:
        return tuple(hit / seen for hit, seen in zip(self.accepted, self.reached, strict=True) if seen)

    @property
    def tokens_a_cycle(self) -> float | None:
        return self.tokens / self.cycles if self.cycles else None


@dataclass(frozen=True, slots=True)
class Gain:
    """What speculation brought to a request, all rows together. `plain_tokens_per_second` is measured where the
    request asked to be timed both ways; `predicted` comes from measured acceptance and pass costs, None if unknown."""

    tokens_per_second: float
    plain_tokens_per_second: float | None = None
    predicted: float | None = None

    @property
    def measured(self) -> float | None:
        return self.tokens_per_second / self.plain_tokens_per_second if self.plain_tokens_per_second else None


@dataclass(frozen=True, slots=True)
class Queued:
    """The request waits; `ahead` requests run or wait before it."""

    ahead: int


@dataclass(frozen=True, slots=True)
class Loading:
    """Member number `index` (from 1) of the `total` that must be read now; `freed` are the checkpoints that had to go
    for them."""

    member: str
    index: int
    total: int
    freed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Downloading:
    """`done` of the `total` bytes of one checkpoint's files have come to this machine; `total` is 0 while it is only
    looked at. `seconds` are those left at the speed so far, None while there is none."""

    checkpoint: str
    done: int
    total: int
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RowStart:
    """What a row will run: its policy, the members it needs, and the length of its prompt in tokens."""

    policy: Policy
    members: tuple[str, ...]
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Started:
    """All members are in memory, prompts are read; `plan` is the memory plan in one sentence."""

    rows: tuple[RowStart, ...]
    plan: str


@dataclass(frozen=True, slots=True)
class Timing:
    """The request is decoded plainly first, unseen, to measure what speculation brings."""


@dataclass(frozen=True, slots=True)
class Working:
    """A sign of life while the members' passes take long; whoever wants to cancel can do so now."""


@dataclass(frozen=True, slots=True)
class TokensDrawn:
    """Tokens of one row, in order: one of plain decoding, a cycle's of speculation; `fates` are one a token.

    `text` is what they add to the row's text: whole characters, held back while a character or a possible stop
    string is incomplete, so it can be empty. `seconds` since decoding began.
    """

    row: int
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    seconds: float
    fates: tuple[Fate, ...] = ()


@dataclass(frozen=True, slots=True)
class TokensRecorded:
    """The records of the row's next len(trace) tokens; they come after the tokens, and before the row ends."""

    row: int
    trace: Trace


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished row. `logprobs` are the policy's own (before temperature, top-k, top-p), in nats. `token_ids`
    include the end token; `text` does not show it. `seconds` from the row's first decoding step to its last.
    `fates` are one a token; `drafting` is set if the request speculated, `trace` if it kept records."""

    policy: Policy
    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    reason: Reason
    prompt_tokens: int
    seconds: float
    message: str = ""
    fates: tuple[Fate, ...] = ()
    drafting: Drafting | None = None
    trace: Trace | None = field(default=None, compare=False, repr=False)

    @property
    def given(self) -> int:
        """How many tokens at its beginning the request gave."""
        return self.fates.count("given")

    @property
    def tokens_per_second(self) -> float:
        return (len(self.token_ids) - self.given) / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class RowFinished:
    """A row ended. `tail` is text that was held back; `answer` is the whole."""

    row: int
    tail: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Done:
    """Every row ended: the answers in the order of the request's rows, and the time of the whole in seconds.
    `gain` is set if the request speculated."""

    answers: tuple[Answer, ...]
    seconds: float
    gain: Gain | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """An inspection has read `done` of `total` tokens."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Inspected:
    """The records of texts that somebody else wrote, in the order in which they were given."""

    traces: tuple[Trace, ...]
    seconds: float


Event = Queued | Loading | Timing | Working | Started | TokensDrawn | TokensRecorded | RowFinished | Done
Inspecting = Queued | Loading | Reading | Inspected

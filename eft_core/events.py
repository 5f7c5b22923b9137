"""What a session says while it works: frozen dataclasses, from `session` to whoever listens.

A stream is: `Queued`* (while others run), `Loading`* (members that are not in memory yet), `Started`, then
`TokensDrawn` and `RowFinished` of all rows interleaved, and `Done`. Rows are numbered as in the request.
Bad input and failures that concern the whole request are raised, not sent.
"""

from dataclasses import dataclass
from typing import Literal

from eft_core.policy import Policy

# end: an end token was drawn. stop: a stop string. length: max_new_tokens. context: the window is full.
# failed: this row's policy had no finite probability; `Answer.message` says why; other rows go on.
Reason = Literal["end", "stop", "length", "context", "failed"]


@dataclass(frozen=True, slots=True)
class Queued:
    """The request waits; `ahead` requests run or wait before it."""

    ahead: int


@dataclass(frozen=True, slots=True)
class Loading:
    """Member number `index` (from 1) of the `total` that must be read now."""

    member: str
    index: int
    total: int


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
class TokensDrawn:
    """Tokens of one row. `text` is what they add to the row's text: whole characters, held back while a
    character or a possible stop string is incomplete, so it can be empty. `seconds` since decoding began."""

    row: int
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished row. `logprobs` are the policy's own (before temperature, top-k, top-p), in nats. `token_ids`
    include the end token; `text` does not show it. `seconds` from the row's first decoding step to its last."""

    policy: Policy
    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    reason: Reason
    prompt_tokens: int
    seconds: float
    message: str = ""

    @property
    def tokens_per_second(self) -> float:
        return len(self.token_ids) / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class RowFinished:
    """A row ended. `tail` is text that was held back; `answer` is the whole."""

    row: int
    tail: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Done:
    """Every row ended: the answers in the order of the request's rows, and the time of the whole in seconds."""

    answers: tuple[Answer, ...]
    seconds: float


Event = Queued | Loading | Started | TokensDrawn | RowFinished | Done

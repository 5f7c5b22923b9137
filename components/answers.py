"""Events in, answers out: the fold that every panel and the API share.

Pure. A page never counts or joins on its own: it renders what `advance` made of the session's events.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from eft_core.events import Event, RowFinished, TokensDrawn

# A column's last word, as people read it.
REASONS = {
    "end": "ended",
    "stop": "stop text reached",
    "length": "length reached",
    "context": "context full",
    "failed": "failed",
}


@dataclass(frozen=True, slots=True)
class RowAnswer:
    """One row so far: its text, how many tokens in how many seconds, and why it ended ("" while it runs)."""

    text: str = ""
    tokens: int = 0
    seconds: float = 0.0
    reason: str = ""
    message: str = ""

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds > 0 else 0.0


def advance(rows: tuple[RowAnswer, ...], events: Iterable[Event]) -> tuple[RowAnswer, ...]:
    """The rows after `events`."""
    found = list(rows)
    for event in events:
        if isinstance(event, TokensDrawn | RowFinished):
            found[event.row] = _next(found[event.row], event)
    return tuple(found)


def _next(row: RowAnswer, event: TokensDrawn | RowFinished) -> RowAnswer:
    if isinstance(event, TokensDrawn):
        tokens = row.tokens + len(event.token_ids)
        return replace(row, text=row.text + event.text, tokens=tokens, seconds=event.seconds)
    answer = event.answer
    return RowAnswer(answer.text, len(answer.token_ids), answer.seconds, answer.reason, answer.message)

"""Events in, answers out: the fold that every panel and the API share.

Pure. A page never counts or joins on its own: it renders what `advance` made of the session's events.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from eft_core.events import Drafting, Event, Fate, RowFinished, TokensDrawn

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
    """One row so far: its text, how many tokens in how many seconds, and why it ended ("" while it runs).

    `fates` has one letter a token: p plain, a accepted, r recovered, b bonus, g given. `drafting` comes with the end.
    """

    text: str = ""
    tokens: int = 0
    seconds: float = 0.0
    reason: str = ""
    message: str = ""
    fates: str = ""
    drafting: Drafting | None = None

    @property
    def tokens_per_second(self) -> float:
        return (self.tokens - self.fates.count("g")) / self.seconds if self.seconds > 0 else 0.0

    @property
    def acceptance(self) -> float | None:
        """The share of drafted tokens that was accepted, of those that were judged; None if none was yet."""
        if self.drafting is not None:
            return self.drafting.acceptance
        accepted, recovered = self.fates.count("a"), self.fates.count("r")
        return accepted / (accepted + recovered) if accepted + recovered else None


def letters(fates: Sequence[Fate]) -> str:
    """Fates by their first letters."""
    return "".join(fate[:1] for fate in fates)


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
        fates = row.fates + letters(event.fates)
        return replace(row, text=row.text + event.text, tokens=tokens, seconds=event.seconds, fates=fates)
    answer = event.answer
    return RowAnswer(
        text=answer.text,
        tokens=len(answer.token_ids),
        seconds=answer.seconds,
        reason=answer.reason,
        message=answer.message,
        fates=letters(answer.fates),
        drafting=answer.drafting,
    )

"""The gate before all that costs: who asks, whether there is room, and the session's events of what was let in.

A handler asks first, which counts a request, and then reads the session through here, which holds rows and tokens until
the stream is closed. What is refused is a sentence that says when to try again, as every mistake is. Long runs (sweeps,
experiments) are one request; they are never refused for lack of room, but wait, and take a part of it at a time.
"""

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Self

import gradio as gr

from components.batches import INTERVAL
from components.visitors import Visitors
from eft_core.allowance import Allowance
from eft_core.bounds import Held, Refused, lasting
from eft_core.config import Request, Text
from eft_core.events import Event, Inspecting, TokensDrawn
from eft_core.running import ROWS_TOGETHER, Way
from eft_core.session import Session
from eft_core.settings import Settings

# Threads of a page: gradio reads every running call in one of them, so there are more than calls of a listener, and
# Stop and all that is quick still find one.
THREADS = 192
QUEUE = 256  # calls that wait for a thread; beyond it gradio itself refuses
CROWD, SLOWEST = 3, 0.5  # requests from which on pages get fewer updates, and the most seconds between two
PATIENCE = 1.0  # seconds in which what a visitor has just stopped gives its rows back
# Characters, and tokens, of a text that is read for one token of a visitor's share: reading costs less than drawing.
_CHARACTERS, _READ = 16, 4
_PULSE = 0.2  # seconds between two looks whether a run may go on


@dataclass(frozen=True)
class Limiter:
    """One process's gate: all families' pages share it."""

    allowance: Allowance
    visitors: Visitors

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(Allowance(settings.limits), Visitors.of(settings.proxies))

    def interval(self) -> float:
        """Seconds between two updates of a page: each costs gradio some milliseconds, which a crowd's rows need."""
        return min(SLOWEST, INTERVAL * max(1.0, self.allowance.waiting / CROWD))

    def ask(self, request: gr.Request, *texts: str) -> str:
        """Count a request, and look how long its texts are. Who asks; Refused if that is too much."""
        who = self.visitors.who(request)
        self.allowance.check_prompt(*texts)
        self.allowance.ask(who)
        return who

    def stream(self, who: str, session: Session, request: Request) -> Generator[Event, None, None]:
        """The session's events of a request, when there is room for it; Refused at the first `next` otherwise."""
        rows, tokens = cost(request)
        with (
            self.allowance.holding(who, rows, tokens, PATIENCE) as grant,
            closing(session.stream(request)) as events,
        ):
            for event in events:
                if isinstance(event, TokensDrawn):
                    grant.drawn += len(event.token_ids)
                yield event

    def inspect(self, who: str, session: Session, texts: Sequence[Text]) -> Generator[Inspecting, None, None]:
        """The session's events of texts that are read, when there is room for them; Refused as above."""
        with self.reading(who, [text.response for text in texts]), closing(session.inspect(texts)) as events:
            yield from events

    @contextmanager
    def reading(self, who: str, texts: Sequence[str | Sequence[int]]) -> Iterator[None]:
        """A place for texts that are read, or their tokens, while the block runs."""
        tokens = sum(1 + len(text) // (_CHARACTERS if isinstance(text, str) else _READ) for text in texts)
        with self.allowance.holding(who, 1, tokens, PATIENCE) as grant:
            grant.drawn = tokens
            yield

    def way(self, who: str, session: Session, length: int) -> Way:
        """How a long run reads the session, its answers being `length` tokens at most: so many rows at a time as leave
        its visitor some, each time when there is room."""

        def stream(request: Request) -> Generator[Event | Held, None, None]:
            while True:
                try:
                    with closing(self.stream(who, session, request)) as events:
                        yield from events
                    return
                except Refused as refusal:  # before the first event
                    if refusal.seconds == math.inf:
                        raise
                    with self.allowance.waiting_run(who):
                        yield Held(refusal.seconds)
                        self.allowance.wait(_PULSE)

        most = self.allowance.together(who, length)
        return Way(stream, ROWS_TOGETHER if most is None else min(most, ROWS_TOGETHER))


def cost(request: Request) -> tuple[int, int]:
    """Rows and tokens that a request may take. Timed both ways, it draws everything twice."""
    timed = request.speculation is not None and request.speculation.timed
    rows = len(request.rows)
    return rows, rows * request.limits.max_new_tokens * (2 if timed else 1)


def holding_on(held: Held) -> str:
    """What is said of a run that waits."""
    return f"Waiting for room: going on in about {lasting(held.seconds)}"

"""What requests cost and how they ended, counted for metrics and told in the log, a line a request, without prompts.

Whatever decodes goes through `Meter.request`, which is also the door that closes when the server stops: new ones are
refused in one sentence, and those that run are ended in another. Numbers only; nothing of a visitor is kept.
"""

import logging
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from eft_core.events import Done, Inspected, TokensDrawn
from eft_core.running import Progress
from eft_core.trials import Reply

# done; stopped by the visitor; left: the visitor has gone; refused in a sentence; failed inside; ended by the server.
Outcome = Literal["done", "stopped", "left", "refused", "failed", "ended"]
FIRST_TOKEN = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds: bounds of the histogram's buckets
NO_MORE = "the server is stopping and takes no new requests: try again in a minute."
CUT_SHORT = "the server is stopping, so this ended early: run it again in a minute."

log = logging.getLogger("eft_lab.requests")


class Stopping(ValueError):
    """The server is about to end; the text says what to do."""


@dataclass(slots=True)
class Told:
    """One request: whoever reads its events shows them here, or says by itself that it is `finished`."""

    kind: str
    family: str
    rows: int
    stop: threading.Event
    clock: Callable[[], float]
    began: float
    tokens: int = 0
    first: float | None = None  # seconds to the first token
    runs: bool = False  # a sweep tells the replies that it had before
    finished: bool = False
    ended: bool = False  # by the server

    def saw(self, events: Iterable[Any]) -> None:
        """Count what the events bring."""
        for event in events:
            match event:
                case TokensDrawn():
                    self._drew(len(event.token_ids) - event.fates.count("given"))
                case Progress():
                    self.runs = True
                case Reply() if self.runs:
                    self._drew(len(event.token_ids))
                case Inspected():
                    self.tokens += sum(len(trace) for trace in event.traces)
                    self.finished = True
                case Done():
                    self.finished = True

    def _drew(self, tokens: int) -> None:
        self.tokens += tokens
        if tokens and self.first is None:
            self.first = self.clock() - self.began


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted so far. `buckets`: first tokens by `FIRST_TOKEN`, and one for those that took longer."""

    requests: Mapping[tuple[str, Outcome], int]
    tokens: Mapping[str, int]
    buckets: tuple[int, ...]
    first_seconds: float
    running: int


@dataclass(slots=True)
class _Sums:
    requests: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(FIRST_TOKEN) + 1))
    first_seconds: float = 0.0


class Meter:
    """The counters of a process. The lock guards them: requests end in threads of their own."""

    def __init__(self, prompts: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        """With `prompts`, the log has them."""
        self._prompts, self._clock = prompts, clock
        self._lock = threading.Lock()
        self._sums = _Sums()
        self._running: list[Told] = []
        self._closed = False

    @contextmanager
    def request(
        self, kind: str, family: str = "", rows: int = 1, prompt: str = "", stop: threading.Event | None = None
    ) -> Iterator[Told]:
        """A request from its beginning to its end. `stop` ends it, if whoever runs it looks there.

        `Stopping` if the server takes no more, and at the end of one that the server ended."""
        told = Told(kind, family, rows, stop or threading.Event(), self._clock, self._clock())
        outcome: Outcome = "failed"
        try:
            self._begin(told)
            yield told
            if told.ended and not told.finished:
                raise Stopping(CUT_SHORT)
            outcome = "done" if told.finished else "stopped"
        except GeneratorExit:
            outcome = "left"
            raise
        except ValueError as error:
            outcome = "ended" if told.ended and isinstance(error, Stopping) else "refused"
            raise
        finally:
            self._end(told, outcome, prompt)

    def refused(self, kind: str, family: str = "", rows: int = 0, prompt: str = "") -> None:
        """A request that was refused before it began."""
        self._end(Told(kind, family, rows, threading.Event(), self._clock, self._clock()), "refused", prompt)

    def close(self) -> None:
        """Take no new requests from now on."""
        with self._lock:
            self._closed = True

    @property
    def is_closed(self) -> bool:
        return self._closed

    def end(self) -> int:
        """End all requests that run; how many there were."""
        with self._lock:
            running = tuple(self._running)
        for told in running:
            told.ended = True
            told.stop.set()
        return len(running)

    def counts(self) -> Counts:
        """What was counted so far."""
        with self._lock:
            sums, running = self._sums, len(self._running)
            kept = dict(sums.requests), dict(sums.tokens), tuple(sums.buckets)
            return Counts(*kept, sums.first_seconds, running)

    def _begin(self, told: Told) -> None:
        with self._lock:
            if self._closed:
                raise Stopping(NO_MORE)
            self._running.append(told)

    def _end(self, told: Told, outcome: Outcome, prompt: str) -> None:
        seconds = self._clock() - told.began
        with self._lock:
            self._running = [each for each in self._running if each is not told]
            self._sums.requests[told.kind, outcome] += 1
            self._sums.tokens[told.kind] += told.tokens
            if told.first is not None:
                self._sums.buckets[bisect_left(FIRST_TOKEN, told.first)] += 1
                self._sums.first_seconds += told.first
        fields: dict[str, Any] = {"kind": told.kind, "family": told.family, "rows": told.rows, "tokens": told.tokens}
        first = None if told.first is None else round(told.first, 3)
        fields |= {"seconds": round(seconds, 3), "first_token": first, "outcome": outcome}
        log.info("request", extra={"fields": fields | ({"prompt": prompt} if self._prompts else {})})

"""What a visitor, and all of them together, may ask for: counts of what runs, token buckets for what is asked a minute.

Pure but for a clock that never goes back: who a visitor is, others say (`components.visitors`). Nothing is kept of a
visitor who was away for a minute, so tables stay small.
"""

import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from eft_core.bounds import MINUTE, Bounds, Refused, never, refused

MOST_KEPT = 10_000  # visitors of one minute; beyond it the one that asked longest ago is let go
MOST_HELD, MOST_HELD_IN_ALL = 4, 32  # long runs that wait for room, of a visitor and of all
OWNER = ""  # whoever sits at the server's own machine: only what all may ask together bounds them
_ALL = "all"
_USUAL = 5.0  # seconds that a request takes, before any ended
_LEARNED = 0.1  # what the latest one counts in the mean


@dataclass(slots=True)
class Grant:
    """What was let in. `drawn` is counted by whoever decodes; the rest of `tokens` is given back at the end."""

    tokens: int
    drawn: int = 0


class Rates:
    """Token buckets by key: `most` at once, and as many again within a minute. Not locked: `Allowance` does that."""

    def __init__(self, most: int | None, clock: Callable[[], float]) -> None:
        self.most = most
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is used, and when that was so

    def __len__(self) -> int:
        return len(self._kept)

    def wait(self, key: str, amount: int) -> float:
        """Seconds until `amount` may be taken; 0 if it may be now, infinite if it never may."""
        if self.most is None:
            return 0.0
        if amount > self.most:
            return math.inf
        return max(0.0, (self.used(key) + amount - self.most) / self.most * MINUTE)

    def take(self, key: str, amount: int) -> None:
        """Count `amount` as used; less than nothing gives back."""
        if self.most is None or not amount:
            return
        self._kept[key] = max(0.0, self.used(key) + amount), self._clock()
        self._kept.move_to_end(key)
        self._tidy()

    def used(self, key: str) -> float:
        """How much of it is used now."""
        used, at = self._kept.get(key, (0.0, 0.0))
        return max(0.0, used - (self._clock() - at) / MINUTE * (self.most or 0))

    def _tidy(self) -> None:
        """Let go of whoever has all of their share again, which a minute gives back whatever was used."""
        while self._kept:
            _, (_, at) = first = next(iter(self._kept.items()))
            if len(self._kept) <= MOST_KEPT and self._clock() - at < MINUTE:
                return
            del self._kept[first[0]]


class Allowance:
    """What is left to every visitor. The lock guards all of it: requests come and go in their own threads."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self.bounds = bounds
        self._clock = clock
        self._changed = threading.Condition()
        self._tokens, self._all_tokens = Rates(bounds.tokens, clock), Rates(bounds.tokens_total, clock)
        self._requests, self._all_requests = Rates(bounds.requests, clock), Rates(bounds.requests_total, clock)
        self._messages = Rates(bounds.messages, clock)
        self._guesses, self._all_guesses = Rates(bounds.guesses, clock), Rates(bounds.guesses_total, clock)
        self._rows: Counter[str] = Counter()  # of those alone who have some now
        self._held: Counter[str] = Counter()
        self._began: dict[object, float] = {}
        self._usual = _USUAL

    @property
    def rows(self) -> int:
        """Answers that are written or wait now."""
        return self._rows.total()

    @property
    def waiting(self) -> int:
        """Requests that run or wait now."""
        return len(self._began)

    def check_prompt(self, *texts: str) -> None:
        """Refused if a prompt, with what comes before it, is too long."""
        count = sum(len(text) for text in texts)
        if self.bounds.prompt is not None and count > self.bounds.prompt:
            what = "prompt, the system prompt and the earlier turns have" if any(texts[1:]) else "prompt has"
            raise Refused(
                f"The {what} {count:,} characters and at most {self.bounds.prompt:,} fit: shorten it.", math.inf
            )

    def ask(self, who: str) -> None:
        """Count a request of a visitor's; Refused if there were too many within a minute."""
        with self._changed:
            own = 0.0 if who == OWNER else self._requests.wait(who, 1)
            if own:
                raise refused(f"you asked {self.bounds.requests:,} times within a minute, which is the most", own)
            if wait := self._all_requests.wait(_ALL, 1):
                raise refused("this server is asked by too many at once", wait)
            self._requests.take(who, 1)
            self._all_requests.take(_ALL, 1)

    def tell(self, who: str) -> None:
        """Count a rater's message; Refused if there were too many within a minute."""
        with self._changed:
            wait = 0.0 if who == OWNER else self._messages.wait(who, 1)
            if wait:
                raise refused(f"{self.bounds.messages:,} messages came within a minute from where you are", wait)
            self._messages.take(who, 1)

    def check_calls(self, who: str, count: int) -> None:
        """Refused if a visitor has so many calls under way that they would stand in everybody's way."""
        if self.bounds.calls is not None and who != OWNER and count >= self.bounds.calls:
            with self._changed:
                raise refused(f"{count} calls from where you are are under way, which is the most", self._ends())

    def check_code(self, who: str) -> None:
        """Refused while there were too many wrong codes: of this visitor, or of all, for whoever gave one of them."""
        with self._changed:
            wait = self._guesses.wait(who, 1)
            if not wait and self._guesses.used(who):
                wait = self._all_guesses.wait(_ALL, 1)
            if wait:
                raise refused("too many codes came from where you are that nobody has", wait)

    def guessed(self, who: str) -> None:
        """Count a wrong code."""
        with self._changed:
            self._guesses.take(who, 1)
            self._all_guesses.take(_ALL, 1)

    @contextmanager
    def holding(self, who: str, rows: int, tokens: int, patience: float = 0.0) -> Iterator[Grant]:
        """A place for so many rows of so many tokens in all, while the block runs. Refused if there is none within
        `patience` seconds, in which what ends makes room."""
        with self._changed:
            end = self._clock() + patience
            while (refusal := self._refusal(who, rows, tokens)) is not None:
                left = end - self._clock()
                if left <= 0 or refusal.seconds == math.inf or not self._began:
                    raise refusal
                self._changed.wait(left)
            self._began[ticket := object()] = self._clock()
            self._rows[who] += rows
            self._take_tokens(who, tokens)
        grant = Grant(tokens)
        try:
            yield grant
        finally:
            with self._changed:
                took = self._clock() - self._began.pop(ticket)
                self._usual += _LEARNED * (took - self._usual)
                self._rows[who] -= rows
                if not self._rows[who]:
                    del self._rows[who]
                # The buckets have filled since: what they have back already is not given twice.
                self._take_tokens(who, int(min(0, grant.drawn - tokens) * max(0.0, 1 - took / MINUTE)))
                self._changed.notify_all()

    @contextmanager
    def waiting_run(self, who: str) -> Iterator[None]:
        """A long run waits for room while the block runs; Refused where too many do, for each takes a place."""
        with self._changed:
            own = 0 if who == OWNER else self._held[who]
            if own >= MOST_HELD or self._held.total() >= MOST_HELD_IN_ALL:
                raise refused("enough runs wait for room already", self._ends(), "try again in about")
            self._held[who] += 1
        try:
            yield
        finally:
            with self._changed:
                self._held[who] -= 1
                if not self._held[who]:
                    del self._held[who]

    def wait(self, seconds: float) -> None:
        """Until something ends, so many seconds at most."""
        with self._changed:
            self._changed.wait(seconds)

    def together(self, who: str, tokens: int) -> int | None:
        """How many rows of `tokens` each a long run may have at once: half of its visitor's share, so that they can
        still compare. None is no limit."""
        if who == OWNER:
            return None
        shares = [share for share in (self.bounds.rows, self._of_tokens(tokens)) if share is not None]
        return max(1, min(shares) // 2) if shares else None

    def _of_tokens(self, tokens: int) -> int | None:
        return None if self.bounds.tokens is None else self.bounds.tokens // max(1, tokens)

    def _take_tokens(self, who: str, tokens: int) -> None:
        if who != OWNER:
            self._tokens.take(who, tokens)
        self._all_tokens.take(_ALL, tokens)

    def _refusal(self, who: str, rows: int, tokens: int) -> Refused | None:
        """Why so much may not be had now."""
        bounds = self.bounds
        if who != OWNER:
            if (most := bounds.rows) is not None and self._rows[who] + rows > most:
                if rows > most:
                    return never(f"{rows} answers at once are more than the {most} that one visitor may have")
                text = f"{self._rows[who]} of your answers are being written, and {most} at once are the most"
                return refused(text, self._ends(), "stop them, or try again in about")
            if wait := self._tokens.wait(who, tokens):
                if wait == math.inf:
                    return never(f"{tokens:,} tokens are more than the {bounds.tokens:,} that one visitor may ask for")
                text = f"you asked for {bounds.tokens:,} tokens within a minute, which is the most"
                return refused(text, wait, "shorten the answers, or try again in")
        if bounds.waiting is not None and len(self._began) >= bounds.waiting:
            return refused(f"{len(self._began)} requests run or wait here, which is the most", self._ends())
        if bounds.rows_total is not None and self._rows.total() + rows > bounds.rows_total:
            if rows > bounds.rows_total:
                return never(f"{rows} answers at once are more than the {bounds.rows_total} that this server writes")
            return refused("this server writes as many answers at once as it can", self._ends())
        if wait := self._all_tokens.wait(_ALL, tokens):
            return refused("this server draws as many tokens as it can", wait)
        return None

    def _ends(self) -> float:
        """About when the next request ends: the usual time of one, less what the oldest has had of it."""
        oldest = min(self._began.values(), default=self._clock())
        return max(1.0, self._usual - (self._clock() - oldest))

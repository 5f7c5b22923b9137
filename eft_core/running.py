"""Trials decoded as ragged batches, split by what fits into memory; told as they come, and kept as they end.

`run` is a stream like a session's. Closing it keeps every reply that was told. Rows of a batch share their forwards
and the reading of their prompt, so five settings cost far less than five runs (SPEED.md 2.4).
"""

import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

from eft_core.bounds import Held
from eft_core.config import Request
from eft_core.events import Answer, Event, Loading, Queued, RowFinished, TokensDrawn
from eft_core.session import Session
from eft_core.trials import Reply, Trials

ROWS_TOGETHER = 96  # more rows a batch bring little on a CPU, and make whoever waits wait longer


@dataclass(frozen=True, slots=True)
class Grown:
    """A running trial's text grew."""

    trial: int
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` trials are answered; `left` are the seconds that the rest may take, None while unknown."""

    done: int
    total: int
    left: float | None


@dataclass(frozen=True, slots=True)
class Way:
    """How a run reads its session: by which stream, and how many rows at a time at most."""

    stream: Callable[[Request], Generator[Event | Held, None, None]]
    rows: int = ROWS_TOGETHER


Told = Held | Queued | Loading | Grown | Reply | Progress


def run(
    session: Session, trials: Trials, done: Collection[int] = (), way: Way | None = None
) -> Generator[Told, None, None]:
    """Decode the trials that are not `done`. ValueError, now and not later, if they cannot be served."""
    for setting in trials.settings:
        session.family.check(setting.policy)
    left = [trial for trial in range(len(trials)) if trial not in done]
    if left:
        session.plan(_request(trials, left[:1])).check()
    return _run(session, trials, left, way or Way(session.stream))


def _run(session: Session, trials: Trials, left: Sequence[int], way: Way) -> Generator[Told, None, None]:
    pace = _Pace(len(trials), len(left), trials.limits.max_new_tokens)
    yield pace.progress()
    while left:
        request = _fitting(session, trials, left, way.rows)
        batch, left = left[: len(request.rows)], left[len(request.rows) :]
        with closing(way.stream(request)) as events:
            for event in events:
                match event:
                    case Held() | Queued() | Loading():
                        yield event
                    case TokensDrawn():
                        pace.drawn += len(event.token_ids)
                        if event.text:
                            yield Grown(batch[event.row], event.text)
                    case RowFinished():
                        pace.finished(event.answer)
                        yield _reply(batch[event.row], event.answer)
                        yield pace.progress()


def _fitting(session: Session, trials: Trials, left: Sequence[int], most: int) -> Request:
    """As many of the next trials as fit into memory together: at least one, for one alone must fit or be refused."""
    rows = min(most, len(left))
    request = _request(trials, left[:rows])
    while rows > 1 and not session.plan(request).fits:
        rows = (rows + 1) // 2
        request = _request(trials, left[:rows])
    return request


def _request(trials: Trials, batch: Sequence[int]) -> Request:
    return Request(tuple(trials.row(trial) for trial in batch), trials.limits, record=trials.record)


def _reply(trial: int, answer: Answer) -> Reply:
    trace = answer.trace
    distances = () if trace is None else tuple(round(float(each), 4) for each in trace.total_variation[:, 0])
    values = (answer.text, answer.token_ids, answer.reason, round(answer.seconds, 4), answer.message, distances)
    return Reply(trial, *values)


class _Pace:
    """How fast a run goes, in tokens, for rows of a batch end at about the same time."""

    def __init__(self, total: int, left: int, longest: int) -> None:
        self.total, self.left, self.longest = total, left, longest
        self.drawn, self.done, self.lengths = 0, 0, 0
        self.began = time.perf_counter()

    def finished(self, answer: Answer) -> None:
        self.done += 1
        self.lengths += len(answer.token_ids)

    def progress(self) -> Progress:
        """Where it stands; the time left is that of rows as long as those that ended so far."""
        answered = self.total - self.left + self.done
        if not self.done:
            return Progress(answered, self.total, None)
        expected = self.lengths / self.done * self.left
        seconds = (time.perf_counter() - self.began) / self.drawn
        return Progress(answered, self.total, max(0.0, expected - self.drawn) * seconds)

"""The engine's order and fairness: scripts without models, followed from the test's own threads."""

import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any

import pytest
from here import seconds_until

from eft_core import engine as module
from eft_core.engine import Engine
from eft_core.events import Queued, Reading, Working
from eft_core.tickets import Claim, Restarted


class Most:
    """A home with room for so many rows."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def fits(self, claims: Sequence[Claim]) -> bool:
        return sum(claim.rows for claim in claims) <= self.rows


def counting(number: int, until: threading.Event | None = None) -> Callable[[Any], Generator[Any, None, None]]:
    """A script that says the numbers below `number`, and goes on saying nothing until an event is set."""

    def script(owner: Any) -> Generator[Any, None, None]:
        for each in range(number):
            yield [Reading(each, number)]
        while until is not None and not until.is_set():
            time.sleep(0.001)
            yield []

    return script


def numbers(events: Any) -> list[int]:
    return [event.done for event in events if isinstance(event, Reading)]


def test_what_a_script_says_arrives_in_order_and_the_request_is_gone() -> None:
    engine = Engine()
    assert numbers(engine.follow(Claim(Most(1), 1), counting(50))) == list(range(50))
    assert len(engine) == 0


def test_requests_that_fit_run_side_by_side_and_others_are_told_their_place() -> None:
    engine, home, go = Engine(), Most(2), threading.Event()
    first, second, third, fourth = (engine.follow(Claim(home, 1), counting(1, go)) for _ in range(4))
    assert isinstance(next(first), Reading)
    assert isinstance(next(second), Reading)  # though the first still runs
    assert next(third) == Queued(1)
    assert next(fourth) == Queued(2)
    assert (engine.standing().requests, engine.standing().waiting) == (2, 2)
    third.close()
    assert next(fourth) == Queued(1)
    assert next(fourth) == Queued(1)  # a sign of life, though nothing changed
    first.close()
    assert numbers([next(fourth)]) == [0]
    go.set()
    assert not numbers([*second, *fourth])
    assert len(engine) == 0


def test_nobody_overtakes_who_does_not_fit() -> None:
    engine, home, go = Engine(), Most(3), threading.Event()
    first, wide, narrow = (engine.follow(Claim(home, rows), counting(1, go)) for rows in (1, 3, 1))
    next(first)
    assert (next(wide), next(narrow)) == (Queued(1), Queued(2))
    first.close()
    assert isinstance(next(wide), Reading)
    assert next(narrow) == Queued(1)
    go.set()
    assert numbers([*wide, *narrow]) == [0]


def test_homes_are_never_mixed_and_who_wants_to_be_alone_is() -> None:
    engine, go = Engine(), threading.Event()
    here, there = Most(9), Most(9)
    first = engine.follow(Claim(here, 1), counting(1, go))
    next(first)
    for claim in (Claim(there, 1), Claim(here, 1, alone=True)):
        with closing(engine.follow(claim, counting(1))) as other:
            assert next(other) == Queued(1)
    first.close()
    alone = engine.follow(Claim(here, 1, alone=True), counting(1, go))
    next(alone)
    with closing(engine.follow(Claim(here, 1), counting(1))) as other:
        assert next(other) == Queued(1)
    go.set()
    list(alone)


def test_who_prepares_takes_turns_with_all_others() -> None:
    """A request of many pieces does not hold up one of a few."""
    engine, home, done = Engine(), Most(9), list[str]()
    long = engine.follow(Claim(home, 1), counting(100_000))
    next(long)
    assert numbers(engine.follow(Claim(home, 1), counting(5))) == list(range(5))
    done.append("short")
    assert len(engine) == 1  # the long one still runs
    long.close()
    assert len(engine) == 0


def test_of_many_the_first_come_is_ready_first_and_the_longest_goes_on_all_the_same() -> None:
    engine, said, go = Engine(), list[str](), threading.Event()

    def script(name: str, pieces: int) -> Any:
        def told(owner: Any) -> Generator[Any, None, None]:
            yield []
            go.wait(60)
            for _ in range(pieces):
                said.append(name)
                yield []

        return told

    home, pieces = Most(9), {"long": 100, "a": 5, "b": 5, "c": 5}
    streams = [engine.follow(Claim(home, 1), script(name, count)) for name, count in pieces.items()]
    readers = [threading.Thread(target=list, args=(stream,)) for stream in streams]
    for number, reader in enumerate(readers):
        reader.start()
        seconds_until(lambda count=number + 1: len(engine) == count)  # type: ignore[misc]
    go.set()
    for reader in readers:
        reader.join(60)
    ends = {name: len(said) - said[::-1].index(name) for name in pieces}
    assert ends["a"] < ends["b"] < ends["c"] < ends["long"] == len(said) == 115
    assert said[: ends["c"]].count("long") > 5


def test_a_script_that_fails_is_nobody_elses_failure() -> None:
    engine, home, go = Engine(), Most(9), threading.Event()

    def failing(owner: Any) -> Generator[Any, None, None]:
        yield [Reading(0, 1)]
        raise KeyError("lost")

    other = engine.follow(Claim(home, 1), counting(1, go))
    next(other)
    with pytest.raises(KeyError, match="lost"):
        list(engine.follow(Claim(home, 1), failing))
    go.set()
    list(other)
    assert engine.standing().restarts == 0


def test_a_home_that_cannot_be_asked_fails_the_request_alone() -> None:
    class Broken(Most):
        def fits(self, claims: Sequence[Claim]) -> bool:
            raise OSError("no such file")

    engine, home, go = Engine(), Broken(1), threading.Event()
    first = engine.follow(Claim(home, 1), counting(1, go))
    next(first)  # the first is not asked for
    with pytest.raises(OSError, match="no such file"):
        list(engine.follow(Claim(home, 1), counting(1)))
    go.set()
    list(first)


def test_closing_ends_the_script_before_it_returns() -> None:
    engine, ended = Engine(), list[str]()

    def script(owner: Any) -> Generator[Any, None, None]:
        try:
            while True:
                yield [Working()]
        finally:
            ended.append(threading.current_thread().name)

    events = engine.follow(Claim(Most(1), 1), script)
    next(events)
    events.close()
    assert ended == ["engine"]
    assert len(engine) == 0


def test_a_stream_may_be_followed_and_closed_by_other_threads() -> None:
    engine, seen = Engine(), list[Any]()
    events = engine.follow(Claim(Most(1), 1), counting(3, threading.Event()))
    for _ in range(3):
        thread = threading.Thread(target=lambda: seen.append(next(events)))
        thread.start()
        thread.join()
    closer = threading.Thread(target=events.close)
    closer.start()
    closer.join()
    assert numbers(seen) == [0, 1, 2]
    assert len(engine) == 0


def test_an_engine_whose_thread_fails_says_so_starts_again_and_serves_those_who_wait(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine, home = Engine(), Most(1)

    def fatal(owner: Any) -> Generator[Any, None, None]:
        yield [Reading(0, 1)]
        while len(engine) < 2:
            yield []
        raise SystemExit("what no request may do")

    running, waiting = engine.follow(Claim(home, 1), fatal), engine.follow(Claim(home, 1), counting(3))
    next(running)
    told: list[int] = []
    visitor = threading.Thread(target=lambda: told.extend(numbers(waiting)))
    visitor.start()
    with caplog.at_level(logging.CRITICAL), pytest.raises(Restarted, match="started again: press Run to try again"):
        list(running)
    visitor.join(20)
    assert told == [0, 1, 2]
    assert engine.standing().restarts == 1
    assert "the engine failed and starts again" in caplog.text
    assert len(engine) == 0


def test_the_thread_ends_when_nobody_asks_and_starts_with_the_next_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE", 0.01)
    engine = Engine()
    for _ in range(2):
        assert numbers(engine.follow(Claim(Most(1), 1), counting(2))) == [0, 1]
        for thread in threading.enumerate():
            if thread.name == "engine" and thread is engine._thread:
                thread.join(20)
        assert engine._thread is None
    assert engine.standing().restarts == 0


def test_a_request_that_says_nothing_gives_signs_of_life() -> None:
    engine, go = Engine(), threading.Event()
    events = engine.follow(Claim(Most(1), 1), counting(0, go))
    assert next(events) == Working()
    go.set()
    assert all(event == Working() for event in events)

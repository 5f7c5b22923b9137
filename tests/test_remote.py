"""The engine in a process of its own: the same answers and refusals, and what becomes of a process that ends."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from here import seconds_until

from eft_core import session as session_module
from eft_core.config import Limits, Request, Speculation, Text
from eft_core.events import Done, Inspected, TokensDrawn
from eft_core.family import default_columns
from eft_core.link import Link
from eft_core.remote import Remote, RemoteSession
from eft_core.session import Session, Shared
from eft_core.settings import Settings
from eft_core.tickets import Restarted


@pytest.fixture(scope="module")
def remote(families_file: str) -> Iterator[Remote]:
    found = Remote(Settings(families_file=families_file, device="cpu", threads=1), 2)
    yield found
    found.close()


@pytest.fixture(scope="module")
def far(remote: Remote, families_file: str) -> RemoteSession:
    settings = Settings(families_file=families_file, device="cpu", threads=1)
    return RemoteSession(remote, settings, "llama", Shared())


def asked(session: Any, tokens: int = 20, record: bool = False) -> Request:
    policies = [policy for _, policy in default_columns(session.family)]
    return Request.compare("What is the capital of Kenya?", policies, limits=Limits(tokens), record=record)


def test_the_answers_are_those_of_a_session_here(far: RemoteSession, session: Any) -> None:
    request = asked(session, record=True)
    texts = [(answer.text, answer.token_ids, answer.reason) for answer in session.ask(request)]
    assert [(answer.text, answer.token_ids, answer.reason) for answer in far.ask(request)] == texts
    assert {member for row in request.rows for member in row.policy.members()} <= set(far.loaded())
    assert far.plan(request).members
    text = Text("What is the capital of Kenya?", "Nairobi.", request.rows[0].policy)
    assert isinstance(list(far.inspect([text]))[-1], Inspected)
    assert far.queue_length == 0


def test_what_is_refused_there_is_refused_here_at_once(far: RemoteSession) -> None:
    with pytest.raises(ValueError, match=r"shorten|context|read"):
        far.stream(Request.compare("word " * 1000, [default_columns(far.family)[0][1]]))
    assert far.queue_length == 0


def test_a_stream_that_is_closed_or_dropped_frees_its_rows(far: RemoteSession, remote: Remote) -> None:
    with closing(far.stream(asked(far, 60))) as events:
        assert any(isinstance(event, TokensDrawn) for event in events)
    dropped = far.stream(asked(far))
    assert far.queue_length == 1
    del dropped
    assert far.queue_length == 0
    assert remote.standing().rows == 0


def test_two_requests_that_meet_get_two_processes(far: RemoteSession, remote: Remote) -> None:
    with closing(far.stream(asked(far, 60))) as first:
        next(first)
        with closing(far.stream(asked(far, 60))) as second:
            next(second)
    assert len(remote.links()) == 2
    seconds_until(lambda: remote.links()[1].ready, 60.0)
    with closing(far.stream(asked(far, 60))) as first:
        next(first)
        with closing(far.stream(asked(far, 60))) as second:
            next(second)
            assert [link.requests for link in remote.links()] == [1, 1]
    for _ in far.unload():
        pass
    assert far.loaded() == []


def test_what_is_placed_counts_before_its_process_has_heard_of_it(far: RemoteSession, remote: Remote) -> None:
    """Else requests that come at once would all be for the same process, which has nothing to do yet."""
    placed = [remote.place(2, far.family.name, ()) for _ in range(4)]
    assert sorted(link.rows for link in remote.links()) == [4, 4]
    for link, number in placed:
        link.forget(number)
    assert far.queue_length == 0


def test_requests_of_one_draft_length_meet_in_one_process_unless_another_has_nothing_to_do(
    far: RemoteSession, remote: Remote
) -> None:
    def place(rows: int, kind: str | None = None) -> Link:
        placed.append(remote.place(rows, far.family.name, (), kind))
        return placed[-1][0]

    placed: list[tuple[Link, int]] = []
    first = place(4, "four")
    second = place(2, "four")
    assert second is not first, "it had nothing to do"
    assert place(2, "three") is second, "as many rows as anywhere"
    assert place(2, "three") is second, "the same cycles, though the other has as many rows"
    assert place(40, "three") is second
    assert place(2, "three") is first, "too many rows are there"
    for link, number in placed:
        link.forget(number)
    assert not any(link.runs(kind) for link in remote.links() for kind in ("three", "four"))
    for length, found in ((4, True), (None, False)):
        with closing(far.stream(replace(asked(far), speculation=Speculation(length)))):
            assert any(link.runs((far.family.name, "block", length)) for link in remote.links()) is found


def test_a_process_that_is_killed_is_replaced(far: RemoteSession, remote: Remote) -> None:
    before = remote.standing().restarts
    assert len(remote.links()) == 2
    with closing(far.stream(asked(far, 60))) as events, closing(far.stream(asked(far, 60))) as others:
        next(events)
        busy = next(link for link in remote.links() if link.requests)
        next(others)
        os.kill(busy.process.pid, signal.SIGKILL)
        with pytest.raises(Restarted, match="started again: press Run"):
            list(events)
        assert isinstance(list(others)[-1], Done), "who runs in another process goes on"
    assert far.ask(asked(far))
    assert remote.standing().restarts == before + 1


def test_a_question_whose_process_is_killed_is_asked_again(far: RemoteSession, remote: Remote) -> None:
    first = remote.links()[0]
    os.kill(first.process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor() as pool:
        plan = pool.submit(far.plan, asked(far))
        seconds_until(lambda: bool(first._waiting), 60.0)
        os.kill(first.process.pid, signal.SIGKILL)
        assert plan.result(60).members
    assert first not in remote.links()


def test_processes_share_the_rows_of_small_members_and_not_of_others(
    families_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(families_file=families_file, device="cpu", rows=9, workers=2)
    assert Session(settings, "llama").rows == 5
    monkeypatch.setattr(session_module, "SMALL", 1)
    assert Session(settings, "llama").rows == 9, "one process runs these"
    monkeypatch.undo()
    assert Session(replace(settings, workers=0), "llama").rows == 9

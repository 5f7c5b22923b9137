"""Answers ahead of their raters: those anybody would get, kept with what makes them again, and never in the way."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from studied import CONTENDERS, GOLD, prompts, studied

from eft_core.answering import Ahead, answer, lacking
from eft_core.config import Limits, Request, Row, Sampling
from eft_core.events import Working
from eft_core.job import Needs
from eft_core.policy import Policy, plain
from eft_core.ratings.campaign import Contender
from eft_core.ratings.desk import Desk, Who
from eft_core.ratings.office import Office
from eft_core.schema import generations
from eft_core.storage import Storage
from eft_core.tickets import Claim


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Storage]:
    storage = Storage(f"sqlite:///{tmp_path / 'ratings.sqlite3'}")
    yield storage
    storage.close()


def rows(storage: Storage) -> list[Any]:
    with storage.reading() as connection:
        return list(connection.execute(select(generations)).all())


SHORT: dict[str, Any] = {"limits": Limits(8), "sampling": Sampling(1.0, seed=3)}


def test_what_lacks_is_found_item_by_item_and_only_of_running_campaigns(kept: Storage) -> None:
    first = studied(kept, count=2, answered=False, gold=[GOLD])
    found = lacking(kept, "llama", 100)
    assert [each.place for each in found] == [0, 1, 2, 0, 1, 2]
    assert [each.prompt for each in found[::3]] == [each.prompt for each in prompts(2)]
    assert len(lacking(kept, "llama", 4)) == 4
    assert lacking(kept, "atlas", 100) == []
    Office(kept).set_state(first, "paused")
    assert lacking(kept, "llama", 100) == []


def test_an_answer_is_the_one_that_its_record_makes_again(kept: Storage, session: Any) -> None:
    studied(kept, count=3, answered=False, **SHORT)
    answer(session, kept, lacking(kept, "llama", 100))
    assert lacking(kept, "llama", 100) == []
    for row in rows(kept):
        if row.policy is None:
            continue
        again = Row(prompt_of(kept, row.item), Policy.from_dict(row.policy), Sampling(**row.sampling))
        (found,) = session.ask(Request((again,), Limits(row.limits["max_new_tokens"], tuple(row.limits["stop"]))))
        assert (found.text, list(found.token_ids)) == (row.text, row.token_ids)
        assert row.state == "ready"
        assert set(row.revisions) == {str(member) for member in again.policy.members()}
        assert row.statistics["tokens"] == row.tokens == len(row.token_ids)


def prompt_of(storage: Storage, item: str) -> str:
    from eft_core.schema import items

    with storage.reading() as connection:
        return connection.scalar(select(items.c.prompt).where(items.c.id == item)) or ""


def test_all_columns_of_an_item_share_its_seed_and_limits(kept: Storage, session: Any) -> None:
    studied(kept, count=1, answered=False, **SHORT)
    answer(session, kept, lacking(kept, "llama", 100))
    found = rows(kept)
    assert len({(str(row.sampling), str(row.limits)) for row in found}) == 1
    assert found[0].sampling["seed"] == 3


def test_what_cannot_be_answered_is_kept_as_failed_and_the_rest_goes_on(kept: Storage, session: Any) -> None:
    contenders = (*CONTENDERS[:2], Contender("unknown", plain("enormous")))
    studied(kept, count=2, answered=False, contenders=contenders, **SHORT)
    answer(session, kept, lacking(kept, "llama", 100))
    states = {(row.place, row.state) for row in rows(kept)}
    assert states == {(0, "ready"), (1, "ready"), (2, "failed")}
    assert all("enormous" in row.message for row in rows(kept) if row.state == "failed")
    assert lacking(kept, "llama", 100) == []


def test_the_thread_serves_a_waiting_rater_and_ends_when_told(kept: Storage, session: Any) -> None:
    ahead = Ahead(kept, session)
    ahead.start()
    campaign, desk = studied(kept, count=2, answered=False, **SHORT), Desk(kept)
    ahead.wake()
    who = Who(desk.join(campaign))
    end = time.monotonic() + 60
    while desk.place(campaign, who).state == "waiting":
        assert time.monotonic() < end, "no answers came"
        time.sleep(0.05)
    ahead.stop()
    assert not any(thread.name == "answers ahead" for thread in threading.enumerate())


def test_the_thread_waits_while_a_visitors_request_runs(kept: Storage, session: Any) -> None:
    def script(owner: object) -> Iterator[list[Any]]:
        while True:
            yield [Working()]

    stream = session._engine.follow(Claim(session, 1, Needs()), script)
    next(stream)
    studied(kept, count=1, answered=False, **SHORT)
    ahead = Ahead(kept, session)
    ahead.start()
    time.sleep(0.7)
    assert rows(kept) == []
    stream.close()
    end = time.monotonic() + 60
    while len(rows(kept)) < 3:
        assert time.monotonic() < end, "no answers came"
        time.sleep(0.05)
    ahead.stop()


class Broken:
    """A session whose decoding fails."""

    def __init__(self, session: Any) -> None:
        self.family, self.queue_length = session.family, 0

    def stream(self, request: Request) -> Any:
        raise RuntimeError("CUDA out of memory")


def test_what_fails_again_and_again_is_given_up_and_said(
    kept: Storage, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eft_core.answering._RETRY", 0.05)
    studied(kept, count=1, answered=False, **SHORT)
    ahead = Ahead(kept, Broken(session))  # type: ignore[arg-type]
    ahead.start()
    end = time.monotonic() + 30
    while len(rows(kept)) < 3:
        assert time.monotonic() < end, "the thread died"
        time.sleep(0.05)
    ahead.stop()
    why = "it failed 3 times (RuntimeError): see the server's log"
    assert {(row.state, row.message) for row in rows(kept)} == {("failed", why)}


def test_a_stopped_thread_that_never_ran_can_be_stopped(kept: Storage, session: Any) -> None:
    ahead = Ahead(kept, session)
    ahead.stop()
    ahead.stop()
    assert rows(kept) == []

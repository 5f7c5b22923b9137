"""A clock that is put back or forward: orders stay right, nothing is held up for good, and no pass lasts longer."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from rated import opened, rows
from studied import CONTENDERS, key, studied, vote

from components.gate import HOURS, Gate
from eft_core.ratings import backup as backup_module
from eft_core.ratings import lots, tasks
from eft_core.ratings.backup import PATTERN, Folder
from eft_core.ratings.desk import Desk
from eft_core.ratings.export import exported
from eft_core.ratings.office import Office
from eft_core.ratings.records import votes
from eft_core.ratings.restoring import restore
from eft_core.ratings.studies import Who
from eft_core.saved_runs import tidy
from eft_core.storage import Storage

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
Put = Callable[[datetime], None]


class Clock:
    """A wall clock that is where it is put, and goes on by a second a look."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    from eft_core import storage as storage_module

    clock = Clock()
    modules: tuple[ModuleType, ...] = (storage_module, backup_module, lots, tasks)
    for module in modules:
        monkeypatch.setattr(module, "now", clock.now)
    return clock


BACK = [timedelta(seconds=-90), timedelta(days=-400)]


@pytest.mark.parametrize("jump", [*BACK, timedelta(days=400)])
def test_undo_takes_the_latest_back_and_exports_are_in_the_order_of_judging(
    storage: Storage, clock: Clock, jump: timedelta
) -> None:
    campaign = studied(storage, count=6)
    desk = Desk(storage)
    who = Who(desk.join(campaign))
    cast = [vote(desk, campaign, who).comparison for _ in range(3)]
    clock.time += jump
    cast += [vote(desk, campaign, who).comparison for _ in range(3)]
    assert [past.comparison for past in desk.history(campaign, who)] == cast[::-1]
    assert list(votes(storage, [campaign]).table["comparison"]) == cast
    lines = [json.loads(line) for line in exported(storage, "jsonl").content.decode().split("\n")[1:-1]]
    times = [line["row"]["created"] for line in lines if line["table"] == "ratings"]
    assert sorted(times) == sorted(set(times))
    assert desk.undo(campaign, who, key()).comparison == cast[-1]
    assert [past.comparison for past in desk.history(campaign, who)] == cast[-2::-1]


@pytest.mark.parametrize("jump", BACK)
def test_of_a_row_that_changed_the_backup_brings_what_was_last_whatever_the_clock_said(
    tmp_path: Path, clock: Clock, jump: timedelta
) -> None:
    folder = tmp_path / "backup"
    with opened(tmp_path / "ratings.sqlite3", Folder(folder)) as storage:
        campaign = studied(storage, count=2)
        Office(storage).set_state(campaign, "paused")
        clock.time += jump
        Office(storage).set_state(campaign, "closed")
    again = Folder(folder)  # the server starts again, and the clock is still behind
    with opened(tmp_path / "new.sqlite3", again) as storage:
        restore(storage, again)
        assert [each.state for each in Office(storage).campaigns()] == ["closed"]
        Office(storage).set_state(campaign, "running")
        wanted = rows(storage)
    with opened(tmp_path / "last.sqlite3") as storage:
        restore(storage, Folder(folder))
        assert rows(storage) == wanted
    assert len(list(folder.glob(PATTERN))) == 2


@pytest.mark.parametrize("jump", [timedelta(minutes=-2), timedelta(days=-400), timedelta(days=400)])
def test_what_somebody_left_is_given_to_another_after_any_jump_that_is_longer_than_a_reservation(
    storage: Storage, clock: Clock, jump: timedelta
) -> None:
    campaign = studied(storage, count=1, target=1, contenders=CONTENDERS[:2])
    desk = Desk(storage)
    assert desk.place(campaign, Who(desk.join(campaign))).task is not None
    assert desk.place(campaign, Who(desk.join(campaign))).task is None, "one judgement is wanted, and is out"
    clock.time += jump
    another = desk.place(campaign, Who(desk.join(campaign))).task
    assert (another is not None) == (abs(jump) > lots.RESERVED)


def test_a_client_key_is_known_again_whatever_the_time(storage: Storage, clock: Clock) -> None:
    from eft_core.ratings.judgement import Judgement

    campaign = studied(storage, count=3)
    desk = Desk(storage)
    who = Who(desk.join(campaign))
    task = desk.place(campaign, who).task
    assert task is not None
    judgement = Judgement(task.comparison, key(), "left")
    first = desk.cast(campaign, who, judgement)
    for jump in (timedelta(days=-4000), timedelta(days=8000)):
        clock.time += jump
        assert desk.cast(campaign, who, judgement).rating == first.rating
    assert len(rows(storage)["ratings"]) == 1


def test_a_pass_lasts_by_a_clock_that_nobody_can_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    now = [1000.0]
    gate = Gate("a long password", (), clock=lambda: now[0])
    shown = gate.enter("a long password", "visitor")
    monkeypatch.setattr(time, "time", lambda: 0.0)  # the wall clock is back in 1970
    now[0] += HOURS * 3600 - 1
    gate.check(shown, "")
    now[0] += 2
    with pytest.raises(ValueError, match="you are not signed in"):
        gate.check(shown, "")
    assert Gate.__init__.__defaults__ == (time.monotonic,)


def test_the_run_that_was_written_last_is_not_the_one_that_goes(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.jsonl" for name in ("first", "second", "last")]
    for number, file in enumerate(files):
        file.write_bytes(b"x" * 100)
        os.utime(file, (1e9 - number * 1e6,) * 2)  # the clock was put back before each
    tidy(tmp_path, 250, files[-1])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["first.jsonl", "last.jsonl"]

"""A disk that is full: the rater is told, and keeps what they chose; nothing confirmed is lost; room brings it back."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from full_disk import Disk, small_disk
from rated import opened, rows
from rating_server import CONTENDERS, rating_served, storage_of
from studied import key, studied, vote
from test_rate_page import act, at, notice, on

from eft_core.database import Unavailable
from eft_core.journal import Journal
from eft_core.lab import Lab
from eft_core.ratings.backup import Folder
from eft_core.ratings.copies import back_up
from eft_core.ratings.desk import Desk
from eft_core.ratings.judgement import Judgement
from eft_core.ratings.restoring import restore
from eft_core.ratings.studies import Who
from eft_core.settings import Settings

LONG = ("A comment. " * 362).strip()  # with its row it is longer than a page of the disk, and fits into no rest of one
SAID = r"the (disk of the database|database) (is full|fails|cannot be)"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


def test_what_finds_no_room_is_refused_in_words_and_all_that_was_confirmed_stays(disk: Disk) -> None:
    confirmed = list[str]()
    with opened(disk.folder / "ratings.sqlite3") as storage:
        campaign = studied(storage, count=40)
        desk = Desk(storage)
        who = Who(desk.join(campaign))
        confirmed += [vote(desk, campaign, who).client_key for _ in range(3)]
        task = desk.place(campaign, who).task
        assert task is not None
        judgement = Judgement(task.comparison, key(), "left", comment=LONG)
        disk.fill()
        try:
            for _ in range(2):
                with pytest.raises(Unavailable, match=SAID):
                    desk.cast(campaign, who, judgement)
            assert next(past.comparison for past in desk.history(campaign, who)) != judgement.comparison
        finally:
            disk.free()
        confirmed.append(desk.cast(campaign, who, judgement).client_key)
    with opened(disk.folder / "ratings.sqlite3") as again:
        assert sorted(row["client_key"] for row in rows(again)["ratings"]) == sorted(confirmed)


def test_a_full_disk_of_the_backup_confirms_nothing_and_the_same_judgement_is_kept_once_there_is_room(
    disk: Disk, tmp_path: Path
) -> None:
    backup = Folder(disk.folder / "backup")
    with opened(tmp_path / "ratings.sqlite3", backup) as storage:
        campaign = studied(storage, count=4)
        desk = Desk(storage)
        who = Who(desk.join(campaign))
        task = desk.place(campaign, who).task
        assert task is not None
        judgement = Judgement(task.comparison, key(), "left", comment=LONG)
        disk.fill()
        try:
            with pytest.raises(Unavailable, match=r"the (backup cannot be written|disk of the database)"):
                desk.cast(campaign, who, judgement)
        finally:
            disk.free()
        receipt = desk.cast(campaign, who, judgement)
        assert receipt.client_key == judgement.client_key
        with opened(tmp_path / "new.sqlite3") as new:
            restore(new, Folder(backup.folder))
            assert rows(new) == rows(storage)


def test_on_the_page_the_choice_stays_and_is_sent_again(browser: Any, disk: Disk) -> None:
    with closing(storage_of(disk.folder)) as storage, rating_served(disk.folder) as address:
        campaign = studied(storage, 3, contenders=CONTENDERS, strength=False, tags=(), comment=True)
        page = browser.new_context().new_page()
        page.goto(f"{address}?rate={campaign}")
        act(on(page, "start"), "start", "start")
        act(on(page, "code"), "code", "begin")
        on(page, "task").locator(".rate textarea").fill(LONG)
        page.wait_for_timeout(350)
        disk.fill(*_children())
        try:
            page.locator(".rate [data-verdict=left]").click()
            page.locator(".rate [data-act=cast]").click()
            notice(page, "Not kept yet: the d")
            notice(page, "stays in this browser and is sent again")
            assert LONG in page.evaluate("localStorage.getItem('eft-lab.rate.unsent')")
            assert rows(storage)["ratings"] == []
        finally:
            disk.free(*_children())
        at(page, 2, 3)
        assert [(row["verdict"], row["comment"]) for row in rows(storage)["ratings"]] == [("left", LONG)]
        page.context.close()


def _children() -> list[int]:
    """Processes that this one started."""
    return [int(each) for file in Path("/proc/self/task").glob("*/children") for each in file.read_text().split()]


# --- files


def test_a_run_keeps_whole_lines_and_goes_on_when_there_is_room(disk: Disk) -> None:
    path = disk.folder / "run.jsonl"
    line = {"text": "x" * 5000}
    with Journal(path, {"kind": "test"}, {}) as journal:
        journal.append({"n": 1})
        disk.fill()
        try:
            for _ in range(3):
                with pytest.raises(ValueError, match=r"cannot be written \(.*\): make room on its disk"):
                    journal.append(line)
        finally:
            disk.free()
        journal.append({"n": 2})
    with Journal(path, {"kind": "test"}, {}) as journal:
        assert journal.lines == [{"n": 1}, {"n": 2}]


def test_a_run_that_cannot_begin_says_so_and_begins_when_there_is_room(disk: Disk) -> None:
    path, head = disk.folder / "run.jsonl", {"kind": "x" * 5000}
    disk.fill()
    try:
        with pytest.raises(ValueError, match="cannot be written"):
            Journal(path, head, {})
    finally:
        disk.free()
    with Journal(path, head, {}) as journal:
        assert journal.lines == []
    assert json.loads(path.read_text())["head"] == head


def test_a_family_that_cannot_be_kept_is_not_added_and_the_others_stay(disk: Disk) -> None:
    lab = Lab(Settings(device="cpu", data_dir=str(disk.folder)))
    table = {"sizes": ["s"], "description": "x" * 5000, "base": {"s": "/nowhere"}}
    lab.add("first", table)
    before = lab.added_file.read_bytes()
    disk.fill()
    try:
        with pytest.raises(ValueError, match=r"families\.toml cannot be written .*make room"):
            lab.add("second", table)
    finally:
        disk.free()
    assert lab.added() == ("first",)
    assert lab.added_file.read_bytes() == before
    assert [file.name for file in disk.folder.iterdir()] == ["families.toml"]
    lab.add("second", table)
    assert lab.added() == ("first", "second")


def test_a_copy_that_finds_no_room_leaves_nothing(disk: Disk, tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    with opened(tmp_path / "ratings.sqlite3") as storage:
        studied(storage, count=30)
    disk.fill()
    try:
        with pytest.raises(ValueError, match="cannot be written"):
            back_up(settings, disk.folder)
    finally:
        disk.free()
    assert list(disk.folder.iterdir()) == []
    back_up(settings, disk.folder)
    assert len(list(disk.folder.iterdir())) == 1

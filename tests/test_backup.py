"""A backup is a second place for every row: what was confirmed comes back from it, once; what was deleted does not."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rated import assert_same_votes, filled, opened, rows
from studied import studied, vote

from eft_core.ratings.backup import PATTERN, Folder
from eft_core.ratings.dataset import Dataset
from eft_core.ratings.desk import Desk
from eft_core.ratings.office import Office
from eft_core.ratings.restoring import backup_of, restore
from eft_core.ratings.studies import Who, digest_of
from eft_core.settings import Settings
from eft_core.storage import Storage, Unavailable

ROOT = Path(__file__).parent.parent


@pytest.fixture
def backup(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "backup")


@pytest.fixture
def logged(tmp_path: Path, backup: Folder) -> Iterator[Storage]:
    """A database that is backed up."""
    with opened(tmp_path / "ratings.sqlite3", backup) as storage:
        yield storage


def content(backup: Folder) -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(backup.folder.glob(PATTERN))}


def lines_of(backup: Folder) -> list[dict[str, Any]]:
    return [json.loads(line) for text in content(backup).values() for line in text.split("\n")[:-1]]


# --- there and back


def test_a_new_database_is_filled_from_the_backup_and_its_raters_go_on(
    logged: Storage, backup: Folder, tmp_path: Path
) -> None:
    full = filled(logged)
    told = lines_of(backup)
    assert Counter(line["table"] for line in told) == {name: len(there) for name, there in rows(logged).items()}
    with opened(tmp_path / "new.sqlite3") as new:
        result = restore(new, Folder(backup.folder))
        assert (result.brought, result.left_out, result.added) == (len(told), 0, 0)
        assert rows(new) == rows(logged)
        assert_same_votes(new, logged)
        desk = Desk(new)
        assert desk.history(full.campaign, full.people[0]) == Desk(logged).history(full.campaign, full.people[0])


def test_every_kind_of_database_is_restored(logged: Storage, backup: Folder, storage: Storage) -> None:
    filled(logged, raters=2)
    restore(storage, backup)
    assert rows(storage) == rows(logged)


def test_to_restore_again_changes_nothing(logged: Storage, backup: Folder) -> None:
    filled(logged, raters=2)
    before, there = rows(logged), content(backup)
    result = restore(logged, backup)
    assert (result.brought, result.left_out, result.added) == (0, 0, 0)
    assert (rows(logged), content(backup)) == (before, there)


def test_what_is_brought_back_is_not_written_again(logged: Storage, backup: Folder, tmp_path: Path) -> None:
    filled(logged, raters=2)
    before = content(backup)
    with opened(tmp_path / "new.sqlite3", backup) as new:
        assert restore(new, backup).brought > 0
        assert content(backup) == before


def test_a_database_that_gets_a_backup_later_is_in_it_whole(storage: Storage, backup: Folder, tmp_path: Path) -> None:
    filled(storage, raters=2)
    result = restore(storage, backup)
    assert result.added == sum(map(len, rows(storage).values()))
    with opened(tmp_path / "new.sqlite3") as new:
        restore(new, backup)
        assert rows(new) == rows(storage)


def test_of_a_row_that_changed_the_latest_line_wins(logged: Storage, backup: Folder, tmp_path: Path) -> None:
    full = filled(logged, raters=2)
    office = Office(logged)
    office.set_state(full.campaign, "paused")
    office.set_state(full.campaign, "closed")
    office.include(full.campaign, full.excluded)
    [file] = backup.folder.glob(PATTERN)
    lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    random.Random(0).shuffle(lines)  # as of many files, read in any order
    for number, line in enumerate(lines):
        (backup.folder / f"ratings-{number:04}.jsonl").write_text(line + "\n", encoding="utf-8")
    file.unlink()
    with opened(tmp_path / "new.sqlite3") as new:
        restore(new, backup)
        assert rows(new) == rows(logged)
        assert [each.state for each in Office(new).campaigns() if each.id == full.campaign] == ["closed"]
    with opened(tmp_path / "old.sqlite3") as old:
        shutil.copytree(backup.folder, tmp_path / "earlier")
        restore(old, Folder(tmp_path / "earlier"))
        office.set_state(full.campaign, "running")
        restore(old, backup)
        assert rows(old) == rows(logged)


# --- killed


def test_nothing_confirmed_is_lost_when_process_and_disk_are_gone_again_and_again(
    logged: Storage, backup: Folder, tmp_path: Path
) -> None:
    campaign = studied(logged, count=60)
    who, chance, confirmed = Who(Desk(logged).join(campaign)), random.Random(5), list[str]()
    for number in range(8):
        arguments = [str(backup.folder), str(tmp_path / f"disk{number}.sqlite3"), campaign, who.code]
        command = [sys.executable, str(ROOT / "tests" / "backed_up.py"), *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        confirmed += [process.stdout.readline().strip() for _ in range(chance.randrange(1, 8))]
        time.sleep(chance.random() * 0.01)  # in the middle of the next one
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].split("\n")
        confirmed += [line for line in rest[:-1] if line]
    with opened(tmp_path / "last.sqlite3") as last:
        restore(last, backup)
        kept = Counter(row["client_key"] for row in rows(last)["ratings"])
    assert len(confirmed) >= 8
    assert set(confirmed) <= set(kept)
    assert set(kept.values()) == {1}
    assert len(kept) <= len(confirmed) + 8  # of each kill one more at most, kept but not heard


def test_a_line_that_was_torn_is_left_out_and_the_rest_comes_back(
    logged: Storage, backup: Folder, tmp_path: Path
) -> None:
    filled(logged, raters=2)
    [file] = backup.folder.glob(PATTERN)
    whole = file.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for length in (len(whole) - 1, last + 40, last + 1):
        file.write_bytes(whole[:length])
        with opened(tmp_path / f"new{length}.sqlite3") as new:
            result = restore(new, Folder(backup.folder))
            assert (result.brought, result.left_out) == (whole.count(b"\n") - 1, 0)


def test_a_process_writes_a_file_of_its_own_and_never_after_a_torn_line(
    logged: Storage, backup: Folder, tmp_path: Path
) -> None:
    campaign = studied(logged, count=2)
    [file] = backup.folder.glob(PATTERN)
    file.write_bytes(file.read_bytes() + b'{"at": "2026')
    with opened(tmp_path / "ratings.sqlite3", Folder(backup.folder)) as later:
        Desk(later).join(campaign)
    assert len(content(backup)) == 2
    with opened(tmp_path / "new.sqlite3") as new:
        restore(new, backup)
        assert rows(new) == rows(logged)


@pytest.mark.parametrize(
    "damage", [b"nonsense\n", b'{"at": "", "table": "users", "row": {"id": "1"}}\n', b'{"table": "ratings"}\n', b"[]\n"]
)
def test_a_damaged_line_is_named_and_nothing_is_written(
    logged: Storage, backup: Folder, tmp_path: Path, damage: bytes
) -> None:
    studied(logged, count=2)
    [file] = backup.folder.glob(PATTERN)
    first, rest = file.read_bytes().split(b"\n", 1)
    file.write_bytes(first + b"\n" + damage + rest)
    with opened(tmp_path / "new.sqlite3") as new:
        with pytest.raises(ValueError, match=rf"line 2 of .*{file.name} is damaged"):
            restore(new, backup)
        assert not any(rows(new).values())


def test_a_row_that_refers_to_nothing_is_left_out_and_counted(logged: Storage, backup: Folder, tmp_path: Path) -> None:
    campaign = studied(logged, count=2)
    desk = Desk(logged)
    vote(desk, campaign, Who(desk.join(campaign)))
    [file] = backup.folder.glob(PATTERN)
    lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    kept = [line for line in lines if '"table":"comparisons"' not in line]
    file.write_text("\n".join(kept) + "\n", encoding="utf-8")
    with opened(tmp_path / "new.sqlite3") as new:
        result = restore(new, backup)
        assert (result.brought, result.left_out) == (len(kept) - 1, 1)
        assert str(result).endswith("1 left out that refer to nothing")


# --- when it cannot be written


def test_a_judgement_that_the_backup_cannot_keep_is_not_confirmed_and_comes_later(
    logged: Storage, backup: Folder, tmp_path: Path
) -> None:
    campaign = studied(logged, count=2)
    desk = Desk(logged)
    who = Who(desk.join(campaign))
    vote(desk, campaign, who)
    away = tmp_path / "away"
    backup.folder.rename(away)
    backup.folder.write_text("no folder")
    with pytest.raises(Unavailable, match="the backup cannot be written"):
        vote(desk, campaign, who)
    backup.folder.unlink()
    away.rename(backup.folder)
    vote(desk, campaign, who)
    with opened(tmp_path / "new.sqlite3") as new:
        restore(new, backup)
        assert rows(new) == rows(logged)


def test_after_a_full_disk_nothing_is_written_behind_half_a_line(backup: Folder) -> None:
    row = {"id": "first", "side_seed": 1}
    backup.append([("annotators", row)])
    [file] = backup.folder.glob(PATTERN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 40, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            backup.append([("annotators", row | {"id": "second"})])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not file.read_text(encoding="utf-8").endswith("\n")  # it was torn indeed
    backup.append([("annotators", row | {"id": "second"})])
    assert [entry.row["id"] for entry in backup.kept().entries] == ["first", "second"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be made"):
        Folder(tmp_path / "file" / "backup")


# --- deleted


def traces(backup: Folder, ids: set[str]) -> list[str]:
    """Lines that hold more of a forgotten annotator than that they are to be forgotten."""
    return [
        line
        for text in content(backup).values()
        for line in text.split("\n")
        if any(each in line for each in ids) and '"table":"forget"' not in line
    ]


def annotator_of(storage: Storage, who: Who) -> str:
    return next(row["id"] for row in rows(storage)["annotators"] if row["code_digest"] == digest_of(who.code))


def test_what_was_deleted_is_gone_from_every_file_and_does_not_come_back(
    logged: Storage, backup: Folder, tmp_path: Path
) -> None:
    full = filled(logged)
    gone = annotator_of(logged, full.people[0])
    shutil.copytree(backup.folder, tmp_path / "copy")  # of another process, say
    for file in (tmp_path / "copy").glob(PATTERN):
        shutil.copy(file, backup.folder / f"ratings-copy-{file.name}")
    ids = {gone, *(row["id"] for row in rows(logged)["items"] if row["campaign"] == full.free)}
    assert traces(backup, ids)
    Desk(logged).forget(full.people[0])
    assert traces(backup, ids) == []
    assert "HYPERLINK" not in str(content(backup))  # the free prompt was theirs
    with opened(tmp_path / "new.sqlite3") as new:
        restore(new, backup)
        assert rows(new) == rows(logged)


def test_to_forget_wins_over_lines_that_come_later_and_over_a_database_that_still_has_them(
    logged: Storage, backup: Folder, tmp_path: Path
) -> None:
    full = filled(logged)
    gone = annotator_of(logged, full.people[0])
    stale = tmp_path / "stale"
    shutil.copytree(backup.folder, stale)
    with opened(tmp_path / "old.sqlite3") as old:
        restore(old, Folder(stale))
        Desk(logged).forget(full.people[0])
        for file in stale.glob(PATTERN):  # written where the news had not come
            text = file.read_text(encoding="utf-8").replace('"at":"20', '"at":"29')
            (backup.folder / f"ratings-late-{file.name}").write_text(text, encoding="utf-8")
        restore(old, Folder(backup.folder))
        assert rows(old) == rows(logged)
    assert traces(backup, {gone}) == []


def test_a_process_goes_on_writing_when_another_has_replaced_its_file(
    logged: Storage, backup: Folder, tmp_path: Path
) -> None:
    full = filled(logged)
    with opened(tmp_path / "ratings.sqlite3", Folder(backup.folder)) as other:
        Desk(other).forget(full.people[0])
    Desk(logged).join(full.campaign)
    with opened(tmp_path / "new.sqlite3") as new:
        restore(new, backup)
        assert rows(new) == rows(logged)


# --- on the Hub


class Hub:
    """What of the Hub a backup asks for, in a folder: a stand-in for its API, behind the real scheduler."""

    def __init__(self, folder: Path, private: bool = True) -> None:
        self.folder, self.private, self.squashed = folder, private, 0
        self.reachable = True

    def create_repo(self, repo_id: str, *, private: bool, repo_type: str, exist_ok: bool) -> Any:
        if not self.reachable:
            raise ConnectionError("no route")
        assert (private, repo_type, exist_ok) == (True, "dataset", True)
        self.folder.mkdir(parents=True, exist_ok=True)
        return type("Url", (), {"repo_id": repo_id})

    def repo_info(self, repo_id: str, *, repo_type: str) -> Any:
        return type("Info", (), {"private": self.private})

    def snapshot_download(self, repo_id: str, *, repo_type: str, local_dir: str, allow_patterns: str) -> None:
        for file in self.folder.glob(allow_patterns):
            shutil.copy(file, local_dir)

    def create_commit(self, *, repo_id: str, repo_type: str, operations: Any, **_: Any) -> None:
        for each in operations:
            with each.as_file() as stream:
                (self.folder / each.path_in_repo).write_bytes(stream.read())

    def super_squash_history(self, **_: Any) -> None:
        self.squashed += 1

    def run_as_future(self, what: Any) -> Any:
        from huggingface_hub import HfApi

        return HfApi().run_as_future(what)


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path / "hub")


def pushed(backup: Dataset) -> None:
    """Push now, and no more."""
    backup.scheduler.trigger().result()
    backup.scheduler.stop()


def test_a_space_that_restarts_has_what_was_pushed(hub: Hub, tmp_path: Path) -> None:
    first = Dataset("me/ratings", tmp_path / "disk1", hub)
    with opened(tmp_path / "one.sqlite3", first) as one:
        full = filled(one, raters=2)
        gone = annotator_of(one, full.people[0])
        pushed(first)
        assert hub.squashed > 0
        assert {file.name for file in hub.folder.iterdir()} == set(content(first))
        second = Dataset("me/ratings", tmp_path / "disk2", hub)
        with opened(tmp_path / "two.sqlite3", second) as two:
            restore(two, second)
            assert rows(two) == rows(one)
            Desk(two).forget(full.people[0])
            pushed(second)
    assert len(list(hub.folder.iterdir())) == 2
    assert traces(Folder(hub.folder), {gone}) == []


def test_lines_that_were_not_pushed_stay_when_the_data_set_is_fetched(hub: Hub, tmp_path: Path) -> None:
    first = Dataset("me/ratings", tmp_path / "disk", hub)
    with opened(tmp_path / "one.sqlite3", first) as one:
        campaign = studied(one, count=2)
        pushed(first)
        Desk(one).join(campaign)
        before = content(first)
        again = Dataset("me/ratings", tmp_path / "disk", hub)
        assert content(again) == before
        pushed(again)
    assert content(Folder(hub.folder)) == before


def test_a_public_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="me/ratings is public, and judgements are not"):
        Dataset("me/ratings", tmp_path / "disk", Hub(tmp_path / "hub", private=False))


def test_without_the_hub_there_is_a_sentence(hub: Hub, tmp_path: Path) -> None:
    hub.reachable = False
    with pytest.raises(Unavailable, match=r"cannot be fetched \(ConnectionError\): set HF_TOKEN"):
        Dataset("me/ratings", tmp_path / "disk", hub)


# --- which one


def test_settings_name_the_backup(tmp_path: Path) -> None:
    assert backup_of(Settings()) is None
    folder = backup_of(Settings(backup=str(tmp_path / "there")))
    assert folder is not None
    assert folder.folder == tmp_path / "there"
    for name in ("s3://bucket", "hf://datasets/name", "hf://models/owner/name", "hf://datasets/a/b/c"):
        with pytest.raises(ValueError, match="EFT_BACKUP must be a folder, or hf://datasets/OWNER/NAME"):
            backup_of(Settings(backup=name))

"""A server that starts after a crash: what is whole goes on, what is damaged is mended or refused with advice, and
nothing begins anew in silence."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from full_disk import small_disk
from rated import filled, opened, rows
from serving import app_served
from studied import key, studied, vote

from eft_core.database import Unavailable
from eft_core.journal import Journal
from eft_core.lab import Lab
from eft_core.presence import Elsewhere, alone
from eft_core.ratings.backup import PATTERN, Folder
from eft_core.ratings.desk import Desk
from eft_core.ratings.judgement import Judgement
from eft_core.ratings.mending import mended
from eft_core.ratings.restoring import restore
from eft_core.ratings.studies import Who
from eft_core.settings import Settings
from eft_core.sqlite_file import replaced, trouble
from eft_core.storage import Storage

ROOT = Path(__file__).parent.parent
PAGE = 4096
FIRST = 28  # before it are the pages that tell where tables are
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ratings.sqlite3"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=str(tmp_path))


class Full:
    """A database in which everything occurs, with its backup, made once."""

    def __init__(self, folder: Path) -> None:
        self._file, self._backup = folder / "ratings.sqlite3", folder / "backup"
        with opened(self._file, Folder(self._backup)) as storage:
            filled(storage, raters=6)
            self.rows = rows(storage)

    def written(self, file: Path, backup: Path | None = None) -> Rows:
        """Copy it; what it holds."""
        shutil.copy(self._file, file)
        if backup is not None:
            shutil.copytree(self._backup, backup)
        return self.rows


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Full:
    return Full(tmp_path_factory.mktemp("full"))


def kept_aside(file: Path, why: str = "damaged") -> list[Path]:
    return sorted(file.parent.glob(f"ratings-{why}-*.sqlite3"))


def read(file: Path) -> Rows:
    with opened(file) as storage:
        return rows(storage)


def pages_of(file: Path, name: str) -> list[int]:
    """The leaf pages of a table or an index, from 1."""
    with closing(sqlite3.connect(file)) as connection:
        query = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'"
        try:
            return [number for (number,) in connection.execute(query, (name,))]
        except sqlite3.OperationalError:  # a SQLite without dbstat: only a table of one page can be found
            query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
            return [number for (number,) in connection.execute(query, (name,))]


def spoilt(file: Path, number: int, seed: int = 0) -> None:
    """Random bytes in the place of a page, from 1."""
    with file.open("r+b") as stream:
        stream.seek((number - 1) * PAGE)
        stream.write(random.Random(seed).randbytes(PAGE))


# --- what is whole goes on


def test_the_log_of_a_killed_server_is_taken_in(file: Path, settings: Settings) -> None:
    with opened(file) as storage:
        campaign = studied(storage, count=30)
        code = Desk(storage).join(campaign)
    code_that_votes = (
        "import sys, uuid; from eft_core.storage import Storage; from eft_core.ratings.desk import Desk, Who\n"
        "from eft_core.ratings.judgement import Judgement\n"
        f"desk, who = Desk(Storage('sqlite:///{file}')), Who({code!r})\n"
        "while True:\n"
        f"    task = desk.place({campaign!r}, who).task\n"
        f"    kept = desk.cast({campaign!r}, who, Judgement(task.comparison, str(uuid.uuid4()), 'left'))\n"
        "    print(kept.client_key, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code_that_votes], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(5)]
        with pytest.raises(Elsewhere), alone(file):
            pass
        assert mended(settings, has_backup=False) == "", "another server has it open: it is not for this one to mend"
        process.send_signal(signal.SIGKILL)
        told += [line for line in process.stdout.read().split("\n")[:-1] if line]
    assert Path(f"{file}-wal").stat().st_size > 0
    assert mended(settings, has_backup=False) == ""
    assert set(told) <= {row["client_key"] for row in read(file)["ratings"]}
    assert kept_aside(file) == []


def test_a_database_that_is_not_there_yet_is_no_trouble(settings: Settings) -> None:
    assert mended(settings, has_backup=False) == ""


def test_a_database_on_a_server_is_for_that_server_to_check() -> None:
    assert mended(Settings(database_url="postgresql+psycopg://u@127.0.0.1:9/n"), has_backup=False) == ""


# --- what is damaged is mended


def test_the_last_page_spoilt_costs_its_rows_at_most_and_the_damaged_file_stays(
    full: Full, file: Path, settings: Settings
) -> None:
    before = full.written(file)
    spoilt(file, file.stat().st_size // PAGE)
    damaged = file.read_bytes()
    said = mended(settings, has_backup=False)
    assert "the database was damaged" in said
    assert [each.read_bytes() for each in kept_aside(file)] == [damaged]
    after = read(file)
    for table, there in after.items():
        assert {json.dumps(row, default=str) for row in there} <= {
            json.dumps(row, default=str) for row in before[table]
        }
    assert sum(map(len, after.values())) > 0.5 * sum(map(len, before.values()))
    assert trouble(file) == ""
    assert mended(settings, has_backup=False) == "", "it is mended once"


def test_with_a_backup_nothing_at_all_is_lost(full: Full, file: Path, settings: Settings, tmp_path: Path) -> None:
    before = full.written(file, tmp_path / "backup")
    backup = Folder(tmp_path / "backup")
    for number in pages_of(file, "ratings"):
        spoilt(file, number, seed=number)
    assert "could not be" in mended(settings, has_backup=True)
    with opened(file, backup) as storage:
        assert len(rows(storage)["ratings"]) < len(before["ratings"])
        restore(storage, backup)
        assert rows(storage) == before


@pytest.mark.parametrize("index", ["sqlite_autoindex_ratings_1", "ix_ratings_annotator"])
def test_a_spoilt_index_costs_no_row(full: Full, file: Path, settings: Settings, index: str) -> None:
    before = full.written(file)
    for number in pages_of(file, index):
        spoilt(file, number, seed=number)
    assert "damaged" in mended(settings, has_backup=False)
    assert read(file) == before


@pytest.mark.parametrize("seed", range(12))
def test_whatever_page_is_spoilt_no_row_changes_and_the_database_is_sound(
    full: Full, file: Path, settings: Settings, seed: int
) -> None:
    before = {json.dumps(row, default=str) for table in full.written(file).values() for row in table}
    chance = random.Random(seed)
    for _ in range(1 + seed % 3):
        spoilt(file, chance.randrange(FIRST, file.stat().st_size // PAGE + 1), seed)
    said = mended(settings, has_backup=False)
    if said:  # it need not be a page that something is on
        assert len(kept_aside(file)) == 1
    assert trouble(file) == ""
    after = {json.dumps(row | {}, default=str) for table in read(file).values() for row in table}
    unknown = {row for row in after - before if '"supersedes": null' not in row}
    assert unknown == set()


@pytest.mark.parametrize("length", [1000, PAGE + 100, 60 * PAGE, -PAGE, -3 * PAGE])
def test_a_file_that_was_cut_is_mended_or_refused_with_advice_and_stays(
    full: Full, file: Path, settings: Settings, length: int
) -> None:
    full.written(file)
    os.truncate(file, length if length > 0 else file.stat().st_size + length)
    cut = file.read_bytes()
    if 0 < length < 2 * PAGE:  # where the tables are is gone, or all that was in them
        with pytest.raises(Unavailable, match="python -m eft_core restore COPY --replace"):
            mended(settings, has_backup=False)
        assert file.read_bytes() == cut
        assert kept_aside(file) == []
    else:
        assert "damaged" in mended(settings, has_backup=False)
        assert [each.read_bytes() for each in kept_aside(file)] == [cut]


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 500])
def test_where_nothing_can_be_read_nothing_begins_anew(
    full: Full, file: Path, settings: Settings, tmp_path: Path, content: bytes
) -> None:
    before = full.written(file, tmp_path / "backup")
    backup = Folder(tmp_path / "backup")
    file.write_bytes(content)
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"nothing in it can be read: bring back a copy .* or move the file away"):
            mended(settings, has_backup=False)
    assert file.read_bytes() == content
    assert "0 rows" in mended(settings, has_backup=True)
    assert [each.read_bytes() for each in kept_aside(file)] == [content]
    with opened(file, backup) as storage:
        restore(storage, backup)
        assert rows(storage) == before


def test_a_damaged_database_of_a_newer_version_is_left_to_that_version(
    full: Full, file: Path, settings: Settings
) -> None:
    full.written(file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    spoilt(file, pages_of(file, "ix_ratings_annotator")[0])
    damaged = file.read_bytes()
    with pytest.raises(Unavailable, match="of a newer EFT Lab: update it"):
        mended(settings, has_backup=True)
    assert file.read_bytes() == damaged


def test_a_disk_without_room_for_mending_is_told_and_the_damaged_file_stays(full: Full, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        file = disk.folder / "ratings.sqlite3"
        full.written(file)
        spoilt(file, pages_of(file, "ix_ratings_annotator")[0])
        damaged = file.read_bytes()
        disk.fill()
        try:
            with pytest.raises(
                Unavailable, match=r"cannot be mended \(.*\): make room on its disk|disk of the database"
            ):
                mended(Settings(data_dir=str(disk.folder)), has_backup=False)
            assert file.read_bytes() == damaged
        finally:
            disk.free()
        assert "damaged" in mended(Settings(data_dir=str(disk.folder)), has_backup=False)
        assert read(file) == full.rows


def test_a_log_without_its_database_is_not_taken_for_a_new_one(file: Path, settings: Settings) -> None:
    Path(f"{file}-wal").write_bytes(b"a log")
    with pytest.raises(Unavailable, match="is gone, and its log"):
        mended(settings, has_backup=False)


@pytest.mark.parametrize("removed", [False, True])
def test_a_replacement_that_a_crash_interrupted_is_finished(
    full: Full, file: Path, settings: Settings, tmp_path: Path, removed: bool
) -> None:
    full.written(file)
    other = tmp_path / "elsewhere" / "ratings.sqlite3"
    other.parent.mkdir()
    wanted = full.written(other)
    shutil.copy(other, f"{file}.next")
    Path(f"{file}-wal").write_bytes(b"the log of the old one")
    if removed:
        file.unlink()
    assert "interrupted was finished" in mended(settings, has_backup=False)
    assert read(file) == wanted


def test_a_judgement_of_a_damaged_database_in_mid_run_is_not_confirmed(file: Path) -> None:
    with opened(file) as storage:
        campaign = studied(storage, count=30)
        desk = Desk(storage)
        who = Who(desk.join(campaign))
        task = desk.place(campaign, who).task
        assert task is not None
        storage.engine.dispose()
        for number in pages_of(file, "comparisons"):
            spoilt(file, number, seed=number)
        with pytest.raises(
            Unavailable, match="the database is damaged: start the server again, which checks and mends"
        ):
            desk.cast(campaign, who, Judgement(task.comparison, key(), "left"))


def test_what_is_replaced_keeps_its_log_with_it(full: Full, file: Path, tmp_path: Path, settings: Settings) -> None:
    new = tmp_path / "new.sqlite3"
    full.written(new)
    file.write_bytes(b"old")
    Path(f"{file}-wal").write_bytes(b"its log")
    from eft_core.schema import now

    with alone(file):
        kept = replaced(new, file, "replaced", now())
    assert kept is not None
    assert (kept.read_bytes(), Path(f"{kept}-wal").read_bytes()) == (b"old", b"its log")
    assert not Path(f"{file}-wal").exists()
    assert trouble(file) == ""


# --- the server itself


def test_the_server_starts_on_a_damaged_database_with_what_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "ratings.sqlite3"
    with opened(file) as storage:
        campaign = studied(storage, count=30)
        desk = Desk(storage)
        who = Who(desk.join(campaign))
        for _ in range(10):
            vote(desk, campaign, who)
        before = rows(storage)
    for number in pages_of(file, "sqlite_autoindex_ratings_1"):
        spoilt(file, number)
    with app_served(str(tmp_path)), opened(file) as storage:
        assert rows(storage)["ratings"] == before["ratings"]
    assert len(kept_aside(file)) == 1


def test_the_server_refuses_an_empty_file_with_advice(tmp_path: Path) -> None:
    (tmp_path / "ratings.sqlite3").write_bytes(b"")
    environment = os.environ | {"EFT_DATA_DIR": str(tmp_path), "EFT_DEVICE": "cpu", "EFT_FAMILY": "atlas"}
    shown = subprocess.run(
        [sys.executable, "app.py"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert shown.returncode == 1
    assert "EFT Lab cannot keep judgements: the database" in shown.stderr
    assert "python -m eft_core restore COPY --replace" in shown.stderr
    assert "Traceback" not in shown.stderr


# --- files of runs, families and backups


def test_a_run_whose_file_is_damaged_goes_on_with_the_lines_that_can_be_read(tmp_path: Path) -> None:
    path, head = tmp_path / "run.jsonl", {"kind": "test"}
    with Journal(path, head, {}) as journal:
        for number in range(4):
            journal.append({"n": number})
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b"\0" * 12 + b"\n"
    lines[3] = lines[3][:4] + b"\n"
    path.write_bytes(b"".join(lines) + b'{"n": 9')
    with Journal(path, head, {}) as journal:
        assert journal.lines == [{"n": 0}, {"n": 3}]
        journal.append({"n": 4})
    assert Path(f"{path}.damaged").read_bytes() == b"".join(lines)
    with Journal(path, head, {}) as journal:
        assert journal.lines == [{"n": 0}, {"n": 3}, {"n": 4}]


def test_a_run_whose_head_is_damaged_begins_anew_and_keeps_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b'\xff\xfe{"head"\n{"n": 1}\n')
    with Journal(path, {"kind": "test"}, {}) as journal:
        assert journal.lines == []
    assert Path(f"{path}.damaged").exists()


def test_locks_of_a_killed_process_hold_nobody_up(tmp_path: Path) -> None:
    run, backup, file = tmp_path / "run.jsonl", tmp_path / "backup", tmp_path / "ratings.sqlite3"
    code = (
        "import sys, time; from pathlib import Path; from eft_core.journal import Journal\n"
        "from eft_core.ratings.backup import Folder; from eft_core.storage import Storage\n"
        f"journal = Journal(Path({str(run)!r}), {{}}, {{}}); storage = Storage('sqlite:///{file}')\n"
        f"with Folder(Path({str(backup)!r}))._alone():\n    print('held', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="another process"):
            Journal(run, {}, {})
        process.kill()
    Journal(run, {}, {}).close()
    Folder(backup).append([("annotators", {"id": "a", "side_seed": 1})])
    with alone(file):
        pass
    assert len(list(backup.glob(PATTERN))) == 1


def test_a_half_written_families_file_is_refused_by_name_and_with_advice(tmp_path: Path) -> None:
    (tmp_path / "families.toml").write_text('[mine]\ntitle = "Mi')
    with pytest.raises(ValueError, match=r"families\.toml cannot be read .*: mend it, or move it away"):
        Lab(Settings(device="cpu", data_dir=str(tmp_path)))


def test_a_family_file_that_was_being_written_when_the_power_went_changes_nothing(tmp_path: Path) -> None:
    lab = Lab(Settings(device="cpu", data_dir=str(tmp_path)))
    lab.add("mine", {"sizes": ["s"], "base": {"s": "/nowhere"}})
    (tmp_path / "families.part").write_text('[mine]\ntitle = "Mi')
    again = Lab(Settings(device="cpu", data_dir=str(tmp_path)))
    assert again.added() == ("mine",)
    again.add("other", {"sizes": ["s"], "base": {"s": "/nowhere"}})
    assert again.added() == ("mine", "other")


def test_a_database_that_is_being_replaced_is_not_opened(full: Full, file: Path) -> None:
    full.written(file)
    with alone(file), pytest.raises(Unavailable, match="being checked or restored: try again"):
        Storage(f"sqlite:///{file}")
    assert read(file)["ratings"]

"""Copies by command: what comes back is equal row for row, from any kind of database to any, or nothing changes."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rated import assert_same_votes, filled, opened, rows
from studied import studied, vote

from eft_core.__main__ import main
from eft_core.ratings.backup import Folder
from eft_core.ratings.copies import back_up, bring_back
from eft_core.ratings.desk import Desk
from eft_core.ratings.restoring import restore
from eft_core.ratings.studies import Who
from eft_core.settings import Settings
from eft_core.sqlite_file import trouble
from eft_core.storage import Storage, Unavailable

ROOT = Path(__file__).parent.parent


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Of each kind of database in turn."""
    return Settings(database_url=database_url)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A copy of a full database, made once, and the database's rows."""
    folder = tmp_path_factory.mktemp("first")
    with opened(folder / "ratings.sqlite3") as storage:
        filled(storage)
        there = rows(storage)
    (folder / "copies").mkdir()
    file, _ = back_up(Settings(data_dir=str(folder)), folder / "copies" / "copy.sqlite3")
    return file, there


@pytest.fixture
def copy(made: tuple[Path, Any], tmp_path: Path) -> tuple[Path, Any]:
    """The same, one's own."""
    return Path(shutil.copy(made[0], tmp_path / "copy.sqlite3")), made[1]


def files(folder: Path) -> dict[str, bytes]:
    """All that is kept of databases in a folder."""
    return {
        file.name: file.read_bytes() for file in folder.iterdir() if ".sqlite3" in file.name and file.suffix != ".lock"
    }


# --- there and back


def test_a_copy_comes_back_row_for_row_and_its_raters_go_on(
    storage: Storage, settings: Settings, tmp_path: Path
) -> None:
    full = filled(storage)
    before = rows(storage)
    file, counts = back_up(settings, tmp_path / "copy.sqlite3")
    assert counts == {name: len(there) for name, there in before.items()}
    desk = Desk(storage)
    desk.forget(full.people[1])
    studied(storage, count=2)
    assert rows(storage) != before
    storage.close()
    kept, back = bring_back(settings, file, replace=True)
    assert back == counts
    with closing(Storage(settings.database_url)) as again:
        assert rows(again) == before
        assert Desk(again).history(full.campaign, full.people[1])
        if kept is not None:
            with opened(kept) as old, pytest.raises(ValueError, match="code"):
                Desk(old).history(full.campaign, full.people[1])


def test_a_copy_of_one_kind_of_database_comes_back_in_the_other(
    copy: tuple[Path, Any], settings: Settings, tmp_path: Path
) -> None:
    file, before = copy
    bring_back(settings, file, replace=False)
    with closing(Storage(settings.database_url)) as storage:
        assert rows(storage) == before
    again, _ = back_up(settings, tmp_path / "again.sqlite3")
    with opened(again) as here, opened(file) as there:
        assert rows(here) == rows(there) == before
        assert_same_votes(here, there)


def test_a_copy_is_one_file_that_is_sound(made: tuple[Path, Any]) -> None:
    file, _ = made
    assert [each.name for each in file.parent.iterdir()] == [file.name]
    assert trouble(file) == ""


def test_the_copy_of_a_database_in_use_has_all_that_was_confirmed_before(tmp_path: Path) -> None:
    """A rater in another process judges on while copies are made."""
    folder = tmp_path / "copies"
    folder.mkdir()
    with opened(tmp_path / "ratings.sqlite3") as storage:
        campaign = studied(storage, count=200)
        code = Desk(storage).join(campaign)
    arguments = [str(tmp_path / "backup"), str(tmp_path / "ratings.sqlite3"), campaign, code]
    command = [sys.executable, str(ROOT / "tests" / "backed_up.py"), *arguments]
    environment = {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        told = list[str]()
        for number in range(4):
            told += [process.stdout.readline().strip() for _ in range(5)]
            file, _ = back_up(Settings(data_dir=str(tmp_path)), folder / f"{number}.sqlite3")
            with opened(file) as storage:
                assert set(told) <= {row["client_key"] for row in rows(storage)["ratings"]}
        process.kill()


def test_copies_into_a_folder_are_named_by_the_time(tmp_path: Path) -> None:
    with opened(tmp_path / "ratings.sqlite3") as storage:
        studied(storage, count=2)
    folder = tmp_path / "copies"
    folder.mkdir()
    file, _ = back_up(Settings(data_dir=str(tmp_path)), folder)
    assert file.parent == folder
    assert file.name.startswith("ratings-20")


# --- by command


def test_the_commands_say_what_they_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EFT_DATA_DIR", str(tmp_path / "data"))
    copy = tmp_path / "copy.sqlite3"
    assert main(["backup", str(copy)]) == 2
    assert "there is no database" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
    (tmp_path / "data").mkdir()
    with opened(tmp_path / "data" / "ratings.sqlite3") as storage:
        filled(storage)
        before = rows(storage)
    assert main(["backup", str(copy)]) == 0
    assert f"{len(before['ratings']):,} of them judgements" in capsys.readouterr().err
    assert main(["backup", str(copy)]) == 2
    assert "is there already: name a new file" in capsys.readouterr().err
    assert main(["restore", str(copy)]) == 2
    assert "add --replace, and it is kept under another name" in capsys.readouterr().err
    assert main(["restore", str(copy), "--replace"]) == 0
    assert "what was there is" in capsys.readouterr().err
    with opened(tmp_path / "data" / "ratings.sqlite3") as storage:
        assert rows(storage) == before


def test_where_there_is_nothing_a_copy_needs_no_word_more(copy: tuple[Path, Any], tmp_path: Path) -> None:
    kept, _ = bring_back(Settings(data_dir=str(tmp_path / "deep" / "new")), copy[0], replace=False)
    assert kept is None
    with opened(tmp_path / "deep" / "new" / "ratings.sqlite3") as storage:
        assert rows(storage) == copy[1]


def test_what_only_the_backup_folder_has_comes_in_beside_a_copy(tmp_path: Path) -> None:
    backup = Folder(tmp_path / "backup")
    settings = Settings(data_dir=str(tmp_path))
    with opened(tmp_path / "ratings.sqlite3", backup) as storage:
        campaign = studied(storage, count=4)
        desk = Desk(storage)
        who = Who(desk.join(campaign))
        vote(desk, campaign, who)
        file, _ = back_up(settings, tmp_path / "copy.sqlite3")
        vote(desk, campaign, who)
        before = rows(storage)
    bring_back(settings, file, replace=True)
    with opened(tmp_path / "ratings.sqlite3", backup) as storage:
        assert len(rows(storage)["ratings"]) == 1
        restore(storage, backup)
        assert rows(storage) == before


# --- what is refused


def test_a_database_that_a_server_has_open_is_not_replaced(
    storage: Storage, settings: Settings, copy: tuple[Path, Any]
) -> None:
    studied(storage, count=2)
    before = rows(storage)
    with pytest.raises(ValueError, match="stop the servers that have it open"):
        bring_back(settings, copy[0], replace=True)
    assert rows(storage) == before
    storage.close()
    bring_back(settings, copy[0], replace=True)


def test_without_the_word_nothing_is_replaced(settings: Settings, copy: tuple[Path, Any]) -> None:
    with closing(Storage(settings.database_url)) as storage:
        studied(storage, count=2)
        before = rows(storage)
    with pytest.raises(ValueError, match="add --replace"):
        bring_back(settings, copy[0], replace=False)
    with closing(Storage(settings.database_url)) as storage:
        assert rows(storage) == before


def spoil(file: Path) -> None:
    """Random-looking bytes in the place of the last page but one."""
    with file.open("r+b") as stream:
        stream.seek(-2 * 4096, 2)
        stream.write(bytes(range(256)) * 16)


def newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()


def other(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE cats (name TEXT)")
        connection.commit()


def dangling(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DELETE FROM items")
        connection.commit()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (spoil, "is damaged .*: take another copy; nothing was changed"),
        (dangling, "is damaged .*refers to nothing"),
        (newer, "was made by a newer EFT Lab: update"),
        (other, "holds no judgements of EFT Lab"),
        (lambda file: file.write_bytes(b"text " * 2000), "cannot be read as a copy"),
        (lambda file: file.write_bytes(b""), "damaged|holds no judgements"),
        (Path.unlink, "is no file"),
    ],
)
def test_a_copy_that_is_not_whole_is_refused_and_nothing_changes(
    copy: tuple[Path, Any], settings: Settings, tmp_path: Path, change: Any, said: str
) -> None:
    with closing(Storage(settings.database_url)) as storage:
        studied(storage, count=2)
        before = rows(storage)
    change(copy[0])
    there = files(tmp_path)
    with pytest.raises(ValueError, match=said):
        bring_back(settings, copy[0], replace=True)
    assert files(tmp_path) == there
    with closing(Storage(settings.database_url)) as storage:
        assert rows(storage) == before


def test_a_database_that_is_damaged_is_not_taken_for_a_copy(tmp_path: Path) -> None:
    with opened(tmp_path / "ratings.sqlite3") as storage:
        filled(storage)
    spoil(tmp_path / "ratings.sqlite3")
    with pytest.raises((ValueError, Unavailable), match="damaged"):
        back_up(Settings(data_dir=str(tmp_path)), tmp_path / "copy.sqlite3")
    assert not (tmp_path / "copy.sqlite3").exists()

"""The database of ratings: what was confirmed is there, once, whatever dies; what cannot be kept is said."""

import json
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.exc import IntegrityError
from studied import rated, studied

from eft_core.database import engine_of, on_network
from eft_core.ratings.desk import Desk
from eft_core.ratings.studies import Who
from eft_core.schema import TABLES, annotators, campaigns, metadata, ratings
from eft_core.settings import Settings
from eft_core.storage import Storage, Unavailable, from_plain, plain

ROOT = Path(__file__).parent.parent


def count(storage: Storage, table: Any = annotators) -> int:
    with storage.reading() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def add(storage: Storage, digest: str = "a") -> dict[str, Any]:
    with storage.writing() as writer:
        return writer.insert(annotators, code_digest=digest, side_seed=1)


# --- tables


def test_migrations_make_just_the_tables_that_the_code_reads(storage: Storage) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    with storage.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_migrations_go_back_and_forth(database_url: str) -> None:
    from alembic import command
    from alembic.config import Config

    storage = Storage(database_url)
    config = Config()
    config.set_main_option("script_location", str(ROOT / "eft_core" / "migrations"))
    with storage.engine.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    storage.close()
    again = Storage(database_url)
    assert count(again) == 0
    again.close()


def test_a_database_that_is_opened_again_has_what_was_written(database_url: str) -> None:
    first = Storage(database_url)
    row = add(first)
    first.close()
    second = Storage(database_url)
    with second.reading() as connection:
        found = connection.execute(select(annotators)).mappings().one()
    assert dict(found) == row
    second.close()


def test_two_processes_may_open_an_empty_database_at_once(database_url: str) -> None:
    code = f"from eft_core.storage import Storage; Storage({database_url!r}).close(); print('open')"
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == ["open", "open"]


def test_a_newer_database_is_refused_with_advice(storage: Storage, database_url: str) -> None:
    with storage.writing() as writer:
        writer.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Unavailable, match="newer EFT Lab: update"):
        Storage(database_url)


def test_times_keep_their_moment_and_come_back_in_utc(storage: Storage) -> None:
    row = add(storage)
    with storage.reading() as connection:
        found = connection.scalar(select(annotators.c.created))
    assert found == row["created"]
    assert found.tzinfo == UTC


def test_a_time_without_a_zone_is_refused(storage: Storage) -> None:
    with pytest.raises(Exception, match="without a zone"), storage.writing() as writer:
        writer.insert(annotators, code_digest="a", side_seed=1, created=datetime(2026, 1, 1))
    assert count(storage) == 0


def test_references_are_enforced(storage: Storage) -> None:
    with pytest.raises(IntegrityError), storage.writing() as writer:
        writer.insert(
            ratings,
            comparison="none",
            annotator=add.__name__,
            client_key="k" * 8,
            turn=1,
            action="vote",
            scales={},
            tags=[],
            comment="",
            software="",
        )


def test_rows_go_to_json_and_back(storage: Storage) -> None:
    row = add(storage)
    assert from_plain(annotators, json.loads(json.dumps(plain(row)))) == row
    with pytest.raises(ValueError, match="no column colour"):
        from_plain(annotators, {"colour": "red"})


# --- transactions


def test_what_fails_leaves_nothing(storage: Storage) -> None:
    def fails() -> None:
        with storage.writing() as writer:
            writer.insert(annotators, code_digest="a", side_seed=1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert count(storage) == 0


def test_rows_that_are_there_are_left_out_by_any_key(storage: Storage) -> None:
    row = add(storage)
    with storage.writing() as writer:
        rows = [row, {"code_digest": "a", "side_seed": 2}, {"code_digest": "b", "side_seed": 2}]
        assert writer.insert_all(annotators, rows) == 1
        assert [line[1]["code_digest"] for line in writer.lines] == ["b"]
    assert count(storage) == 2


def test_no_kill_loses_or_doubles_a_confirmed_judgement(database_url: str) -> None:
    """200 servers are killed, right after a confirmation or while one is under way (tests/killed.py)."""
    kills = 200 if database_url.startswith("sqlite") else 60
    storage = Storage(database_url)
    campaign = studied(storage, count=300)
    code = Desk(storage).join(campaign)
    storage.close()
    command = [sys.executable, str(ROOT / "tests" / "killed.py"), database_url, campaign, code, str(kills), "7"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    shown = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=True, timeout=300)
    confirmed = json.loads(shown.stdout)
    assert len(confirmed) > kills / 2
    again = Storage(database_url)
    with again.reading() as connection:
        rows = connection.execute(select(ratings.c.client_key, ratings.c.comparison)).all()
    again.close()
    keys = [row.client_key for row in rows]
    assert set(confirmed) <= set(keys)
    assert len(set(keys)) == len(keys)
    assert len({row.comparison for row in rows}) == len(rows), "a comparison was judged twice"
    assert len(keys) - len(confirmed) <= 1, "only the last one may have been kept without a confirmation"


def test_a_reader_sees_one_state_while_others_write(storage: Storage) -> None:
    add(storage, "a")
    with storage.reading() as connection:
        before = connection.scalar(select(func.count()).select_from(annotators))
        add(storage, "b")
        assert connection.scalar(select(func.count()).select_from(annotators)) == before == 1
    assert count(storage) == 2


def test_many_threads_write_at_once(storage: Storage) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: add(storage, str(number)), range(200)))
    assert count(storage) == 200


# --- when the database cannot


def pragma(storage: Storage, text: str) -> None:
    """A setting of every connection from now on."""
    event.listen(storage.engine, "connect", lambda connection, _: connection.execute(f"PRAGMA {text}"))
    storage.engine.dispose()


@pytest.fixture
def sqlite(tmp_path: Path) -> Any:
    opened = Storage(f"sqlite:///{tmp_path / 'ratings.sqlite3'}")
    yield opened
    opened.close()


def test_a_locked_database_is_said_and_works_again_afterwards(sqlite: Storage, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "ratings.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="busy: try again"):
        add(sqlite)
    other.execute("ROLLBACK")
    other.close()
    add(sqlite)
    assert count(sqlite) == 1


def test_a_full_disk_is_said(sqlite: Storage) -> None:
    pragma(sqlite, "max_page_count = 1")
    with pytest.raises(Unavailable, match="full"), sqlite.writing() as writer:
        writer.insert_all(annotators, [{"code_digest": str(number), "side_seed": 1} for number in range(2000)])
    assert count(sqlite) == 0


def test_a_read_only_database_is_said(sqlite: Storage) -> None:
    pragma(sqlite, "query_only = ON")
    with pytest.raises(Unavailable, match="can only be read"):
        add(sqlite)


def test_a_damaged_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "ratings.sqlite3").write_bytes(b"not a database at all, but long enough to be read as one" * 100)
    with pytest.raises(Unavailable, match="damaged"):
        Storage(f"sqlite:///{tmp_path / 'ratings.sqlite3'}")


def test_a_postgresql_that_is_locked_read_only_or_gone_is_said(postgresql_server: str) -> None:
    import psycopg

    storage = Storage(postgresql_server)
    with psycopg.connect(postgresql_server.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE annotators IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unavailable, match="busy"):
            add(storage)
    storage.close()
    with psycopg.connect(postgresql_server.replace("+psycopg", ""), autocommit=True) as other:
        other.execute("ALTER DATABASE ratings SET default_transaction_read_only = on")
        with pytest.raises(Unavailable, match="can only be read"):
            add(storage)
        other.execute("SET default_transaction_read_only = off")
        other.execute("ALTER DATABASE ratings SET default_transaction_read_only = off")
    storage.close()
    with pytest.raises(Unavailable, match="cannot be reached"):
        Storage("postgresql+psycopg://nobody@127.0.0.1:9/none")


@pytest.mark.parametrize("url", ["", "mysql://host/name", "postgresql://host/name", "nonsense"])
def test_other_addresses_are_refused_with_advice(url: str) -> None:
    with pytest.raises(ValueError, match="postgresql\\+psycopg://"):
        Storage(url)


@pytest.mark.parametrize("option", ["nonsense=1", "sslmode=require&nonsense=1", "plugin=nonsense", "autocommit=1"])
def test_an_option_that_postgresql_does_not_know_is_refused_before_anybody_is_asked(option: str) -> None:
    with pytest.raises(ValueError, match=r"EFT_DATABASE_URL has an option .* such as sslmode=require, and in a pass"):
        Storage(f"postgresql+psycopg://nobody@127.0.0.1:9/none?{option}")


def test_an_option_that_it_knows_is_taken() -> None:
    engine = engine_of("postgresql+psycopg://nobody@127.0.0.1:9/none?sslmode=require&application_name=eft")
    assert engine.url.query == {"sslmode": "require", "application_name": "eft"}
    with pytest.raises(Unavailable, match="cannot be reached"):
        Storage(engine.url.render_as_string())


@pytest.mark.parametrize("option", ["nonsense=1", "timeout=soon", "mode=ro&uri=true", "plugin=nonsense"])
def test_a_file_has_no_options(tmp_path: Path, option: str) -> None:
    with pytest.raises(ValueError, match=r"EFT_DATABASE_URL has a .*: write sqlite:///file"):
        Storage(f"sqlite:///{tmp_path / 'ratings.sqlite3'}?{option}")
    assert list(tmp_path.iterdir()) == []


class Failing:
    """A log that cannot write for a while."""

    def __init__(self) -> None:
        self.broken = True
        self.lines: list[Any] = []

    def append(self, lines: Any) -> None:
        if self.broken:
            raise OSError(28, "No space left on device")
        self.lines += lines


def test_a_judgement_that_the_backup_lacks_is_not_confirmed_and_the_retry_hands_it_in(database_url: str) -> None:
    log = Failing()
    log.broken = False
    storage = Storage(database_url, log)
    campaign, desk = studied(storage), Desk(storage)
    who = Who(desk.join(campaign))
    task = desk.place(campaign, who).task
    assert task is not None
    from eft_core.ratings.judgement import Judgement

    judgement = Judgement(task.comparison, "key-key-1", "left")
    log.broken = True
    with pytest.raises(Unavailable, match="backup cannot be written"):
        desk.cast(campaign, who, judgement)
    log.broken = False
    assert desk.cast(campaign, who, judgement).repeated
    assert [row["client_key"] for table, row in log.lines if table == "ratings"] == ["key-key-1"]
    storage.close()


def test_the_log_gets_every_row_and_what_was_forgotten(database_url: str) -> None:
    log = Failing()
    log.broken = False
    storage = Storage(database_url, log)
    campaign = studied(storage, count=2)
    (who,) = rated(storage, campaign, 1)
    for table in TABLES[:-1]:
        with storage.reading() as connection:
            there = {row.id for row in connection.execute(select(table.c.id))}
        assert {row["id"] for name, row in log.lines if name == table.name} == there
    Desk(storage).forget(who)
    assert log.lines[-1][0] == "forget"
    storage.close()


# --- where it lies


def test_the_file_lies_in_the_data_folder_outside_of_what_is_served(tmp_path: Path) -> None:
    storage = Storage.of(Settings(data_dir=str(tmp_path / "kept")))
    add(storage)
    assert (tmp_path / "kept" / "ratings.sqlite3").is_file()
    storage.close()
    assert Settings().data_folder == Path.home() / ".local" / "share" / "eft-lab"


def test_the_address_of_a_database_is_never_shown() -> None:
    settings = Settings.from_environment({"EFT_DATABASE_URL": "postgresql+psycopg://u:secret@h/n"})
    assert settings.database_url.endswith("@h/n")
    assert "secret" not in repr(settings)


def test_the_write_ahead_log_is_not_used_on_a_network(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nhost:/x {tmp_path}/net nfs4 rw 0 0\nhf {tmp_path}/b fuse.hf rw 0 0\n")
    assert on_network(tmp_path / "net" / "ratings.sqlite3", mounts)
    assert on_network(tmp_path / "b" / "ratings.sqlite3", mounts)
    assert not on_network(tmp_path / "disk" / "ratings.sqlite3", mounts)
    assert not on_network(tmp_path / "disk", tmp_path / "none")


def test_sqlite_keeps_its_promises(sqlite: Storage) -> None:
    with sqlite.reading() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous")
        }
    assert found == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 2}


def test_campaigns_that_are_made_are_listed(storage: Storage) -> None:
    studied(storage, count=2)
    assert count(storage, campaigns) == 1

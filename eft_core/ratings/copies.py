"""Copies of the database by command, and their restoring: a copy is a SQLite file, whatever the database is.

It has every row as it is, the fingerprints of raters' codes too, so that they go on judging where it is restored: keep
it as safe as the database. A copy is checked before anything is replaced; what is replaced is kept aside (SQLite), or
goes in the one transaction in which all comes (PostgreSQL).
"""

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, func, insert, select

from eft_core.database import begun, engine_of, file_of, is_known, migrate, snapshot
from eft_core.durable import put_in_place
from eft_core.presence import Elsewhere, alone
from eft_core.ratings.rows import order
from eft_core.schema import TABLES, now
from eft_core.settings import Settings
from eft_core.sqlite_file import copied, removed, replaced, settled, trouble
from eft_core.storage import Storage, make_folder, url_of

_BATCH = 500
_STOP = "stop the servers that have it open, then run this again"
Counts = Mapping[str, int]


def back_up(settings: Settings, destination: Path, at: datetime | None = None) -> tuple[Path, Counts]:
    """Copy the database to a new file, or to one named by the time if `destination` is a folder; servers may go on
    writing meanwhile. The file, and its rows by table. ValueError with the remedy; then there is no file."""
    engine = engine_of(url_of(settings))
    file = file_of(engine)
    if file is not None and not file.exists():
        raise ValueError(f"there is no database {file} yet: name the data folder that has one with EFT_DATA_DIR.")
    target = destination / f"ratings-{at or now():%Y%m%dT%H%M%SZ}.sqlite3" if destination.is_dir() else destination
    if target.exists():
        raise ValueError(f"{target} is there already: name a new file, or a folder.")
    part = Path(f"{target}.part")
    removed(part)
    try:
        if file is not None:
            copied(file, part)
        else:
            with closing(Storage.of(settings)) as storage, _made(part) as new, storage.reading() as connection:
                _transfer(connection, new)
        counts = _checked(part)
        put_in_place(part, target)
    except (OSError, sqlite3.Error) as error:
        raise ValueError(f"{target} cannot be written ({error}): make room, or name another place.") from error
    finally:
        removed(part)
    return target, counts


def bring_back(settings: Settings, source: Path, replace: bool) -> tuple[Path | None, Counts]:
    """Put a copy in the place of the database: where what was there is kept, if anywhere, and the copy's rows by table.

    ValueError with the remedy, and nothing is changed, if the copy is damaged or of a newer EFT Lab, if there is a
    database and `replace` is not said, or if a server has it open."""
    if not source.is_file():
        raise ValueError(f"{source} is no file: name a copy that python -m eft_core backup made.")
    engine = engine_of(url_of(settings))
    file = file_of(engine)
    try:
        if file is None:
            return None, _into_server(engine, source, replace)
        make_folder(file.parent)
        with alone(file):
            return _into_file(file, source, replace)
    except Elsewhere as error:
        raise ValueError(f"the database {file} is open: {_STOP}.") from error
    except (OSError, sqlite3.Error) as error:
        raise ValueError(f"{source} cannot be brought back ({error}): nothing was changed.") from error
    finally:
        engine.dispose()


def _into_file(file: Path, source: Path, replace: bool) -> tuple[Path | None, Counts]:
    settled(file)
    if file.exists() and not replace:
        raise ValueError(f"there is a database {file} already: add --replace, and it is kept under another name.")
    part = Path(f"{file}.part")
    try:
        counts = _sound_copy(source, part)
        return replaced(part, file, "replaced", now()), counts
    finally:
        removed(part)


def _into_server(engine: Engine, source: Path, replace: bool) -> Counts:
    """All rows of PostgreSQL for those of the copy, in one transaction."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "ratings.sqlite3"
        counts = _sound_copy(source, part)
        migrate(engine)
        copy = engine_of(f"sqlite:///{part}")
        with begun(engine) as into, snapshot(copy) as connection:
            _check_alone(into)
            if not replace and any(_counts(into).values()):
                raise ValueError("there are judgements in the database already: add --replace, and they are deleted.")
            for table in reversed(TABLES):
                into.execute(delete(table))
            _transfer(connection, into)
        copy.dispose()
    return counts


def _check_alone(connection: Connection) -> None:
    """ValueError if anybody else is connected to this database."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    others += " AND backend_type = 'client backend'"
    if connection.exec_driver_sql(others).scalar():
        raise ValueError(f"somebody is connected to the database: {_STOP}.")


# --- a copy


def _sound_copy(source: Path, part: Path) -> Counts:
    """A copy of the copy, in today's form, once it is known to be whole."""
    removed(part)
    try:
        copied(source, part)
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{source} cannot be read as a copy ({error}): name another copy.") from error
    return _checked(part, str(source))


def _checked(part: Path, name: str = "") -> Counts:
    """The rows of a copy by table. ValueError if it is damaged, no database of ours, or of a newer EFT Lab."""
    name = name or str(part).removesuffix(".part")
    if wrong := trouble(part):
        raise ValueError(f"{name} is damaged ({wrong}): take another copy; nothing was changed.")
    with closing(sqlite3.connect(part)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {table.name for table in TABLES} <= tables or "alembic_version" not in tables:
            raise ValueError(f"{name} holds no judgements of EFT Lab: name a copy that python -m eft_core backup made.")
        version = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if version is None or not is_known(version[0]):
        raise ValueError(f"{name} was made by a newer EFT Lab: update EFT Lab, then run this again.")
    with _made(part) as connection:
        return _counts(connection)


@contextmanager
def _made(file: Path) -> Iterator[Connection]:
    """A SQLite database in today's form, in one write transaction; without a log when the block has ended."""
    engine = engine_of(f"sqlite:///{file}")
    try:
        migrate(engine)
        with begun(engine) as connection:
            yield connection
    finally:
        engine.dispose()
    with closing(sqlite3.connect(file)) as raw:
        raw.execute("PRAGMA journal_mode = DELETE")


def _transfer(connection: Connection, into: Connection) -> None:
    """Every row, in an order in which rows can be written."""
    for table in TABLES:
        rows = connection.execute(select(table).order_by(table.c[order(table)], table.c.id)).mappings()
        for batch in rows.partitions(_BATCH):
            into.execute(insert(table), [dict(row) for row in batch])


def _counts(connection: Connection) -> Counts:
    return {table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in TABLES}

"""A database file checked before a server opens it, and mended if it is damaged: what can be read goes into a new one.

The damaged file is kept beside it. What it has lost comes back from EFT_BACKUP where that is set (`restoring`), or from
a copy by hand (`copies`). Where nothing can be read and nothing would come back, nothing is begun anew: that would look
like a database without judgements.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Float, Table
from sqlalchemy.exc import DatabaseError

from eft_core.database import Unavailable, engine_of, file_of, is_known, migrate
from eft_core.presence import Elsewhere, alone
from eft_core.schema import TABLES, UtcTime, now
from eft_core.settings import Settings
from eft_core.sqlite_file import left_over, made_whole, removed, replaced, settled, trouble
from eft_core.storage import url_of

# Numbers of rows that are passed over, one by one, in search of the next that can be read: a damaged page holds tens,
# and one that leads to others a few hundred of those.
MOST_MISSED = 20_000


def mended(settings: Settings, has_backup: bool) -> str:
    """Check the database that the settings name, and mend it; what was done in a sentence, "" if it was sound, is not
    there yet, or is a server's, which does so itself. `has_backup`: whatever is lost will come back.

    `Unavailable` with advice if it cannot be checked, or cannot be mended."""
    file = file_of(engine_of(url_of(settings)))
    if file is None or not file.parent.is_dir():
        return ""
    try:
        with alone(file):
            return _mended(file, has_backup)
    except Elsewhere:  # a server has it open, and looked at it when it began
        return ""
    except OSError as error:
        raise Unavailable(
            f"the damaged database {file} cannot be mended ({error.strerror}): make room on its disk, then start again."
        ) from error


def _mended(file: Path, has_backup: bool) -> str:
    finished = "a replacement of the database that had been interrupted was finished." if settled(file) else ""
    if left_over(file):
        raise Unavailable(
            f"the database {file} is gone, and its log {file.name}-wal is there: put the file back beside it, or "
            "bring back a copy with python -m eft_core restore COPY; move the log away to begin anew."
        )
    wrong = trouble(file) if file.exists() else ""
    if not wrong:
        return finished
    part, whole = Path(f"{file}.part"), Path(f"{file}.whole")
    removed(part)
    removed(whole)
    try:
        source = whole if made_whole(file, whole) else file
        if (version := _version(source)) and not is_known(version):
            raise Unavailable(
                f"the database {file} is damaged ({wrong}), and of a newer EFT Lab: update it, then start."
            )
        found, missing = _salvaged(source, part)
        if not found and not has_backup:
            raise Unavailable(
                f"the database {file} is damaged ({wrong}) and nothing in it can be read: bring back a copy with "
                "python -m eft_core restore COPY --replace, or move the file away to begin anew."
            )
        kept = replaced(part, file, "damaged", now())
    except (sqlite3.Error, DatabaseError) as error:  # of the new file: what the damaged one says is no error here
        raise OSError(0, str(error).partition("\n")[0]) from error
    finally:
        removed(part)
        removed(whole)
    lost = f", {missing:,} could not be" if missing else ""
    return f"the database was damaged ({wrong}): {found:,} rows were read and kept{lost}; the damaged file is {kept}."


# --- what can be read


def _salvaged(file: Path, part: Path) -> tuple[int, int]:
    """A new database with all rows that can be read and refer to nothing that is missing. The count of them, and of
    those that the damaged one names and could not show."""
    engine = engine_of(f"sqlite:///{part}")
    migrate(engine)
    engine.dispose()
    named = set[tuple[str, str]]()
    with closing(sqlite3.connect(file)) as old, closing(sqlite3.connect(part)) as new:
        for table in TABLES:
            names = _columns(old, table)
            marks = ", ".join("?" * len(names))
            into = f"INSERT OR IGNORE INTO {table.name} ({', '.join(names)}) VALUES ({marks})"
            if names:
                new.executemany(into, _rows(old, table, names))
            named |= {(table.name, each) for each in _named(old, table)}
        while found := new.execute("PRAGMA foreign_key_check").fetchall():
            for name, row, other, _ in found:  # an edit stands, whether or not what it superseded can be read
                how = "UPDATE ratings SET supersedes = NULL" if name == other == "ratings" else f"DELETE FROM {name}"
                new.execute(f"{how} WHERE rowid = ?", (row,))
        new.commit()
        new.execute("PRAGMA journal_mode = DELETE")
        there = {(table.name, each) for table in TABLES for (each,) in new.execute(f"SELECT id FROM {table.name}")}
    return len(there), len(named - there)


def _version(file: Path) -> str:
    """Which migration made the tables; "" if it cannot be read."""
    try:
        with closing(sqlite3.connect(file)) as connection:
            return str((connection.execute("SELECT version_num FROM alembic_version").fetchone() or [""])[0])
    except sqlite3.DatabaseError:
        return ""


def _columns(connection: sqlite3.Connection, table: Table) -> list[str]:
    """The columns of a table that are there; none if the schema cannot be read."""
    try:
        found = {row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")}
    except sqlite3.DatabaseError:  # the first page is lost, and with it where anything is
        return []
    return [name for name in table.c.keys() if name in found]  # noqa: SIM118


def _rows(connection: sqlite3.Connection, table: Table, names: list[str]) -> Iterator[tuple[Any, ...]]:
    """Rows in the order of their numbers; after one that cannot be read the next numbers are tried, one by one."""
    query = f"SELECT rowid, {', '.join(names)} FROM {table.name} WHERE rowid > ? ORDER BY rowid"
    last, missed = 0, 0
    while missed < MOST_MISSED:
        try:
            for number, *row in connection.execute(query, (last,)):
                last, missed = number, 0
                if all(_means(table.c[name], value) for name, value in zip(names, row, strict=True)):
                    yield tuple(row)
            return
        except sqlite3.DatabaseError:  # a damaged page
            last, missed = last + 1, missed + 1


def _means(column: Column[Any], value: Any) -> bool:
    """Whether a value is one of its column, so that whoever reads it later does not fail."""
    if value is None:
        return column.nullable or False
    kind = column.type
    try:
        if isinstance(kind, JSON):
            json.loads(value)
        elif isinstance(kind, UtcTime):
            datetime.fromisoformat(value)
        else:
            numbers = isinstance(kind, Boolean | Float)
            return isinstance(value, (int, float) if numbers else kind.python_type)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _named(connection: sqlite3.Connection, table: Table) -> set[str]:
    """The ids that a table's index has, which often lies on other pages; none if it cannot be read."""
    query = f"SELECT id FROM {table.name} INDEXED BY sqlite_autoindex_{table.name}_1"
    try:
        return {each for (each,) in connection.execute(query) if isinstance(each, str)}
    except sqlite3.DatabaseError:
        return set()

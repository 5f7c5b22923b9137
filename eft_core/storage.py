"""The database of ratings: opened, migrated, and written in short transactions that are durable when they end.

SQLite by default, in the user's data folder (write-ahead log, foreign keys, a busy timeout); PostgreSQL by an address.
What cannot be written now is `Unavailable`, with a sentence for whoever waits: nothing was kept, try again. Loads
neither torch nor gradio.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, Table, delete, exc, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from eft_core.database import Unavailable, begun, engine_of, file_of, migrate, reason, snapshot
from eft_core.presence import Elsewhere, given_back, taken
from eft_core.schema import UtcTime, comparisons, exclusions, generations, items, new_key, now, ratings
from eft_core.schema import annotators as annotators_table
from eft_core.settings import Settings

# Seconds that a writer waits for those of this process, whose transactions take milliseconds.
_QUEUE = 15
Line = tuple[str, dict[str, Any]]


class Log(Protocol):
    """A second place for every row, such as a folder or a data set on the Hub (`ratings.backup`)."""

    def append(self, lines: Sequence[Line]) -> None:
        """Keep rows, by table, or under "forget" what was deleted. Durable when it returns, OSError otherwise."""


class Writer:
    """One write transaction. `lines` are what the log will get once it is committed."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.lines: list[Line] = []

    def insert(self, table: Table, **values: Any) -> dict[str, Any]:
        """A new row, as it is kept; `id` and `created` are filled in where they are missing."""
        row = _filled(table, values)
        self.connection.execute(insert(table).values(row))
        self.note(table, row)
        return row

    def insert_all(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
        """Many rows; those that are there, by any unique key, are left out. The count of those written."""
        written = 0
        for start in range(0, len(rows), 500):  # SQLite takes a bounded number of values
            batch = [_filled(table, row) for row in rows[start : start + 500]]
            way = postgresql.insert if self.connection.dialect.name == "postgresql" else sqlite.insert
            added = self.connection.execute(way(table).on_conflict_do_nothing().returning(table.c.id), batch).all()
            new = {row.id for row in added}
            for row in batch:
                if row["id"] in new:
                    self.note(table, row)
            written += len(new)
        return written

    def note(self, table: Table, row: Mapping[str, Any]) -> None:
        """A row that was written or changed, for the log."""
        self.lines.append((table.name, dict(row)))

    def forget(self, annotator: str) -> None:
        """Delete all of an annotator: judgements, comparisons, and the prompts and answers of free ones."""
        theirs = select(comparisons.c.item).where(comparisons.c.annotator == annotator, comparisons.c.blind.is_(False))
        own = list(self.connection.scalars(theirs.distinct()))
        for table in (ratings, comparisons, exclusions):
            self.connection.execute(delete(table).where(table.c.annotator == annotator))
        self.connection.execute(delete(generations).where(generations.c.item.in_(own)))
        self.connection.execute(delete(items).where(items.c.id.in_(own)))
        self.connection.execute(delete(annotators_table).where(annotators_table.c.id == annotator))
        self.lines.append(("forget", {"annotator": annotator, "items": own}))


class Storage:
    """A database, safe to share between threads: many readers, one writer at a time."""

    def __init__(self, url: str, log: Log | None = None) -> None:
        """Opens and migrates. ValueError if the address is none of ours, `Unavailable` if it cannot be opened."""
        self.log = log
        self._writing = threading.Lock()
        self._unlogged: list[Line] = []  # committed, but the log could not be written yet
        self.engine = engine_of(url)
        self._share = _share_of(self.engine)
        try:
            with self._told():
                migrate(self.engine)
        except BaseException:
            self.close()
            raise

    @classmethod
    def of(cls, settings: Settings, log: Log | None = None) -> "Storage":
        """The database that the settings name (`url_of`); the data folder is made if need be."""
        if not settings.database_url:
            make_folder(settings.data_folder)
        return cls(url_of(settings), log)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One read transaction: it sees one state of the database."""
        with self._told(), snapshot(self.engine) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """One write transaction. When the block has ended without an error, it is on the disk, and in the log."""
        if not self._writing.acquire(timeout=_QUEUE):
            raise Unavailable("the database is busy: try again in a moment.")
        try:
            with self._told(), begun(self.engine) as connection:
                writer = Writer(connection)
                yield writer
            if self.log is not None:
                self._unlogged += writer.lines
                self._settle(self.log)
        finally:
            self._writing.release()

    def close(self) -> None:
        self.engine.dispose()
        given_back(self._share)
        self._share = None

    def _settle(self, log: Log) -> None:
        """Hand the log what it lacks. What it cannot keep waits, and whoever wrote it is told to try again."""
        if not self._unlogged:
            return
        try:
            log.append(self._unlogged)
        except OSError as error:
            raise Unavailable(f"the backup cannot be written ({error.strerror}): try again in a moment.") from error
        self._unlogged = []

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Failures of the database, not of what is asked of it, as `Unavailable`."""
        try:
            yield
        except (exc.DatabaseError, exc.InterfaceError, exc.TimeoutError) as error:
            if isinstance(error, exc.IntegrityError | exc.ProgrammingError | exc.DataError):
                raise
            raise Unavailable(reason(error)) from error


def url_of(settings: Settings) -> str:
    """The address of the database that the settings name: `database_url`, or a file in the data folder."""
    return settings.database_url or f"sqlite:///{settings.data_folder / 'ratings.sqlite3'}"


def make_folder(folder: Path) -> None:
    """The data folder. `Unavailable` with the remedy if it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"the folder {folder} cannot be made ({error.strerror}): set EFT_DATA_DIR.") from error


def _share_of(engine: Engine) -> int | None:
    """A sign for whoever would put another file in the place of this database (`presence`)."""
    file = file_of(engine)
    if file is None:
        return None
    try:
        return taken(file)
    except Elsewhere as error:
        raise Unavailable("the database is being checked or restored: try again in a moment.") from error


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as values for JSON: times in ISO 8601 with their zone."""
    return {name: each.isoformat() if isinstance(each, datetime) else each for name, each in row.items()}


def from_plain(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `plain`. ValueError if a column is unknown or a time is none."""
    if unknown := sorted(set(values) - set(table.c.keys())):
        raise ValueError(f"{table.name} has no column {', '.join(unknown)}: the file is of another EFT Lab.")
    row = dict(values)
    for column in table.c:
        if isinstance(column.type, UtcTime) and row.get(column.name) is not None:
            row[column.name] = datetime.fromisoformat(row[column.name])
    return row


def _filled(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """A whole row: what was not given is made or None."""
    made = {"id": new_key, "created": now}
    return {name: values[name] if name in values else made.get(name, lambda: None)() for name in table.c.keys()}  # noqa: SIM118

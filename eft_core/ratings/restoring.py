"""A database and its backup (`backup`) brought to the same state, before anybody judges; and which backup it is.

Rows that only the backup has come into the database, and those that only the database has, as when a backup is set for
the first time, into the backup. Doing it again changes nothing.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, select, update

from eft_core.ratings.backup import Folder
from eft_core.ratings.dataset import Dataset
from eft_core.ratings.rows import order, references
from eft_core.schema import TABLES, annotators
from eft_core.settings import Settings
from eft_core.storage import Line, Storage, Unavailable, Writer, from_plain

_HUB = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+?)/?")
# All that ever changes in a row that is there: the latest line says what it is.
_CHANGES = {"campaigns": "state", "exclusions": "lifted"}
Row = dict[str, Any]
Rows = dict[str, dict[str, Row]]  # by table and id


@dataclass(frozen=True, slots=True)
class Restored:
    """Counts of rows: brought into the database; left out, since what they refer to is nowhere; added to the backup."""

    brought: int
    left_out: int
    added: int

    def __str__(self) -> str:
        left_out = f", {self.left_out:,} left out that refer to nothing" if self.left_out else ""
        return f"{self.brought:,} rows brought from the backup, {self.added:,} added to it{left_out}"


def backup_of(settings: Settings) -> Folder | None:
    """The backup that `settings.backup` names: a folder, or `hf://datasets/OWNER/NAME`; None for "".

    ValueError if it names none, `Unavailable` if the Hub cannot be reached."""
    if not settings.backup:
        return None
    if "://" not in settings.backup:
        return Folder(Path(settings.backup).expanduser())
    if not (named := _HUB.fullmatch(settings.backup)):
        raise ValueError("EFT_BACKUP must be a folder, or hf://datasets/OWNER/NAME.")
    return Dataset(named[1], settings.data_folder / "backup")


def restore(storage: Storage, backup: Folder) -> Restored:
    """Bring both to the same state. ValueError that names the line if the backup is damaged, `Unavailable` if it cannot
    be read or written."""
    try:
        kept = backup.kept()
        rows: dict[str, dict[str, Row]] = {table.name: {} for table in TABLES}
        for entry in kept.entries:
            rows[entry.table][entry.row["id"]] = entry.row  # of the same row, the latest
        brought, left_out = _bring(storage, rows, kept.forgotten)
        lacking = _lacking(storage, rows)
        if lacking:
            backup.append(lacking)
    except OSError as error:
        raise Unavailable(f"the backup cannot be used ({error.strerror}): try again in a moment.") from error
    return Restored(brought, left_out, len(lacking))


def _bring(storage: Storage, rows: Rows, forgotten: Collection[str]) -> tuple[int, int]:
    """Write what the database lacks, and delete what it should not have; rows written and left out."""
    brought, left_out = 0, 0
    known: dict[str, set[str]] = {}
    with storage.writing() as writer:
        for annotator in _ids(writer.connection, annotators) & set(forgotten):
            writer.forget(annotator)
        for table in TABLES:
            there = _ids(writer.connection, table)
            whole = _whole(table, rows[table.name].values(), known, there)
            brought += writer.insert_all(table, [from_plain(table, row) for row in whole if row["id"] not in there])
            left_out += len(rows[table.name]) - len(whole)
            _change(writer, table, whole)
            known[table.name] = _ids(writer.connection, table)
        writer.lines.clear()  # the backup has them
    return brought, left_out


def _whole(table: Table, rows: Iterable[Row], known: dict[str, set[str]], there: set[str]) -> list[Row]:
    """Rows that refer to nothing that is missing, in an order in which they can be written."""
    ids = known | {table.name: set(there)}
    found = []
    for row in sorted(rows, key=lambda row: row[order(table)]):
        if all(row[name] is None or row[name] in ids[other] for name, other in references(table).items()):
            found.append(row)
            ids[table.name].add(row["id"])
    return found


def _change(writer: Writer, table: Table, rows: Iterable[Row]) -> None:
    """Rows that are there get what changed in them."""
    name = _CHANGES.get(table.name)
    if name is None:
        return
    for row in rows:
        latest = from_plain(table, row)[name]
        writer.connection.execute(update(table).where(table.c.id == row["id"]).values({name: latest}))


def _lacking(storage: Storage, rows: Rows) -> list[Line]:
    """Rows of the database that the backup lacks."""
    found = list[Line]()
    with storage.reading() as connection:
        for table in TABLES:
            if _ids(connection, table) - rows[table.name].keys():
                every = connection.execute(select(table)).mappings()
                found += [(table.name, dict(row)) for row in every if row["id"] not in rows[table.name]]
    return found


def _ids(connection: Connection, table: Table) -> set[str]:
    return set(connection.scalars(select(table.c.id)))

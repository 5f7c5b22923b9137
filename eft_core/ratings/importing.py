"""An export of everything (`export`, form jsonl) brought into a database, which may hold other judgements.

All is checked before anything is written, and written in one transaction: a file is taken whole or not at all. Rows
that are there are left alone, so that a file that is brought twice is there once. Its annotators come without codes:
their judgements are here, but nobody can go on as one of them.
"""

import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, select

from eft_core.ratings.export import SCHEMA
from eft_core.ratings.meaning import check_row
from eft_core.ratings.rows import BY_NAME, order
from eft_core.schema import TABLES, annotators, campaigns, items
from eft_core.storage import Storage, Writer, from_plain
from eft_core.tables import rows_of

_MOST_BYTES = 2_000_000_000
_BATCH = 500  # SQLite takes a bounded number of values
Row = dict[str, Any]
Found = dict[str, dict[str, Row]]  # rows of the file by table and id, as JSON has them


def imported(storage: Storage, file: Path) -> dict[str, int]:
    """Rows written, by table. ValueError that names the line, and nothing is written, if anything is wrong."""
    found, lines = _read(file)
    written = {}
    with storage.writing() as writer:
        for table in TABLES:
            rows = sorted(found[table.name].values(), key=lambda row: row[order(table)])
            written[table.name] = _write(writer, table, [from_plain(table, row) for row in rows])
            there = _there(writer.connection, table, found[table.name])
            if missing := [lines[row["id"]] for row in rows if row["id"] not in there]:
                raise ValueError(
                    f"line {min(missing)} of {file.name}: another row of {table.name} is in its place in this "
                    "database: import into an empty one (EFT_DATA_DIR)."
                )
    return written


def _read(file: Path) -> tuple[Found, dict[str, int]]:
    """All rows, checked, and the line of each by its id."""
    found: Found = {table.name: {} for table in TABLES}
    lines: dict[str, int] = {}
    entries = rows_of(file, _MOST_BYTES, ("table", "row"))
    head = next(entries, (1, {}))[1]
    if head.get("schema") != SCHEMA or not isinstance(head.get("created"), str):
        raise ValueError(
            f"{file.name} is no export of the schema {SCHEMA}: make it with python -m eft_core export --form jsonl."
        )
    for line, entry in entries:
        try:
            table, row = _row(entry, head["created"])
            check_row(table, row, found)
            if row["id"] in lines:
                raise ValueError(f"its id was that of line {lines[row['id']]} already.")
        except ValueError as error:
            raise ValueError(f"line {line} of {file.name}: {error}") from error
        found[table.name][row["id"]] = row
        lines[row["id"]] = line
    return found, lines


def _row(entry: Mapping[str, Any], created: str) -> tuple[Table, Row]:
    """A line as a row of a table, not checked further."""
    name, row = entry.get("table"), entry.get("row")
    table = BY_NAME.get(name) if isinstance(name, str) else None
    if table is None or not isinstance(row, dict) or set(entry) != {"table", "row"}:
        raise ValueError(f'a line is {{"table": name, "row": {{...}}}}; tables are {", ".join(BY_NAME)}.')
    columns = ["id"] if table is annotators else table.c.keys()
    if unknown := sorted(set(row) - set(columns)):
        raise ValueError(f"{table.name} has no column {', '.join(unknown)[:80]} in an export.")
    # nobody has the code of an annotator who came in a file, and sides that are drawn later are nobody's to foresee
    made = {"side_seed": secrets.randbits(31), "created": created} if table is annotators else {}
    return table, {**row, **made}


def _write(writer: Writer, table: Table, rows: list[Row]) -> int:
    if table is items:
        _place(writer.connection, rows)
    return writer.insert_all(table, rows)


def _place(connection: Connection, rows: list[Row]) -> None:
    """Free comparisons of two databases have the same campaign: new ones come after those that are here."""
    there = _there(connection, items, [row["id"] for row in rows])
    free = {row.id for row in connection.execute(select(campaigns)) if row.plan.get("free")}
    query = select(items.c.campaign, func.max(items.c.place)).where(items.c.campaign.in_(free))
    last = dict(connection.execute(query.group_by(items.c.campaign)).all())
    for row in sorted(rows, key=lambda row: row["place"]):
        if row["id"] not in there and row["campaign"] in last:
            last[row["campaign"]] += 1
            row["place"] = last[row["campaign"]]


def _there(connection: Connection, table: Table, ids: Collection[str]) -> set[str]:
    """Those of the ids that the database has."""
    every, found = list(ids), set[str]()
    for start in range(0, len(every), _BATCH):
        batch = every[start : start + _BATCH]
        found |= set(connection.scalars(select(table.c.id).where(table.c.id.in_(batch))))
    return found

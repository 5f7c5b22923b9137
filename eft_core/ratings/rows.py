"""Rows of the database outside of it: JSON lines, in an order in which they can be written. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table

from eft_core.schema import TABLES

BY_NAME: Mapping[str, Table] = {table.name: table for table in TABLES}
# What a row refers to within its own table has a lower number, or turn.
_ORDER = {"items": "place", "comparisons": "number", "ratings": "turn"}

# What Python's splitlines and others take for the end of a line, beside what JSON escapes anyway.
_ENDS = "\x85\u2028\u2029"


def order(table: Table) -> str:
    """The column by which a table's rows are written."""
    return _ORDER.get(table.name, "created")


def references(table: Table) -> dict[str, str]:
    """Columns that hold another row's id, and the tables of those rows."""
    return {column.name: key.column.table.name for column in table.c for key in column.foreign_keys}


def json_line(values: Mapping[str, Any]) -> str:
    """An object as a line of its own; texts stay as they are, and nothing in them ends a line for any reader."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    for letter in _ENDS:
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text + "\n"

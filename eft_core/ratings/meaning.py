"""Whether a row that comes from outside could have been written here: its values, types, references and sense. Pure.

ValueErrors name what is wrong; whoever reads the file adds the line.
"""

import math
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, get_args

from sqlalchemy import JSON, Boolean, Column, Float, Integer, String, Table

from eft_core.config import Limits, Sampling
from eft_core.policy import Policy
from eft_core.ratings.campaign import Plan, State
from eft_core.ratings.judgement import Judgement, text_of
from eft_core.ratings.rows import references
from eft_core.schema import UtcTime

Row = Mapping[str, Any]
Rows = Mapping[str, Mapping[str, Row]]  # by table and id
_LONGEST = 10_000_000  # characters of a text that has no bound of its own
_DEEPEST = 40  # levels of a JSON value


def check_row(table: Table, row: Row, before: Rows) -> None:
    """ValueError unless the row fits its table, and the rows `before` it."""
    for column in table.c:
        _check_value(column, row.get(column.name))
    for name, other in references(table).items():
        if row.get(name) is not None and row[name] not in before[other]:
            raise ValueError(f"{name} names a row of {other} that is not in the file before it: export it again.")
    _SENSE.get(table.name, _anything)(row, before)


def _check_value(column: Column[Any], value: Any) -> None:
    """ValueError unless a column can hold the value, in SQLite and PostgreSQL alike."""
    kind, name = column.type, column.name
    if value is None:
        if not column.nullable:
            raise ValueError(f"{name} is missing.")
        return
    if isinstance(kind, JSON):
        _check_json(name, value)
    elif isinstance(kind, String):
        text_of(name, value, kind.length or _LONGEST)
        if column.primary_key or column.foreign_keys:
            _check_key(name, value)
    elif isinstance(kind, UtcTime):
        _check_time(name, value)
    else:
        fits = {
            Boolean: isinstance(value, bool),
            Integer: type(value) is int and abs(value) < 2**31,
            Float: type(value) in (int, float) and math.isfinite(value),
        }
        if not next(right for each, right in fits.items() if isinstance(kind, each)):
            raise ValueError(f"{name} = {str(value)[:40]!r} is no {type(kind).__name__.lower()} that can be kept.")


def _check_key(name: str, value: str) -> None:
    try:
        known = str(uuid.UUID(value)) == value
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"{name} = {value[:40]!r} is no UUID.")


def _check_time(name: str, value: Any) -> None:
    try:
        zone = datetime.fromisoformat(value).utcoffset()
    except (TypeError, ValueError):
        zone = None
    if zone is None:
        raise ValueError(f"{name} = {str(value)[:40]!r} is no time in ISO 8601 with a zone.")


def _check_json(name: str, value: Any) -> None:
    """All texts and numbers within."""
    waiting = [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(f"{name} nests too deeply.")
        if isinstance(each, dict | list):
            inner = [*each, *each.values()] if isinstance(each, dict) else each
            waiting += [(part, depth + 1) for part in inner]
        elif isinstance(each, str):
            text_of(name, each, _LONGEST)
        elif isinstance(each, float) and not math.isfinite(each):
            raise ValueError(f"{name} has a number that is not finite.")


# --- what a row says, table by table


def _anything(row: Row, before: Rows) -> None:
    """Nothing beyond types and references."""


def _campaign(row: Row, before: Rows) -> None:
    _one_of("state", row["state"], get_args(State))
    if row["plan"] != {"free": True}:
        Plan.from_dict(row["plan"])


def _item(row: Row, before: Rows) -> None:
    gold = row.get("gold")
    if gold is None:
        return
    if not isinstance(gold, dict) or set(gold) != {"better", "worse"} or not all(map(_is_text, gold.values())):
        raise ValueError("gold must have the texts better and worse.")


def _generation(row: Row, before: Rows) -> None:
    _one_of("state", row["state"], ("ready", "failed"))
    written = row.get("policy") is None
    if written != (before["items"][row["item"]].get("gold") is not None):
        raise ValueError("an answer has a policy unless it is a gold item's.")
    try:
        if not written:
            Policy.from_dict(row["policy"])
            Sampling(**row["sampling"])
            Limits(**row["limits"])
        for name, kind in (("revisions", dict), ("statistics", dict), ("token_ids", list)):
            if not isinstance(row[name], kind):
                raise TypeError(name)
    except TypeError as error:
        raise ValueError(f"the answer cannot be made again from this ({error}).") from error


def _comparison(row: Row, before: Rows) -> None:
    _one_of("kind", row["kind"], ("ordinary", "repeat", "gold"))
    answers = [before["generations"][row[side]] for side in ("first", "second")]
    if any(each["item"] != row["item"] for each in answers) or row["first"] == row["second"]:
        raise ValueError("first and second must be two answers to its item.")
    if before["items"][row["item"]]["campaign"] != row["campaign"]:
        raise ValueError("its item is of another campaign.")
    if (row["kind"] == "repeat") != (row.get("original") is not None):
        raise ValueError("a repeat, and nothing else, has an original.")
    if (original := row.get("original")) is not None:
        _same(before["comparisons"][original], row, ("annotator", "campaign", "first", "second"))


def _rating(row: Row, before: Rows) -> None:
    _one_of("action", row["action"], ("vote", "edit", "undo"))
    if before["comparisons"][row["comparison"]]["annotator"] != row["annotator"]:
        raise ValueError("its comparison is another annotator's.")
    if (earlier := row.get("supersedes")) is not None:
        _same(before["ratings"][earlier], row, ("annotator", "comparison"))
    if row["turn"] != (1 if earlier is None else before["ratings"][earlier]["turn"] + 1):
        raise ValueError("its turn does not follow the rating that it supersedes.")
    if row["action"] == "undo":
        if row.get("verdict") is not None:
            raise ValueError("an undo has no verdict.")
        return
    Judgement(**{name: row.get(name) for name in Judgement.__slots__})  # type: ignore[arg-type]  # checks itself


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}.")


def _same(one: Row, other: Row, names: tuple[str, ...]) -> None:
    for name in names:
        if one[name] != other[name]:
            raise ValueError(f"its {name} is not that of the row that it refers to.")


_SENSE = {
    "campaigns": _campaign,
    "items": _item,
    "generations": _generation,
    "comparisons": _comparison,
    "ratings": _rating,
}

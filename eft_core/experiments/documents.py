"""An experiment's results as one JSON document, and as tables: what files, page and report share.

`{schema, experiment, family, versions, rows, tables, findings, about}`. Loads no torch.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from eft_core.experiments.study import Finding, Read, Row

SCHEMA = "eft-lab/experiment/1"
Document = dict[str, Any]
_KEYS = ("experiment", "family", "versions", "rows", "tables", "findings", "about")
# What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection): at the start of a cell, and wherever
# one of another country would begin a cell. Wide forms count too; spaces and quotes before them change nothing. What
# stands before a sign is read once, however long: texts are other people's.
_SEPARATORS = frozenset(";\t\n\v\f\x85\u2028\u2029")
_FORMULA = re.compile(r"""(?<![;\s"'\u200b\ufeff\x00])[;\s"'\u200b\ufeff\x00]*+(?=[=+\-@＝＋－＠﹦﹢﹣﹫−])""")


@dataclass(frozen=True, slots=True)
class About:
    """What a number means nothing without."""

    title: str
    question: str
    command: str
    date: str
    machine: Mapping[str, Any]
    prompts: str
    grader: str
    seed: int
    temperature: float
    samples: int
    items: int
    answers: int
    seconds: float


def document(name: str, family: str, versions: Mapping[str, str], read: Read, about: Mapping[str, Any]) -> Document:
    """All of it as plain values."""
    return {
        "schema": SCHEMA,
        "experiment": name,
        "family": family,
        "versions": dict(versions),
        "rows": list(read.rows),
        "tables": {title: list(rows) for title, rows in read.tables.items()},
        "findings": [{"claim": each.claim, "holds": each.holds} for each in read.findings],
        "about": dict(about),
    }


def read_document(file: Path) -> Document:
    """A document from its file; ValueError if it is none."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{file} cannot be read as an experiment: {error}.") from error
    if not isinstance(values, dict) or values.get("schema") != SCHEMA or any(key not in values for key in _KEYS):
        raise ValueError(
            f"{file.name} is no document of the schema {SCHEMA}: make it with python -m eft_core.experiments."
        )
    return values


def findings_of(values: Document) -> tuple[Finding, ...]:
    return tuple(Finding(each["claim"], each["holds"]) for each in values["findings"])


def frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as a table: an interval becomes two columns, `_low` and `_high`."""
    return pd.DataFrame([_flat(row) for row in rows])


def _flat(row: Row) -> Row:
    flat: Row = {}
    for name, value in row.items():
        if name.endswith("_interval"):
            stem = name.removesuffix("_interval")
            flat |= dict(zip((f"{stem}_low", f"{stem}_high"), value or (None, None), strict=True))
        else:
            flat[name] = value
    return flat


def csv(rows: Sequence[Row]) -> str:
    """Rows as CSV in which no text is taken for a formula."""
    table = frame(rows)
    return table.apply(lambda column: column.map(harmless)).to_csv(index=False)


def harmless(value: object) -> object:
    """A value as a cell in which nothing is a formula: an apostrophe stands before what would begin one."""
    if not isinstance(value, str):
        return value
    # a lone carriage return would end a row
    return _FORMULA.sub(_led, value.replace("\r\n", "\n").replace("\r", "\n"))


def _led(found: re.Match[str]) -> str:
    """What stands before a sign, with an apostrophe where a cell may begin in it."""
    begins = found.start() == 0 or not _SEPARATORS.isdisjoint(found[0])
    return f"{found[0]}'" if begins else found[0]


def cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Heads and cells for people: a value with its interval in one cell, `0.82 [0.78, 0.86]`."""
    heads = [name for name in _names(rows) if not name.endswith("_interval")]
    return heads, [[_cell(row, name) for name in heads] for row in rows]


def _names(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _cell(row: Row, name: str) -> str:
    value = shown(row.get(name))
    interval = row.get(f"{name}_interval")
    if not interval or row.get(name) is None:
        return value
    low, high = (shown(bound) if bound is not None else "∞" for bound in interval)
    return f"{value} [{'−∞' if low == '∞' else low}, {high}]"


def shown(value: object) -> str:
    """A value as a cell: numbers short, nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, float):
        text = f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) < 10 else f"{value:.1f}"
        return "0" if text == "-0" else text
    return str(value)

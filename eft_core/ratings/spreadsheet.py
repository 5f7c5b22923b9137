"""Judgements as CSV that no spreadsheet executes: `documents.csv` sees to it. Texts as they are: JSON, Parquet."""

import json

import pandas as pd

from eft_core.experiments.documents import csv

_MARK = "\ufeff"  # Excel reads UTF-8 with this mark alone


def spreadsheet(table: pd.DataFrame) -> bytes:
    """The rows of `judged.judged` as CSV, UTF-8 with a mark in front. Lists are JSON; lines end in line feeds."""
    rows = [{str(name): _cell(value) for name, value in row.items()} for row in table.to_dict("records")]
    if not rows:
        return f"{_MARK}{','.join(table.columns)}\n".encode()
    return (_MARK + csv(rows)).encode()


def _cell(value: object) -> object:
    """A value as a text or a number."""
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return value.isoformat() if isinstance(value, pd.Timestamp) else value

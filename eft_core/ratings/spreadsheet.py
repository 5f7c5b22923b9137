"""Judgements as CSV that no spreadsheet executes, whatever separator it takes the file to have.

What begins a formula gets an apostrophe in front, at the beginning of a cell and wherever a spreadsheet of another
country would begin one: after `;`, a tab or the end of a line. Texts as they are: JSON lines and Parquet.
"""

import json
import re

import pandas as pd

from eft_core.experiments.documents import csv

# Excel and LibreOffice take the wide forms of East Asian keyboards too; spaces and quotes before them change nothing.
_FORMULA = re.compile(r"""(?:^|[;\t\n\v\f\x85\u2028\u2029])[\s"'\u200b\ufeff\x00]*(?=[=+\-@＝＋－＠﹦﹢﹣﹫−])""")
_MARK = "\ufeff"  # Excel reads UTF-8 with this mark alone


def spreadsheet(table: pd.DataFrame) -> bytes:
    """The rows of `judged.judged` as CSV, UTF-8 with a mark in front. Lists are JSON; lines end in line feeds."""
    rows = [{str(name): cell(value) for name, value in row.items()} for row in table.to_dict("records")]
    if not rows:
        return f"{_MARK}{','.join(table.columns)}\n".encode()
    return (_MARK + csv(rows)).encode()


def cell(value: object) -> object:
    """A value as a cell in which nothing is a formula."""
    if isinstance(value, list):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, pd.Timestamp):
        value = value.isoformat()
    if not isinstance(value, str):
        return value
    # a lone carriage return would end a row
    lines = value.replace("\r\n", "\n").replace("\r", "\n")
    return _FORMULA.sub(r"\g<0>'", lines)

"""Judgements as files: everything, to bring back by `importing`, a table for people, data sets for trainers.

No file holds what lets anybody judge as somebody else, or says who they are: of annotators their ids alone.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import ColumnElement, Connection, Table, select, union

from eft_core.ratings import trl
from eft_core.ratings.comparator import comparator
from eft_core.ratings.forms import FORMS, Wishes
from eft_core.ratings.judged import judged, known_campaigns, usable
from eft_core.ratings.rows import json_line, order
from eft_core.ratings.spreadsheet import spreadsheet
from eft_core.schema import TABLES, annotators, campaigns, comparisons, exclusions, generations, items, now, ratings
from eft_core.software import SOFTWARE
from eft_core.storage import Storage, plain

__all__ = ["FORMS", "SCHEMA", "Exported", "Wishes", "exported"]
SCHEMA = "eft-lab/ratings/1"
_MEDIA = {
    "jsonl": "application/jsonl",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "json": "application/json",
}


@dataclass(frozen=True, slots=True)
class Exported:
    """A file. `counts`: its rows, and then what was left out, by reason."""

    name: str
    media_type: str
    content: bytes
    counts: dict[str, int]

    def __str__(self) -> str:
        """What is in it, in a sentence."""
        left_out = [f"{count:,} {reason}" for reason, count in self.counts.items() if count and reason != "rows"]
        return f"{self.counts['rows']:,} rows" + (f"; left out: {', '.join(left_out)}." if left_out else ".")


def exported(storage: Storage, form: str, chosen: Sequence[str] = (), wishes: Wishes | None = None) -> Exported:
    """The judgements of the `chosen` campaigns, or of all, as a file. ValueError with the remedy."""
    wishes = wishes or Wishes()
    wishes.check(form)
    if form == "jsonl":
        return _everything(storage, chosen)
    table = judged(storage, chosen)
    if form == "csv":
        return _file("ratings.csv", spreadsheet(table), {"rows": len(table)})
    if form == "parquet":
        return _file("ratings.parquet", _parquet(table), {"rows": len(table)})
    able, left_out = usable(table, wishes.not_blind)
    if form == "comparator":
        titles = ", ".join(dict.fromkeys(able["title"]))
        document, unable = comparator(able, f"{SOFTWARE}: {titles}", wishes.pair)
        text = json.dumps(document, ensure_ascii=False, indent=1)
        return _file("ratings-comparator.json", text.encode(), {"rows": len(document["examples"])} | left_out | unable)
    rows, undecided = _training_rows(form, able, wishes)
    content = "".join(map(json_line, rows)).encode()
    return _file(f"ratings-{form}.jsonl", content, {"rows": len(rows)} | left_out | undecided)


def _file(name: str, content: bytes, counts: dict[str, int]) -> Exported:
    return Exported(name, _MEDIA[name.rsplit(".", 1)[1]], content, counts)


def _training_rows(form: str, able: pd.DataFrame, wishes: Wishes) -> trl.Made:
    if form == "unpaired":
        return trl.unpaired(trl.opinions(able), wishes.conversational, wishes.majority)
    found, tied = trl.majorities(able) if wishes.majority else (trl.opinions(able), {})
    rows, undecided = (trl.reward if form == "reward" else trl.preference)(found, wishes.conversational)
    return rows, tied | undecided


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    try:
        table.to_parquet(buffer, engine="pyarrow", index=False)
    except ImportError as error:
        raise ValueError("Parquet needs pyarrow: run `pip install pyarrow`, or export JSON lines.") from error
    return buffer.getvalue()


# --- everything


def _everything(storage: Storage, chosen: Sequence[str]) -> Exported:
    """A line about the file, then every row as {"table": name, "row": {...}}, in the order of `schema.TABLES`."""
    with storage.reading() as connection:
        known = known_campaigns(connection, chosen)
        rows = [(table.name, row) for table in TABLES for row in _rows(connection, table, known)]
    head = {"schema": SCHEMA, "software": SOFTWARE, "created": now().isoformat(), "campaigns": known}
    lines = [json_line(head), *(json_line({"table": name, "row": row}) for name, row in rows)]
    return _file("ratings.jsonl", "".join(lines).encode(), {"rows": len(rows)})


def _rows(connection: Connection, table: Table, chosen: Sequence[str]) -> list[dict[str, Any]]:
    """A table's rows of the chosen campaigns; of annotators the ids alone."""
    columns = [table.c.id] if table is annotators else list(table.c)
    query = select(*columns).where(_of(table, chosen)).order_by(table.c[order(table)], table.c.id)
    return [plain(dict(row)) for row in connection.execute(query).mappings()]


def _of(table: Table, chosen: Sequence[str]) -> ColumnElement[bool]:
    """Whether a row belongs to the chosen campaigns."""
    if table is campaigns:
        return campaigns.c.id.in_(chosen)
    if table is generations:
        return generations.c.item.in_(select(items.c.id).where(items.c.campaign.in_(chosen)))
    if table is ratings:
        return ratings.c.comparison.in_(select(comparisons.c.id).where(comparisons.c.campaign.in_(chosen)))
    if table is annotators:
        theirs = (select(each.c.annotator).where(each.c.campaign.in_(chosen)) for each in (comparisons, exclusions))
        return annotators.c.id.in_(union(*theirs))
    return table.c.campaign.in_(chosen)

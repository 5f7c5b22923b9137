"""Rows of a file with their line numbers: .jsonl, an object a line, .csv with a header, either with .gz, or .parquet.

What is read is bounded, also behind a compression. Errors name the line and the remedy. Pure; loads no torch.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
_BATCH = 1024


def rows_of(file: Path, most_bytes: int, columns: Sequence[str] = ()) -> Iterator[tuple[int, Row]]:
    """Line numbers (in a CSV of a row's end, in Parquet of the row) and rows. Blank lines are left out.

    A CSV must have the `columns`; in JSON lines, where each object may differ, the reader of the rows sees to it.
    ValueError, with the first row at the latest or where a line is wrong, if the file is none of these.
    """
    kind = _kind(file)
    if kind == ".parquet":
        return _parquet(file, most_bytes)
    text = _text_of(file, most_bytes)
    return _objects(text, columns) if kind == ".jsonl" else _table(text, columns)


def _kind(file: Path) -> str:
    """The suffix that says how to read it."""
    name = file.name.lower()
    kind = Path(name.removesuffix(".gz")).suffix
    if kind not in (".jsonl", ".csv", ".parquet") or name.endswith(".parquet.gz"):
        raise ValueError(f"{file.name} is neither .jsonl nor .csv nor .parquet: name it after what it holds.")
    return kind


def _text_of(file: Path, most_bytes: int) -> str:
    raw = _read(file, most_bytes + 1)
    if len(raw) > most_bytes:
        raise _too_large(file, most_bytes)
    try:
        return raw.decode("utf-8-sig")  # spreadsheets put a mark in front
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} of {file.name} is not UTF-8: save the file as UTF-8.") from error


def _read(file: Path, count: int) -> bytes:
    """At most `count` bytes, unpacked: a small file may unpack to more than there is memory."""
    try:
        with gzip.open(file, "rb") if file.suffix.lower() == ".gz" else file.open("rb") as stream:
            return stream.read(count)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{file.name} cannot be unpacked ({error}): fetch or pack it again.") from error
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}.") from error


def _too_large(file: Path, most_bytes: int) -> ValueError:
    return ValueError(f"{file.name} is larger than {most_bytes // 10**6} MB: split it.")


def _objects(text: str, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: JSON may hold other ends of lines
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                example = ", ".join(f'"{name}": "..."' for name in columns or ("prompt",))
                raise ValueError(f"line {number} is no JSON object: write {{{example}}}.")
            yield number, row


def _table(text: str, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"line 1 has no column {' and no column '.join(missing)}: name them in the first line.")
        for row in reader:
            if None in row:
                raise ValueError(
                    f'line {reader.line_num} has more fields than the first line: put texts with commas in "quotes".'
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} is no CSV ({error}): check its quotes.") from error


def _parquet(file: Path, most_bytes: int) -> Iterator[tuple[int, Row]]:
    """Reads by batches, so that whoever stops early has not read the rest."""
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ValueError(
            f"{file.name} needs pyarrow: run `pip install pyarrow`, or give a .jsonl copy of it."
        ) from error
    count, size = 0, 0
    try:
        for batch in parquet.ParquetFile(file).iter_batches(_BATCH):
            size += batch.nbytes
            if size > most_bytes:
                raise _too_large(file, most_bytes)
            yield from enumerate(batch.to_pylist(), count + 1)
            count += batch.num_rows
    except (OSError, pyarrow.ArrowException) as error:
        raise ValueError(f"{file.name} cannot be read as Parquet ({error}): fetch it again.") from error

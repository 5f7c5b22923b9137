"""A second place for every row: JSON lines that are only added to, in a folder, or by it in a data set on the Hub.

A Space's disk is gone when it restarts, so the judgements are brought back from here before anybody judges. Every
process has a file of its own, `ratings-<uuid>.jsonl`; a line is {"at": time, "table": name, "row": {...}}. What was
deleted must be gone here too: a line of the table "forget" wins over all that is kept of its annotator, wherever and
whenever that was written, and the files are written anew without it.
"""

import errno
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from eft_core.durable import sync, write_whole
from eft_core.ratings.rows import BY_NAME, json_line
from eft_core.schema import now
from eft_core.storage import Line, plain

PATTERN = "ratings-*.jsonl"
FORGET = "forget"
_PATIENCE = 5  # seconds that a writer waits for another


@dataclass(frozen=True, slots=True)
class Entry:
    """A line: a row, as JSON has it, or under `FORGET` {"annotator": id, "items": those of their free comparisons}."""

    at: str
    table: str
    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """All lines of a folder, in the order of time, without those of forgotten annotators."""

    entries: tuple[Entry, ...]
    forgotten: frozenset[str]  # annotators


class Folder:
    """A folder of JSON lines; a `storage.Log`. Threads and processes may share it."""

    def __init__(self, folder: Path, lock: AbstractContextManager[Any] | None = None) -> None:
        """`lock` is held too while files change. ValueError if the folder cannot be made."""
        self.folder = folder
        self._lock = nullcontext() if lock is None else lock
        self._file = _new_file(folder)
        self._latest: datetime | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"the folder {folder} cannot be made ({error.strerror}): set EFT_BACKUP.") from error

    def append(self, lines: Sequence[Line]) -> None:
        """Add lines; they are on the disk when this returns. OSError if they may not be: call again with the same."""
        with self._alone():
            at = self._moment().isoformat()
            text = "".join(json_line({"at": at, "table": name, "row": plain(row)}) for name, row in lines)
            try:
                _add(self._file, text)
            except OSError:
                self._file = _new_file(self.folder)  # the old one may end in the middle of a line
                raise
            if any(name == FORGET for name, _ in lines):
                self._clean()

    def kept(self) -> Kept:
        """What is to be brought back; files are cleaned of what must not be. ValueError that names file and line if one
        is damaged, OSError if they cannot be read."""
        with self._alone():
            entries = self._clean()
            times = [datetime.fromisoformat(entry.at) for entry in entries]
            self._latest = max(times + ([self._latest] if self._latest else []), default=None)
        forgotten = frozenset(entry.row["annotator"] for entry in entries if entry.table == FORGET)
        rows = sorted((entry for entry in entries if entry.table != FORGET), key=lambda entry: entry.at)
        return Kept(tuple(rows), forgotten)

    def _moment(self) -> datetime:
        """Now, or just after the latest line that is known: a clock that was put back must not make what is newer look
        older."""
        at = now()
        if self._latest is not None and at <= self._latest:
            at = self._latest + timedelta(microseconds=1)
        self._latest = at
        return at

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else reads or writes here: no thread, no process, no upload."""
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=_PATIENCE)
        except Timeout as error:
            raise OSError(errno.EBUSY, "another process writes it") from error
        try:
            with self._lock:
                yield
        finally:
            lock.release()

    def _clean(self) -> list[Entry]:
        """All entries but those of forgotten annotators; files that have such are written anew, without them."""
        files = {file: list(_entries(file)) for file in sorted(self.folder.glob(PATTERN))}
        marks = [entry.row for lines in files.values() for entry, _ in lines if entry.table == FORGET]
        annotators = {mark["annotator"] for mark in marks}
        items = {item for mark in marks for item in mark["items"]}
        kept: list[Entry] = []
        for file, lines in files.items():
            stay = [(entry, line) for entry, line in lines if not _is_of(entry, annotators, items)]
            if len(stay) < len(lines):
                write_whole(file, b"".join(line for _, line in stay))
            kept += (entry for entry, _ in stay)
        return kept


def _new_file(folder: Path) -> Path:
    return folder / f"ratings-{uuid.uuid4()}.jsonl"


def _is_of(entry: Entry, annotators: set[str], items: set[str]) -> bool:
    """Whether a line holds something of these annotators, or of the items of their free comparisons."""
    match entry.table:
        case "annotators":
            return entry.row["id"] in annotators
        case "items":
            return entry.row["id"] in items
        case "generations":
            return entry.row["item"] in items
        case _:
            return entry.table != FORGET and entry.row.get("annotator") in annotators


def _entries(file: Path) -> Iterator[tuple[Entry, bytes]]:
    """A file's entries, and the lines that they are; one without its end is torn, by a process that was killed, and
    was never confirmed."""
    raw = file.read_bytes()
    for number, line in enumerate(raw[: raw.rfind(b"\n") + 1].splitlines(keepends=True), 1):
        yield _entry(line, f"line {number} of {file}"), line


def _entry(line: bytes, where: str) -> Entry:
    try:
        entry = Entry(**json.loads(line))
        wanted = ("annotator", "items") if entry.table == FORGET else ("id",)
        whole = (entry.table == FORGET or entry.table in BY_NAME) and all(name in entry.row for name in wanted)
        whole = whole and datetime.fromisoformat(entry.at).tzinfo is not None
    except (ValueError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise ValueError(f"{where} is damaged: mend it, or take it out, then start again.")
    return entry


# --- files


def _add(file: Path, text: str) -> None:
    """Durably at the end of a file, which is opened every time: another process may have replaced it."""
    is_new = not file.exists()
    with file.open("ab") as stream:
        stream.write(text.encode())
        stream.flush()
        os.fsync(stream.fileno())
    if is_new:
        sync(file.parent)

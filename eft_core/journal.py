"""A file that survives its writer: JSON lines, a head and then one line a result, appended as they come.

Whoever is killed in the middle of a line, or finds the disk full, loses that line alone. One writer at a time; the head
says what is run, and a file of something else is refused. Of a damaged file, as the power may leave one, the lines that
can be read go on, and the file is kept beside it. Pure of models; loads no torch.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from eft_core.durable import write_whole

log = logging.getLogger(__name__)
MOST_LINES = 2_000_000


def digest(head: Mapping[str, Any]) -> str:
    """A name for what is run, in 16 hexadecimal digits: the same head, the same name."""
    text = json.dumps(head, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def parse(text: str, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The head and the lines of a journal. A last line without its end is a torn one and left out.

    ValueError that names the line if it is no journal.
    """
    whole = text[: text.rfind("\n") + 1].split("\n")[:-1]
    if len(whole) > MOST_LINES:
        raise ValueError(f"{name} has more than {MOST_LINES:,} lines: it is no run of EFT Lab.")
    values = [_object(line, number, name) for number, line in enumerate(whole, 1)]
    if not values:
        raise ValueError(f"{name} is empty: open a file that was saved here.")
    return values[0], values[1:]


def _object(line: str, number: int, name: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"line {number} of {name} is no JSON object: open a file that was saved here.")
    return value


class Busy(ValueError):
    """Another process, or another visitor's run, writes this file now."""


class Journal:
    """A journal open for writing; a context manager. `lines` are those of earlier runs.

    ValueError if the file is another run's, or somebody else writes it now.
    """

    def __init__(self, path: Path, head: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        """`head` says what is run, the same whenever it goes on; `about` (versions, date) is the first writer's."""
        self.path = path
        self._lock = FileLock(f"{path}.lock")
        self._file: FileIO | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise Busy(f"{path} is being written by another process: wait for it, or use another file.") from error
        except OSError as error:
            raise ValueError(f"{path} cannot be written ({error.strerror}): set EFT_DATA_DIR to a folder.") from error
        try:
            self.lines = self._begun(head, about)
        except OSError as error:
            self.close()
            raise self._unwritten(error) from error
        except BaseException:
            self.close()
            raise

    def _begun(self, head: Mapping[str, Any], about: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The lines that are there; a new file gets its head, a torn line is cut off, and what is damaged left out."""
        raw = self.path.read_bytes() if self.path.exists() else b""
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):
            os.truncate(self.path, len(whole))
        whole = self._mended(whole)
        self._file = self.path.open("ab", buffering=0)
        if not whole:
            self.append({"head": dict(head), **about})
            return []
        first, lines = parse(whole.decode(), self.path.name)
        if first.get("head") != json.loads(json.dumps(head)):
            raise ValueError(f"{self.path} holds another run: choose another file, or remove it.")
        return lines

    def _mended(self, whole: bytes) -> bytes:
        """The lines that can be read, if the first one can: else there is nothing to go on with. The file as it was
        found is kept if anything was left out."""
        lines = whole.splitlines(keepends=True)
        sound = [line for line in lines if _reads(line)]
        if len(sound) == len(lines):
            return whole
        kept = b"".join(sound) if sound[:1] == lines[:1] else b""
        damaged = Path(f"{self.path}.damaged")
        write_whole(damaged, whole)
        write_whole(self.path, kept)
        log.warning(
            "%s was damaged: %d lines could not be read; the file is kept as %s.",
            self.path,
            len(lines) - kept.count(b"\n"),
            damaged,
        )
        return kept

    def append(self, values: Mapping[str, Any]) -> None:
        """One line more. It is the operating system's when this returns: the process may be killed, the line stays.
        ValueError if it cannot be written; then the file is as it was."""
        text = json.dumps(values, ensure_ascii=True, separators=(",", ":"), allow_nan=False) + "\n"
        assert self._file is not None, "it is open until `close`"
        try:
            _add(self._file, text.encode())
        except OSError as error:
            raise self._unwritten(error) from error

    def _unwritten(self, error: OSError) -> ValueError:
        return ValueError(
            f"{self.path} cannot be written ({error.strerror}): make room on its disk, or set EFT_DATA_DIR to another "
            "folder; what it has is kept, so run again to go on."
        )

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _add(file: FileIO, line: bytes) -> None:
    """At the end of a file, all of it or, if there is no room, nothing: no line must stand behind half of one."""
    end, written = os.fstat(file.fileno()).st_size, 0
    try:
        while written < len(line):
            written += file.write(line[written:])
    except OSError:
        file.truncate(end)
        raise


def _reads(line: bytes) -> bool:
    """Whether a line is a JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False

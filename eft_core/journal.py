"""A file that survives its writer: JSON lines, a head and then one line a result, appended as they come.

Whoever is killed in the middle of a line loses that line alone. One writer at a time; the head says what is run, and
a file of something else is refused. Pure of models; loads no torch.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

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
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise Busy(f"{path} is being written by another process: wait for it, or use another file.") from error
        except OSError as error:
            raise ValueError(f"{path} cannot be written ({error.strerror}): set EFT_DATA_DIR to a folder.") from error
        self._file = path.open("a+", encoding="utf-8")
        try:
            self.lines = self._begun(head, about)
        except BaseException:
            self.close()
            raise

    def _begun(self, head: Mapping[str, Any], about: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The lines that are there; a new file gets its head, and a torn line is cut off."""
        self._file.seek(0)
        text = self._file.read()
        whole = text[: text.rfind("\n") + 1]
        if len(whole) < len(text):
            os.truncate(self.path, len(whole.encode()))
        if not whole:
            self.append({"head": dict(head), **about})
            return []
        first, lines = parse(whole, self.path.name)
        if first.get("head") != json.loads(json.dumps(head)):
            raise ValueError(f"{self.path} holds another run: choose another file, or remove it.")
        return lines

    def append(self, values: Mapping[str, Any]) -> None:
        """One line more. It is the operating system's when this returns: the process may be killed, the line stays."""
        self._file.write(json.dumps(values, ensure_ascii=True, separators=(",", ":"), allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

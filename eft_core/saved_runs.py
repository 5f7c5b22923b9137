"""Runs on disk: each a journal of its trials' replies, named by what reproduces it. Loads no torch.

A run that is opened again goes on where it was. Files move between machines: whoever has one can read it, and where
the same weights lie, go on with it.
"""

import datetime
import json
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from eft_core.checkpoint import fingerprint
from eft_core.family import Family
from eft_core.journal import Journal, digest, parse
from eft_core.trials import Reply, Trials

PACKAGES = ("torch", "transformers", "numpy")


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    return {name: version(name) for name in PACKAGES}


def head_of(trials: Trials, family: Family) -> dict[str, Any]:
    """What reproduces a run: the trials, and which weights every member has."""
    members = sorted({str(member): member for each in trials.settings for member in each.policy.members()}.items())
    places = {name: family.checkpoint(member) for name, member in members}
    return trials.to_dict() | {"members": {name: fingerprint(p.folder(), p.file) for name, p in places.items()}}


def path_of(trials: Trials, family: Family, folder: Path) -> Path:
    """Where the run of these trials is saved, now or later."""
    return folder / f"{trials.kind}-{digest(head_of(trials, family))}.jsonl"


class SavedRun:
    """A run open for writing; a context manager. `replies` are those that are there, by trial."""

    def __init__(self, path: Path, trials: Trials, family: Family) -> None:
        """ValueError if the file holds another run, or is being written elsewhere."""
        about = {"versions": versions(), "date": datetime.date.today().isoformat()}
        self._journal = Journal(path, head_of(trials, family), about)
        self.path = path
        self.replies: dict[int, Reply] = {}
        try:
            self.replies = _replies(self._journal.lines, trials)
        except ValueError:
            self._journal.close()
            raise

    def add(self, reply: Reply) -> None:
        """Keep a reply; it is on disk when this returns."""
        self._journal.append(reply.to_dict())
        self.replies[reply.trial] = reply

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._journal.close()


def read_run(text: str, name: str) -> tuple[Trials, dict[int, Reply]]:
    """A run's trials and replies from the text of its file; `name` is for messages. ValueError if it is none."""
    first, lines = parse(text, name)
    trials = Trials.from_dict(first.get("head"))
    return trials, _replies(lines, trials)


def _replies(lines: list[dict[str, Any]], trials: Trials) -> dict[int, Reply]:
    replies = (Reply.from_dict(line, len(trials)) for line in lines)
    return {reply.trial: reply for reply in replies}


def as_text(trials: Trials, family: Family, replies: Mapping[int, Reply]) -> str:
    """A run as the text of its file, replies in order: what a visitor takes home."""
    head = {"head": head_of(trials, family), "versions": versions(), "date": datetime.date.today().isoformat()}
    lines = [head, *(replies[trial].to_dict() for trial in sorted(replies))]
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)


def tidy(folder: Path, most_bytes: int, latest: Path | None = None) -> None:
    """Remove the runs that were written longest ago until the folder is small enough. `latest` was written last,
    whatever the clock said."""
    found = []
    for file in folder.glob("*.jsonl"):
        with suppress(FileNotFoundError):  # another run is tidying too
            found.append((file == latest, file.stat().st_mtime, file.stat().st_size, file))
    total = 0
    for _, _, size, file in sorted(found, reverse=True):
        total += size
        if total > most_bytes:
            file.unlink(missing_ok=True)
            Path(f"{file}.lock").unlink(missing_ok=True)

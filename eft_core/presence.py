"""Who has a database file open: everybody a share of a lock, and whoever puts another file in its place all of it.

The lock is the operating system's (flock) on a file beside the database, so that of a process that died nothing is
left. Where a file system knows no locks, nobody can be known of, and nothing is refused.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Elsewhere(Exception):
    """Another process has the file open, or is putting another in its place."""


def taken(file: Path) -> int | None:
    """A share, to be given back by `given_back`; None where there are no locks. `Elsewhere` while it is replaced."""
    return _locked(file, fcntl.LOCK_SH)


def given_back(share: int | None) -> None:
    if share is not None:
        os.close(share)


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Nobody else has the file open, or opens it, while the block runs. `Elsewhere` if somebody has."""
    share = _locked(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        given_back(share)


def _locked(file: Path, kind: int) -> int | None:
    try:
        handle = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:  # a folder that cannot be written: whoever opens the database itself will be told
        return None
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise Elsewhere from error
    except OSError:  # no locks on this file system
        os.close(handle)
        return None
    return handle

"""A SQLite database as a file: whether it is sound, a copy of it while others write, another file put in its place.

What is replaced is kept beside it under another name. The step is finished by `settled` if a crash came in between, so
that at no moment a database with its judgements gone could be taken for a new one.
"""

import os
import shutil
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

from eft_core.database import PATIENCE, Unavailable, reason
from eft_core.durable import put_in_place, sync

_MAGIC = b"SQLite format 3\0"
_MOST_PAGES = 2**24  # a number beyond it is rather a first page that is damaged too
_LOGS = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a database, by the name's end


def trouble(file: Path) -> str:
    """What is wrong with the database of a file, in SQLite's words; "" if nothing. All of it is read.

    `Unavailable` if that cannot be told now."""
    try:
        if not file.stat().st_size:
            return "the file is empty"
        with closing(sqlite3.connect(file, timeout=PATIENCE)) as connection:
            found = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
            foreign = connection.execute("PRAGMA foreign_key_check").fetchone() if found == "ok" else None
    except sqlite3.OperationalError as error:  # a lock, or a disk that fails: nothing is said of the file
        raise Unavailable(reason(error)) from error
    except OSError as error:
        raise Unavailable(f"the database {file} cannot be read ({error.strerror}): try again.") from error
    except sqlite3.DatabaseError as error:
        return str(error)
    if foreign is not None:
        return f"a row of {foreign[0]} refers to nothing"
    return "" if found == "ok" else found.replace("\n", " ")


def copied(source: Path, target: Path) -> None:
    """One state of a database, whoever writes it meanwhile, as a file without a log (SQLite's online backup).

    sqlite3.Error or OSError if it cannot be read or written; then there is no `target`."""
    try:
        address = f"{source.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as here, closing(sqlite3.connect(target)) as there:
            here.backup(there)
            there.execute("PRAGMA journal_mode = DELETE")
        sync(target)
    except (sqlite3.Error, OSError):
        removed(target)
        raise


def replaced(new: Path, file: Path, why: str, at: datetime) -> Path | None:
    """Put a finished database in the place of another; where that one is kept, if there was one. Nobody may have either
    open (`presence.alone`). OSError if it cannot be done."""
    kept = _kept_beside(file, why, at) if file.exists() else None
    put_in_place(new, _next(file))  # from here on the step is decided
    settled(file)
    return kept


def settled(file: Path) -> bool:
    """Finish a replacement that was decided; whether there was one to finish."""
    new = _next(file)
    if not new.exists():
        return False
    for end in _LOGS:  # they are the old one's, and SQLite would work them into the new one
        Path(f"{file}{end}").unlink(missing_ok=True)
    put_in_place(new, file)
    return True


def made_whole(file: Path, copy: Path) -> bool:
    """SQLite opens no file that is shorter than its own first page says. Make a copy of such a one, with its log, in
    which noughts stand for what is missing; whether it is one."""
    with file.open("rb") as stream:
        head = stream.read(100)
    # the file format's page size and number of pages (SQLite's documentation, "Database File Format", 1.3)
    page, pages = int.from_bytes(head[16:18]), int.from_bytes(head[28:32])
    whole = (65536 if page == 1 else page) * pages
    if not head.startswith(_MAGIC) or file.stat().st_size >= whole or pages > _MOST_PAGES:
        return False
    shutil.copy(file, copy)
    os.truncate(copy, whole)
    if Path(f"{file}-wal").exists():
        shutil.copy(f"{file}-wal", f"{copy}-wal")
    return True


def left_over(file: Path) -> bool:
    """Whether a database is gone and its log with the latest judgements is there."""
    log = Path(f"{file}-wal")
    return not file.exists() and log.exists() and log.stat().st_size > 0


def removed(file: Path) -> None:
    """A database and its logs, if they are there, are no more."""
    for end in ("", *_LOGS):
        Path(f"{file}{end}").unlink(missing_ok=True)


def _next(file: Path) -> Path:
    return Path(f"{file}.next")


def _kept_beside(file: Path, why: str, at: datetime) -> Path:
    """A second name for the database and its log: no byte is written, for the disk may be full."""
    kept = file.with_name(f"{file.stem}-{why}-{at:%Y%m%dT%H%M%S.%f}{file.suffix}")
    for end in ("", "-wal"):
        here, there = f"{file}{end}", f"{kept}{end}"
        try:
            os.link(here, there)
        except FileNotFoundError:  # there need not be a log
            continue
        except OSError:  # a file system without second names
            shutil.copy2(here, there)
    sync(file.parent)
    return kept

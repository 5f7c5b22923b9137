"""Files that are whole whatever dies: written beside their place, flushed to the disk, and put there in one step.

A reader finds the old file or the new one, also after the power went. Raises OSError; loads nothing of ours.
"""

import os
from pathlib import Path


def write_whole(file: Path, content: bytes) -> None:
    """Replace a file's content, or make it; what was there stays if this fails. One writer at a time."""
    part = file.with_suffix(".part")
    try:
        part.write_bytes(content)
        put_in_place(part, file)
    except OSError:
        part.unlink(missing_ok=True)  # a disk that is full should not keep what nobody will read
        raise


def put_in_place(new: Path, file: Path) -> None:
    """Give a finished file its name, in the stead of whatever has it."""
    sync(new)
    new.replace(file)
    sync(file.parent)


def sync(place: Path) -> None:
    """A file's content, or the names in a folder: on the disk when this returns."""
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

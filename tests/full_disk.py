"""A small disk that can be filled and emptied, for tests of what happens when it is full; not a test.

A file system of its own in memory, which takes the right to mount one (as root, in a container that allows it). Where
that is not given, a limit on the size of this process's files and of those it starts stands in for it: writing then
fails just as surely, if in other words.
"""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = 4_000_000


class Disk:
    """`fill` it and nothing more can be written; `free` it again."""

    def __init__(self, folder: Path, mounted: bool) -> None:
        self.folder, self.mounted = folder, mounted
        self._limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._filler = folder / "filler"

    def fill(self, *processes: int) -> None:
        """`processes` are those that write, if that is not this one."""
        if not self.mounted:
            for process in processes or (os.getpid(),):
                resource.prlimit(process, resource.RLIMIT_FSIZE, (0, self._limit[1]))
            return
        with self._filler.open("ab", buffering=0) as file:
            for size in (65536, 4096, 1):
                while _written(file.fileno(), b"x" * size):
                    pass

    def free(self, *processes: int) -> None:
        if self.mounted:
            self._filler.unlink(missing_ok=True)
            return
        for process in processes or (os.getpid(),):
            resource.prlimit(process, resource.RLIMIT_FSIZE, self._limit)


def _written(handle: int, content: bytes) -> bool:
    try:
        return os.write(handle, content) > 0
    except OSError:
        return False


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    disk = Disk(folder, mounted)
    try:
        yield disk
    finally:
        disk.free()
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)

"""Which comparisons a visitor's page has under way, so that its Stop reaches all of them, the queued ones too.

gradio's own cancel reaches only the last event that the browser sent; this is the sure way, and it is server side.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Runs:
    """Stop flags by visitor. The lock guards the table: runs of many visitors come and go in their own threads."""

    def __init__(self) -> None:
        self._flags: dict[str, set[threading.Event]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def under_way(self, visitor: str) -> Iterator[threading.Event]:
        """The stop flag of a new run, known until the block is left."""
        flag = threading.Event()
        with self._lock:
            self._flags.setdefault(visitor, set()).add(flag)
        try:
            yield flag
        finally:
            with self._lock:
                flags = self._flags[visitor]
                flags.discard(flag)
                if not flags:
                    del self._flags[visitor]

    def stop(self, visitor: str) -> int:
        """Set all flags of a visitor; how many there were."""
        with self._lock:
            flags = tuple(self._flags.get(visitor, ()))
        for flag in flags:
            flag.set()
        return len(flags)

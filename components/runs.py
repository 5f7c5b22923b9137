"""Which runs a visitor's page has under way, so that its Stop reaches all of them, the queued ones too.

gradio's own cancel reaches only the last event that the browser sent; this is the sure way, and it is server side. A
page that is closed stops its runs by the same way, and of two comparisons the later one ends the earlier.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Runs:
    """Stop flags by visitor. The lock guards the table: runs of many visitors come and go in their own threads."""

    def __init__(self) -> None:
        self._flags: dict[str, dict[threading.Event, str]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def under_way(self, visitor: str, kind: str = "", instead: bool = False) -> Iterator[threading.Event]:
        """The stop flag of a new run, known until the block is left. `instead`: it ends those of its kind."""
        if instead:
            self.stop(visitor, kind)
        flag = threading.Event()
        with self._lock:
            self._flags.setdefault(visitor, {})[flag] = kind
        try:
            yield flag
        finally:
            with self._lock:
                flags = self._flags[visitor]
                del flags[flag]
                if not flags:
                    del self._flags[visitor]

    def stop(self, visitor: str, kind: str | None = None) -> int:
        """Set all flags of a visitor, or those of a kind; how many there were."""
        with self._lock:
            flags = [flag for flag, of in self._flags.get(visitor, {}).items() if kind in (None, of)]
        for flag in flags:
            flag.set()
        return len(flags)

"""A session's events in batches, one every 100 ms or so, so that Stop and the screen never wait.

A model's forward pass or its loading can take seconds, in which the session says nothing. A thread of its own
reads the session; the reader of the batches is awake all the time and can leave whenever it likes.
"""

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from eft_core.events import TokensDrawn

Item = TypeVar("Item")

INTERVAL = 0.1


def usual() -> float:
    """Seconds between two batches where nobody says otherwise."""
    return INTERVAL


def batches(
    start: Callable[[], Iterator[Item]], stop: threading.Event, interval: Callable[[], float] = usual
) -> Iterator[list[Item]]:
    """Lists of what `start()` yields, one every `interval()` seconds, empty where it said nothing.

    Ends when the stream ends (an exception of the stream is raised here), or soon after `stop` is set. Closing this
    iterator sets `stop`, and the reading thread then closes the stream: the session frees its rows.
    """
    told: _Told[Item] = _Told()
    # In the context of the request: ZeroGPU's package finds there which visitor lends the GPU from their share.
    run = contextvars.copy_context().run
    threading.Thread(target=run, args=(_read, start, stop, told), name="comparison", daemon=True).start()
    try:
        while not stop.is_set():
            told.wait(interval())
            over = told.over  # nothing is told after it
            batch = told.taken()
            if batch or not over:
                yield batch
            if over:
                if told.error is not None:
                    raise told.error
                return
    finally:
        stop.set()


class _Told(Generic[Item]):
    """What the stream told and nobody has taken. `over`: it has ended, with `error` or without one."""

    def __init__(self) -> None:
        self.over = False
        self.error: BaseException | None = None
        self._items: deque[Item] = deque()
        self._begun = False
        self._pressing = threading.Event()

    def add(self, item: Item) -> None:
        """Whoever waits is woken by the first token alone: waking takes more than all that is told meanwhile."""
        self._items.append(item)
        if not self._begun and isinstance(item, TokensDrawn):
            self._begun = True
            self._pressing.set()

    def end(self, error: BaseException | None = None) -> None:
        self.error, self.over = error, True
        self._pressing.set()

    def wait(self, seconds: float) -> None:
        """For so long, or until the first token or the end."""
        self._pressing.wait(seconds)
        self._pressing.clear()

    def taken(self) -> list[Item]:
        return [self._items.popleft() for _ in range(len(self._items))]


def _read(start: Callable[[], Iterator[Item]], stop: threading.Event, told: _Told[Item]) -> None:
    """The thread: pull until the stream or the visitor ends it. Whatever happens, it says that it is over."""
    stream = None
    try:
        if not stop.is_set():
            stream = start()
            for item in stream:
                if stop.is_set():
                    break
                told.add(item)
        told.end()
    except BaseException as error:  # handed over: the reader raises it where it can be shown
        told.end(error)
    finally:
        if stream is not None and hasattr(stream, "close"):
            stream.close()

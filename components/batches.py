"""A session's events in batches, one every 100 ms or so, so that Stop and the screen never wait.

A model's forward pass or its loading can take seconds, in which the session says nothing. A thread of its own
reads the session; the reader of the batches is awake all the time and can leave whenever it likes.
"""

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import TypeVar

from eft_core.events import TokensDrawn

Item = TypeVar("Item")

INTERVAL = 0.1


def usual() -> float:
    """Seconds between two batches where nobody says otherwise."""
    return INTERVAL


class _End:
    """The stream is over, with the exception that ended it or without one."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def batches(
    start: Callable[[], Iterator[Item]], stop: threading.Event, interval: Callable[[], float] = usual
) -> Iterator[list[Item]]:
    """Lists of what `start()` yields, one every `interval()` seconds, empty where it said nothing.

    Ends when the stream ends (an exception of the stream is raised here), or soon after `stop` is set. Closing this
    iterator sets `stop`, and the reading thread then closes the stream: the session frees its rows.
    """
    items: queue.SimpleQueue[Item | _End] = queue.SimpleQueue()
    begun = False
    # In the context of the request: ZeroGPU's package finds there which visitor lends the GPU from their share.
    run = contextvars.copy_context().run
    threading.Thread(target=run, args=(_read, start, stop, items), name="comparison", daemon=True).start()
    try:
        while not stop.is_set():
            batch, end = _gather(items, monotonic() + interval(), hurried=not begun)
            begun = begun or any(isinstance(item, TokensDrawn) for item in batch)
            if batch or end is None:
                yield batch
            if end is not None:
                if end.error is not None:
                    raise end.error
                return
    finally:
        stop.set()


def _gather(items: "queue.SimpleQueue[Item | _End]", deadline: float, hurried: bool) -> tuple[list[Item], _End | None]:
    """What arrives until the deadline, and the end if it is among it. `hurried`: until the first token, if it comes."""
    batch: list[Item] = []
    while (left := deadline - monotonic()) > 0:
        try:
            item = items.get(timeout=left)
        except queue.Empty:
            break
        if isinstance(item, _End):
            return batch, item
        batch.append(item)
        if hurried and isinstance(item, TokensDrawn):
            break
    return batch, None


def _read(start: Callable[[], Iterator[Item]], stop: threading.Event, items: "queue.SimpleQueue[Item | _End]") -> None:
    """The thread: pull until the stream or the visitor ends it. Whatever happens, one `_End` is put."""
    stream = None
    try:
        stream = start()
        for item in stream:
            if stop.is_set():
                break
            items.put(item)
        items.put(_End())
    except BaseException as error:  # handed over: the reader raises it where it can be shown
        items.put(_End(error))
    finally:
        if stream is not None and hasattr(stream, "close"):
            stream.close()

"""The board's lines of token records: `trace` lines, documents of `eft_core.document` in pieces, told once.

The first line of a column says what its tokens share; a token's text is told with the first record that names it.
"""

from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Any

from components.lines import line
from eft_core.document import SCHEMA, header, ids_of, text_values, token_values
from eft_core.events import Done, Event, TokensRecorded
from eft_core.token_text import Texts, TokenTexts
from eft_core.trace import Trace

# Nats travel as whole thousandths: what the strip shows has two digits.
SCALE = 1000
# Seconds. A run shorter than the first shows its text as it comes and its strips at the end: writing, sending and
# painting them meanwhile would slow it down. A longer one shows strips while it runs.
FIRST, EVERY = 1.0, 0.3


class Records:
    """What was told of a run's columns so far; `keys` are theirs, by row. `lines` tells what is due, `rest` all."""

    def __init__(self, texts: TokenTexts, keys: tuple[int, ...], clock: Callable[[], float] = monotonic) -> None:
        self._texts, self._keys, self._clock = texts, keys, clock
        self._told: dict[int, set[int]] = {}
        self._waiting: dict[int, list[Trace]] = {}
        self._due = clock() + FIRST

    def lines(self, events: Iterable[Event]) -> str:
        """The lines that are due after these events: all when the run is done, some now and then, mostly none."""
        done = False
        for event in events:
            done = done or isinstance(event, Done)
            if isinstance(event, TokensRecorded):
                self._waiting.setdefault(event.row, []).append(event.trace)
        return self.rest() if done or self._clock() >= self._due else ""

    def rest(self) -> str:
        """The lines of all that waits."""
        self._due = self._clock() + EVERY
        waiting, self._waiting = self._waiting, {}
        return "".join(self._line(self._keys[row], Trace.join(traces)) for row, traces in waiting.items())

    def _line(self, key: int, trace: Trace) -> str:
        told = self._told.get(key)
        first = {} if told is not None else {"schema": SCHEMA, "scale": SCALE, **header(trace)}
        told = self._told.setdefault(key, set())
        fresh = [each for each in ids_of(trace) if each not in told]
        told.update(fresh)
        return trace_line(key, first, trace, self._texts.of(fresh))


def whole_line(key: int, trace: Trace, texts: TokenTexts) -> str:
    """A column's whole document."""
    return trace_line(key, {"schema": SCHEMA, "scale": SCALE, **header(trace)}, trace, texts.of(ids_of(trace)))


def trace_line(key: int, first: Mapping[str, Any], trace: Trace, texts: Texts) -> str:
    """A piece of a column's document."""
    return line("trace", c=key, **first, tokens=token_values(trace, SCALE), **text_values(texts))

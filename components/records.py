"""The board's lines of token records: `trace` lines, documents of `eft_core.document` in pieces, told once.

The first line of a column says what its tokens share; a token's text is told with the first record that names it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from components.lines import line
from eft_core.document import SCHEMA, header, ids_of, text_values, token_values
from eft_core.events import Event, TokensRecorded
from eft_core.token_text import Texts, TokenTexts
from eft_core.trace import Trace

# Nats travel as whole thousandths: what the strip shows has two digits.
SCALE = 1000


class Records:
    """What was told of a run's columns so far; `keys` are theirs, by row."""

    def __init__(self, texts: TokenTexts, keys: tuple[int, ...]) -> None:
        self._texts, self._keys = texts, keys
        self._told: dict[int, set[int]] = {}

    def lines(self, events: Iterable[Event]) -> str:
        """The lines of what was recorded."""
        return "".join(self._line(event) for event in events if isinstance(event, TokensRecorded))

    def _line(self, event: TokensRecorded) -> str:
        key = self._keys[event.row]
        told = self._told.get(key)
        first = {} if told is not None else {"schema": SCHEMA, "scale": SCALE, **header(event.trace)}
        told = self._told.setdefault(key, set())
        fresh = [each for each in ids_of(event.trace) if each not in told]
        told.update(fresh)
        return trace_line(key, first, event.trace, self._texts.of(fresh))


def whole_line(key: int, trace: Trace, texts: TokenTexts) -> str:
    """A column's whole document."""
    return trace_line(key, {"schema": SCHEMA, "scale": SCALE, **header(trace)}, trace, texts.of(ids_of(trace)))


def trace_line(key: int, first: Mapping[str, Any], trace: Trace, texts: Texts) -> str:
    """A piece of a column's document."""
    return line("trace", c=key, **first, tokens=token_values(trace, SCALE), **text_values(texts))

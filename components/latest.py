"""What every visitor compared last: the server's own record, which the Rate tab judges. The oldest are let go.

A browser never says what an answer was: it could say anything. A judgement is kept with its prompt alone, so answers
within a conversation are not judged.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from eft_core.answering import said_of
from eft_core.config import Request
from eft_core.events import Answer
from eft_core.family import Family
from eft_core.ratings.free import Shown

MOST_VISITORS = 1000
IN_CONVERSATION = (
    "your last comparison had a system prompt or earlier turns, which a judgement is kept without: clear them on "
    "Compare and run it again, then come back."
)


class Latest:
    """Comparisons by visitor. The lock guards the table: many visitors' runs end in their own threads."""

    def __init__(self) -> None:
        self._shown: OrderedDict[str, Shown | None] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, visitor: str) -> Shown | None:
        """None if they compared nothing yet; ValueError if what they compared cannot be judged."""
        with self._lock:
            if visitor not in self._shown:
                return None
            shown = self._shown[visitor]
        if shown is None:
            raise ValueError(IN_CONVERSATION)
        return shown

    def keep(
        self, visitor: str, run: str, family: Family, request: Request, labels: Sequence[str], answers: Sequence[Answer]
    ) -> None:
        """The columns of a run that ended, under its id. One that was run alone joins those of the same prompt."""
        first = request.rows[0]
        said = tuple(said_of(family, label, answer) for label, answer in zip(labels, answers, strict=True))
        shown = Shown(run, family.name, first.prompt, first.sampling, request.limits, said)
        with self._lock:
            before = self._shown.get(visitor)
            if len(said) == 1 and before is not None and _joins(before, shown):
                others = tuple(each for each in before.answers if each.label != said[0].label)
                shown = replace(shown, answers=(*others, *said))
            self._shown[visitor] = None if first.system or first.turns else shown
            self._shown.move_to_end(visitor)
            while len(self._shown) > MOST_VISITORS:
                self._shown.popitem(last=False)


def _joins(before: Shown, shown: Shown) -> bool:
    """Whether both are of one prompt under one way of decoding."""
    return (before.prompt, before.sampling, before.limits) == (shown.prompt, shown.sampling, shown.limits)

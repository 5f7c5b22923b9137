"""What a session says of a running job: drawn tokens and their records in, events out, and all answers at the end."""

import time
from collections.abc import Iterator, Mapping, Sequence

from eft_core.continuation import Drawn
from eft_core.events import Answer, Event, RowFinished, TokensRecorded
from eft_core.recorder import Recorder
from eft_core.trace import Trace
from eft_core.transcript import Transcript

# Seconds that records may wait for more of them: a pass for many costs little more than for a few.
PATIENCE = 0.2


class Narrator:
    """Tells the rows of one job; `recorder` is None where no records are kept. `answers` fills up, by row.

    Where rows run, the job's first one has the number `first`; in events it is 0.
    """

    def __init__(self, transcripts: Sequence[Transcript], recorder: Recorder | None, first: int = 0) -> None:
        self.transcripts, self.answers, self._first = transcripts, dict[int, Answer](), first
        self._recorder, self._taken = recorder, time.perf_counter()

    def opening(self, given: Mapping[int, Trace]) -> Iterator[Event]:
        """What rows were given comes before all that they draw; the transcripts have it already."""
        for row, trace in given.items():
            if (news := self.transcripts[row].news(row, 0.0)) is not None:
                yield news
            if self._recorder is not None:
                yield self._recorded(row, trace)

    def told(self, drawn: Sequence[Drawn], seconds: float) -> Iterator[Event]:
        """The events of one step or cycle."""
        first = self._first
        for each in drawn:
            if each.reason != "failed":
                self.transcripts[each.row - first].take(each)
        for row in dict.fromkeys(each.row - first for each in drawn):
            if (news := self.transcripts[row].news(row, seconds)) is not None:
                yield news
        ended = [each for each in drawn if each.reason]
        if self._recorder is not None:
            for number, trace in self._ready(self._recorder, {each.row for each in ended}).items():
                yield self._recorded(number - first, trace)
        for each in ended:
            row = each.row - first
            tail, self.answers[row] = self.transcripts[row].finish(each, seconds)
            yield RowFinished(row, tail, self.answers[row])

    def _ready(self, recorder: Recorder, ended: set[int]) -> dict[int, Trace]:
        """Records that waited long enough, and those of rows that ended."""
        now = time.perf_counter()
        if recorder.full or now - self._taken > PATIENCE:
            self._taken = now
            return recorder.take()
        return recorder.take(ended) if ended else {}

    def _recorded(self, row: int, trace: Trace) -> TokensRecorded:
        self.transcripts[row].record(trace)
        return TokensRecorded(row, trace)

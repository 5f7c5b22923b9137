"""Rows of several requests in one running batch: they join at a step, leave when they are done, and fail alone.

What may run in one batch has one key: a family's plain rows, or those of one way to speculate. All batches step once a
round. When a step fails, the requests in it are read anew and go on apart, from the tokens that they have: whoever is
at fault fails then, and nobody else. From the engine's thread only.
"""

import logging
from collections.abc import Callable, Collection, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from eft_core.continuation import Continuation, Drawn
from eft_core.model import Model
from eft_core.policy import Member, Policy
from eft_core.recorder import Look, Recorder

log = logging.getLogger(__name__)


class Loop(Protocol):
    """Plain or speculative decoding of rows that come and go (`autoregressive.Stepper`, `speculative.Speculating`).

    `torn`: rows were being taken in, and that failed half-way: the batch is of no use any more.
    """

    torn: bool

    @property
    def rows(self) -> list[int]: ...
    def prepare(
        self, rows: Mapping[int, Continuation], models: Mapping[Member, Model], drafters: Mapping[int, Policy]
    ) -> Generator[None, None, Any]:
        """Read the prompts of new rows, giving way after every piece; what it returns is for `take_in`."""

    def take_in(self, prepared: Any) -> None:
        """Let rows run from the next step on."""

    def step(self) -> list[Drawn]:
        """One step or cycle of all rows."""

    def record(self, recorder: Recorder, drawn: Sequence[Drawn]) -> None:
        """Hand over what some of the last step's tokens were drawn from."""

    def remove(self, rows: Collection[int]) -> None:
        """Let rows go, ended or not."""

    def gain(self) -> float | None:
        """The rows are gone: what speculation gained by its own costs, where that can be told."""

    def size(self, device: str) -> int:
        """Bytes of keys and values on a device."""

    def free(self) -> None:
        """Let go of everything."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Rows that are to join a running batch: which one, how an empty one is made, and all that the rows bring.

    `make` gets what tells whether a token was its row's last by the row's text; `stopped(place, token)` tells it of a
    row by its place in `rows`. `looks` are the rows' for the recorder, () without one. `owner` is whose rows they are.
    """

    key: Hashable
    make: Callable[[Callable[[int, int], bool]], Loop]
    rows: Sequence[Continuation]
    models: Mapping[Member, Model]
    drafters: Sequence[Policy]
    stopped: Callable[[int, int], bool]
    owner: Hashable
    looks: Sequence[Look] = ()


class Share:
    """The rows of one request in a running batch. Their numbers are `first` and those after it."""

    def __init__(self, crowd: "Crowd", entry: Entry, first: int) -> None:
        self.entry, self.first = entry, first
        self.recorder = (
            Recorder({first + place: look for place, look in enumerate(entry.looks)}) if entry.looks else None
        )
        self.gain: float | None = None
        self._crowd, self.key = crowd, entry.key
        self._rows = {first + place: row for place, row in enumerate(entry.rows)}  # those that have not ended
        self._ids: dict[int, list[int]] = {row: [] for row in self._rows}
        self._inbox: list[Drawn] = []
        self._ended = self._apart = False
        self._failed: Exception | None = None

    @property
    def pressing(self) -> bool:
        """Whether `drawn` must be asked soon: a row ended, records wait, the batch is gone. Tokens alone may wait."""
        gone = not self._rows or self._apart or self._failed is not None
        return gone or self._ended or bool(self.recorder and self.recorder.full)

    def reading(self) -> Generator[None, None, None]:
        """Read the prompts, giving way after every piece; then the rows run."""
        yield from self._crowd.join(self, self.key, self._rows)

    def drawn(self) -> Generator[list[Drawn], None, None]:
        """What was drawn since the last time, until all rows have ended. Raises what failed."""
        while self._rows or self._inbox:
            if self._failed is not None:
                raise self._failed
            if self._apart:
                self._apart = False
                yield from ([] for _ in self.reading())
            drawn, self._inbox, self._ended = self._inbox, [], False
            yield drawn

    def met(self, row: int, token: int) -> bool:
        """Whether a token brought its row's text to a stop string."""
        return self.entry.stopped(row - self.first, token)

    def take(self, loop: Loop, drawn: Sequence[Drawn]) -> None:
        """What a step drew for these rows."""
        if self.recorder is not None:
            loop.record(self.recorder, drawn)
        for each in drawn:
            self._ids[each.row].append(each.token)
            if each.reason:
                self._ended = True
                del self._rows[each.row]
        self._inbox += drawn

    def part(self, error: Exception | None) -> None:
        """The batch is gone: go on from the tokens that are there, in a batch of one's own, or fail."""
        self._failed, self._apart = error, True
        self.key = (self.entry.key, self.first)
        for number, row in self._rows.items():
            ids, self._ids[number] = tuple(self._ids[number]), []
            self._rows[number] = replace(
                row,
                prompt=(*row.prompt, *ids),
                own={member: (*prompt, *ids) for member, prompt in row.own.items()},
                given=row.given + len(ids),
                most=row.most - len(ids),
            )

    def drafters(self) -> dict[int, Policy]:
        """Who drafts for the rows that have not ended."""
        return {row: self.entry.drafters[row - self.first] for row in self._rows}

    def leave(self) -> None:
        """Take the rows away, ended or not."""
        self._crowd.leave(self, self.key, list(self._rows))


class Crowd:
    """All running batches of a process."""

    def __init__(self, tokens: int = 0) -> None:
        """`tokens`: drawn before."""
        self.tokens = tokens
        self._loops: dict[Hashable, Loop] = {}
        self._ahead: dict[Hashable, int] = {}  # tokens a row that a batch's last cycle gave beyond one
        self._next = 0  # row number
        self._shares: dict[int, Share] = {}  # by row
        self._running: dict[Hashable, Share] = {}  # by owner

    @property
    def rows(self) -> int:
        """Rows that run. From any thread."""
        return sum(len(loop.rows) for loop in list(self._loops.values()))

    def size(self, device: str) -> int:
        """Bytes of keys and values on a device."""
        return sum(loop.size(device) for loop in self._loops.values())

    def share(self, owner: Hashable) -> Share | None:
        """This owner's rows in a running batch, or that just ended there; None if there are none."""
        return self._running.get(owner)

    def batched(self, key: Hashable) -> bool:
        """Whether a batch of this key runs."""
        return key in self._loops

    def enter(self, entry: Entry) -> Share:
        """Rows that are about to join; `leave` takes them away."""
        share = Share(self, entry, self._next)
        self._next += len(entry.rows)
        return share

    def join(self, share: Share, key: Hashable, rows: Mapping[int, Continuation]) -> Generator[None, None, None]:
        """Read the rows' prompts, and let them run."""
        entry = share.entry
        fresh = entry.make(self._met)
        prepared = yield from fresh.prepare(rows, entry.models, share.drafters())
        loop = self._loops.setdefault(key, fresh)
        self._shares |= dict.fromkeys(rows, share)
        try:
            loop.take_in(prepared)
        except Exception as error:
            if loop.torn:
                self._fall_apart(key, error, share)
            raise
        self._running[entry.owner] = share

    def step(self) -> None:
        """A step or cycle of every batch.

        Beside others, a batch whose cycle gave several tokens a row rests while others draw as many: visitors get on
        alike, and rows that speculate meet others to share their cycles with, which cost nearly the same for one
        request as for two."""
        for key, loop in list(self._loops.items()):
            if self._ahead.get(key) and len(self._loops) > 1:
                self._ahead[key] -= 1
                continue
            rows = len(loop.rows)
            try:
                drawn = loop.step()
            except Exception as error:  # whose fault it is shows when they run apart
                self._fall_apart(key, error)
                continue
            self.tokens += len(drawn)
            self._ahead[key] = max(0, len(drawn) // max(1, rows) - 1)
            found: dict[Share, list[Drawn]] = {}
            for each in drawn:
                found.setdefault(self._shares[each.row], []).append(each)
            for share, theirs in found.items():
                share.take(loop, theirs)
            self._remove(key, [each.row for each in drawn if each.reason])

    def leave(self, share: Share, key: Hashable, rows: Collection[int]) -> None:
        """Take a request's rows away, those that still run."""
        self._running.pop(share.entry.owner, None)
        if key in self._loops:
            self._remove(key, [row for row in rows if row in self._shares])

    def _remove(self, key: Hashable, rows: Collection[int]) -> None:
        """Let rows go; a batch without rows goes too."""
        if not rows:
            return
        loop = self._loops[key]
        shares = {self._shares.pop(row) for row in rows}
        loop.remove(rows)
        if not loop.rows:
            del self._loops[key]
            self._ahead.pop(key, None)
            gain = loop.gain()
            for share in shares:
                share.gain = gain
            loop.free()

    def _fall_apart(self, key: Hashable, error: Exception, newcomer: Share | None = None) -> None:
        """A batch failed: a lone request fails, several go on apart."""
        loop = self._loops.pop(key)
        self._ahead.pop(key, None)
        shares = {share for share in self._shares.values() if share.key == key}
        log.error("a step failed for %d requests", len(shares), exc_info=error)
        error.__traceback__ = None  # its frames hold what must go
        loop.free()
        self._shares = {row: share for row, share in self._shares.items() if share not in shares}
        for share in shares - {newcomer}:
            self._running.pop(share.entry.owner, None)
            share.part(error if len(shares) == 1 else None)

    def _met(self, row: int, token: int) -> bool:
        return self._shares[row].met(row, token)

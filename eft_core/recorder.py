"""Keeps the logits of the last few steps, and turns many of them into records at once.

A pass of `measures` costs hardly more for thirty tokens than for one, so looking at every token as it is drawn would
take a tenth of decoding's time. B running rows, T new tokens, M members, V vocabulary.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eft_core.events import Fate
from eft_core.measures import Lens, measured, trace_of
from eft_core.policy import Member, Policy
from eft_core.trace import Trace

# Few enough tokens of a pass for a processor's cache; enough to wait for; and the memory that waiting may take.
_PASS = 48
_TOKENS = 128
_BYTES = 64 << 20

# What a row is looked at through: its policy, and the members that run for it.
Look = tuple[Policy, tuple[Member, ...]]


@dataclass(frozen=True, slots=True)
class Laws:
    """What one step drew from, as the loop has it: every member's logits and log pi, (B, T, V) each.

    rows: the running rows, in the order of B. columns[row]: where its members are among the logits.
    """

    rows: Sequence[int]
    columns: Sequence[Mapping[Member, int]] | Mapping[int, Mapping[Member, int]]
    logits: Sequence[Tensor]
    logprobs: Tensor

    def of(self, place: int, row: int, members: Sequence[Member], count: int) -> list[Tensor]:
        """Log pi and the members' logits at the first `count` places of a row: (1, count, V) each."""
        columns = self.columns[row]
        whole = [self.logprobs, *(self.logits[columns[member]] for member in members)]
        if self.logprobs.shape[:2] == (1, count):
            return whole
        return [law[place : place + 1, :count] for law in whole]


# What one row drew in one step: the step's laws, the row's place in them, and its tokens.
_Kept = tuple[Laws, int, Sequence[tuple[int, Fate]]]


class Recorder:
    """The records of a request's rows, one look a row. `keep` after every step, `take` now and then."""

    def __init__(self, looks: Sequence[Look] | Mapping[int, Look]) -> None:
        self._looks = looks
        _keep_freed_memory()
        self._lenses: dict[Look, Lens] = {}
        self._waiting: dict[int, list[_Kept]] = {}  # by row, what nobody looked at yet
        self._places = 0  # of the longest wait, at most
        self._bytes = 0  # that are kept from being freed, about

    def keep(self, laws: Laws, drawn: Mapping[int, Sequence[tuple[int, Fate]]]) -> None:
        """What a step drew from, and what each row drew at the first places of T. Nothing is copied or computed."""
        for row, found in drawn.items():
            self._waiting.setdefault(row, []).append((laws, laws.rows.index(row), found))
        rows, places, size = laws.logprobs.shape
        self._places += places
        self._bytes += 4 * rows * places * size * (1 + len(laws.logits))

    @property
    def full(self) -> bool:
        """Whether it is time to `take`, whatever the clock says."""
        return self._places >= _TOKENS or self._bytes >= _BYTES

    @torch.inference_mode()
    def take(self, rows: Collection[int] | None = None) -> dict[int, Trace]:
        """The records of all that was kept since the last time, by row; of some `rows` only, if given."""
        taken = [row for row in self._waiting if rows is None or row in rows]
        found = {row: self._looked_at(row, self._waiting.pop(row)) for row in taken}
        if not self._waiting:
            self._places = self._bytes = 0
        return found

    def _looked_at(self, row: int, kept: Sequence[_Kept]) -> Trace:
        """The trace of a row's tokens, a pass for every few of them."""
        look = self._looks[row]
        tokens = np.array([token for _, _, drawn in kept for token, _ in drawn])
        fates = "".join(fate[0] for _, _, drawn in kept for _, fate in drawn)
        parts = [laws.of(place, row, look[1], len(drawn)) for laws, place, drawn in kept]
        start, found = 0, list[np.ndarray]()
        lens = self._lenses.get(look)
        if lens is None:
            lens = self._lenses[look] = Lens.of(*look, parts[0][0].device)
        for steps in _passes(parts):
            laws = torch.cat([part for law in zip(*steps, strict=True) for part in law], 1)
            laws = laws.view(1 + len(look[1]), -1, laws.shape[-1])  # (1 + M, T, V)
            end = start + laws.shape[1]
            ids = torch.from_numpy(tokens[start:end]).to(laws.device)
            found.append(measured(laws[0], laws[1:], ids, lens))
            start = end
        return trace_of(np.concatenate(found), tokens, fates, lens)


def _keep_freed_memory() -> None:
    """glibc hands large blocks back to the system when they are freed, and touching new ones costs a third of a pass.

    Freeing one of 32 MB, never touched, raises its threshold for good, to what it would reach by itself in time.
    """
    torch.empty(31 << 20, dtype=torch.uint8)


def _passes(parts: Sequence[list[Tensor]]) -> Iterator[Sequence[list[Tensor]]]:
    """Steps cut into stretches of not much more than `_PASS` tokens, all about as long."""
    total = sum(part[0].shape[1] for part in parts)
    most = -(-total // -(-total // _PASS))
    start = tokens = 0
    for number, part in enumerate(parts):
        tokens += part[0].shape[1]
        if tokens >= most:
            yield parts[start : number + 1]
            start, tokens = number + 1, 0
    if tokens:
        yield parts[start:]

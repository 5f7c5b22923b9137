"""Keeps the logits of the last few steps, and turns many of them into records at once.

A pass of `measures` costs hardly more for thirty tokens than for one, so looking at every token as it is drawn would
take a tenth of decoding's time. B running rows, T new tokens, M members, V vocabulary.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

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
    columns: Sequence[Mapping[Member, int]]
    logits: Sequence[Tensor]
    logprobs: Tensor

    def of(self, place: int, row: int, members: Sequence[Member], count: int) -> list[Tensor]:
        """Log pi and the members' logits at the first `count` places of a row: (1, count, V) each."""
        columns = self.columns[row]
        whole = [self.logprobs, *(self.logits[columns[member]] for member in members)]
        if self.logprobs.shape[:2] == (1, count):
            return whole
        return [law[place : place + 1, :count] for law in whole]


@dataclass(slots=True)
class _Waiting:
    """What one row drew in the last steps, and nobody looked at yet."""

    parts: list[list[Tensor]] = field(default_factory=list)  # 1 + M laws (1, T, V) a step
    tokens: list[int] = field(default_factory=list)
    fates: str = ""
    size: int = 0  # bytes that are kept from being freed, about


class Recorder:
    """The records of a request's rows, one look a row. `keep` after every step, `take` now and then."""

    def __init__(self, looks: Sequence[Look]) -> None:
        self._looks = looks
        _keep_freed_memory()
        self._lenses: dict[Look, Lens] = {}
        self._waiting: dict[int, _Waiting] = {}

    def keep(self, laws: Laws, drawn: Mapping[int, Sequence[tuple[int, Fate]]]) -> None:
        """What a step drew from, and what each row drew at the first places of T. Nothing is copied or computed."""
        for place, row in enumerate(laws.rows):
            if (found := drawn.get(row)) is None:
                continue
            waiting = self._waiting.setdefault(row, _Waiting())
            waiting.parts.append(laws.of(place, row, self._looks[row][1], len(found)))
            for token, fate in found:
                waiting.tokens.append(token)
                waiting.fates += fate[0]
            waiting.size += 4 * laws.logprobs[0].numel() * (1 + len(laws.logits))

    @property
    def full(self) -> bool:
        """Whether it is time to `take`, whatever the clock says."""
        waiting = self._waiting.values()
        return any(len(each.tokens) >= _TOKENS for each in waiting) or sum(each.size for each in waiting) >= _BYTES

    @torch.inference_mode()
    def take(self, rows: Collection[int] | None = None) -> dict[int, Trace]:
        """The records of all that was kept since the last time, by row; of some `rows` only, if given."""
        taken = [row for row in self._waiting if rows is None or row in rows]
        return {row: self._looked_at(self._waiting.pop(row), self._looks[row]) for row in taken}

    def _looked_at(self, waiting: _Waiting, look: Look) -> Trace:
        """The trace of a row's tokens, a pass for every few of them."""
        tokens, start, found = np.array(waiting.tokens), 0, list[np.ndarray]()
        lens = self._lenses.get(look)
        if lens is None:
            lens = self._lenses[look] = Lens.of(*look, waiting.parts[0][0].device)
        for steps in _passes(waiting.parts):
            laws = torch.cat([part for law in zip(*steps, strict=True) for part in law], 1)
            laws = laws.view(1 + len(look[1]), -1, laws.shape[-1])  # (1 + M, T, V)
            end = start + laws.shape[1]
            ids = torch.from_numpy(tokens[start:end]).to(laws.device)
            found.append(measured(laws[0], laws[1:], ids, lens))
            start = end
        return trace_of(np.concatenate(found), tokens, waiting.fates, lens)


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

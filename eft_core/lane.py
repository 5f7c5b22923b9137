"""Members that run the same rows of a batch: their caches, and where their prompts are not the rows' own.

B running rows, T new tokens.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from eft_core.kv_cache import RaggedCache
from eft_core.policy import Member

# What a member's mask and positions are made for: its number format and its device.
Format = tuple[torch.dtype, torch.device]
# A prompt of a member's own, against the row's: tokens longer, its last token, and the place of that.
Shift = tuple[int, int, int]


class Lane:
    """Members that run the same rows, in one order, on prompts of one length; the order changes when rows leave."""

    def __init__(self, rows: tuple[int, ...], shifts: tuple[Shift, ...], caches: dict[Member, RaggedCache]) -> None:
        self.rows, self.caches = list(rows), caches
        self.index: Tensor | None = None  # places of these rows in the batch; None: all of them, in order
        self.shifts = dict(zip(rows, shifts, strict=True)) if shifts else {}
        self.shift: Tensor | None = None  # (rows, 1): tokens that these members' prompts are longer; None: equal ones
        self.last = self.ends = torch.empty(0)  # (rows, 1): the last token of these members' prompts, and its place

    @property
    def shifted(self) -> tuple[Shift, ...]:
        """The rows' shifts in their order; () where there are none."""
        return tuple(self.shifts[row] for row in self.rows) if self.shifts else ()

    def joined(
        self, rows: tuple[int, ...], shifts: tuple[Shift, ...], cache: RaggedCache
    ) -> tuple[tuple[int, ...], tuple[Shift, ...], RaggedCache]:
        """Rows and shifts of a member that ran `rows`, and runs this lane's too from now on."""
        mine = self.shifted
        if not shifts and not mine:
            return (*rows, *self.rows), (), cache
        # Rows of a member that sees every prompt as it is: shifted by nothing. Ends are not known here, so the lane of
        # such rows keeps apart by never meeting position -1.
        none: Shift = (0, 0, -1)
        return (
            (*rows, *self.rows),
            (*(shifts or [none] * len(rows)), *(mine or [none] * len(self.rows))),
            cache,
        )

    def reach(self, longest: int) -> int:
        """The largest position of these members, where `longest` is that of the rows."""
        return longest + max((self.shifts[row][0] for row in self.rows), default=0) if self.shifts else longest

    def begun(self, ids: Tensor, positions: Tensor) -> Tensor:
        """ids (rows, T), where a prompt's last token is these members' own."""
        return ids if self.shift is None else torch.where(positions == self.ends, self.last, ids)


def shifts_of(rows: Sequence[tuple[int, ...]], own: Sequence[tuple[int, ...]]) -> tuple[Shift, ...]:
    """What a member's own prompts differ in from the rows'; () where they do not."""
    if list(rows) == list(own):
        return ()
    return tuple((len(mine) - len(row), mine[-1], len(mine) - 1) for row, mine in zip(rows, own, strict=True))


def by_rows(
    users: Mapping[Member, tuple[tuple[int, ...], tuple[Shift, ...]]],
) -> dict[tuple[tuple[int, ...], tuple[Shift, ...]], list[Member]]:
    """Members grouped by the rows that they run and how their prompts stand to the rows'."""
    groups: dict[tuple[tuple[int, ...], tuple[Shift, ...]], list[Member]] = {}
    for member, rows in users.items():
        groups.setdefault(rows, []).append(member)
    return groups

"""Ragged rows: keys and values of rows that stand at different positions, in one rectangle per layer (SPEED.md 2.6).

New keys are scattered to each row's own positions; the mask is "key position <= query position". Rolling back is not
advancing: a slot past a row's length is hidden by the mask and overwritten later. B rows, H heads, S slots, D head
size, T new tokens. The library's own attention code runs on it unchanged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

# Reads are cut at the longest row, rounded up to this many slots, so that shapes stay constant for a while; on a CPU,
# where no shape is recorded and every slot takes its time, to fewer.
BLOCK, FINE = 64, 16


@dataclass(frozen=True, slots=True)
class Places:
    """Where T new tokens of B rows go. Built once a step and shared by all members that run the same rows.

    rows: (B, 1), positions: (B, T) int64. reach: slots that are read. mask: (B, 1, T, reach) additive, 0 or the
    lowest number.
    """

    rows: Tensor
    positions: Tensor
    reach: int
    mask: Tensor

    def part(self, place: int) -> "Places":
        """The place of one of the T tokens."""
        one = slice(place, place + 1)
        return Places(self.rows, self.positions[:, one], self.reach, self.mask[:, :, one])

    def windowed(self, window: int) -> "Places":
        """The same, where a query sees the last `window` positions alone, its own included (a sliding window)."""
        if self.reach <= window:
            return self
        far = counted(self.reach, self.mask.device) <= self.positions[:, None, :, None] - window
        return replace(self, mask=self.mask.masked_fill(far, torch.finfo(self.mask.dtype).min))

    def on(self, device: torch.device) -> "Places":
        """The same on another device: layers of one model may lie on several."""
        return Places(self.rows.to(device), self.positions.to(device), self.reach, self.mask.to(device))


def places(positions: Tensor, longest: int, dtype: torch.dtype, capacity: int) -> Places:
    """Places for `positions` (B, T); `longest` is the largest position in it, known to the host."""
    block = FINE if positions.device.type == "cpu" else BLOCK
    reach = min(-(-(longest + 1) // block) * block, capacity)
    count = len(positions)
    mask = additive(counted(reach, positions.device), positions, dtype)
    return Places(counted(count, positions.device).view(count, 1), positions, reach, mask)


def additive(slots: Tensor, positions: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask of queries at positions (B, T) over slots (S,), (B, 1, T, S): 0 up to the position, then the lowest."""
    count, new = positions.shape
    hidden = slots > positions.view(count, 1, new, 1)
    return torch.where(hidden, torch.finfo(dtype).min, 0.0).to(dtype)


@lru_cache(maxsize=256)
def counted(size: int, device: torch.device) -> Tensor:
    """0 to size - 1. Kept, because making it anew for every pass takes a tenth of a small model's pass."""
    return torch.arange(size, device=device)


class RaggedLayer(CacheLayerMixin):
    """One layer's keys and values, (rows, H, slots, D) each: views of one memory, (rows, slots, 2 H D), so that a
    token lies in one stretch. `places` must be set before every forward. It grows with what is read; if `fixed` it has
    all slots at once and stays where it is until `copy_rows`."""

    is_sliding = False
    memory: Tensor
    keys: Tensor
    values: Tensor

    def __init__(self, rows: int, capacity: int, fixed: bool = False) -> None:
        super().__init__()
        self.rows, self.capacity = rows, capacity
        self._first = capacity if fixed else BLOCK
        self.places: Places | None = None
        self._sizes: list[tuple[int, int]] = []  # heads and head size, of keys and of values
        self._readable: tuple[int, Tensor, Tensor] | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Room for keys and values such as these, (B, H, T, D)."""
        self._sizes = [(part.shape[1], part.shape[3]) for part in (key_states, value_states)]
        self._use(self._zeros(key_states, self._first))
        self.is_initialized = True

    def _zeros(self, like: Tensor, slots: int) -> Tensor:
        # Zeros, not empty memory: a hidden slot has weight zero, and 0 * nan would be nan.
        return like.new_zeros(self.rows, min(slots, self.capacity), sum(heads * size for heads, size in self._sizes))

    def _use(self, memory: Tensor) -> None:
        """Keep everything in `memory` from now on."""
        self.memory, self._readable = memory, None
        parts = memory.split([heads * size for heads, size in self._sizes], -1)
        self.keys, self.values = (
            part.unflatten(-1, size).transpose(1, 2) for part, size in zip(parts, self._sizes, strict=True)
        )

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write (B, H, T, D) at the places and return everything up to `reach`, (B, H, reach, D)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        where = self._reserved()
        for part, new in ((self.keys, key_states), (self.values, value_states)):
            part.transpose(1, 2).index_put_((where.rows, where.positions), new.transpose(1, 2))
        return self._read(where.reach)

    def write(self, both: Tensor) -> tuple[Tensor, Tensor]:
        """`update` with keys and values in one, (B, T, 2 H, D): one write."""
        if not self.is_initialized:
            self.lazy_initialization(*both.transpose(1, 2).chunk(2, 1))
        where = self._reserved()
        self.memory.index_put_((where.rows, where.positions), both.flatten(2))
        return self._read(where.reach)

    def _read(self, reach: int) -> tuple[Tensor, Tensor]:
        # The views of the last step mostly do again.
        if self._readable is None or self._readable[0] != reach:
            self._readable = (reach, self.keys[: self.rows, :, :reach], self.values[: self.rows, :, :reach])
        return self._readable[1:]

    def _reserved(self) -> Places:
        """The places, once there is room: `reach` slots at least, twice as many as before at best."""
        assert self.places is not None, "RaggedCache.at(places) comes before every forward"
        reach, slots = self.places.reach, self.memory.shape[1]
        if reach > slots:
            memory = self._zeros(self.memory, max(reach, min(2 * slots, self.capacity)))
            memory[:, :slots] = self.memory[: self.rows]
            self._use(memory)
        device = self.memory.device
        return self.places if self.places.positions.device == device else self.places.on(device)

    def copy_rows(self, sources: Tensor) -> None:
        """Row i becomes a copy of row sources[i]: one prefilled prompt becomes many rows."""
        self.rows = len(sources)
        if self.is_initialized:
            self._use(self.memory[sources.to(self.memory.device)])

    def keep(self, sources: Sequence[int]) -> None:
        """Keep these rows in this order. Only rows that move are copied; their sources lie behind the kept ones."""
        for target, source in enumerate(sources if self.is_initialized else ()):
            if target != source:
                self.memory[target].copy_(self.memory[source])
        self.rows, self._readable = len(sources), None

    def reserve(self, capacity: int) -> None:
        """Room for positions up to `capacity`: a batch reads all its rows up to the longest."""
        if self.is_initialized and self._first == self.capacity < capacity:  # fixed: all slots at once
            memory = self.memory.new_zeros(len(self.memory), capacity, self.memory.shape[2])
            memory[:, : self.memory.shape[1]] = self.memory
            self._use(memory)
        self._first = capacity if self._first == self.capacity else self._first
        self.capacity = max(self.capacity, capacity)

    def append(self, other: "RaggedLayer") -> None:
        """The rows of another layer join behind these, with all that they wrote."""
        rows = self.rows + other.rows
        if other.is_initialized and not self.is_initialized:  # prompts of one token wrote nothing yet
            self._sizes, self.is_initialized = other._sizes, True
            self._use(self._zeros(other.memory, other.memory.shape[1]))
        if self.is_initialized:
            slots = other.memory.shape[1] if other.is_initialized else 0
            old, kept = self.memory, self.rows
            if rows > old.shape[0] or slots > old.shape[1]:
                longest = max(slots, old.shape[1])
                self._use(old.new_zeros(max(rows, old.shape[0]), longest, old.shape[2]))
                self.memory[:kept, : old.shape[1]] = old[:kept]
            else:  # a row that was here may have left nan behind what is written now, and 0 * nan is nan
                self.memory[kept:rows, slots:] = 0
            if slots:
                self.memory[kept:rows, :slots] = other.memory[: other.rows]
        self.rows, self._readable = rows, None

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return (self.places.reach if self.places else query_length), 0

    def get_seq_length(self) -> int:
        """A whole-batch length does not exist; models that ask only use it when they get no positions."""
        return 0

    def get_max_length(self) -> int:
        return self.capacity


class RaggedCache(Cache):
    """The cache of one member: one `RaggedLayer` a layer, for `rows` rows of at most `capacity` positions.

    `passes` by shape: those recorded on its memory, and how often others came (`captured`). New rows begin anew.
    """

    def __init__(self, layers: int, rows: int, capacity: int, fixed: bool = False) -> None:
        self.ragged = [RaggedLayer(rows, capacity, fixed) for _ in range(layers)]
        self.capacity = capacity
        self.passes: dict[tuple[int, ...], int | Callable[[Tensor, Places], Tensor]] = {}
        super().__init__(layers=list(self.ragged))

    def at(self, where: Places) -> "RaggedCache":
        """Direct the next forward's keys to `where`."""
        for layer in self.ragged:
            layer.places = where
        return self

    def copy_rows(self, sources: Tensor) -> None:
        self.passes.clear()
        for layer in self.ragged:
            layer.copy_rows(sources)

    def keep(self, sources: Sequence[int]) -> None:
        self.passes.clear()
        for layer in self.ragged:
            layer.keep(sources)

    def reserve(self, capacity: int) -> None:
        """Room for positions up to `capacity`."""
        if capacity > self.capacity:
            self.passes.clear()
            for layer in self.ragged:
                layer.reserve(capacity)
            self.capacity = capacity

    def append(self, other: "RaggedCache") -> None:
        """The rows of another cache of the same member join behind these; the other is empty then."""
        self.reserve(other.capacity)
        other.reserve(self.capacity)
        self.passes.clear()
        for layer, more in zip(self.ragged, other.ragged, strict=True):
            layer.append(more)
        other.free()

    @property
    def size(self) -> int:
        """Bytes of keys and values that are taken now."""
        return sum(layer.memory.nbytes for layer in self.ragged if layer.is_initialized)

    def free(self) -> None:
        """Let go of all memory now, whoever still holds the object."""
        self.passes.clear()
        self.ragged.clear()
        self.layers.clear()


def without(rows: list[int], gone: set[int]) -> list[int]:
    """Indices that remain of `rows` when `gone` leave: each hole is filled from the end, so few rows move."""
    kept = [index for index, row in enumerate(rows) if row not in gone]
    order = [index for index in kept if index < len(kept)]
    tail = iter(index for index in kept if index >= len(kept))
    present = set(order)
    return [index if index in present else next(tail) for index in range(len(kept))]

"""Ragged rows: keys and values of rows that stand at different positions, in one rectangle per layer (SPEED.md 2.6).

New keys are scattered to each row's own positions; the mask is "key position <= query position". Rolling back is not
advancing: a slot past a row's length is hidden by the mask and overwritten later. B rows, H heads, S slots, D head
size, T new tokens. The library's own attention code runs on it unchanged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

# Reads are cut at the longest row, rounded up to this many slots, so that shapes stay constant for a while.
BLOCK = 64


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


def places(positions: Tensor, longest: int, dtype: torch.dtype, capacity: int) -> Places:
    """Places for `positions` (B, T); `longest` is the largest position in it, known to the host."""
    reach = min(-(-(longest + 1) // BLOCK) * BLOCK, capacity)
    slots = torch.arange(reach, device=positions.device)
    hidden = slots > positions[:, None, :, None]
    mask = torch.zeros(hidden.shape, dtype=dtype, device=positions.device)
    rows = torch.arange(len(positions), device=positions.device)[:, None]
    return Places(rows, positions, reach, mask.masked_fill_(hidden, torch.finfo(dtype).min))


class RaggedLayer(CacheLayerMixin):
    """One layer's keys and values, (rows, H, slots, D). `places` must be set before every forward."""

    is_sliding = False
    keys: Tensor
    values: Tensor

    def __init__(self, rows: int, capacity: int) -> None:
        super().__init__()
        self.rows, self.capacity = rows, capacity
        self.places: Places | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys, self.values = (self._zeros(like, BLOCK) for like in (key_states, value_states))
        self.is_initialized = True

    def _zeros(self, like: Tensor, slots: int) -> Tensor:
        # Zeros, not empty memory: a hidden slot has weight zero, and 0 * nan would be nan.
        shape = (self.rows, like.shape[1], min(slots, self.capacity), like.shape[3])
        return torch.zeros(shape, dtype=like.dtype, device=like.device)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write (B, H, T, D) at the places and return everything up to `reach`, (B, H, reach, D)."""
        assert self.places is not None, "RaggedCache.at(places) comes before every forward"
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        positions, reach = self.places.positions, self.places.reach
        if reach > self.keys.shape[2]:
            self._grow(reach)
        rows = self.places.rows
        self.keys[rows, :, positions] = key_states.transpose(1, 2)
        self.values[rows, :, positions] = value_states.transpose(1, 2)
        return self.keys[: self.rows, :, :reach], self.values[: self.rows, :, :reach]

    def _grow(self, reach: int) -> None:
        """Room for `reach` slots at least, twice as many as now at best, `capacity` at most."""
        slots = max(reach, min(2 * self.keys.shape[2], self.capacity))
        keys, values = self._zeros(self.keys, slots), self._zeros(self.values, slots)
        keys[:, :, : self.keys.shape[2]] = self.keys[: self.rows]
        values[:, :, : self.values.shape[2]] = self.values[: self.rows]
        self.keys, self.values = keys, values

    def copy_rows(self, sources: Tensor) -> None:
        """Row i becomes a copy of row sources[i]: one prefilled prompt becomes many rows."""
        self.rows = len(sources)
        if self.is_initialized:
            self.keys, self.values = self.keys[sources], self.values[sources]

    def keep(self, sources: Sequence[int]) -> None:
        """Keep these rows in this order. Only rows that move are copied; their sources lie behind the kept ones."""
        moved = [(target, source) for target, source in enumerate(sources) if target != source]
        if moved and self.is_initialized:
            targets, origins = (torch.tensor(part, device=self.keys.device) for part in zip(*moved, strict=True))
            self.keys[targets] = self.keys[origins]
            self.values[targets] = self.values[origins]
        self.rows = len(sources)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return (self.places.reach if self.places else query_length), 0

    def get_seq_length(self) -> int:
        """A whole-batch length does not exist; models that ask only use it when they get no positions."""
        return 0

    def get_max_length(self) -> int:
        return self.capacity


class RaggedCache(Cache):
    """The cache of one member: one `RaggedLayer` a layer, for `rows` rows of at most `capacity` positions."""

    def __init__(self, layers: int, rows: int, capacity: int) -> None:
        self.ragged = [RaggedLayer(rows, capacity) for _ in range(layers)]
        super().__init__(layers=list(self.ragged))

    def at(self, where: Places) -> "RaggedCache":
        """Direct the next forward's keys to `where`."""
        for layer in self.ragged:
            layer.places = where
        return self

    def copy_rows(self, sources: Tensor) -> None:
        for layer in self.ragged:
            layer.copy_rows(sources)

    def keep(self, sources: Sequence[int]) -> None:
        for layer in self.ragged:
            layer.keep(sources)

    def free(self) -> None:
        """Let go of all memory now, whoever still holds the object."""
        self.ragged.clear()
        self.layers.clear()


def without(rows: list[int], gone: set[int]) -> list[int]:
    """Indices that remain of `rows` when `gone` leave: each hole is filled from the end, so few rows move."""
    kept = [index for index, row in enumerate(rows) if row not in gone]
    order = [index for index in kept if index < len(kept)]
    tail = iter(index for index in kept if index >= len(kept))
    present = set(order)
    return [index if index in present else next(tail) for index in range(len(kept))]

"""The floor: bare forwards of exactly the shapes that a run had, timed alone beside the run (SPEED.md 2.2, 2.8).

What a decode loop takes beyond them is its own: drawing, combining, masks, bookkeeping, Python.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eft_core.benchmark.timing import Clock, Output
from eft_core.kv_cache import Places, RaggedCache
from eft_core.model import Model
from eft_core.policy import Member


@dataclass(frozen=True, slots=True)
class Call:
    """One forward that happened: the model, ids (B, T), where they went, and the cache's rows and slots."""

    model: Model
    ids: Tensor
    where: Places
    last_only: bool
    capacity: int


class Recording:
    """A model that notes its forwards in `calls`, which several models share; otherwise it is the model."""

    def __init__(self, model: Model, calls: list[Call]) -> None:
        self._model, self._calls = model, calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def forward(self, ids: Tensor, where: Places, cache: RaggedCache, last_only: bool = False) -> Tensor:
        self._calls.append(Call(self._model, ids, where, last_only, cache.ragged[0].capacity))
        return self._model.forward(ids, where, cache, last_only)


def recording(models: Mapping[Member, Model]) -> tuple[dict[Member, Model], list[Call]]:
    """The models, and the list into which they write what is asked of them."""
    calls: list[Call] = []
    recorded: Any = {member: Recording(model, calls) for member, model in models.items()}
    return recorded, calls


@torch.inference_mode()
def replayed(calls: list[Call], clock: Clock) -> float:
    """Seconds of the bare forwards of `calls`, in their order, on caches that hold zeros and have grown already."""
    caches: dict[tuple[int, int], RaggedCache] = {}
    for call in calls:
        key = (id(call.model), len(call.ids))
        if key not in caches or caches[key].ragged[0].keys.shape[2] < call.where.reach:
            caches[key] = call.model.cache(len(call.ids), call.capacity)
            call.model.forward(call.ids, call.where, caches[key], call.last_only)
    started = clock()
    for call in calls:
        call.model.forward(call.ids, call.where, caches[id(call.model), len(call.ids)], call.last_only)
    return clock() - started


@dataclass(frozen=True, slots=True)
class Shares:
    """Of each round: the bare forwards' part of the decode loop."""

    shares: tuple[float, ...]
    forwards: int


def shares(
    run: Callable[[Mapping[Member, Model], Callable[[], None], int], Output],
    models: Mapping[Member, Model],
    rounds: int,
    clock: Clock,
) -> Shares:
    """Run and replay in turns. `run(models, began, round)` decodes and calls `began` once the prompts are read."""
    found, forwards = [], 0
    for number in range(rounds + 1):
        recorded, calls = recording(models)
        output = run(recorded, calls.clear, number)
        assert output.decoding is not None, "our own loops tell their decoding time"
        floor = replayed(calls, clock)
        if number:  # the first round warms up
            found.append(floor / output.decoding)
            forwards += len(calls)
    return Shares(tuple(found), forwards // max(1, rounds))

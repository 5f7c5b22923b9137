"""Networks in memory: each once, whoever uses it, and the least recently used first to go when room is needed.

One store serves all families of a process, so that visitors of different families share the machine and its budget.
Only the engine's thread changes it.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field

import torch
from torch import nn

from eft_core.located import Checkpoint, Quantisation
from eft_core.model import Model


@dataclass(frozen=True, slots=True)
class Residence:
    """Weights as they lie in memory: which ones, where, and in which format. Equal residences are one copy."""

    checkpoint: Checkpoint
    device: str
    dtype: str
    quantise: Quantisation = "none"


@dataclass(slots=True)
class Held:
    """A network, the bytes of its weights, its adapters, and what families made of it: that goes when it goes."""

    network: nn.Module
    size: int
    adapters: set[str] = field(default_factory=set)
    models: dict[Hashable, Model] = field(default_factory=dict)


class Weights:
    """The networks by residence, the least recently used first."""

    def __init__(self) -> None:
        self._held: OrderedDict[Residence, Held] = OrderedDict()

    def __contains__(self, residence: Residence) -> bool:
        return residence in self._held

    def residences(self) -> list[Residence]:
        """What is in memory, the least recently used first. From any thread."""
        return list(self._held)

    def size(self, device: str) -> int:
        """Bytes of the weights on a device. From any thread."""
        return sum(held.size for place, held in list(self._held.items()) if place.device == device)

    def get(self, residence: Residence) -> Held | None:
        """What is held there, or None. From any thread; its place in the order stays."""
        return self._held.get(residence)

    def held(self, residence: Residence, read: Callable[[], nn.Module], size: int) -> Held:
        """The network and what belongs to it, read if it is not there; the most recently used from now on."""
        if residence not in self._held:
            self._held[residence] = Held(read(), size)
        self._held.move_to_end(residence)
        return self._held[residence]

    def make_room(self, device: str, short: int, kept: Collection[Residence]) -> list[Residence]:
        """Let go of at least `short` bytes on a device, least recently used first, but of nothing that is `kept`."""
        gone = []
        for residence in self.residences():
            if short <= 0:
                break
            if residence.device == device and residence not in kept:
                short -= self._held[residence].size
                gone.append(residence)
        self.drop(gone)
        return gone

    def drop(self, residences: Collection[Residence]) -> None:
        """Let go of these, and of the models made of them."""
        for residence in residences:
            self._held.pop(residence, None)
        if any(residence.device.startswith("cuda") for residence in residences):
            torch.cuda.empty_cache()

"""The memory plan: what a request will need on every device, computed from small files before anything is loaded.

Weights at each member's number format, one copy of those that members share, and a rectangle of keys and values for
every row that needs a member (SPEED.md 2.6). A plan that cannot fit is refused with advice.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from eft_core.checkpoint import Facts


@dataclass(frozen=True, slots=True)
class Need:
    """What a request asks of one member. `copy` says which weights these are: members with equal ones share them, but
    for `extra` bytes (a LoRA adapter's). `loaded`: they are in memory already."""

    member: str
    facts: Facts
    rows: int
    slots: int
    copy: Hashable
    loaded: bool = False
    device: str = "cpu"
    dtype: str = "float32"
    quantise: str = "none"
    extra: int = 0


@dataclass(frozen=True, slots=True)
class MemberMemory:
    """Bytes of one member; weights that another one brings count there, and those in memory cost nothing new."""

    member: str
    weights: int
    cache: int
    loaded: bool
    device: str = "cpu"
    dtype: str = "float32"
    shared: bool = False


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes of all members of a request, and what every device has left for them."""

    members: tuple[MemberMemory, ...]
    available: Mapping[str, int]

    @property
    def total(self) -> int:
        """Bytes of all weights and caches, loaded or not."""
        return sum(part.weights + part.cache for part in self.members)

    @property
    def needed(self) -> int:
        """Bytes that are not taken yet."""
        return sum(self.needed_on(device) for device in self.available)

    def needed_on(self, device: str) -> int:
        """Bytes that are not taken yet on one device."""
        return sum(part.cache + part.weights * (not part.loaded) for part in self.members if part.device == device)

    def __str__(self) -> str:
        return "; ".join(self._said_of(device) for device in self.available) + "."

    def _said_of(self, device: str) -> str:
        here = [part for part in self.members if part.device == device]
        weights, cache = size(sum(part.weights for part in here)), size(sum(part.cache for part in here))
        models = "1 model" if len(here) == 1 else f"{len(here)} models"
        formats = ", ".join(dict.fromkeys(part.dtype for part in here))
        left = f"{size(self.available[device])} available"
        return f"{models} in {formats} on {device}: {weights} of weights and {cache} of cache, {left}"

    @property
    def fits(self) -> bool:
        return all(self.needed_on(device) <= left for device, left in self.available.items())

    def check(self) -> None:
        """ValueError with advice if the request cannot fit."""
        for device, left in self.available.items():
            if (needed := self.needed_on(device)) > left:
                where = "" if len(self.available) == 1 else f" on {device}"
                raise ValueError(
                    f"this needs {size(needed)} of memory{where} and {size(left)} is available: use fewer columns, "
                    f"smaller sizes or a shorter answer{self._smaller(device)}, or raise EFT_MEMORY_GB if you set it."
                )

    def _smaller(self, device: str) -> str:
        """What would make the members smaller that are not small yet, or move them."""
        formats = {part.dtype for part in self.members if part.device == device}
        if "float32" in formats:
            return ", set EFT_DTYPE=bfloat16 or EFT_QUANTISE=int8"
        if formats & {"bfloat16", "float16"}:
            return ", set EFT_QUANTISE=int8" + (", or EFT_DEVICE=sharded" if device.startswith("cuda") else "")
        return ", set EFT_DEVICE=sharded" if device != "sharded" else ""


def plan(needs: Sequence[Need], available: Mapping[str, int]) -> MemoryPlan:
    """The plan for these needs. `available`: bytes by device."""
    brought: set[Hashable] = set()
    parts = []
    for need in needs:
        number = bytes_of(need.dtype)
        shared = need.copy in brought
        brought.add(need.copy)
        weights = need.extra + (0 if shared else need.facts.weight_bytes(number, need.quantise))
        cache = need.facts.cache_bytes(need.rows, need.slots, number)
        kind = need.dtype if need.quantise == "none" else need.quantise
        parts.append(MemberMemory(need.member, weights, cache, need.loaded, need.device, kind, shared))
    return MemoryPlan(tuple(parts), {device: available[device] for device in dict.fromkeys(n.device for n in needs)})


def bytes_of(dtype: str) -> int:
    """Bytes of one number."""
    return {"float32": 4, "bfloat16": 2, "float16": 2}[dtype]


def size(count: float) -> str:
    """A number of bytes for people: 3.1 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"

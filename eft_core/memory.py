"""The memory plan: what a request will need, computed from small files before anything is loaded.

Weights at the run's number format, and a rectangle of keys and values for every row that needs a member
(SPEED.md 2.6). A plan that cannot fit is refused with advice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eft_core.checkpoint import Facts


@dataclass(frozen=True, slots=True)
class MemberMemory:
    """Bytes of one member; a member that is in memory already costs nothing new."""

    member: str
    weights: int
    cache: int
    loaded: bool


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes of all members of a request, and what the device has left."""

    members: tuple[MemberMemory, ...]
    available: int
    device: str
    dtype: str

    @property
    def total(self) -> int:
        """Bytes of all weights and caches, loaded or not."""
        return sum(part.weights + part.cache for part in self.members)

    @property
    def needed(self) -> int:
        """Bytes that are not taken yet."""
        return self.total - sum(part.weights for part in self.members if part.loaded)

    def __str__(self) -> str:
        count = len(self.members)
        weights = size(sum(part.weights for part in self.members))
        cache = size(sum(part.cache for part in self.members))
        models = "1 model" if count == 1 else f"{count} models"
        return f"{models} in {self.dtype} on {self.device}: {weights} of weights and {cache} of cache, {self._left()}."

    def _left(self) -> str:
        return f"{size(self.available)} available"

    @property
    def fits(self) -> bool:
        return self.needed <= self.available

    def check(self) -> None:
        """ValueError with advice if the request cannot fit."""
        if not self.fits:
            raise ValueError(
                f"this needs {size(self.needed)} of memory and {size(self.available)} is available: use fewer columns, "
                "smaller sizes or a shorter answer, set EFT_DTYPE=bfloat16, or raise EFT_MEMORY_GB if you set it."
            )


def plan(
    members: Mapping[str, Facts],
    rows: Mapping[str, int],
    slots: int,
    dtype: str,
    device: str,
    available: int,
    loaded: Sequence[str] = (),
) -> MemoryPlan:
    """The plan for `members`, each with `rows[name]` rows of `slots` positions."""
    number = bytes_of(dtype)
    parts = (
        MemberMemory(name, facts.weight_bytes(number), facts.cache_bytes(rows[name], slots, number), name in loaded)
        for name, facts in members.items()
    )
    return MemoryPlan(tuple(parts), available, device, dtype)


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

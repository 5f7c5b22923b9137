"""How long the next draft is: measured acceptance, measured costs, and the length that promises most (SPEED.md 2.3).

Everything here is known before a token is drawn, so any choice keeps the law. Lengths count drafted tokens; 0 is a
plain step, which is what keeps speculation from losing. Host arithmetic only: no torch.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from eft_core.drafter import ALIKE

# The longest draft that adapting considers: beyond it gains are flat even at acceptance .95 (SPEED.md 2.2).
MOST = 16
# A measured cost counts less by this factor with each one that comes after it.
_FADE = 0.9
# Until something is measured: what a pass of several tokens costs more than one of one token, and each token beyond.
_JUMP, _SLOPE = 0.15, 0.05
# Tests after which a row's acceptance no longer becomes more certain, and those that a new row starts with.
_MEMORY, _START = 200.0, 24.0
_DOUBT = 4.0


@dataclass(slots=True)
class Acceptance:
    """Chance of acceptance by place in the draft, from counts that fade. place i: all before it were accepted."""

    reached: list[float] = field(default_factory=lambda: [0.0] * MOST)
    accepted: list[float] = field(default_factory=lambda: [0.0] * MOST)
    _chances: list[float] | None = None

    def add(self, accepted: int, length: int) -> None:
        """A cycle accepted the first `accepted` of `length` drafts."""
        for place in range(min(accepted + 1, length, MOST)):
            self.reached[place] += 1.0
            self.accepted[place] += place < accepted
        self._fade(_MEMORY)

    def overlap(self, chance: float) -> None:
        """Nothing was drafted, but the first draft would have been accepted with this chance."""
        self.reached[0] += 1.0
        self.accepted[0] += chance
        self._fade(_MEMORY)

    @property
    def mean(self) -> float:
        """The chance at any place, pulled towards what is usual while little is known."""
        return (sum(self.accepted) + _DOUBT * ALIKE) / (sum(self.reached) + _DOUBT)

    @property
    def measured(self) -> float | None:
        return self.mean if sum(self.reached) >= 1 else None

    def tokens(self, most: int) -> list[float]:
        """Expected tokens of a cycle by draft length 0 to MOST, where the row can draft at most `most`."""
        if self._chances is None:
            mean = self.mean
            pairs = zip(self.accepted, self.reached, strict=True)
            self._chances = [(hit + 2 * _DOUBT * mean) / (seen + 2 * _DOUBT) for hit, seen in pairs]
        expected, chance = [1.0], 1.0
        for place, each in enumerate(self._chances):
            chance *= each
            expected.append(expected[-1] + chance if place < most else expected[-1])
        return expected

    def copy(self) -> "Acceptance":
        """The start of a new row: the same chances, less certain."""
        started = Acceptance(list(self.reached), list(self.accepted))
        started._fade(_START)
        return started

    def _fade(self, most: float) -> None:
        self._chances = None
        total = sum(self.reached)
        if total > most:
            self.reached = [count * most / total for count in self.reached]
            self.accepted = [count * most / total for count in self.accepted]


@dataclass(slots=True)
class Costs:
    """Seconds of a cycle by draft length, for one set of running rows: a plain step, and a line for 1 and more."""

    plain: float | None = None
    draft: float = 0.0  # one draft pass, from the plain step
    _sums: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)  # 1, k, k k, seconds, k seconds
    _spread: frozenset[int] = frozenset()

    def add(self, length: int, seconds: float) -> None:
        """A cycle of this length took so long. A single slow one counts twice the usual at most."""
        usual = self.seconds(length)
        if usual is not None and (self.plain is not None if length == 0 else self._spread):
            seconds = min(seconds, 2 * usual)
        if length == 0:
            self.plain = seconds if self.plain is None else self.plain + (1 - _FADE) * (seconds - self.plain)
            return
        new = (1.0, length, length * length, seconds, length * seconds)
        self._sums = tuple(_FADE * old + each for old, each in zip(self._sums, new, strict=True))  # type: ignore[assignment]
        self._spread |= {length}

    def seconds(self, length: int) -> float | None:
        """Predicted seconds of a cycle; None before anything was measured."""
        if length == 0 and self.plain is not None:
            return self.plain
        if not self._spread:
            return None if self.plain is None else self._guess(length)
        weight, total, squares, times, products = self._sums
        centre, middle = total / weight, times / weight
        variance = squares / weight - centre * centre
        slope = (products / weight - centre * middle) / variance if len(self._spread) > 1 and variance > 0.05 else 0.0
        if slope <= 0:
            slope = self.draft * (1 + _SLOPE) or middle / (centre + 4)
        return max(middle + slope * (length - centre), middle / 4)

    def _guess(self, length: int) -> float:
        assert self.plain is not None, "a plain step was measured"
        verify = self.plain - self.draft
        return self.plain + length * self.draft + verify * (_JUMP + _SLOPE * length if length else 0.0)


class Pace:
    """What speculation has measured: acceptance by kind of row, costs by the rows that ran together.

    One for a session: the next request starts from what the last ones learned. `clock` counts seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.predicted: float | None = None  # gain over plain decoding of the latest run, None if it is not known
        self._acceptance: dict[object, Acceptance] = {}
        self._costs: dict[object, Costs] = {}

    def acceptance(self, kind: object) -> Acceptance:
        return self._acceptance.setdefault(kind, Acceptance())

    def measured(self, kind: object) -> float | None:
        """The mean acceptance of a kind of rows, None if nothing was measured yet."""
        return self._acceptance[kind].measured if kind in self._acceptance else None

    def costs(self, rows: object) -> Costs:
        """The costs of cycles with these rows, whatever names them."""
        return self._costs.setdefault(rows, Costs())


def best_length(rows: Sequence[Sequence[float]], costs: Costs) -> int:
    """The draft length with most tokens a second; rows[b][k] are row b's expected tokens at length k."""
    speeds = [
        (sum(tokens) / seconds, -length)  # of equals the shortest
        for length, tokens in enumerate(_columns(rows))
        if (seconds := costs.seconds(length))
    ]
    return -max(speeds)[1] if speeds else 0


def _columns(rows: Sequence[Sequence[float]]) -> Iterable[tuple[float, ...]]:
    return zip(*rows, strict=True)

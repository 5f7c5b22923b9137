"""How long the next draft is: measured acceptance, measured costs, and the length that promises most (SPEED.md 2.3).

Everything here is known before a token is drawn, so any choice keeps the law. Lengths count drafted tokens; 0 is a
plain step, which is what keeps speculation from losing. Host arithmetic only: no torch.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from eft_core.drafter import ALIKE

# The longest draft that adapting considers: beyond it gains are flat even at acceptance .95 (SPEED.md 2.2).
MOST = 16
# A cost counts less by this factor with each cycle after it, of whatever length: what is stale is tried again.
_FADE = 0.98
# Until something is measured: what a pass of several tokens costs more than one of one token, and each token beyond;
# how unsure that is, as a share of a plain step; and how much single cycles differ.
_JUMP, _SLOPE = 0.15, 0.05
_JUMP_DOUBT, _SLOPE_DOUBT = 0.4, 0.05
_NOISE = 0.15
_HOPE = 0.5
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
    """Seconds of a cycle by draft length, for one set of running rows: a plain step, and a line for 1 and more.

    The line is a least-squares fit of relative errors (weight 1 / seconds^2, so that a cycle that was interrupted
    counts for little) around what the plain step lets expect. Both fade, and their doubt grows.
    """

    draft: float = 0.0  # one draft pass, from the first plain step
    _steps: tuple[float, float] = (0.0, 0.0)  # of plain steps: sums of 1 / seconds^2 and 1 / seconds
    # of others: sums of 1, k and k k over seconds^2, and of 1 and k over seconds
    _sums: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)

    def add(self, length: int, seconds: float) -> None:
        """A cycle of this length took so long."""
        weight, k = seconds**-2, length
        new = (weight, k * weight, k * k * weight, 1 / seconds, k / seconds)
        self._steps = tuple(_FADE * old + (not k) * each for old, each in zip(self._steps, (weight, 1 / seconds), strict=True))  # type: ignore[assignment]
        self._sums = tuple(_FADE * old + bool(k) * each for old, each in zip(self._sums, new, strict=True))  # type: ignore[assignment]

    @property
    def plain(self) -> float | None:
        """Seconds of a plain step; None before one was measured."""
        return self._steps[1] / self._steps[0] if self._steps[0] else None

    def curve(self, longest: int = MOST, doubt: float = 0.0) -> list[float]:
        """Seconds by length, 0 to `longest`, each less `doubt` standard errors; [] before a plain step was measured."""
        plain = self.plain
        if plain is None:
            return []
        draft = min(self.draft, 0.9 * plain)
        start, rise = plain + (plain - draft) * _JUMP, draft + (plain - draft) * _SLOPE
        trust, trust_rise = ((_NOISE / (each * plain)) ** 2 for each in (_JUMP_DOUBT, _SLOPE_DOUBT))
        one, k, kk, seconds, products = self._sums
        one, kk, seconds, products = one + trust, kk + trust_rise, seconds + trust * start, products + trust_rise * rise
        scale = 1 / (one * kk - k * k)
        start, rise = (kk * seconds - k * products) * scale, (one * products - k * seconds) * scale
        found = [
            start + rise * n - doubt * _NOISE * math.sqrt((kk - 2 * n * k + n * n * one) * scale)
            for n in range(1, longest + 1)
        ]
        step = plain - doubt * _NOISE / math.sqrt(self._steps[0] + trust)
        floor = step / 2
        return [min(step, *found), *(max(each, floor) for each in found)]

    def seconds(self, length: int) -> float | None:
        """Predicted seconds of a cycle; None before a plain step was measured."""
        curve = self.curve(max(length, 1))
        return curve[length] if curve else None


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
    """The draft length with most tokens a second, in the best case that is likely, so that a doubtful one is tried.

    rows[b][k] are row b's expected tokens at length k.
    """
    seconds = costs.curve(doubt=_HOPE)
    speeds = [sum(tokens) / each for tokens, each in zip(zip(*rows, strict=True), seconds, strict=False)]
    return max(range(len(speeds)), key=speeds.__getitem__, default=0)  # of equals the shortest

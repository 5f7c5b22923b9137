"""How long the next draft is: measured acceptance, measured costs, and the length that promises most (SPEED.md 2.3).

Everything here is known before a token is drawn, so any choice keeps the law. Lengths count drafted tokens; 0 is a
plain step, which is what keeps speculation from losing. Host arithmetic only: no torch.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from eft_core.drafter import ALIKE

Found = TypeVar("Found")

# The longest draft that adapting considers: beyond it gains are flat even at acceptance .95 (SPEED.md 2.2).
MOST = 16
# A cost counts less by this factor with each cycle after it, of whatever length: what is stale is tried again.
_FADE = 0.99
# Until something is measured: what a pass of several tokens costs more than one of one token, and each token beyond;
# how unsure both are, as shares of a plain step; and how much cycles differ.
_JUMP, _SLOPE = 0.15, 0.05
_JUMP_DOUBT, _SLOPE_DOUBT = 0.4, 0.2
_NOISE = 0.15
# A length is judged by its cost less so many standard errors.
_HOPE = 0.25
# Kinds of rows, and sets of rows, that are remembered: visitors make new ones all the time.
_KINDS = 4000
# Tests after which a row's acceptance no longer becomes more certain, and those that a new row starts with.
_MEMORY, _START = 200.0, 40.0
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

    Both are least squares of relative errors: with weight 1 / seconds^2 a cycle that was interrupted hardly counts.
    The line starts from what the plain step lets expect. All that is measured fades, and then the doubt grows.
    """

    draft: float = 0.0  # one draft pass, from a plain step
    steps: int = 0  # plain ones
    step: float = 0.0  # seconds of a plain step, if any was measured
    # over seconds^2, plain steps: 1; others: 1, k, k k. Over seconds, plain steps: 1; others: 1, k.
    _sums: list[float] = field(default_factory=lambda: [0.0] * 7)

    def add(self, length: int, seconds: float) -> None:
        """A cycle of this length took so long."""
        share = 1 / max(seconds, 1e-9)
        each = [0.0, 1.0, length, length * length, 0.0, 1.0, length] if length else [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]
        new = [value * share * share for value in each[:4]] + [value * share for value in each[4:]]
        self._sums = [_FADE * old + value for old, value in zip(self._sums, new, strict=True)]
        if length == 0:
            self.steps += 1
            self.step = self._sums[4] / self._sums[0]

    @property
    def plain(self) -> float | None:
        """Seconds of a plain step; None before the second, for the first with these rows may have been cold."""
        return self.step if self.steps > 1 else None

    def seconds(self, length: int) -> float | None:
        """Predicted seconds of a cycle; None before a plain step was measured."""
        curve = self.curve(max(length, 1))
        return curve[length] if curve else None

    def curve(self, longest: int = MOST, hope: float = 0.0) -> list[float]:
        """Seconds by length, 0 to `longest`, each less `hope` standard errors; [] before a plain step was measured."""
        if not self.steps:
            return []
        plain = self.step
        draft = min(self.draft, 0.9 * plain)
        trust, firmness = ((_NOISE / (doubt * plain)) ** 2 for doubt in (_JUMP_DOUBT, _SLOPE_DOUBT))
        # Normal equations of start + slope k, with what is expected as two measurements more.
        steps, one, k, kk, _, first, second = self._sums
        one, first = one + trust, first + trust * (plain + (plain - draft) * _JUMP)
        kk, second = kk + firmness, second + firmness * (draft + (plain - draft) * _SLOPE)
        scale = 1 / (one * kk - k * k)
        start, slope = scale * (kk * first - k * second), max(0.0, scale * (one * second - k * first))
        error = hope * _NOISE
        found = [
            start + slope * n - error * math.sqrt(scale * (kk - 2 * n * k + n * n * one)) for n in range(1, longest + 1)
        ]
        step = plain - error / math.sqrt(steps + trust)
        # A plain step is not dearer than a cycle with a draft; the fit of few cycles must not promise miracles.
        lines = [max(each, step / 10) for each in found]
        return [min(step, lines[0]), *lines]


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
        return _known(self._acceptance, kind, Acceptance)

    def measured(self, kind: object) -> float | None:
        """The mean acceptance of a kind of rows, None if nothing was measured yet."""
        return self._acceptance[kind].measured if kind in self._acceptance else None

    def costs(self, rows: object) -> Costs:
        """The costs of cycles with these rows, whatever names them."""
        return _known(self._costs, rows, Costs)


def _known(table: dict[object, Found], key: object, make: Callable[[], Found]) -> Found:
    """What is known under a key, or a new one; of too many the one not asked for for the longest time goes."""
    found = table.pop(key, None)
    table[key] = make() if found is None else found
    if len(table) > _KINDS:
        del table[next(iter(table))]
    return table[key]


def best_length(rows: Sequence[Sequence[float]], costs: Costs) -> int:
    """The draft length with most tokens a second; rows[b][k] are row b's expected tokens at length k.

    Costs are a little better than expected where they are doubtful, so that what may pay is tried.
    """
    if not (seconds := costs.curve(hope=_HOPE)):
        return 0
    speeds = [sum(tokens) / each for tokens, each in zip(zip(*rows, strict=True), seconds, strict=False)]
    return max(range(len(speeds)), key=speeds.__getitem__)  # of equals the shortest

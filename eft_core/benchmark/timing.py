"""Paired timing: methods take turns in random order, and only ratios within a round are believed (SPEED.md 2.8).

Tokens are counted from ids. The clock is an argument, so that the arithmetic is tested on one with known answers.
"""

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eft_core.events import Drafting

Clock = Callable[[], float]
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Output:
    """What a method gave: ids of every row. Ours tell more: `decoding`, seconds of the loop after the prompts were
    read; each row's `drafting`; `cycles`, the tokens that each running row got in each cycle."""

    ids: tuple[tuple[int, ...], ...]
    decoding: float | None = None
    logprobs: tuple[tuple[float, ...], ...] = ()
    drafting: tuple[Drafting, ...] = ()
    cycles: tuple[tuple[int, ...], ...] = ()

    @property
    def tokens(self) -> int:
        return sum(len(row) for row in self.ids)


@dataclass(frozen=True, slots=True)
class Measured:
    """One timed run: the whole of it in seconds, prompts included, and what it gave."""

    seconds: float
    output: Output

    @property
    def per_token(self) -> float:
        return self.seconds / self.output.tokens

    @property
    def decoding_per_token(self) -> float:
        assert self.output.decoding is not None, "only our own loops tell their decoding time"
        return self.output.decoding / self.output.tokens


@dataclass(frozen=True, slots=True)
class Ratio:
    """A median of paired ratios with its 95% bootstrap interval, from `pairs` rounds."""

    median: float
    low: float
    high: float
    pairs: int

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


Rounds = Mapping[str, Sequence[Measured]]


def interleaved(
    methods: Mapping[str, Callable[[int], Output]], rounds: int, clock: Clock, seed: int = 0
) -> dict[str, list[Measured]]:
    """Time every method once a round, in a random order fixed by `seed`, after one unmeasured warm-up of each.

    A method is called with the number of the round, from which it takes its prompt and its seed: within a round all
    do the same work. Every list in the result has `rounds` entries, one a round.
    """
    rng = random.Random(seed)
    for method in methods.values():
        method(0)
    measured: dict[str, list[Measured]] = {name: [] for name in methods}
    for number in range(rounds):
        for name in rng.sample(list(methods), len(methods)):
            started = clock()
            output = methods[name](number)
            measured[name].append(Measured(clock() - started, output))
    return measured


def speedup(rounds: Rounds, fast: str, slow: str, decoding: bool = False) -> Ratio:
    """How many times as many tokens a second `fast` gives as `slow`; > 1 where it is faster.

    `decoding`: of the loops after the prompts were read, instead of the whole.
    """
    pairs = zip(rounds[fast], rounds[slow], strict=True)
    if decoding:
        return summary([b.decoding_per_token / a.decoding_per_token for a, b in pairs])
    return summary([b.per_token / a.per_token for a, b in pairs])


def summary(ratios: Sequence[float]) -> Ratio:
    """Median and percentile bootstrap interval of paired ratios (Efron 1979); the resampling is seeded."""
    assert ratios, "a ratio needs at least one pair"
    rng = random.Random(0)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(_RESAMPLES))
    low, high = medians[round(0.025 * (_RESAMPLES - 1))], medians[round(0.975 * (_RESAMPLES - 1))]
    return Ratio(statistics.median(ratios), low, high, len(ratios))


def smaller(*ratios: Ratio) -> Ratio:
    """The one with the smallest median: what may be claimed of all."""
    return min(ratios, key=lambda ratio: ratio.median)


def scaled(ratio: Ratio, factor: float) -> Ratio:
    """A ratio in other units."""
    return Ratio(ratio.median * factor, ratio.low * factor, ratio.high * factor, ratio.pairs)


def tokens_per_second(measured: Sequence[Measured]) -> float:
    """The median over rounds; for the eye, since rates of different runs are not comparable."""
    return statistics.median(1 / each.per_token for each in measured)


def pooled(draftings: Sequence[Drafting]) -> Drafting:
    """What speculation did in many rows, added up."""
    longest = max((len(each.reached) for each in draftings), default=0)

    def total(name: str) -> tuple[int, ...]:
        columns = [getattr(each, name) for each in draftings]
        return tuple(sum(column[i] for column in columns if i < len(column)) for i in range(longest))

    return Drafting(
        drafter=next((each.drafter for each in draftings if each.drafter), ""),
        cycles=sum(each.cycles for each in draftings),
        tokens=sum(each.tokens for each in draftings),
        drafted=sum(each.drafted for each in draftings),
        reached=total("reached"),
        accepted=total("accepted"),
    )


def drafting_of(measured: Sequence[Measured]) -> Drafting:
    """The drafting of all rows of all rounds."""
    return pooled([each for run in measured for each in run.output.drafting])


def lockstep(cycles: Sequence[Sequence[int]], rows: int) -> tuple[float, float] | None:
    """Tokens a cycle and row, (ragged, lockstep): a simulation on recorded cycles, not a run.

    Lockstep is what a batch gives that cuts every row to the shortest acceptance of the cycle (SPEED.md 2.4). Only
    cycles in which all rows ran count; None if there was none.
    """
    full = [cycle for cycle in cycles if len(cycle) == rows]
    if not full:
        return None
    ragged = sum(sum(cycle) for cycle in full) / (rows * len(full))
    return ragged, sum(min(cycle) for cycle in full) / len(full)

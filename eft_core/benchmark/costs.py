"""What a pass costs: T(n) of bare forwards, and how many silent layers make a model R times as costly as another."""

import random
import statistics
from collections.abc import Callable, Mapping, Sequence

import torch

from eft_core.benchmark.deeper import deepened
from eft_core.benchmark.prediction import Costs
from eft_core.benchmark.timing import Clock
from eft_core.kv_cache import BLOCK, places
from eft_core.model import Model

Pass = Callable[[], None]
_PASSES = 4  # passes between two looks at the clock


def one_pass(model: Model, new: int, before: int, rows: int = 1) -> Pass:
    """A forward of `new` tokens a row behind `before` cached ones, ready to be run any number of times."""
    capacity = before + new + BLOCK
    cache = model.cache(rows, capacity)
    ids = torch.arange(rows * new, device=model.device).view(rows, new) % model.width
    positions = torch.arange(before, before + new, device=model.device).expand(rows, -1)
    where = places(positions, before + new - 1, model.dtype, capacity)

    def run() -> None:
        for _ in range(_PASSES):
            model.forward(ids, where, cache)

    run()
    return run


def pass_times(passes: Mapping[str, Pass], rounds: int, clock: Clock, seed: int = 0) -> dict[str, list[float]]:
    """Seconds of one forward of every kind, `rounds` times in random order."""
    rng = random.Random(seed)
    times: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(rounds):
        for name in rng.sample(list(passes), len(passes)):
            started = clock()
            passes[name]()
            times[name].append((clock() - started) / _PASSES)
    return times


def measure_costs(large: Model, small: Model, lengths: Sequence[int], rounds: int, clock: Clock) -> Costs:
    """c, v_L and v_S at batch 1: medians of ratios within a round. `lengths` are the new tokens of a pass."""
    lengths = sorted({1, *lengths})
    models = {"large": large, "small": small}
    passes = {
        f"{name} {n}": one_pass(model, n, before=BLOCK - 1 - lengths[-1])
        for name, model in models.items()
        for n in lengths
    }
    times = pass_times(passes, rounds, clock)
    one = statistics.median(times["large 1"])
    return Costs(
        large=one,
        small=one * _ratio(times, "small 1", "large 1"),
        v_large={n: _ratio(times, f"large {n}", "large 1") for n in lengths},
        v_small={n: _ratio(times, f"small {n}", "small 1") for n in lengths},
    )


def _ratio(times: Mapping[str, Sequence[float]], over: str, under: str) -> float:
    """The median of ratios within a round."""
    return statistics.median(a / b for a, b in zip(times[over], times[under], strict=True))


def made_costlier(large: Model, small: Model, ratio: float, rounds: int, clock: Clock) -> tuple[Model, int]:
    """(a copy of `large` about `ratio` times as costly as `small`, the layers it has more).

    A pair that has this ratio already is left as it is. What came of it, `measure_costs` tells.
    """
    models = {"small": small, "large": large, "deep": deepened(large, large.layers)}
    passes = {name: one_pass(model, 1, before=BLOCK // 2) for name, model in models.items()}
    times = pass_times(passes, rounds, clock)
    real, deep = _ratio(times, "large", "small"), _ratio(times, "deep", "small")
    layers = layers_for(ratio, real, deep, large.layers)
    return deepened(large, layers), layers


def layers_for(ratio: float, real: float, deep: float, added: int) -> int:
    """Layers that make the cost ratio `ratio`, when it is `real` now and `deep` at twice the depth, `added` more."""
    # If all cost were in layers, doubling the depth would double it; noise must not make them (nearly) free.
    a_layer = max(deep - real, 0.25 * real) / added
    return max(0, round((ratio - real) / a_layer))

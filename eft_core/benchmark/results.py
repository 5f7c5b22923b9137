"""From timed rounds to the numbers that are claimed: ratios, gains, predictions. Pure arithmetic."""

from collections.abc import Mapping
from dataclasses import dataclass

from eft_core.benchmark import measure, recording
from eft_core.benchmark.measure import ADAPTIVE, BATCH, LARGE, PLAIN, PROXY, SEQUENTIAL, TOKEN, Results, fixed
from eft_core.benchmark.prediction import Costs, predicted_gain
from eft_core.benchmark.timing import Ratio, Rounds, drafting_of, scaled, smaller, speedup, summary
from eft_core.events import Drafting


@dataclass(frozen=True, slots=True)
class AtLength:
    """The block rule at a fixed k: its gain in the decode loop, and what the model of a cycle says."""

    k: int
    gain: Ratio
    predicted: float
    acceptance: float
    tokens_a_cycle: float

    @property
    def over_predicted(self) -> Ratio:
        return scaled(self.gain, 1 / self.predicted)


def at_lengths(rounds: Rounds, costs: Costs, lengths: tuple[int, ...]) -> list[AtLength]:
    """Measured and predicted gain over plain decoding by k, each with the acceptance of its own runs."""
    found = []
    for k in lengths:
        drafting = drafting_of(rounds[fixed(k)])
        alpha = drafting.acceptance or 0.0
        gain = speedup(rounds, fixed(k), PLAIN, decoding=True)
        found.append(AtLength(k, gain, predicted_gain(costs, alpha, k), alpha, drafting.tokens_a_cycle or 1.0))
    return found


def best(points: list[AtLength]) -> AtLength:
    """The best fixed length found afterwards."""
    return max(points, key=lambda point: point.gain.median)


def least(groups: Mapping[str, Rounds], fast: str, slow: str) -> Ratio:
    """The smaller of greedy and temperature 1."""
    return smaller(*(speedup(rounds, fast, slow) for rounds in groups.values()))


def ratios(results: Results, lengths: tuple[int, ...]) -> dict[str, Ratio]:
    """The ratios that are claimed, by the names under which they are published: of several the worst.

    All are better the larger they are, but for `recording_over_not`, a time over a time."""
    points = [best(at_lengths(rounds, results.costs, lengths)) for rounds in results.up.values()]
    assisted = (measure.ASSISTED, measure.ASSISTED_CONSTANT)
    return {
        "speculative_over_plain": least(results.up, ADAPTIVE, PLAIN),
        "speculative_over_plain_cost10": least(results.costly_rounds, ADAPTIVE, PLAIN),
        "plain_over_proxy_tuning_loop": least(results.up, PLAIN, PROXY),
        "speculative_over_proxy_tuning_loop": least(results.up, ADAPTIVE, PROXY),
        "speculative_over_large_generate": least(results.up, ADAPTIVE, LARGE),
        "batch5_over_sequential5": speedup(results.batches[5], BATCH, SEQUENTIAL),
        "over_assisted_at_weight_0": smaller(*(least(results.zero, ADAPTIVE, name) for name in assisted)),
        "measured_over_predicted": smaller(*(point.over_predicted for point in points)),
        "recording_over_not": recording.claimed(results.recordings[recording.ONE]),
        "forward_share": smaller(*(summary(floor.shares) for floor in results.floors.values())),
    }


def adaptive(results: Results, lengths: tuple[int, ...], costly_lengths: tuple[int, ...]) -> dict[str, Ratio]:
    """Whether adapting pays: against plain decoding wherever it was measured, and against the best fixed length."""
    groups = (results.up, results.costly_rounds, results.zero)
    against_best = [_over_best(rounds, results.costs, lengths) for rounds in results.up.values()]
    costly = [_over_best(rounds, results.costly_costs, costly_lengths) for rounds in results.costly_rounds.values()]
    return {
        "adaptive_over_plain": smaller(*(least(group, ADAPTIVE, PLAIN) for group in groups)),
        "adaptive_over_plain_at_weight_0": least(results.zero, ADAPTIVE, PLAIN),
        "adaptive_over_best_fixed": smaller(*against_best),
        "adaptive_over_best_fixed_cost10": smaller(*costly),
        "block_over_token": least(results.up, ADAPTIVE, TOKEN),
    }


def _over_best(rounds: Rounds, costs: Costs, lengths: tuple[int, ...]) -> Ratio:
    """Adaptive over the fixed length that turned out to be the best."""
    return speedup(rounds, ADAPTIVE, fixed(best(at_lengths(rounds, costs, lengths)).k))


def acceptance(results: Results) -> Drafting:
    """What the block rule drafted in all up-scaled rounds, at any length: adapting may draft nothing at all."""
    block = ADAPTIVE.partition(",")[0]
    runs = [runs for rounds in results.up.values() for name, runs in rounds.items() if name.startswith(block)]
    return drafting_of([run for each in runs for run in each])

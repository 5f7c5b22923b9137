"""What the benchmark says to scripts: one JSON document, printed as the last line of output."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eft_core.benchmark import measure, results
from eft_core.benchmark.identity import Check
from eft_core.benchmark.measure import PLAIN, SEQUENTIAL, Lab, Results
from eft_core.benchmark.prediction import Costs
from eft_core.benchmark.recording import LOOPS, Recording
from eft_core.benchmark.results import AtLength
from eft_core.benchmark.timing import Ratio, Rounds, drafting_of, lockstep, speedup, summary, tokens_per_second

Document = dict[str, Any]
_ROUNDS = ("main", "zero", "costly", "batch", "floor", "recording", "shapes")


def tell(found: Document, file: Path | None) -> None:
    """Write the document into `file`, if there is one, and print it as the last line. ValueError where it cannot be."""
    if file:
        try:
            file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise ValueError(f"{file} cannot be written: {error.strerror}.") from error
    print(json.dumps(found), flush=True)


def refusal(checks: Sequence[Check], machine: Mapping[str, str | int]) -> Document:
    """Without identity there are no speeds."""
    return {
        "identity_passed": False,
        "machine": dict(machine),
        "acceptance": None,
        "ratios": {},
        "failed": {check.claim: check.problem for check in checks if not check.passed},
    }


def document(
    found: Results, lab: Lab, checks: Sequence[Check], machine: Mapping[str, str | int], memory: Mapping[str, float]
) -> Document:
    """Everything that was found. `ratios` are medians, `intervals` their 95% intervals; `acceptance` is that of the
    block rule, all lengths and rounds together."""
    scale, drafting = lab.scale, results.acceptance(found)
    claimed = results.ratios(found, scale.lengths)
    adaptive = results.adaptive(found, scale.lengths, scale.costly_lengths)
    return {
        "identity_passed": all(check.passed for check in checks),
        "machine": dict(machine),
        "acceptance": _rounded(drafting.acceptance),
        "ratios": {name: _rounded(ratio.median) for name, ratio in claimed.items()},
        "intervals": {name: _interval(ratio) for name, ratio in (claimed | adaptive).items()},
        "adaptive": {name: _rounded(ratio.median) for name, ratio in adaptive.items()},
        "acceptance_by_position": [_rounded(share) for share in drafting.acceptance_by_position],
        "family": lab.models.family.name,
        "policy": lab.policy.formula(),
        "drafter": drafting.drafter,
        "forward": "lean" if lab.setup.models[lab.large].lean else "library",
        "tokens": scale.tokens,
        "rounds": {name: getattr(scale, name) for name in _ROUNDS},
        "checks": [check.claim for check in checks],
        "costs": _costs(found.costs),
        "up_scaling": _groups(found.up, found.costs, scale.lengths),
        "weight_0": _groups(found.zero, found.costs, ()),
        "cost_ratio": {
            "asked": found.costly.asked,
            "measured": _rounded(1 / found.costly_costs.c),
            "layers_added": found.costly.layers,
            "costs": _costs(found.costly_costs),
            **_groups(found.costly_rounds, found.costly_costs, scale.costly_lengths),
        },
        "rows": {str(rows): _rows(rounds, rows) for rows, rounds in found.batches.items()},
        "floor": {name: _interval(summary(each.shares)) for name, each in found.floors.items()},
        "recording": {name: _recording(each) for name, each in found.recordings.items()},
        "lengths": {name: _methods(rounds) for name, rounds in found.shapes.items()},
        "peak_memory": dict(memory),
    }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4)


def _interval(ratio: Ratio) -> Document:
    return {"median": _rounded(ratio.median), "low": _rounded(ratio.low), "high": _rounded(ratio.high)} | {
        "pairs": ratio.pairs
    }


def _costs(costs: Costs) -> Document:
    return {
        "large_ms": _rounded(1e3 * costs.large),
        "small_ms": _rounded(1e3 * costs.small),
        "c": _rounded(costs.c),
        "v_large": {str(n): _rounded(v) for n, v in costs.v_large.items()},
        "v_small": {str(n): _rounded(v) for n, v in costs.v_small.items()},
    }


def _groups(groups: Mapping[str, Rounds], costs: Costs, lengths: tuple[int, ...]) -> Document:
    """Greedy and temperature 1: every method, and the gain by block length."""
    return {
        name: {"methods": _methods(rounds)}
        | ({"gain": [_gain(point) for point in results.at_lengths(rounds, costs, lengths)]} if lengths else {})
        for name, rounds in groups.items()
    }


def _methods(rounds: Rounds) -> Document:
    """Tokens a second, and how many times as fast as our plain loop."""
    found: Document = {}
    for name, runs in rounds.items():
        drafting = drafting_of(runs)
        found[name] = {"tokens_per_second": round(tokens_per_second(runs), 1)}
        found[name]["over_own_plain"] = _interval(speedup(rounds, name, PLAIN))
        if drafting.acceptance is not None:
            found[name]["acceptance"] = _rounded(drafting.acceptance)
            found[name]["tokens_a_cycle"] = _rounded(drafting.tokens_a_cycle)
    return found


def _gain(point: AtLength) -> Document:
    return {
        "k": point.k,
        "measured": _interval(point.gain),
        "predicted": _rounded(point.predicted),
        "acceptance": _rounded(point.acceptance),
        "tokens_a_cycle": _rounded(point.tokens_a_cycle),
    }


def _recording(found: Recording) -> Document:
    """Time with records over time without, of every loop, and what the records take."""
    ratios = {loop: _interval(found.over_not(loop)) for loop in LOOPS}
    return {"over_not": ratios, "bytes_a_token": round(found.bytes_a_token, 1)}


def _rows(rounds: Rounds, rows: int) -> Document:
    """One batch against sequential runs; lockstep is a simulation on recorded accepted counts."""
    cycles = [cycle for run in rounds[measure.BATCH_SPECULATIVE] for cycle in run.output.cycles]
    ragged, cut = lockstep(cycles, rows) or (None, None)
    return {
        "batch_over_sequential": _interval(speedup(rounds, measure.BATCH, SEQUENTIAL)),
        "speculative_batch_over_sequential": _interval(speedup(rounds, measure.BATCH_SPECULATIVE, SEQUENTIAL)),
        "speculative_batch_over_batch": _interval(speedup(rounds, measure.BATCH_SPECULATIVE, measure.BATCH)),
        "tokens_a_cycle_ragged": _rounded(ragged),
        "tokens_a_cycle_in_lockstep_simulated": _rounded(cut),
    }

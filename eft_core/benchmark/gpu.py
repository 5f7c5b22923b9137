"""On a GPU: is it right, and how fast? `python -m eft_core.benchmark.gpu --json assets/benchmarks/gpu.json`.

First a family's members in bfloat16 with captured graphs against the CPU in float32; if rounding does not explain the
differences, no speed is told and the exit status is 1. Then the family's pair at a cost ratio, and a pair of
random weights of Llama-2 7B and 13B shapes, drafts accepted as often as measured elsewhere. Where there are several
GPUs, all but the cost ratio also with the small members on the second. The last line of output is one JSON object.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from eft_core.benchmark import machine, measure
from eft_core.benchmark.agreement import TOLERANCES, Agreement, agreements
from eft_core.benchmark.costs import measure_costs
from eft_core.benchmark.document import tell
from eft_core.benchmark.emulated import Amount, Pair, measured, rounded
from eft_core.benchmark.own import Method
from eft_core.benchmark.profile import accepted, pair_told
from eft_core.benchmark.prompts import questions, task
from eft_core.benchmark.timing import Clock, Output, interleaved, speedup
from eft_core.devices import DTYPES, device_named
from eft_core.memory import size
from eft_core.session import Session
from eft_core.settings import Settings

# What the published speeds of Llama-2 70B with 7B imply, without a bonus token (SPEED.md 2.1).
_PAPER = 0.9
_ROOM = 0.9  # of the free memory; caches and graphs take the rest


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status: 0, 1 where the GPU is wrong, 2 for a user's mistake."""
    options = _parser().parse_args(arguments)
    logging.set_verbosity_error()
    try:
        found = run(options)
        tell(found, options.json)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if found["agrees"] else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m eft_core.benchmark.gpu", description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--family", default="atlas", help="whose members are compared (default: atlas)")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try this command (default: cuda)")
    parser.add_argument("--second", help="the small members' device in a second run (default: cuda:1 if there is one)")
    parser.add_argument("--dtype", default="bfloat16", choices=tuple(DTYPES), help="default: bfloat16")
    parser.add_argument("--large", default="llama-2-13b", metavar="SHAPE", help="default: llama-2-13b")
    parser.add_argument("--small", default="llama-2-7b", metavar="SHAPE", help="default: llama-2-7b")
    parser.add_argument("--cost-ratio", type=float, default=10.0, metavar="R", help="of the family's pair (default 10)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and shorter texts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON document here too")
    return parser


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Compare, then measure; the document."""
    if options.device != "cpu" and not torch.cuda.is_available():
        raise ValueError(
            "this needs a CUDA GPU, and torch finds none: run it where there is one, or try the command itself with "
            "--device cpu --large tiny-large --small tiny --quick."
        )
    device = torch.device(options.device)
    second = _second(options.second, device)
    pairs = _pairs(options, device, second)
    sessions = _sessions(options, device, second)
    found: dict[str, Any] = {
        "machine": machine.description(device, options.dtype) | {"gpus": torch.cuda.device_count()},
        "family": options.family,
        **compared(sessions, options),
    }
    if not found["agrees"]:
        return found
    clock = machine.clock(device)
    found["at_cost_ratio"] = at_cost_ratio(sessions[0], options.cost_ratio, options.quick, clock)
    print(f"{options.family} at cost ratio {options.cost_ratio:g}: {found['at_cost_ratio']['over_plain']}", flush=True)
    chance, source = accepted(None)
    amount = Amount(24, 2, (4,)) if options.quick else Amount(128, 8, (2, 4, 8))
    found["acceptance_sources"] = {
        str(chance): source,
        str(_PAPER): "implied by the paper's speeds, Llama-2 70B and 7B",
    }
    found["pairs"] = []
    for pair in pairs:
        found["pairs"].append(measured(pair, [chance, _PAPER], amount, clock))
        print(pair_told(found["pairs"][-1]), flush=True)
    found["memory"] = machine.peak_memory(device)
    return found


def _second(asked: str | None, device: torch.device) -> torch.device | None:
    """Where the small members lie in a second run; None if there is none."""
    if asked is not None:
        return torch.device(device_named(asked, "--second"))
    several = device.type == "cuda" and device.index in (None, 0) and torch.cuda.device_count() > 1
    return torch.device("cuda", 1) if several else None


def _sessions(options: argparse.Namespace, device: torch.device, second: torch.device | None) -> list[Session]:
    """The family on the device as it is to be checked, and with its small members on the second if there is one."""
    forward = "captured" if device.type == "cuda" else "auto"
    plain = replace(Settings.from_environment(), quantise="none", placement={}, forward=forward)
    session = Session(replace(plain, device=str(device), dtype=options.dtype), options.family)
    if second is None:
        return [session]
    family = session.family
    small = [str(member) for member in family.checkpoints if member.size == family.default_finetune]
    placed = replace(session.settings, placement=dict.fromkeys(small, str(second)))
    return [session, Session(placed, family)]


def compared(sessions: Sequence[Session], options: argparse.Namespace) -> dict[str, Any]:
    """Whether rounding explains how the sessions' answers differ from those of float32 on the CPU, and the numbers."""
    settings = replace(sessions[0].settings, device="cpu", dtype="float32", forward="auto")
    exact, tolerance = Session(settings, sessions[0].family), TOLERANCES[options.dtype]
    prompts = questions(options.family)[: 2 if options.quick else 6]
    told = []
    for session in sessions:
        small = session.models.residence(session.family.reference).device
        for each in agreements(session, exact, prompts, 16 if options.quick else 64):
            told.append({"small_on": small, **asdict(each), "agrees": each.within(tolerance)})
            print(f"small on {small}, {_told(each, told[-1]['agrees'])}", flush=True)
    return {"agrees": all(each["agrees"] for each in told), "tolerance": asdict(tolerance), "agreement": told}


def _pairs(options: argparse.Namespace, device: torch.device, second: torch.device | None) -> list[Pair]:
    """The pair on one device, and with its small members on the second if there is one. ValueError where the weights
    have no room, before anything is made."""
    captured = device.type == "cuda"
    pair = Pair(options.large, options.small, DTYPES[options.dtype], device, device, captured=captured)
    if captured:
        left = _ROOM * torch.cuda.mem_get_info(device)[0]
        if pair.bytes > left:
            raise ValueError(
                f"{options.large} and two of {options.small} take {size(pair.bytes)} and the GPU has room for "
                f"{size(left)}: choose smaller shapes with --large and --small."
            )
    return [pair, replace(pair, small_device=second)] if second else [pair]


def at_cost_ratio(session: Session, ratio: float, quick: bool, clock: Clock) -> dict[str, Any]:
    """The family's pair with its large base made `ratio` times as costly as its small members: gains over plain."""
    lab = measure.lab_of(session.models, clock, measure.QUICK if quick else measure.FULL)
    costly = measure.costlier(lab, ratio)
    lengths = lab.scale.costly_lengths
    methods = measure.own_methods(costly.setup, lengths)

    def taking(method: Method) -> Any:
        def job(number: int) -> Output:
            return method(task(lab.prompts, number, lab.scale.tokens, 0.0))

        return job

    rounds = interleaved({name: taking(each) for name, each in methods.items()}, lab.scale.costly, clock)
    large, small = costly.setup.models[lab.large], costly.setup.models[lab.small[0]]
    costs = measure_costs(large, small, [k + 1 for k in lengths], lab.scale.passes, clock)
    gains = {name: speedup(rounds, name, measure.PLAIN, decoding=True) for name in methods if name != measure.PLAIN}
    return {
        "asked": ratio,
        "measured": rounded(1 / costs.c),
        "layers_added": costly.layers,
        "over_plain": {
            name: {"median": rounded(gain.median), "interval": [rounded(gain.low), rounded(gain.high)]}
            for name, gain in gains.items()
        },
    }


def _told(found: Agreement, agrees: bool) -> str:
    return (
        f"{found.way}: {found.same} of {found.tokens} greedy tokens are the CPU's; log-probabilities differ by "
        f"{found.mean:.2g} nats on average, {found.largest:.2g} at most; the worst token is {found.gap:.2g} nats below "
        f"the best. {'' if agrees else 'Rounding does not explain this: no speed is told.'}".rstrip()
    )


if __name__ == "__main__":
    sys.exit(main())

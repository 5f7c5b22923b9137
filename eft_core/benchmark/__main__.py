"""Is it fast, and is it the same? `python -m eft_core.benchmark [--quick]` measures a family's up-scaled pair.

First the identity checks; if one fails, no speed is printed and the exit status is 1. Then all comparators in one
process, interleaved. Tables go to standard output, whose last line is one JSON object; progress to standard error.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from transformers.utils import logging

from eft_core.benchmark import document, figure, identity, machine, measure, recording, report
from eft_core.benchmark.identity import Check
from eft_core.benchmark.measure import Costly, Lab, Scale
from eft_core.session import Session
from eft_core.settings import Settings

_CHECKED_TOKENS = 24
_CHECKED_PROMPTS = 3
_ROUNDS = ("main", "zero", "costly", "batch", "floor", "recording")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status: 0, 1 where identity fails, 2 for a user's mistake."""
    options = _parser().parse_args(arguments)
    try:
        return run(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m eft_core.benchmark", description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--family", help="default: EFT_FAMILY, or atlas")
    parser.add_argument("--cost-ratio", type=float, default=10.0, metavar="R",
                        help="of the part with a costlier large base (default 10)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="three minutes on two cores: fewer rounds, shorter texts")
    parser.add_argument("--repetitions", type=int, metavar="N", help="rounds of every group")
    parser.add_argument("--device", help="auto, cpu or cuda (default: EFT_DEVICE, or auto)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON document here too")
    parser.add_argument("--figure", type=Path, metavar="FILE.html", help="write gain against block length")
    return parser


def run(options: argparse.Namespace) -> int:
    """Check, measure, report."""
    logging.set_verbosity_error()  # `generate` warns of what it passes to itself
    settings = Settings.from_environment()
    session = Session(replace(settings, device=options.device or settings.device), options.family)
    models = session.models
    described = machine.description(models.device, models.dtype_name)
    lab = measure.lab_of(models, machine.clock(models.device), scale_of(options))
    print(report.machine_told(described, lab), end="\n\n", flush=True)
    costly = measure.costlier(lab, options.cost_ratio)
    checks = examined(lab, costly)
    print(report.checks_told(checks), end="\n\n", flush=True)
    if not all(check.passed for check in checks):
        document.tell(document.refusal(checks, described), options.json)
        return 1
    found = measure.measured(lab, costly)
    memory = machine.peak_memory(models.device)
    print(*report.told(found, lab), sep="\n\n")
    print(f"\n{report.acceptance_told(found)}\nPeak memory: {report.memory_told(memory)}\n")
    if options.figure:
        figure.write(found, lab, options.figure)
    document.tell(document.document(found, lab, checks, described, memory), options.json)
    return 0


def scale_of(options: argparse.Namespace) -> Scale:
    """The scale that the options ask for; `--repetitions` sets the rounds of every group that is measured."""
    scale = measure.QUICK if options.quick else measure.FULL
    if options.cost_ratio <= 0:
        raise ValueError("--cost-ratio must be above 0: it is T_L(1) / T_S(1), such as 10.")
    if options.repetitions is None:
        return scale
    if options.repetitions < 1:
        raise ValueError("--repetitions must be at least 1: a ratio needs a pair.")
    groups = [field.name for field in fields(Scale) if field.name in (*_ROUNDS, "shapes")]
    return replace(scale, **{name: options.repetitions for name in groups if getattr(scale, name)})


def examined(lab: Lab, costly: Costly) -> list[Check]:
    """All identity checks of this run: our loops, every comparator, and the costlier copy."""
    print("checking identity", file=sys.stderr, flush=True)
    tokens = min(_CHECKED_TOKENS, lab.scale.tokens)
    prompts = lab.prompts[:_CHECKED_PROMPTS]
    task = measure.task(prompts, 0, tokens, 0.0)
    rows = measure.setup_of(lab.models, measure.settings(lab.policy, 5), lab.clock)
    large, copy = lab.setup.models[lab.large], costly.setup.models[lab.large]
    claims = identity.claims_about_own(rows, prompts, tokens)
    claims |= identity.claims_about_others(lab.setup, measure.library_methods(lab), task)
    claims |= identity.claims_about_others(measure.zero_setup(lab), measure.zero_methods(lab), task)
    claims["the costlier copy has the same logits, bit by bit"] = lambda: identity.same_logits(large, copy, prompts)
    claims["a record changes no token"] = lambda: recording.differing(rows, prompts, tokens)
    return identity.checked(claims)


if __name__ == "__main__":
    sys.exit(main())

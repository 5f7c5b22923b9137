"""What the load test says: a table for people, the bars it is held to, and one JSON document for scripts."""

import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eft_core.hardware import Machine, processor
from eft_core.loadtest.rounds import Load, Round
from eft_core.software import SOFTWARE

SCHEMA = "eft-lab/load/1"
Document = dict[str, Any]
_LIBRARIES = ("gradio", "torch", "transformers", "httpx")
_HEADS = (
    "visitors",
    "answers",
    "tokens/s",
    "first token p50",
    "p95",
    "answer p50",
    "p95",
    "failed",
    "wrong",
    "refused",
    "server cores",
    "client cores",
)


def machine() -> dict[str, str | int]:
    """What a number means nothing without."""
    found = Machine.read()
    return {
        "cpu": processor(),
        "cores": found.cores,
        "memory_gb": round(found.memory / 1e9),
        "threads": os.environ.get("OMP_NUM_THREADS", "") or "as many as cores",
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
        "system": platform.platform(terse=True),
        "date": datetime.date.today().isoformat(),
    }


def figures(load: Load) -> Document:
    """The numbers that are claimed; None where their rounds were not asked for."""
    one, sixteen = load.at(1), load.at(16)
    gain = first = None
    if one and sixteen:
        gain = rounded(sixteen.tokens_per_second / one.tokens_per_second)
        slow, fast = sixteen.first(0.95), one.first(0.95)
        first = rounded(slow / fast) if slow and fast else None
    return {
        "gain_16_over_1": gain,
        "failures": sum(len(each.problems) for each in load.rounds),
        "wrong_texts": sum(each.wrong for each in load.rounds),
        "p95_first_token_ratio_16_over_1": first,
        "memory_growth": rounded(load.growth),
        "requests": load.requests,
        "cut": sum(each.cut for each in load.rounds),
    }


def bars(found: Mapping[str, Any]) -> list[tuple[str, bool | None]]:
    """What is promised for two cores and Atlas, and whether it holds; None: not measured."""
    gain, first, growth = (found[key] for key in ("gain_16_over_1", "p95_first_token_ratio_16_over_1", "memory_growth"))
    return [
        ("16 visitors get at least 3 times the tokens/s of one", None if gain is None else gain >= 3),
        ("no request failed", found["failures"] == 0),
        ("no text was another than alone", found["wrong_texts"] == 0),
        ("p95 to the first token at 16 visitors is below 8 times that of one", None if first is None else first < 8),
        ("memory grew by less than 5% after warming up", growth < 0.05),
    ]


def document(load: Load, family: str, described: Mapping[str, Any]) -> Document:
    """Everything that was found. Seconds, tokens of all columns, bytes as MB."""
    found = figures(load)
    return found | {
        "schema": SCHEMA,
        "software": SOFTWARE,
        "family": family,
        "machine": dict(described),
        "bars": dict(bars(found)),
        "memory_mb": {"before": megabytes(load.before), "after": megabytes(load.after)},
        "mix": [ask.data for ask in load.asks],
        "rounds": [_round(each) for each in load.rounds],
        "problems": sorted({problem for each in load.rounds for problem in each.problems})[:10],
    }


def _round(each: Round) -> Document:
    return {
        "visitors": each.visitors,
        "answers": len(each.answers),
        "seconds": rounded(each.seconds),
        "tokens_per_second": rounded(each.tokens_per_second),
        "first_token_p50": rounded(each.first(0.5)),
        "first_token_p95": rounded(each.first(0.95)),
        "latency_p50": rounded(each.latency(0.5)),
        "latency_p95": rounded(each.latency(0.95)),
        "failures": len(each.problems),
        "wrong_texts": each.wrong,
        "refusals": each.refusals,
        "cut": each.cut,
        "server_cores": rounded(each.server_cores),
        "client_cores": rounded(each.client_cores),
        "memory_mb": megabytes(each.memory),
    }


def told(load: Load, described: Mapping[str, Any]) -> str:
    """The machine, the table, memory, and the bars, as markdown."""
    rows = [_cells(each) for each in load.rounds]
    found = figures(load)
    memory = f"{megabytes(load.before)} MB before, {megabytes(load.after)} MB after {load.requests:,} requests"
    verdicts = {True: "met", False: "MISSED", None: "not measured"}
    return "\n".join(
        [
            ", ".join(f"{name} {value}" for name, value in described.items()),
            "",
            *table(_HEADS, rows),
            "",
            f"Memory of the server: {memory} ({load.growth:+.1%}).",
            *(f"- {claim}: {verdicts[held]}" for claim, held in bars(found)),
            *(f"- cut off at the end: {found['cut']} requests" for _ in range(bool(found["cut"]))),
        ]
    )


def _cells(each: Round) -> list[str]:
    times = [each.first(0.5), each.first(0.95), each.latency(0.5), each.latency(0.95)]
    return [
        str(each.visitors),
        str(len(each.answers)),
        f"{each.tokens_per_second:.0f}",
        *("–" if time is None else f"{time:.2f} s" for time in times),
        str(len(each.problems)),
        str(each.wrong),
        str(each.refusals),
        f"{each.server_cores:.2f}",
        f"{each.client_cores:.2f}",
    ]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a markdown table of numbers."""
    return [f"| {' | '.join(cells)} |" for cells in (heads, ["---:"] * len(heads), *rows)]


def tell(found: Document, file: Path | None) -> None:
    """Write the document into `file`, if there is one, and print it as the last line. ValueError where it cannot be."""
    if file:
        try:
            file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise ValueError(f"{file} cannot be written: {error.strerror}.") from error
    print(json.dumps(found), flush=True)


def megabytes(count: float) -> float:
    return round(count / 1e6, 1)


def rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4)

"""Mixed traffic for a long while: `python -m eft_core.loadtest --soak 30`, with a server and data of its own.

Eight visitors compare, inspect, sweep, judge, stop, cancel, close tabs and open pages (`acts`). At the end: is every
confirmed judgement in the database, was any text another than alone, did memory stay flat, and was any error more than
a refusal? Memory is read all the time; the first fifth is warming up.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eft_core.family import Family
from eft_core.loadtest import wire
from eft_core.loadtest.acts import Notes, Regular
from eft_core.loadtest.mix import mix
from eft_core.loadtest.report import megabytes, rounded, table
from eft_core.loadtest.rounds import alone
from eft_core.loadtest.server import Server, started
from eft_core.loadtest.study import Counted, counted, prepared
from eft_core.loadtest.visitor import Visitor
from eft_core.software import SOFTWARE

SCHEMA = "eft-lab/soak/1"
VISITORS = 8
_WARM = 0.2  # share of the time
_EVERY = 2.0  # seconds between two readings of memory
_CHECKED = 60  # sweeps' answers that are asked again alone


@dataclass(frozen=True, slots=True)
class Reading:
    """Bytes of the server so many seconds after the beginning."""

    at: float
    memory: int


def run(seconds: float, family: Family, described: Mapping[str, Any]) -> dict[str, Any]:
    """The whole soak; prints its tables, and returns its document."""
    with tempfile.TemporaryDirectory(prefix="eft-soak-") as folder:
        data = Path(folder)
        campaign = prepared(data)
        with started(data, family.name) as server:
            notes, readings = asyncio.run(_soaked(server, family, campaign, seconds))
        kept = counted(data, notes.confirmed)
        tracebacks = server.printed.count("Traceback (most recent call last)")
    found = document(notes, readings, kept, tracebacks, seconds)
    print(told(found), end="\n\n")
    return found | {"family": family.name, "machine": dict(described)}


async def _soaked(server: Server, family: Family, campaign: str, seconds: float) -> tuple[Notes, list[Reading]]:
    """Visitors at once until the time is over; then what was swept is asked alone."""
    asks = mix(family)
    emulated = next(ask for ask in asks if ask.policies is not None and len(ask.policies) == 1)
    async with wire.client(server.address) as http:
        notes = Notes(await alone(Visitor(http), asks))
        stop, readings, began = asyncio.Event(), [Reading(0.0, server.memory)], time.monotonic()
        regulars = [Regular(http, notes, campaign, number, emulated) for number in range(VISITORS)]
        visits = asyncio.gather(*(regular.live(stop) for regular in regulars))
        while (passed := time.monotonic() - began) < seconds and not visits.done():
            await asyncio.wait([visits], timeout=min(_EVERY, seconds - passed))
            readings.append(Reading(time.monotonic() - began, server.memory))
            print(f"\r{passed / 60:.1f} min, {sum(notes.acts.values())} acts", end="", file=sys.stderr, flush=True)
        stop.set()
        await visits
        print(file=sys.stderr)
        await _check_swept(Visitor(http), notes)
    return notes, readings


async def _check_swept(visitor: Visitor, notes: Notes) -> None:
    """Ask alone what sweeps asked; where there is much of it, the latest."""
    asks = list(notes.swept)[-_CHECKED:]
    for ask, texts in (await alone(visitor, asks)).items():
        notes.check(f"sweep {ask.prompt}, seed {ask.seed}", notes.swept[ask].strip(), texts[0][0].strip())


def growth(readings: Sequence[Reading]) -> float | None:
    """By which share memory grew after warming up: the median of the last quarter over that of the first."""
    warm = [each.memory for each in readings if each.at >= _WARM * readings[-1].at]
    quarter = len(warm) // 4
    return statistics.median(warm[-quarter:]) / statistics.median(warm[:quarter]) - 1 if quarter else None


def document(
    notes: Notes, readings: Sequence[Reading], kept: Counted, tracebacks: int, seconds: float
) -> dict[str, Any]:
    """What was found."""
    grown = growth(readings)
    return {
        "schema": SCHEMA,
        "software": SOFTWARE,
        "minutes": round(seconds / 60, 2),
        "visitors": VISITORS,
        "acts": dict(sorted(notes.acts.items())),
        "confirmed_ratings": kept.confirmed,
        "lost_ratings": kept.lost,
        "doubled_ratings": kept.doubled,
        "wrong_texts": len(notes.wrong),
        "failures": len(notes.problems),
        "refusals": len(notes.refusals),
        "tracebacks": tracebacks,
        "memory_growth": rounded(grown),
        "memory_mb": [megabytes(each.memory) for each in readings[:: max(1, len(readings) // 60)]],
        "bars": {
            "no confirmed rating was lost": kept.lost == 0 and kept.doubled == 0,
            "no text was another than alone": not notes.wrong,
            "no error was more than a refusal": not notes.problems and not tracebacks,
            "memory grew by less than 5% after warming up": grown is None or grown < 0.05,
        },
        "wrong": notes.wrong[:5],
        "problems": sorted(set(notes.problems))[:10],
        "refused": sorted(set(notes.refusals))[:5],
    }


def told(found: Mapping[str, Any]) -> str:
    """The acts and the bars, as markdown."""
    names = [*found["acts"], "all"]
    counts = [*found["acts"].values(), sum(found["acts"].values())]
    grown = found["memory_growth"]
    return "\n".join(
        [
            f"{found['minutes']:g} minutes, {found['visitors']} visitors",
            "",
            *table(names, [[f"{count:,}" for count in counts]]),
            "",
            f"{found['confirmed_ratings']:,} ratings confirmed, {found['lost_ratings']} lost, "
            f"{found['doubled_ratings']} twice; {found['wrong_texts']} wrong texts, {found['failures']} failures, "
            f"{found['refusals']} refusals, {found['tracebacks']} tracebacks; "
            f"memory {'–' if grown is None else f'{grown:+.1%}'}.",
            *(f"- {claim}: {'met' if held else 'MISSED'}" for claim, held in found["bars"].items()),
            *(f"- {line}" for key in ("wrong", "problems") for line in found[key]),
        ]
    )

"""How many visitors does it stand? `python -m eft_core.loadtest [--quick]` asks the real HTTP interface here.

It starts `python app.py` itself, with data of its own, unless `--address` names one that runs here. Tables go to
standard output, whose last line is one JSON object; progress to standard error. `--soak MINUTES` is mixed traffic
instead (`soak`). Exit status 1 where an answer failed or was wrong.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from eft_core.families import family_named
from eft_core.loadtest import report, soak
from eft_core.loadtest.mix import mix
from eft_core.loadtest.rounds import Scale, loaded
from eft_core.loadtest.server import served

# Of all together more than 1,000 requests; and what ends within five minutes on two slow cores. A turn of sixteen has
# the whole mix for each of them.
FULL = Scale((1, 4, 16, 64), requests=24, least=1152, seconds=360, whole=1500, turns=3)
QUICK = Scale((1, 4, 16, 64), requests=12, least=384, seconds=30, whole=240, turns=2)
MIX = 12  # comparisons; every round has at least all of them
MOST_VISITORS, MOST_REQUESTS, MOST_SECONDS, MOST_MINUTES = 256, 1000, 3600, 24 * 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load test or the soak; returns the exit status: 0, 1 where something failed, 2 for a user's mistake."""
    options = _parser().parse_args(arguments)
    # The visitors' library looks for it around every read, on the whole path where there is none, at the server's cost.
    if "sniffio" not in sys.modules and find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is ended too
    try:
        if options.soak is not None:
            return soaked(options)
        return run(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m eft_core.loadtest", description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="within five minutes: fewer requests")
    parser.add_argument("--visitors", metavar="N,N", help="at once, one round each (default 1,4,16,64)")
    parser.add_argument(
        "--requests", type=int, metavar="N", help="of every visitor in a round (at least a dozen in all)"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="of a round, after which nobody asks again")
    parser.add_argument("--family", default="atlas", help="what the started server runs (default: atlas)")
    parser.add_argument("--address", metavar="URL", help="a server that runs on this machine, of that family")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="mixed traffic instead, such as 30")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON document here too")
    return parser


def scale_of(options: argparse.Namespace) -> Scale:
    """The scale that the options ask for, within bounds: this is a measurement and never an attack."""
    usual = QUICK if options.quick else FULL
    visitors = counts(options.visitors) if options.visitors else usual.visitors
    requests = usual.requests if options.requests is None else options.requests
    seconds = usual.seconds if options.seconds is None else options.seconds
    if not 1 <= requests <= MOST_REQUESTS:
        raise ValueError(f"--requests must be 1 to {MOST_REQUESTS}: how often every visitor asks.")
    if not 0 < seconds <= MOST_SECONDS:
        raise ValueError(f"--seconds must be above 0 and at most {MOST_SECONDS}: how long a round may take.")
    whole = usual.whole if options.seconds is None else (seconds + 60) * (len(visitors) + 1)
    least = usual.least if options.requests is None else MIX
    return Scale(visitors, requests, least, seconds, whole, min(usual.turns, requests))


def counts(text: str) -> tuple[int, ...]:
    """Numbers of visitors, as `1,16`."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(1 <= count <= MOST_VISITORS for count in found):
        raise ValueError(f"--visitors must be numbers from 1 to {MOST_VISITORS} with commas between, such as 1,16.")
    return found


def run(options: argparse.Namespace) -> int:
    """Ask, measure, report."""
    scale, family = scale_of(options), family_named(options.family)
    described = report.machine()
    with served(options.address, family.name) as server:
        load = asyncio.run(loaded(server, mix(family), scale))
    print(report.told(load, described), end="\n\n")
    found = report.document(load, family.name, described)
    report.tell(found, options.json)
    return int(bool(found["failures"] or found["wrong_texts"]))


def soaked(options: argparse.Namespace) -> int:
    """Mixed traffic for some minutes, and what it left."""
    if options.address is not None:
        raise ValueError("--soak starts its own server, whose database it reads at the end: leave --address out.")
    if not 0 < options.soak <= MOST_MINUTES:
        raise ValueError(f"--soak must be above 0 and at most {MOST_MINUTES} minutes.")
    found = soak.run(options.soak * 60, family_named(options.family), report.machine())
    report.tell(found, options.json)
    return int(not all(held for held in found["bars"].values()))


if __name__ == "__main__":
    sys.exit(main())

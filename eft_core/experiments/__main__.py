"""The paper's results on models at hand: `python -m eft_core.experiments NAME --family F [--items n] [--json FILE]`.

NAME is scales, frontier, amplification, filter, speculation, tokens, or all. The table goes to standard output,
progress to standard error. A run that was interrupted goes on where it was.
"""

import argparse
import json
import sys
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from eft_core.events import Loading
from eft_core.experiments.catalogue import NAMES
from eft_core.experiments.documents import Document, csv
from eft_core.experiments.report import report, section
from eft_core.experiments.study import Options
from eft_core.judge_client import Judge
from eft_core.judging import Cost
from eft_core.settings import Settings

# Options that say where something lies, and change no result.
_PLACES = ("--json", "--report", "--notes", "--csv", "--runs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status: 0, or 2 for a user's mistake."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    try:
        _run(options, Settings.from_environment(), given)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the answers so far are kept; run the same command to go on", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m eft_core.experiments", description=str(__doc__).split("\n\n")[0])
    parser.add_argument("name", choices=[*NAMES, "all"], metavar="NAME", help=", ".join([*NAMES, "all"]))
    parser.add_argument("--family", help="default: EFT_FAMILY, or atlas")
    parser.add_argument("--items", type=int, help="prompts (default: the experiment's own number)")
    parser.add_argument("--samples", type=int, help="answers drawn for each prompt under each setting")
    parser.add_argument("--temperature", type=float, help="0 is greedy (default: the experiment's own)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--behaviour", default="", metavar="NAME", help="default: the family's; frontier: first/second")
    parser.add_argument("--pretrain", default="", metavar="SIZE", help="N (default: the family's)")
    parser.add_argument("--finetune", default="", metavar="SIZE", help="M (default: the family's)")
    sets = "atlas, instructions, anthropic-hh, eli5, humaneval, or a .jsonl or .csv file"
    parser.add_argument("--prompts", default="", metavar="SET|FILE", help=sets)
    parser.add_argument("--max-new-tokens", type=int, dest="length", metavar="N", help="the longest answer")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the document; all: a folder, NAME.json each")
    parser.add_argument("--report", type=Path, metavar="FILE.md", help="write a Markdown report")
    parser.add_argument("--notes", type=Path, metavar="FILE.md", help="what the report says below its head")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the rows; all: a folder")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="where answers are kept (default: EFT_DATA_DIR/runs)")
    parser.add_argument("--yes", action="store_true", help="ask the judge without asking you about its cost")
    return parser


def _run(options: argparse.Namespace, settings: Settings, given: Sequence[str]) -> None:
    from eft_core.session import Session  # torch comes with it; mistakes in the options do without

    asked = _options(options)
    judge = judge_of(settings)
    session = Session(replace(settings, family=options.family or settings.family))
    notes = _read(options.notes)
    names = NAMES if options.name == "all" else (options.name,)
    documents = []
    for name in names:
        command = " ".join(["python -m eft_core.experiments", name, *_repeated(given, options.name)])
        found = _one(name, session, asked, judge, options, command)
        print(section(found), end="\n\n", flush=True)
        _write(_named(options.json, "json", name, options.name), json.dumps(found, indent=1) + "\n")
        _write(_named(options.csv, "csv", name, options.name), csv(found["rows"]))
        documents.append(found)
    if options.report:
        title = f"The paper's experiments on {session.family.title}"
        _write(options.report, report(documents, title, notes))


def _options(options: argparse.Namespace) -> Options:
    for name in ("items", "samples", "length"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{'max-new-tokens' if name == 'length' else name} must be at least 1.")
    fields = ("items", "samples", "temperature", "seed", "prompts", "behaviour", "length", "pretrain", "finetune")
    return Options(**{name: getattr(options, name) for name in fields})


def judge_of(settings: Settings) -> Judge | None:
    """The judge of the environment, or None. ValueError if half of it is missing."""
    if not settings.judge_url:
        return None
    if not settings.judge_model:
        raise ValueError("EFT_JUDGE_URL is set and EFT_JUDGE_MODEL is not: name the model that judges.")
    return Judge(settings.judge_url, settings.judge_model, settings.judge_key, prices=settings.judge_prices)


def _one(
    name: str, session: Any, asked: Options, judge: Judge | None, options: argparse.Namespace, command: str
) -> Document:
    from eft_core.experiments.conduct import conducted, most_calls, prepared, timed

    if name == "speculation":
        return _told(timed(session, command, options.runs), name, options.yes)
    ready = prepared(name, session, asked, judge)
    print(f"{name}: {len(ready.trials):,} answers; graded by {ready.graded_by}", file=sys.stderr)
    if calls := most_calls(ready):
        print(f"the judge gets at most {calls:,} calls; those kept from before are not made again", file=sys.stderr)
    if ready.judge is not None and not options.yes and not sys.stdin.isatty():
        raise ValueError("a judge costs money: add --yes to agree to what it is asked.")
    return _told(conducted(ready, session, command, options.runs), name, options.yes)


def _agree(cost: Cost, yes: bool) -> None:
    """The cost is told before the judge is asked; a person agrees, or --yes did."""
    print(f"the judge: {cost}", file=sys.stderr)
    if not yes and cost.calls > cost.cached and input("go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise ValueError("the judge was not asked; the answers are kept.")


def _told(steps: Generator[Any, None, Document], name: str, yes: bool) -> Document:
    """Drain a stream, telling on standard error where it stands."""
    from eft_core.experiments.verdicts import Judged
    from eft_core.running import Progress

    shown = -1
    with closing(steps):
        while True:
            try:
                event = next(steps)
            except StopIteration as ended:
                return ended.value
            match event:
                case Loading():
                    print(f"loading {event.member} ({event.index} of {event.total})", file=sys.stderr)
                case Cost():
                    _agree(event, yes)
                case Progress() | Judged() if 10 * event.done // max(1, event.total) != shown:
                    shown = 10 * event.done // max(1, event.total)
                    left = getattr(event, "left", None)
                    rest = "" if left is None else f", about {left:.0f} s left"
                    print(f"{name}: {event.done:,} of {event.total:,}{rest}", file=sys.stderr, flush=True)


def _repeated(given: Sequence[str], name: str) -> list[str]:
    """The options of the command line, without the experiment's name and where results go."""
    kept, skip = [], False
    for part in given:
        if skip:
            skip = False
        elif part in _PLACES:
            skip = True
        elif part != name and not part.startswith(tuple(f"{place}=" for place in _PLACES)):
            kept.append(part)
    return kept


def _named(file: Path | None, kind: str, name: str, asked: str) -> Path | None:
    """FILE, or where all experiments write one each, a file in the folder FILE."""
    return file if file is None or asked != "all" else file / f"{name}.{kind}"


def _read(file: Path | None) -> str:
    try:
        return "" if file is None else file.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}.") from error


def _write(file: Path | None, text: str) -> None:
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{file} cannot be written: {error.strerror}.") from error


if __name__ == "__main__":
    sys.exit(main())

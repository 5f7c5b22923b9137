"""The command line's vocabulary doctor: `vocabulary` compares the tokenizers of a family, or of any checkpoints.

The report goes to standard output, what is left out to standard error. Token texts reach a terminal through `repr`, so
none of them can steer it. `__main__` registers the command; a tokenizer is loaded only when it runs.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eft_core.doctor import Finding, Report, examine
from eft_core.families import family_named
from eft_core.family import Family
from eft_core.located import Checkpoint, locate
from eft_core.policy import Member
from eft_core.settings import Settings
from eft_core.vocabulary import read_sides

SCHEMA = "eft-lab/vocabulary/1"
HEADINGS = ("Member", "Verdict", "Tokens", "Logits", "Padding", "Ends answers", "Begins texts", "Chat template")


def add_commands(commands: Any) -> None:
    """Register `vocabulary`, with what runs it."""
    examining = commands.add_parser("vocabulary", help="do checkpoints share token ids? a report with its evidence")
    examining.set_defaults(run=vocabulary)
    about = "members such as base[small], folders, .gguf files, or Hub ids; the first is compared with the others "
    examining.add_argument("places", metavar="MEMBER_OR_FOLDER", nargs="*", help=about + "(default: the family's)")
    examining.add_argument("--family", help="default: EFT_FAMILY, or atlas")
    examining.add_argument(
        "--json", metavar="FILE", nargs="?", const="-", help="one JSON object, to FILE or standard output"
    )


def vocabulary(options: argparse.Namespace, settings: Settings) -> None:
    """Print the report. ValueError at the end if a member shares no vocabulary with the first."""
    places, aliases = _places(options.places, options.family, settings)
    report = examine(read_sides(places), aliases)
    if options.json is None:
        print("\n".join(told(report)))
    else:
        text = json.dumps(document(report), ensure_ascii=False, indent=2) + "\n"
        sys.stdout.write(text) if options.json == "-" else Path(options.json).write_text(text, encoding="utf-8")
    report.check()


def lines(report: Report) -> tuple[tuple[str, ...], ...]:
    """The report as rows of cells below `HEADINGS`, a row a member, the reference first."""
    return tuple(_cells(finding) for finding in report.findings)


def told(report: Report) -> list[str]:
    """The report as lines of text: the table, then each member's reason and evidence."""
    table = (HEADINGS, *lines(report))
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    ends = ", ".join(map(str, sorted(report.end_ids))) or "none"
    text += ["", f"shared: ids 0 to {report.width - 1:,}; answers end by {ends}"]
    for finding in report.findings:
        text += ["", f"{finding.member}: {finding.verdict}: {finding.reason}"]
        text += [f"  - {sentence}" for sentence in finding.evidence]
    return [_harmless(line) for line in text]


def document(report: Report) -> dict[str, Any]:
    """The report as plain values. Of a map of ids there is only how many it maps."""
    findings = [{**asdict(finding), "ids": len(finding.ids)} for finding in report.findings]
    shared = {"reference": report.reference, "width": report.width, "end_ids": sorted(report.end_ids)}
    return {"schema": SCHEMA, **shared, "members": findings}


def _cells(finding: Finding) -> tuple[str, ...]:
    numbers = (f"{number:,}" for number in (finding.tokens, finding.width, finding.padding))
    ends = ", ".join(map(repr, finding.ends)) or "none"
    begin = "none" if finding.begin is None else repr(finding.begin)
    return (finding.member, finding.verdict, *numbers, ends, begin, finding.template)


def _harmless(line: str) -> str:
    """The line without anything that steers a terminal: names of members and reasons come from files."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)


def _places(
    names: Sequence[str], family: str | None, settings: Settings
) -> tuple[dict[str, Checkpoint], dict[str, str]]:
    """Checkpoints by name, and the family's aliases if any of it is meant."""
    if names and family is None and not any(_is_member(name) for name in names):
        return {name: _place(name) for name in names}, {}
    found = family_named(family or settings.family, *settings.families_files)
    if not names:
        return _present(found), dict(found.aliases)
    meant = {name: found.checkpoint(Member.named(name)) if _is_member(name) else _place(name) for name in names}
    return meant, dict(found.aliases)


def _present(family: Family) -> dict[str, Checkpoint]:
    """The members on this machine, the reference first; those that are not are told on standard error."""
    here = {}
    for member in dict.fromkeys([family.reference, *family.checkpoints]):
        place = family.checkpoint(member)
        if place.present():
            here[str(member)] = place
        else:
            print(f"left out: {member} is not on this machine ({place})", file=sys.stderr)
    if not here:
        raise ValueError(f"no member of {family.name} is on this machine: {family.checkpoint(family.reference).remedy}")
    return here


def _is_member(name: str) -> bool:
    return name.startswith(("base[", "tuned["))


def _place(name: str) -> Checkpoint:
    """A folder, a GGUF file, or a Hub id in the local cache."""
    path = Path(name).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return Checkpoint(str(path.parent.resolve()), file=path.name)
    place = locate(name, Path.cwd())
    if place.local and not place.present():
        raise ValueError(f"no checkpoint in {place}: {place.weights_file} is missing; name a folder that has it.")
    return place

"""The command `download`: a family's checkpoints, or any of the Hub, into its ordinary cache, with their progress.

Progress goes to standard error; what was found, and where it lies, to standard output. `__main__` registers it.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from eft_core import hub
from eft_core.events import Downloading
from eft_core.families import family_named
from eft_core.family import Family, compared_members
from eft_core.located import HUB_ID, Checkpoint, locate
from eft_core.memory import size
from eft_core.policy import Member
from eft_core.settings import Settings


def add_commands(commands: Any) -> None:
    """Register `download`, with what runs it."""
    command = commands.add_parser("download", help="fetch a family's checkpoints, or any other, from the Hub")
    command.set_defaults(run=download)
    about = "a family's name, or a Hub id such as org/name or org/name@revision"
    command.add_argument("family", metavar="FAMILY_OR_ID", help=about)
    command.add_argument("--sizes", nargs="+", metavar="SIZE", default=[], help="all members of these sizes")
    members = "such as base[small] tuned[helpful][small] (default: those of the family's default comparison)"
    command.add_argument("--members", nargs="+", metavar="MEMBER", default=[], help=members)
    command.add_argument("--file", metavar="NAME", help="the GGUF file that is meant, with a Hub id")
    command.add_argument("--check", action="store_true", help="tell what would come; fetch the small files alone")


def download(options: argparse.Namespace, settings: Settings) -> None:
    """Fetch, or with --check only look. ValueError with the remedy."""
    places = _meant(options, settings)
    if options.check:
        _check(places)
        return
    show(hub.download(places), sys.stderr.isatty())
    for place in places:
        print(f"{place}: {_folder(place)}")


def members_of(family: Family, sizes: Sequence[str] = (), names: Sequence[str] = ()) -> list[Member]:
    """The members of these sizes and names; those of the default comparison where nothing is named.

    ValueError that lists what there is for a size or member that the family has not.
    """
    if not sizes and not names:
        return list(compared_members(family))
    if unknown := next((each for each in sizes if each not in family.sizes), None):
        raise ValueError(f"{family.name} has no size {unknown!r}; it has {', '.join(family.sizes)}.")
    meant = [member for member in family.checkpoints if member.size in sizes]
    meant += [Member.named(name) for name in names]
    for member in meant:
        family.checkpoint(member)
    return list(dict.fromkeys(meant))


def show(events: Iterable[Downloading], rewriting: bool) -> None:
    """Progress on standard error: one line that is rewritten, or a line for every tenth of a checkpoint."""
    told: tuple[str, int] | None = None
    for event in events:
        tenth = (event.checkpoint, 10 * event.done // event.total if event.total else -1)
        if rewriting:
            print(f"\r\x1b[K{line(event)}", end="", file=sys.stderr, flush=True)
        elif tenth != told:
            print(line(event), file=sys.stderr, flush=True)
        if rewriting and event.total and event.done == event.total and tenth != told:
            print(file=sys.stderr)
        told = tenth


def line(event: Downloading) -> str:
    """Progress in words."""
    if not event.total:
        return f"{event.checkpoint}: looking at its small files"
    share = f"{event.checkpoint}: {size(event.done)} of {size(event.total)} ({event.done / event.total:.0%})"
    if not event.seconds:
        return share
    minutes, seconds = divmod(round(event.seconds), 60)
    return f"{share}, {f'{minutes} min ' if minutes else ''}{seconds} s left"


def _meant(options: argparse.Namespace, settings: Settings) -> list[Checkpoint]:
    name: str = options.family
    if HUB_ID.match(name.partition("@")[0]):
        if options.sizes or options.members:
            raise ValueError("a Hub id is one checkpoint: leave --sizes and --members out, or name a family.")
        place = locate(name, Path("/"))
        return [Checkpoint(place.location, place.revision, local=False, file=options.file)]
    if options.file:
        raise ValueError("--file goes with a Hub id: a family's file says which files are meant.")
    family = family_named(name, *settings.families_files)
    members = members_of(family, options.sizes, options.members)
    return list(dict.fromkeys(family.checkpoint(member) for member in members))


def _check(places: Iterable[Checkpoint]) -> None:
    for place in places:
        found = hub.check(place)
        if not found:
            print(f"{place}: lies on this machine, nothing is to come")
        for each in found:
            print(_told(each))


def _told(found: hub.Found) -> str:
    """What was found, in a line."""
    parts = [f"{size(found.size)}, of which {size(found.size - found.here)} are to come"]
    if found.facts is not None:
        parts.append(f"{found.facts.architecture} with {found.facts.parameters / 1e6:,.1f} million parameters")
        parts.append(f"{size(found.facts.weight_bytes(4))} in float32, {size(found.facts.weight_bytes(2))} in bfloat16")
        parts.append(f"context {found.facts.context:,}")
    parts.append(f"licence {found.licence or 'not named'}")
    if found.gating:
        parts.append(f"gated: accept the licence at https://huggingface.co/{found.place.location}")
    return "".join(letter if letter.isprintable() else "?" for letter in f"{found.place}: {'; '.join(parts)}")


def _folder(place: Checkpoint) -> Path:
    try:
        return place.folder()
    except ValueError:
        if place.local:
            raise
        return place.adapter_folder()  # a Hub id may be an adapter's

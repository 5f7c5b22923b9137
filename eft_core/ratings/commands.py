"""The command line's judgements: `export` and `import` them, list `campaigns`, `backup` the database, `restore` it.

    python -m eft_core export --form preference --conversational --out preferences.jsonl

Files go to standard output unless it is a terminal, which texts might steer. Loads no torch.
"""

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from eft_core.ratings.forms import FORMS, Wishes
from eft_core.settings import Settings


def add_commands(commands: Any) -> None:
    """Register the commands, with what runs them."""
    exporting = commands.add_parser("export", help="write human judgements as a file")
    exporting.set_defaults(run=run, does=_export)
    about = "; ".join(f"{form}: {what}" for form, what in FORMS.items())
    exporting.add_argument("--form", metavar="FORM", required=True, choices=FORMS, help=about)
    exporting.add_argument("--campaign", metavar="ID", action="append", help="may be repeated (default: all)")
    exporting.add_argument("--conversational", action="store_true", help="messages in the stead of texts")
    exporting.add_argument("--majority", action="store_true", help="one row for what most raters say")
    exporting.add_argument(
        "--pair", metavar=("A", "B"), nargs=2, help="labels of the two policies of a comparator file"
    )
    exporting.add_argument(
        "--not-blind", action="store_true", help="with judgements of raters who may have known whose"
    )
    exporting.add_argument("--out", metavar="FILE", type=Path, help="default: standard output")
    importing = commands.add_parser("import", help="bring an export of everything into the database")
    importing.set_defaults(run=run, does=_import)
    importing.add_argument("file", metavar="FILE", type=Path, help="of python -m eft_core export --form jsonl")
    listing = commands.add_parser("campaigns", help="list campaigns and how far they are")
    listing.set_defaults(run=run, does=_campaigns)
    listing.add_argument("--json", action="store_true", help="print a JSON list")
    backing = commands.add_parser("backup", help="copy the database of judgements, while servers go on")
    backing.set_defaults(run=run, does=_backup)
    backing.add_argument("destination", metavar="DESTINATION", type=Path, help="a new file, or a folder")
    restoring = commands.add_parser("restore", help="put a copy in the place of the database")
    restoring.set_defaults(run=run, does=_restore)
    restoring.add_argument("source", metavar="SOURCE", type=Path, help="of python -m eft_core backup")
    restoring.add_argument("--replace", action="store_true", help="also where there is a database")


def run(options: argparse.Namespace, settings: Settings) -> None:
    """Run one of the commands. ValueError with the remedy."""
    from eft_core.storage import Unavailable

    try:
        options.does(options, settings)
    except Unavailable as error:
        raise ValueError(str(error)) from error


def _export(options: argparse.Namespace, settings: Settings) -> None:
    from eft_core.ratings.export import exported
    from eft_core.storage import Storage

    if options.out is None and sys.stdout.isatty():
        raise ValueError("name a file with --out, or send standard output to one.")
    pair = tuple(options.pair) if options.pair else None
    wishes = Wishes(options.conversational, options.majority, pair, options.not_blind)
    with closing(Storage.of(settings)) as storage:
        file = exported(storage, options.form, options.campaign or (), wishes)
    if options.out is None:
        sys.stdout.buffer.write(file.content)
    else:
        try:
            options.out.write_bytes(file.content)
        except OSError as error:
            raise ValueError(f"{options.out} cannot be written: {error.strerror}.") from error
    print(file, file=sys.stderr)


def _import(options: argparse.Namespace, settings: Settings) -> None:
    from eft_core.ratings.importing import imported
    from eft_core.ratings.restoring import backup_of
    from eft_core.storage import Storage

    with closing(Storage.of(settings, backup_of(settings))) as storage:
        written = imported(storage, options.file)
    told = [f"{count:,} {table}" for table, count in written.items() if count]
    print(f"brought: {', '.join(told)}." if told else "all of it was here already.", file=sys.stderr)


def _campaigns(options: argparse.Namespace, settings: Settings) -> None:
    from eft_core.ratings.office import Office
    from eft_core.storage import Storage

    with closing(Storage.of(settings)) as storage:
        found = Office(storage).campaigns()
    if options.json:
        names = ("id", "title", "family", "state", "items", "judgements", "wanted", "annotators")
        print(json.dumps([{name: getattr(each, name) for name in names} for each in found], ensure_ascii=True))
        return
    for each in found:
        judgements = f"{each.judgements:,}{f' of {each.wanted:,}' if each.wanted else ''} judgements"
        print(f"{each.id}  {each.state:<7}  {judgements}  {each.annotators} raters  {each.title!r}")
    if not found:
        print("no campaigns yet: make one on the page Organise.", file=sys.stderr)


def _backup(options: argparse.Namespace, settings: Settings) -> None:
    from eft_core.ratings.copies import back_up

    file, counts = back_up(settings, options.destination)
    print(f"{sum(counts.values()):,} rows, {counts['ratings']:,} of them judgements, are in {file}.", file=sys.stderr)


def _restore(options: argparse.Namespace, settings: Settings) -> None:
    from eft_core.ratings.copies import bring_back

    kept, counts = bring_back(settings, options.source, options.replace)
    told = f"{sum(counts.values()):,} rows, {counts['ratings']:,} of them judgements, are back"
    aside = f"; what was there is {kept}" if kept else ""
    more = "; what EFT_BACKUP has besides comes in when the server starts" if settings.backup else ""
    print(f"{told}{aside}{more}.", file=sys.stderr)

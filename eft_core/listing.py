"""The command `families`: every family, its members' places, and their memory. `__main__` registers it; no torch."""

import argparse
import json
from typing import Any

from eft_core.checkpoint import read_facts
from eft_core.families import families
from eft_core.family import Family
from eft_core.memory import size
from eft_core.policy import Member
from eft_core.settings import Settings


def add_commands(commands: Any) -> None:
    """Register `families`, with what runs it."""
    listing = commands.add_parser("families", help="list families, sizes, behaviours, and whether their files are here")
    listing.set_defaults(run=_families)
    listing.add_argument("--json", action="store_true", help="print a JSON list")


def _families(options: argparse.Namespace, settings: Settings) -> None:
    """Every family, and every member's place and memory in float32."""
    listed = [_described(family) for family in families(*settings.families_files).values()]
    if options.json:
        print(json.dumps(listed, ensure_ascii=False))
        return
    for family in listed:
        print(f"{family['name']}: {family['title']}{' (' + family['note'] + ')' if family['note'] else ''}")
        print(f"  sizes: {', '.join(family['sizes'])}")
        for member in family["members"]:
            state = size(member["bytes"]) if member["bytes"] else member["problem"]
            print(f"  {member['member']:<28} {state}")
        for sentence in family["unconfirmed"]:
            print(f"  not confirmed: {sentence}")


def _described(family: Family) -> dict[str, Any]:
    members = [_described_member(family, member) for member in family.checkpoints]
    behaviours = {each: list(family.behaviours_of(each)) for each in family.sizes}
    fields = {
        name: getattr(family, name)
        for name in ("name", "title", "description", "licence", "note", "gating", "unconfirmed")
    }
    return fields | {"sizes": list(family.sizes), "behaviours": behaviours, "members": members}


def _described_member(family: Family, member: Member) -> dict[str, Any]:
    """Where a member lies and how much memory its weights take in float32, or what is wrong with it."""
    checkpoint = family.checkpoints[member]
    described = {"member": str(member), "location": checkpoint.location, "bytes": 0, "problem": ""}
    try:
        return described | {"bytes": read_facts(checkpoint.folder(), checkpoint.file).weight_bytes(4)}
    except ValueError as error:
        return described | {"problem": str(error)}

"""A new family: from the form or a TOML text to tables, and all that can be checked before anything is downloaded.

Whatever a browser sends is checked; a mistake is one sentence. The Hub is asked about its ids, where it can be; no
weights are downloaded or loaded here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from components.models_facts import counted
from eft_core import hub
from eft_core.checkpoint import Facts
from eft_core.config import Request
from eft_core.doctor import examine
from eft_core.family import Family, default_columns
from eft_core.hub_errors import NotYet
from eft_core.lab import Lab, tables_of
from eft_core.located import Checkpoint
from eft_core.memory import bytes_of, size
from eft_core.policy import Member
from eft_core.safety import check_adapter
from eft_core.session import Session
from eft_core.vocabulary import read_sides

# good: it is so. later: known when the files are here. bad: the family cannot be added so.
Mark = Literal["good", "later", "bad"]
MOST_ROLES = 16  # sizes, and behaviours, of a form
LONGEST = 1000  # characters of a field
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}")


@dataclass(frozen=True, slots=True)
class Found:
    """One outcome: of what, how it is, and a sentence."""

    about: str
    mark: Mark
    text: str


def tables_from(wish: Mapping[str, Any]) -> dict[str, Any]:
    """Families' tables from what the form sent: its TOML text, or its fields. ValueError for what cannot be read."""
    if wish.get("kind") == "toml":
        text = wish.get("toml")
        if not isinstance(text, str):
            raise ValueError("the text did not arrive: reload the page.")
        return tables_of(text)
    name = _field(wish, "name", "the name")
    if not name:
        raise ValueError("the family needs a name: a short one, for it is part of its page's address.")
    return {name: _table(wish)}


def _table(wish: Mapping[str, Any]) -> dict[str, Any]:
    """One family's table from the form's fields."""
    sizes = _names(wish, "sizes", "sizes")
    behaviours = _names(wish, "behaviours", "behaviours")
    if not sizes:
        raise ValueError("the family needs sizes, from small to large, with commas between them: 1b, 7b.")
    places = wish.get("places")
    if not isinstance(places, dict):
        raise ValueError("the checkpoints did not arrive: reload the page.")
    base = _places(places, sizes, "")
    tuned = {behaviour: _places(places, sizes, behaviour) for behaviour in behaviours}
    if empty := [behaviour for behaviour, found in tuned.items() if not found]:
        raise ValueError(f"{empty[0]} has no checkpoint: fill in one size, or take it out of the behaviours.")
    title = _field(wish, "title", "the title")
    defaults = {"default_pretrain": next((each for each in reversed(sizes) if each in base), sizes[-1])}
    if first := next((each for found in tuned.values() for each in sizes if each in found), ""):
        defaults["default_finetune"] = first
    return {**({"title": title} if title else {}), "sizes": sizes, **defaults, "base": base, "tuned": tuned}


def _places(places: Mapping[str, Any], sizes: list[str], behaviour: str) -> dict[str, str]:
    """The checkpoints of one role by size; what is left empty is not there."""
    found = {each: _field(places, f"{behaviour}/{each}", f"the place of {each}") for each in sizes}
    return {each: place for each, place in found.items() if place}


def _names(wish: Mapping[str, Any], key: str, about: str) -> list[str]:
    """Names with commas between them."""
    names = [name.strip() for name in _field(wish, key, about).split(",") if name.strip()]
    if len(names) > MOST_ROLES:
        raise ValueError(f"{about}: {len(names)} are too many for a form: write TOML.")
    if len(set(names)) < len(names):
        raise ValueError(f"{about}: one stands there twice.")
    return names


def _field(wish: Mapping[str, Any], key: str, about: str) -> str:
    value = wish.get(key, "")
    if not isinstance(value, str) or len(value) > LONGEST:
        raise ValueError(f"{about} must be a text of at most {LONGEST:,} characters.")
    return value.strip()


# --- what can be known


def findings(lab: Lab, tables: Mapping[str, Any]) -> Iterator[Found]:
    """All that can be known of new families, one outcome after the other; nothing is kept."""
    for name, table in tables.items():
        try:
            family = lab.read(name, table)
            _check_names(lab, family)
            session = Session(lab.settings, family)
        except ValueError as error:
            yield Found(name, "bad", _sentence(error))
            continue
        yield Found(name, "good", f"{len(family.checkpoints)} checkpoints, and nobody else has the name")
        bad = False
        for member in family.checkpoints:
            found = _member(session, member)
            bad = bad or found.mark == "bad"
            yield found
        if not bad:
            yield _vocabulary(session)
            yield _memory(session)


def _check_names(lab: Lab, family: Family) -> None:
    """ValueError for names that no address and no member's name can hold, or that are taken."""
    if not _NAME.fullmatch(family.name):
        raise ValueError(
            f"the name {family.name!r:.70} is part of an address: use at most 60 letters, digits, dots and dashes."
        )
    for part in (*family.sizes, *family.behaviours):
        if not _PART.fullmatch(part):
            raise ValueError(f"{part!r:.50} is no name of a size or behaviour: use at most 40 letters, digits, .-_+.")
    if family.name in lab.names():
        raise ValueError(f"there is a family {family.name!r} already: choose another name.")


def _member(session: Session, member: Member) -> Found:
    """What one checkpoint is, from its small files."""
    place = session.family.checkpoint(member)
    if not place.present() and not all(each.local for each in (place, place.adapter) if each):
        return _on_the_hub(session, member)
    try:
        facts = session.models.facts(member)
        if place.adapter is not None:
            check_adapter(place.adapter.adapter_folder())
    except ValueError as error:
        return Found(str(member), "bad", _sentence(error))
    return Found(str(member), "good", _said(facts, place, session.models.weight_bytes(member)))


def _on_the_hub(session: Session, member: Member) -> Found:
    """What the Hub and the small files there say. Who is offline, or may not have it yet, may add it all the same."""
    place = session.family.checkpoint(member)
    try:
        looked = hub.check(place)
    except NotYet as error:
        return Found(str(member), "later", f"{place} is not on this machine yet: {_sentence(error)}")
    except ValueError as error:
        return Found(str(member), "bad", _sentence(error))
    residence = session.models.residence(member)
    format_ = bytes_of(residence.dtype), residence.quantise
    parts = [_said(each.facts, place, each.facts.weight_bytes(*format_)) for each in looked if each.facts]
    parts.append(f"licence {' and '.join(each.licence or 'not named' for each in looked)}")
    parts += ["gated"] if any(each.gating for each in looked) else []
    missing = sum(each.size - each.here for each in looked)
    return Found(str(member), "good", f"{'; '.join(parts)}; {size(missing)} to download")


def _said(facts: Facts, place: Checkpoint, weights: int) -> str:
    adapter = f", with the adapter {place.adapter}" if place.adapter else ""
    return f"{facts.architecture}, {counted(facts.parameters)} parameters, {size(weights)} of weights{adapter}"


def _vocabulary(session: Session) -> Found:
    """Whether the members that are here share their ids, the reference first."""
    family = session.family
    here = [
        each for each in dict.fromkeys([family.reference, *family.checkpoints]) if family.checkpoint(each).present()
    ]
    if not here:
        return Found("Vocabulary", "later", "compared when the files are here")
    try:
        report = examine(read_sides({str(each): session.models.residence(each).checkpoint for each in here}),
                         family.aliases)  # fmt: skip
        report.check()
    except ValueError as error:
        return Found("Vocabulary", "bad", _sentence(error))
    words = ", ".join(f"{finding.member} {finding.verdict}" for finding in report.findings)
    rest = "" if len(here) == len(family.checkpoints) else "; the others are compared when they are here"
    return Found("Vocabulary", "good", f"{report.width:,} shared ids: {words}{rest}")


def _memory(session: Session) -> Found:
    """Whether the default comparison fits this machine; one that does not may be added all the same."""
    try:
        policies = tuple(policy for _, policy in default_columns(session.family))
        plan = session.plan(Request.compare("Plan", policies))
        plan.check()
    except ValueError as error:
        return Found("Memory", "later", _sentence(error))
    return Found("Memory", "good", f"the default comparison needs {plan}".removesuffix("."))


def _sentence(error: ValueError) -> str:
    return str(error).removesuffix(".")

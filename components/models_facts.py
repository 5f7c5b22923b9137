"""What the Models tab tells of families: members and their memory, the plan of a comparison, all families. Pure.

Nothing is loaded here but small files. What names a place on the server's disk is told to those alone who may manage.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from eft_core.family import Family, compared_members
from eft_core.hardware import comparison_bytes
from eft_core.lab import Lab
from eft_core.located import Checkpoint
from eft_core.memory import MemoryPlan, bytes_of
from eft_core.policy import Member
from eft_core.session import Session

UNTOLD = "Some of its files are not on this machine, or cannot be used."


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """One member. `here`: its files are on this machine. `parameters` and `weights` (bytes at its number format) are
    None where neither its files nor its publisher say; `published`: they are the publisher's. `shared`: another
    member's weights are these too. `remedy` says what is wrong with its files, or how they get here."""

    member: Member
    place: str
    here: bool
    loaded: bool
    parameters: int | None
    weights: int | None
    published: bool
    device: str
    format: str
    shared: bool
    remedy: str


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """Bytes of the default comparison on one device: of weights, of those in memory already, of caches, and how much
    there is for what is not there yet."""

    device: str
    weights: int
    loaded: int
    cache: int
    room: int

    @property
    def needed(self) -> int:
        """Bytes that are not taken yet."""
        return self.weights - self.loaded + self.cache


@dataclass(frozen=True, slots=True)
class FamilyFacts:
    """A page's own family. `refusal`: why its default comparison has no plan, or does not fit. `estimate`: bytes of its
    weights by the published counts, where there is no plan and they are known. `missing`: how many of its members are
    not on this machine."""

    family: Family
    members: tuple[MemberFacts, ...]
    devices: tuple[DeviceFacts, ...]
    refusal: str
    estimate: int | None
    missing: int

    @property
    def loaded(self) -> int:
        """How many members are in memory."""
        return sum(each.loaded for each in self.members)


@dataclass(frozen=True, slots=True)
class Listed:
    """A family among all. `sizes` hold the bytes of one member's weights, None where nothing says; `opened`: it is the
    page's own; `added`: it was added here and may be removed; `address` leads to its page."""

    family: Family
    sizes: Mapping[str, int | None]
    here: int
    loaded: int
    opened: bool
    added: bool
    address: str
    note: str

    @property
    def total(self) -> int:
        """How many checkpoints it has."""
        return len(self.family.checkpoints)


def family_facts(lab: Lab, session: Session, manage: bool) -> FamilyFacts:
    """The page's own family as it is now."""
    family = session.family
    devices: tuple[DeviceFacts, ...] = ()
    refusal = ""
    try:
        memory = lab.plan(family.name)
        devices = devices_of(memory)
    except ValueError as error:
        refusal = told(error, manage)
    else:
        try:
            memory.check()
        except ValueError as error:
            refusal = str(error)
    loaded = session.loaded()
    members = tuple(member_facts(session, member, manage, member in loaded) for member in family.checkpoints)
    estimate = None if devices else comparison_bytes(family, bytes_of(session.dtype))
    compared = compared_members(family)
    missing = sum(not each.here for each in members if each.member in compared)
    return FamilyFacts(family, members, devices, refusal, estimate, missing)


def devices_of(memory: MemoryPlan) -> tuple[DeviceFacts, ...]:
    """A plan's bytes, device by device."""
    found = []
    for device, room in memory.available.items():
        parts = [part for part in memory.members if part.device == device]
        loaded = sum(part.weights for part in parts if part.loaded)
        cache = sum(part.cache for part in parts)
        found.append(DeviceFacts(device, sum(part.weights for part in parts), loaded, cache, room))
    return tuple(found)


def member_facts(session: Session, member: Member, manage: bool, loaded: bool) -> MemberFacts:
    """One member of a session's family as it is now."""
    family, models = session.family, session.models
    place, residence = family.checkpoint(member), models.residence(member)
    here, remedy, count, weights = place.present(), "", None, None
    try:
        facts = models.facts(member)
        count, weights = facts.parameters, models.weight_bytes(member) + models.adapter_bytes(member)
    except ValueError as error:
        remedy = told(error, manage)
    published = count is None and member.size in family.parameters
    if published:
        count = round(family.parameters[member.size] * 1e9)
        weights = count * bytes_of(residence.dtype)
    first = next(each for each in family.checkpoints if models.residence(each) == residence)
    return MemberFacts(
        member=member,
        place=place_of(place, manage),
        here=here,
        loaded=loaded,
        parameters=count,
        weights=weights,
        published=published,
        device=residence.device,
        format=residence.dtype if residence.quantise == "none" else residence.quantise,
        shared=first != member,
        remedy=remedy,
    )


def listed(lab: Lab, opened: str, manage: bool) -> tuple[Listed, ...]:
    """All families: the page's own first, then those of which files are here, each in the lab's order."""
    added = lab.added()
    found = [_listed(lab, name, opened, manage, name in added) for name in lab.names()]
    return tuple(sorted(found, key=lambda each: (not each.opened, not each.here)))


def _listed(lab: Lab, name: str, opened: str, manage: bool, added: bool) -> Listed:
    family = lab.family(name)
    root = "./" if opened == lab.default else "../../"
    return Listed(
        family=family,
        sizes={size: size_bytes(lab, family, size) for size in family.sizes},
        here=sum(place.present() for place in family.checkpoints.values()),
        loaded=len(lab.loaded(name)),
        opened=name == opened,
        added=added,
        address=root if name == lab.default else f"{root}families/{quote(name, safe='')}/",
        note=family.note if manage else "",
    )


def size_bytes(lab: Lab, family: Family, size: str) -> int | None:
    """Bytes of one member's weights at this size, from the published count, or from its files where they are here."""
    if size in family.parameters:
        return round(family.parameters[size] * 1e9) * bytes_of(lab.session().dtype)
    member = next((each for each in family.checkpoints if each.size == size), None)
    if member is None or not family.checkpoint(member).present():
        return None
    try:
        return lab.session(family.name).models.weight_bytes(member)
    except ValueError:  # its page says what is wrong with it
        return None


def place_of(place: Checkpoint, manage: bool) -> str:
    """A checkpoint's place: a Hub id, or a folder, of which only those who manage see the whole path."""
    if manage or not place.local:
        return str(place)
    return place.location.rstrip("/").rsplit("/", 1)[-1]


def told(error: ValueError, manage: bool) -> str:
    """What is wrong with files: those who manage read where."""
    text = str(error) if manage else UNTOLD
    return text[:1].upper() + text[1:]


def counted(number: int) -> str:
    """A count of parameters for people: 134.5M."""
    for unit, least in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= least:
            return f"{number / least:.3g}{unit}"
    return str(number)

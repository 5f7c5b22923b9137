"""The vocabulary doctor: do these checkpoints share token ids, and if not, what differs? A report with its evidence.

The formula adds log-probabilities of different models token by token, which has a meaning only when an id is the same
text in all of them (ECOSYSTEM.md 5). Prompts are cut once, by the first tokenizer, for all members. A member that has
the same texts under other ids takes part through an exact map of ids (`id_map`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from eft_core.id_map import Match, match, pairs_of
from eft_core.traits import Traits, traits_of

# same: equal ids. same after slicing: equal below the shared width, and behind it nothing that cuts texts otherwise.
# mappable: equal texts under other ids, and texts are cut into the same tokens.
Verdict = Literal["same", "same after slicing", "mappable", "different"]


@dataclass(frozen=True, slots=True)
class Side:
    """One member's tokenizer, the width of its logits, and the ids that end its answers."""

    name: str
    tokenizer: Any
    width: int
    end_ids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """What the doctor says of one member against the first.

    `tokens` are counted up to its largest id; `padding` are logits behind that. `ids` are its own ids of the shared
    ones, in their order, where it is mappable. `ends` and `begin` are token texts; `template` tells how its chat
    template stands to the first's, which forms every prompt; `kind` is the tokenizer's class.
    """

    member: str
    verdict: Verdict
    reason: str
    evidence: tuple[str, ...]
    tokens: int
    width: int
    padding: int
    ends: tuple[str, ...]
    begin: str | None
    template: str
    kind: str
    ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """`width` shared ids, 0 to width - 1 of the reference, those that end an answer, and a finding a member."""

    reference: str
    width: int
    end_ids: frozenset[int]
    findings: tuple[Finding, ...]

    def check(self) -> None:
        """ValueError for the first member that shares no vocabulary, with the first id that differs."""
        for finding in self.findings:
            if finding.verdict == "different":
                raise ValueError(
                    f"{self.reference} and {finding.member} do not share a vocabulary: {finding.reason}. Use "
                    "checkpoints of one family, or state two names of one token under aliases in the families file; "
                    "there is no bridge between different vocabularies."
                )

    def own_ids(self, member: str) -> tuple[int, ...]:
        """A member's own ids of the shared ones; () where they are the same."""
        return next((each.ids for each in self.findings if each.member == member), ())


@dataclass(frozen=True, slots=True)
class _Examined:
    """A member with what its tokenizer is, and how far that agrees with the first's."""

    side: Side
    traits: Traits
    match: Match

    def ends(self) -> frozenset[int]:
        """Its own ids that end an answer."""
        own = self.traits.end_id
        return self.side.end_ids if own is None else self.side.end_ids | {own}

    def end_texts(self) -> tuple[str, ...]:
        return tuple(self.traits.text(end) for end in sorted(self.ends()))

    def shared_ends(self, width: int) -> frozenset[int]:
        """Its end tokens as shared ids."""
        if self.match.own:
            ends = self.ends()
            return frozenset(shared for shared, own in enumerate(self.match.own[:width]) if own in ends)
        return frozenset(end for end in self.ends() if end < width)


def examine(sides: Sequence[Side], aliases: Mapping[str, str] | None = None) -> Report:
    """Compare every member with the first. `aliases` are pairs of token texts that are one on purpose.

    The shared width is the smallest of those members that share ids at all. ValueError if there is nothing to compare.
    """
    if not sides:
        raise ValueError("there is no tokenizer to examine: name at least one member or folder.")
    pairs, known = pairs_of(aliases or {}), dict[int, Traits]()
    for side in sides:
        if id(side.tokenizer) not in known:
            known[id(side.tokenizer)] = traits_of(side.tokenizer)
    first = known[id(sides[0].tokenizer)]
    here = min(sides[0].width, first.size)
    seen = [known[id(side.tokenizer)] for side in sides]
    examined = [
        _Examined(side, traits, match(first, here, traits, side.width, pairs))
        for side, traits in zip(sides, seen, strict=True)
    ]
    agreeing = [each for each in examined if not each.match.problem]
    width = min(each.match.width for each in agreeing)
    ends = frozenset[int]().union(*(each.shared_ends(width) for each in agreeing))
    return Report(sides[0].name, width, ends, tuple(_finding(examined[0], each, width) for each in examined))


def _finding(first: _Examined, each: _Examined, width: int) -> Finding:
    """The verdict on one member, and why."""
    verdict, reason = _verdict(first, each, width)
    side, traits = each.side, each.traits
    smaller = () if verdict == "different" else _smaller(first, each, width)
    return Finding(
        member=side.name,
        verdict=verdict,
        reason=reason,
        evidence=(*each.match.evidence, *smaller, *_parts(first.traits, traits)),
        tokens=traits.size,
        width=side.width,
        padding=max(0, side.width - traits.size),
        ends=each.end_texts(),
        begin=traits.begin,
        template=_template(first.traits.template, traits.template),
        kind=traits.kind,
        ids=each.match.own[:width],
    )


def _verdict(first: _Examined, each: _Examined, width: int) -> tuple[Verdict, str]:
    if each is first:
        return "same", "the others are compared with this one"
    if each.match.problem:
        return "different", each.match.problem
    if each.match.own:
        return "mappable", f"the same {width:,} texts under other ids, which are mapped one to one"
    if (each.side.width, each.traits.size) == (first.side.width, first.traits.size):
        return "same", "every id is the same text"
    return "same after slicing", f"the ids below {width:,} are the same; what lies behind is not used"


def _smaller(first: _Examined, each: _Examined, width: int) -> Iterator[str]:
    """What does not stand in the way, each a sentence: end tokens, what is put around a text, added tokens."""
    ours, theirs = first.traits, each.traits
    reached = {each.match.theirs(number) for number in each.shared_ends(width)}
    if lost := sorted(each.ends() - reached):
        texts = ", ".join(repr(theirs.text(number)) for number in lost)
        yield f"its end token {texts} lies behind the shared ids: its answers end by another, or at the limit"
    if first.end_texts() != each.end_texts():
        yield f"ends answers with {each.end_texts()!r}, the first with {first.end_texts()!r}: any of them ends one"
    if ours.around != theirs.around:
        yield f"puts {theirs.around!r} around a text by itself, the first {ours.around!r}"
    numbers = sorted({*ours.added, *(() if each.match.own else theirs.added)})
    flags = {n: (ours.added.get(n), theirs.added.get(each.match.theirs(n))) for n in numbers if n < width}
    if unlike := [number for number, (one, two) in flags.items() if one != two]:
        one, two = (flag or "not an added token" for flag in flags[unlike[0]])
        such = f"such as {ours.text(unlike[0])!r}: {one} in the first, {two} here"
        yield f"{len(unlike):,} added tokens have other flags, {such}"
    if behind := [number for number in numbers if number >= width and number in theirs.added and not each.match.own]:
        yield f"{len(behind):,} added tokens lie behind the shared ids, such as {theirs.text(behind[0])!r}"


def _parts(first: Traits, second: Traits) -> Iterator[str]:
    """Parts and classes that differ; the probes tell whether it matters."""
    for name, part in first.parts.items():
        if part != second.parts[name]:
            yield f"its {name} is {second.parts[name] or 'none':.100}, the first's {part or 'none':.100}"
    if first.kind != second.kind:
        yield f"it is a {second.kind}, the first a {first.kind}"


def _template(first: str, second: str) -> str:
    """How a chat template stands to the first's: the first line that differs."""
    if not second:
        return "none"
    if first == second:
        return "same"
    ours, theirs = first.splitlines(), second.splitlines()
    line = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    text = theirs[line].strip() if line < len(theirs) else ""
    return f"differs from line {line + 1}: {text!r:.80}"

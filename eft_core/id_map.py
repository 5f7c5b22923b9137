"""How far the ids of two tokenizers agree: id by id, or through an exact map where the same texts have other ids.

A map is exact or none: every piece of texts of the first is a token of the second, no two become one, each has a logit,
and the probes are cut into the same tokens. A map between tokens of different texts does not exist. No torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from eft_core.traits import PROBES, Traits

Pairs = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Match:
    """Two tokenizers agree on the ids below `width`, through the second's `own` ids of them if there are any.

    Otherwise `problem` says why they do not. `evidence` are sentences.
    """

    width: int
    own: tuple[int, ...] = ()
    problem: str = ""
    evidence: tuple[str, ...] = ()

    def theirs(self, number: int) -> int:
        """The second's id of a shared one."""
        return self.own[number] if self.own else number


def pairs_of(aliases: Mapping[str, str]) -> Pairs:
    """Token texts that are one on purpose, in both directions."""
    return frozenset(pair for one, two in aliases.items() for pair in ((one, two), (two, one)))


def match(first: Traits, known: int, second: Traits, width: int, pairs: Pairs) -> Match:
    """Compare `second`, whose model has `width` logits, with `first`, of which the ids below `known` have logits."""
    theirs = min(width, second.size)
    shared = min(known, theirs)
    if first is second:
        return Match(shared)
    cut = _cuts(first, second)
    unlike = _unlike(first, second, shared)
    differing = [number for number in unlike if (first.texts[number], second.texts[number]) not in pairs]
    if not differing:
        return _sliced(first, known, second, theirs, (*_two_names(first, second, unlike), *cut), bool(cut))
    number = differing[0]
    names = f"{first.texts[number]!r} in the first and {second.texts[number]!r} in the second"
    evidence = (f"{len(differing):,} of {shared:,} ids differ, the first is {number}", *cut)
    own = _own_ids(first, known, second, width, pairs)
    if own and not cut:
        return Match(len(own), own, "", evidence)
    return Match(shared, (), f"id {number} is {names}", evidence)


def _unlike(first: Traits, second: Traits, width: int) -> list[int]:
    """Ids with different texts."""
    if first.texts == second.texts:
        return []
    both = zip(first.texts[:width], second.texts[:width], strict=True)
    return [number for number, (one, two) in enumerate(both) if one != two]


def _sliced(first: Traits, known: int, second: Traits, theirs: int, evidence: tuple[str, ...], cut: bool) -> Match:
    """Equal ids as far as both reach; refused where one goes on with pieces of texts, and cuts texts by them."""
    shared = min(known, theirs)
    longer, end = (first, known) if known > theirs else (second, theirs)
    pieces = _pieces(longer, shared, end)
    if not pieces:
        return Match(shared, (), "", evidence)
    behind = f"{pieces:,} pieces of texts of the {'first' if longer is first else 'second'} lie behind the shared ids"
    problem = f"id {shared - 1} is the last that both have, {behind}, and texts are cut otherwise" if cut else ""
    return Match(shared, (), problem, (*evidence, behind))


def _own_ids(first: Traits, known: int, second: Traits, width: int, pairs: Pairs) -> tuple[int, ...]:
    """The second's id of each token of the first, as far as it has them; () unless those are all pieces of texts."""
    named = {one: second.ids[two] for one, two in pairs if one not in second.ids and two in second.ids}
    ids = {**second.ids, **named}
    found = [None if text is None else ids.get(text) for text in first.texts[:known]]
    reached = next((n for n, own in enumerate(found) if own is None or own >= width), known)
    own = tuple(each for each in found[:reached] if each is not None)
    return () if _pieces(first, reached, known) or len(set(own)) != len(own) else own


def _pieces(traits: Traits, start: int, end: int) -> int:
    """Tokens from `start` to before `end` that are not added ones: what texts are made of."""
    return sum(traits.texts[number] is not None and number not in traits.added for number in range(start, end))


def _cuts(first: Traits, second: Traits) -> tuple[str, ...]:
    """The probes that the two cut into different tokens, in one sentence."""
    cut = [number for number, (one, two) in enumerate(zip(first.cuts, second.cuts, strict=True)) if one != two]
    if not cut:
        return ()
    one, two = (f"{list(each.cuts[cut[0]])!r:.120}" for each in (first, second))
    count = f"{len(cut)} of {len(PROBES)} probes are cut otherwise"
    return (f"{count}, such as {PROBES[cut[0]]!r}: {one} in the first, {two} in the second",)


def _two_names(first: Traits, second: Traits, unlike: list[int]) -> tuple[str, ...]:
    if not unlike:
        return ()
    number = unlike[0]
    names = f"id {number}: {first.texts[number]!r} and {second.texts[number]!r}"
    return (f"{len(unlike):,} ids have two names that are one by the families file, such as {names}",)

"""Which two answers an annotator judges next, and on which sides: fewest judgements first, balanced over pairs. Pure.

All chance comes from stored seeds, so that an assignment can be drawn again.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eft_core.ratings.campaign import Plan

# Comparisons between one and its repeat, so that it is not remembered.
GAP = 5


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers (ids of generations) to an item, by their contenders' numbers, and how often they are judged."""

    item: str
    places: tuple[int, int]
    first: str
    second: str
    wanted: int


@dataclass(frozen=True, slots=True)
class Offer:
    """A comparison to be: `original` is set for a repeat. flipped: the first answer stands at the right."""

    item: str
    first: str
    second: str
    kind: str
    order_seed: int
    flipped: bool
    number: int
    original: str | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """A comparison that the annotator was given before."""

    id: str
    item: str
    first: str
    second: str
    kind: str
    number: int
    order_seed: int
    flipped: bool
    original: str | None


@dataclass(frozen=True, slots=True)
class Stock:
    """All that can be judged in a campaign now: answers that are ready."""

    pairs: tuple[Pair, ...]
    golds: tuple[Pair, ...]


def wanted(plan: Plan, item_place: int) -> int:
    """Judgements that every pair of an item gets: the target where raters overlap, else one."""
    return plan.target if random.Random(f"{plan.seed}:{item_place}:overlap").random() < plan.overlap else 1


def sides(side_seed: int, pair: Pair) -> tuple[int, bool]:
    """What the sides are drawn from, and whether the first answer goes to the right."""
    seed = random.Random(f"{side_seed}:{pair.item}:{pair.first}:{pair.second}").getrandbits(31)
    return seed, bool(seed & 1)


def offers(
    plan: Plan,
    stock: Stock,
    counts: Mapping[tuple[str, str], int],
    given: Sequence[Given],
    annotator: str,
    side_seed: int,
    lot: int,
) -> list[Offer]:
    """The annotator's next comparisons, at most `lot`. counts: how often each (first, second) is judged or out.

    A repeat or a gold item comes by chance in its share of places, where there is one that was not yet."""
    before, made = list(given), list[Offer]()
    open_pairs = _Open(stock.pairs, counts, given)
    golds = [pair for pair in stock.golds if not any(each.first == pair.first for each in given)]
    number = max((each.number for each in given), default=0)
    for _ in range(lot):
        number += 1
        if plan.per_annotator is not None and number > plan.per_annotator:
            break
        chance = random.Random(f"{plan.seed}:{annotator}:{number}")
        draw = chance.random()
        repeat = _repeated(before, number, chance) if draw < plan.repeats else None
        if repeat is not None:
            offer = Offer(
                repeat.item,
                repeat.first,
                repeat.second,
                "repeat",
                repeat.order_seed,
                not repeat.flipped,
                number,
                repeat.id,
            )
        elif golds and plan.repeats <= draw < plan.repeats + plan.golds:
            offer = _offer(golds.pop(chance.randrange(len(golds))), "gold", side_seed, number)
        elif pair := open_pairs.take(chance):
            offer = _offer(pair, "ordinary", side_seed, number)
        else:
            break
        made.append(offer)
        before.append(Given("", *(getattr(offer, name) for name in _SHARED)))
    return made


_SHARED = ("item", "first", "second", "kind", "number", "order_seed", "flipped", "original")


def _offer(pair: Pair, kind: str, side_seed: int, number: int) -> Offer:
    return Offer(pair.item, pair.first, pair.second, kind, *sides(side_seed, pair), number)


def _again(before: Given, number: int) -> Offer:
    """The same comparison with its sides swapped."""
    pair = (before.item, before.first, before.second)
    return Offer(*pair, "repeat", before.order_seed, not before.flipped, number, before.id)


def _repeated(before: Sequence[Given], number: int, chance: random.Random) -> Given | None:
    """One of the annotator's comparisons that is far enough back and did not come again yet."""
    again = {each.original for each in before if each.kind == "repeat"}
    able = [each for each in before if each.kind == "ordinary" and each.id and each.id not in again]
    able = [each for each in able if each.number <= number - GAP]
    return chance.choice(able) if able else None


class _Open:
    """Pairs that still want judgements and that the annotator was not given; taken one by one."""

    def __init__(self, pairs: Sequence[Pair], counts: Mapping[tuple[str, str], int], given: Sequence[Given]) -> None:
        mine = {(each.first, each.second) for each in given}
        self._counts = counts
        self._by_pair = Counter[tuple[int, int]]()
        self._seen = Counter(each.item for each in given)
        self._pairs = list[Pair]()
        for pair in pairs:
            count = counts.get((pair.first, pair.second), 0)
            self._by_pair[pair.places] += count
            if count < pair.wanted and (pair.first, pair.second) not in mine:
                self._pairs.append(pair)

    def take(self, chance: random.Random) -> Pair | None:
        """New prompts first, then what was judged least, then the pair of policies that was; then chance."""
        if not self._pairs:
            return None
        keys = [
            (self._seen[pair.item], self._counts.get((pair.first, pair.second), 0), self._by_pair[pair.places])
            for pair in self._pairs
        ]
        least = min(keys)
        place = chance.choice([number for number, key in enumerate(keys) if key == least])
        pair = self._pairs.pop(place)
        self._seen[pair.item] += 1
        self._by_pair[pair.places] += 1
        return pair

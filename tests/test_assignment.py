"""Who judges what, and on which side: balanced, repeatable, and drawn from stored seeds."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from studied import plan_of

from eft_core.ratings.assignment import GAP, Given, Offer, Pair, Stock, offers, sides, wanted

PAIRS = ((0, 1), (0, 2), (1, 2))


def stock(count: int, golds: int = 0, target: int = 2) -> Stock:
    pairs = [
        Pair(f"item{item}", places, f"{item}-{places[0]}", f"{item}-{places[1]}", target)
        for item in range(count)
        for places in PAIRS
    ]
    known = [Pair(f"gold{item}", (0, 1), f"g{item}-0", f"g{item}-1", 0) for item in range(golds)]
    return Stock(tuple(pairs), tuple(known))


def given(number: int, offer: Offer) -> Given:
    part = (offer.item, offer.first, offer.second, offer.kind, offer.number, offer.order_seed, offer.flipped)
    return Given(f"id{number}", *part, offer.original)


def all_of(plan, stock, annotators: int, lot: int = 5, most: int = 10_000) -> dict[str, list[Given]]:
    """Annotators who take lots in turn until nothing is left."""
    counts, found = Counter[tuple[str, str]](), {f"a{number}": list[Given]() for number in range(annotators)}
    busy, number = True, 0
    while busy and number < most:
        busy = False
        for name, mine in found.items():
            made = offers(plan, stock, counts, mine, name, int(name[1:]) + 1, lot)
            counts.update((each.first, each.second) for each in made if each.kind == "ordinary")
            for each in made:
                mine.append(given(number, each))
                number += 1
            busy = busy or bool(made)
    return found


def test_every_pair_of_every_item_gets_its_target_and_no_more() -> None:
    found = all_of(plan_of(), stock(7, target=3), annotators=5)
    counts = Counter((each.first, each.second) for mine in found.values() for each in mine)
    assert set(counts.values()) == {3}
    assert len(counts) == 21


def test_nobody_judges_the_same_pair_twice() -> None:
    for mine in all_of(plan_of(), stock(4, target=5), annotators=5).values():
        assert len({(each.first, each.second) for each in mine}) == len(mine) == 12


def test_overlap_is_the_share_of_items_that_get_the_target() -> None:
    plan = plan_of(target=4, overlap=0.3, seed=5)
    places = [place for place in range(2000) if wanted(plan, place) == 4]
    # binomial with n = 2000, p = 0.3: five standard deviations, false alarm below 1e-6, and the seed is fixed
    assert abs(len(places) - 600) < 103
    assert {wanted(plan, place) for place in range(2000)} == {1, 4}
    assert {wanted(replace(plan, overlap=1.0), place) for place in range(50)} == {4}
    assert {wanted(replace(plan, overlap=0.0), place) for place in range(50)} == {1}


def test_pairs_of_policies_stay_balanced_on_the_way() -> None:
    made = offers(plan_of(), stock(30, target=1), {}, [], "a0", 1, 12)
    counts = Counter((each.first[-1], each.second[-1]) for each in made)
    assert set(counts.values()) == {4}


def test_an_annotator_gets_new_prompts_first() -> None:
    made = offers(plan_of(), stock(10), {}, [], "a0", 1, 10)
    assert len({each.item for each in made}) == 10


def test_what_was_judged_least_comes_first() -> None:
    here = stock(5)
    counts = {(pair.first, pair.second): 1 for pair in here.pairs if pair.item != "item3"}
    made = offers(plan_of(), here, counts, [], "a0", 1, 1)
    assert made[0].item == "item3"


def test_sides_are_fair_and_can_be_drawn_again() -> None:
    pairs = stock(700).pairs
    flipped = [sides(17, pair)[1] for pair in pairs]
    # binomial with n = 2100: five standard deviations, and the seed is fixed
    assert abs(sum(flipped) - 1050) < 115
    assert flipped == [sides(17, pair)[1] for pair in pairs]
    assert flipped != [sides(18, pair)[1] for pair in pairs]
    assert all(bool(sides(17, pair)[0] & 1) == side for pair, side in zip(pairs, flipped, strict=True))


def test_repeats_swap_the_sides_of_a_comparison_that_is_far_enough_back() -> None:
    mine = all_of(plan_of(repeats=0.3, seed=3), stock(20), annotators=1)["a0"]
    again = [each for each in mine if each.kind == "repeat"]
    by_id = {each.id: each for each in mine}
    # each of 60 ordinary ones is followed by repeats in 3 of 10 places: five standard deviations
    assert 8 < len(again) < 45
    for each in again:
        before = by_id[each.original or ""]
        assert before.kind == "ordinary"
        assert each.flipped != before.flipped
        assert (each.first, each.second) == (before.first, before.second)
        assert each.number - before.number >= GAP
    assert len({each.original for each in again}) == len(again)


def test_gold_items_come_in_their_share_and_once() -> None:
    mine = all_of(plan_of(golds=0.2, seed=1), stock(30, golds=6), annotators=1)["a0"]
    golds = [each for each in mine if each.kind == "gold"]
    assert len(golds) == len({each.item for each in golds}) == 6


def test_no_more_than_a_rater_is_asked_for() -> None:
    mine = all_of(plan_of(per_annotator=8), stock(30), annotators=1)["a0"]
    assert [each.number for each in mine] == list(range(1, 9))


@pytest.mark.parametrize("seed", range(3))
def test_the_same_state_gives_the_same_lot(seed: int) -> None:
    plan, here = plan_of(seed=seed, repeats=0.2, golds=0.2), stock(9, golds=2)
    counts = {(pair.first, pair.second): random.Random(seed).randrange(2) for pair in here.pairs}
    assert offers(plan, here, counts, [], "a", 4, 5) == offers(plan, here, counts, [], "a", 4, 5)

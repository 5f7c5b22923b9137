"""The length of the next draft: what is measured, what is chosen, and that the choice hardly ever costs anything.

The simulation runs on a fake clock: cycles cost what a formula says, with noise and rare interruptions, and drafts are
accepted by a seeded generator. Its verdict is by expectation: each cycle's expected loss against the best fixed length,
whose expected time is known exactly, so that the luck of the draws does not count.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from eft_core.config import Sampling, Speculation
from eft_core.draft_length import MOST, Acceptance, Costs, Pace, best_length
from eft_core.drafter import ALIKE
from eft_core.pacing import Committed, Pacing, Tally, _about, fates, kind_of
from eft_core.policy import Member, plain, tuned, up_scale

DRAFT, VERIFY = ("draft", Member("small", "helpful")), ("verify", Member("large"))


# --- a world with known costs and chances


@dataclass(frozen=True)
class World:
    """Costs in units of a verification of one token: a draft pass, a verification's jump and its slope a token."""

    alpha: float
    draft: float
    jump: float = 0.0
    slope: float = 0.0
    spikes: float = 0.02

    def cost(self, k: int) -> float:
        return (k + 1) * self.draft + 1 + (self.jump if k else 0) + self.slope * k

    def noise(self, rng: random.Random) -> float:
        return (1 + 0.1 * abs(rng.gauss(0, 1))) * (5 if rng.random() < self.spikes else 1)

    def after(self, k: int, left: int, times: Sequence[float]) -> float:
        """Expected times[tokens left] after a cycle of k drafts."""
        ends = [self.alpha**a * (1 - self.alpha) * times[left - 1 - a] for a in range(k)]
        return math.fsum(ends) + self.alpha**k * times[left - 1 - k]

    def times(self, k: int, most: int) -> list[float]:
        """Expected time to the end by the tokens left, 0 to `most`, with a fixed length."""
        times = [0.0]
        for left in range(1, most + 1):
            length = min(k, left - 1)
            times.append(self.cost(length) + self.after(length, left, times))
        return times


def tally(pace: Pace, kind: object = "row", most: int = 80, extra: bool = False, drafter: str = "draft") -> Tally:
    known = pace.acceptance(kind)
    return Tally(most, frozenset({DRAFT, VERIFY}), drafter, known.copy(), known, extra)


def block(accepted: int, length: int, overlap: float | None = None, row: int = 0) -> Committed:
    return Committed(row, [1] * (accepted + 1), [0.0] * (accepted + 1), length, overlap)


def cycle(pacing: Pacing, worlds: dict[int, World], rng: random.Random, slowness: float = 1.0) -> int:
    """One cycle of the rows in `worlds`, whose costs are the first one's, as `speculative` runs it; its length."""
    rows = list(worlds)
    world = worlds[rows[0]]
    length = pacing.length(rows)
    if length == 0 and pacing.costs.plain is None:
        pacing.costs.draft = world.draft * world.noise(rng) * slowness
    blocks, observes = [], pacing.observes(rows, length)
    for row, counted in zip(rows, pacing.lengths(rows, length), strict=True):
        alpha = worlds[row].alpha
        accepted = next((place for place in range(counted) if rng.random() >= alpha), counted)
        overlap = rng.betavariate(alpha, 1 - alpha) if observes else None
        blocks.append(block(accepted, counted, overlap, row))
    pacing.learn(length, world.cost(length) * world.noise(rng) * slowness, blocks)
    for each in blocks:
        pacing.tallies[each.row].count += len(each.tokens)
    return length


def losses(world: World, seed: int, most: int, requests: int, slow_start: float = 1.0) -> tuple[list[float], float]:
    """Expected time that each request loses against the best fixed length, and that one's time.

    `slow_start`: how many times too slow the very first cycle is."""
    times = min((world.times(k, most) for k in range(MOST + 1)), key=lambda each: each[most])
    pace, rng = Pace(lambda: 0.0), random.Random(seed)
    found: list[float] = []
    for _ in range(requests):
        row, lost = tally(pace, most=most), 0.0
        pacing = Pacing({0: row}, Speculation(), pace)
        pacing.together([0])
        while row.left:
            left = row.left
            length = cycle(pacing, {0: world}, rng, slow_start if not (found or row.count) else 1.0)
            lost += world.cost(length) + world.after(length, left, times) - times[left]
        found.append(lost)
    return found, times[most]


def speeds(world: World, most: int, requests: int, warm: int, seeds: int = 3) -> tuple[float, float]:
    """Expected speed after `warm` requests, over the best fixed length's and over plain decoding's."""
    runs = [losses(world, seed, most, requests) for seed in range(seeds)]
    lost = [each for found, _ in runs for each in found[warm:]]
    best = runs[0][1]
    taken = best + sum(lost) / len(lost)
    return best / taken, world.times(0, most)[most] / taken


VERIFIES = [(0.0, 0.0), (0.15, 0.05), (0.7, 0.09)]  # jump and slope: memory-bound, a lean pass, SPEED.md 2.7's CPU


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.6, 0.8, 0.95])
def test_adapting_loses_at_most_three_percent_against_the_best_fixed_length_and_plain_decoding(alpha: float) -> None:
    """400 tokens in five requests, after two that warm up."""
    for draft in (0.05, 0.15, 0.35, 0.8):
        for jump, slope in VERIFIES:
            over_best, over_plain = speeds(World(alpha, draft, jump, slope), most=80, requests=7, warm=2)
            assert over_best >= 0.97, (draft, jump, slope)
            assert over_plain >= 0.97, (draft, jump, slope)


@pytest.mark.parametrize("alpha", [0.3, 0.6, 0.95])
def test_short_answers_lose_little_more(alpha: float) -> None:
    """25 tokens, where a fixed length can fit the limit by luck: 13 + 12."""
    for draft, (jump, slope) in ((0.05, VERIFIES[2]), (0.15, VERIFIES[1]), (0.35, VERIFIES[0])):
        over_best, over_plain = speeds(World(alpha, draft, jump, slope), most=25, requests=18, warm=4)
        assert over_best >= 0.95, (draft, jump, slope)
        assert over_plain >= 0.97, (draft, jump, slope)


@pytest.mark.parametrize(("jump", "slope"), VERIFIES)
def test_the_first_request_of_a_session_is_hardly_slower_than_plain_where_drafts_do_not_pay(
    jump: float, slope: float
) -> None:
    world = World(0.3, 0.35, jump, slope, spikes=0.0)
    plainly = world.times(0, 80)[80]
    runs = [losses(world, seed, 80, 1) for seed in range(5)]
    assert plainly / (runs[0][1] + sum(found[0] for found, _ in runs) / 5) >= 0.9


@pytest.mark.parametrize("alpha", [0.05, 0.9])
def test_a_cold_first_cycle_misleads_nobody_for_long(alpha: float) -> None:
    """The first cycle of a session takes thirty times as long as it should."""
    found, best = losses(World(alpha, 0.15, 0.3, 0.05), 3, 80, 5, slow_start=30.0)
    assert best / (best + found[0]) >= 0.85
    assert best / (best + sum(found[1:]) / 4) >= 0.97


def test_one_length_serves_rows_of_different_acceptance() -> None:
    """Two rows run together at the length that gives most tokens of both, not what either would choose alone."""
    worlds = {0: World(0.95, 0.15, 0.15, 0.05), 1: World(0.3, 0.15, 0.15, 0.05)}
    pace, rng = Pace(lambda: 0.0), random.Random(5)
    pacing = Pacing({row: tally(pace, row, most=3000) for row in worlds}, Speculation(), pace)
    pacing.together(worlds)
    lengths = [cycle(pacing, worlds, rng) for _ in range(300)][100:]

    def tokens(length: int) -> float:
        return sum((1 - world.alpha ** (length + 1)) / (1 - world.alpha) for world in worlds.values())

    best = max(tokens(k) / worlds[0].cost(k) for k in range(MOST + 1))
    assert sum(map(tokens, lengths)) / sum(map(worlds[0].cost, lengths)) >= 0.97 * best
    assert pacing.tallies[0].acceptance.mean > 0.9 > 0.4 > pacing.tallies[1].acceptance.mean


# --- acceptance


def test_counts_are_kept_by_place() -> None:
    found = Acceptance()
    found.add(2, 4)  # two accepted, the third refused, the fourth never reached
    found.add(3, 3)
    found.add(0, 2)
    assert found.reached[:5] == [3, 2, 2, 0, 0]
    assert found.accepted[:5] == [2, 2, 1, 0, 0]


def test_what_is_usual_is_expected_until_something_is_measured() -> None:
    found = Acceptance()
    assert found.mean == pytest.approx(ALIKE)
    assert found.measured is None
    assert found.tokens(MOST) == pytest.approx([(1 - ALIKE ** (k + 1)) / (1 - ALIKE) for k in range(MOST + 1)])
    found.overlap(0.25)
    assert found.measured == found.mean
    assert 0.25 < found.mean < ALIKE


def test_much_evidence_overcomes_what_was_expected_at_every_place() -> None:
    found = Acceptance()
    for turn in range(400):
        found.add(1 if turn % 2 else 0, 2)  # place 0: one in two; place 1: never
    assert found.tokens(2)[1] == pytest.approx(1.5, abs=0.03)
    assert found.tokens(2)[2] - found.tokens(2)[1] < 0.06
    assert sum(found.reached) == pytest.approx(200)  # what is old fades


def test_tokens_stop_growing_where_the_row_has_no_room() -> None:
    found = Acceptance().tokens(3)
    assert found[:4] == Acceptance().tokens(MOST)[:4]
    assert found[4:] == [found[3]] * (MOST - 3)
    assert Acceptance().tokens(0) == [1.0] * (MOST + 1)


def test_a_new_row_starts_from_the_same_chances_and_learns_faster() -> None:
    kind = Acceptance()
    for _ in range(100):
        kind.add(4, 4)
    row = kind.copy()
    assert row.tokens(1)[1] == pytest.approx(kind.tokens(1)[1], abs=0.1)
    before = (kind.mean, row.mean)
    for each in (kind, row):
        each.add(0, 4)
    assert before[1] - row.mean > 2 * (before[0] - kind.mean) > 0


# --- costs


def steady(step: float = 1.0, draft: float = 0.1) -> Costs:
    found = Costs(draft=draft)
    for _ in range(20):
        found.add(0, step)
    return found


def test_nothing_is_known_of_costs_before_a_plain_step_and_little_after_one() -> None:
    found = Costs()
    assert (found.seconds(0), found.seconds(3), found.plain, found.curve()) == (None, None, None, [])
    found.add(3, 2.0)
    assert found.seconds(3) is None
    found.add(0, 1.0)
    assert (found.seconds(0), found.plain) == (pytest.approx(1.0), None)
    found.add(0, 1.0)
    assert found.plain == pytest.approx(1.0)


def test_a_plain_step_alone_lets_guess_that_drafts_are_added_and_the_pass_is_somewhat_dearer() -> None:
    found = steady(step=1.0, draft=0.2)
    for k in (1, 4, 16):
        assert found.seconds(k) == pytest.approx(1.0 + 0.2 * k + 0.8 * (0.15 + 0.05 * k))


def test_measured_costs_become_the_line() -> None:
    found = steady()
    for turn in range(60):
        found.add(2 + 6 * (turn % 2), 1.7 + 0.3 * (2 + 6 * (turn % 2)))
    for k in (1, 2, 5, 8, 16):
        assert found.seconds(k) == pytest.approx(1.7 + 0.3 * k, rel=0.03)
    assert found.seconds(0) == pytest.approx(1.0)


@pytest.mark.parametrize("length", [0, 4])
def test_an_interrupted_cycle_hardly_counts(length: int) -> None:
    found = steady()
    for _ in range(20):
        found.add(4, 2.0)
    before = found.seconds(length)
    found.add(length, 50.0)
    assert before is not None
    assert found.seconds(length) == pytest.approx(before, rel=0.06)


def test_the_first_step_may_be_slow_by_any_factor() -> None:
    found = Costs(draft=0.1)
    found.add(0, 100.0)
    found.add(0, 1.0)
    assert found.plain == pytest.approx(1.0, rel=0.02)


def test_a_plain_step_is_never_dearer_than_a_draft_of_one() -> None:
    found = steady(step=5.0)
    for _ in range(20):
        found.add(1, 2.0)
    curve = found.curve()
    assert curve[0] <= curve[1] < 2.5


def test_hope_makes_what_is_doubtful_cheaper_and_grows_with_time() -> None:
    found = steady()
    for _ in range(20):
        found.add(4, 2.0)
    sure = found.curve()[4] - found.curve(hope=1.0)[4]
    for _ in range(200):
        found.add(0, 1.0)
    assert found.curve()[4] - found.curve(hope=1.0)[4] > 1.5 * sure > 0


def test_costs_stay_finite_over_a_long_session() -> None:
    found = steady()
    found._sums = [each * 1e-320 for each in found._sums]  # after 70,000 cycles without a plain step
    found.add(4, 2.0)
    assert all(0 < each < 100 for each in found.curve(hope=1.0))
    found.add(0, 0.0)  # a clock that stands still
    assert all(map(math.isfinite, found.curve(hope=1.0)))


@pytest.mark.parametrize("seed", range(5))
def test_the_best_length_is_what_brute_force_finds(seed: int) -> None:
    rng = random.Random(seed)
    costs = steady(draft=rng.random())
    rows = []
    for _ in range(3):
        for _ in range(30):
            costs.add(k := rng.randrange(1, 9), 1.2 + 0.2 * k)
        rows.append([1 + sum(rng.random() for _ in range(k)) for k in range(MOST + 1)])
    seconds = costs.curve(hope=0.25)
    promise = {k: (rows[0][k] + rows[1][k] + rows[2][k]) / seconds[k] for k in range(MOST + 1)}
    assert best_length(rows, costs) == max(promise, key=promise.__getitem__)
    assert best_length([row[:4] for row in rows], costs) == max(range(4), key=promise.__getitem__)


def test_of_equal_lengths_the_shortest_is_taken_and_of_unknown_ones_none() -> None:
    assert best_length([[1.0] * (MOST + 1)], steady()) == 0
    assert best_length([[1.0, 2.0]], Costs()) == 0


# --- pacing


def paced(*tallies: Tally, pace: Pace, length: int | None = None) -> Pacing:
    found = Pacing(dict(enumerate(tallies)), Speculation(length=length), pace)
    found.together(range(len(tallies)))
    return found


def test_adapting_begins_with_two_plain_steps_and_looks_when_they_go_on() -> None:
    """What a draft would have been worth is looked at now and then; such a step is no measure of a plain one."""
    pace = Pace(lambda: 0.0)
    pacing = paced(tally(pace), pace=pace)
    for _ in range(2):
        assert pacing.length([0]) == 0
        assert not pacing.observes([0], 0)
        pacing.costs.draft = 0.05
        pacing.learn(0, 1.0, [block(0, 0)])
    assert pacing.length([0]) > 2
    assert pacing.observes([0], 0)
    pacing.learn(0, 9.0, [block(0, 0, overlap=0.1)])
    assert pacing.costs.plain == pytest.approx(1.0)
    assert pace.measured("row") == pytest.approx((0.1 + 4 * ALIKE) / 5)
    assert pacing.tallies[0].drafting.cycles == 0


def looks(pacing: Pacing, rows: list[int], steps: int) -> int:
    """In how many of so many plain steps it looks."""
    count = 0
    for _ in range(steps):
        observes = pacing.observes(rows, 0)
        count += observes
        pacing.learn(0, 1.0, [block(0, 0, 0.1 if observes else None, row) for row in rows])
    return count


def test_it_looks_seldom_where_a_drafter_must_catch_up_for_it_and_never_without_one() -> None:
    pace = Pace(lambda: 0.0)
    rows = [tally(pace, "a"), tally(pace, "b", extra=True), tally(pace, "c", drafter="")]
    assert looks(paced(*rows[:1], pace=pace), [0], 64) == 16
    assert looks(paced(*rows[:2], pace=pace), [0, 1], 64) == 4
    assert looks(paced(rows[2], pace=pace), [0], 64) == 0


def test_a_fixed_length_is_kept_but_for_the_room_and_never_looks() -> None:
    pace = Pace(lambda: 0.0)
    pacing = paced(tally(pace, most=10), tally(pace, most=3), tally(pace, most=99, drafter=""), pace=pace, length=5)
    assert pacing.length([0, 1, 2]) == 5
    assert pacing.lengths([0, 1, 2], 5) == [5, 2, 5]
    assert pacing.length([1, 2]) == 2
    assert pacing.length([2]) == 0  # nobody is left who drafts
    assert not pacing.observes([0, 1, 2], 0)
    assert not pacing.steps_plainly


def test_drafts_for_itself_are_tokens_for_sure() -> None:
    pace = Pace(lambda: 0.0)
    row = tally(pace, most=4, drafter="")
    assert row.expected(6) == [1, 2, 3, 4, 4, 4, 4]
    row.add(3, 3)
    row.overlap(0.0)
    assert row.drafting.cycles == 0
    assert pace.measured("row") is None


def run(pacing: Pacing, lengths: Sequence[tuple[int, float]], rows: Sequence[int]) -> None:
    """Cycles of (length, seconds) in which every draft is accepted."""
    for length, seconds in lengths:
        pacing.learn(length, seconds, [block(length, length, row=row) for row in rows])
        for row in rows:
            pacing.tallies[row].count += length + 1


def test_the_predicted_gain_of_one_row_is_plain_steps_over_its_cycles() -> None:
    pace = Pace(lambda: 0.0)
    pacing = paced(tally(pace), pace=pace)
    run(pacing, [(0, 1.0)] * 2 + [(3, 2.0)] * 100, [0])  # 402 tokens
    assert pacing.predict() == pytest.approx(402 / (2 * 1.0 + 100 * 2.0), rel=0.02)


def test_rows_of_different_lengths_are_predicted_to_end_one_by_one() -> None:
    """Both rows: 62 tokens at 3 s a step; the longer one alone: 82 more at 1 s."""
    pace = Pace(lambda: 0.0)
    pacing = paced(tally(pace, "a", 62), tally(pace, "b", 400), pace=pace)
    run(pacing, [(0, 3.0)] * 2 + [(1, 4.0)] * 30, [0, 1])
    pacing.together([1])
    run(pacing, [(0, 1.0)] * 2 + [(3, 2.0)] * 20, [1])
    assert pacing.predict() == pytest.approx((62 * 3 + 82 * 1) / (2 * 3 + 30 * 4 + 2 * 1 + 20 * 2), rel=0.04)


def test_rows_that_never_ran_alone_are_predicted_to_cost_what_they_cost_together() -> None:
    pace = Pace(lambda: 0.0)
    pacing = paced(tally(pace, "a"), tally(pace, "b"), pace=pace)
    run(pacing, [(0, 3.0)] * 10, [0, 1])
    pacing.tallies[1].count = 20  # as if one row had been luckier
    assert pacing.predict() == pytest.approx(20 * 3 / (10 * 3))


def test_without_a_plain_step_no_gain_is_predicted() -> None:
    pace = Pace(lambda: 0.0)
    run(paced(tally(pace), pace=pace), [(3, 2.0)] * 3, [0])
    pacing = paced(tally(pace), pace=pace, length=3)
    run(pacing, [(3, 2.0)] * 3, [0])
    assert pacing.predict() is None


def test_in_a_crowd_no_gain_is_predicted_and_who_leaves_is_forgotten() -> None:
    pace = Pace(lambda: 0.0)
    pacing = paced(tally(pace, "a"), tally(pace, "b"), pace=pace)
    run(pacing, [(0, 1.0)] * 3, [0])
    pacing.crowd()
    run(pacing, [(0, 3.0)] * 3, [0, 1])
    pacing.leave([0])
    assert list(pacing.tallies) == [1]
    assert pacing.predict() is None


def test_a_crowd_is_counted_about_so_that_its_costs_are_found_again() -> None:
    assert [_about(count) for count in (1, 7, 15, 16, 17, 18, 33, 100)] == [1, 7, 15, 16, 18, 18, 36, 104]


# --- what a cycle gave


def test_a_block_is_read_from_the_devices_numbers() -> None:
    values = [7.0, 8.0, 9.0, 0.0, 2.0, -0.1, -0.2, -0.3, -9.0]  # K = 3: four ids, two accepted, four log-probabilities
    assert Committed.read(4, values, 3, 3) == Committed(4, [7, 8, 9], [-0.1, -0.2, -0.3], 3)
    assert Committed.read(4, values, 3, 2).length == 2
    assert Committed.read(1, [5.0, 0.0, -1.0, 0.75], 0, 0) == Committed(1, [5], [-1.0], 0, 0.75)
    assert Committed.read(1, [5.0, 0.0, -1.0], 0, 0).overlap is None


def test_fates_tell_drafts_from_the_token_after_them() -> None:
    assert fates(2, 4, drafts=True) == ["accepted", "accepted", "recovered"]
    assert fates(0, 4, drafts=True) == ["recovered"]
    assert fates(4, 4, drafts=True) == ["accepted"] * 4 + ["bonus"]
    assert fates(0, 0, drafts=True) == ["plain"]
    assert fates(3, 3, drafts=False) == ["plain"] * 4


def test_a_rows_drafting_is_counted() -> None:
    row = tally(Pace(lambda: 0.0))
    for accepted, length in ((2, 4), (4, 4), (0, 3)):
        row.add(accepted, length)
    row.overlap(1.0)  # a plain step drafts nothing
    found = row.drafting
    assert (found.drafter, found.cycles, found.tokens, found.drafted) == ("draft", 3, 3 + 5 + 1, 11)
    assert (found.reached, found.accepted) == ((3, 2, 2, 1), (2, 2, 1, 1))
    assert found.acceptance == pytest.approx(6 / 8)
    assert found.tokens_a_cycle == pytest.approx(3.0)


def test_rows_of_one_kind_share_what_is_known() -> None:
    policy, draft = up_scale("large", "small"), tuned("helpful", "small")
    kind = kind_of(policy, draft, Sampling(1.0, seed=1), Speculation())
    assert kind == kind_of(policy, draft, Sampling(1.0, seed=2), Speculation(length=3, rule="token"))
    others = [
        kind_of(policy, plain("small"), Sampling(1.0), Speculation()),
        kind_of(policy, draft, Sampling(0.5), Speculation()),
        kind_of(policy, draft, Sampling(1.0), Speculation(rule="noise")),
    ]
    assert kind not in others
    pace = Pace(lambda: 0.0)
    assert pace.acceptance(kind) is pace.acceptance(kind)
    assert pace.measured(others[0]) is None

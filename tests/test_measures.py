"""A token's record is right: every number against arithmetic in plain floats, for every kind of policy."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pytest
import torch

from eft_core.distributions import Mixture, log_probabilities
from eft_core.measures import Lens, measured, trace_of
from eft_core.policy import Member, Policy, down_scale, plain, tuned, up_scale
from eft_core.trace import Trace

LARGE, SMALL = Member("large"), Member("small")
HELPFUL, HARMLESS = Member("small", "helpful"), Member("small", "harmless")
LARGE_HELPFUL = Member("large", "helpful")
NAN = math.nan
Law = list[float]  # log-probabilities of the vocabulary

# One place, V = 5, no two probabilities of a law alike.
PLACE: dict[Member, Law] = {
    LARGE: [0.40, 0.10, 0.20, 0.25, 0.05],
    SMALL: [0.30, 0.35, 0.15, 0.12, 0.08],
    HELPFUL: [0.12, 0.28, 0.45, 0.05, 0.10],
    HARMLESS: [0.05, 0.15, 0.20, 0.22, 0.38],
    LARGE_HELPFUL: [0.18, 0.07, 0.50, 0.21, 0.04],
}


def logs(probabilities: Sequence[float]) -> Law:
    return [math.log(each) if each else -math.inf for each in probabilities]


def law_of(terms: Mapping[Member, float], place: Mapping[Member, Law] = PLACE) -> tuple[Law, float]:
    """sum_m weight l_m, normalised, and log Z."""
    sums = [sum(w * logs(place[m])[v] for m, w in terms.items()) for v in range(len(place[LARGE]))]
    log_z = math.log(sum(map(math.exp, sums)))
    return [each - log_z for each in sums], log_z


def looked_at(
    policy: Policy, place: Mapping[Member, Law], tokens: Sequence[int] | None = None, more: Sequence[Member] = ()
) -> Trace:
    """The records of `tokens`, all of them if none are named, each drawn at this one place. The members' logits have
    constants of their own, which change nothing."""
    members = tuple(sorted({*policy.members(), *more}, key=str))
    tokens = range(len(place[members[0]])) if tokens is None else tokens
    logits = torch.tensor([[logs(place[member])] * len(tokens) for member in members])
    logits = logits + torch.arange(len(members))[:, None, None] - 0.5
    logprobs = log_probabilities([law[None] for law in logits], Mixture.of([policy], members))[0]
    lens, ids = Lens.of(policy, members), torch.tensor(list(tokens))
    return trace_of(measured(logprobs, logits, ids, lens), ids.numpy(), "p" * len(tokens), lens)


class Views(NamedTuple):
    """What a test worked out by itself: the laws, log Z of both, and the filter's nucleus. None: not to be known."""

    policy: Law
    log_z: float
    small: Law | None
    log_z_small: float = NAN
    base: Law | None = None
    nucleus: frozenset[int] | None = None


def rank(law: Law | None, token: int) -> int:
    return 0 if law is None else 1 + sum(each > law[token] for each in law)


def entropy(law: Law | None) -> float:
    return NAN if law is None else -sum(math.exp(each) * each for each in law)


def variation(one: Law, two: Law | None) -> float:
    return NAN if two is None else sum(abs(math.exp(a) - math.exp(b)) for a, b in zip(one, two, strict=True)) / 2


def divergence(one: Law, two: Law | None) -> float:
    return NAN if two is None else sum(math.exp(a) * (a - b) for a, b in zip(one, two, strict=True))


def check(trace: Trace, views: Views, place: Mapping[Member, Law] = PLACE) -> None:
    """Every number of the records of all tokens in turn."""
    laws = (views.policy, views.small, views.base)
    assert trace.tokens.tolist() == list(range(len(views.policy)))
    for token in range(len(trace)):
        drawn = [views.policy[token], *(logs(place[member])[token] for member in trace.members)]
        assert trace.logprobs[token] == pytest.approx(drawn, abs=1e-5)
        assert trace.ranks[token].tolist() == [rank(law, token) for law in laws]
        assert trace.entropy[token] == pytest.approx([entropy(law) for law in laws], abs=1e-5, nan_ok=True)
        pairs = [(variation(views.policy, law), divergence(views.policy, law)) for law in laws[1:]]
        assert trace.total_variation[token] == pytest.approx([a for a, _ in pairs], abs=1e-5, nan_ok=True)
        assert trace.divergence[token] == pytest.approx([b for _, b in pairs], abs=1e-5, nan_ok=True)
        assert trace.normalisers[token, :2] == pytest.approx([views.log_z, views.log_z_small], abs=1e-5, nan_ok=True)
    check_shifts(trace, views)
    check_threshold(trace, views)
    assert trace.candidate_policy == pytest.approx([views.policy[each] for each in trace.candidates], abs=1e-5)


def check_shifts(trace: Trace, views: Views) -> None:
    if views.small is None or views.small == views.policy:
        assert (trace.shifted == -1).all()
        assert np.isnan(trace.shifts).all()
        return
    change = [math.exp(a) - math.exp(b) for a, b in zip(views.policy, views.small, strict=True)]
    ends = [change.index(max(change)), change.index(min(change))]
    assert trace.shifted.tolist() == [ends] * len(trace)
    assert trace.shifts[0] == pytest.approx([views.policy[each] - views.small[each] for each in ends], abs=1e-5)


def check_threshold(trace: Trace, views: Views) -> None:
    threshold = trace.normalisers[:, 2]
    if views.nucleus is None or views.small is None:
        assert np.isnan(threshold).all()
        return
    assert {token for token, each in enumerate(views.small) if each >= threshold[0]} == views.nucleus


def deltas(weights: Mapping[Member, float], place: Mapping[Member, Law] = PLACE) -> Law:
    """sum_m weight l_m of every token."""
    return [sum(w * logs(place[member])[v] for member, w in weights.items()) for v in range(5)]


# --- by hand: probabilities that are powers of two


def test_up_scaling_by_hand() -> None:
    """pi is in proportion to 1/2 1/4 1/8 1/8 times 1/8 1/2 1/4 1/8 over 1/4: 4 8 2 1 fifteenths, Z = 15/16."""
    place = {LARGE: [1 / 2, 1 / 4, 1 / 8, 1 / 8], SMALL: [1 / 4] * 4, HELPFUL: [1 / 8, 1 / 2, 1 / 4, 1 / 8]}
    trace = looked_at(up_scale("large", "small"), place)
    assert trace.members == (LARGE, SMALL, HELPFUL)
    assert np.exp(trace.logprobs) == pytest.approx(
        np.array([[4 / 15, 1 / 2, 1 / 4, 1 / 8], [8 / 15, 1 / 4, 1 / 4, 1 / 2],
                  [2 / 15, 1 / 8, 1 / 4, 1 / 4], [1 / 15, 1 / 8, 1 / 4, 1 / 8]]), rel=1e-5
    )  # fmt: skip
    assert trace.ranks.tolist() == [[2, 3, 1], [1, 1, 2], [3, 2, 3], [4, 3, 3]]  # equals share the better rank
    nats = [math.log(15) - (4 * 2 + 8 * 3 + 2) / 15 * math.log(2), 1.75 * math.log(2), 1.75 * math.log(2)]
    assert trace.entropy == pytest.approx(np.array([nats] * 4), abs=1e-6)
    assert trace.total_variation == pytest.approx(np.array([[7 / 40, 7 / 24]] * 4), abs=1e-6)
    small = (4 * math.log(32) + 8 * math.log(16) + 2 * math.log(8) + math.log(8)) / 15 - math.log(15)
    base = (4 * math.log(8) + 8 * math.log(32) + 2 * math.log(16) + math.log(8)) / 15 - math.log(15)
    assert trace.divergence == pytest.approx(np.array([[small, base]] * 4), abs=1e-6)
    assert trace.shifted.tolist() == [[0, 2]] * 4
    assert trace.shifts == pytest.approx(np.array([[math.log(32 / 15), math.log(8 / 15)]] * 4), abs=1e-6)
    assert trace.normalisers == pytest.approx(np.array([[math.log(15 / 16), 0, NAN]] * 4), abs=1e-6, nan_ok=True)
    assert trace.finetuning == pytest.approx(np.log([1 / 2, 2, 1, 1 / 2]), abs=1e-6)
    assert trace.upscaling == pytest.approx(np.log([2, 1, 1 / 2, 1 / 2]), abs=1e-6)
    assert trace.changed.tolist() == [False] * 4  # token 1 either way


# --- every kind of policy, in plain floats


def test_two_behaviours_the_small_policy_is_a_mixture() -> None:
    trace = looked_at(Policy("large", "small", {"helpful": 0.6, "harmless": 0.7}), PLACE)
    law, log_z = law_of({HELPFUL: 0.6, HARMLESS: 0.7, SMALL: -1.3, LARGE: 1.0})
    small, log_z_small = law_of({HELPFUL: 0.6, HARMLESS: 0.7, SMALL: -0.3})
    check(trace, Views(law, log_z, small, log_z_small, logs(PLACE[LARGE])))
    assert trace.finetuning == pytest.approx(deltas({HELPFUL: 0.6, HARMLESS: 0.7, SMALL: -1.3}), abs=1e-5)
    assert trace.upscaling == pytest.approx(deltas({LARGE: 1.0, SMALL: -1.0}), abs=1e-5)
    assert trace.candidate_small == pytest.approx([small[each] for each in trace.candidates], abs=1e-5)


def test_amplification_scales_the_delta_that_enters_the_sum() -> None:
    trace = looked_at(Policy("large", "small", {"helpful": 1.0}, amplification=1.5), PLACE)
    law, log_z = law_of({HELPFUL: 1.0, SMALL: -1.5, LARGE: 1.5})
    check(trace, Views(law, log_z, logs(PLACE[HELPFUL]), 0.0, logs(PLACE[LARGE])))
    assert trace.upscaling == pytest.approx(deltas({LARGE: 1.5, SMALL: -1.5}), abs=1e-5)


def test_down_scaling_has_the_large_models_as_its_small_policy() -> None:
    trace = looked_at(down_scale("small", "large"), PLACE)
    law, log_z = law_of({LARGE_HELPFUL: 1.0, LARGE: -1.0, SMALL: 1.0})
    check(trace, Views(law, log_z, logs(PLACE[LARGE_HELPFUL]), 0.0, logs(PLACE[SMALL])))
    assert trace.finetuning == pytest.approx(deltas({LARGE_HELPFUL: 1.0, LARGE: -1.0}), abs=1e-5)
    assert trace.upscaling == pytest.approx(deltas({SMALL: 1.0, LARGE: -1.0}), abs=1e-5)


@pytest.mark.parametrize(("p", "inside"), [(0.4, {2}), (0.6, {1, 2}), (0.8, {0, 1, 2}), (1.0, {0, 1, 2, 3, 4})])
def test_the_filter_confines_the_delta_to_its_nucleus(p: float, inside: set[int]) -> None:
    """Of the small policy: .45, then .28, .12, .10 and .05."""
    trace = looked_at(Policy("large", "small", {"helpful": 1.0}, amplification=1.5, nucleus=p), PLACE)
    small, shift = logs(PLACE[HELPFUL]), deltas({LARGE: 1.5, SMALL: -1.5})
    sums = [each + (shift[v] if v in inside else 0.0) for v, each in enumerate(small)]
    log_z = math.log(sum(map(math.exp, sums)))
    law = [each - log_z for each in sums]
    check(trace, Views(law, log_z, small, 0.0, logs(PLACE[LARGE]), frozenset(inside)))


def test_the_filter_around_a_mixture_of_behaviours() -> None:
    """The crossing token lies on the edge, where rounding would throw it out."""
    weights = {HELPFUL: 0.6, HARMLESS: 0.7, SMALL: -0.3}
    small, log_z_small = law_of(weights)
    order = sorted(range(5), key=lambda v: -small[v])
    for count in range(1, 5):
        inside = frozenset(order[:count])
        p = sum(math.exp(small[v]) for v in inside) - 0.01
        trace = looked_at(Policy("large", "small", {"helpful": 0.6, "harmless": 0.7}, nucleus=p), PLACE)
        shift = deltas({LARGE: 1.0, SMALL: -1.0})
        sums = [each + (shift[v] if v in inside else 0.0) for v, each in enumerate(small)]
        log_z = math.log(sum(map(math.exp, sums)))
        views = Views([each - log_z for each in sums], log_z, small, log_z_small, logs(PLACE[LARGE]), inside)
        check(trace, views)


def test_a_plain_base_is_its_own_small_policy_and_base() -> None:
    trace = looked_at(plain("large"), PLACE)
    law = logs(PLACE[LARGE])
    check(trace, Views(law, 0.0, law, 0.0, law))
    assert (trace.finetuning == 0).all()
    assert (trace.upscaling == 0).all()
    assert (trace.total_variation == 0).all()


def test_a_plain_base_is_looked_at_through_members_that_it_does_without() -> None:
    trace = looked_at(plain("large"), PLACE, more=(SMALL, HELPFUL))
    law = logs(PLACE[LARGE])
    check(trace, Views(law, 0.0, law, 0.0, law))
    assert trace.under(HELPFUL) == pytest.approx(logs(PLACE[HELPFUL]), abs=1e-5)


def test_a_tuned_model_alone_knows_nothing_of_its_base() -> None:
    trace = looked_at(tuned("helpful", "small"), PLACE)
    law = logs(PLACE[HELPFUL])
    check(trace, Views(law, 0.0, law, 0.0, base=None))
    assert np.isnan(trace.under(SMALL)).all()
    assert np.isnan(trace.finetuning).all()
    assert (trace.upscaling == 0).all()
    known = looked_at(tuned("helpful", "small"), PLACE, more=(SMALL,))
    check(known, Views(law, 0.0, law, 0.0, logs(PLACE[SMALL])))
    assert known.finetuning == pytest.approx(deltas({HELPFUL: 1.0, SMALL: -1.0}), abs=1e-5)


def test_without_the_small_base_the_small_policy_is_unknown_and_the_base_is_not() -> None:
    """Half of each: the small base has weight zero, and the small policy would need half of it."""
    policy = Policy("large", "small", {"helpful": 0.5}, amplification=0.5)
    trace = looked_at(policy, PLACE)
    assert trace.members == (LARGE, HELPFUL)
    law, log_z = law_of({HELPFUL: 0.5, LARGE: 0.5})
    check(trace, Views(law, log_z, None, base=logs(PLACE[LARGE])))
    assert np.isnan(trace.candidate_small).all()
    assert np.isnan(trace.finetuning).all()
    assert np.isnan(trace.upscaling).all()
    small, log_z_small = law_of({HELPFUL: 0.5, SMALL: 0.5})
    check(looked_at(policy, PLACE, more=(SMALL,)), Views(law, log_z, small, log_z_small, logs(PLACE[LARGE])))


# --- edges


def test_equals_share_the_best_rank_that_they_hold_together() -> None:
    trace = looked_at(plain("large"), {LARGE: [0.3, 0.2, 0.3, 0.1, 0.1]})
    assert trace.ranks[:, 0].tolist() == [1, 3, 1, 4, 4]


@pytest.mark.parametrize("policy", [plain("large"), up_scale("large", "small"),
                                    Policy("large", "small", {"helpful": 0.6, "harmless": 0.7})])  # fmt: skip
def test_a_token_behind_the_best_ten_has_its_rank(policy: Policy) -> None:
    torch.manual_seed(3)
    place = {member: torch.randn(50).mul(2).softmax(-1).tolist() for member in PLACE}
    trace = looked_at(policy, place)
    law, _ = law_of(policy.weights(), place)
    small, _ = law_of(policy.small.weights(), place)
    for token in range(50):
        ranks = [rank(each, token) for each in (law, small, logs(place[LARGE]))]
        assert trace.ranks[token].tolist() == ranks
    assert trace.ranks[:, 0].max() == 50


FILTERED = Policy("large", "small", {"helpful": 0.9}, nucleus=0.9)
BANS = [
    (plain("large"), {LARGE: {1, 2}}),
    (up_scale("large", "small"), {LARGE: {4}}),
    (up_scale("large", "small"), {HELPFUL: {0, 1}, LARGE: {1}}),
    (Policy("large", "small", {"helpful": 0.6, "harmless": 0.3}), {LARGE: {4}, HARMLESS: {0}}),
    (FILTERED, {LARGE: {0}, HELPFUL: {4}}),
]


@pytest.mark.parametrize(("policy", "banned"), BANS)
def test_impossible_tokens_leave_finite_numbers(policy: Policy, banned: dict[Member, set[int]]) -> None:
    """A member gives some tokens -inf, as a padded vocabulary or a processor does: 0 log 0 is 0."""
    place = {m: [0.0 if v in banned.get(m, ()) else p for v, p in enumerate(law)] for m, law in PLACE.items()}
    place = {member: [each / sum(law) for each in law] for member, law in place.items()}
    trace = looked_at(policy, place)
    for name in ("logprobs", "entropy", "total_variation", "divergence", "candidate_logprobs", "candidate_policy"):
        assert np.isfinite(getattr(trace, name)).all(), name
    assert np.isfinite(trace.normalisers[:, :2]).all()
    dead = [v for m, tokens in banned.items() for v in tokens if policy.weights()[m] > 0 and not policy.filtered]
    assert all(trace.logprobs[v, 0] < -1e3 for v in dead)
    chances = np.exp(trace.logprobs[:, 0].astype(float))
    assert chances.sum() == pytest.approx(1.0, abs=1e-5)
    assert trace.entropy[0, 0] == pytest.approx(-sum(p * math.log(p) for p in chances if p), abs=1e-5)
    small, base = (np.exp(trace.under(member).astype(float)) for member in (HELPFUL, LARGE)) \
        if HELPFUL in trace.members else (chances, chances)  # fmt: skip
    assert trace.total_variation[0, 1] == pytest.approx(abs(chances - base).sum() / 2, abs=1e-5)
    if policy == up_scale("large", "small"):
        assert trace.total_variation[0, 0] == pytest.approx(abs(chances - small).sum() / 2, abs=1e-5)


def test_the_lens_needs_the_policys_own_members() -> None:
    with pytest.raises(AssertionError, match="a policy's members run"):
        Lens.of(up_scale("large", "small"), (LARGE, HELPFUL))

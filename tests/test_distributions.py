"""The formula's identities, on toy members."""

import math

import pytest
import torch

from eft_core.distributions import Mixture, combine, log_probabilities, nucleus
from eft_core.policy import Member, Policy, plain, realign, tuned, up_scale

MEMBERS = (Member("large"), Member("small"), Member("small", "harmless"), Member("small", "helpful"))


@pytest.fixture
def logits() -> torch.Tensor:
    """Random members, one row: (4, 1, 50)."""
    return torch.randn(4, 1, 50, generator=torch.Generator().manual_seed(0)) * 3


def law(logits: torch.Tensor, policy: Policy) -> torch.Tensor:
    """The policy's log-probabilities, (V,)."""
    return log_probabilities(logits, Mixture.of([policy], MEMBERS))[0]


def member(logits: torch.Tensor, size: str, behaviour: str | None = None) -> torch.Tensor:
    return logits[MEMBERS.index(Member(size, behaviour)), 0].log_softmax(-1)


def close(one: torch.Tensor, two: torch.Tensor) -> None:
    torch.testing.assert_close(one, two, atol=2e-5, rtol=0)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 2.0])
def test_equal_sizes_give_the_small_policy_whatever_beta(logits: torch.Tensor, beta: float) -> None:
    mixed = {"helpful": 0.7, "harmless": 0.6}
    expected = law(logits, Policy("large", "small", mixed, amplification=0.0))
    close(law(logits, Policy("small", "small", mixed, amplification=beta)), expected)
    close(law(logits, Policy("large", "small", mixed, amplification=beta).small), expected)


def test_weight_one_at_equal_sizes_gives_the_tuned_model(logits: torch.Tensor) -> None:
    close(law(logits, tuned("helpful", "small")), member(logits, "small", "helpful"))


def test_no_behaviour_and_beta_one_gives_the_large_base(logits: torch.Tensor) -> None:
    close(law(logits, Policy("large", "small", {"helpful": 0.0})), member(logits, "large"))
    close(law(logits, plain("large")), member(logits, "large"))


def test_up_scaling_is_the_papers_sum_of_three(logits: torch.Tensor) -> None:
    raw = member(logits, "large") + member(logits, "small", "helpful") - member(logits, "small")
    close(law(logits, up_scale("large", "small")), raw.log_softmax(-1))


def test_realignment_scales_the_fine_tuning_delta(logits: torch.Tensor) -> None:
    base, fine = member(logits, "small"), member(logits, "small", "helpful")
    close(law(logits, realign("small", "helpful", 1.6)), (base + 1.6 * (fine - base)).log_softmax(-1))


@pytest.mark.parametrize("p", [None, 0.6, 1.0])
@pytest.mark.parametrize("which", range(4))
def test_a_constant_added_to_one_member_changes_nothing(logits: torch.Tensor, which: int, p: float | None) -> None:
    policy = Policy("large", "small", {"helpful": 0.5, "harmless": 0.3}, amplification=1.5, nucleus=p)
    moved = logits.clone()
    moved[which] += 17.0
    close(law(moved, policy), law(logits, policy))


def test_a_filter_with_p_one_equals_no_filter(logits: torch.Tensor) -> None:
    for beta in (0.5, 1.0, 2.0):
        weights = {"helpful": 0.8, "harmless": 0.6}  # more than one in all: the small base has a negative weight
        policy = Policy("large", "small", weights, amplification=beta)
        filtered = Policy("large", "small", weights, amplification=beta, nucleus=1.0)
        close(law(logits, filtered), law(logits, policy))


def test_the_filter_by_hand() -> None:
    """Small policy .5 .3 .15 .05, nucleus .7 = {0, 1}; there the large base says x4 and x1/2; elsewhere nothing."""
    members = (Member("large"), Member("small"), Member("small", "helpful"))
    small = torch.tensor([0.5, 0.3, 0.15, 0.05])
    base = torch.tensor([0.1, 0.4, 0.4, 0.1])
    large = torch.tensor([0.4, 0.2, 0.3, 0.1])
    logits = torch.stack([large, base, small]).log()[:, None]
    policy = Policy("large", "small", {"helpful": 1.0}, nucleus=0.7)
    expected = torch.tensor([0.5 * 4, 0.3 / 2, 0.15, 0.05])
    result = log_probabilities(logits, Mixture.of([policy], members))[0].exp()
    close(result, expected / expected.sum())


def test_the_nucleus_includes_the_token_that_crosses_p_and_its_equals() -> None:
    probabilities = torch.tensor([[0.1, 0.4, 0.3, 0.2], [0.25, 0.25, 0.25, 0.25], [0.97, 0.01, 0.01, 0.01]])
    kept = nucleus(probabilities.log(), torch.tensor([0.5, 0.1, 0.95]))
    assert kept.tolist() == [[False, True, True, False], [True] * 4, [True, False, False, False]]


def test_the_partial_selection_finds_the_same_nucleus_as_a_full_sort() -> None:
    logprobs = (torch.randn(6, 3000, generator=torch.Generator().manual_seed(1)) * 2).log_softmax(-1)
    p = torch.tensor([0.05, 0.3, 0.7, 0.9, 0.99, 1.0])
    order = logprobs.sort(-1, descending=True)
    before = order.values.double().exp().cumsum(-1) - order.values.double().exp()
    in_order = (before < p[:, None]) | (p == 1.0)[:, None]
    expected = torch.zeros(6, 3000, dtype=torch.bool).scatter_(1, order.indices, in_order)
    sizes = nucleus(logprobs, p).sum(-1)
    assert (nucleus(logprobs, p) ^ expected).sum(-1).max() <= 1  # rounding of the running sum
    assert sizes[-1] == 3000
    assert sizes[0] < 64 < 512 < sizes[-2]  # every way through the search was taken


def test_members_of_weight_zero_may_hold_anything(logits: torch.Tensor) -> None:
    expected = law(logits, tuned("helpful", "small"))
    for junk in (math.inf, -math.inf, math.nan):
        spoiled = logits.clone()
        spoiled[:3] = junk
        close(law(spoiled, tuned("helpful", "small")), expected)
    filtered = Policy("large", "small", {"helpful": 1.0}, nucleus=0.9)
    spoiled = logits.clone()
    spoiled[2] = math.nan
    close(law(spoiled, filtered), law(logits, filtered))


@pytest.mark.parametrize("bad", [-math.inf, math.nan, math.inf])
def test_a_row_without_finite_probability_is_nan_and_leaves_the_others_alone(logits: torch.Tensor, bad: float) -> None:
    rows = logits.repeat(1, 3, 1)
    rows[1, 1] = bad
    up = up_scale("large", "small")
    result = log_probabilities(rows, Mixture.of([up, up, plain("large")], MEMBERS))
    assert result[1].isnan().all()
    close(result[0], law(logits, up))
    close(result[2], law(logits, plain("large")))


def test_rows_of_all_kinds_mix_in_one_call_and_survive_a_selection(logits: torch.Tensor) -> None:
    policies = [
        plain("small"),
        Policy("large", "small", {"helpful": 1.0}, nucleus=0.8),
        tuned("harmless", "small"),
        Policy("large", "small", {"harmless": 0.4}, amplification=2.0, nucleus=0.5),
    ]
    mixture = Mixture.of(policies, MEMBERS)
    together = log_probabilities(logits.repeat(1, 4, 1), mixture)
    for row, policy in zip(together, policies, strict=True):
        close(row, law(logits, policy))
    left = log_probabilities(logits.repeat(1, 2, 1), mixture.select([3, 0]))
    close(left, together[[3, 0]])


def test_half_precision_members_are_combined_in_single_precision(logits: torch.Tensor) -> None:
    half = logits.bfloat16()
    weights = torch.tensor([[1.0, -1.0, 0.0, 1.0]])
    exact = (half[0].double() - half[1].double() + half[3].double()).float()
    torch.testing.assert_close(combine(half, weights), exact, atol=1e-6, rtol=1e-6)

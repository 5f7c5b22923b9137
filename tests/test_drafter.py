"""Who drafts for a row, and what a draft is predicted to bring (SPEED.md 2.2)."""

import pytest

from eft_core.drafter import ALIKE, BARE, candidates, drafter, expected_tokens, predicted_speed
from eft_core.policy import Member, Policy, amplify, down_scale, interpolate, plain, realign, tuned, up_scale

SMALL, LARGE = Member("small"), Member("large")
HELPFUL, HARMLESS, BIG_HELPFUL = Member("small", "helpful"), Member("small", "harmless"), Member("large", "helpful")
ALL = (SMALL, LARGE, HELPFUL, HARMLESS, BIG_HELPFUL)
BETWEEN = interpolate("large", "small", "helpful", "harmless", 0.3)


def cost(member: Member) -> float:
    return {"small": 1.0, "large": 10.0}[member.size]


def test_up_scaling_at_weight_one_drafts_with_the_small_tuned_model_alone() -> None:
    assert drafter(up_scale("large", "small"), ALL, cost).members() == (HELPFUL,)


@pytest.mark.parametrize(
    ("policy", "members"),
    [
        (Policy("large", "small", {"helpful": 1.5}), {SMALL, HELPFUL}),
        (Policy("large", "small", {"helpful": 0.4}), {SMALL, HELPFUL}),
        (BETWEEN, {HELPFUL, HARMLESS}),
        (Policy("large", "small", {"helpful": 1.0, "harmless": 1.0}), {SMALL, HELPFUL, HARMLESS}),
        (amplify("large", "small", "helpful", 0.5), {HELPFUL}),
        (Policy("large", "small", {"helpful": 0.0}), {SMALL}),
    ],
    ids=lambda each: each.formula() if isinstance(each, Policy) else "",
)
def test_other_up_scaling_drafts_with_its_small_policy(policy: Policy, members: set[Member]) -> None:
    found = drafter(policy, ALL, cost)
    assert found == policy.small
    assert set(found.members()) == members


def test_a_filtered_policy_drafts_with_its_small_policy_which_has_no_filter() -> None:
    found = drafter(Policy("large", "small", {"helpful": 1.0}, nucleus=0.9), ALL, cost)
    assert found == tuned("helpful", "small")
    assert not found.filtered


@pytest.mark.parametrize(
    ("bare", "alike", "chosen"),
    [
        (0.9, 0.5, plain("small")),
        (0.3, 0.8, tuned("helpful", "small")),
        (0.6, 0.6, plain("small")),  # the base runs anyway, and verifies no more once it drafts
    ],
)
def test_down_scaling_drafts_with_what_is_predicted_to_be_faster(bare: float, alike: float, chosen: Policy) -> None:
    policy = down_scale("small", "large")
    measured = {plain("small"): bare, tuned("helpful", "small"): alike}
    assert drafter(policy, ALL, cost, measured.get) == chosen
    speeds = {draft: predicted_speed(policy, draft, cost, alpha) for draft, alpha in measured.items()}
    assert max(speeds, key=speeds.__getitem__) == chosen


def test_before_anything_is_measured_a_draft_of_the_same_manner_is_expected_to_be_accepted_more_often() -> None:
    policy = down_scale("small", "large")
    assert drafter(policy, ALL, cost) == drafter(policy, ALL, cost, lambda draft: ALIKE if draft.finetune else BARE)
    assert drafter(policy, ALL, cost) == tuned("helpful", "small")


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (plain("large"), plain("small")),
        (tuned("helpful", "large"), tuned("helpful", "small")),
        (realign("large", "helpful", 0.5), realign("small", "helpful", 0.5)),
    ],
)
def test_a_model_as_it_is_drafts_with_itself_at_a_smaller_size(policy: Policy, chosen: Policy) -> None:
    assert drafter(policy, ALL, cost) == chosen


@pytest.mark.parametrize("policy", [plain("small"), tuned("helpful", "small"), realign("small", "helpful", 0.5)])
def test_where_nothing_is_cheaper_a_row_drafts_for_itself(policy: Policy) -> None:
    assert drafter(policy, ALL, cost) == policy


@pytest.mark.parametrize("policy", [up_scale("large", "small"), down_scale("small", "large"), plain("large")])
def test_a_draft_that_is_hardly_ever_accepted_is_not_used(policy: Policy) -> None:
    assert drafter(policy, ALL, lambda member: 1.0, lambda draft: 0.01) == policy


def test_members_that_may_not_run_never_draft() -> None:
    assert drafter(plain("large"), [LARGE, BIG_HELPFUL], cost) == plain("large")
    assert drafter(tuned("helpful", "large"), [LARGE, BIG_HELPFUL, SMALL], cost) == tuned("helpful", "large")
    policy = down_scale("small", "large")
    assert drafter(policy, policy.members(), cost) == plain("small")  # its own members may
    assert all(set(draft.members()) <= set(policy.members()) for draft in candidates(policy, ()))
    assert policy not in candidates(policy, ALL)


@pytest.mark.parametrize("alpha", [0.05, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("k", [0, 1, 4, 16])
def test_expected_tokens_are_the_closed_formula(alpha: float, k: int) -> None:
    assert expected_tokens([alpha] * k) == pytest.approx((1 - alpha ** (k + 1)) / (1 - alpha), rel=1e-12)


def test_expected_tokens_by_place_and_at_the_ends() -> None:
    assert expected_tokens([0.5, 0.4, 0.1]) == pytest.approx(1 + 0.5 + 0.2 + 0.02)
    assert expected_tokens([1.0] * 5) == 6
    assert expected_tokens([0.0, 1.0]) == 1


@pytest.mark.parametrize("alpha", [0.3, 0.8, 0.95])
def test_predicted_speed_is_tokens_over_the_drafts_and_one_verification(alpha: float) -> None:
    """C = (k + 1) c + v(k + 1) (10 + 1), the large and the small base verifying together; v(k + 1) = 1 + 0.1 k."""
    speeds = [(1 - alpha ** (k + 1)) / (1 - alpha) / ((k + 1) * 1.0 + (1 + 0.1 * k) * 11.0) for k in range(1, 17)]
    policy = up_scale("large", "small")
    assert predicted_speed(policy, policy.small, cost, alpha) == pytest.approx(max(speeds), rel=1e-12)


def test_a_member_that_drafts_does_not_verify() -> None:
    """Down-scaling with the small base: 2 large members verify; alpha = 1 makes 16 drafts the best."""
    found = predicted_speed(down_scale("small", "large"), plain("small"), cost, 1.0)
    assert found == pytest.approx(17 / (17 * 1.0 + (1 + 1.6) * 20.0), rel=1e-12)

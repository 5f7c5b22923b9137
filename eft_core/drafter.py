"""Who drafts for a row: the cheaper policy from which speculation is predicted to gain most (SPEED.md 2.2).

Up-scaling drafts with its small policy, whose members run anyway: at one behaviour of weight 1 the small tuned model
alone. Down-scaling drafts with the small base or with the same fine-tuning at the small size; a model as it is, or a
realigned one, with itself at a smaller size. Where nothing cheaper helps, a row drafts for itself: plain decoding.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from eft_core.policy import Member, Policy, plain

# Chance that a draft token is accepted, before anything is measured: a draft of the same manner, and a bare base.
ALIKE, BARE = 0.8, 0.6
# What a token more costs a pass that verifies, as a share of the pass (SPEED.md 2.7).
_WIDER = 0.1
_LENGTHS = range(1, 17)


def drafter(
    policy: Policy,
    members: Collection[Member],
    cost: Callable[[Member], float],
    acceptance: Callable[[Policy], float | None] = lambda draft: None,
) -> Policy:
    """The draft policy of a row; `policy` itself if none is predicted to be faster.

    `members` are those that may run, `cost` is a member's cost of a pass in any unit (bytes, seconds), and
    `acceptance` tells what was measured for a draft policy, None if nothing was.
    """
    best, fastest = policy, 1.0 / sum(cost(member) for member in policy.members())
    for draft in candidates(policy, members):
        alpha = acceptance(draft) or (BARE if _bare(draft, policy) else ALIKE)
        speed = predicted_speed(policy, draft, cost, alpha)
        if speed > fastest * (1 + 1e-9):
            best, fastest = draft, speed
    return best


def candidates(policy: Policy, members: Collection[Member]) -> list[Policy]:
    """Policies that may draft for `policy` with members that may run, the small policy first; `policy` is none."""
    found: list[Policy] = []
    if policy.finetune not in (None, policy.pretrain):
        found += [policy.small, replace(policy, finetune=policy.pretrain, nucleus=None), plain(policy.pretrain)]
    else:
        sizes = sorted({member.size for member in members} - {policy.pretrain})
        found += [replace(policy, pretrain=size, finetune=policy.finetune and size) for size in sizes]
    known = set(members) | set(policy.members())
    return [draft for draft in found if draft != policy and known >= set(draft.members())]


def predicted_speed(policy: Policy, draft: Policy, cost: Callable[[Member], float], alpha: float) -> float:
    """Tokens per unit of cost at the best draft length: E(alpha, k) / C(k), SPEED.md 2.2, with our cycle.

    k + 1 passes of the draft's members (the last gives their part of the bonus token's law), and one pass of k + 1
    tokens of the others.
    """
    drafts = sum(cost(member) for member in draft.members())
    verifies = sum(cost(member) for member in set(policy.members()) - set(draft.members()))
    return max(
        expected_tokens([alpha] * k) / ((k + 1) * drafts + verifies * (1 + _WIDER * k if k else 1)) for k in _LENGTHS
    )


def expected_tokens(acceptance: Iterable[float]) -> float:
    """Tokens of a cycle: 1 + a_1 + a_1 a_2 + ... with a_i the chance at place i (Leviathan et al. 2023, eq. 1)."""
    expected = chance = 1.0
    for each in acceptance:
        chance *= each
        expected += chance
    return expected


def _bare(draft: Policy, policy: Policy) -> bool:
    """Whether the draft lacks the policy's fine-tuning."""
    return draft.finetune is None and policy.finetune is not None

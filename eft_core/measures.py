"""A token's record from logits that are there anyway: one pass of pure functions on the device, one copy to the host.

Mitchell et al. 2023 colour a text by the total variation between small policy and policy, and name the token that the
policy promotes most and the one that it demotes most; the rest is what such a picture is asked about. T places of one
policy, M members, V vocabulary, C = 10 (1 + M) candidates: of the policy, then of the members.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from eft_core.distributions import combine, nucleus
from eft_core.policy import Member, Policy
from eft_core.trace import TOP, Trace

# Log-probabilities below this are as good as it: keeps 0 * log 0 from becoming nan.
_LOWEST = -1e4


@dataclass(frozen=True, slots=True)
class Lens:
    """How one policy is looked at through the members that ran, in their order.

    weights (1, M) are the policy's; small (1, M) the small policy's, None where one of its members did not run.
    own: the small policy is the policy itself; alone: the place of the one member that it is, if it is one.
    base: the place of base[N], None if it did not run; plain: that is the policy itself.
    """

    policy: Policy
    members: tuple[Member, ...]
    weights: Tensor
    small: Tensor | None
    own: bool
    alone: int | None
    base: int | None
    plain: bool

    @classmethod
    def of(cls, policy: Policy, members: Sequence[Member], device: torch.device | str = "cpu") -> Self:
        """The lens of `policy` when `members` run; they hold the policy's own at least."""
        assert set(policy.members()) <= set(members), "a policy's members run"
        weights, small = policy.weights(), policy.small.weights()
        place, base = {member: number for number, member in enumerate(members)}, Member(policy.pretrain)
        [(member, weight), *others] = small.items()
        return cls(
            policy=policy,
            members=tuple(members),
            weights=_row(weights, members, device),
            small=_row(small, members, device) if set(small) <= set(members) else None,
            own=small == weights and not policy.filtered,
            alone=place.get(member) if not others and weight == 1.0 else None,
            base=place.get(base),
            plain=weights == {base: 1.0},
        )


def _row(weights: Mapping[Member, float], members: Sequence[Member], device: torch.device | str) -> Tensor:
    return torch.tensor([[weights.get(member, 0.0) for member in members]], device=device)


class _View(NamedTuple):
    """One law: (T, V) each, and the tokens' ranks under it (T,), counted from 1."""

    logprobs: Tensor
    chances: Tensor
    ranks: Tensor


@torch.inference_mode()
def measured(logprobs: Tensor, logits: Tensor, tokens: Tensor, lens: Lens) -> np.ndarray:
    """The records of T tokens, as one matrix on the host: log pi (T, V), logits (M, T, V), tokens (T,) -> (T, F).

    `trace_of` reads it. Ids are exact in float32 up to 2^24.
    """
    policy, members = logprobs.clamp(min=_LOWEST), logits.log_softmax(-1).clamp_(min=_LOWEST)
    drawn, most = tokens[:, None], min(TOP, logprobs.shape[-1])
    best = members.topk(most, -1)
    own = best if lens.plain else policy[None].topk(most, -1)
    top = torch.cat([own.indices[0], *best.indices], 1)  # (T, C)
    under = members.gather(2, drawn.expand(len(members), -1, 1))  # (M, T, 1)
    mine = policy.gather(1, drawn)
    ranks = _ranks(members, under, best.values)  # (M, T)
    view = _View(policy, policy.exp(), ranks[0] if lens.plain else _ranks(policy, mine, own.values[0]))
    views = (view, _small(view, members, ranks, drawn, lens), _base(view, members, ranks, lens))
    candidates = members.gather(2, top.expand(len(members), -1, -1))  # (M, T, C)
    looks = _looks(views)
    moved = None if views[1] is None or views[1] is view else view.chances - views[1].chances
    scalars = [*looks, *_distances(views, looks[1], moved), *_shift(view, views[1], moved)]
    scalars += _normalisers(view, views[1], candidates[..., 0], top[:, :1], lens)
    laws = candidates.transpose(0, 1).flatten(1)
    return torch.cat([mine, under[..., 0].T, torch.stack(scalars, 1), top.float(), laws], 1).cpu().numpy()


def _ranks(laws: Tensor, own: Tensor, best: Tensor) -> Tensor:
    """1 + how many tokens are more probable than the drawn one: laws (..., T, V), own (..., T, 1), best (..., T, 10).

    Mostly it is among the best, which are few; a GPU counts sooner than it answers whether it is. Float32.
    """
    if laws.is_cuda:
        return (laws > own).sum(-1).float() + 1
    ranks = (best > own).sum(-1, dtype=torch.float32) + 1
    behind = own[..., 0] < best[..., -1]
    if bool(behind.any()):
        ranks[behind] = (laws[behind] > own[behind]).sum(-1, dtype=torch.float32) + 1
    return ranks


def _small(policy: _View, members: Tensor, ranks: Tensor, drawn: Tensor, lens: Lens) -> _View | None:
    """The small policy; None where one of its members did not run."""
    if lens.own:
        return policy
    if lens.alone is not None:
        return _View(members[lens.alone], members[lens.alone].exp(), ranks[lens.alone])
    if lens.small is None:
        return None
    law = combine(members, lens.small).log_softmax(-1).clamp_(min=_LOWEST)
    return _View(law, law.exp(), (law > law.gather(1, drawn)).sum(-1, dtype=torch.float32) + 1)


def _base(policy: _View, members: Tensor, ranks: Tensor, lens: Lens) -> _View | None:
    """base[N]; None if it did not run."""
    if lens.plain:
        return policy
    return None if lens.base is None else _View(members[lens.base], members[lens.base].exp(), ranks[lens.base])


def _looks(views: Sequence[_View | None]) -> list[Tensor]:
    """Rank and entropy under every law: (T,) each."""
    policy = views[0]
    assert policy is not None, "the policy's own members ran"
    unknown = [torch.zeros_like(policy.ranks), torch.full_like(policy.ranks, torch.nan)]
    entropy = {id(view): -torch.linalg.vecdot(view.chances, view.logprobs) for view in views if view is not None}
    looks = [unknown if view is None else [view.ranks, entropy[id(view)]] for view in views]
    return [column for look in looks for column in look]


def _distances(views: Sequence[_View | None], entropy: Tensor, moved: Tensor | None) -> list[Tensor]:
    """Total variation and KL of the policy against the other two: (T,) each. `entropy` (T,) is the policy's own,
    `moved` (T, V) its probabilities less the small policy's."""
    policy, *others = views
    assert policy is not None, "the policy's own members ran"
    found = []
    for other, change in zip(others, (moved, None), strict=True):
        if other is None or other is policy:
            found += [torch.full_like(entropy, torch.nan if other is None else 0.0)] * 2
            continue
        change = policy.chances - other.chances if change is None else change
        cross = -torch.linalg.vecdot(policy.chances, other.logprobs)
        found += [change.abs().sum(-1) / 2, (cross - entropy).clamp_(min=0.0)]
    return found


def _shift(policy: _View, small: _View | None, moved: Tensor | None) -> list[Tensor]:
    """Most promoted and most demoted token, by probability, and their log-ratios: (T,) each."""
    if small is None or moved is None:
        return [torch.full_like(policy.ranks, -1.0)] * 2 + [torch.full_like(policy.ranks, torch.nan)] * 2
    # max and min, for they take half of the time of argmax and argmin
    ends = torch.stack([moved.max(-1).indices, moved.min(-1).indices], 1)  # (T, 2)
    ratios = policy.logprobs.gather(1, ends) - small.logprobs.gather(1, ends)
    return [*ends.float().unbind(1), *ratios.unbind(1)]


def _normalisers(policy: _View, small: _View | None, there: Tensor, best: Tensor, lens: Lens) -> list[Tensor]:
    """log Z of the policy and of the small policy, and the filter's threshold: (T,) each.

    log Z is read off at the policy's best token (T, 1), which loses least to rounding; `there` (M, T) are the members'
    log-probabilities of it.
    """
    own, whole = policy.logprobs.gather(1, best)[:, 0], (lens.weights @ there)[0]
    unknown = torch.full_like(own, torch.nan)
    if small is None or lens.small is None:
        return [whole - own, unknown, unknown]
    part, draft = (lens.small @ there)[0], small.logprobs.gather(1, best)[:, 0]
    if not lens.policy.filtered or lens.policy.nucleus is None:
        return [whole - own, part - draft, unknown]
    inside = nucleus(small.logprobs, own.new_full((len(own),), lens.policy.nucleus))
    # Half-way between the last inside and the first outside: whoever adds up the candidates again rounds otherwise.
    last = small.logprobs.masked_fill(~inside, torch.inf).amin(-1)
    first = small.logprobs.masked_fill(inside, -torch.inf).amax(-1)
    threshold = (last + torch.maximum(first, last - 2)) / 2
    shift = torch.where(draft >= threshold, whole - part, 0.0)
    return [draft + shift - own, part - draft, threshold]


def trace_of(found: np.ndarray, tokens: np.ndarray, fates: str, lens: Lens) -> Trace:
    """A part of `measured`'s rows as a trace."""
    members = len(lens.members)
    wide = (found.shape[1] - 1 - members - 17) // (1 + members)  # C
    cuts = np.cumsum([1 + members, 6, 4, 2, 2, 3, wide])
    drawn, looks, distances, shifted, shifts, normalisers, top, laws = np.split(found, cuts, axis=1)
    ids = top.astype(np.int32)
    counts, candidates, logprobs = _distinct(ids, laws.reshape(len(found), members, wide))
    return Trace(
        policy=lens.policy,
        members=lens.members,
        tokens=tokens.astype(np.int32),
        logprobs=drawn.copy(),
        ranks=looks[:, 0::2].astype(np.int32),
        entropy=looks[:, 1::2].copy(),
        total_variation=distances[:, 0::2].copy(),
        divergence=distances[:, 1::2].copy(),
        shifted=shifted.astype(np.int32),
        shifts=shifts.copy(),
        normalisers=normalisers.copy(),
        counts=counts,
        candidates=candidates,
        candidate_logprobs=logprobs,
        fates=fates,
    )


def _distinct(ids: np.ndarray, laws: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every candidate once: ids (T, C), laws (T, M, C) -> counts (T,), candidates (K,), log-probabilities (K, M)."""
    order = ids.argsort(1)
    ordered = np.take_along_axis(ids, order, 1)
    first = np.ones(ids.shape, bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    rows, places = np.nonzero(first)
    candidates = ordered[rows, places]
    small = candidates.astype(np.uint16) if candidates.max() < 2**16 else candidates  # a third of the records are ids
    return first.sum(1).astype(np.int32), small, laws[rows, :, order[rows, places]]

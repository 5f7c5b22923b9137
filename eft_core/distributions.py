"""The one formula: members' logits in, the policy's log-probabilities out (Mitchell et al. 2023, section 3, eq. 5-7).

    log pi(y_t) = sum_i lambda_i l_tuned_i^M + (1 - sum_i lambda_i - beta) l_base^M + beta l_base^N - log Z

Pure functions on float32 tensors. B rows, V vocabulary, M members; one more dimension between B and V where several
places of a row are looked at. A row does not run members of weight zero, so
their entries in `logits` may hold anything, infinities and nan included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eft_core.policy import Member, Policy

# A nucleus is first looked for among this many tokens, then among eight times as many: no full sort (SPEED.md 2.7).
_FIRST_LOOK = 64


# Of M members, each (B, ..., V): stacked or not.
Logits = Tensor | Sequence[Tensor]


@dataclass(frozen=True, slots=True)
class Mixture:
    """The policies of B rows as weights over M members.

    weights, small, delta: (B, M) float32; `small` are the small policy's weights and `delta` is +beta at base[N] and
    -beta at base[M], both used on filtered rows only. nucleus: (B,) float32. filtered: indices of filtered rows.
    common: for each member the weight that all rows give it, None if they differ.
    """

    weights: Tensor
    small: Tensor
    delta: Tensor
    nucleus: Tensor
    filtered: tuple[int, ...]
    common: tuple[float | None, ...]

    @classmethod
    def of(cls, policies: Sequence[Policy], members: Sequence[Member], device: torch.device | str = "cpu") -> "Mixture":
        """The mixture of `policies`, one a row, over `members` in this order."""
        return cls.at(policies, [{member: index for index, member in enumerate(members)}] * len(policies), device)

    @classmethod
    def at(
        cls, policies: Sequence[Policy], columns: Sequence[Mapping[Member, int]], device: torch.device | str = "cpu"
    ) -> "Mixture":
        """The same where rows find their members in different columns: columns[b][member] is a place in M."""
        size = 1 + max(column for row in columns for column in row.values())
        weights, small, delta = (torch.zeros(len(policies), size) for _ in range(3))
        for row, (policy, place) in enumerate(zip(policies, columns, strict=True)):
            for member, weight in policy.weights().items():
                weights[row, place[member]] = weight
            if not policy.filtered or policy.finetune is None:
                continue
            for member, weight in policy.small.weights().items():
                small[row, place[member]] = weight
            delta[row, place[Member(policy.pretrain)]] = policy.amplification
            delta[row, place[Member(policy.finetune)]] = -policy.amplification
        nucleus = torch.tensor([policy.nucleus or 1.0 for policy in policies])
        filtered = tuple(row for row, policy in enumerate(policies) if policy.filtered)
        common = _common(weights)
        return cls(weights.to(device), small.to(device), delta.to(device), nucleus.to(device), filtered, common)

    def select(self, rows: Sequence[int]) -> "Mixture":
        """The mixture of a part of the rows, in the order given."""
        index = torch.tensor(rows, dtype=torch.long, device=self.weights.device)
        filtered = tuple(new for new, old in enumerate(rows) if old in self.filtered)
        parts = (self.weights[index], self.small[index], self.delta[index], self.nucleus[index])
        return Mixture(*parts, filtered, _common(parts[0]))


def _common(weights: Tensor) -> tuple[float | None, ...]:
    """(B, M) -> the weight of each member that all rows give it."""
    columns = [set(column) for column in zip(*weights.tolist(), strict=True)]
    return tuple(column.pop() if len(column) == 1 else None for column in columns)


def log_probabilities(logits: Logits, mixture: Mixture) -> Tensor:
    """The policies' log-probabilities: M logits of (B, ..., V) and any float type -> (B, ..., V) float32, normalised.

    A row without a finite probability comes out as nan in every place; the other rows are not touched by it.
    """
    if len(mixture.filtered) == len(logits[0]):
        return filtered(logits, mixture.small, mixture.delta, mixture.nucleus)
    # Raw logits do: a constant added to one member is a constant of the whole row, which log Z takes away.
    result = combine(logits, mixture.weights, mixture.common).log_softmax(-1)
    if mixture.filtered:
        rows = torch.tensor(mixture.filtered, device=result.device)
        parts = (mixture.small[rows], mixture.delta[rows], mixture.nucleus[rows])
        result[rows] = filtered([member[rows] for member in logits], *parts)
    return result


def combine(logits: Logits, weights: Tensor, common: Sequence[float | None] = ()) -> Tensor:
    """sum_m weights[b, m] logits[m][b]: M of (B, ..., V), (B, M) -> (B, ..., V) float32.

    Members of weight zero are not read. `common` is `Mixture.common`, which saves looking.
    """
    total: Tensor | None = None
    for number, member in enumerate(logits):
        factor = common[number] if common else None
        if factor == 0.0:
            continue
        term = member.float()
        if factor is None:
            column = weights[:, number].view(-1, *[1] * (member.dim() - 1))
            term, factor = torch.where(column == 0, 0.0, column * term), 1.0  # 0 * inf would be nan
        if total is None and factor == 1.0:
            total = term
        else:
            total = term * factor if total is None else torch.add(total, term, alpha=factor)
    assert total is not None, "a mixture has at least one member"
    return total


def filtered(logits: Logits, small: Tensor, delta: Tensor, p: Tensor) -> Tensor:
    """Conservative decoding (section 3.2): the up-scaling delta acts inside the small policy's nucleus only.

        log pi(v) = log pi_small(v) + beta [v in top-p nucleus of pi_small] (l_base^N(v) - l_base^M(v)) - log Z

    M logits of (B, ..., V), small and delta (B, M), p (B,) -> (B, ..., V). Constants matter here: every term is
    normalised.
    """
    normalised = [member.float().log_softmax(-1) for member in logits]
    log_small = combine(normalised, small).log_softmax(-1)
    shift = combine(normalised, delta)
    return (log_small + torch.where(nucleus(log_small, p), shift, 0.0)).log_softmax(-1)


def nucleus(logprobs: Tensor, p: Tensor) -> Tensor:
    """The smallest set of most probable tokens with mass >= p: (B, ..., V) normalised, (B,) -> (B, ..., V) bool.

    The token that crosses p is in, and so is every token exactly as probable as it. p = 1 is everything.
    """
    size = logprobs.shape[-1]
    p = p.view(-1, *[1] * (logprobs.dim() - 2))
    look = size if logprobs.is_cuda else min(_FIRST_LOOK, size)  # on a GPU a sort costs less than asking the host
    while True:
        top = logprobs.topk(look, -1).values  # (B, ..., look), descending
        mass = top.exp().cumsum(-1)
        if look == size or bool(((mass[..., -1] >= p) | (p >= 1) | mass[..., -1].isnan()).all()):
            break
        look = min(look * 8, size)
    crossing = (mass < p[..., None]).sum(-1, keepdim=True).clamp_(max=look - 1)
    return (logprobs >= top.gather(-1, crossing)) | (p >= 1)[..., None]

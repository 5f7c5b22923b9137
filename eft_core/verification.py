"""Which drafted tokens stay, and which token follows them: the exact acceptance rules, as pure functions of tensors.

Token rule: Leviathan et al. 2023, algorithm 1. Block rule: Sun et al. 2025 (arXiv 2403.10444). Shared noise:
Daliri et al. 2024 (arXiv 2408.07978). All give the law of plain decoding, however long each draft is, if drafting
stops on what is known *before* a token is drawn (SPEED.md 2.3).

p is the target and q the draft, both as they are drawn from: after temperature, top-k and top-p. B rows, K drafted
tokens, V vocabulary. Nothing here asks the device for a value.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

# The rules that weigh p against q; shared noise compares tokens instead (`match`).
RatioRule = Literal["token", "block"]

# `pick` counts probability in whole parts of this size: sums of integers are exact in whatever order they are taken.
_PARTS = 2.0**52


@dataclass(frozen=True, slots=True)
class Block:
    """What a cycle drafted, and the laws to verify it by.

    p: (B, K+1, V) target; p[:, i] is the law of the token after i accepted drafts. q: (B, K, V) draft. Both normalised.
    drafts: (B, K) int64, drawn from q. lengths: (B,) int64 in 0..K; only the first lengths[b] drafts of row b count.
    What lies behind them (drafts and q from lengths[b] on, p after it) is padding: it may hold anything, nan included.
    """

    p: Tensor
    q: Tensor
    drafts: Tensor
    lengths: Tensor

    def __post_init__(self) -> None:
        rows, places, size = self.p.shape
        assert self.q.shape == (rows, places - 1, size), "q has one law a draft, p one more"
        assert self.drafts.shape == (rows, places - 1), "one law a draft"
        assert self.lengths.shape == (rows,), "one length a row"


@dataclass(frozen=True, slots=True)
class Verdict:
    """accepted: (B,) int64, how many drafts stay. tokens: (B,) int64, the token after them: recovered if accepted is
    below the row's length, bonus if it is the length."""

    accepted: Tensor
    tokens: Tensor


def verify(block: Block, uniforms: Tensor, rule: RatioRule) -> Verdict:
    """Accept, then recover or add the bonus. uniforms: (B, K+1) in (0, 1); the last of a row draws the next token."""
    weights = _weights(block, rule)
    count = accepted(_chances(block, weights, rule), uniforms[:, :-1], block.lengths, rule)
    return Verdict(count, pick(_next_law(block, count, weights, rule), uniforms[:, -1]))


def match(targets: Tensor, drafts: Tensor, lengths: Tensor) -> Verdict:
    """Shared noise, and greedy: a draft stays while it is the token that the target draws with the same noise.

    targets: (B, K+1) int64, drawn from p[:, i]; drafts and lengths as in `Block`.
    """
    same = (targets[:, :-1] == drafts).cumprod(1).sum(1)
    count = torch.minimum(same, lengths)
    return Verdict(count, targets.gather(1, count[:, None]).squeeze(1))


def chances(block: Block, rule: RatioRule) -> Tensor:
    """The chances of the tests of `accepted`: (B, K), 0 behind a row's length.

    Token rule: the chance that draft i is accepted if all before it were. Block rule: the chance that length i + 1
    passes its own, independent test.
    """
    tests = _chances(block, _weights(block, rule), rule)
    return tests.masked_fill(_lengths(tests) > block.lengths[:, None], 0.0)


def accepted(chances: Tensor, uniforms: Tensor, lengths: Tensor, rule: RatioRule) -> Tensor:
    """How many drafts stay: chances and uniforms (B, K), lengths (B,) -> (B,) int64, at most `lengths`.

    Token rule: those before the first test that fails. Block rule: the longest length whose test passes.
    """
    passed = uniforms < chances
    if rule == "token":
        return torch.minimum(passed.cumprod(1).sum(1), lengths)
    places = _lengths(chances)
    passed = passed & (places <= lengths[:, None])
    return pad(passed * places, (1, 0)).amax(1)  # length 0 needs no test


def next_law(block: Block, accepted: Tensor, rule: RatioRule) -> Tensor:
    """The law of the token after `accepted` (B,) drafts: (B, V), normalised.

    p where the whole block was accepted. Else the residual: max(0, p - q), or max(0, w p - q) of the block rule with
    w the weight of the drafts that stay; where that is zero everywhere (p = q) it is p.
    """
    return _next_law(block, accepted, _weights(block, rule), rule)


def pick(law: Tensor, uniforms: Tensor) -> Tensor:
    """Draws by the inverse CDF: law (..., V) with a sum of about 1, uniforms (...) in (0, 1) -> (...) int64.

    The smallest id whose cumulative mass exceeds u times the total. An id of probability 0 adds nothing to the sum,
    so it is never the smallest. A row of nan gives some id. Leave uniforms float64: float32 rounds the largest to 1.
    """
    mass = (law * _PARTS).long().cumsum(-1)
    ids = torch.searchsorted(mass, (uniforms[..., None] * mass[..., -1:]).long(), right=True)
    return ids.squeeze(-1).clamp_(max=law.shape[-1] - 1)


def _weights(block: Block, rule: RatioRule) -> Tensor:
    """(B, K+1), from length 0 on. Token rule: min(1, p/q) of each draft. Block rule: of all drafts up to it,
    w_0 = 1, w_i = min(1, w_(i-1) p/q) (SPEED.md 2.3). Anything behind a row's length."""
    places, size = block.q.shape[1:]
    drafts = block.drafts.clamp(0, size - 1)[..., None]  # padding may hold no id at all
    p = block.p[:, :places].gather(2, drafts).squeeze(2)
    q = block.q.gather(2, drafts).squeeze(2)
    ratios = p / q.clamp_min(torch.finfo(q.dtype).tiny)  # finite even for a draft that q cannot have drawn
    if rule == "token":
        return pad(ratios.clamp_(max=1.0), (1, 0), value=1.0)
    # The recursion in closed form: log w_i = S_i - max(S_0, ..., S_i), S the running sum of log p/q. -inf stays.
    sums = pad(ratios.log_(), (1, 0)).cumsum(1)
    return (sums - sums.cummax(1).values).exp_()


def _chances(block: Block, weights: Tensor, rule: RatioRule) -> Tensor:
    """`chances`, with anything behind a row's length."""
    own = weights[:, 1:]
    if rule == "token":
        return own
    # h = r / (r + 1 - w), r the mass of the residual; w itself at the end of the row's draft (SPEED.md 2.3).
    # r + 1 - w = 0 says that p = q for the next token: then a longer length passes for sure, whatever h is.
    inner = own[:, :-1]
    lack = torch.addcmul(block.q[:, 1:], inner[..., None], block.p[:, 1:-1], value=-1.0)  # q - w p
    residual = -lack.clamp_(max=0.0).sum(-1)
    passing = (residual / (residual + 1.0 - inner)).nan_to_num_(1.0)
    ends = _lengths(inner) == block.lengths[:, None]
    return torch.cat([torch.where(ends, inner, passing), own[:, -1:]], 1)


def _next_law(block: Block, accepted: Tensor, weights: Tensor, rule: RatioRule) -> Tensor:
    rows = torch.arange(len(accepted), device=accepted.device)
    p = block.p[rows, accepted]  # (B, V)
    places = block.q.shape[1]
    if not places:
        return p
    q = block.q[rows, accepted.clamp(max=places - 1)]
    scaled = p if rule == "token" else p * weights.gather(1, accepted[:, None])
    residual = (scaled - q).clamp_(min=0.0)
    total = residual.sum(-1, keepdim=True)
    inside = (accepted < block.lengths)[:, None] & (total > 0)
    return torch.where(inside, residual.div_(total), p)


def _lengths(tests: Tensor) -> Tensor:
    """(K,): the length that each test is about, 1 to K."""
    return torch.arange(1, tests.shape[1] + 1, device=tests.device)

"""The law of an acceptance rule by enumeration on small tables, no randomness left (SPEED.md 2.9, test 1).

All drafts of K tokens over V ids, all outcomes of the tests: their sum is the law of the first K + 1 tokens, which
must be the target's. Part of the benchmark's identity checks; float64, milliseconds.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from eft_core.verification import Block, RatioRule, chances, next_law

# A law of the next token for every history: tables[i] is (V,) * (i + 1), its last axis the token after i tokens.
Tables = list[Tensor]
Lengths = Callable[[Tensor], Tensor]  # drafts (B, K) -> how many count, (B,)


def worst_distance(rule: RatioRule) -> float:
    """The largest difference of a probability between rule and target, over tables of every awkward kind."""
    return max(distance(rule, p, q, lengths) for p, q in pairs_of_tables(4, 3) for lengths in (whole, stopping))


def distance(rule: RatioRule, p: Tables, q: Tables, lengths: Lengths) -> float:
    """The largest difference between the law that `rule` gives and `p`."""
    return float((enumerated(rule, p, q, lengths) - joint(p)).abs().max())


def whole(drafts: Tensor) -> Tensor:
    """Every draft counts in full."""
    return torch.full((len(drafts),), drafts.shape[1])


def stopping(drafts: Tensor) -> Tensor:
    """Drafting stops once token 0 was drawn: on the past alone, before the next one is drawn."""
    return ((drafts != 0).cumprod(1).sum(1) + 1).clamp(max=drafts.shape[1])


def enumerated(rule: RatioRule, p: Tables, q: Tables, lengths: Lengths) -> Tensor:
    """The law of the first K + 1 tokens, (V,) * (K + 1): accepted drafts, the next token, and the rest from p."""
    size, k = len(q[0]), len(q)
    drafts = torch.cartesian_prod(*[torch.arange(size)] * k).view(-1, k)  # (B, K), B = V^K
    block = Block(_along(p, drafts, k + 1), _along(q, drafts, k), drafts, lengths(drafts))
    drawn = block.q.gather(2, drafts[..., None]).squeeze(2).prod(1)  # chance that this draft is drawn
    tests = chances(block, rule)
    law = torch.zeros((size,) * (k + 1), dtype=torch.float64)
    for count in range(k + 1):
        stays = drawn * _chance_of(count, tests, rule)  # (B,)
        after = next_law(block, torch.full_like(block.lengths, count), rule)  # (B, V)
        mass = torch.where(stays[:, None] > 0, stays[:, None] * after, 0.0)
        law += _continued(_by_prefix(mass, drafts[:, :count], size), p[count + 1 :])
    return law


def _chance_of(count: int, tests: Tensor, rule: RatioRule) -> Tensor:
    """The chance that exactly `count` drafts stay, from the chances of the tests (B, K)."""
    if rule == "token":  # all before pass, this one fails
        fails = 1 - tests[:, count] if count < tests.shape[1] else 1.0
        return tests[:, :count].prod(1) * fails
    passes = tests[:, count - 1] if count else 1.0  # the longest length whose test passes
    return passes * (1 - tests[:, count:]).prod(1)


def _along(tables: Tables, drafts: Tensor, places: int) -> Tensor:
    """The laws that each draft meets: (B, places, V)."""
    return torch.stack([tables[i][tuple(drafts[:, :i].T)].expand(len(drafts), -1) for i in range(places)], 1)


def _by_prefix(mass: Tensor, prefix: Tensor, size: int) -> Tensor:
    """(B, V) masses added up by accepted prefix: (V,) * (count + 1)."""
    number = sum((prefix[:, i] * size ** (prefix.shape[1] - 1 - i) for i in range(prefix.shape[1])), torch.tensor(0))
    summed = torch.zeros(size ** prefix.shape[1], size, dtype=mass.dtype)
    return summed.index_add_(0, number.expand(len(mass)), mass).view((size,) * (prefix.shape[1] + 1))


def _continued(law: Tensor, rest: Tables) -> Tensor:
    """A law of the first tokens, followed by the target's for the rest."""
    for table in rest:
        law = law[..., None] * table
    return law


def joint(p: Tables) -> Tensor:
    """The target's law of K + 1 tokens."""
    return _continued(torch.ones((), dtype=torch.float64), p)


def pairs_of_tables(size: int, k: int) -> list[tuple[Tables, Tables]]:
    """Target and draft: unlike, equal, with holes as top-k leaves them, one-hot, and of disjoint supports."""
    generator = torch.Generator().manual_seed(0)

    def tables(places: int, keep: Callable[[Tensor], Tensor]) -> Tables:
        shapes = [(size,) * (place + 1) for place in range(places)]
        random = [torch.rand(shape, generator=generator, dtype=torch.float64) + 0.01 for shape in shapes]
        kept = [keep(table) for table in random]
        return [table / table.sum(-1, keepdim=True) for table in kept]

    def top(count: int) -> Callable[[Tensor], Tensor]:
        return lambda table: table * (table >= table.topk(count, -1).values[..., -1:])

    even = (torch.arange(size) % 2 == 0).double()
    full = tables(k + 1, torch.clone)
    return [
        (full, tables(k, torch.clone)),
        (full, full[:k]),
        (tables(k + 1, top(2)), tables(k, top(3))),
        (tables(k + 1, top(1)), tables(k, torch.clone)),
        (full, tables(k, top(1))),
        (tables(k + 1, lambda table: table * even), tables(k, lambda table: table * (1 - even))),
    ]

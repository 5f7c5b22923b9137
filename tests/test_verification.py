"""The acceptance rules give the law of plain decoding: proved by exact enumeration, not by sampling.

A table model is a list: model[i] (V^i, V) holds the law of token i after every prefix of i tokens, prefixes numbered
as numbers of base V. Everything is float64, and equal means to 1e-12.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from eft_core.verification import Block, RatioRule, accepted, chances, match, next_law, pick, verify

Table = list[Tensor]
Stop = Callable[[int, Tensor, Tensor], Tensor]
RULES: tuple[RatioRule, ...] = ("token", "block")
SIZES = [(size, length) for size in (3, 4, 5) for length in (1, 2, 3, 4)]
PARTS = ("p", "q", "drafts", "lengths")
EXACT = 1e-12
# A wrong rule must be at least this far from the target's law, in total variation.
WRONG = 1e-2


def scores(seed: int, size: int, depth: int) -> Table:
    """Random logits of a table model that reaches `depth` tokens."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size**i, size, generator=generator, dtype=torch.float64).mul(1.5) for i in range(depth)]


def soft(logits: Table, temperature: float = 1.0) -> Table:
    return [(table / temperature).softmax(-1) for table in logits]


def greedy(logits: Table) -> Table:
    return [torch.nn.functional.one_hot(table.argmax(-1), table.shape[-1]).double() for table in logits]


def only(kept: list[Tensor], model: Table) -> Table:
    """The model confined to some tokens, and normalised again."""
    return [(table * keep) / (table * keep).sum(-1, keepdim=True) for table, keep in zip(model, kept, strict=True)]


def top_p(model: Table, p: float) -> Table:
    ranked = [table.sort(-1, descending=True) for table in model]
    kept = [((r.values.cumsum(-1) - r.values) < p).gather(-1, r.indices.argsort(-1)).double() for r in ranked]
    return only(kept, model)


def parity(model: Table, odd: int) -> Table:
    return only([(torch.arange(table.shape[-1]) % 2 == odd).double().expand_as(table) for table in model], model)


def near(model: Table, distance: float) -> Table:
    return only([1 + distance * torch.linspace(-1, 1, table.shape[-1]).expand_as(table) for table in model], model)


def pair(case: str, size: int, depth: int, seed: int = 0) -> tuple[Table, Table]:
    """Target and draft of a named case."""
    one, other = scores(2 * seed, size, depth), scores(2 * seed + 1, size, depth)
    target, draft = soft(one), soft(other)
    return {
        "random": (target, draft),
        "equal": (target, target),
        "greedy target": (greedy(one), draft),
        "greedy draft": (target, greedy(other)),
        "both greedy": (greedy(one), greedy(other)),
        "disjoint": (parity(target, 0), parity(draft, 1)),
        "holes": (top_p(target, 0.85), top_p(draft, 0.8)),
        "sharp target": (soft(one, 0.3), soft(other, 1.5)),
        "sharp draft": (soft(one, 1.5), soft(other, 0.3)),
        "near": (near(draft, 1e-6), draft),
        "within rounding": (near(draft, 1e-15), draft),
    }[case]


CASES = ["random", "equal", "greedy target", "greedy draft", "both greedy", "disjoint", "holes"]
CASES += ["sharp target", "sharp draft", "near", "within rounding"]

# Whether drafting stops after i tokens, for every prefix: all they may know is i, the prefix, and the next draft law.
STOPS: dict[str, Stop] = {
    "never": lambda i, prefix, q: torch.zeros(len(prefix), dtype=torch.bool),
    "at once": lambda i, prefix, q: torch.ones(len(prefix), dtype=torch.bool),
    "unsure draft": lambda i, prefix, q: (-(q.xlogy(q)).sum(-1) > 0.75) & (i > 0),
    "sure draft": lambda i, prefix, q: -(q.xlogy(q)).sum(-1) < 0.65,
    "after a token": lambda i, prefix, q: (prefix % q.shape[-1] == 1) & (i > 0),
    "by the whole past": lambda i, prefix, q: (prefix * 7919 + i) % 3 == 2,
}


def drafted(target: Table, draft: Table, stop: Stop = STOPS["never"]) -> tuple[Block, Tensor]:
    """Every draft that can come up, one a row, with its chance: the leaves of the tree that `stop` prunes.

    What lies behind a row's length is nan, and no token.
    """
    size, most = target[0].shape[1], len(target) - 1
    blocks, weights = [], []
    chance, alive = torch.ones(1, dtype=torch.float64), torch.ones(1, dtype=torch.bool)
    for length in range(most + 1):
        prefix = torch.arange(size**length)
        ends = stop(length, prefix, draft[length]) if length < most else torch.ones_like(alive)
        leaf = prefix[alive & ends]
        block = Block(
            p=torch.full((len(leaf), most + 1, size), torch.nan, dtype=target[0].dtype),
            q=torch.full((len(leaf), most, size), torch.nan, dtype=draft[0].dtype),
            drafts=torch.full((len(leaf), most), -7),
            lengths=torch.full((len(leaf),), length),
        )
        for i in range(length + 1):
            start = leaf // size ** (length - i)  # the first i tokens
            block.p[:, i] = target[i][start]
            if i < length:
                block.q[:, i] = draft[i][start]
                block.drafts[:, i] = leaf // size ** (length - i - 1) % size
        blocks.append(block)
        weights.append(chance[leaf])
        alive = (alive & ~ends).repeat_interleave(size)
        chance = (chance[:, None] * draft[length]).flatten()
    parts = [torch.cat([getattr(block, name) for block in blocks]) for name in PARTS]
    return Block(*parts), torch.cat(weights)


def outcomes(block: Block, rule: RatioRule) -> Tensor:
    """P(accepted = i) for i = 0..K: (B, K+1)."""
    passes = chances(block, rule)
    one = torch.ones_like(passes[:, :1])
    if rule == "token":  # all tests before i pass, test i fails
        return torch.cat([one, passes.cumprod(1)], 1) * torch.cat([1 - passes, one], 1)
    fails = (1 - passes).flip(1).cumprod(1).flip(1)  # all tests from i on fail
    return torch.cat([one, passes], 1) * torch.cat([fails, one], 1)


def prefixes(block: Block, length: int) -> Tensor:
    """The first `length` drafts of every row as the number of a prefix."""
    places = block.q.shape[-1] ** torch.arange(length - 1, -1, -1)
    return (block.drafts[:, :length] * places).sum(1)


def output(
    target: Table,
    block: Block,
    chance: Tensor,
    rule: RatioRule,
    law_after: Callable[[Block, Tensor, RatioRule], Tensor] = next_law,
) -> Tensor:
    """The law of the first K + 1 tokens, (V^(K+1),): accepted drafts, the next token, and p from there on."""
    mass = chance[:, None] * outcomes(block, rule)
    law = torch.zeros(1, dtype=mass.dtype)
    for i, table in enumerate(target):
        law = law[:, None] * table  # texts that are past their cycle
        rows = block.lengths >= i
        after = law_after(block, torch.full_like(block.lengths, i).minimum(block.lengths), rule)
        law = law.index_add(0, prefixes(block, i)[rows], (mass[:, i, None] * after)[rows]).flatten()
    return law


def plain(target: Table) -> Tensor:
    """The law of the first K + 1 tokens of plain decoding."""
    law = torch.ones(1, dtype=target[0].dtype)
    for table in target:
        law = (law[:, None] * table).flatten()
    return law


def distance(one: Tensor, other: Tensor) -> float:
    """Total variation."""
    return float((one - other).abs().sum()) / 2


def expected(block: Block, chance: Tensor, rule: RatioRule) -> float:
    """The mean number of accepted drafts."""
    count = torch.arange(block.q.shape[1] + 1, dtype=torch.float64)
    return float((chance[:, None] * outcomes(block, rule) * count).sum())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rule", RULES)
def test_a_cycle_has_the_law_of_the_target(rule: RatioRule, case: str) -> None:
    for size, length in SIZES:
        for seed in range(2):
            target, draft = pair(case, size, length + 1, seed)
            law = output(target, *drafted(target, draft), rule)
            torch.testing.assert_close(law, plain(target), atol=EXACT, rtol=0)


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rule", RULES)
def test_so_it_has_whatever_stops_the_draft_before_a_token_is_drawn(rule: RatioRule, case: str, stop: str) -> None:
    for size, length in ((3, 4), (4, 3)):
        target, draft = pair(case, size, length + 1)
        law = output(target, *drafted(target, draft, STOPS[stop]), rule)
        torch.testing.assert_close(law, plain(target), atol=EXACT, rtol=0)


def test_these_stops_make_drafts_of_different_lengths() -> None:
    """Else the test above would say less than it seems to."""
    target, draft = pair("random", 4, 4)
    lengths = {name: set(drafted(target, draft, stop)[0].lengths.tolist()) for name, stop in STOPS.items()}
    assert lengths["never"] == {3}
    assert lengths["at once"] == {0}
    assert all(len(lengths[name]) > 1 for name in STOPS if name not in ("never", "at once"))


@pytest.mark.parametrize("rule", RULES)
def test_float32_keeps_the_law_to_its_rounding(rule: RatioRule) -> None:
    target, draft = ([table.float() for table in model] for model in pair("random", 4, 4))
    block, chance = drafted(target, draft)
    law = output(target, block, chance.float(), rule)
    torch.testing.assert_close(law, plain(target), atol=1e-6, rtol=0)


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("case", CASES)
def test_the_block_rule_never_accepts_fewer(case: str, stop: str) -> None:
    for size, length in ((3, 4), (4, 3), (5, 2)):
        target, draft = pair(case, size, length + 1)
        block, chance = drafted(target, draft, STOPS[stop])
        assert expected(block, chance, "block") >= expected(block, chance, "token") - EXACT


def test_the_block_rule_accepts_more_where_there_is_something_to_gain() -> None:
    target, draft = pair("random", 3, 5)
    block, chance = drafted(target, draft)
    assert expected(block, chance, "block") > 1.02 * expected(block, chance, "token")


def test_one_draft_is_accepted_as_often_as_any_coupling_can() -> None:
    """1 - TV (SPEED.md 2.3); with one draft the rules are one."""
    target, draft = pair("random", 5, 2)
    block, chance = drafted(target, draft)
    for rule in RULES:
        assert expected(block, chance, rule) == pytest.approx(1 - distance(target[0], draft[0]), abs=EXACT)


# Wrong rules, each a mistake that was made somewhere. The enumeration must see them.


@pytest.mark.parametrize("rule", RULES)
def test_dropping_a_drawn_token_for_its_low_probability_is_caught(rule: RatioRule) -> None:
    target, draft = pair("random", 4, 4)
    block, chance = drafted(target, draft)
    own = block.q.gather(2, block.drafts[..., None]).squeeze(2)
    dropped = replace(block, lengths=(own > 0.2).long().cumprod(1).sum(1))  # as if the block ended before it
    assert distance(output(target, dropped, chance, rule), plain(target)) > WRONG


@pytest.mark.parametrize("processed", ["temperature", "top-p"])
@pytest.mark.parametrize("rule", RULES)
def test_verifying_by_an_unprocessed_draft_law_is_caught(rule: RatioRule, processed: str) -> None:
    target, _ = pair("random", 4, 4)
    raw = soft(scores(1, 4, 4))
    drawn = soft(scores(1, 4, 4), 0.5) if processed == "temperature" else top_p(raw, 0.7)
    (block, chance), (tested, _) = drafted(target, drawn), drafted(target, raw)
    assert distance(output(target, block, chance, rule), plain(target)) < EXACT
    assert distance(output(target, replace(block, q=tested.q), chance, rule), plain(target)) > WRONG


@pytest.mark.parametrize("rule", RULES)
def test_drawing_from_the_target_after_a_rejection_is_caught(rule: RatioRule) -> None:
    target, draft = pair("random", 4, 4)

    def no_residual(block: Block, count: Tensor, rule: RatioRule) -> Tensor:
        return block.p[torch.arange(len(count)), count]

    assert distance(output(target, *drafted(target, draft), rule, no_residual), plain(target)) > WRONG


def test_drawing_the_bonus_from_the_residual_is_caught() -> None:
    target, draft = pair("random", 4, 4)

    def residual_bonus(block: Block, count: Tensor, rule: RatioRule) -> Tensor:
        residual = (target[3] - draft[3]).clamp(min=0)[prefixes(block, 3)]
        bonus = residual / residual.sum(-1, keepdim=True)
        return torch.where((count == block.lengths)[:, None], bonus, next_law(block, count, rule))

    assert distance(output(target, *drafted(target, draft), "token", residual_bonus), plain(target)) > WRONG


def test_the_token_residual_under_the_block_rule_is_caught() -> None:
    target, draft = pair("sharp draft", 3, 5)
    block, chance = drafted(target, draft)
    law = output(target, block, chance, "block", lambda block, count, rule: next_law(block, count, "token"))
    assert distance(law, plain(target)) > WRONG


# The formulas against their definitions.


def by_the_paper(block: Block) -> tuple[Tensor, Tensor]:
    """Block chances (B, K) and weights w_0..w_K (B, K+1), as Sun et al. write them: one number at a time."""
    rows, most = block.drafts.shape
    h = torch.zeros(rows, most, dtype=torch.float64)
    w = torch.ones(rows, most + 1, dtype=torch.float64)
    for row, length in enumerate(block.lengths.tolist()):
        for i in range(1, length + 1):
            token = block.drafts[row, i - 1]
            w[row, i] = min(1.0, float(w[row, i - 1] * block.p[row, i - 1, token] / block.q[row, i - 1, token]))
            h[row, i - 1] = w[row, i]
            if i < length:
                r = float((w[row, i] * block.p[row, i] - block.q[row, i]).clamp(min=0).sum())
                rest = r + 1 - float(w[row, i])
                h[row, i - 1] = r / rest if rest else 1.0
    return h, w


def random_block(rows: int, most: int, size: int, seed: int = 0, spread: float = 2.0) -> Block:
    """Blocks of random lengths; half of the rows have holes in both laws. nan behind the lengths."""
    generator = torch.Generator().manual_seed(seed)
    q = (torch.randn(rows, most, size, generator=generator, dtype=torch.float64) * spread).softmax(-1)
    p = (torch.randn(rows, most + 1, size, generator=generator, dtype=torch.float64) * spread).softmax(-1)
    p[: rows // 2, :, ::3] = 0
    q[: rows // 2, :, ::4] = 0
    p, q = p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True)
    drafts = pick(q, torch.rand(rows, most, generator=generator, dtype=torch.float64))
    lengths = torch.randint(0, most + 1, (rows,), generator=generator)
    behind = torch.arange(most) >= lengths[:, None]
    q = q.masked_fill(behind[..., None], torch.nan)
    p[:, 1:] = p[:, 1:].masked_fill(behind[..., None], torch.nan)
    return Block(p, q, drafts.masked_fill(behind, -7), lengths)


@pytest.mark.parametrize("spread", [0.3, 2.0, 12.0])
def test_the_closed_form_of_the_weights_is_the_recursion_of_the_paper(spread: float) -> None:
    block = random_block(60, 32, 8, spread=spread)
    h, w = by_the_paper(block)
    torch.testing.assert_close(chances(block, "block"), h, atol=EXACT, rtol=0)
    for i in range(32):
        count = block.lengths.minimum(torch.tensor(i))
        rows = block.lengths > i
        residual = (w[rows, i, None] * block.p[rows, i] - block.q[rows, i]).clamp(min=0)
        rows[rows.clone()] = positive = residual.sum(-1) > 0
        law = residual[positive] / residual[positive].sum(-1, keepdim=True)
        torch.testing.assert_close(next_law(block, count, "block")[rows], law, atol=1e-9, rtol=0)


def test_the_token_rule_is_its_definition() -> None:
    block = random_block(60, 6, 8)
    expected = torch.zeros(60, 6, dtype=torch.float64)
    for row, length in enumerate(block.lengths.tolist()):
        for i in range(length):
            token = block.drafts[row, i]
            expected[row, i] = min(1.0, float(block.p[row, i, token] / block.q[row, i, token]))
    torch.testing.assert_close(chances(block, "token"), expected, atol=EXACT, rtol=0)


@pytest.mark.parametrize("rule", RULES)
def test_every_outcome_has_its_place_among_the_uniforms(rule: RatioRule) -> None:
    """A hair below or above each threshold decides, and nothing else does."""
    block = random_block(600, 4, 6)
    passes, hair = chances(block, rule), 1e-9
    open_ = (passes > 2 * hair) & (passes < 1 - 2 * hair)
    for count in range(5):
        below = torch.arange(4) < count if rule == "token" else torch.arange(4) == count - 1
        above = torch.arange(4) == count if rule == "token" else torch.arange(4) >= count
        inside = torch.arange(4) < block.lengths[:, None]
        rows = (block.lengths >= count) & (open_ | ~(below | above) | ~inside).all(1)
        assert rows.sum() > 20
        for other in (1e-12, 1 - 1e-12):  # what must not matter
            uniforms = torch.where(below, passes - hair, torch.where(above, passes + hair, other))
            assert (accepted(passes, uniforms, block.lengths, rule)[rows] == count).all()
            last = torch.full((600, 1), 0.5, dtype=torch.float64)
            verdict = verify(block, torch.cat([uniforms, last], 1), rule)
            assert (verdict.accepted[rows] == count).all()
            law = next_law(block, verdict.accepted, rule)
            assert verdict.tokens.equal(pick(law, last[:, 0]))


@pytest.mark.parametrize("rule", RULES)
def test_a_grid_of_uniforms_gives_the_enumerated_law(rule: RatioRule) -> None:
    """Midpoints of n cells an axis: every side of an outcome's box is right to 1 / 2n, and it has at most four."""
    target, draft = pair("random", 3, 3)
    (block, _), n = drafted(target, draft), 32
    middle = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    grid = torch.cartesian_prod(middle, middle, middle)
    exact = outcomes(block, rule)
    for row in range(len(block.lengths)):
        alone = Block(
            *(getattr(block, name)[row].expand(len(grid), *getattr(block, name)[row].shape) for name in PARTS)
        )
        verdict = verify(alone, grid, rule)
        for count in range(3):
            seen = torch.bincount(verdict.tokens[verdict.accepted == count], minlength=3) / len(grid)
            law = next_law(block, torch.full_like(block.lengths, count), rule)[row]
            torch.testing.assert_close(seen.double(), exact[row, count] * law, atol=2 / n, rtol=0)


@pytest.mark.parametrize("rule", RULES)
def test_nothing_behind_a_length_is_read(rule: RatioRule) -> None:
    block = random_block(200, 5, 7)
    uniforms = torch.rand(200, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    verdict, passes = verify(block, uniforms, rule), chances(block, rule)
    law = next_law(block, verdict.accepted, rule)
    behind = torch.arange(5) >= block.lengths[:, None]
    for value, token in ((0.0, 0), (1.0, 6), (torch.inf, 2**40), (-1e30, -(2**40))):
        p = block.p.clone()
        p[:, 1:] = p[:, 1:].masked_fill(behind[..., None], value)
        q = block.q.masked_fill(behind[..., None], value)
        other = Block(p, q, block.drafts.masked_fill(behind, token), block.lengths)
        noise = torch.cat([uniforms[:, :-1].masked_fill(behind, value), uniforms[:, -1:]], 1)
        again = verify(other, noise, rule)
        assert again.accepted.equal(verdict.accepted)
        assert again.tokens.equal(verdict.tokens)
        assert chances(other, rule).equal(passes)
        assert next_law(other, verdict.accepted, rule).equal(law)
    assert not passes.isnan().any()
    assert not law.isnan().any()


@pytest.mark.parametrize("rule", RULES)
def test_a_row_is_verified_as_it_is_alone(rule: RatioRule) -> None:
    block = random_block(40, 5, 7)
    uniforms = torch.rand(40, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    verdict = verify(block, uniforms, rule)
    for row in range(40):
        alone = Block(*(getattr(block, name)[row : row + 1] for name in PARTS))
        single = verify(alone, uniforms[row : row + 1], rule)
        assert single.accepted.item() == verdict.accepted[row]
        assert single.tokens.item() == verdict.tokens[row]


@pytest.mark.parametrize("rule", RULES)
def test_verifying_changes_none_of_its_inputs(rule: RatioRule) -> None:
    block = random_block(20, 4, 5)
    uniforms = torch.rand(20, 5, dtype=torch.float64)
    before = [getattr(block, name).clone() for name in PARTS] + [uniforms.clone()]
    verify(block, uniforms, rule)
    chances(block, rule)
    after = [getattr(block, name) for name in PARTS] + [uniforms]
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0, equal_nan=True)


@pytest.mark.parametrize("rule", RULES)
def test_without_drafts_the_next_token_is_a_draw_from_the_target(rule: RatioRule) -> None:
    p = torch.tensor([[[0.2, 0.0, 0.8]], [[0.5, 0.5, 0.0]]])
    none = torch.zeros(2, 0, dtype=torch.long)
    block = Block(p, torch.zeros(2, 0, 3), none, torch.zeros(2, dtype=torch.long))
    verdict = verify(block, torch.tensor([[0.3], [0.4]]), rule)
    assert verdict.accepted.tolist() == [0, 0]
    assert verdict.tokens.tolist() == [2, 0]
    assert chances(block, rule).shape == (2, 0)
    assert next_law(block, verdict.accepted, rule).equal(p[:, 0])
    plain = match(torch.tensor([[2], [1]]), none, block.lengths)
    assert (plain.accepted.tolist(), plain.tokens.tolist()) == ([0, 0], [2, 1])


@pytest.mark.parametrize("rule", RULES)
def test_equal_laws_accept_everything_and_disjoint_laws_nothing(rule: RatioRule) -> None:
    uniforms = torch.rand(27, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    target, _ = pair("equal", 3, 4)
    assert verify(drafted(target, target)[0], uniforms, rule).accepted.tolist() == [3] * 27
    target, draft = pair("disjoint", 3, 4)
    block = drafted(target, draft)[0]
    possible = (block.drafts == 1).all(1)  # the draft's only token
    verdict = verify(block, uniforms, rule)
    assert verdict.accepted[possible].tolist() == [0]
    assert (verdict.tokens[possible] != 1).all()


# Shared noise and greedy.


def test_match_keeps_the_longest_common_beginning_and_goes_on_with_the_target() -> None:
    generator = torch.Generator().manual_seed(4)
    targets = torch.randint(0, 2, (400, 6), generator=generator)
    drafts = torch.randint(0, 2, (400, 5), generator=generator)
    lengths = torch.randint(0, 6, (400,), generator=generator)
    verdict = match(targets, drafts, lengths)
    for row, length in enumerate(lengths.tolist()):
        count = 0
        while count < length and targets[row, count] == drafts[row, count]:
            count += 1
        assert verdict.accepted[row] == count
        assert verdict.tokens[row] == targets[row, count]
    assert set(verdict.accepted.tolist()) == set(range(6))


@pytest.mark.parametrize("rule", RULES)
def test_greedy_verification_is_a_match_whatever_the_noise(rule: RatioRule) -> None:
    target, draft = pair("both greedy", 3, 5, seed=1)
    alike = [torch.where(torch.arange(len(p))[:, None] % 3 > 0, p, q) for p, q in zip(target, draft, strict=True)]
    block, chance = drafted(target, alike)
    block = Block(*(getattr(block, name)[chance > 0] for name in PARTS))
    expected = match(block.p.argmax(-1), block.drafts, block.lengths)
    for u in (1e-10, 0.3, 1 - 1e-10):
        verdict = verify(block, torch.full((len(block.lengths), 5), u, dtype=torch.float64), rule)
        assert verdict.accepted.equal(expected.accepted)
        assert verdict.tokens.equal(expected.tokens)


# Drawing.


def test_pick_is_the_inverse_of_the_cumulative_distribution() -> None:
    """A hair inside either end of a token's interval draws it; the law need not be normalised, nor of one row."""
    law = torch.tensor([[0.1, 0.0, 0.4, 0.5], [0.0, 1.6, 0.4, 0.0]], dtype=torch.float64)
    ends = (law / law.sum(-1, keepdim=True)).cumsum(-1)
    starts = ends - law / law.sum(-1, keepdim=True)
    for row, token in law.nonzero().tolist():
        for u in (starts[row, token] + 1e-12, ends[row, token] - 1e-12):
            assert pick(law[row], u) == token
            assert pick(law.expand(3, 2, 4), u.expand(3, 2))[:, row].tolist() == [token] * 3


def test_a_grid_of_uniforms_picks_every_token_as_often_as_it_should() -> None:
    law, n = torch.randn(1, 200, generator=torch.Generator().manual_seed(5)).mul(3).softmax(-1), 100_000
    grid = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    counts = torch.bincount(pick(law.expand(n, -1), grid), minlength=200)
    total = law.double().sum()
    assert (counts - law[0].double() / total * n).abs().max() <= 1 + 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pick_never_draws_a_token_of_probability_zero(dtype: torch.dtype) -> None:
    """50,257 tokens, whose sum rounds, with holes at both ends and between; u as near to 0 and 1 as there is."""
    generator = torch.Generator().manual_seed(6)
    law = torch.randn(24, 50_257, generator=generator).mul(4).softmax(-1).to(dtype)
    law[:, ::2] = 0
    law[:8, 100:] = 0
    law[8:16, :-100] = 0
    law[16] = 0
    law[16, 777] = 1
    edge = torch.finfo(dtype).eps / 2
    for uniforms in (edge * 1e-3, 2.0**-33, 0.25, 0.999999, 1 - 2.0**-24, 1 - edge):
        ids = pick(law, torch.full((24,), uniforms, dtype=dtype))
        assert (law.gather(1, ids[:, None]) > 0).all()
    near_one = torch.full((24,), math.nextafter(1.0, 0.0), dtype=torch.float64)
    assert (law.gather(1, pick(law, near_one)[:, None]) > 0).all()


def test_pick_gives_some_token_for_a_row_of_nan() -> None:
    """Such a row has failed; its id must not lead the other rows into an error."""
    for size in (8, 9):
        ids = pick(torch.full((2, size), torch.nan), torch.tensor([0.1, 0.9]))
        assert ((ids >= 0) & (ids < size)).all()

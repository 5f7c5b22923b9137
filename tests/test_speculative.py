"""Speculative decoding is plain decoding, sooner: the same law under every rule; greedy or with noise the same text."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, get_args

import pytest
import torch
from conftest import Counting

from eft_core.autoregressive import decode
from eft_core.config import Limits, Request, Row, Rule, Sampling, Speculation
from eft_core.continuation import Continuation, Drawn
from eft_core.draft_length import Pace
from eft_core.drafter import drafter
from eft_core.policy import Member, Policy, down_scale, plain, tuned, up_scale
from eft_core.speculative import speculate

GREEDY, WARM = Sampling(), Sampling(temperature=1.0, top_k=100, top_p=0.95, seed=4)
PROMPTS = ("What is the capital of Kenya?", "Hi", "How many people live in Norway? " * 3)
LENGTHS = (0, 1, 3, 8, None)
RULES = get_args(Rule)


def rows(greedy: bool) -> list[Row]:
    """Different prompts, policies and lengths of prompt; up- and down-scaled, filtered, mixed, as they are."""
    filtered = Policy("large", "small", {"helpful": 1.0}, amplification=1.5, nucleus=0.8)
    policies = [
        up_scale("large", "small"),
        plain("large"),
        tuned("helpful", "small"),
        filtered,
        Policy("large", "small", {"helpful": 0.6, "harmless": 0.7}),
        down_scale("small", "large"),
        tuned("helpful", "large"),
    ]
    ways = [GREEDY] * 7 if greedy else [WARM, GREEDY, WARM, WARM, Sampling(0.7, seed=9), Sampling(1.3), WARM]
    return [Row(PROMPTS[i % 3], policy, way, i % 2) for i, (policy, way) in enumerate(zip(policies, ways, strict=True))]


def asked(session: Any, given: Sequence[Row], limits: Limits, speculation: Speculation | None) -> list[Any]:
    answers = session.ask(Request(tuple(given), limits, speculation))
    return [(answer.token_ids, answer.text, answer.reason) for answer in answers]


@pytest.mark.parametrize("rule", RULES)
def test_greedy_text_is_plain_decodings_under_every_rule_and_length(any_session: Any, rule: Any) -> None:
    limits = Limits(24)
    expected = asked(any_session, rows(greedy=True), limits, None)
    for length in LENGTHS:
        assert asked(any_session, rows(greedy=True), limits, Speculation(length, rule)) == expected


def test_shared_noise_keeps_the_text_of_every_seed(any_session: Any) -> None:
    limits = Limits(24)
    expected = asked(any_session, rows(greedy=False), limits, None)
    for length in LENGTHS:
        assert asked(any_session, rows(greedy=False), limits, Speculation(length, "noise")) == expected


@pytest.mark.parametrize("drafts", [Member("small"), Member("small", "harmless"), Member("large", "helpful")])
def test_any_member_may_draft(session: Any, drafts: Member) -> None:
    limits = Limits(20)
    for greedy in (True, False):
        expected = asked(session, rows(greedy), limits, None)
        for length in (3, None):
            assert asked(session, rows(greedy), limits, Speculation(length, "noise", drafts)) == expected


@pytest.mark.parametrize("rule", RULES)
def test_a_row_is_the_same_alone_and_among_others(session: Any, rule: Any) -> None:
    """With a fixed length; an adaptive one may be chosen otherwise, which block and token show in their text."""
    speculation = Speculation(3, rule)
    together = asked(session, rows(greedy=False), Limits(24), speculation)
    for row, expected in zip(rows(greedy=False), together, strict=True):
        assert asked(session, [row], Limits(24), speculation) == [expected]


@pytest.mark.parametrize("rule", RULES)
def test_recorded_log_probabilities_are_the_policys_own(session: Any, rule: Any) -> None:
    """The tokens that speculation drew, scored by plain decoding's arithmetic."""
    for row in rows(greedy=False):
        (answer,) = session.ask(Request((row,), Limits(16), Speculation(3, rule)))
        assert answer.logprobs == pytest.approx(scores(session, row, answer.token_ids), abs=2e-5)


def scores(session: Any, row: Row, ids: tuple[int, ...]) -> list[float]:
    """log pi of each id after those before it, one greedy step at a time."""
    prompt = session.models.encode(row.prompt)
    found = []
    for end in range(len(ids)):
        continuation = Continuation((*prompt, *ids[:end]), row.policy, row.sampling, 0, 1)
        found.append(float(laws(session, [continuation])[0][ids[end]]))
    return found


def laws(session: Any, given: Sequence[Continuation]) -> torch.Tensor:
    """The (B, V) log-probabilities of each row's next token, by the members' plain forwards."""
    from eft_core.distributions import Mixture, log_probabilities

    members = sorted({member for row in given for member in row.policy.members()}, key=str)
    width = session.models.vocabulary.width
    with torch.inference_mode():
        logits = torch.stack(
            [
                torch.stack(
                    [session.models.load(m).network(torch.tensor([row.prompt])).logits[0, -1, :width] for row in given]
                )
                for m in members
            ]
        )
    return log_probabilities(logits, Mixture.of([row.policy for row in given], members))


# --- ends inside a block


@pytest.mark.parametrize("length", [2, 5, 8, None])
@pytest.mark.parametrize("most", [1, 2, 3, 7, 20])
def test_a_length_limit_inside_a_block_is_kept(session: Any, length: int | None, most: int) -> None:
    limits = Limits(most)
    for rule in RULES:
        for answer in session.ask(Request(tuple(rows(greedy=False)), limits, Speculation(length, rule))):
            assert len(answer.token_ids) <= most
            assert len(answer.token_ids) == len(answer.logprobs) == len(answer.fates)
            assert answer.reason in ("length", "end")


def test_the_context_window_ends_a_row_inside_a_block(any_session: Any) -> None:
    """GPT-2 has no position beyond its window: drafts past the end must not ask for one."""
    long = "What is the currency of Peru? " * 9
    given = [Row(long, up_scale("large", "small"), GREEDY), Row("Hi", plain("large"), GREEDY)]
    expected = asked(any_session, given, Limits(400), None)
    assert any(reason == "context" for _, _, reason in expected)
    for length in (3, 8, None):
        assert asked(any_session, given, Limits(400), Speculation(length)) == expected


def test_stop_strings_inside_a_block_end_the_text_where_plain_decoding_does(session: Any) -> None:
    given = rows(greedy=True)
    free = session.ask(Request(tuple(given), Limits(24)))
    stops = tuple({answer.text[6:8] for answer in free if len(answer.text) > 8 and answer.text[6:8].strip()})
    limits = Limits(24, stops)
    expected = asked(session, given, limits, None)
    assert any(reason == "stop" for _, _, reason in expected)
    for length in (2, 5, None):
        assert asked(session, given, limits, Speculation(length)) == expected


def run(
    session: Any,
    given: Sequence[Continuation],
    speculation: Speculation,
    ends: frozenset[int] = frozenset(),
    draft: Policy | None = None,
    pace: Pace | None = None,
    wrap: Callable[[Member, Any], Any] = lambda member, model: model,
) -> tuple[list[list[Drawn]], dict[int, list[Drawn]]]:
    """All cycles, and each row's tokens."""
    known = list(session.family.checkpoints)
    drafts = [draft or drafter(row.policy, known, lambda m: session.models.facts(m).weight_bytes(4)) for row in given]
    members = {member for policy in [*(row.policy for row in given), *drafts] for member in policy.members()}
    models = {member: wrap(member, session.models.load(member)) for member in members}
    cycles = list(speculate(given, drafts, models, ends, speculation, pace or Pace()))
    tokens: dict[int, list[Drawn]] = {}
    for each in (drawn for cycle in cycles for drawn in cycle):
        tokens.setdefault(each.row, []).append(each)
    return [cycle for cycle in cycles if cycle], tokens


def test_an_end_token_inside_a_block_ends_its_row_alone(session: Any) -> None:
    given = [Continuation((5, 6, 7), up_scale("large", "small"), Sampling(1.0, seed=s), 0, 16) for s in range(6)]
    free = run(session, given, Speculation(4, "noise"))[1]
    ends = frozenset({free[0][5].token, free[3][9].token})
    steps = list(decode(given, {m: session.models.load(m) for m in given[0].policy.members()}, ends))
    expected = {row: [d.token for step in steps for d in step if d.row == row] for row in range(6)}
    found = run(session, given, Speculation(4, "noise"), ends)[1]
    assert {row: [each.token for each in tokens] for row, tokens in found.items()} == expected
    assert any(len(tokens) < 16 for tokens in found.values())


# --- what a cycle costs and tells


def test_a_cycle_is_k_plus_one_passes_of_the_drafter_and_one_of_every_other_member(session: Any) -> None:
    calls: dict[Member, list[tuple[int, int]]] = {}

    def wrap(member: Member, model: Any) -> Any:
        return Counting(model, calls.setdefault(member, []))

    given = [Continuation((5, 6, 7), up_scale("large", "small"), GREEDY, 0, 40)]
    cycles, _ = run(session, given, Speculation(3), wrap=wrap)
    drafts, first = Member("small", "helpful"), (1, 2)
    assert calls.keys() == {drafts, Member("small"), Member("large")}
    full = 6  # the last ones may be shorter
    assert calls[drafts][: 1 + 4 * full] == [first] + [(1, 1)] * 4 * full
    for member in (Member("small"), Member("large")):
        assert calls[member][: 1 + full] == [first] + [(1, 4)] * full
        assert len(calls[member]) == 1 + len(cycles) > full + 3


def test_each_token_tells_its_fate_and_each_row_its_counts(session: Any) -> None:
    answers = session.ask(Request(tuple(rows(greedy=False)), Limits(40), Speculation(3, "token")))
    assert [bool(answer.drafting.drafter) for answer in answers].count(True) >= 3
    for answer in answers:
        told, fates = answer.drafting, Counter(answer.fates)
        if not told.drafter:  # nothing is cheaper
            assert (told.acceptance, set(fates)) == (None, {"plain"})
            continue
        assert told.cycles >= fates["recovered"] + fates["bonus"]
        assert told.tokens >= fates.total() - fates["plain"] - 3
        assert sum(told.accepted) - fates["accepted"] in range(4)  # what lay behind the last token is dropped
        assert told.reached[0] == told.cycles
        assert all(seen <= hit for seen, hit in zip(told.reached[1:], told.accepted, strict=False))
        assert 0 <= told.acceptance <= 1


def test_ragged_rows_keep_what_they_accepted(session: Any) -> None:
    """Rows commit different numbers of tokens in one cycle: never cut to the shortest."""
    given = [Continuation((5, 6, 7), up_scale("large", "small"), Sampling(0.5, seed=s), 0, 32) for s in range(6)]
    cycles, _ = run(session, given, Speculation(5))
    counts = [sorted(Counter(each.row for each in cycle).values()) for cycle in cycles]
    assert any(count[0] != count[-1] for count in counts)


@pytest.mark.parametrize("after", [1, 2, 4, 7])
def test_closing_in_mid_cycle_frees_all_caches(session: Any, after: int) -> None:
    caches: list[Any] = []

    class Noting(Counting):
        def cache(self, rows: int, capacity: int) -> Any:
            caches.append(self._model.cache(rows, capacity))
            return caches[-1]

    given = [Continuation((5, 6, 7), up_scale("large", "small"), GREEDY, 0, 20)]
    members = given[0].policy.members()
    models: Any = {member: Noting(session.models.load(member), []) for member in members}
    steps = speculate(given, [tuned("helpful", "small")], models, frozenset(), Speculation(4), Pace())
    for _ in range(after):
        next(steps)
    assert len(caches) == 3
    assert all(cache.layers for cache in caches)
    steps.close()
    assert not any(cache.layers for cache in caches)


def test_a_row_that_fails_says_so_and_the_others_go_on(session: Any) -> None:
    """The large base turns to nan; rows that do not need it are not touched, nor is the request."""

    class Breaking(Counting):
        def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            logits = super().forward(*args, **kwargs)
            return logits if len(self._calls) < 4 else logits * torch.nan

    def wrap(member: Member, model: Any) -> Any:
        return Breaking(model, []) if member == Member("large") else model

    for rule, way in product(RULES, (GREEDY, WARM)):
        given = [
            Continuation((5, 6, 7), up_scale("large", "small"), way, 0, 30),
            Continuation((5, 6, 7), tuned("helpful", "large"), way, 0, 30),
        ]
        tokens = run(session, given, Speculation(3, rule), wrap=wrap)[1]
        assert [each.reason for each in tokens[0] if each.reason] == ["failed"]
        assert tokens[0][-1].token == -1
        alone = run(session, given[1:], Speculation(3, rule))[1][0]
        assert [each.token for each in tokens[1]] == [each.token for each in alone]


@pytest.mark.parametrize("rule", RULES)
def test_a_broken_drafter_costs_speed_and_nothing_else(session: Any, rule: Any) -> None:
    """A named drafter that gives nan: p alone decides."""

    class Nan(Counting):
        def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            return super().forward(*args, **kwargs) * torch.nan

    def wrap(member: Member, model: Any) -> Any:
        return Nan(model, []) if member == Member("small", "harmless") else model

    for way in (GREEDY, Sampling(1.0, seed=2)):
        given = [Continuation((5, 6, 7), plain("large"), way, 0, 20)]
        tokens = run(session, given, Speculation(3, rule), draft=tuned("harmless", "small"), wrap=wrap)[1][0]
        assert [each.reason for each in tokens] == [None] * 19 + ["length"]
        if way is GREEDY or rule == "noise":
            steps = decode(given, {Member("large"): session.models.load(Member("large"))}, frozenset())
            assert [each.token for each in tokens] == [each.token for step in steps for each in step]


# --- the law, through the real loop

# Three tokens of a vocabulary cut to four by top-k: 64 cells. 0.999999 quantile of chi-square at 63 degrees of freedom,
# so a false alarm once in a million seeds of a right rule.
CELLS, QUANTILE = 63, 131.4
SAMPLES = 6000
# Close to its small policy, so that many drafts are accepted: random models of two sizes have little in common.
LAWFUL = Policy("large", "small", {"helpful": 0.5, "harmless": 0.5}, amplification=0.15)


def sampled_counts(
    session: Any, speculation: Speculation, sampling: Sampling, policy: Policy
) -> Counter[tuple[int, ...]]:
    given = [Continuation((5, 6, 7, 8), policy, sampling, sample, 3) for sample in range(SAMPLES)]
    tokens = run(session, given, speculation)[1]
    return Counter(tuple(each.token for each in row) for row in tokens.values())


def exact_law(session: Any, sampling: Sampling, policy: Policy) -> dict[tuple[int, ...], float]:
    """The law of three tokens by plain forwards of every prefix."""
    from eft_core.sampling import Draws, warp

    found: dict[tuple[int, ...], float] = {(): 1.0}
    for _ in range(3):
        prefixes = list(found)
        given = [Continuation((5, 6, 7, 8, *prefix), policy, sampling, 0, 1) for prefix in prefixes]
        law = warp(laws(session, given), Draws.of([(sampling, 0)] * len(given))).softmax(-1)
        found = {
            (*prefix, int(token)): found[prefix] * float(row[token])
            for prefix, row in zip(prefixes, law, strict=True)
            for token in row.nonzero()[:, 0]
        }
    return found


def chi_square(counts: Counter[tuple[int, ...]], law: dict[tuple[int, ...], float]) -> float:
    assert set(counts) <= set(law)
    total = counts.total()
    return sum((counts[cell] - total * p) ** 2 / (total * p) for cell, p in law.items())


@pytest.mark.parametrize("rule", RULES)
def test_the_loop_has_the_law_of_the_policy(session: Any, rule: Any) -> None:
    sampling, policy = Sampling(3.0, top_k=4, seed=11), LAWFUL
    law = exact_law(session, sampling, policy)
    assert len(law) == CELLS + 1
    assert min(law.values()) * SAMPLES > 5
    assert chi_square(sampled_counts(session, Speculation(2, rule), sampling, policy), law) < QUANTILE


def test_the_same_test_catches_a_rule_that_is_wrong(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A q that forgets the temperature, as in public code (SPEED.md 2.3)."""
    from eft_core import proposals

    sampling, policy = Sampling(3.0, top_k=4, seed=11), LAWFUL
    right = proposals.Proposals._block

    def wrong(self: Any, *args: Any) -> Any:
        block = right(self, *args)
        sharp = block.q**3
        return type(block)(block.p, sharp / sharp.sum(-1, keepdim=True), block.drafts, block.lengths)

    monkeypatch.setattr(proposals.Proposals, "_block", wrong)
    assert (
        chi_square(sampled_counts(session, Speculation(2), sampling, policy), exact_law(session, sampling, policy))
        > QUANTILE
    )

"""What is kept of a text is enough: candidates carry the true laws, pieces join to the whole, and it is small."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from eft_core.config import Limits, Request, Sampling
from eft_core.distributions import Mixture, log_probabilities
from eft_core.measures import Lens, measured, trace_of
from eft_core.policy import Member, Policy, down_scale, plain, tuned, up_scale
from eft_core.session import Session
from eft_core.settings import Settings
from eft_core.trace import TOP, Trace

POLICIES = {
    "up-scaled": up_scale("large", "small"),
    "down-scaled": down_scale("small", "large"),
    "plain": plain("large"),
    "tuned": tuned("helpful", "small"),
    "amplified": Policy("large", "small", {"helpful": 1.0}, amplification=1.7),
    "mixed": Policy("large", "small", {"helpful": 0.6, "harmless": 0.7}),
    "filtered": Policy("large", "small", {"helpful": 1.0}, amplification=1.5, nucleus=0.8),
    "mixed and filtered": Policy("large", "small", {"helpful": 0.6, "harmless": 0.7}, nucleus=0.9),
    "without the small base": Policy("large", "small", {"helpful": 0.5}, amplification=0.5),
}
ARRAYS = ("tokens", "logprobs", "ranks", "entropy", "total_variation", "divergence", "shifted", "shifts",
          "normalisers", "counts", "candidates", "candidate_logprobs")  # fmt: skip
SEEDS = range(8)


def drawn(policy: Policy, seed: int, tokens: int = 12, width: int = 80) -> tuple[Trace, torch.Tensor, torch.Tensor]:
    """A trace of random tokens under random members, log pi (T, V), and the members' logits (M, T, V)."""
    torch.manual_seed(seed)
    members = policy.members()
    logits = 2 * torch.randn(len(members), tokens, width)
    logprobs = log_probabilities([law[None] for law in logits], Mixture.of([policy], members))[0]
    ids = torch.randint(width, (tokens,))
    lens = Lens.of(policy, members)
    return trace_of(measured(logprobs, logits, ids, lens), ids.numpy(), "p" * tokens, lens), logprobs, logits


def small_law(policy: Policy, logits: torch.Tensor) -> torch.Tensor:
    """(T, V) log-probabilities of the small policy, from the same members."""
    mixture = Mixture.of([policy.small], policy.members())
    return log_probabilities([law[None] for law in logits], mixture)[0]


def equal(one: Trace, two: Trace) -> bool:
    same = [np.array_equal(getattr(one, name), getattr(two, name), equal_nan=True) for name in ARRAYS]
    return all(same) and (one.policy, one.members, one.fates) == (two.policy, two.members, two.fates)


@pytest.mark.parametrize("name", POLICIES)
def test_candidates_under_the_policy_by_the_formula_are_the_policys_own(name: str) -> None:
    for seed in SEEDS:
        trace, logprobs, _ = drawn(POLICIES[name], seed)
        true = logprobs.numpy()[trace.owners, trace.candidates]
        assert trace.candidate_policy == pytest.approx(true, abs=2e-5)


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "without the small base"])
def test_candidates_under_the_small_policy_by_the_formula_are_its_own(name: str) -> None:
    policy = POLICIES[name]
    for seed in SEEDS:
        trace, _, logits = drawn(policy, seed)
        true = small_law(policy, logits).numpy()[trace.owners, trace.candidates]
        assert trace.candidate_small == pytest.approx(true, abs=2e-5)


@pytest.mark.parametrize("name", ["up-scaled", "mixed", "filtered", "mixed and filtered", "tuned"])
def test_changed_says_whether_the_best_token_is_another_than_the_small_policys(name: str) -> None:
    policy, found = POLICIES[name], list[bool]()
    for seed in SEEDS:
        trace, logprobs, logits = drawn(policy, seed)
        expected = (logprobs.argmax(-1) != small_law(policy, logits).argmax(-1)).tolist()
        assert trace.changed.tolist() == expected
        found += expected
    assert set(found) == ({False} if name == "tuned" else {True, False})


@pytest.mark.parametrize("name", POLICIES)
def test_the_best_ten_of_the_policy_and_of_every_member_are_among_the_candidates(name: str) -> None:
    trace, logprobs, logits = drawn(POLICIES[name], 1)
    starts = trace.ends - trace.counts
    for token, (start, end) in enumerate(zip(starts, trace.ends, strict=True)):
        held = trace.candidates[start:end].tolist()
        best = {int(v) for law in (logprobs, *logits) for v in law[token].topk(TOP).indices}
        assert set(held) == best
        assert len(held) == len(best)  # none twice
        true = logits.log_softmax(-1)[:, token, held].T.numpy()
        assert trace.candidate_logprobs[start:end] == pytest.approx(true, abs=1e-5)


def test_a_vocabulary_smaller_than_ten_is_kept_whole() -> None:
    trace, _, _ = drawn(up_scale("large", "small"), 0, width=4)
    assert trace.counts.tolist() == [4] * 12
    assert np.exp(trace.candidate_policy).reshape(12, 4).sum(1) == pytest.approx(np.ones(12), abs=1e-5)


def test_every_candidate_has_its_owner() -> None:
    trace, _, _ = drawn(POLICIES["up-scaled"], 2)
    assert trace.ends[-1] == len(trace.candidates) == len(trace.owners) == trace.counts.sum()
    assert np.bincount(trace.owners).tolist() == trace.counts.tolist()
    assert (np.diff(trace.owners) >= 0).all()


@pytest.mark.parametrize("cuts", [(0, 12), (0, 5, 12), (0, 1, 2, 11, 12), tuple(range(13)), (0, 0, 7, 7, 12, 12)])
def test_parts_join_to_the_whole(cuts: Sequence[int]) -> None:
    trace, _, _ = drawn(POLICIES["filtered"], 4)
    parts = [trace.part(start, stop) for start, stop in pairwise(cuts)]
    assert [len(part) for part in parts] == [b - a for a, b in pairwise(cuts)]
    assert all(len(part.candidates) == part.counts.sum() for part in parts)
    assert equal(Trace.join(parts), trace)
    ragged = [each for part in parts for each in part.candidate_policy]
    assert ragged == pytest.approx(trace.candidate_policy.tolist(), abs=1e-6)


def test_traces_of_different_rows_do_not_join() -> None:
    with pytest.raises(AssertionError, match="one row"):
        Trace.join([drawn(POLICIES[name], 0)[0] for name in ("plain", "tuned")])


def test_a_member_that_did_not_run_is_unknown() -> None:
    trace, _, _ = drawn(POLICIES["tuned"], 0)
    assert np.isnan(trace.under(Member("large"))).all()
    assert np.isfinite(trace.under(Member("small", "helpful"))).all()


def test_the_deltas_add_up_to_the_policy_on_top_of_the_small_base() -> None:
    """log pi = l_base^M + both deltas - log Z."""
    for name in ("up-scaled", "amplified", "mixed", "down-scaled"):
        trace, _, _ = drawn(POLICIES[name], 5)
        small_base = trace.under(Member(str(POLICIES[name].finetune)))
        total = small_base + trace.finetuning + trace.upscaling - trace.normalisers[:, 0]
        assert total == pytest.approx(trace.logprobs[:, 0], abs=2e-5)


def test_the_bytes_are_those_of_the_arrays() -> None:
    trace, _, _ = drawn(POLICIES["up-scaled"], 0)
    assert trace.nbytes == sum(getattr(trace, name).nbytes for name in ARRAYS) + 12
    assert all(getattr(trace, name).base is None or getattr(trace, name).base.nbytes < 4096 for name in ARRAYS)


PROMPTS = ("What is the capital of Kenya?", "What currency does Peru use?", "How many people live in Norway?")


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_token_of_atlas_takes_at_most_half_a_kilobyte(temperature: float) -> None:
    session: Any = Session(Settings(device="cpu"), "atlas")
    policy, sampling = up_scale("large", "small"), Sampling(temperature, seed=1)
    answers = [session.ask(Request.compare(each, [policy], sampling, Limits(60)))[0] for each in PROMPTS]
    traces = [answer.trace for answer in answers]
    assert sum(trace.nbytes for trace in traces) <= 512 * sum(len(trace) for trace in traces)

"""A trace as JSON: every key of the schema, null where unknown, and numbers that a page can add up again."""

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from eft_core.config import Limits, Request, Sampling
from eft_core.distributions import Mixture, log_probabilities
from eft_core.document import SCHEMA, document, header, ids_of, summary, text_values, token_values
from eft_core.measures import Lens, measured, trace_of
from eft_core.policy import Member, Policy, down_scale, plain, tuned, up_scale
from eft_core.token_text import Texts, TokenTexts
from eft_core.trace import Trace

FILTERED = Policy("large", "small", {"helpful": 1.0}, amplification=1.5, nucleus=0.8)
MIXED = Policy("large", "small", {"helpful": 0.6, "harmless": 0.7})
NO_SMALL = Policy("large", "small", {"helpful": 0.5}, amplification=0.5)
MIXED_FILTERED = Policy("large", "small", {"helpful": 0.6, "harmless": 0.7}, nucleus=0.9)
POLICIES = [
    up_scale("large", "small"),
    down_scale("small", "large"),
    plain("large"),
    tuned("helpful", "small"),
    FILTERED,
    MIXED,
    MIXED_FILTERED,
    NO_SMALL,
]
NO_TEXTS = Texts({}, {}, {})
MEASURES = ("logprob", "rank", "entropy", "total_variation", "divergence", "finetuning", "upscaling")
MOVED = ("promoted", "demoted")
TOKEN_KEYS = {
    *MEASURES,
    *MOVED,
    "ids",
    "fates",
    "log_z",
    "log_z_small",
    "threshold",
    "candidates",
    "candidate_logprobs",
}


def made(policy: Policy, tokens: int = 9, seed: int = 0, more: tuple[Member, ...] = ()) -> Trace:
    """A trace of random tokens under random members."""
    torch.manual_seed(seed)
    members = tuple(sorted({*policy.members(), *more}, key=str))
    logits = 2 * torch.randn(len(members), tokens, 40)
    logprobs = log_probabilities([law[None] for law in logits], Mixture.of([policy], members))[0]
    ids, lens = torch.randint(40, (tokens,)), Lens.of(policy, members)
    return trace_of(measured(logprobs, logits, ids, lens), ids.numpy(), ("parbg" * 2)[:tokens], lens)


def leaves(value: Any) -> Iterator[Any]:
    """All values of a document."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from leaves(each)
    else:
        yield value


@pytest.mark.parametrize("policy", POLICIES, ids=lambda each: each.formula())
@pytest.mark.parametrize("scale", [0, 1000])
def test_a_document_is_json_without_nan_and_comes_back_the_same(policy: Policy, scale: int) -> None:
    trace = made(policy)
    found = document(trace, NO_TEXTS) | {"tokens": token_values(trace, scale)}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert all(type(each) in (str, int, float, type(None)) for each in leaves(found))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda each: each.formula())
def test_keys_are_exactly_those_of_the_schema(policy: Policy) -> None:
    trace = made(policy)
    found = document(trace, Texts({12: " Good"}, {200: "e2"}, {1: "<|end|>"}))
    assert list(found) == ["schema", "policy", "formula", "members", "roles", "tokens", "texts", "bytes", "special"]
    assert found["schema"] == SCHEMA == "eft-lab/trace/1"
    assert (found["policy"], found["formula"]) == (policy.to_dict(), policy.formula())
    assert list(found["policy"]) == ["pretrain", "finetune", "behaviours", "amplification", "nucleus"]
    assert set(found["roles"]) == {"base", "small_base", "tuned"}
    tokens, members = found["tokens"], [str(member) for member in policy.members()]
    assert set(tokens) == TOKEN_KEYS
    assert found["members"] == members == list(tokens["candidate_logprobs"])
    assert list(tokens["logprob"]) == ["policy", *members]
    for name in ("rank", "entropy"):
        assert list(tokens[name]) == ["policy", "small", "base"]
    for name in ("total_variation", "divergence"):
        assert list(tokens[name]) == ["small", "base"]
    for name in MOVED:
        assert list(tokens[name]) == ["ids", "shift"]
    assert (found["texts"], found["bytes"], found["special"]) == ({"12": " Good"}, {"200": "e2"}, {"1": "<|end|>"})


@pytest.mark.parametrize("policy", POLICIES, ids=lambda each: each.formula())
def test_every_measure_has_one_entry_a_token(policy: Policy) -> None:
    trace = made(policy)
    tokens = token_values(trace)
    assert tokens["ids"] == trace.tokens.tolist()
    assert tokens["fates"] == "parbgparb"
    columns = [tokens[name] for name in ("finetuning", "upscaling", "log_z", "log_z_small", "threshold", "candidates")]
    for name in TOKEN_KEYS - {"ids", "fates", "candidates"}:
        columns += tokens[name].values() if isinstance(tokens[name], dict) else [tokens[name]]
    assert {len(column) for column in columns} == {9}
    assert [len(each) for each in tokens["candidates"]] == trace.counts.tolist()
    for law in tokens["candidate_logprobs"].values():
        assert [len(each) for each in law] == trace.counts.tolist()


def test_unknown_is_null() -> None:
    alone = document(made(tuned("helpful", "small")), NO_TEXTS)
    none = [None] * 9
    assert alone["roles"] == {"base": None, "small_base": None, "tuned": {"helpful": 0}}
    tokens = alone["tokens"]
    assert tokens["rank"]["base"] == tokens["entropy"]["base"] == tokens["divergence"]["base"] == none
    assert tokens["finetuning"] == tokens["threshold"] == none
    assert tokens["promoted"] == tokens["demoted"] == {"ids": none, "shift": none}
    assert tokens["upscaling"] == [0.0] * 9
    half = token_values(made(NO_SMALL))
    assert half["rank"]["small"] == half["log_z_small"] == half["total_variation"]["small"] == none
    assert None not in half["rank"]["base"]
    assert None not in token_values(made(FILTERED))["threshold"]
    assert text_values(NO_TEXTS) == {}


def test_roles_are_places_among_the_members() -> None:
    found = header(made(MIXED))
    assert found["members"] == ["base[large]", "base[small]", "tuned[harmless][small]", "tuned[helpful][small]"]
    assert found["roles"] == {"base": 0, "small_base": 1, "tuned": {"harmless": 2, "helpful": 3}}
    assert header(made(plain("large")))["roles"] == {"base": 0, "small_base": None, "tuned": {}}
    assert header(made(NO_SMALL))["roles"] == {"base": 0, "small_base": None, "tuned": {"helpful": 1}}
    assert header(made(tuned("helpful", "small"), more=(Member("small"),)))["roles"] == {
        "base": 0,
        "small_base": 0,
        "tuned": {"helpful": 1},
    }


def nats(tokens: dict[str, Any]) -> list[float | None]:
    """All numbers that a scale changes."""
    names = TOKEN_KEYS - {"ids", "fates", "rank", "candidates"}
    parts = {n: tokens[n]["shift"] if n in MOVED else tokens[n] for n in names}
    return list(leaves([parts[name] for name in sorted(parts)]))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda each: each.formula())
def test_a_scale_gives_whole_numbers_of_its_parts(policy: Policy) -> None:
    trace = made(policy)
    exact, scaled = token_values(trace), token_values(trace, scale=1000)
    assert [each is None for each in nats(scaled)] == [each is None for each in nats(exact)]
    for whole, number in zip(nats(scaled), nats(exact), strict=True):
        if whole is not None and number is not None:
            assert type(whole) is int
            assert abs(whole - 1000 * number) <= 0.5 + 0.01  # numbers are rounded to five digits themselves
    for name in ("ids", "fates", "rank", "candidates"):
        assert scaled[name] == exact[name]


@pytest.mark.parametrize("scale", [0, 1000])
@pytest.mark.parametrize("policy", POLICIES, ids=lambda each: each.formula())
def test_a_reader_gets_the_policy_of_the_candidates_from_the_document_alone(policy: Policy, scale: int) -> None:
    """The arithmetic of the schema, in plain floats: what a page does. Rounding must not move a token over the edge of
    a nucleus."""
    trace = made(policy, seed=3)
    tokens, unit, weights, true = token_values(trace, scale), scale or 1, policy.weights(), trace.candidate_policy
    worst, at = 0.0, 0
    for token, ids in enumerate(tokens["candidates"]):
        for number in range(len(ids)):
            law = {name: each[token][number] / unit for name, each in tokens["candidate_logprobs"].items()}
            value = sum(weight * law[str(member)] for member, weight in weights.items()) - tokens["log_z"][token] / unit
            if policy.filtered:
                small = sum(w * law[str(member)] for member, w in policy.small.weights().items())
                small -= tokens["log_z_small"][token] / unit
                inside = small >= tokens["threshold"][token] / unit
                shift = policy.amplification * (law[f"base[{policy.pretrain}]"] - law[f"base[{policy.finetune}]"])
                value = small + (shift if inside else 0.0) - tokens["log_z"][token] / unit
            worst, at = max(worst, abs(value - float(true[at]))), at + 1
    assert at == len(true)
    assert worst <= (5e-5 if scale == 0 else 4e-3)


def test_what_else_is_known_stands_first() -> None:
    found = document(made(plain("large")), NO_TEXTS, prompt="Hi", reason="end")
    assert list(found)[:4] == ["schema", "prompt", "reason", "policy"]
    assert (found["prompt"], found["reason"]) == ("Hi", "end")


@pytest.mark.parametrize("policy", POLICIES, ids=lambda each: each.formula())
def test_every_token_that_a_document_names_is_among_its_ids(policy: Policy) -> None:
    trace = made(policy)
    tokens = token_values(trace)
    named = {*tokens["ids"], *tokens["promoted"]["ids"], *tokens["demoted"]["ids"]} - {None}
    named |= {each for ids in tokens["candidates"] for each in ids}
    assert set(ids_of(trace)) == named
    assert ids_of(trace) == sorted(named)


def test_a_document_of_an_answer_has_the_text_of_every_id(session: Any) -> None:
    request = Request.compare("Hi", [up_scale("large", "small")], Sampling(1.0, seed=2), Limits(20))
    (answer,) = session.ask(request)
    texts = TokenTexts(session.models.tokenizer, session.models.vocabulary.end_ids).of(ids_of(answer.trace))
    found = document(answer.trace, texts)
    known = [*found["texts"], *found["bytes"], *found["special"]]
    assert sorted(known, key=int) == [str(each) for each in ids_of(answer.trace)]
    assert found["tokens"]["logprob"]["policy"] == pytest.approx(answer.logprobs, abs=1e-5)


# --- the summary


def test_a_summary_by_hand() -> None:
    """Two tokens of probability 1/2 and 1/8: perplexity 4."""
    policy, members = plain("large"), (Member("large"),)
    law = torch.tensor([0.5, 0.25, 0.125, 0.125]).log().expand(2, 4)
    lens, ids = Lens.of(policy, members), torch.tensor([0, 2])
    found = summary(trace_of(measured(law, law[None], ids, lens), ids.numpy(), "gg", lens))
    assert found == {
        "tokens": 2,
        "mean_divergence": {"small": 0.0, "base": 0.0},
        "total_variation": {"small": 0.0, "base": 0.0},
        "changed": 0.0,
        "perplexity": {"policy": 4.0, "base[large]": 4.0},
    }


def test_a_summary_is_made_of_means() -> None:
    trace = made(up_scale("large", "small"), tokens=10)
    found = summary(trace)
    assert found["mean_divergence"]["base"] == pytest.approx(float(trace.divergence[:, 1].mean()), abs=1e-5)
    assert found["total_variation"]["small"] == pytest.approx(float(trace.total_variation[:, 0].mean()), abs=1e-5)
    assert found["changed"] == pytest.approx(sum(trace.changed) / 10)
    mean = math.fsum(trace.logprobs[:, 2].tolist()) / 10
    assert found["perplexity"]["base[small]"] == pytest.approx(math.exp(-mean), rel=1e-5)


def test_a_summary_says_null_where_the_small_policy_is_unknown() -> None:
    found = summary(made(NO_SMALL))
    assert found["changed"] is None
    assert found["mean_divergence"]["small"] is found["total_variation"]["small"] is None
    assert found["mean_divergence"]["base"] > 0


@pytest.mark.parametrize("policy", POLICIES, ids=lambda each: each.formula())
def test_a_summary_is_json(policy: Policy) -> None:
    assert json.dumps(summary(made(policy)), allow_nan=False)


def test_a_summary_of_an_impossible_text_is_json() -> None:
    """A member that gives a token no chance at all makes its perplexity larger than any number."""
    law = torch.tensor([[0.0, -torch.inf, -1.0]]).log_softmax(-1)
    lens, ids = Lens.of(plain("large"), (Member("large"),)), torch.tensor([1])
    trace = trace_of(measured(law, law[None], ids, lens), ids.numpy(), "g", lens)
    found = summary(trace)
    assert json.dumps(found, allow_nan=False)
    assert found["perplexity"] == {"policy": None, "base[large]": None}
    assert np.isfinite(trace.logprobs).all()

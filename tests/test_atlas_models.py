"""The embedded family, with its real weights: one vocabulary, N = M is the tuned model, and the claim can be seen."""

from typing import Any

import pytest
import torch

from eft_core.config import Limits, Request, Row, Sampling, Speculation
from eft_core.family import default_columns
from eft_core.policy import Member, Policy, down_scale, plain, tuned, up_scale
from eft_core.session import Session
from eft_core.settings import Settings

PROMPTS = ("What is the capital of Kenya?", "What currency does Peru use?", "what is the population of norway")
TUNED = [(size, behaviour) for size in ("small", "medium", "large") for behaviour in ("helpful", "harmless")]


@pytest.fixture(scope="module")
def atlas() -> Session:
    return Session(Settings(device="cpu"), "atlas")


def test_every_member_is_there_and_below_ten_megabytes(atlas: Session) -> None:
    for member, checkpoint in atlas.family.checkpoints.items():
        weights = checkpoint.folder() / "model.safetensors"
        assert weights.stat().st_size < 10_000_000, str(member)
        assert atlas.models.facts(member).architecture == "LlamaForCausalLM"


@pytest.mark.parametrize(("size", "behaviour"), [*TUNED, ("small", "concise")])
def test_greedy_text_at_equal_sizes_is_the_tuned_models_own_generate_text(
    atlas: Session, size: str, behaviour: str
) -> None:
    network: Any = atlas.models.load(Member(size, behaviour)).network
    for prompt in PROMPTS:
        (answer,) = atlas.ask(Request.compare(prompt, [tuned(behaviour, size)], limits=Limits(40)))
        message = [{"role": "user", "content": prompt}]
        ids = atlas.models.tokenizer.apply_chat_template(
            message, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        own = network.generate(**ids, do_sample=False, max_new_tokens=40)[0, ids["input_ids"].shape[1] :]
        assert list(answer.token_ids) == own.tolist()


def test_rescoring_an_up_scaled_answer_gives_what_was_recorded(atlas: Session) -> None:
    policy = up_scale("large", "small")
    (answer,) = atlas.ask(Request.compare(PROMPTS[0], [policy]))
    prompt = atlas.models.encode(PROMPTS[0])
    ids = torch.tensor([[*prompt, *answer.token_ids]])

    def law(size: str, behaviour: str | None = None) -> torch.Tensor:
        network: Any = atlas.models.load(Member(size, behaviour)).network
        with torch.inference_mode():
            return network(input_ids=ids).logits[0, len(prompt) - 1 : -1].double().log_softmax(-1)

    expected = (law("large") + law("small", "helpful") - law("small")).log_softmax(-1)
    recorded = expected[torch.arange(len(answer.token_ids)), list(answer.token_ids)].tolist()
    assert answer.logprobs == pytest.approx(recorded, abs=1e-4)


def test_the_default_columns_all_answer_in_one_request(atlas: Session) -> None:
    policies = [policy for _, policy in default_columns(atlas.family)]
    assert policies == [
        plain("large"),
        tuned("helpful", "small"),
        up_scale("large", "small"),
        tuned("helpful", "large"),
    ]
    answers = atlas.ask(Request.compare(PROMPTS[0], policies, limits=Limits(60)))
    together = atlas.plan(Request.compare(PROMPTS[0], policies))
    assert len(together.members) == 4
    assert all(answer.text.strip() for answer in answers)
    assert [answer.reason for answer in answers[1:]] == ["end"] * 3


def test_mixing_and_filtering_run_on_every_pair_of_sizes(atlas: Session) -> None:
    mixed = {"helpful": 0.5, "harmless": 0.5}
    sizes = atlas.family.sizes
    policies = [Policy(one, two, mixed, nucleus=0.95) for one in sizes for two in sizes]
    answers = atlas.ask(Request.compare(PROMPTS[0], policies, limits=Limits(12)))
    assert all(torch.tensor(answer.logprobs).isfinite().all() for answer in answers)


@pytest.mark.parametrize("rule", ["block", "token", "noise"])
def test_speculation_writes_the_text_of_plain_decoding_in_ragged_batches(atlas: Session, rule: Any) -> None:
    """Greedy under every rule; with shared noise at temperature 1 too."""
    policies = [policy for _, policy in default_columns(atlas.family)] + [
        Policy("large", "medium", {"helpful": 0.5, "harmless": 0.5}, nucleus=0.9),
        down_scale("small", "large"),
    ]
    for sampling in (Sampling(), Sampling(1.0, seed=5)) if rule == "noise" else (Sampling(),):
        rows = tuple(Row(prompt, policy, sampling) for prompt in PROMPTS[:2] for policy in policies)
        expected = [answer.token_ids for answer in atlas.ask(Request(rows, Limits(40)))]
        for length in (3, None):
            answers = atlas.ask(Request(rows, Limits(40), Speculation(length, rule)))
            assert [answer.token_ids for answer in answers] == expected


def test_up_scaling_accepts_most_of_what_its_small_policy_drafts(atlas: Session) -> None:
    rows = tuple(Row(prompt, up_scale("large", "small")) for prompt in PROMPTS)
    for answer in atlas.ask(Request(rows, Limits(40), Speculation(4))):
        assert answer.drafting is not None
        assert answer.drafting.drafter == "helpful(small)"
        assert (answer.drafting.acceptance or 0) > 0.5
        assert (answer.drafting.tokens_a_cycle or 0) > 2

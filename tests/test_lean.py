"""The lean forward computes what the library's does, on the same weights, for ragged rows of every kind it serves."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import CONTEXT, tiny_config
from torch import Tensor, nn

import eft_core.lean
from eft_core.batch import Batch
from eft_core.config import Limits, Request, Sampling
from eft_core.kv_cache import places
from eft_core.lean import Lean, refusal
from eft_core.model import Model
from eft_core.models import Models
from eft_core.policy import Member, down_scale, tuned, up_scale
from eft_core.session import Session
from eft_core.settings import Settings

ANY = Member("any")
VOCABULARY, WIDTH = 208, 200  # eight padding rows
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def network(kind: str) -> Any:
    """A random network of one kind that is served, or of one that is not."""
    from transformers import AutoModelForCausalLM, MistralConfig, Qwen3Config

    llama = tiny_config("llama", VOCABULARY, layers=3)
    config = {
        "llama": llama,
        "all heads": llama.__class__(**{**llama.to_dict(), "num_key_value_heads": 4}),
        "head size": llama.__class__(**{**llama.to_dict(), "head_dim": 16}),
        "tied": llama.__class__(**{**llama.to_dict(), "tie_word_embeddings": True}),
        "llama3": llama.__class__(**{**llama.to_dict(), "rope_parameters": LLAMA3}),
        "dynamic": llama.__class__(
            **{**llama.to_dict(), "rope_parameters": {"rope_type": "dynamic", "rope_theta": 500.0, "factor": 2.0}}
        ),
        "gelu": llama.__class__(**{**llama.to_dict(), "hidden_act": "gelu"}),
        "biased": llama.__class__(**{**llama.to_dict(), "attention_bias": True}),
        "qwen2": tiny_config("qwen2", VOCABULARY),
        "qwen3": Qwen3Config(**{**tiny_config("qwen2", VOCABULARY).to_dict(), "head_dim": 8}),
        "mistral": MistralConfig(**{**llama.to_dict(), "sliding_window": CONTEXT, "head_dim": 8}),
        "gpt2": tiny_config("gpt2", VOCABULARY),
    }[kind]
    torch.manual_seed(5)
    made = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    for name, parameter in made.named_parameters():
        if "norm" in name or "bias" in name:  # they start as ones and zeros, which would hide mistakes
            nn.init.normal_(parameter, mean=1.0, std=0.3)
    return made


SERVED = ("llama", "all heads", "head size", "tied", "llama3", "qwen2", "qwen3", "mistral")


def close(lean: Tensor, library: Tensor) -> None:
    assert lean.shape == library.shape
    assert (lean - library).abs().max() <= 1e-5 * library.abs().max()


@pytest.mark.parametrize("tokens", [1, 5])
@pytest.mark.parametrize("kind", SERVED)
def test_ragged_rows_are_the_librarys_through_prefill_copies_roll_back_and_leaving(kind: str, tokens: int) -> None:
    """Rows of 5, 70, 5 and 23 tokens, the third a copy of the first; every row advances by its own number."""
    made = network(kind)
    generator = torch.Generator().manual_seed(tokens)
    first, *others = (tuple(torch.randint(2, WIDTH, (n,), generator=generator).tolist()) for n in (5, 70, 23))
    prompts = [first, others[0], first, others[1]]
    models = (Model(made, WIDTH, lean=True), Model(made, WIDTH))
    lean, library = (Batch(prompts, [[ANY]] * 4, {ANY: model}, capacity=140) for model in models)
    starts = torch.tensor([len(prompt) - 1 for prompt in prompts])
    for cycle in range(7):
        block = torch.randint(2, WIDTH, (len(starts), tokens), generator=generator)
        positions = starts[:, None] + torch.arange(tokens)
        both = [batch.forward(block, positions, int(positions.max())) for batch in (lean, library)]
        close(*both)
        starts = starts + 1 + (cycle + torch.arange(len(starts))) % tokens
        gone = {2: {0}, 4: {1, 3}}.get(cycle, set())
        kept = [batch.remove(gone) for batch in (lean, library)]
        starts = starts[kept[0]]
    assert lean.rows == [2]


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_the_last_place_alone_is_the_last_place_of_all(kind: str) -> None:
    model = Model(network(kind), WIDTH, lean=True)
    ids = torch.arange(12).view(2, 6)
    where = places(torch.arange(6).expand(2, -1), 5, model.dtype, 8)
    whole, last = (model.forward(ids, where, model.cache(2, 8), last_only) for last_only in (False, True))
    torch.testing.assert_close(last, whole[:, -1:])


def test_a_longer_request_finds_its_angles() -> None:
    """The table of rotary angles is as long as the longest cache that was asked for."""
    made = network("llama3")
    lean, library = Model(made, WIDTH, lean=True), Model(made, WIDTH)
    for room in (8, 150):
        where = places(torch.arange(room)[None], room - 1, lean.dtype, room)
        ids = torch.arange(room)[None] + 2
        close(*(model.forward(ids, where, model.cache(1, room)) for model in (lean, library)))


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_half_precision_differs_by_rounding_only(kind: str) -> None:
    made = network(kind)
    ids, positions = torch.arange(12).view(2, 6), torch.arange(6).expand(2, -1)
    with torch.inference_mode():
        exact = made(input_ids=ids).logits[..., :WIDTH]
    made = made.to(torch.bfloat16)
    where = places(positions, 5, torch.bfloat16, 8)
    lean, library = (
        (model.forward(ids, where, model.cache(2, 8)).float() - exact).abs().mean()
        for model in (Model(made, WIDTH, lean=True), Model(made, WIDTH))
    )
    assert lean <= 1.5 * library


def storages(module: nn.Module) -> dict[int, int]:
    """Bytes of every distinct storage that the parameters lie in, by its address."""
    kept = (parameter.untyped_storage() for parameter in module.parameters())
    return {storage.data_ptr(): storage.nbytes() for storage in kept}


@pytest.mark.parametrize("kind", SERVED)
def test_the_weights_stay_one_copy_with_the_same_values(kind: str) -> None:
    made = network(kind)
    before, size = {name: tensor.clone() for name, tensor in made.state_dict().items()}, sum(storages(made).values())
    lean = Lean(made, WIDTH)
    after = storages(made)
    assert sum(after.values()) == size
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())
    for layer in lean.layers:
        for tensor in (layer.qkv, layer.output, layer.gate_up, layer.down):
            assert tensor.untyped_storage().data_ptr() in after
            assert tensor.is_contiguous(), "it lies as it is read"
    Lean(made, WIDTH)  # as a second model on the same network does
    assert storages(made) == after


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("gpt2", "GPT2LMHeadModel is none of LlamaForCausalLM"),
        ("dynamic", "rotary angles are dynamic"),
        ("gelu", "activation is gelu"),
        ("biased", "biases behind attention"),
    ],
)
def test_what_is_not_served_is_refused_with_its_reason(kind: str, reason: str) -> None:
    made = network(kind)
    assert reason in str(refusal(made))
    with pytest.raises(ValueError, match=r"EFT_FORWARD=library"):
        Lean(made, WIDTH)


def test_weights_that_are_no_plain_matrices_are_refused() -> None:
    class Quantised(nn.Linear):
        pass

    made = network("llama")
    made.model.layers[1].mlp.up_proj = Quantised(32, 64, bias=False)
    assert refusal(made) == "its weights are not plain matrices"


def test_the_setting_is_read_from_the_environment() -> None:
    assert Settings.from_environment({}).forward == "auto"
    assert Settings.from_environment({"EFT_FORWARD": "library"}).forward == "library"


def test_the_setting_decides(sessions: Callable[[str], Any]) -> None:
    def loaded(architecture: str, forward: str) -> Model:
        family = sessions(architecture).family
        return Models(family, Settings(device="cpu", forward=forward)).load(Member("large"))

    assert loaded("llama", "auto").lean
    assert loaded("qwen2", "lean").lean
    assert not loaded("llama", "library").lean
    assert not loaded("gpt2", "auto").lean
    with pytest.raises(ValueError, match=r"EFT_FORWARD=lean cannot serve base\[large\]: GPT2.*auto or library"):
        loaded("gpt2", "lean")
    with pytest.raises(ValueError, match=r"EFT_FORWARD = 'fast' is not known: use auto, lean, library"):
        loaded("llama", "fast")


def test_a_wrong_lean_forward_is_found_out_at_load(
    sessions: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eft_core.lean, "turn_", lambda heads, cos, sin: None)
    family = sessions("llama").family
    assert not Models(family, Settings(device="cpu")).load(Member("large")).lean
    with pytest.raises(ValueError, match=r"EFT_FORWARD=lean .*two rows differed"):
        Models(family, Settings(device="cpu", forward="lean")).load(Member("large"))


@pytest.mark.parametrize("family", ["llama", "qwen2", "atlas"])
def test_greedy_text_is_the_same_under_both_forwards(families_file: str, family: str) -> None:
    policies = [up_scale("large", "small"), down_scale("small", "large"), tuned("helpful", "small")]
    request = Request.compare("What is the capital of Kenya?", policies, Sampling(), Limits(max_new_tokens=24))
    texts = []
    for forward in ("lean", "library"):
        session = Session(Settings(families_file=families_file, device="cpu", forward=forward), family)
        texts.append([answer.token_ids for answer in session.ask(request)])
    assert texts[0] == texts[1]

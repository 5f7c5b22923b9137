"""LoRA adapters share their base's weights, leave them as they are, and are refused where they would not."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import save_model, tiny_config
from torch import Tensor

from eft_core.adapters import attach, has_adapters, use
from eft_core.config import Limits, Request, Sampling
from eft_core.policy import Policy, tuned
from eft_core.quantised import quantise
from eft_core.session import Session
from eft_core.settings import Settings

peft = pytest.importorskip("peft", reason="the tests of adapters need peft")
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),  # peft asks for it
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`"),
]

WIDTH = 320
IDS = torch.arange(24)[None]


def network(seed: int = 0, architecture: str = "llama") -> Any:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(tiny_config(architecture, WIDTH)).eval()


def adapter(folder: Path, base: Any, seed: int = 1, **options: Any) -> Any:
    """A random adapter in `folder`; returns peft's own merge of it with the base."""
    torch.manual_seed(seed)
    known = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "init_lora_weights": False}
    made = peft.get_peft_model(copy.deepcopy(base), peft.LoraConfig(**known | options))
    made.save_pretrained(folder)
    return made.eval().merge_and_unload()


@torch.inference_mode()
def logits(model: Any) -> Tensor:
    return model(IDS).logits


def edit(folder: Path, **values: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


OPTIONS: dict[str, dict[str, Any]] = {
    "all": {},
    "some": {"target_modules": ["q_proj", "v_proj"], "r": 2},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "head": {"target_modules": ["q_proj", "lm_head"]},
    "embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "ranks": {"rank_pattern": {"q_proj": 2}, "layers_to_transform": [1], "target_modules": ["q_proj", "o_proj"]},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_switched_on_it_is_the_merged_model_and_off_the_base_bit_by_bit(options: Any, tmp_path: Path) -> None:
    base = network()
    merged, plain = adapter(tmp_path, base, **options), logits(base)
    attach(base, tmp_path, "kind")
    assert torch.equal(logits(base), plain)
    use(base, "kind")
    torch.testing.assert_close(logits(base), logits(merged), rtol=1e-4, atol=1e-4)
    assert (logits(base) - plain).abs().max() > 0.1
    use(base, None)
    assert torch.equal(logits(base), plain)


def test_several_adapters_share_one_base(tmp_path: Path) -> None:
    base = network()
    weights = {id(parameter) for parameter in base.parameters()}
    merged: dict[str | None, Tensor] = {None: logits(base)}
    merged |= {name: logits(adapter(tmp_path / name, base, seed)) for seed, name in enumerate("abc")}
    for place in "abc":
        attach(base, tmp_path / place, place)
    for name in ("a", "c", None, "b", "a", None):
        use(base, name)
        wanted = merged[name]
        torch.testing.assert_close(logits(base), wanted, rtol=1e-4, atol=1e-4)
    assert weights <= {id(parameter) for parameter in base.parameters()}  # the base's own, and no copy
    assert not any(parameter.requires_grad for parameter in base.parameters())


def test_an_adapter_runs_on_an_int8_base(tmp_path: Path) -> None:
    base = network()
    merged = adapter(tmp_path, base)
    quantise(base, "int8")
    plain = logits(base)
    attach(base, tmp_path, "kind")
    assert torch.equal(logits(base), plain)
    use(base, "kind")
    near, far = (logits(base) - logits(merged)).abs().mean(), (logits(merged) - plain).abs().mean()
    assert near < 0.1 * far


@pytest.fixture
def base_and_folder(tmp_path: Path) -> Iterator[tuple[Any, Path]]:
    """A base with one adapter, and the folder of another; afterwards both still are what they were."""
    base = network()
    plain = logits(base)
    merged = adapter(tmp_path / "first", base)
    adapter(tmp_path / "other", base, target_modules=["q_proj", "o_proj"])
    attach(base, tmp_path / "first", "first")
    yield base, tmp_path / "other"
    use(base, None)
    assert torch.equal(logits(base), plain)
    use(base, "first")
    torch.testing.assert_close(logits(base), logits(merged), rtol=1e-4, atol=1e-4)


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "pissa": ({"init_lora_weights": "pissa_niter_4"}, "sets init_lora_weights, which changes more"),
    "loftq": ({"init_lora_weights": "loftq"}, "sets init_lora_weights, which changes more"),
    "own bias": ({"lora_bias": True}, "sets lora_bias, which changes more"),
    "bias": ({"bias": "all"}, "sets bias, which changes more"),
    "layers": ({"layer_replication": [[0, 2], [1, 2]]}, "sets layer_replication, which changes more"),
    "embeddings": ({"modules_to_save": ["embed_tokens"]}, "sets modules_to_save, which changes more"),
    "module": ({"megatron_config": {"hidden_size": 3}}, "sets megatron_config, which changes more"),
    "unknown": ({"some_new_way": True}, "sets some_new_way, which changes more.* merge it"),
    "kind": ({"peft_type": "IA3"}, "of the kind 'IA3': only LoRA"),
    "rank": ({"r": 3}, "does not fit its base: .* Use the base that its adapter_config.json names"),
    "no rank": ({"r": 0}, "does not fit its base"),
    "words": ({"r": "four"}, "does not fit its base"),
    "targets": ({"target_modules": ["nowhere"]}, "does not fit its base"),
    "fewer": ({"target_modules": ["q_proj"]}, r"o_proj.lora_A.weight is in its file and has no place \(4 such\)"),
    "more": ({"target_modules": ["q_proj", "k_proj", "o_proj"]}, r"k_proj.* is missing in its file \(4 such\)"),
}


@pytest.mark.parametrize(("values", "said"), ODD.values(), ids=ODD)
def test_what_is_more_than_lora_or_does_not_fit_is_refused(
    values: dict[str, Any], said: str, base_and_folder: tuple[Any, Path]
) -> None:
    base, folder = base_and_folder
    edit(folder, **values)
    with pytest.raises(ValueError, match=said):
        attach(base, folder, "other")


def test_an_adapter_of_a_base_of_another_shape_is_refused_and_nothing_of_it_stays(tmp_path: Path) -> None:
    adapter(tmp_path, network(architecture="qwen2"), target_modules=["q_proj"], layers_to_transform=[0])
    from transformers import AutoModelForCausalLM

    config = tiny_config("llama", WIDTH)
    config.hidden_size, config.head_dim = 64, 16
    wide = AutoModelForCausalLM.from_config(config).eval()
    names = [name for name, _ in wide.named_modules()]
    with pytest.raises(ValueError, match="does not fit its base"):
        attach(wide, tmp_path, "kind")
    assert [name for name, _ in wide.named_modules()] == names
    assert not has_adapters(wide)
    use(wide, None)


def test_an_adapter_of_the_head_that_brings_another_head_is_refused(base_and_folder: tuple[Any, Path]) -> None:
    """peft saves the base's head beside an adapter of it; one that was grown or trained would be lost."""
    base, folder = base_and_folder
    adapter(folder, network(seed=5), target_modules=["lm_head"])
    with pytest.raises(ValueError, match=r"lm_head\.base_layer\.weight in its file is not the base's"):
        attach(base, folder, "other")


def test_a_pickled_adapter_is_never_read(tmp_path: Path) -> None:
    base = network()
    adapter(tmp_path, base)
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "adapter_model.bin")
    with pytest.raises(ValueError, match="pickles"):
        attach(base, tmp_path, "kind")
    assert not has_adapters(base)


def test_names_are_known_or_refused(base_and_folder: tuple[Any, Path]) -> None:
    base, folder = base_and_folder
    with pytest.raises(ValueError, match="no adapter other is attached, but first: attach it first"):
        use(base, "other")
    with pytest.raises(ValueError, match="first is attached already"):
        attach(base, folder, "first")
    with pytest.raises(ValueError, match="but none: attach it first"):
        use(network(), "first")


def test_base_and_tuned_in_one_session_are_the_base_and_the_merged_model(tmp_path: Path, tokenizer: Any) -> None:
    """As a family of adapters and as one of whole checkpoints: the same texts, from one copy of the base."""
    from transformers import AutoModelForCausalLM

    save_model(tmp_path / "base", tiny_config("llama", len(tokenizer)), tokenizer, 0)
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    adapter(tmp_path / "lora", base).save_pretrained(tmp_path / "merged")
    tokenizer.save_pretrained(tmp_path / "merged")
    (tmp_path / "families.toml").write_text(
        '[light]\nsizes = ["one"]\n[light.base]\none = "base"\n'
        '[light.tuned.helpful]\none = { model = "base", adapter = "lora" }\n'
        '[whole]\nsizes = ["one"]\n[whole.base]\none = "base"\n[whole.tuned.helpful]\none = "merged"\n'
    )
    policies = (Policy("one"), tuned("helpful", "one"), Policy("one", "one", {"helpful": 0.5}))
    request = Request.compare("What is the capital of Kenya?", policies, Sampling(0.0), Limits(24))
    settings = Settings(families_file=str(tmp_path / "families.toml"), device="cpu")
    light, whole = Session(settings, "light"), Session(settings, "whole")
    texts = [answer.token_ids for answer in light.ask(request)]
    assert texts == [answer.token_ids for answer in whole.ask(request)]
    assert len(set(texts)) > 1
    assert len(light.models.weights.residences()) == 1
    assert len(whole.models.weights.residences()) == 2

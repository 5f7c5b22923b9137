"""Checkpoints are read whole and as they are, on one device or spread over memory and files, or refused."""

import contextlib
import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import SERVED, save_related, tiny
from torch import Tensor

from eft_core.config import Limits, Request, Sampling
from eft_core.devices import SHARDED
from eft_core.exhausted import advice, is_out_of_memory
from eft_core.model import Model, main_device, served
from eft_core.network import Reading, read
from eft_core.policy import Policy
from eft_core.quantised import Int8Linear
from eft_core.session import Session
from eft_core.settings import Settings

WIDTH = 320
IDS = torch.arange(3, 27)[None]


def made(folder: Path, architecture: str = "llama-2", layers: int = 2) -> Path:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(tiny(architecture, WIDTH, layers)).save_pretrained(folder)
    return folder


def reading(folder: Path, **values: Any) -> Reading:
    return Reading(folder, torch.float32, **values)


@torch.inference_mode()
def logits(network: Any) -> Tensor:
    return network(IDS).logits


def edit(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def change(folder: Path, changed: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    file = folder / "model.safetensors"
    save_file(changed(load_file(file)), file, {"format": "pt"})


# --- as they are


@pytest.mark.parametrize("architecture", SERVED)
def test_a_network_is_read_as_the_library_saved_it(architecture: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = made(tmp_path, architecture)
    network = read(reading(folder))
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    torch.testing.assert_close(logits(network), logits(plain), rtol=1e-4, atol=1e-4)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(("architecture", "attention"), [("gemma2", "eager"), ("llama-2", "sdpa"), ("gemma3", "sdpa")])
def test_attention_is_the_fast_one_unless_scores_are_capped(architecture: str, attention: str, tmp_path: Path) -> None:
    network: Any = read(reading(made(tmp_path, architecture)))
    assert network.config.get_text_config()._attn_implementation == attention


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_asked_number_format_is_read_whatever_was_saved(dtype: torch.dtype, tmp_path: Path) -> None:
    network = read(Reading(made(tmp_path), dtype))
    assert {parameter.dtype for parameter in network.parameters()} == {dtype}


def test_int8_is_read_and_served(tmp_path: Path) -> None:
    folder = made(tmp_path)
    plain, small = read(reading(folder)), read(reading(folder, quantise="int8"))
    assert sum(isinstance(module, Int8Linear) for module in small.modules()) == 2 * 7
    assert 0 < (logits(small) - logits(plain)).abs().mean() < 0.05 * logits(plain).abs().mean()
    assert not served(small, WIDTH, "auto", "base[one]").lean
    with pytest.raises(ValueError, match="its weights are not plain matrices"):
        served(small, WIDTH, "lean", "base[one]")


# --- spread


def spread(folder: Path, offload: Path | None, layers_in_memory: int) -> Any:
    """A network of four layers of which so many lie in memory, and the others in files."""
    whole = read(reading(folder))
    layer = sum(parameter.nbytes for parameter in whole.get_submodule("model.layers.0").parameters())
    ends = sum(parameter.nbytes for parameter in whole.parameters()) - 4 * layer
    # accelerate keeps room for the largest layer, to load what lies in files.
    room = ends + layers_in_memory * layer + ends
    return read(reading(folder, device=SHARDED, offload=offload, memory={"cpu": room}))


@pytest.mark.parametrize("architecture", ["llama-3", "gemma2"])
@pytest.mark.parametrize("files", [True, False])
def test_partly_in_files_it_gives_the_same_logits(architecture: str, files: bool, tmp_path: Path) -> None:
    folder = made(tmp_path / "model", architecture, layers=4)
    network = spread(folder, tmp_path / "offload" if files else None, 1)
    assert set(network.hf_device_map.values()) == {"cpu", "disk"}
    assert any(parameter.is_meta for parameter in network.parameters())
    torch.testing.assert_close(logits(network), logits(read(reading(folder))), rtol=1e-5, atol=1e-5)
    assert main_device(network) == torch.device("cpu")
    assert not served(network, WIDTH, "auto", "base[one]").lean


def test_wholly_in_files_it_is_served_too(tmp_path: Path) -> None:
    folder = made(tmp_path / "model", "llama-3", layers=4)
    network = read(reading(folder, device=SHARDED, offload=tmp_path / "offload", memory={"cpu": 1000}))
    assert all(parameter.is_meta for parameter in network.parameters())
    model = served(network, WIDTH, "auto", "base[one]")
    assert not model.lean
    torch.testing.assert_close(model.alone(IDS), logits(read(reading(folder)))[0], rtol=1e-5, atol=1e-5)


def test_ragged_rows_partly_in_files_are_the_same_rows_in_memory(tmp_path: Path) -> None:
    from eft_core.kv_cache import places

    folder = made(tmp_path / "model", layers=4)
    network, whole = spread(folder, tmp_path / "offload", 1), read(reading(folder))
    given, found = torch.tensor([[5, 9, 17], [8, 2, 4]]), []
    for each in (network, whole):
        model = Model(each, WIDTH)
        cache = model.cache(2, 32)
        model.forward(given, places(torch.arange(3).expand(2, -1), 2, torch.float32, 32), cache)
        # The second row is rolled back by two.
        found.append(model.forward(given[:, :1], places(torch.tensor([[3], [1]]), 3, torch.float32, 32), cache))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


def test_a_session_whose_models_are_spread_answers_as_generate_does(tmp_path: Path, tokenizer: Any) -> None:
    from transformers import AutoModelForCausalLM

    save_related(tmp_path, tiny("llama-3", len(tokenizer)), tokenizer, ("model",))
    (tmp_path / "families.toml").write_text('[one]\nsizes = ["one"]\n[one.base]\none = "model"\n')
    settings = Settings(families_file=str(tmp_path / "families.toml"), device=SHARDED)
    session = Session(settings, "one")
    (answer,) = session.ask(Request.compare("Hi there", (Policy("one"),), Sampling(0.0), Limits(20)))
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32).eval()
    ids = torch.tensor([session.models.encode("Hi there")])
    given: dict[str, Any] = {"do_sample": False, "max_new_tokens": 20, "pad_token_id": 1, "eos_token_id": 1}
    wanted = plain.generate(ids, attention_mask=torch.ones_like(ids), **given)
    assert answer.token_ids == tuple(wanted[0, ids.shape[1] :].tolist())


def test_what_is_spread_cannot_be_quantised_too(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="spread cannot be int8 too: set EFT_QUANTISE=none"):
        read(reading(made(tmp_path), device=SHARDED, quantise="int8"))


# --- refused: the library alone would go on with random weights, or without some

WRONG: dict[str, tuple[Callable[[dict[str, Tensor]], dict[str, Tensor]], str]] = {
    "missing": (
        lambda all: {k: v for k, v in all.items() if "layers.1.mlp.up_proj" not in k},
        r"layers\.1\.mlp\.up_proj\.weight is missing or of another shape \(1 in all\)\. Download",
    ),
    "another shape": (
        lambda all: {k: v[:-1].clone() if "layers.0.self_attn.q_proj" in k else v for k, v in all.items()},
        "mismatch|another shape",
    ),
    "of another model": (lambda all: {f"other.{k}": v for k, v in all.items()}, "is missing or of another shape"),
    "a bias": (
        lambda all: all | {"model.layers.0.self_attn.q_proj.bias": torch.ones(32)},
        r"has no place for model\.layers\.0\.self_attn\.q_proj\.bias",
    ),
    "one layer more": (
        lambda all: all | {k.replace("layers.1", "layers.2"): v.clone() for k, v in all.items() if "layers.1" in k},
        r"has no place for model\.layers\.2",
    ),
}


@pytest.mark.parametrize(("changed", "said"), WRONG.values(), ids=WRONG)
def test_weights_that_are_not_the_configs_are_refused(changed: Any, said: str, tmp_path: Path) -> None:
    folder = made(tmp_path)
    change(folder, changed)
    with pytest.raises(ValueError, match=said):
        read(reading(folder))


def test_buffers_that_old_checkpoints_hold_are_no_reason_to_refuse(tmp_path: Path) -> None:
    folder = made(tmp_path)
    wanted = logits(read(reading(folder)))
    change(folder, lambda all: all | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})
    assert torch.equal(logits(read(reading(folder))), wanted)


def test_pickles_are_not_read(tmp_path: Path) -> None:
    folder = made(tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="holds its weights as pickles, which can run code and are not read"):
        read(reading(folder))


ODD_CONFIGS: dict[str, dict[str, Any]] = {
    "no kind": {"model_type": None},
    "unknown kind": {"model_type": "never-heard-of"},
    "heads": {"num_attention_heads": 5},
    "no heads": {"num_attention_heads": 0},
    "words": {"hidden_size": "wide"},
    "negative": {"vocab_size": -1},
    "activation": {"hidden_act": "no_such"},
    "padding": {"pad_token_id": 100_000},
    "rope": {"rope_parameters": {"rope_type": "no_such"}},
    "code": {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}},
}


@pytest.mark.parametrize("values", ODD_CONFIGS.values(), ids=ODD_CONFIGS)
def test_an_odd_config_is_a_sentence_and_no_trace(values: dict[str, Any], tmp_path: Path) -> None:
    folder = made(tmp_path)
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    edit(folder / "config.json", **values)
    said = r"the model in .* cannot be read: \w+|names no model_type|cannot be: download|heads cannot share"
    with pytest.raises(ValueError, match=said):
        read(reading(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "generation_config.json"])
def test_random_bytes_give_a_value_error_or_a_network(name: str, tmp_path: Path) -> None:
    folder, dice = made(tmp_path), random.Random(0)
    whole = (folder / name).read_bytes()
    for _ in range(12):
        cut = dice.randrange(min(len(whole), 2000))
        (folder / name).write_bytes(whole[:cut] + dice.randbytes(dice.choice((1, 2, 50))) + whole[cut + 1 :])
        with warnings.catch_warnings(), contextlib.suppress(ValueError):
            warnings.simplefilter("ignore")
            read(reading(folder))


# --- memory that ran out


def test_memory_that_ran_out_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("size mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))
    assert advice().endswith(".")

"""Checkpoints that are wrong, cut short or hostile are one sentence on the ordinary path, and nothing in them runs."""

import contextlib
import json
import os
import pickle
import random
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import save_model, tiny_config

from eft_core.config import Limits, Request
from eft_core.policy import plain
from eft_core.safety import check, check_files
from eft_core.session import Session
from eft_core.settings import Settings

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\nsize 269060552\n"
PAGE = "\n<!DOCTYPE html>\n<html><head><title>Access to this model is restricted</title></head></html>\n"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    folder = tmp_path_factory.mktemp("good") / "model"
    save_model(folder, tiny_config("llama", len(tokenizer)), tokenizer, 0)
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A copy of a good checkpoint, to spoil."""
    return Path(shutil.copytree(good, tmp_path / "model"))


def ask(folder: Path) -> str:
    """The answer that a visitor gets, with `folder` as the only model."""
    (folder.parent / "families.toml").write_text(f'[one]\nsizes = ["one"]\n[one.base]\none = "{folder}"\n')
    session = Session(Settings(families_file=str(folder.parent / "families.toml"), device="cpu", threads=1), "one")
    (answer,) = session.ask(Request.compare("Hi", (plain("one"),), limits=Limits(2)))
    return answer.text


def refused(folder: Path, said: str) -> None:
    """That a visitor is told so, in one sentence, and no code beside the weights ran."""
    with pytest.raises(ValueError, match=said) as error:
        ask(folder)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600
    assert not (folder.parent / "ran").exists()


def edit(folder: Path, name: str = "config.json", **values: Any) -> None:
    (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | values))


class Runs:
    """Unpickled, it makes a file named `ran` beside the checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.file = str(folder.parent / "ran")

    def __reduce__(self) -> Any:
        return open, (self.file, "w")


def own_code(folder: Path) -> dict[str, str]:
    """Code that makes a file named `ran` when it is imported; returns the auto_map that names it."""
    for name in ("configuration_own", "modeling_own", "tokenization_own"):
        (folder / f"{name}.py").write_text(f"open({str(folder.parent / 'ran')!r}, 'w')\n")
    return {"AutoConfig": "configuration_own.Config", "AutoModelForCausalLM": "modeling_own.Model"}


def test_a_good_checkpoint_is_answered_from(folder: Path) -> None:
    assert ask(folder)


# --- what is not what its name says


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "generation_config.json"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (POINTER, "is a pointer of Git LFS and not the file itself: run `git lfs pull`"),
        (PAGE, "a website answered that refused a download: accept the terms on the model's page"),
        ("Access to model org/name is restricted.", "set HF_TOKEN, and download it again"),
    ],
)
def test_what_stands_for_a_file_is_said_with_its_remedy(folder: Path, name: str, text: str, said: str) -> None:
    (folder / name).write_text(text)
    refused(folder, said)


def test_pickles_are_not_read_under_any_name(folder: Path) -> None:
    import torch

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Runs(folder)))
    refused(folder, "holds its weights as pickles, which can run code")
    (folder / "pytorch_model.bin").rename(folder / "model.safetensors")
    refused(folder, "is a pickle under another name")
    torch.save({"lm_head.weight": Runs(folder)}, folder / "model.safetensors")
    refused(folder, "is a pickle under another name")


def test_code_beside_the_weights_never_runs(folder: Path) -> None:
    auto_map = own_code(folder)
    edit(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_own.T", "tokenization_own.T"]})
    edit(folder, auto_map=auto_map)
    assert ask(folder)  # a kind that the library knows: its own classes are used
    assert not (folder.parent / "ran").exists()
    edit(folder, model_type="own")
    refused(folder, "needs code of its own .*, which is never run: use a checkpoint of a known architecture")


@pytest.mark.parametrize(
    "values",
    [
        {"attn_implementation": "somebody/kernel"},
        {"_attn_implementation": {"": "somebody/kernel:function"}},
        {"experts_implementation": "somebody/kernel"},
        {"transformers_weights": "other.safetensors"},
        {"fusion_config": {"a": 1}},
        {"vision_config": {"attn_implementation": "somebody/kernel"}},
    ],
)
def test_a_config_does_not_lead_the_library_elsewhere(folder: Path, values: dict[str, Any]) -> None:
    edit(folder, **values)
    refused(folder, "which leads to code or files outside of the checkpoint: remove it")


def test_files_that_the_library_would_take_instead_or_too_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    shutil.copy(weights, folder / "shard-00000-model-00001-of-00001.safetensors")
    refused(folder, "is a part of another checkpoint than 'model.safetensors': delete it")
    (folder / "shard-00000-model-00001-of-00001.safetensors").unlink()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "other"}')
    refused(folder, "holds an adapter beside a model")
    (folder / "adapter_config.json").unlink()
    # With both, the library reads the single file: so that one is looked at.
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"lm_head.weight": "other.safetensors"}}')
    shutil.copy(weights, folder / "other.safetensors")
    weights.write_bytes(weights.read_bytes()[:-4])
    refused(folder, r"model\.safetensors is damaged or was not downloaded to its end")


# --- links and what is no plain file


def test_links_out_of_the_folder_are_refused_however_they_get_there(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copy(folder / "tokenizer.json", outside)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to(outside / "tokenizer.json")
    refused(folder, r"tokenizer\.json is a link to a place outside its checkpoint: copy the file there")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to("step.json")
    (folder / "step.json").symlink_to(outside / "tokenizer.json")
    refused(folder, "is a link to a place outside its checkpoint")
    (folder / "tokenizer.json").unlink()
    shutil.move(folder / "step.json", folder / "tokenizer.json")
    (folder / "tokenizer.json").unlink()
    shutil.copy(outside / "tokenizer.json", folder)
    assert ask(folder)
    (folder / "additional_chat_templates").symlink_to(outside, target_is_directory=True)
    refused(folder, "additional_chat_templates is a link to a place outside its checkpoint")
    (folder / "additional_chat_templates").unlink()
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool.jinja").symlink_to(outside / "tokenizer.json")
    refused(folder, r"tool\.jinja is a link to a place outside its checkpoint")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_links_that_lead_nowhere_are_refused(folder: Path, name: str) -> None:
    file = folder / name
    file.unlink()
    file.symlink_to("not-there")
    refused(folder, "leads nowhere|is missing")
    file.unlink()
    file.symlink_to(name)
    refused(folder, "leads nowhere|is missing")


def test_links_within_a_folder_and_the_layout_of_the_hubs_cache_are_fine(folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "t.json")
    (folder / "tokenizer.json").symlink_to("t.json")
    assert ask(folder)
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "0123", tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(sorted(folder.iterdir())):
        shutil.copy(file, blobs / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    assert ask(snapshot)
    (snapshot / "tokenizer.json").unlink()
    (snapshot / "tokenizer.json").symlink_to(folder / "t.json")
    refused(snapshot, "is a link to a place outside its checkpoint")


def test_a_pipe_is_refused_and_not_waited_for(folder: Path) -> None:
    for name in ("tokenizer.json", "chat_template.jinja", "config.json", "model.safetensors"):
        (folder / name).rename(folder / "kept")
        os.mkfifo(folder / name)
        refused(folder, "is no plain file: do not use this checkpoint|is missing")
        (folder / name).unlink()
        (folder / "kept").rename(folder / name)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_directory_in_a_files_place_is_a_sentence(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    refused(folder, "is missing|no usable tokenizer|cannot be read|is a directory")


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """As a user whom permissions bind."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "."])
def test_what_may_not_be_read_is_said(folder: Path, name: str) -> None:
    for parent in (folder, *folder.parents[:4]):
        parent.chmod(0o755)
    (folder / name).chmod(0)
    with nobody(), pytest.raises(ValueError, match=r"cannot be read: Permission denied\."):
        check(folder)
    (folder / name).chmod(0o755)


def test_beside_a_gguf_file_there_may_lie_anything_that_is_not_read_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "m.gguf").write_bytes(b"GGUF")
    (folder / "music").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    check_files(folder, "m.gguf")
    (folder / "tokenizer.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ValueError, match="is a link to a place outside"):
        check_files(folder, "m.gguf")


# --- indexes


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ({"a": "../model/weights.safetensors"}, "which is no file of its folder: do not use it"),
        ({"a": "/etc/weights.safetensors"}, "which is no file of its folder"),
        ({"a": "sub/weights.safetensors"}, "which is no file of its folder"),
        ({"a": ""}, "which is no file of its folder"),
        ({"a": ".."}, "which is no file of its folder"),
        ({"a": "pytorch_model.bin"}, "which is no file of its folder"),
        ({"a": "nul\x00.safetensors"}, "which is no file of its folder"),
        ({"a": "model-00002-of-00002.safetensors"}, "is missing, so the weights are not complete"),
        ({"a": "x" * 5000 + ".safetensors"}, "which is no file of its folder"),
        ({"a": 3}, "has no weight_map"),
        ({}, "has no weight_map"),
        ([1], "has no weight_map"),
        (None, "has no weight_map"),
    ],
)
def test_an_index_names_files_of_its_folder(folder: Path, index: Any, said: str) -> None:
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    refused(folder, said)


# --- configs

DEEP = json.loads("[" * 800 + "]" * 800)
CANNOT: dict[str, tuple[dict[str, Any], str]] = {
    "negative": ({"num_attention_heads": -4}, "num_attention_heads = -4 cannot be"),
    "flag": ({"num_attention_heads": True}, "num_attention_heads = True cannot be"),
    "no number": ({"hidden_size": float("nan")}, "hidden_size = nan cannot be"),
    "infinite": ({"max_position_embeddings": float("inf")}, "= inf cannot be"),
    "fraction": ({"num_key_value_heads": 2.0}, "num_key_value_heads = 2.0 cannot be"),
    "text": ({"vocab_size": "320"}, "vocab_size = '320' cannot be"),
    "list": ({"num_attention_heads": [4, 4]}, "num_attention_heads = list cannot be"),
    "deep": ({"hidden_size": DEEP}, "hidden_size = list cannot be"),
    "no layers": ({"num_hidden_layers": 0}, "num_hidden_layers = 0 cannot be"),
    "no heads": ({"num_key_value_heads": 0}, "num_key_value_heads = 0 cannot be"),
    "heads that do not share": ({"num_key_value_heads": 3}, "4 heads cannot share 3 of keys and values"),
    "heads that do not divide": ({"num_attention_heads": 6}, "is not a multiple of the number of attention heads"),
    "window": ({"sliding_window": "wide"}, "sliding_window = 'wide' cannot be"),
    "kinds": ({"layer_types": 7}, "layer_types must be a list of texts"),
    "odd kinds": ({"layer_types": [[], {}]}, "layer_types must be a list of texts"),
    "text part": ({"text_config": [1]}, "text_config must be an object"),
    "kind": ({"model_type": ["llama"]}, "names no model_type"),
    "unknown kind": ({"model_type": "x" * 9000}, "this version of transformers does not know it"),
    "end as text": ({"eos_token_id": "</s>"}, "has an eos_token_id that is no id and no list of ids"),
    "ends in ends": ({"eos_token_id": [[1]]}, "has an eos_token_id that is no id"),
    "end as flag": ({"eos_token_id": True}, "has an eos_token_id that is no id"),
    # Not to be made before it is refused: that takes forever, or all memory.
    "endless layers": ({"num_hidden_layers": 10**9}, "num_hidden_layers = 1000000000 cannot be"),
    "many layers": ({"num_hidden_layers": 9_999}, "says num_hidden_layers = 9,999, and the weights are 2. tensors"),
    "endless experts": ({"num_local_experts": 10**9}, "num_local_experts = 1000000000 cannot be"),
    "wide": ({"hidden_size": 4_000_000, "head_dim": 8}, "describes [0-9,]+ numbers and its files hold 39,"),
    "tall": ({"vocab_size": 9_000_000}, "describes [0-9,]+ numbers"),
    "thick": ({"intermediate_size": 10**12}, "describes [0-9,]+ numbers"),
    "beyond": ({"intermediate_size": 10**30}, "cannot be read"),
}


@pytest.mark.parametrize(("values", "said"), CANNOT.values(), ids=CANNOT)
def test_a_config_that_cannot_be_is_refused_before_anything_is_made(
    folder: Path, values: dict[str, Any], said: str
) -> None:
    edit(folder, **values)
    refused(folder, said)


RAW: dict[str, tuple[str, bytes, str]] = {
    "nothing": ("config.json", b"", "is not JSON"),
    "cut": ("config.json", b'{"model_type": "lla', "is not JSON"),
    "no UTF-8": ("config.json", b'{"model_type": "\xff\xfe"}', "is not JSON"),
    "no object": ("config.json", b'["model_type"]', "is no JSON object"),
    "deep": ("config.json", b'{"a":' * 100_000, "is not JSON"),
    "thousands of digits": ("config.json", b'{"model_type": "llama", "vocab_size": ' + b"9" * 9000 + b"}", "not JSON"),
    "no generation": ("generation_config.json", b"{]", "is not JSON"),
    "ends as text": ("generation_config.json", b'{"eos_token_id": "1"}', "has an eos_token_id that is no id"),
    "ends in ends": ("generation_config.json", b'{"eos_token_id": [1, [2]]}', "has an eos_token_id that is no id"),
    "tokenizer of nothing": ("tokenizer.json", b"", "no usable tokenizer"),
    "tokenizer cut": ("tokenizer.json", b'{"version": "1.0", "model": {"type": "BPE"', "no usable tokenizer"),
    "tokenizer deep": ("tokenizer.json", b'{"a":' * 100_000, "no usable tokenizer"),
    "tokenizer no UTF-8": ("tokenizer.json", b"\xff\xfe\x00", "no usable tokenizer"),
    "tokenizer no object": ("tokenizer.json", b"[]", "no usable tokenizer"),
    "tokenizer config": ("tokenizer_config.json", b"[1]", "no usable tokenizer"),
    "tokenizer's length": ("tokenizer_config.json", b'{"model_max_length": "long"}', "no usable tokenizer"),
    "template no UTF-8": ("chat_template.jinja", b"\xff\xfe{{", "no usable tokenizer"),
}


@pytest.mark.parametrize(("name", "text", "said"), RAW.values(), ids=RAW)
def test_damaged_texts_are_a_sentence(folder: Path, name: str, text: bytes, said: str) -> None:
    (folder / name).write_bytes(text)
    refused(folder, said)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_texts_of_impossible_size_are_not_read(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.truncate(600_000_000)  # takes no room: a hole
    refused(folder, f"{name} is too large for what it should be")


def test_the_last_of_two_equal_names_counts_as_it_does_in_the_library(folder: Path) -> None:
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text('{"vocab_size": 9, ' + text.lstrip()[1:])
    assert ask(folder)


ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 3, 7, 10**5, 2.5, float("nan"), "", "4", "eager", "llama", [], [1], [["x"]], {}, {"a": 1},
)  # fmt: skip
SETTINGS = (
    "text_config", "quantization_config", "rope_parameters", "head_dim", "layer_types", "sliding_window", "dtype",
    "attn_implementation", "tie_word_embeddings", "is_encoder_decoder", "hidden_act", "attention_bias", "id2label",
    "model_max_length", "eos_token", "tokenizer_class", "extra_special_tokens", "added_tokens_decoder",
    "bos_token_id", "pad_token_id",
)  # fmt: skip


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
def test_mutated_configs_are_refused_in_words_or_answered_from(folder: Path, name: str) -> None:
    dice, whole = random.Random(name), json.loads((folder / name).read_text())
    answered = 0
    for _ in range(40):
        (folder / name).write_text(json.dumps(whole | {dice.choice((*whole, *SETTINGS)): dice.choice(ODD)}))
        with warnings.catch_warnings(), contextlib.suppress(ValueError):
            warnings.simplefilter("ignore")
            ask(folder)
            answered += 1
    assert 0 < answered < 40


@pytest.mark.parametrize("token", ["Ġis", "new"])
def test_an_id_beyond_all_vocabularies_is_not_followed(folder: Path, token: str) -> None:
    table = json.loads((folder / "tokenizer.json").read_text())
    table["model"]["vocab"][token] = 4_000_000_000
    (folder / "tokenizer.json").write_text(json.dumps(table))
    refused(folder, r"no usable tokenizer in .*: tokenizer\.json has the id 4000000000, beyond all vocabularies")


# --- templates


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ messages[0].content }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ messages.append(1) }}{{ messages[0].content }}",
        "{% for n in range(10 ** 9) %}{{ n }}{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ messages[0].content }}",
        "{{ ('{0.__class__}').format(messages) }}",
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{{ raise_exception('no') }}",
    ],
)
def test_a_template_reaches_nothing_but_its_messages(folder: Path, template: str) -> None:
    (folder / "chat_template.jinja").write_text(template)
    refused(folder, "this family's chat template (cannot be used|does not show the user's message)")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("config.json",), r"config\.json is missing"),
        (("model.safetensors",), "is missing, so the weights are not complete"),
        (("tokenizer.json", "tokenizer_config.json"), "no usable tokenizer"),
    ],
)
def test_what_is_missing_is_said(folder: Path, names: tuple[str, ...], said: str) -> None:
    for name in names:
        (folder / name).unlink()
    refused(folder, said)

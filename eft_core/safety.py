"""Is a checkpoint's folder what it says it is? Asked before anything in it is loaded.

Only safetensors and GGUF are read: both are numbers behind a header, and nothing in them runs. Pickles, code beside the
weights, links that leave the folder, settings that lead the library to other files, and files that are cut short are
refused with the remedy. No torch.
"""

import json
import re
import stat
from pathlib import Path
from typing import Any

from eft_core.gguf_header import check_magic
from eft_core.headers import stand_in, tensors

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_READ = (".json", ".jinja", ".model", ".txt", ".safetensors")  # what may be read beside a GGUF file
_LARGEST_CONFIG = 50_000_000  # bytes
_LARGEST_TEXT = 500_000_000  # bytes of a tokenizer, ten times what the largest takes
_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
# The least and the most that a number of a config can be.
_LAYERS = dict.fromkeys(("num_hidden_layers", "n_layer"), (1, 10_000))
_COUNTS = dict.fromkeys(
    ("num_attention_heads", "n_head", "num_key_value_heads", "num_kv_heads", "head_dim", "hidden_size", "n_embd",
     "vocab_size"), (1, 10_000_000),
)  # fmt: skip
_PLACES = dict.fromkeys(("max_position_embeddings", "n_positions", "max_sequence_length"), (1, 1 << 40))
_BOUNDS = {**_LAYERS, **_COUNTS, **_PLACES, "sliding_window": (0, 1 << 40)}
# Numbers of parts, which are made one by one, wherever they stand.
_PARTS = re.compile(r"layers|experts|blocks|depth")
# What would lead the library to other files than were looked at, or to code.
_LEADS_AWAY = ("transformers_weights", "fusion_config", "kernel_config")


def check(folder: Path, file: str | None = None) -> None:
    """ValueError with the remedy unless the folder's files may be loaded; `file` names the GGUF that is meant."""
    check_files(folder, file)
    if file is not None:
        check_magic(folder / file)
        return
    config, text = read_config(folder)
    _check_known(folder, config)
    names = shards(folder)
    if (folder / "adapter_config.json").exists():
        raise ValueError(
            f"{folder} holds an adapter beside a model, and the library would take both: name the adapter's folder as "
            "`adapter` of its base in the families file, or delete adapter_config.json."
        )
    count = sum(len(tensors(folder / name)) for name in names)
    for name in _LAYERS:
        if (text.get(name) or 0) > count:
            raise ValueError(
                f"{folder / 'config.json'} says {name} = {text[name]:,}, and the weights are {count:,} tensors in all: "
                "download the checkpoint again."
            )


def check_adapter(folder: Path) -> None:
    """ValueError with the remedy unless the folder holds a LoRA adapter in safetensors."""
    check_files(folder)
    if (kind := read_json(folder / "adapter_config.json").get("peft_type")) != "LORA":
        raise ValueError(f"the adapter in {folder} is of the kind {_shown(kind)}: only LoRA adapters are read.")
    if not (folder / "adapter_model.safetensors").is_file():
        raise ValueError(_missing(folder, "adapter_model.safetensors"))
    tensors(folder / "adapter_model.safetensors")


def check_files(folder: Path, file: str | None = None) -> None:
    """ValueError with the remedy for a link that leaves the folder, and for what only looks like a file. Beside a GGUF
    `file` there may lie anything; what could be read with it is looked at."""
    templates = folder / "additional_chat_templates"
    try:
        for each in [*sorted(folder.iterdir()), *(templates.iterdir() if templates.is_dir() else ())]:
            if file is None or each.name == file or each.suffix in _READ or each == templates:
                _check_link(each, folder)
                _check_kind(each)
    except OSError as error:
        raise ValueError(f"{error.filename or folder} cannot be read: {error.strerror}.") from error


def shards(folder: Path) -> list[str]:
    """The names of the safetensors files that hold the weights. ValueError if one is missing or none is meant."""
    names = [_SINGLE]
    if not (folder / _SINGLE).is_file() and (folder / _INDEX).is_file():  # the library's order
        table = read_json(folder / _INDEX).get("weight_map")
        if not isinstance(table, dict) or not table or not all(isinstance(name, str) for name in table.values()):
            raise ValueError(f"{folder / _INDEX} has no weight_map: download the checkpoint again.")
        names = sorted(set(table.values()))
    for name in names:
        plain = Path(name).name == name and name.isprintable() and len(name) < 200
        if not plain or not name.endswith(".safetensors"):
            raise ValueError(f"{folder / _INDEX} names {name!r:.80}, which is no file of its folder: do not use it.")
        if not (folder / name).is_file():
            raise ValueError(_missing(folder, name))
    odd = sorted(each.name for each in folder.glob("shard-*.safetensors") if each.name not in names)
    if odd:  # the library takes them for the weights, whatever else is there
        raise ValueError(f"{folder / odd[0]} is a part of another checkpoint than {names[0]!r:.80}: delete it.")
    return names


def _missing(folder: Path, name: str) -> str:
    """Why a weights file is not there, and what to do."""
    if any(file.suffix in _PICKLES for file in folder.iterdir()):
        return (
            f"{folder} holds its weights as pickles, which can run code and are not read: use a revision that has "
            f"safetensors (on the Hub often refs/pr/1), or run `python -m eft_core convert {folder}`."
        )
    return f"{folder / name} is missing, so the weights are not complete: download the checkpoint again."


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file, or {} where there is no file. ValueError if it is anything else."""
    if not file.is_file():
        return {}
    try:
        if file.stat().st_size > _LARGEST_CONFIG:
            raise _Unlike(f"{file} is too large for what it should be: download the checkpoint again.")
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}.") from error
    except _Unlike:
        raise
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise ValueError(stand_in(file) or f"{file} is not JSON: download the checkpoint again.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} is no JSON object: download the checkpoint again.")
    return found


class _Unlike(ValueError):
    """A refusal that says all there is to say."""


def read_config(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A model's config.json, and the part of it that is of the language model (often the same). ValueError with the
    remedy for what no model can have, and for what would lead to other files or to code."""
    file = folder / "config.json"
    config = read_json(file)
    if not isinstance(config.get("model_type"), str):
        raise ValueError(f"{file} names no model_type: is it the config of a language model?")
    text = config.get("text_config", config)
    if not isinstance(text, dict):
        raise ValueError(f"{file}: text_config must be an object.")
    for name, (least, most) in _BOUNDS.items():
        value = text.get(name)
        if value is not None and (type(value) is not int or not least <= value <= most):
            raise ValueError(f"{file}: {name} = {_shown(value)} cannot be: download it again.")
    heads, groups = text.get("num_attention_heads"), text.get("num_key_value_heads")
    if heads and groups and heads % groups:
        raise ValueError(f"{file}: {heads} heads cannot share {groups} of keys and values: download it again.")
    kinds = text.get("layer_types") or []
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        raise ValueError(f"{file}: layer_types must be a list of texts: download it again.")
    for part in (config, *(each for each in config.values() if isinstance(each, dict))):
        _check_part(file, part)
    return config, text


def _check_part(file: Path, part: dict[str, Any]) -> None:
    """ValueError for numbers of parts that would take forever to make, and for what leads away from the folder."""
    for name, value in part.items():
        if isinstance(value, int) and value > _LAYERS["n_layer"][1] and _PARTS.search(name):
            raise ValueError(f"{file}: {name:.60} = {value!r:.40} cannot be: download it again.")
        named = value.values() if isinstance(value, dict) else (value,)
        kernel = name.endswith("_implementation") and any(isinstance(each, str) and "/" in each for each in named)
        if kernel or (value and name in _LEADS_AWAY):
            raise ValueError(
                f"{file} sets {name:.60}, which leads to code or files outside of the checkpoint: remove it from the "
                "file if you trust the rest."
            )


def _shown(value: Any) -> str:
    """A value of a config, the beginning of it. Deep lists cannot even be written."""
    return f"{type(value).__name__}" if isinstance(value, list | dict) else f"{value!r:.40}"


def _check_known(folder: Path, config: dict[str, Any]) -> None:
    """ValueError for a model that only code of its own could run. The library's own classes are used wherever it has
    them, whatever code lies beside the weights."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if config["model_type"] not in CONFIG_MAPPING_NAMES:
        reason = (
            "it needs code of its own (trust_remote_code), which is never run"
            if "auto_map" in config
            else "this version of transformers does not know it"
        )
        raise ValueError(
            f"{folder.name} is a model of the kind {config['model_type']!r:.60}, and {reason}: use a checkpoint of a "
            "known architecture, such as Llama, Qwen or GPT-NeoX."
        )


def _check_link(file: Path, folder: Path) -> None:
    """ValueError for a link that leaves the folder; in the Hub's cache links lead to the repository's own blobs."""
    if not file.is_symlink():
        return
    home = folder.resolve()
    repository = home.parent.parent if home.parent.name == "snapshots" else home
    try:
        target = file.resolve()
    except RuntimeError as error:  # links in a circle; an OSError from Python 3.13 on
        raise ValueError(f"{file} is a link that leads nowhere: download the checkpoint again.") from error
    if not target.is_relative_to(home) and not target.is_relative_to(repository / "blobs"):
        raise ValueError(f"{file} is a link to a place outside its checkpoint: copy the file there, or do not use it.")


def _check_kind(file: Path) -> None:
    """ValueError for a pipe or a device, which may never end, and for small texts that stand for a file."""
    if not file.exists():
        raise ValueError(f"{file} is a link that leads nowhere: download the checkpoint again.")
    about = file.stat()
    if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
        raise ValueError(f"{file} is no plain file: do not use this checkpoint.")
    if stat.S_ISDIR(about.st_mode) or file.suffix not in (*_READ, ".gguf"):
        return
    if about.st_size > _LARGEST_TEXT and file.suffix != ".safetensors" and file.suffix != ".gguf":
        raise ValueError(f"{file} is too large for what it should be: download the checkpoint again.")
    if about.st_size < 1000 and file.suffix != ".txt" and (told := stand_in(file)):
        raise ValueError(told)

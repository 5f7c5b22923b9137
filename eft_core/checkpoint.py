"""What a checkpoint's small files tell before anything is loaded: size, shape, context, end tokens.

Reads config.json, generation_config.json and the headers of the safetensors files (8 bytes of length, then JSON).
No torch, no transformers: the command line lists families and the memory plan is drawn with this alone.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SAMPLE = 1 << 20  # bytes at each end of a file


@dataclass(frozen=True, slots=True)
class Facts:
    """`parameters` counts stored numbers; a cache slot is `layers` x `heads` x `head_size` keys, and as many values."""

    architecture: str
    parameters: int
    layers: int
    heads: int
    head_size: int
    context: int
    width: int
    end_ids: frozenset[int]

    def weight_bytes(self, bytes_per_number: int) -> int:
        return self.parameters * bytes_per_number

    def cache_bytes(self, rows: int, slots: int, bytes_per_number: int) -> int:
        """Bytes of keys and values for `rows` rows of `slots` positions."""
        return 2 * rows * slots * self.layers * self.heads * self.head_size * bytes_per_number


def read_facts(folder: Path) -> Facts:
    """The facts of a checkpoint folder; ValueError with the remedy if its weights are not safetensors."""
    config = _json(folder / "config.json")
    heads = _first(config, "num_attention_heads", "n_head", default=1)
    width = _first(config, "hidden_size", "n_embd", default=heads)
    context = _first(config, "max_position_embeddings", "n_positions", "max_sequence_length", default=2048)
    if window := sliding_window(config):
        context = min(context, window)
    return Facts(
        architecture=str((config.get("architectures") or [config.get("model_type", "unknown")])[0]),
        parameters=_parameters(folder),
        layers=_first(config, "num_hidden_layers", "n_layer", default=1),
        heads=_cached_heads(config, heads),
        head_size=_first(config, "head_dim", default=width // heads),
        context=context,
        width=_first(config, "vocab_size", default=0),
        end_ids=_end_ids(config) | _end_ids(_json(folder / "generation_config.json")),
    )


def sliding_window(config: dict[str, Any]) -> int | None:
    """Positions that a sliding-window layer sees, if the model has one; the ragged cache serves no more than these."""
    used = config.get("use_sliding_window", True)
    kinds = config.get("layer_types")
    if not used or (kinds and "sliding_attention" not in kinds):
        return None
    return config.get("sliding_window")


def _cached_heads(config: dict[str, Any], heads: int) -> int:
    """Heads that are cached: fewer than the queries' with grouped heads, one with multi-query attention."""
    if config.get("model_type") == "falcon" and not config.get("new_decoder_architecture"):
        return 1 if config.get("multi_query", True) else heads
    return _first(config, "num_key_value_heads", "num_kv_heads", default=heads)


def _parameters(folder: Path) -> int:
    """Stored numbers of all safetensors files."""
    index = _json(folder / "model.safetensors.index.json")
    names = sorted(set(index["weight_map"].values())) if index else ["model.safetensors"]
    total = 0
    for name in names:
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder / name} is missing: only safetensors weights are read (convert .bin files first)."
            )
        with open(folder / name, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        total += sum(math.prod(tensor["shape"]) for key, tensor in header.items() if key != "__metadata__")
    return total


def _end_ids(config: dict[str, Any]) -> frozenset[int]:
    ids = config.get("eos_token_id")
    return frozenset([ids] if isinstance(ids, int) else ids or [])


def _first(config: dict[str, Any], *names: str, default: int) -> int:
    """The first of several names that the config gives a value."""
    return next((config[name] for name in names if config.get(name) is not None), default)


def _json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def fingerprint(folder: Path) -> str:
    """Which weights these are, in 16 hexadecimal digits: of config.json, and of every safetensors file its size, header
    and end. Reads at most 2 MB a file, however large it is."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(f"{file.name} {file.stat().st_size}".encode())
        with file.open("rb") as weights:
            digest.update(weights.read(_SAMPLE))
            weights.seek(max(0, file.stat().st_size - _SAMPLE))
            digest.update(weights.read(_SAMPLE))
    return digest.hexdigest()[:16]

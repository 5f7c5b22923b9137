"""What a checkpoint's small files tell before anything is loaded: size, shape, context, end tokens.

Reads config.json, generation_config.json and the headers of the safetensors files (8 bytes of length, then JSON), or
the header of a GGUF file. No torch: the command line lists families and the memory plan is drawn with this alone.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eft_core.gguf_header import GgufHeader, gguf_header
from eft_core.headers import Damaged, tensors
from eft_core.safety import read_config, read_json, shards

_SAMPLE = 1 << 20  # bytes at each end of a file
_GROUP = 64  # numbers that share a scale in int4
# Weights outside the layers: they keep their number format when the others are quantised.
_OUTSIDE = re.compile(r"embed|lm_head|wte|wpe|norm|vision|multi_modal")
_GGUF_OUTSIDE = re.compile(r"embd|^output|norm")


@dataclass(frozen=True, slots=True)
class Facts:
    """`parameters` counts stored numbers, `matrices` those in the layers' matrices, which quantisation shrinks. A
    cache slot is `layers` x `heads` x `head_size` keys, and as many values. `window`: positions that its
    sliding-window layers see, if it has any."""

    architecture: str
    parameters: int
    matrices: int
    layers: int
    heads: int
    head_size: int
    context: int
    width: int
    end_ids: frozenset[int]
    window: int | None = None

    def weight_bytes(self, bytes_per_number: int, quantise: str = "none") -> int:
        """Bytes of the weights in memory."""
        if quantise == "none":
            return self.parameters * bytes_per_number
        small = self.matrices * (1 / 2 + bytes_per_number / _GROUP) if quantise == "int4" else self.matrices
        return int((self.parameters - self.matrices) * bytes_per_number + small)

    def cache_bytes(self, rows: int, slots: int, bytes_per_number: int) -> int:
        """Bytes of keys and values for `rows` rows of `slots` positions."""
        return 2 * rows * slots * self.layers * self.heads * self.head_size * bytes_per_number


def read_facts(folder: Path, file: str | None = None) -> Facts:
    """The facts of a checkpoint folder, or of the GGUF `file` in it; ValueError with the remedy if it has none."""
    if file is not None:
        return _gguf_facts(folder / file)
    found = {name: shape for shard in shards(folder) for name, shape in tensors(folder / shard).items()}
    matrices = sum(math.prod(s) for name, s in found.items() if len(s) == 2 and not _OUTSIDE.search(name))
    return _facts(folder, sum(map(math.prod, found.values())), matrices)


def _facts(folder: Path, parameters: int, matrices: int) -> Facts:
    whole, config = read_config(folder)
    heads = _first(config, "num_attention_heads", "n_head", default=1)
    width = _first(config, "hidden_size", "n_embd", default=heads)
    names = whole.get("architectures")
    return Facts(
        architecture=str(names[0] if isinstance(names, list) and names else whole["model_type"]),
        parameters=parameters,
        matrices=matrices,
        layers=_first(config, "num_hidden_layers", "n_layer", default=1),
        heads=_cached_heads(config, heads),
        head_size=_first(config, "head_dim", default=width // heads),
        context=_first(config, "max_position_embeddings", "n_positions", "max_sequence_length", default=2048),
        width=_first(config, "vocab_size", default=0),
        end_ids=end_ids(folder, whole, config),
        window=sliding_window(config),
    )


def end_ids(folder: Path, *configs: Mapping[str, Any]) -> frozenset[int]:
    """The ids that end an answer, from these configs of a folder and its generation_config.json."""
    found = set[int]()
    for config in (*configs, read_json(folder / "generation_config.json")):
        stated = config.get("eos_token_id")
        ids = stated if isinstance(stated, list) else [] if stated is None else [stated]
        if not all(type(each) is int for each in ids):
            raise ValueError(f"a config in {folder} has an eos_token_id that is no id and no list of ids: correct it.")
        found.update(each for each in ids if each >= 0)  # some write -1 for none
    return frozenset(found)


def sliding_window(config: Mapping[str, Any]) -> int | None:
    """Positions that a sliding-window layer sees, if the model has one."""
    kinds = config.get("layer_types")
    if not config.get("use_sliding_window", True) or (kinds and "sliding_attention" not in kinds):
        return None
    return config.get("sliding_window")


def _cached_heads(config: Mapping[str, Any], heads: int) -> int:
    """Heads that are cached: fewer than the queries' with grouped heads, one with multi-query attention."""
    if config.get("model_type") == "falcon" and not config.get("new_decoder_architecture"):
        return 1 if config.get("multi_query", True) else heads
    return _first(config, "num_key_value_heads", "num_kv_heads", default=heads)


def _first(config: Mapping[str, Any], *names: str, default: int) -> int:
    """The first of several names that the config gives a value."""
    return next((config[name] for name in names if config.get(name) is not None), default)


def _gguf_facts(file: Path) -> Facts:
    """The facts of a GGUF file, from its header."""
    header = gguf_header(file)
    kind, shapes = header.values.get("general.architecture"), header.shapes
    heads = _stated(file, header, f"{kind}.attention.head_count")
    width = _stated(file, header, f"{kind}.embedding_length")
    end = header.values.get("tokenizer.ggml.eos_token_id")
    layers = _stated(file, header, f"{kind}.block_count")
    if layers > len(shapes):
        raise Damaged(file, f"it says {layers:,} layers and has {len(shapes):,} tensors")
    matrices = (
        math.prod(shape) for name, shape in shapes.items() if len(shape) == 2 and not _GGUF_OUTSIDE.search(name)
    )
    return Facts(
        architecture=str(kind),
        parameters=sum(map(math.prod, shapes.values())),
        matrices=sum(matrices),
        layers=layers,
        heads=_stated(file, header, f"{kind}.attention.head_count_kv", heads),
        head_size=_stated(file, header, f"{kind}.attention.key_length", max(1, width // heads)),
        context=_stated(file, header, f"{kind}.context_length"),
        width=header.lengths.get("tokenizer.ggml.tokens", 0),
        end_ids=frozenset([end] if type(end) is int else []),
    )


def _stated(file: Path, header: GgufHeader, key: str, default: int | None = None) -> int:
    """A count in a GGUF header; ValueError if it is not there or cannot be."""
    value = header.values.get(key, default)
    if type(value) is not int or not 0 < value < 1 << 40:
        raise ValueError(f"{file} is no GGUF file of a language model ({key:.60} is {value!r:.40}): download it again.")
    return value


def fingerprint(folder: Path, file: str | None = None) -> str:
    """Which weights these are, in 16 hexadecimal digits: of config.json, and of every safetensors file (or the one
    GGUF `file`) its size, header and end. Reads at most 2 MB a file, however large it is."""
    digest = hashlib.sha256(b"" if file else (folder / "config.json").read_bytes())
    for weights in [folder / file] if file else sorted(folder.glob("*.safetensors")):
        digest.update(f"{weights.name} {weights.stat().st_size}".encode())
        with weights.open("rb") as opened:
            digest.update(opened.read(_SAMPLE))
            opened.seek(max(0, weights.stat().st_size - _SAMPLE))
            digest.update(opened.read(_SAMPLE))
    return digest.hexdigest()[:16]

"""What a checkpoint's small files tell, and that damaged or hostile headers are a ValueError, whatever is in them."""

import json
import math
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eft_core.checkpoint import end_ids, fingerprint, read_facts
from eft_core.gguf_header import gguf_header
from eft_core.headers import tensors

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "vocab_size": 6,
    "eos_token_id": [1, 2],
}
SHAPES = {"model.embed_tokens.weight": (6, 8), "model.layers.0.mlp.up_proj.weight": (4, 8), "model.norm.weight": (8,)}


def header(shapes: dict[str, tuple[int, ...]] = SHAPES) -> dict[str, Any]:
    """A header in which the tensors stand one behind the other, in float32."""
    found, at = dict[str, Any](), 0
    for name, shape in shapes.items():
        end = at + 4 * math.prod(shape)
        found[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    return found


def write(file: Path, told: Any, numbers: int = 4 * (48 + 32 + 8)) -> Path:
    text = told if isinstance(told, bytes) else json.dumps(told).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(numbers))
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    write(tmp_path / "model.safetensors", header())
    return tmp_path


# --- facts


def test_facts_are_read_from_config_and_header(folder: Path) -> None:
    facts = read_facts(folder)
    assert (facts.architecture, facts.parameters, facts.matrices) == ("LlamaForCausalLM", 88, 32)
    assert (facts.layers, facts.heads, facts.head_size, facts.context, facts.width) == (1, 1, 4, 64, 6)
    assert (facts.end_ids, facts.window) == ({1, 2}, None)
    assert facts.weight_bytes(2) == 176
    assert facts.weight_bytes(4, "int8") == 56 * 4 + 32
    assert facts.weight_bytes(4, "int4") == 56 * 4 + 32 // 2 + 32 * 4 // 64
    assert facts.cache_bytes(3, 10, 2) == 2 * 3 * 10 * 4 * 2


def test_parts_of_a_checkpoint_are_added_up(folder: Path) -> None:
    names = list(SHAPES)
    (folder / "model.safetensors").unlink()
    for part in (names[:1], names[1:]):
        shapes = {name: SHAPES[name] for name in part}
        write(folder / f"{len(part)}.safetensors", header(shapes), 4 * sum(map(math.prod, shapes.values())))
    index = {names[0]: "1.safetensors", names[1]: "2.safetensors", names[2]: "2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert read_facts(folder).parameters == 88


def test_end_tokens_are_those_of_all_configs_and_less_than_zero_is_none(folder: Path) -> None:
    (folder / "generation_config.json").write_text('{"eos_token_id": [5, -1]}')
    assert end_ids(folder, {"eos_token_id": 3}, {"eos_token_id": None}, {}) == {3, 5}
    odd_ones: tuple[Any, ...] = ("2", [[2]], [2, None], 2.0, {"a": 2}, True)
    for odd in odd_ones:
        with pytest.raises(ValueError, match="has an eos_token_id that is no id and no list of ids"):
            end_ids(folder, {"eos_token_id": odd})


def test_a_config_without_names_and_numbers_has_those_of_its_kind(folder: Path) -> None:
    odd: tuple[Any, ...] = (None, [], "Llama")
    for names in odd:
        (folder / "config.json").write_text(json.dumps(CONFIG | {"architectures": names}))
        assert read_facts(folder).architecture == "llama"


def test_a_fingerprint_tells_weights_apart_by_their_ends_and_configs(folder: Path) -> None:
    before = fingerprint(folder)
    assert before == fingerprint(folder)
    assert len(before) == 16
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-1] + b"\x01")
    after = fingerprint(folder)
    (folder / "config.json").write_text(json.dumps(CONFIG | {"vocab_size": 5}))
    assert len({before, after, fingerprint(folder)}) == 3


# --- headers of safetensors files


def changed(name: str, **values: Any) -> dict[str, Any]:
    found = header()
    found[name] |= values
    return found


NORM, EMBED = "model.norm.weight", "model.embed_tokens.weight"
DAMAGED: dict[str, tuple[Any, str]] = {
    "not JSON": (b"{", "its header is no JSON"),
    "not UTF-8": (b'{"\xff": 1}', "its header is no JSON"),
    "deep": (b'{"a":' * 100_000, "its header is no JSON"),
    "thousands of digits": (b'{"a": ' + b"9" * 9000 + b"}", "its header is no JSON"),
    "a name twice": (json.dumps(header()).encode()[:-1] + b', "model.norm.weight": {}}', "its header is no JSON"),
    "a list": ([], "not of the format"),
    "a number": (7, "not of the format"),
    "no places": ({"a": {"dtype": "F32", "shape": [1]}}, "not of the format"),
    "three places": (changed(NORM, data_offsets=[320, 340, 352]), "not of the format"),
    "a shape of words": (changed(NORM, shape="8"), "impossible place or shape"),
    "no shape": (changed(NORM, shape=None), "not of the format"),
    "a flag": (changed(NORM, shape=[True, 8]), "impossible place or shape"),
    "a fraction": (changed(NORM, shape=[8.0]), "impossible place or shape"),
    "no number": (changed(NORM, shape=[float("nan")]), "impossible place or shape"),
    "negative": (changed(NORM, shape=[-8], data_offsets=[352, 320]), "impossible place or shape"),
    "many axes": (changed(NORM, shape=[1] * 1000 + [8]), "impossible place or shape"),
    "an axis beyond all": (changed(NORM, shape=[2**70, 0]), "impossible place or shape"),
    "a product beyond all": (changed(NORM, shape=[2**62, 2**62]), "another shape than its bytes"),
    "overflow to the right size": (changed(NORM, shape=[2**62 + 8]), "another shape than its bytes"),
    "huge": (changed(NORM, shape=[10**9, 10**6]), "another shape than its bytes"),
    "unknown format": (changed(NORM, dtype="F33"), "unknown number format 'F33'"),
    "a list for a format": (changed(NORM, dtype=["F32"]), "not of the format"),
    "other format": (changed(NORM, dtype="F16"), "another shape than its bytes"),
    "behind the end": (changed(NORM, data_offsets=[352, 384]), "bytes 320 to 352 are of no tensor or of two"),
    "far behind the end": (changed(NORM, data_offsets=[2**62, 2**62 + 32]), "of no tensor or of two"),
    "overlapping": (changed(NORM, data_offsets=[300, 332]), "bytes 300 to 320 are of no tensor or of two"),
    "the same place": (changed(NORM, shape=[4, 8], data_offsets=[192, 320]), "of no tensor or of two"),
    "a hole before": (changed(EMBED, shape=[5, 8], data_offsets=[32, 192]), "bytes 0 to 32 are of no tensor"),
    "too few": ({EMBED: header()[EMBED]}, "bytes and its header says"),
    "none": ({}, "bytes and its header says"),
}


@pytest.mark.parametrize(("told", "said"), DAMAGED.values(), ids=DAMAGED)
def test_a_header_that_is_not_the_files_is_refused(told: Any, said: str, folder: Path) -> None:
    write(folder / "model.safetensors", told)
    with pytest.raises(ValueError, match=said) as error:
        read_facts(folder)
    assert "download it again" in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("content", [b"", b"\x01", b"\x00" * 8, b"\xff" * 8, b"\xff" * 100, (99).to_bytes(8, "little")])
def test_a_file_that_is_no_header_and_numbers_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="is damaged or was not downloaded to its end"):
        tensors(tmp_path / "a.safetensors")


def test_a_file_cut_anywhere_is_refused(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    for length in range(0, len(whole), 7):
        (folder / "model.safetensors").write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is damaged"):
            read_facts(folder)


def test_small_formats_scalars_and_empty_tensors_are_read(tmp_path: Path) -> None:
    told = {
        "__metadata__": {"format": "pt"},
        "four bits": {"dtype": "F4", "shape": [3, 2], "data_offsets": [0, 3]},
        "eight": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [3, 5]},
        "scalar": {"dtype": "F32", "shape": [], "data_offsets": [5, 9]},
        "empty": {"dtype": "F32", "shape": [0, 7], "data_offsets": [9, 9]},
    }
    found = tensors(write(tmp_path / "a.safetensors", told, 9))
    assert found == {"four bits": (3, 2), "eight": (2,), "scalar": (), "empty": (0, 7)}


def test_mutated_headers_are_refused_or_read_as_the_library_reads_them(tmp_path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    dice, file = random.Random(1), write(tmp_path / "a.safetensors", header())
    whole, read = file.read_bytes(), 0
    for _ in range(500):
        spoiled = bytearray(whole)
        for _ in range(dice.choice((1, 1, 2, 5))):
            spoiled[dice.randrange(len(whole) - 300)] = dice.choice((dice.randrange(256), *b'0123456789"[]{},-'))
        file.write_bytes(spoiled)
        try:
            found = tensors(file)
        except ValueError:
            continue
        read += 1
        try:
            with safe_open(file, "np") as opened:
                assert {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()} == found  # noqa: SIM118
        except SafetensorError as error:
            raise AssertionError(f"the library refuses {bytes(spoiled)!r}: {error}") from error
    assert read > 10  # names may be any


def test_mutated_configs_are_refused_or_give_facts_that_can_be(folder: Path) -> None:
    dice = random.Random(2)
    odd: tuple[Any, ...] = (None, True, -1, 0, 1, 3, 10**6, 10**40, 2.5, float("nan"), float("inf"), "", "4", [], [1],
                            [[1]], {}, {"a": 1})  # fmt: skip
    keys = (*CONFIG, "text_config", "layer_types", "sliding_window", "use_sliding_window", "head_dim", "n_embd",
            "n_head", "num_kv_heads", "new_decoder_architecture", "n_positions", "auto_map")  # fmt: skip
    given = 0
    for _ in range(600):
        values = CONFIG | {dice.choice(keys): dice.choice(odd) for _ in range(dice.choice((1, 1, 2, 3)))}
        if dice.random() < 0.1:
            values.pop(dice.choice(tuple(CONFIG)))
        (folder / "config.json").write_text(json.dumps(values))
        try:
            facts = read_facts(folder)
        except ValueError:
            continue
        given += 1
        counts = (facts.layers, facts.heads, facts.context, facts.parameters)
        assert all(type(each) is int and each > 0 for each in counts)
        assert type(facts.head_size) is int
        assert facts.window is None or type(facts.window) is int
        assert all(type(each) is int for each in facts.end_ids)
    assert given > 100


# --- GGUF


def made_gguf(file: Path) -> Path:
    """A tiny GGUF file with a value of every kind that matters."""
    import numpy as np
    from gguf import GGUFWriter

    writer = GGUFWriter(file, "llama")
    writer.add_block_count(1)
    writer.add_embedding_length(8)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_context_length(64)
    writer.add_eos_token_id(2)
    writer.add_rope_freq_base(10000.0)
    writer.add_bool("odd.flag", True)
    writer.add_token_list(["a", "b", "<end>"])
    writer.add_token_types([1, 1, 3])
    for name, shape in (("token_embd.weight", (3, 8)), ("blk.0.ffn_up.weight", (4, 8)), ("output_norm.weight", (8,))):
        writer.add_tensor(name, np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    pytest.importorskip("gguf")
    return made_gguf(tmp_path / "m.gguf")


def test_a_gguf_header_is_what_was_written(gguf: Path) -> None:
    found = gguf_header(gguf)
    assert found.values["general.architecture"] == "llama"
    assert (found.values["odd.flag"], found.values["llama.rope.freq_base"]) == (True, 10000.0)
    assert found.lengths == {"tokenizer.ggml.tokens": 3, "tokenizer.ggml.token_type": 3}
    assert found.shapes == {"token_embd.weight": (8, 3), "blk.0.ffn_up.weight": (8, 4), "output_norm.weight": (8,)}
    facts = read_facts(gguf.parent, gguf.name)
    assert (facts.parameters, facts.matrices, facts.layers, facts.heads, facts.head_size) == (64, 32, 1, 1, 4)
    assert (facts.context, facts.width, facts.end_ids) == (64, 3, {2})


def head(*parts: bytes, tensors: int = 0, values: int = 1, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, values) + b"".join(parts)


def text(value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(value) if length is None else length) + value


def tensor(axes: int = 1, shape: tuple[int, ...] = (8,), kind: int = 0, offset: int = 0) -> bytes:
    return text(b"t") + struct.pack(f"<I{len(shape)}QIQ", axes, *shape, kind, offset)


HUGE = 2**60
ENDLESS: dict[str, tuple[bytes, str]] = {
    "version": (head(version=1), "its version is 1"),
    "other byte order": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "its version is"),
    "endless values": (head(values=HUGE), "more than it can have"),
    "endless tensors": (head(tensors=HUGE), "more than it can have"),
    "endless text": (head(text(b"a", HUGE)), "ends within its header"),
    "endless array of numbers": (head(text(b"a"), struct.pack("<IIQ", 9, 0, HUGE)), "more than it can have"),
    "long array of numbers": (head(text(b"a"), struct.pack("<IIQ", 9, 12, 10**6)), "ends within its header"),
    "long array of texts": (head(text(b"a"), struct.pack("<IIQ", 9, 8, 10**6)), "is damaged"),
    "array of arrays": (head(text(b"a"), struct.pack("<IIQ", 9, 9, 10**6)), "array of the unknown kind 9"),
    "unknown kind": (head(text(b"a"), struct.pack("<I", 99)), "unknown kind 99"),
    "a name twice": (head(*(text(b"a") + struct.pack("<IB", 7, 1) for _ in range(2)), values=2), "says 'a' twice"),
    "no UTF-8": (head(text(b"\xff") + struct.pack("<IB", 7, 1)), "is damaged"),
    "alignment": (head(text(b"general.alignment") + struct.pack("<II", 4, 0)), "alignment is no power of two"),
    "axes": (head(tensor(axes=2**31), values=0, tensors=1), "axes"),
    "huge tensor": (head(tensor(2, (2**62, 2**62)), values=0, tensors=1), "bytes and its header says"),
    "far away": (head(tensor(offset=HUGE), values=0, tensors=1), "bytes and its header says"),
    "unknown format": (head(tensor(kind=99), values=0, tensors=1), "unknown number format 99"),
    "nothing": (b"GGUF", "is damaged"),
}


@pytest.mark.parametrize(("content", "said"), ENDLESS.values(), ids=ENDLESS)
def test_a_gguf_header_is_never_followed_beyond_the_file(content: bytes, said: str, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(ValueError, match=said) as error:
        read_facts(tmp_path, "m.gguf")
    assert "download it again" in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"GG", b"<html>", b"version https://git-lfs.github.com/spec/v1\n", b"PK\x03\x04"]
)
def test_what_is_no_gguf_file_is_said(content: bytes, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(ValueError, match=r"is no GGUF file|website answered|pointer of Git LFS|is a pickle"):
        read_facts(tmp_path, "m.gguf")


def without(key: str) -> Callable[[bytes], bytes]:
    return lambda whole: whole.replace(key.encode(), key.encode()[:-1] + b"_")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("llama.block_count"), "llama.block_count is None"),
        (without("general.architecture"), "None.attention.head_count is None"),
        (lambda whole: _counted(whole, "llama.block_count", 0), "llama.block_count is 0"),
        (lambda whole: _counted(whole, "llama.attention.head_count_kv", 0), "head_count_kv is 0"),
        (lambda whole: _counted(whole, "llama.block_count", 10**9), "says 1,000,000,000 layers and has 3 tensors"),
    ],
)
def test_a_gguf_file_of_no_language_model_is_refused(change: Callable[[bytes], bytes], said: str, gguf: Path) -> None:
    gguf.write_bytes(change(gguf.read_bytes()))
    with pytest.raises(ValueError, match=said):
        read_facts(gguf.parent, gguf.name)


def _counted(whole: bytes, key: str, value: int) -> bytes:
    """The file with another number behind a key."""
    at = whole.index(text(key.encode())) + 8 + len(key) + 4
    return whole[:at] + struct.pack("<I", value) + whole[at + 4 :]


def test_mutated_gguf_files_are_refused_or_give_facts(gguf: Path) -> None:
    dice, whole, given = random.Random(3), gguf.read_bytes(), 0
    for _ in range(500):
        spoiled = bytearray(whole)
        for _ in range(dice.choice((1, 2, 8))):
            spoiled[dice.randrange(len(whole))] = dice.choice((0, 1, 255, dice.randrange(256)))
        gguf.write_bytes(spoiled[: dice.randrange(len(whole))] if dice.random() < 0.1 else spoiled)
        try:
            facts = read_facts(gguf.parent, gguf.name)
        except ValueError:
            continue
        given += 1
        assert facts.layers > 0
        assert facts.heads > 0
        assert facts.head_size > 0
    assert given > 50

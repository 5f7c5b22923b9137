"""The command `convert`: a checkpoint whose weights are pickles, written anew as safetensors.

A pickle can run code when it is read; here it is read by torch's `weights_only` reader, which makes tensors and plain
containers and refuses all else. One file of weights is in memory at a time. `__main__` registers the command; torch is
loaded only when it runs.
"""

import argparse
import errno
import json
import pickle
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eft_core.headers import tensors
from eft_core.safety import read_json
from eft_core.settings import Settings

_INDEX, _NEW_INDEX = "pytorch_model.bin.index.json", "model.safetensors.index.json"
_PICKLE = re.compile(r"(pytorch_model(?:-\d+-of-\d+)?|adapter_model)\.bin")
# What goes along: configs, tokenizers, templates, licences and cards; never code.
_COPIED = re.compile(r".*\.(json|txt|model|jinja|md)|(LICENSE|LICENCE|NOTICE)[^/]*", re.IGNORECASE)


def add_commands(commands: Any) -> None:
    """Register `convert`, with what runs it."""
    command = commands.add_parser("convert", help="write a checkpoint whose weights are pickles anew as safetensors")
    command.set_defaults(run=_convert)
    command.add_argument("folder", metavar="FOLDER", type=Path, help="holds pytorch_model.bin, whole or in parts")
    command.add_argument("--out", metavar="FOLDER", type=Path, help="a new folder (default: FOLDER-safetensors)")


def _convert(options: argparse.Namespace, settings: Settings) -> None:
    print(convert(options.folder.expanduser(), options.out and options.out.expanduser()))


def convert(folder: Path, out: Path | None = None) -> Path:
    """Write the checkpoint in `folder` as safetensors into the new folder `out`, which is returned.

    All of it or nothing. ValueError with the remedy if there are no pickles, if one holds more than tensors, or if
    `out` is there already.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: give that of a checkpoint.")
    if out is None and folder.parent.name == "snapshots":
        raise ValueError(f"{folder} is the Hub's cache, which is not ours to add to: name a new folder with --out.")
    out = (out or folder.with_name(f"{folder.name}-safetensors")).resolve()
    if out.exists():
        raise ValueError(f"{out} is there already, and nothing is overwritten: name a new folder with --out.")
    names = _pickles(folder)
    made = out.with_name(f"{out.name}.part")
    try:
        made.mkdir(parents=True)
        _write(folder, names, made)
        made.rename(out)
    except FileExistsError as error:
        raise ValueError(f"{made} is there already: remove it if no other conversion runs, then try again.") from error
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        remedy = "make room, or name another place with --out" if error.errno == errno.ENOSPC else "correct --out"
        raise ValueError(f"{out} cannot be written ({error.strerror}): {remedy}.") from error
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return out


def _pickles(folder: Path) -> list[str]:
    """The names of the files with the weights, in order."""
    table = read_json(folder / _INDEX).get("weight_map")
    if table is not None:
        names = sorted({str(name) for name in table.values()}) if isinstance(table, dict) else []
    else:
        names = [name for name in ("pytorch_model.bin", "adapter_model.bin") if (folder / name).is_file()]
    if not names:
        raise ValueError(f"{folder} has no pytorch_model.bin to convert: is it safetensors already?")
    for name in names:
        if not _PICKLE.fullmatch(name) or not (folder / name).is_file():
            raise ValueError(f"{folder / _INDEX} names {name!r:.80}, which is no such file: download it again.")
    return names


def _write(folder: Path, names: list[str], made: Path) -> None:
    """Weights, their index if there are several files, and what goes along."""
    from safetensors.torch import save_file

    for file in folder.iterdir():
        if file.is_file() and _COPIED.fullmatch(file.name) and not file.name.endswith(".index.json"):
            shutil.copyfile(file, made / file.name)
    config = read_json(folder / "config.json")
    tied = config.get("tie_word_embeddings", True) is not False
    placed: dict[str, str] = {}
    count = 0
    for name in names:
        new = name.replace("pytorch_model", "model").removesuffix(".bin") + ".safetensors"
        weights = dict(_apart(_tensors(folder / name), tied))
        save_file(weights, made / new, {"format": "pt"})
        tensors(made / new)  # whole and readable
        placed |= dict.fromkeys(weights, new)
        count += sum(tensor.nbytes for tensor in weights.values())
    if len(names) > 1:
        index = {"metadata": {"total_size": count}, "weight_map": placed}
        (made / _NEW_INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _tensors(file: Path) -> dict[str, Any]:
    """The tensors of a pickle by name. ValueError if it holds anything else; nothing in it is run."""
    import torch

    try:
        # Only the zip format, of torch 1.6 and later, can be mapped instead of read.
        with file.open("rb") as opened:
            mapped = opened.read(2) == b"PK"
        found = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S{1,80})", str(error))
        asks = f" (it asks for {wanted[1]})" if wanted else ""
        raise ValueError(
            f"{file} holds more than weights{asks}, or is damaged: nothing in it was run. Do not use this checkpoint, "
            "or ask its authors for safetensors."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is damaged or cannot be read ({type(error).__name__}): download it again.") from error
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in found.items()
    ):
        raise ValueError(f"{file} is no table of weights by name: ask its authors for safetensors.")
    return found


def _apart(weights: dict[str, Any], tied: bool) -> Iterator[tuple[str, Any]]:
    """Tensors that share no memory, as safetensors wants. Of those that are one, the first stands for all where the
    library ties them again when it reads them; otherwise each gets a copy."""
    seen: set[Any] = set()
    for name, tensor in weights.items():
        storage = tensor.untyped_storage().data_ptr()
        same = (storage, tensor.storage_offset(), tensor.shape, tensor.stride())
        if same in seen and tied:
            continue
        shared = any(storage == each[0] for each in seen)
        yield name, tensor.contiguous().clone() if shared or tensor.storage_offset() else tensor.contiguous()
        seen.add(same)

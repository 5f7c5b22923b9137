"""What a family's members share of their vocabularies, and the tokenizers that know it (`doctor` compares them).

Logits are sliced to the shared width: padding rows differ by size (ECOSYSTEM.md 5).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eft_core.checkpoint import end_ids, read_facts
from eft_core.doctor import Side
from eft_core.located import Checkpoint
from eft_core.safety import check_files, read_config
from eft_core.traits import PROBES

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
_FAR = re.compile(rb'"\s*:\s*(\d{8,})\s*[,}]')


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The ids that all members share: 0 to width - 1, and those that end an answer."""

    width: int
    end_ids: frozenset[int]


def read_sides(places: Mapping[str, Checkpoint]) -> list[Side]:
    """Every checkpoint's tokenizer, logit width and end ids, by name. Equal tokenizer files are read once.

    The weights need not be there, but for a GGUF file, which is all in one. ValueError with the remedy.
    """
    read: dict[tuple[bytes | str | None, ...], Any] = {}
    sides = []
    for name, place in places.items():
        folder = place.folder()
        check_files(folder, place.file)
        width, end_ids = _logits(folder, place.file)
        files = _contents(folder, place.file)
        if files not in read:
            read[files] = load_tokenizer(folder, place.file)
        sides.append(Side(name, read[files], width, end_ids))
    return sides


def load_tokenizer(folder: Path, file: str | None = None) -> Any:
    """The fast tokenizer of a checkpoint folder, or of the GGUF `file` in it, from its files alone."""
    from transformers import AutoTokenizer

    named = {"gguf_file": file} if file else {}
    try:
        _check_ids(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **named)
        tokenizer(list(PROBES), verbose=False)  # some are read, and fail when they cut a text
        return tokenizer
    except Exception as error:  # whatever the library or a damaged file raises: the file is what is wrong
        raise ValueError(f"no usable tokenizer in {folder}: {' '.join(str(error).split())[:300]}") from error


def _check_ids(folder: Path) -> None:
    """ValueError for an id of eight digits or more: the library goes through all ids below it, however many."""
    for name in ("tokenizer.json", "vocab.json", "added_tokens.json"):
        file = folder / name
        if file.is_file() and (found := _FAR.search(file.read_bytes())):
            raise ValueError(f"{name} has the id {found[1][:20].decode()}, beyond all vocabularies")


def _contents(folder: Path, file: str | None) -> tuple[bytes | str | None, ...]:
    """The bytes of all tokenizer files: equal bytes are one tokenizer. A GGUF file carries its own."""
    if file is not None:
        return (str(folder / file),)
    files = (folder / name for name in _TOKENIZER_FILES)
    return tuple(each.read_bytes() if each.is_file() else None for each in files)


def _logits(folder: Path, file: str | None) -> tuple[int, frozenset[int]]:
    """The width of the logits and the ids that end an answer, from the configs."""
    if file is not None:
        facts = read_facts(folder, file)
        return facts.width, facts.end_ids
    config, text = read_config(folder)
    if text.get("vocab_size") is None:
        raise ValueError(f"{folder / 'config.json'} names no vocab_size: is it the config of a language model?")
    return text["vocab_size"], end_ids(folder, config, text)

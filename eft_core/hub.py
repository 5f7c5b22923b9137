"""Checkpoints brought from the Hub into its ordinary cache: looked at first, refused early, gone on with after a break.

Of a checkpoint that is not here, the small files and the beginnings of its weights come first, into a folder of its
shape: what `safety` and `checkpoint` say of that folder is said before the weights come. Only safetensors and the one
GGUF file that is meant are ever fetched; no pickle, no code. The token is the library's own business (HF_TOKEN, or its
login), as are HF_ENDPOINT and HF_HOME. No torch.
"""

import re
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eft_core import safety
from eft_core.checkpoint import Facts, read_facts
from eft_core.events import Downloading
from eft_core.hub_errors import explained
from eft_core.hub_files import HubFile, check_room, fetch, fetch_beginning, link
from eft_core.located import Checkpoint
from eft_core.supported import check_folder

_SMALL = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
_PICKLE = re.compile(r"\.(bin|pt|pth|ckpt|pkl|pickle)$")
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_FIRST = 1 << 17  # bytes that hold the header of most safetensors files
_LONGEST = 100_000_000  # bytes of a header, safetensors' own limit
_GGUF_FIRST = 1 << 25  # bytes that hold a GGUF header with its tokenizer


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint on the Hub: its commit, its licence as the Hub names it, how it is gated ("": it is not), the files
    that are fetched, and what they tell (None for an adapter). `place` is the model or the adapter alone."""

    place: Checkpoint
    commit: str
    licence: str
    gating: str
    files: tuple[HubFile, ...]
    facts: Facts | None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def here(self) -> int:
        """Bytes of them on this machine."""
        return sum(file.here for file in self.files)


def check(checkpoint: Checkpoint) -> tuple[Found, ...]:
    """What the Hub and the small files say of a checkpoint and its adapter; nothing for what are local folders.

    The beginnings that were read stay in the cache. ValueError with the remedy if it cannot be had or not be served.
    """
    found = []
    for place, adapter in _parts([checkpoint]):
        looking = _look(place, adapter)
        while True:
            try:
                next(looking)
            except StopIteration as end:
                found.append(end.value)
                break
    return tuple(found)


def download(checkpoints: Iterable[Checkpoint]) -> Generator[Downloading, None, None]:
    """Bring what is missing of checkpoints and their adapters. What is here is left as it is, and not asked for.

    All are looked at first: ValueError before any weight comes if one cannot be served or all do not fit on the disk.
    Closed, it stops soon; called again, it goes on where it stopped.
    """
    found = []
    for place, adapter in _parts(checkpoints):
        if not _is_here(place, adapter):
            found.append((yield from _look(place, adapter)))
    check_room(sum(each.size - each.here for each in found))
    for each in found:
        yield from _bring(each)


def _parts(checkpoints: Iterable[Checkpoint]) -> list[tuple[Checkpoint, bool]]:
    """The repositories that are meant, each once, and whether it is an adapter's."""
    pairs = [(place, adapter) for each in checkpoints for place, adapter in ((each, False), (each.adapter, True))]
    plain = (
        (Checkpoint(place.location, place.revision, local=False, file=place.file), adapter)
        for place, adapter in pairs
        if place is not None and not place.local
    )
    return list(dict.fromkeys(plain))


def _is_here(place: Checkpoint, adapter: bool) -> bool:
    try:
        if adapter:
            safety.check_adapter(place.adapter_folder())
        else:
            safety.check(place.folder(), place.file)
    except ValueError:
        return False
    return True


def _look(place: Checkpoint, adapter: bool) -> Generator[Downloading, None, Found]:
    """Bring the small files and the weights' beginnings, and read what they tell."""
    event = Downloading(str(place), 0, 0)
    yield event
    with explained(place):
        info = _asked(place)
        listed = {file.name: file for file in _listed(place, info)}
    with explained(place), _shape(place) as folder:
        adapter = adapter or (_ADAPTER[0] in listed and _SMALL[0] not in listed)
        names = () if place.file else (_ADAPTER[0],) if adapter else (*_SMALL, _INDEX)
        files = [listed[name] for name in names if name in listed]
        for file in files:
            for _ in fetch(file):
                yield event
            _stand_in(file, folder, file.size)
        for name in _weights(place, adapter, listed, folder):
            files.append(listed[name])
            for _ in _begin(listed[name], folder):
                yield event
        if adapter:
            safety.check_adapter(folder)
        else:
            safety.check(folder, place.file)
            if place.file is None:
                check_folder(folder)
        facts = None if adapter else read_facts(folder, place.file)
    licence = next((tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:")), "")
    return Found(place, info.sha, licence, info.gated or "", tuple(files), facts)


def _asked(place: Checkpoint) -> Any:
    """The Hub's own words on a repository: its commit, and its files with their sizes and digests."""
    from huggingface_hub import HfApi, constants

    timeout = constants.HF_HUB_ETAG_TIMEOUT
    return HfApi().model_info(place.location, revision=place.revision, files_metadata=True, timeout=timeout)


def _listed(place: Checkpoint, info: Any) -> Iterator[HubFile]:
    """The files in the repository's top folder. Digests and commits become names in the cache: no other is taken."""
    for each in info.siblings or ():
        digest, size = (each.lfs.sha256, each.lfs.size) if each.lfs else (each.blob_id, each.size)
        if not _DIGEST.fullmatch(str(digest)) or not _DIGEST.fullmatch(str(info.sha)) or type(size) is not int:
            raise OSError("the listing is not the Hub's")
        if "/" not in each.rfilename:
            yield HubFile(place.location, info.sha, each.rfilename, size, digest)


def _weights(place: Checkpoint, adapter: bool, listed: dict[str, HubFile], folder: Path) -> list[str]:
    """The names of the files that hold the weights. ValueError with the remedy if they are not all on the Hub."""
    wanted = [place.file] if place.file else [_ADAPTER[1]] if adapter else [_SINGLE]
    if _INDEX in listed and not place.file and not adapter:
        table = safety.read_json(folder / _INDEX).get("weight_map")
        wanted = sorted({str(name) for name in table.values()}) if isinstance(table, dict) else []
    missing = [name for name in wanted if name not in listed]
    if not missing:
        return wanted
    if place.file:
        there = ", ".join(name for name in listed if name.endswith(".gguf")) or "no GGUF file at all"
        raise ValueError(f"{place} has no file {place.file!r}, but {there}: correct `file` in the families file.")
    if any(_PICKLE.search(name) for name in listed):
        raise ValueError(
            f"{place} has its weights as pickles alone, which can run code and are never fetched: name a revision with "
            "safetensors (on the Hub often refs/pr/1), or, where you trust them, run "
            f"`hf download {place.location}` and then `python -m eft_core convert FOLDER`."
        )
    raise ValueError(f"{place} has no {missing[0]!r:.80} on the Hub: correct the id, or name a revision that has it.")


@contextmanager
def _shape(place: Checkpoint) -> Iterator[Path]:
    """A folder for stand-ins; what is found wrong with it is said of the checkpoint."""
    with TemporaryDirectory() as above:
        folder = Path(above) / place.location.rpartition("/")[2]
        folder.mkdir()
        try:
            yield folder
        except ValueError as error:
            raise ValueError(str(error).replace(str(folder), place.location)) from error


def _begin(file: HubFile, folder: Path) -> Generator[None, None, None]:
    """Bring a weights file's header, and let a file of its size stand in for it."""
    first = _GGUF_FIRST if file.name.endswith(".gguf") else _FIRST
    yield from fetch_beginning(file, first)
    if not file.name.endswith(".gguf"):
        with file.content.open("rb") as weights:
            length = int.from_bytes(weights.read(8), "little")
        if length <= min(_LONGEST, file.size - 8):  # otherwise it is no header, and will be refused
            first = 8 + length
            yield from fetch_beginning(file, first)
    _stand_in(file, folder, first)


def _stand_in(file: HubFile, folder: Path, length: int) -> None:
    """A file of the right size with the first `length` bytes; what follows is a hole that takes no room."""
    with file.content.open("rb") as content, (folder / file.name).open("wb") as made:
        made.write(content.read(length))
        made.truncate(file.size)


def _bring(found: Found) -> Generator[Downloading, None, None]:
    """Fetch what is missing, and show the files to the library when all are here."""
    begun, before, total, name = time.monotonic(), found.here, found.size, str(found.place)
    with explained(found.place):
        for file in found.files:
            for _ in fetch(file):
                here = found.here
                left = (time.monotonic() - begun) * (total - here) / (here - before) if here > before else None
                yield Downloading(name, here, total, left)
        for file in reversed(found.files):  # the config, which says that a checkpoint is here, comes last
            link(file)
        _refer(found)
    yield Downloading(name, total, total, 0.0)


def _refer(found: Found) -> None:
    """Let the revision's name mean this commit, now that it is whole."""
    if (revision := found.place.revision or "main") == found.commit:
        return
    ref = found.files[0].home / "refs" / revision
    ref.parent.mkdir(parents=True, exist_ok=True)
    new = ref.with_name(f"{ref.name}.new")
    new.write_text(found.commit)
    new.replace(ref)

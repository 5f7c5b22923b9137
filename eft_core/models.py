"""The members of a family in memory: each checkpoint loaded lazily, once; one tokenizer for all that share it."""

import copy
import threading
from pathlib import Path
from typing import Any

import torch

from eft_core.captured import CudaGraphs
from eft_core.checkpoint import Facts, read_facts
from eft_core.config import Settings
from eft_core.families import Checkpoint, Family
from eft_core.model import Model, read_network, served
from eft_core.policy import Member
from eft_core.vocabulary import Vocabulary, encode, encode_response, load_tokenizer, shared

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_FORWARDS = ("auto", "lean", "library", "captured")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


class Models:
    """The members of one family; the same folder in two roles is one model."""

    def __init__(self, family: Family, settings: Settings) -> None:
        self.family = family
        self.device = _device(settings.device)
        self.dtype_name = _dtype_name(settings.dtype, self.device)
        self.forward_name = _forward_name(settings.forward, self.device)
        self._record = CudaGraphs(self.device) if self.forward_name == "captured" else None
        self._facts: dict[Checkpoint, Facts] = {}
        self._loaded: dict[Checkpoint, Model] = {}
        self._tokenizer: Any = None
        self._encoder: Any = None
        self._vocabulary: Vocabulary | None = None
        # Visitors' threads check their prompts while another decodes, and a tokenizer keeps state while it encodes.
        self._reading = threading.RLock()

    def facts(self, member: Member) -> Facts:
        """What the member's files tell; ValueError with the remedy if they are not there."""
        checkpoint = self.family.checkpoint(member)
        if checkpoint not in self._facts:
            self._facts[checkpoint] = read_facts(checkpoint.folder())
        return self._facts[checkpoint]

    def loaded(self) -> list[Member]:
        """One member of every checkpoint that is in memory."""
        roles = {checkpoint: member for member, checkpoint in self.family.checkpoints.items()}
        return [roles[checkpoint] for checkpoint in self._loaded]

    def is_loaded(self, member: Member) -> bool:
        return self.family.checkpoint(member) in self._loaded

    @property
    def tokenizer(self) -> Any:
        """The tokenizer that turns ids into text: the family's reference member's."""
        self._read_tokenizers()
        return self._tokenizer

    @property
    def vocabulary(self) -> Vocabulary:
        """What all members that lie on this machine share; ValueError if they do not."""
        self._read_tokenizers()
        assert self._vocabulary is not None
        return self._vocabulary

    def encode(self, prompt: str) -> tuple[int, ...]:
        """A prompt as ids, in the family's chat template. From any thread."""
        with self._reading:
            self._read_tokenizers()
            ids = encode(self._encoder, prompt)
        if (largest := max(ids, default=0)) >= self.vocabulary.width:
            raise ValueError(
                f"the chat template of {self.family.reference} uses id {largest}, which not all members of "
                f"{self.family.name} know: they share ids below {self.vocabulary.width}."
            )
        return ids

    def encode_response(self, prompt: str, response: str) -> tuple[int, ...]:
        """A response as ids, as it would stand behind the prompt. From any thread."""
        with self._reading:
            self._read_tokenizers()
            return encode_response(self._encoder, prompt, response)

    def _read_tokenizers(self) -> None:
        with self._reading:
            if self._vocabulary is None:
                self._compare_tokenizers()

    def _compare_tokenizers(self) -> None:
        """Read each distinct tokenizer once, the reference first, and compare them."""
        reference = self.family.reference
        self.facts(reference)  # raises the remedy when it is not there
        others = [member for member, checkpoint in self.family.checkpoints.items() if checkpoint.present()]
        tokenizers: dict[str, Any] = {}
        seen: set[tuple[bytes | None, ...]] = set()
        for member in [reference, *others]:
            folder = self.family.checkpoint(member).folder()
            files = _contents(folder)
            if files not in seen:
                seen.add(files)
                tokenizers[str(member)] = load_tokenizer(folder)
        facts = {str(member): self.facts(member) for member in others}
        widths = {name: each.width for name, each in facts.items()}
        ends = frozenset().union(*(each.end_ids for each in facts.values()))
        self._vocabulary = shared(tokenizers, widths, ends, self.family.aliases)
        self._tokenizer = tokenizers[str(reference)]
        self._encoder = copy.deepcopy(self._tokenizer)

    def load(self, member: Member) -> Model:
        """The member, from memory or from its files. ValueError if the files are missing or cannot be served."""
        checkpoint = self.family.checkpoint(member)
        if checkpoint not in self._loaded:
            width = self.vocabulary.width
            network = read_network(checkpoint.folder(), _DTYPES[self.dtype_name]).to(self.device)
            self._loaded[checkpoint] = served(network, width, self.forward_name, str(member), self._record)
        return self._loaded[checkpoint]

    def available_bytes(self) -> int:
        """Memory that the device has left."""
        if self.device.type == "cuda":
            return torch.cuda.mem_get_info(self.device)[0]
        import psutil

        return int(psutil.virtual_memory().available)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"EFT_DEVICE = {name!r} is not a device: use auto, cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("EFT_DEVICE asks for cuda, and this machine has none: use auto or cpu.")
    return device


def _dtype_name(name: str, device: torch.device) -> str:
    if name == "auto":
        return "bfloat16" if device.type == "cuda" else "float32"
    if name not in _DTYPES:
        raise ValueError(f"EFT_DTYPE = {name!r} is not known: use auto, {', '.join(_DTYPES)}.")
    return name


def _forward_name(name: str, device: torch.device) -> str:
    if name not in _FORWARDS:
        raise ValueError(f"EFT_FORWARD = {name!r} is not known: use {', '.join(_FORWARDS)}.")
    if name == "captured" and device.type != "cuda":
        raise ValueError(f"EFT_FORWARD=captured needs a CUDA device, and this is {device}: use EFT_FORWARD=auto.")
    return name


def _contents(folder: Path) -> tuple[bytes | None, ...]:
    """The bytes of all tokenizer files: equal bytes are one tokenizer."""
    files = (folder / name for name in _TOKENIZER_FILES)
    return tuple(file.read_bytes() if file.is_file() else None for file in files)

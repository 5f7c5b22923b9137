"""The members of a family in memory: each checkpoint loaded lazily, once, and asked for logits.

`forward(ids, positions, cache)` is all that decoding knows of a model. Weights are safetensors from local files; remote
code is never run and the network never asked. B rows, T new tokens, V shared vocabulary.
"""

import copy
import threading
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from eft_core.checkpoint import Facts, read_facts
from eft_core.config import Settings
from eft_core.families import Checkpoint, Family
from eft_core.kv_cache import Places, RaggedCache, places
from eft_core.lean import Lean, refusal
from eft_core.policy import Member
from eft_core.vocabulary import Vocabulary, encode, load_tokenizer, shared

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_FORWARDS = ("auto", "lean", "library")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
# Largest difference between a ragged forward and a plain one, as a share of the largest logit, that rounding explains.
_ROUNDING = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}


class Model:
    """One loaded checkpoint, run by the library's forward or, with `lean`, by our own on the same weights."""

    def __init__(self, network: nn.Module, width: int, lean: bool = False) -> None:
        self.network, self.width = network, width
        parameter = next(network.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self.layers: int = network.config.num_hidden_layers  # type: ignore[union-attr, assignment]
        self._lean = Lean(network, width) if lean else None

    @property
    def lean(self) -> bool:
        return self._lean is not None

    @torch.inference_mode()
    def cache(self, rows: int, capacity: int) -> RaggedCache:
        if self._lean is not None:
            self._lean.rotation.reserve(capacity)
        return RaggedCache(self.layers, rows, capacity)

    @torch.inference_mode()
    def forward(self, ids: Tensor, where: Places, cache: RaggedCache, last_only: bool = False) -> Tensor:
        """Logits of T new tokens of B rows: ids (B, T) -> (B, T, V), or (B, 1, V) with `last_only`."""
        if self._lean is not None:
            return self._lean.forward(ids, where, cache, last_only)
        output = self.network(
            input_ids=ids,
            position_ids=where.positions,
            attention_mask=where.mask,
            past_key_values=cache.at(where),
            use_cache=True,
            logits_to_keep=1 if last_only else 0,
        )
        return output.logits[..., : self.width]


class Models:
    """The members of one family; the same folder in two roles is one model."""

    def __init__(self, family: Family, settings: Settings) -> None:
        self.family = family
        self.device = _device(settings.device)
        self.dtype_name = _dtype_name(settings.dtype, self.device)
        self.forward_name = _forward_name(settings.forward)
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
            network = _network(checkpoint.folder(), _DTYPES[self.dtype_name]).to(self.device)
            self._loaded[checkpoint] = _model(network, width, self.forward_name, str(member))
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


def _forward_name(name: str) -> str:
    if name not in _FORWARDS:
        raise ValueError(f"EFT_FORWARD = {name!r} is not known: use {', '.join(_FORWARDS)}.")
    return name


def _contents(folder: Path) -> tuple[bytes | None, ...]:
    """The bytes of all tokenizer files: equal bytes are one tokenizer."""
    files = (folder / name for name in _TOKENIZER_FILES)
    return tuple(file.read_bytes() if file.is_file() else None for file in files)


def _network(folder: Path, dtype: torch.dtype) -> nn.Module:
    """The library's own model of a folder, ready to run; its own noise about progress is kept quiet."""
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    _check_config(config)
    eager = getattr(config, "attn_logit_softcapping", None) is not None
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        network = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            attn_implementation="eager" if eager else "sdpa",
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"the model in {folder} cannot be read: {str(error).splitlines()[0]}") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    return network.eval().requires_grad_(False)


def _check_config(config: Any) -> None:
    """ValueError for architectures that rows at different positions cannot run on, as far as the config tells."""
    kinds = set(getattr(config, "layer_types", None) or ())
    reasons = {
        "it is an encoder and a decoder": config.is_encoder_decoder,
        "its positions are alibi, a bias by whole-batch position": getattr(config, "alibi", False)
        or config.model_type in ("bloom", "mpt"),
        "it has linear or chunked attention": bool(kinds - {"full_attention", "sliding_attention"}),
    }
    for reason, applies in reasons.items():
        if applies:
            _refuse(config, reason)


def _refuse(config: Any, reason: str) -> NoReturn:
    name = (config.architectures or [config.model_type])[0]
    raise ValueError(
        f"{name} cannot decode rows at different positions: {reason}. Models of the Llama, Qwen2, Qwen3, GPT-2, "
        "GPT-NeoX and rotary Falcon architectures can."
    )


def _model(network: nn.Module, width: int, forward: str, member: str) -> Model:
    """The network as a model whose trial run is right; ValueError if there is none, or not as `forward` asks."""
    if forward != "library":
        reason = refusal(network)
        if reason is None:
            model = Model(network, width, lean=True)
            reason = _wrong_rows(model)
            if reason is None:
                return model
        if forward == "lean":
            raise ValueError(f"EFT_FORWARD=lean cannot serve {member}: {reason}. Use EFT_FORWARD=auto or library.")
    model = Model(network, width)
    if reason := _wrong_rows(model):
        _refuse(network.config, f"in a trial run of {member}, {reason}")
    return model


@torch.inference_mode()
def _wrong_rows(model: Model) -> str | None:
    """Run two ragged rows, and the same rows alone by the library: whatever the forward, what is wrong with it."""
    ids = torch.arange(10, device=model.device).view(2, 5) % model.width
    positions = torch.arange(5, device=model.device).expand(2, -1)
    rows = (torch.cat([ids[0], ids[0, :1]]), torch.cat([ids[1, :3], ids[1, :1]]))
    cache = model.cache(2, 16)
    try:
        first = model.forward(ids, places(positions, 4, model.dtype, 16), cache)
        # The first row goes on at 5; the second is rolled back to 3 tokens and goes on there.
        last = places(torch.tensor([[5], [3]], device=model.device), 5, model.dtype, 16)
        then = model.forward(ids[:, :1], last, cache)
        alone = torch.cat([model.network(input_ids=row[None]).logits[0, :, : model.width] for row in rows])
    except (RuntimeError, TypeError, AttributeError, IndexError, NotImplementedError) as error:
        return f"the forward failed ({error})"
    ragged = torch.cat([first[0], then[0], first[1, :3], then[1]])  # (6 + 4, V), as `alone`
    if (ragged - alone).abs().max() > _ROUNDING[model.dtype] * alone.abs().max():
        return "two rows differed from the same rows alone"
    return None

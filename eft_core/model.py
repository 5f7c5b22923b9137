"""One checkpoint in memory: `forward(ids, positions, cache)` is all that decoding knows of it.

Read from safetensors on this machine; remote code is never run and the network never asked. Whatever the architecture,
a trial run compares ragged rows with the library's own rows alone before a model serves anybody. B rows, T new tokens,
V shared vocabulary.
"""

from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from eft_core.captured import PLAIN, Captured, Record
from eft_core.kv_cache import Places, RaggedCache, places
from eft_core.lean import Lean, refusal

# Largest difference between a ragged forward and a plain one, as a share of the largest logit, that rounding explains.
_ROUNDING = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}


class Model:
    """One loaded checkpoint, run by the library's forward or, with `lean`, by our own on the same weights.

    With `record` decode passes are recorded, and replayed from then on.
    """

    def __init__(self, network: nn.Module, width: int, lean: bool = False, record: Record | None = None) -> None:
        self.network, self.width = network, width
        parameter = next(network.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self.layers: int = network.config.num_hidden_layers  # type: ignore[union-attr, assignment]
        self._lean = Lean(network, width) if lean else None
        self._captured = Captured(self._pass, record) if record else None

    @property
    def lean(self) -> bool:
        return self._lean is not None

    @property
    def captured(self) -> bool:
        return self._captured is not None

    @torch.inference_mode()
    def cache(self, rows: int, capacity: int) -> RaggedCache:
        if self._lean is not None:
            table = self._lean.rotation.table
            self._lean.rotation.reserve(capacity)
            if self._captured is not None and self._lean.rotation.table is not table:
                self._captured.forget()
        return RaggedCache(self.layers, rows, capacity, fixed=self.captured)

    @torch.inference_mode()
    def forward(self, ids: Tensor, where: Places, cache: RaggedCache, last_only: bool = False) -> Tensor:
        """Logits of T new tokens of B rows: ids (B, T) -> (B, T, V), or (B, 1, V) with `last_only`."""
        if self._captured is not None and not last_only and self._captured.serves(ids):
            return self._captured.forward(ids, where, cache)
        return self._pass(ids, where, cache, last_only)

    def _pass(self, ids: Tensor, where: Places, cache: RaggedCache, last_only: bool = False) -> Tensor:
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


def read_network(folder: Path, dtype: torch.dtype) -> nn.Module:
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


def served(network: nn.Module, width: int, forward: str, member: str, record: Record | None = None) -> Model:
    """The network as a model whose trial run is right; ValueError if there is none, or not as `forward` asks."""
    if forward != "library":
        reason = refusal(network)
        if reason is None:
            model = Model(network, width, lean=True, record=record)
            reason = _wrong_rows(model)
            if reason is None:
                return model
        if forward == "lean":
            raise ValueError(f"EFT_FORWARD=lean cannot serve {member}: {reason}. Use EFT_FORWARD=auto or library.")
    model = Model(network, width, record=record)
    if reason := _wrong_rows(model):
        if record is not None:
            raise ValueError(f"EFT_FORWARD=captured cannot serve {member}: {reason}. Use EFT_FORWARD=auto.")
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
        first = _settled(model, ids, places(positions, 4, model.dtype, 16), cache)
        # The first row goes on at 5; the second is rolled back to 3 tokens and goes on there.
        last = places(torch.tensor([[5], [3]], device=model.device), 5, model.dtype, 16)
        then = _settled(model, ids[:, :1], last, cache)
        alone = torch.cat([model.network(input_ids=row[None]).logits[0, :, : model.width] for row in rows])
    except (RuntimeError, TypeError, AttributeError, IndexError, NotImplementedError) as error:
        return f"the forward failed ({error})"
    finally:
        cache.free()
    ragged = torch.cat([first[0], then[0], first[1, :3], then[1]])  # (6 + 4, V), as `alone`
    if (ragged - alone).abs().max() > _ROUNDING[model.dtype] * alone.abs().max():
        return "two rows differed from the same rows alone"
    return None


def _settled(model: Model, ids: Tensor, where: Places, cache: RaggedCache) -> Tensor:
    """The pass as it will run from now on: one that is captured is replayed only when its shape has come often."""
    for _ in range(PLAIN if model.captured else 0):
        model.forward(ids, where, cache)
    return model.forward(ids, where, cache)

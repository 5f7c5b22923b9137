"""One checkpoint in memory: `forward(ids, positions, cache)` is all that decoding knows of it.

Whatever the architecture, a trial run compares ragged rows with the library's own rows alone before a model serves
anybody. B rows, T new tokens, V shared vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from eft_core import devices
from eft_core.adapters import has_adapters, use
from eft_core.captured import PLAIN, Captured, Record
from eft_core.devices import SHARDED
from eft_core.exhausted import is_out_of_memory
from eft_core.kv_cache import Places, RaggedCache, places
from eft_core.lean import Lean, refusal
from eft_core.quantised import is_quantised
from eft_core.supported import refuse

# Largest difference between a ragged forward and a plain one, as a share of the largest logit, that rounding explains.
_ROUNDING = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}

_DISPATCH = 1_000_000


class Model:
    """One loaded checkpoint, run by the library's forward or, with `lean`, by our own on the same weights.

    With `record` decode passes are recorded, and replayed from then on. `own_ids` are its ids of the shared ones, where
    it has the same tokens under other ids (`id_map`). `adapter` is the LoRA adapter of the network that it runs with;
    those of others are switched off.
    """

    def __init__(
        self,
        network: nn.Module,
        width: int,
        lean: bool = False,
        record: Record | None = None,
        own_ids: Sequence[int] = (),
        adapter: str | None = None,
    ) -> None:
        self.network, self.width, self.adapter = network, width, adapter
        self.device, self.dtype = main_device(network), cast(torch.dtype, network.dtype)
        self.config: Any = cast(Any, network.config).get_text_config()
        self.layers: int = self.config.num_hidden_layers
        # What a pass of few rows takes, in parameters that are read: a layer's dispatch takes as long as some.
        self.cost = sum(each.numel() for each in network.parameters()) + self.layers * _DISPATCH
        self.window = window_of(self.config)
        self.own = torch.tensor(own_ids, device=self.device) if own_ids else None
        self._lean = Lean(network, max(own_ids) + 1 if own_ids else width) if lean else None
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
        self.switch()
        if self._captured is not None and not last_only and self._captured.serves(ids):
            return self._captured.forward(ids, where, cache)
        return self._pass(ids, where, cache, last_only)

    @torch.inference_mode()
    def alone(self, ids: Tensor) -> Tensor:
        """The library's own logits of one row without a cache: ids (1, T) -> (T, V)."""
        self.switch()
        return self._shared(self.network(input_ids=self._owned(ids)).logits)[0]

    def switch(self) -> None:
        """Turn the network's adapters to this model's."""
        if has_adapters(self.network):
            use(self.network, self.adapter)

    def _owned(self, ids: Tensor) -> Tensor:
        return ids if self.own is None else self.own[ids]

    def _shared(self, logits: Tensor) -> Tensor:
        """Logits of the shared ids alone, in their order."""
        return logits[..., : self.width] if self.own is None else logits.index_select(-1, self.own)

    def _pass(self, ids: Tensor, where: Places, cache: RaggedCache, last_only: bool = False) -> Tensor:
        ids = self._owned(ids)
        mask: Tensor | dict[str, Tensor] = where.mask
        if self.window is not None and where.reach > self.window.size:
            near = where.windowed(self.window.size)
            where = near if self.window.everywhere else where
            mask = (
                near.mask if self.window.everywhere else {"full_attention": where.mask, "sliding_attention": near.mask}
            )
        if self._lean is not None:
            return self._shared(self._lean.forward(ids, where, cache, last_only))
        output = self.network(
            input_ids=ids,
            position_ids=where.positions,
            attention_mask=mask,
            past_key_values=cache.at(where),
            use_cache=True,
            logits_to_keep=1 if last_only else 0,
        )
        return self._shared(output.logits)


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window: a query sees `size` positions, its own included, in every layer or in some."""

    size: int
    everywhere: bool


def window_of(config: Any) -> Window | None:
    """The sliding window of a text config, if it has one. Models with layers of both kinds take a mask for each."""
    size, kinds = getattr(config, "sliding_window", None), set(getattr(config, "layer_types", None) or ())
    if not size or not getattr(config, "use_sliding_window", True) or (kinds and "sliding_attention" not in kinds):
        return None
    return Window(size, everywhere=not kinds)


def main_device(network: Any) -> torch.device:
    """Where a network takes its ids: its weights' device, or the first device of one that is spread."""
    spread = getattr(network, "hf_device_map", {}).values()
    if not spread:
        return next(network.parameters()).device
    # What lies in files is brought to the main device when its turn comes.
    return next((torch.device(device) for device in spread if device != "disk"), devices.main_device(SHARDED))


def served(
    network: nn.Module,
    width: int,
    forward: str,
    member: str,
    record: Record | None = None,
    own_ids: Sequence[int] = (),
    adapter: str | None = None,
) -> Model:
    """The network as a model whose trial run is right; ValueError if there is none, or not as `forward` asks."""
    how: dict[str, Any] = {"record": record, "own_ids": own_ids, "adapter": adapter}
    if forward != "library":
        reason = "it runs with LoRA adapters" if has_adapters(network) else refusal(network)
        if reason is None:
            model = Model(network, width, lean=True, **how)
            reason = _wrong_rows(model)
            if reason is None:
                return model
        if forward == "lean":
            raise ValueError(f"EFT_FORWARD=lean cannot serve {member}: {reason}. Use EFT_FORWARD=auto or library.")
    model = Model(network, width, **how)
    if reason := _wrong_rows(model):
        if record is not None:
            raise ValueError(f"EFT_FORWARD=captured cannot serve {member}: {reason}. Use EFT_FORWARD=auto.")
        refuse(network.config, f"in a trial run of {member}, {reason}")
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
        alone = torch.cat([model.alone(row[None]) for row in rows])
    except (RuntimeError, TypeError, AttributeError, IndexError, NotImplementedError) as error:
        if is_out_of_memory(error):
            raise  # it says nothing of the forward, and whoever waits is told what to do
        return f"the forward failed ({error})"
    finally:
        cache.free()
    ragged = torch.cat([first[0], then[0], first[1, :3], then[1]])  # (6 + 4, V), as `alone`
    rounding = _ROUNDING[torch.bfloat16 if is_quantised(model.network) else model.dtype]  # the kernel rounds inputs so
    if (ragged - alone).abs().max() > rounding * alone.abs().max():
        return "two rows differed from the same rows alone"
    return None


def _settled(model: Model, ids: Tensor, where: Places, cache: RaggedCache) -> Tensor:
    """The pass as it will run from now on: one that is captured is replayed only when its shape has come often."""
    for _ in range(PLAIN if model.captured else 0):
        model.forward(ids, where, cache)
    return model.forward(ids, where, cache)

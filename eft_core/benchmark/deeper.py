"""Copies of a model that cost more and compute the same: residual layers whose output projections are zero.

A layer adds its attention and its feed-forward to the residual stream. With zero output projections it adds exactly
nothing, bit by bit, and takes the full time: real acceptance meets a realistic price (SPEED.md 2.8; `--cost-ratio`).
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from eft_core.model import Model


@dataclass(frozen=True, slots=True)
class Layout:
    """Where an architecture keeps its layers, and the two projections through which a layer writes."""

    layers: str
    attention: str
    feed_forward: str


_LLAMA = Layout("model.layers", "self_attn.o_proj", "mlp.down_proj")
_LAYOUTS = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gpt2": Layout("transformer.h", "attn.c_proj", "mlp.c_proj"),
    "gpt_neox": Layout("gpt_neox.layers", "attention.dense", "mlp.dense_4h_to_h"),
    "falcon": Layout("transformer.h", "self_attention.dense", "mlp.dense_4h_to_h"),
}


def deepened(model: Model, layers: int) -> Model:
    """A copy with `layers` more layers and the same logits. It shares the old layers' weights; the new ones have
    their own, so that they cost what layers cost. ValueError for architectures whose layers are not known here."""
    layout = _layout(model)
    network = sharing(model.network)
    stack: Any = network.get_submodule(layout.layers)
    for number in range(len(stack), len(stack) + layers):
        stack.append(_silent(stack[-1], layout, number))
    config: Any = network.config
    config.num_hidden_layers = len(stack)
    if kinds := getattr(config, "layer_types", None):
        config.layer_types = [*kinds, *[kinds[-1]] * layers]
    return Model(network, model.width, lean=model.lean)


def _layout(model: Model) -> Layout:
    config: Any = model.network.config
    if config.model_type not in _LAYOUTS:
        raise ValueError(
            f"--cost-ratio cannot make a {config.model_type} model deeper: it knows {', '.join(_LAYOUTS)}. "
            "Use a family of one of these, or add the names of its layers and output projections to "
            "eft_core/benchmark/deeper.py."
        )
    return _LAYOUTS[config.model_type]


def _silent(layer: nn.Module, layout: Layout, number: int) -> nn.Module:
    """A copy of a layer that writes nothing; `number` is its place, by which it finds its part of the cache."""
    new = copy.deepcopy(layer)
    for name in (layout.attention, layout.feed_forward):
        for parameter in new.get_submodule(name).parameters():
            with torch.no_grad():
                parameter.zero_()
    for module in new.modules():
        if hasattr(module, "layer_idx"):
            module.layer_idx = number  # type: ignore[assignment]
    return new


def sharing(network: nn.Module) -> Any:
    """A copy of a network, its config included, that reads the same memory: nothing done to it shows in the other."""
    copies: dict[int, Any] = {id(buffer): buffer.detach() for buffer in network.buffers()}
    for parameter in network.parameters():  # tied ones come once and stay tied
        copies[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
    return copy.deepcopy(network, copies)

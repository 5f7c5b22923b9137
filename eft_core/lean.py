"""An own forward of the Llama architecture on ragged rows, for the library's network and on its weights.

What it computes is the library's `LlamaForCausalLM` (also Mistral, Qwen2 and Qwen3); what it saves is dispatch, which
is nearly all the time of a small model (SPEED.md 2.7): q, k and v are one product, gate and up another, keys and
values one write, residuals part of the product before them. The weights that it joins stay one copy: the library's
parameters become views. n = B T new tokens, all rows flat; E width, H heads of queries, G of keys and values,
P = H / G, D head size, I inner width, V shared vocabulary.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eft_core.kv_cache import Places, RaggedCache, RaggedLayer

_ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
_MOVING_ROPES = ("dynamic", "longrope")  # their angles depend on how far the longest row has come


class Norm:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension."""

    def __init__(self, module: Any) -> None:
        self.weight, self.eps = module.weight, module.variance_epsilon
        # Where F.rms_norm has no kernel of its own it is six dispatches. With r = sqrt(E) the same is
        # r x / sqrt(|x|^2 + r^2 eps) * weight, which is four.
        self.short = self.weight.device.type == "cpu" and self.weight.dtype == torch.float32
        root = math.sqrt(len(self.weight))
        self.scale = self.weight * root
        self.floor = self.weight.new_tensor(root * math.sqrt(self.eps))

    def __call__(self, x: Tensor) -> Tensor:
        if not self.short:
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        return (x * self.scale).div_(torch.linalg.vector_norm(x, dim=-1, keepdim=True).hypot_(self.floor))


class Rotation:
    """Rotary positions: (x_1, x_2) -> (x_1 cos - x_2 sin, x_2 cos + x_1 sin), by the network's own angles."""

    def __init__(self, module: Any, like: Tensor) -> None:
        self._module, self._like = module, like
        self.table = like.new_empty(0, 0)  # (slots, 2 D): cosines, then sines with the sign of the rotated half

    def reserve(self, slots: int) -> None:
        """A table for positions below `slots`."""
        if slots > len(self.table):
            positions = torch.arange(slots, device=self._like.device)
            cos, sin = (each[0] for each in self._module(self._like, positions[None]))
            first, second = sin.chunk(2, -1)
            self.table = torch.cat((cos, -first, second), -1)

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin of positions (B, T), each (B, T, 1, D)."""
        cos, sin = F.embedding(positions, self.table).unsqueeze(2).chunk(2, -1)
        return cos, sin


def turn_(heads: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Rotate queries or keys (B, T, heads, D) in place."""
    swapped = heads.roll(heads.shape[-1] // 2, -1)
    heads.mul_(cos).addcmul_(swapped, sin)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's weights, matrices as (in, out); the library's are views of them."""

    before_attention: Norm
    qkv: Tensor  # (E, (H + 2 G) D)
    bias: Tensor | None  # ((H + 2 G) D,)
    head_norms: tuple[Norm, Norm] | None  # of queries and keys, over D
    output: Tensor  # (H D, E)
    before_mlp: Norm
    gate_up: Tensor  # (E, 2 I)
    down: Tensor  # (I, E)


@dataclass(frozen=True, slots=True)
class Pass:
    """What all layers of one forward share. cos, sin: (B, T, 1, D). mask: (B, 1, T P, reach), additive."""

    cos: Tensor
    sin: Tensor
    mask: Tensor


class Lean:
    """The forward of one network; ValueError if `refusal` has a reason against it."""

    def __init__(self, network: nn.Module, width: int) -> None:
        if reason := refusal(network):
            raise ValueError(f"the lean forward does not serve this model: {reason}; use EFT_FORWARD=library.")
        config: Any = network.config
        model: Any = network.get_submodule("model")
        self.size: int = model.layers[0].self_attn.head_dim
        self.heads: int = config.num_attention_heads
        self.share: int = self.heads // config.num_key_value_heads
        self.turned: int = self.heads + config.num_key_value_heads  # queries and keys; values do not turn
        self.layers = [_layer(layer) for layer in model.layers]
        self.norm = Norm(model.norm)
        head: Any = network.get_submodule("lm_head")
        self.head = columns([head.weight])[:, :width]  # (E, V): padding rows are not computed
        self.embedding: Tensor = model.embed_tokens.weight
        self.rotation = Rotation(model.rotary_emb, self.embedding[:0])

    def forward(self, ids: Tensor, where: Places, cache: RaggedCache, last_only: bool = False) -> Tensor:
        """Logits of T new tokens of B rows: ids (B, T) -> (B, T, V), or (B, 1, V) with `last_only`."""
        mask = where.mask if self.share == 1 else where.mask.repeat_interleave(self.share, 2)
        now = Pass(*self.rotation.at(where.positions), mask)
        x = self.embedding.index_select(0, ids.flatten())  # (n, E), the residual stream
        for layer, memory in zip(self.layers, cache.at(where).ragged, strict=True):
            x.addmm_(self._attention(x, layer, memory, now), layer.output)
            gate, up = torch.mm(layer.before_mlp(x), layer.gate_up).chunk(2, -1)
            x.addmm_(F.silu(gate).mul_(up), layer.down)
        if last_only:
            x = x.view(*ids.shape, -1)[:, -1]
        return torch.mm(self.norm(x), self.head).view(len(ids), -1, self.head.shape[1])

    def _attention(self, x: Tensor, layer: Layer, memory: RaggedLayer, now: Pass) -> Tensor:
        """Write the new keys and values, and read with all heads: (n, E) -> (n, H D)."""
        normed = layer.before_attention(x)
        qkv = torch.mm(normed, layer.qkv) if layer.bias is None else torch.addmm(layer.bias, normed, layer.qkv)
        heads = qkv.view(*now.cos.shape[:2], -1, self.size)  # (B, T, H + 2 G, D)
        queries, turned, both = heads[:, :, : self.heads], heads[:, :, : self.turned], heads[:, :, self.heads :]
        if layer.head_norms:
            for part, norm in zip((queries, turned[:, :, self.heads :]), layer.head_norms, strict=True):
                part.copy_(norm(part))
        turn_(turned, now.cos, now.sin)
        keys, values = memory.write(both)
        if self.share == 1:
            read = F.scaled_dot_product_attention(queries.transpose(1, 2), keys, values, attn_mask=now.mask)
            return read.transpose(1, 2).reshape(len(x), -1)
        # The P heads that read one head's keys stand as P places of it, (B, G, T P, D): no key is repeated.
        grouped = queries.unflatten(2, (-1, self.share)).transpose(1, 2).flatten(2, 3)
        read = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=now.mask)
        return read.unflatten(2, (-1, self.share)).transpose(1, 2).reshape(len(x), -1)


def refusal(network: nn.Module) -> str | None:
    """Why a network cannot run here, or None. What this overlooks, the trial run at load finds."""
    name = type(network).__name__
    if name not in _ARCHITECTURES:
        return f"{name} is none of {', '.join(_ARCHITECTURES)}"
    model: Any = network.get_submodule("model")
    inward, outward = [network.get_submodule("lm_head")], []
    for layer in model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        inward += [attention.q_proj, attention.k_proj, attention.v_proj]
        outward += [attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj]
    rope, activation = model.rotary_emb.rope_type, network.config.hidden_act  # type: ignore[union-attr]
    devices = {parameter.device for parameter in network.parameters()}
    reasons = {
        f"its rotary angles are {rope}, which move with the longest row": rope in _MOVING_ROPES,
        f"its activation is {activation} and not silu": activation != "silu",
        "its weights are not plain matrices": any(type(module) is not nn.Linear for module in inward + outward),
        "it has biases behind attention": any(getattr(module, "bias", None) is not None for module in outward),
        "its weights are spread over several devices": len(devices) > 1 or torch.device("meta") in devices,
        "it has layers of two kinds of attention": len(set(getattr(network.config, "layer_types", None) or ())) > 1,
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


def _layer(module: Any) -> Layer:
    """One layer's weights, joined."""
    attention, mlp = module.self_attn, module.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    return Layer(
        before_attention=Norm(module.input_layernorm),
        qkv=columns([each.weight for each in projections]),
        bias=joined([each.bias for each in projections]) if attention.q_proj.bias is not None else None,
        head_norms=(Norm(attention.q_norm), Norm(attention.k_norm)) if hasattr(attention, "q_norm") else None,
        output=columns([attention.o_proj.weight]),
        before_mlp=Norm(module.post_attention_layernorm),
        gate_up=columns([mlp.gate_proj.weight, mlp.up_proj.weight]),
        down=columns([mlp.down_proj.weight]),
    )


def columns(parts: list[nn.Parameter]) -> Tensor:
    """Matrices (out, in) side by side as one (in, out), as `joined`.

    On a CPU it lies in memory as it is read here: products with a few rows are faster so.
    """
    first, lengths = parts[0], [len(part) for part in parts]
    if first.device.type != "cpu" or first.dtype != torch.float32:
        return joined(parts).t()
    size = first.shape[1], sum(lengths)
    if all(part.stride() == (1, size[1]) for part in parts) and _follow(parts, lengths):
        return first.data.as_strided(size, (size[1], 1))
    whole = torch.cat([part.data.t() for part in parts], 1).contiguous()
    for part, piece in zip(parts, whole.split(lengths, 1), strict=True):
        part.data = piece.t()
    return whole


def joined(parts: list[nn.Parameter]) -> Tensor:
    """Parameters one below the other in one tensor, of which they are views from now on: no second copy.

    Those that lie so already, because they were joined before, stay where they are.
    """
    first, lengths = parts[0], [len(part) for part in parts]
    if all(part.is_contiguous() for part in parts) and _follow(parts, [part.numel() for part in parts]):
        return first.data.as_strided((sum(lengths), *first.shape[1:]), first.stride())
    whole = torch.cat([part.data for part in parts])
    for part, piece in zip(parts, whole.split(lengths), strict=True):
        part.data = piece
    return whole


def _follow(parts: list[nn.Parameter], steps: list[int]) -> bool:
    """Whether parameters lie in one memory, each so many numbers behind the one before."""
    offsets = itertools.accumulate(steps[:-1], initial=parts[0].storage_offset())
    where = {part.untyped_storage().data_ptr() for part in parts}
    return len(where) == 1 and [part.storage_offset() for part in parts] == list(offsets)

"""Networks of published shapes with random weights: what they cost is real, what they say is not.

Where a family's checkpoints are not at hand, its speed still is: a pass takes the time of its matrices, whatever is in
them. Which drafts are accepted is forced then (`forced`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

# Numbers that are drawn; larger matrices repeat them, at an odd stride, so that rows differ.
_DRAWN = (1 << 20) + 7


@dataclass(frozen=True, slots=True)
class Shape:
    """A network of the Llama architecture. `groups`: heads of keys and values. `tied`: the head is the embedding."""

    layers: int
    width: int
    heads: int
    groups: int
    inner: int
    vocabulary: int
    tied: bool
    context: int

    @property
    def parameters(self) -> int:
        """How many numbers it has."""
        size = self.width // self.heads
        attention = 2 * self.width * size * (self.heads + self.groups)
        layer = attention + 3 * self.width * self.inner + 2 * self.width
        return self.layers * layer + self.width + self.vocabulary * self.width * (1 if self.tied else 2)

    def told(self) -> dict[str, int | bool]:
        """For a document."""
        return asdict(self) | {"parameters": self.parameters}


# As their config.json files are published: HuggingFaceTB/SmolLM2-135M, -360M and -1.7B, meta-llama/Llama-2-7b-hf and
# -13b-hf. Tiny ones are for trying.
SHAPES: Mapping[str, Shape] = {
    "smollm2-135m": Shape(30, 576, 9, 3, 1536, 49152, tied=True, context=8192),
    "smollm2-360m": Shape(32, 960, 15, 5, 2560, 49152, tied=True, context=8192),
    "smollm2-1.7b": Shape(24, 2048, 32, 32, 8192, 49152, tied=True, context=8192),
    "llama-2-7b": Shape(32, 4096, 32, 32, 11008, 32000, tied=False, context=4096),
    "llama-2-13b": Shape(40, 5120, 40, 40, 13824, 32000, tied=False, context=4096),
    "tiny": Shape(2, 32, 4, 2, 64, 320, tied=True, context=512),
    "tiny-large": Shape(4, 64, 4, 2, 128, 320, tied=True, context=512),
}


def shape_named(name: str) -> Shape:
    """One of `SHAPES`; ValueError that lists them."""
    if name not in SHAPES:
        raise ValueError(f"there is no shape {name!r}: use {', '.join(SHAPES)}.")
    return SHAPES[name]


def random_network(shape: Shape, dtype: torch.dtype, device: torch.device, seed: int) -> nn.Module:
    """The library's Llama of this shape, ready to run, with weights that `seed` decides."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.initialization import no_init_weights

    config = LlamaConfig(
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.groups,
        intermediate_size=shape.inner,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=shape.context,
        dtype=dtype,
    )
    with no_init_weights(), torch.device(device):
        network: Any = LlamaForCausalLM._from_config(config, attn_implementation="sdpa")
    network.tie_weights()
    drawn = torch.randn(_DRAWN, generator=torch.Generator().manual_seed(seed)).to(device, dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0)
            else:
                _fill(parameter, drawn, parameter.shape[1] ** -0.5)
    return network.eval().requires_grad_(False)


def _fill(matrix: torch.Tensor, drawn: torch.Tensor, scale: float) -> None:
    """Write the drawn numbers, scaled, over and over: drawing billions would take longer than running them."""
    flat, scaled = matrix.view(-1), drawn * scale
    for start in range(0, len(flat), len(scaled)):
        part = flat[start : start + len(scaled)]
        part.copy_(scaled[: len(part)])

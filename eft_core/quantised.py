"""Weight-only quantisation: the layers' matrices in 8 or 4 bits, everything else as it was.

On a CPU int8 is torch's own kernel, one scale an output channel: a quarter of the bytes that a pass must read, which is
nearly all that a few rows wait for. The kernel is fast in bfloat16 alone (in float32 it is a plain loop), so few rows
go through it rounded, and many are multiplied with pieces of the matrix that are turned back. On a GPU 8 and 4 bits are
bitsandbytes', which is optional. Embeddings and the head keep their format. n rows, I inputs, O outputs.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEVELS = 127
_PACKED_ROWS = 32  # from here on the kernel is slower than the product with pieces
_STRIDE = 32  # the kernel reads so many inputs at once, past the end of the matrix where they do not come out even
_PIECE = 1 << 20  # numbers of a piece, so that it stays in the processor's cache


class Int8Linear(nn.Linear):
    """x W^T + b with W as 8-bit integers (O, I) and a scale for each output (O,). A Linear, so that adapters fit."""

    def __init__(self, weight: Tensor, bias: nn.Parameter | None, kernel: bool = True) -> None:
        """Of a matrix (O, I) and its bias (O,). Without `kernel`, all rows are multiplied with pieces."""
        nn.Module.__init__(self)  # Linear's own would make a second matrix
        self.out_features, self.in_features = weight.shape
        integers, scales = int8(weight)
        self.weight = nn.Parameter(integers, requires_grad=False)
        self.bias = bias  # type: ignore[assignment]
        self.register_buffer("scales", scales)
        self.scales: Tensor
        self.packed_rows = _PACKED_ROWS if kernel and self.in_features % _STRIDE == 0 else 0

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, self.in_features)
        few = len(flat) <= self.packed_rows
        y = (self._packed(flat) if few else self._in_pieces(flat)).view(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias

    def _packed(self, x: Tensor) -> Tensor:
        return torch._weight_int8pack_mm(x.bfloat16(), self.weight, self.scales).to(x.dtype)

    def _in_pieces(self, x: Tensor) -> Tensor:
        y, step = x.new_empty(len(x), self.out_features), max(1, _PIECE // self.in_features)
        for start in range(0, self.out_features, step):
            part = slice(start, start + step)
            y[:, part] = F.linear(x, self.weight[part].to(x.dtype)).mul_(self.scales[part])
        return y

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, int8"


def int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Integers (O, I) and scales (O,) in bfloat16: weight = integers * scales, as nearly as 8 bits allow."""
    # Rounded before it is used, the scale's own rounding costs nothing.
    scales = (weight.abs().amax(1).float() / _LEVELS).clamp_min(torch.finfo(torch.bfloat16).tiny).bfloat16()
    integers = (weight / scales[:, None]).round_().clamp_(-_LEVELS, _LEVELS).to(torch.int8)
    return integers.contiguous(), scales


def quantise(network: nn.Module, kind: str, device: str = "cpu") -> nn.Module:
    """The network, read on the CPU, with its layers' matrices in `kind`, "int8" or "int4", and all on the device.

    One matrix after the other is replaced, so that memory never doubles and a device never holds the whole. ValueError
    where the device or its packages cannot, or where there is no such matrix.
    """
    if kind not in ("int8", "int4"):
        raise ValueError(f"quantise = {kind!r} is not known: use none, int8 or int4.")
    where = torch.device(device)
    if where.type == "cpu" and kind == "int4":
        raise ValueError("int4 weights need a GPU: set EFT_QUANTISE=int8 on a CPU.")
    if where.type == "cpu":
        kernel = has_kernel()
        return replaced(network, kind, lambda weight, bias: Int8Linear(weight, bias, kernel))
    return replaced(network, kind, lambda weight, bias: bitsandbytes(weight, bias, kind, where)).to(where)


def is_quantised(network: nn.Module) -> bool:
    """Whether its matrices were quantised, so that rounding explains what bfloat16's does."""
    return getattr(network, "_eft_quantised", False)


def replaced(network: Any, kind: str, made: Callable[[Tensor, nn.Parameter | None], nn.Module]) -> nn.Module:
    """The network with every matrix of its layers replaced by what is `made` of it (O, I) and its bias (O,)."""
    head, count = network.get_output_embeddings(), 0
    # Parents alone, and children one by one: whoever held the matrices would keep them until the end.
    for parent in [module for module in network.modules() if _matrix(module) is None]:
        for name in [name for name, _ in parent.named_children()]:
            weight = None if getattr(parent, name) is head else _matrix(getattr(parent, name))
            if weight is not None:
                setattr(parent, name, made(weight, getattr(parent, name).bias))
                count += 1
    if not count:
        raise ValueError(f"{type(network).__name__} has no matrices that can be {kind}: set EFT_QUANTISE=none.")
    network._eft_quantised = True
    return network


@lru_cache(maxsize=1)
def has_kernel() -> bool:
    """Whether this build of torch has the kernel, which is not part of its public interface."""
    x, weight = torch.ones(1, 32, dtype=torch.bfloat16), torch.ones(32, 32, dtype=torch.int8)
    try:
        return bool((torch._weight_int8pack_mm(x, weight, x[0]) == 32).all())
    except (AttributeError, RuntimeError, NotImplementedError, TypeError):
        return False


def _matrix(module: nn.Module) -> Tensor | None:
    """The matrix (O, I) of a linear layer, however it lies; None for anything else, and for one in integers."""
    from transformers.pytorch_utils import Conv1D

    if not isinstance(module, nn.Linear | Conv1D) or not module.weight.is_floating_point():
        return None
    return module.weight.data.t() if isinstance(module, Conv1D) else module.weight.data


def bitsandbytes(weight: Tensor, bias: nn.Parameter | None, kind: str, device: torch.device) -> nn.Module:
    """bitsandbytes' layer on a device: LLM.int8, or NF4 with products in the weight's format."""
    try:
        import bitsandbytes as library
    except ImportError as error:
        raise ValueError(
            f"{kind} weights on a GPU need a package: pip install bitsandbytes==0.50.2, or set EFT_QUANTISE=none."
        ) from error
    outputs, inputs = weight.shape
    layer: Any
    with torch.device("meta"):  # the layer's own matrix is never used
        if kind == "int4":
            layer = library.nn.Linear4bit(inputs, outputs, bias=False, quant_type="nf4", compute_dtype=weight.dtype)
        else:
            layer = library.nn.Linear8bitLt(inputs, outputs, bias=False, has_fp16_weights=False, threshold=6.0)
    held = library.nn.Params4bit if kind == "int4" else library.nn.Int8Params
    known: dict[str, Any] = {"quant_type": "nf4"} if kind == "int4" else {"has_fp16_weights": False}
    layer.weight = held(weight.contiguous(), requires_grad=False, **known)
    layer.bias = bias
    return layer.to(device).requires_grad_(False)

"""Random numbers by counting: Philox4x32-10 (Salmon et al. 2011), the same on every device.

A number is a function of (seed, sample, position, token) and of nothing else, so a row's text does not depend on its
neighbours, on the batch or on arrival time, and columns of one seed share their noise (SPEED.md 2.4).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

# The last word of the counter: what the number is for, so that later uses never meet the same one.
DRAW = 0


def philox(counter: Sequence[Tensor], key: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four 32-bit words from a counter of four and a key of two; int64 tensors that broadcast together."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        high0, low0 = _multiply(c0, _MULTIPLIERS[0])
        high1, low1 = _multiply(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _KEY_STEPS[0]) & _WORD, (k1 + _KEY_STEPS[1]) & _WORD
    return c0, c1, c2, c3


def _multiply(word: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of word * factor. int64 wraps, which keeps all 64 bits of the product."""
    product = word * factor
    return (product >> 32) & _WORD, product & _WORD


def uniform(
    streams: Sequence[tuple[int, int, int]], tokens: int, device: torch.device | str = "cpu", purpose: int = DRAW
) -> Tensor:
    """Uniform numbers in (0, 1), never 0 or 1: (len(streams), tokens) float64. A stream is (seed, sample, position)."""
    words = [(seed & _WORD, seed >> 32, sample, position) for seed, sample, position in streams]
    low, high, sample, position = torch.tensor(words, device=device).unsqueeze(-1).unbind(1)  # (B, 1) each
    block = torch.arange((tokens + 3) // 4, device=device)[None]  # (1, blocks)
    last = torch.full_like(block[:, :1], purpose)
    bits = torch.stack(philox((block, position, sample, last), (low, high)), -1)  # (B, blocks, 4)
    return (bits.flatten(1)[:, :tokens].double() + 0.5) * 2.0**-32


def gumbel(
    streams: Sequence[tuple[int, int, int]], tokens: int, device: torch.device | str = "cpu", purpose: int = DRAW
) -> Tensor:
    """Standard Gumbel noise, (len(streams), tokens) float32: argmax(logprobs + noise) is a draw from them."""
    return uniform(streams, tokens, device, purpose).log_().neg_().log_().neg_().float()

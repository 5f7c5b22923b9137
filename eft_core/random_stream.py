"""Random numbers by counting: Philox4x32-10 (Salmon et al. 2011), the same on every device.

A number is a function of (seed, sample, position, token) and of nothing else, so a row's text does not depend on its
neighbours, on the batch or on arrival time, and columns of one seed share their noise (SPEED.md 2.4).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

# The last word of the counter: what the number is for, so that later uses never meet the same one.
DRAW = 0
SPECULATE = 1


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


class Stretches:
    """Random numbers of rows by position, made for a stretch of positions at once: the same numbers, fewer calls.

    A call of Philox costs the same for one position as for a few. `make` is `uniform` or `gumbel` of a purpose.
    """

    def __init__(
        self, make: Callable[[list[tuple[int, int, int]]], Tensor], width: int, rows: int, longest: int = 16
    ) -> None:
        self._make, self._width = make, width
        self._length = max(1, min(longest, (1 << 20) // (width * max(rows, 1))))
        self._made: dict[tuple[int, int, int], Tensor] = {}  # (seed, sample, stretch) -> (length, width)

    def at(self, streams: Sequence[tuple[int, int]], positions: Sequence[int], count: int = 1) -> Tensor:
        """Numbers of `count` positions from each row's own: (rows, count, width); one row if all rows are alike."""
        rows = list(zip(streams, positions, strict=True))
        unique = list(dict.fromkeys(rows))
        self._fit(len(unique))
        wanted = {(*stream, part) for stream, at in unique for part in self._parts(at, count)}
        self._fill(wanted)
        made = {row: self._slice(*row, count) for row in unique}
        if len(unique) == 1:
            return made[unique[0]][None]
        return torch.stack([made[row] for row in rows])

    def _fit(self, rows: int) -> None:
        """Shorter stretches, where many more rows have come than there were at first."""
        length = max(1, min(self._length, (1 << 22) // (self._width * max(rows, 1))))
        if length < self._length:
            self._length = length
            self._made.clear()

    def _parts(self, position: int, count: int) -> range:
        return range(position // self._length, (position + count - 1) // self._length + 1)

    def _fill(self, wanted: set[tuple[int, int, int]]) -> None:
        """Make what is missing in one call, and forget what nobody wants any more."""
        missing = sorted(wanted - self._made.keys())
        self._made = {key: value for key, value in self._made.items() if key in wanted}
        if missing:
            length = self._length
            places = [(seed, sample, part * length + i) for seed, sample, part in missing for i in range(length)]
            self._made |= dict(zip(missing, self._make(places).split(length), strict=True))

    def _slice(self, stream: tuple[int, int], position: int, count: int) -> Tensor:
        parts = self._parts(position, count)
        first = self._made[(*stream, parts[0])]
        whole = first if len(parts) == 1 else torch.cat([self._made[(*stream, part)] for part in parts])
        start = position - parts[0] * self._length
        return whole[start : start + count]

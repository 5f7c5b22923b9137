"""How a token is drawn from the combined distribution: temperature, then top-k, then top-p, then Gumbel-max.

The noise belongs to (seed, sample, position, token) (`random_stream`), so the same policy draws the same text in any
batch. B rows, V vocabulary; one more dimension in between where several places of a row are drawn at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eft_core.config import Sampling
from eft_core.distributions import nucleus
from eft_core.random_stream import Stretches, gumbel


@dataclass(frozen=True, slots=True)
class Draws:
    """Sampling settings of B rows. `sampled` are the rows that are not greedy; the tensors belong to these rows only.

    temperature: (sampled,) float32. top_k: (sampled,), or None when no row has one. top_p: (narrow,) float32 of those
    sampled rows that have one, and `narrow` their places, None where that is all of them or nobody.
    """

    settings: tuple[tuple[Sampling, int], ...]
    sampled: tuple[int, ...]
    index: Tensor
    temperature: Tensor
    top_p: Tensor | None
    narrow: Tensor | None
    top_k: Tensor | None
    most: int

    @classmethod
    def of(cls, settings: Sequence[tuple[Sampling, int]], device: torch.device | str = "cpu") -> "Draws":
        """From (sampling, sample number) of every row."""
        sampled = tuple(row for row, (sampling, _) in enumerate(settings) if sampling.temperature > 0)
        chosen = [settings[row][0] for row in sampled]
        top_p = {place: each.top_p for place, each in enumerate(chosen) if each.top_p is not None and each.top_p < 1}
        top_k = [sampling.top_k or 0 for sampling in chosen]  # 0: no limit
        return cls(
            settings=tuple(settings),
            sampled=sampled,
            index=torch.tensor(sampled, dtype=torch.long, device=device),
            temperature=torch.tensor([sampling.temperature for sampling in chosen], device=device),
            top_p=torch.tensor(list(top_p.values()), device=device) if top_p else None,
            narrow=torch.tensor(list(top_p), device=device) if 0 < len(top_p) < len(chosen) else None,
            top_k=torch.tensor(top_k, device=device) if any(top_k) else None,
            most=max(top_k, default=0),
        )

    @property
    def unchanged(self) -> bool:
        """Whether all sampled rows have temperature 1."""
        return all(self.settings[row][0].temperature == 1.0 for row in self.sampled)

    @property
    def streams(self) -> list[tuple[int, int]]:
        """(seed, sample) of the sampled rows."""
        return [(self.settings[row][0].seed, self.settings[row][1]) for row in self.sampled]

    def select(self, rows: Sequence[int]) -> "Draws":
        """The settings of a part of the rows, in the order given."""
        return Draws.of([self.settings[row] for row in rows], self.temperature.device)

    def part(self, values: Tensor) -> Tensor:
        """The sampled rows of (B, ...)."""
        return values if len(self.sampled) == len(self.settings) else values[self.index]


class Noise:
    """Gumbel noise (V numbers a position) of the rows of a request, by their streams."""

    def __init__(self, rows: int, size: int, device: torch.device | str = "cpu") -> None:
        self._stretches = Stretches(lambda places: gumbel(places, size, device), size, rows)

    def at(self, draws: Draws, positions: Sequence[int], count: int = 1) -> Tensor:
        """Noise of the sampled rows at `count` positions from positions[b] of all rows: (sampled or 1, count, V)."""
        return self._stretches.at(draws.streams, [positions[row] for row in draws.sampled], count)


def draw(logprobs: Tensor, draws: Draws, noise: Tensor | None = None) -> Tensor:
    """One token a place: (B, ..., V) log-probabilities -> (B, ...) ids. `noise`: (sampled or 1, ..., V).

    A greedy row takes the most probable token, the lowest id among equals.
    """
    if noise is None or not draws.sampled:
        return logprobs.argmax(-1)
    tokens = (warp(draws.part(logprobs), draws) + noise).argmax(-1)
    if len(draws.sampled) == logprobs.shape[0]:
        return tokens
    return logprobs.argmax(-1).index_copy(0, draws.index, tokens)


def warp(logprobs: Tensor, draws: Draws) -> Tensor:
    """The sampled rows' scores (sampled, ..., V) after temperature, top-k and top-p; tokens cut off become -inf."""
    scores = logprobs if draws.unchanged else logprobs / _beside(draws.temperature, logprobs)
    if draws.top_k is not None:
        scores = _keep_top_k(scores, _beside(draws.top_k, scores), draws.most)
    if draws.top_p is None:
        return scores
    part = (scores if draws.narrow is None else scores[draws.narrow]).log_softmax(-1)
    part = part.masked_fill(~nucleus(part, draws.top_p), -torch.inf)
    return part if draws.narrow is None else scores.index_copy(0, draws.narrow, part)


def _beside(settings: Tensor, values: Tensor) -> Tensor:
    """(rows,) settings in a shape that goes with (rows, ..., V)."""
    return settings.view(-1, *[1] * (values.dim() - 1))


def _keep_top_k(scores: Tensor, top_k: Tensor, most: int) -> Tensor:
    """-inf below each row's k-th score; ties with it stay, and k = 0 keeps all."""
    best = scores.topk(min(most, scores.shape[-1]), -1).values
    place = (top_k - 1).clamp(0, best.shape[-1] - 1).expand(*best.shape[:-1], 1)
    return scores.masked_fill((scores < best.gather(-1, place)) & (top_k > 0), -torch.inf)

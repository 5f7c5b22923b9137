"""How a token is drawn from the combined distribution: temperature, then top-k, then top-p, then Gumbel-max.

The noise belongs to (seed, sample, position, token) (`random_stream`), so the same policy draws the same text in any
batch. B rows, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eft_core.config import Sampling
from eft_core.distributions import nucleus
from eft_core.random_stream import gumbel


@dataclass(frozen=True, slots=True)
class Draws:
    """Sampling settings of B rows. `sampled` are the rows that are not greedy; the tensors belong to these rows only.

    temperature, top_p: (sampled,) float32. top_k: the settings on the host, or None when no row has one.
    """

    settings: tuple[tuple[Sampling, int], ...]
    sampled: tuple[int, ...]
    index: Tensor
    temperature: Tensor
    top_p: Tensor | None
    top_k: Tensor | None
    most: int

    @classmethod
    def of(cls, settings: Sequence[tuple[Sampling, int]], device: torch.device | str = "cpu") -> "Draws":
        """From (sampling, sample number) of every row."""
        sampled = tuple(row for row, (sampling, _) in enumerate(settings) if sampling.temperature > 0)
        chosen = [settings[row][0] for row in sampled]
        top_p = [1.0 if sampling.top_p is None else sampling.top_p for sampling in chosen]
        top_k = [sampling.top_k or 0 for sampling in chosen]  # 0: no limit
        return cls(
            settings=tuple(settings),
            sampled=sampled,
            index=torch.tensor(sampled, dtype=torch.long, device=device),
            temperature=torch.tensor([sampling.temperature for sampling in chosen], device=device),
            top_p=torch.tensor(top_p, device=device) if any(p < 1 for p in top_p) else None,
            top_k=torch.tensor(top_k, device=device) if any(top_k) else None,
            most=max(top_k, default=0),
        )

    def select(self, rows: Sequence[int]) -> "Draws":
        """The settings of a part of the rows, in the order given."""
        return Draws.of([self.settings[row] for row in rows], self.temperature.device)


def draw(logprobs: Tensor, draws: Draws, positions: Sequence[int]) -> Tensor:
    """One token a row: (B, V) log-probabilities -> (B,) ids. `positions` count each row's answer tokens from 0.

    A greedy row takes the most probable token, the lowest id among equals.
    """
    tokens = logprobs.argmax(-1)
    if draws.sampled:
        every = len(draws.sampled) == logprobs.shape[0]
        scores = warp(logprobs if every else logprobs[draws.index], draws)
        noise = _noise(draws, positions, scores.shape[-1], scores.device)
        tokens = tokens.index_copy(0, draws.index, (scores + noise).argmax(-1))
    return tokens


def warp(logprobs: Tensor, draws: Draws) -> Tensor:
    """The sampled rows' scores (sampled, V) after temperature, top-k and top-p; tokens cut off become -inf."""
    scores = logprobs / draws.temperature[:, None]
    if draws.top_k is not None:
        scores = _keep_top_k(scores, draws.top_k, draws.most)
    if draws.top_p is not None:
        scores = scores.log_softmax(-1)
        scores = scores.masked_fill(~nucleus(scores, draws.top_p), -torch.inf)
    return scores


def _keep_top_k(scores: Tensor, top_k: Tensor, most: int) -> Tensor:
    """-inf below each row's k-th score; ties with it stay, and k = 0 keeps all."""
    best = scores.topk(min(most, scores.shape[-1]), -1).values
    last = best.gather(-1, (top_k[:, None] - 1).clamp(0, best.shape[-1] - 1))
    return scores.masked_fill((scores < last) & (top_k > 0)[:, None], -torch.inf)


def _noise(draws: Draws, positions: Sequence[int], size: int, device: torch.device) -> Tensor:
    """(sampled, V) noise; rows with one stream, such as the columns of a comparison, compute it once."""
    streams = [(draws.settings[row][0].seed, draws.settings[row][1], positions[row]) for row in draws.sampled]
    unique = {stream: number for number, stream in enumerate(dict.fromkeys(streams))}
    noise = gumbel(list(unique), size, device)
    if len(unique) == 1:
        return noise
    return noise[torch.tensor([unique[stream] for stream in streams], device=device)]

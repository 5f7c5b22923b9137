"""Models that run in full and then say what is wanted: drafts of random weights accepted as often as measured ones.

Random weights agree on nothing, so speculation on them would measure the worst case alone. Here each member's real
forward runs, on its real shape, and one of its logits is overwritten: the draft and the target then agree at a given
share of positions, the same for every method. All the rest (drawing, combining, verifying, rolling back) is as ever.
B rows, T new tokens, V vocabulary.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from eft_core.kv_cache import Places, RaggedCache
from eft_core.model import Model
from eft_core.policy import Member, Policy

# Far above what random weights give, and so far apart that the large base's word stands against the tuned model's.
_DRAFTED, _REFUSED = 100.0, 300.0
_STRETCH = 20


class Forced:
    """A model whose likeliest token at a position is `tokens[position]` (-1: left as it is); otherwise the model."""

    def __init__(self, model: Model, tokens: Tensor, value: float) -> None:
        self._model, self._value = model, value
        self._ids = tokens.clamp(min=0).to(model.device)
        self._spoken = (tokens >= 0).to(model.device)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def forward(self, ids: Tensor, where: Places, cache: RaggedCache, last_only: bool = False) -> Tensor:
        """`Model.forward`, (B, T, V) or (B, 1, V), with one logit of each position overwritten."""
        logits = self._model.forward(ids, where, cache, last_only)
        positions = where.positions[:, -1:] if last_only else where.positions
        index = self._ids[positions][..., None]
        spoken = self._spoken[positions][..., None]
        return logits.scatter_(-1, index, torch.where(spoken, self._value, logits.gather(-1, index)))


def forced(
    models: Mapping[Member, Model], policy: Policy, acceptance: float, positions: int, seed: int = 0
) -> dict[Member, Model]:
    """The models of an up-scaled policy, such that its small policy's drafts are accepted at this share of `positions`
    positions, at random places. ValueError for a share that is none."""
    if not 0 <= acceptance <= 1:
        raise ValueError(f"acceptance {acceptance:g} must be between 0 and 1, such as 0.9.")
    assert policy.finetune is not None, "an up-scaled policy has a fine-tuned size"
    width = models[Member(policy.pretrain)].width
    generator = torch.Generator().manual_seed(seed)
    drafts = torch.randint(width, (positions,), generator=generator)
    refused = _refused(1 - acceptance, positions, generator)
    tuned, large = Member(policy.finetune, policy.pairs[0][0]), Member(policy.pretrain)
    others = torch.where(refused, (drafts + 1) % width, -1)
    made: dict[Member, Any] = dict(models)
    made[tuned] = Forced(models[tuned], drafts, _DRAFTED)
    made[large] = Forced(models[large], others, _REFUSED)
    return made


def _refused(share: float, positions: int, generator: torch.Generator) -> Tensor:
    """(positions,) bool: in every stretch of `_STRETCH` places nearly this share, so that short runs have it too."""
    found = torch.zeros(positions, dtype=torch.bool)
    for start in range(0, positions, _STRETCH):
        count = math.floor((start + _STRETCH) * share + 1e-9) - math.floor(start * share + 1e-9)
        places = start + torch.randperm(_STRETCH, generator=generator)[:count]
        found[places[places < positions]] = True
    return found

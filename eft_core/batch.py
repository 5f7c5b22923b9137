"""The running rows of a request on all their members: prefill once, run each member on just its rows, let rows go.

A member that several rows need runs once a step, on a batch of those rows; members with the same rows share ids,
positions and mask. Both decoding loops stand on this. B running rows, M members, T new tokens, V vocabulary.
"""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from eft_core.kv_cache import Places, RaggedCache, places, without
from eft_core.model import Model
from eft_core.policy import Member

# Tokens of one prefill pass: bounds the memory of activations and keeps the first token near.
_CHUNK = 512


class Lane:
    """Members that run the same rows, in one order; the order changes when rows leave."""

    def __init__(self, rows: tuple[int, ...], caches: dict[Member, RaggedCache]) -> None:
        self.rows, self.caches = list(rows), caches
        self.index: Tensor | None = None  # places of these rows in the batch; None: all of them, in order


class Batch:
    """Rows 0 to R - 1 of a request. `rows` are those still running, in the order of every (B, ...) tensor here.

    Making it runs every member over every distinct prompt, except the prompt's last token: that is the first
    token that a step feeds, so the first step is like all others.
    """

    def __init__(
        self,
        prompts: Sequence[tuple[int, ...]],
        needs: Sequence[Collection[Member]],
        models: Mapping[Member, Model],
        capacity: int,
    ) -> None:
        self.rows = list(range(len(prompts)))
        self.members = tuple(sorted(set().union(*needs), key=str))
        self.models, self.capacity = models, capacity
        first = models[self.members[0]]
        self.device, self.width = first.device, first.width
        self._dtypes = {member: models[member].dtype for member in self.members}
        users = {member: tuple(row for row in self.rows if member in needs[row]) for member in self.members}
        self.lanes = [
            Lane(rows, {member: self._prefilled(member, [prompts[row] for row in rows]) for member in sharing})
            for rows, sharing in _by_rows(users).items()
        ]
        self._index()

    @torch.inference_mode()
    def _prefilled(self, member: Member, prompts: list[tuple[int, ...]]) -> RaggedCache:
        """A member's cache after all its rows' prompts but their last tokens; each distinct prompt is run once."""
        model = self.models[member]
        distinct = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
        cache = model.cache(len(distinct), self.capacity)
        longest = max(len(prompt) for prompt in distinct) - 1
        # Shorter prompts are padded behind their end; what that writes is hidden and overwritten.
        padded = [list(prompt[:-1]) + [0] * (longest - len(prompt) + 1) for prompt in distinct]
        ids = torch.tensor(padded, dtype=torch.long, device=model.device)
        step = max(16, _CHUNK // len(distinct))
        for start in range(0, longest, step):
            end = min(start + step, longest)
            positions = torch.arange(start, end, device=model.device).expand(len(distinct), -1)
            where = places(positions, end - 1, model.dtype, self.capacity)
            model.forward(ids[:, start:end], where, cache, last_only=True)
        if len(distinct) < len(prompts):
            cache.copy_rows(torch.tensor([distinct[prompt] for prompt in prompts], device=model.device))
        return cache

    def _index(self) -> None:
        """Point every lane at its rows' places in the batch."""
        place = {row: number for number, row in enumerate(self.rows)}
        for lane in self.lanes:
            index = [place[row] for row in lane.rows]
            whole = index == list(range(len(self.rows)))
            lane.index = None if whole else torch.tensor(index, device=self.device)

    def forward(self, ids: Tensor, positions: Tensor, longest: int) -> Tensor:
        """Run the new tokens of all rows on all members: ids and positions (B, T) -> logits (M, B, T, V).

        `longest` is the largest position, known to the host. Entries of rows that do not need a member are not
        written and may hold anything. Running a row again from an earlier position rolls it back.
        """
        return torch.stack(self.run(ids, self.places(positions, longest)))

    @torch.inference_mode()
    def places(
        self,
        positions: Tensor,
        longest: int,
        others: Sequence[Lane] = (),
        made: Sequence[dict[torch.dtype, Places]] = (),
        skipped: Collection[Lane] = (),
    ) -> list[dict[torch.dtype, Places]]:
        """Where new tokens at `positions` (B, T) go: for every lane, and there for every number format.

        `made` are those of `others`, lanes of a batch with the same rows; what fits is taken from them. Lanes that
        will be `skipped` get none.
        """
        known = {
            (tuple(lane.rows), dtype): each
            for lane, formats in zip(others, made, strict=True)
            for dtype, each in formats.items()
        }
        found = []
        for lane in self.lanes:
            rows, there = tuple(lane.rows), positions if lane.index is None else positions[lane.index]
            formats = set() if lane in skipped else {self._dtypes[member] for member in lane.caches}
            found.append(
                {each: known.get((rows, each)) or places(there, longest, each, self.capacity) for each in formats}
            )
        return found

    @torch.inference_mode()
    def run(
        self,
        ids: Tensor,
        where: list[dict[torch.dtype, Places]],
        place: int | None = None,
        skipped: Collection[Lane] = (),
    ) -> list[Tensor]:
        """`forward` at places made before, not stacked: M logits of (B, T, V). `place`: just that one of the places,
        ids (B, 1). Members of `skipped` lanes are not run."""
        found: dict[Member, Tensor] = {}
        for lane, formats in zip(self.lanes, where, strict=True):
            if lane in skipped:
                continue
            here = formats if place is None else {dtype: each.part(place) for dtype, each in formats.items()}
            lane_ids = ids if lane.index is None else ids[lane.index]
            for member, cache in lane.caches.items():
                result = self.models[member].forward(lane_ids, here[self._dtypes[member]], cache).float()
                found[member] = (
                    result if lane.index is None else self._unwritten(ids).index_copy_(0, lane.index, result)
                )
        return [found[member] if member in found else self._unwritten(ids) for member in self.members]

    def _unwritten(self, ids: Tensor) -> Tensor:
        """One member's logits (B, T, V), not yet written."""
        return torch.empty((*ids.shape, self.width), dtype=torch.float32, device=self.device)

    @torch.inference_mode()
    def remove(self, rows: set[int]) -> list[int]:
        """Let rows go; they stop costing. Returns the remaining rows' old places in the batch."""
        kept = [place for place, row in enumerate(self.rows) if row not in rows]
        self.rows = [self.rows[place] for place in kept]
        for lane in self.lanes:
            if not rows.isdisjoint(lane.rows):
                order = without(lane.rows, rows)
                lane.rows = [lane.rows[place] for place in order]
                for cache in lane.caches.values():
                    cache.keep(order)
        self.lanes = [lane for lane in self.lanes if lane.rows]
        self._index()
        return kept

    def free(self) -> None:
        """Let go of all caches."""
        for lane in self.lanes:
            for cache in lane.caches.values():
                cache.free()
        self.lanes, self.rows = [], []


def _by_rows(users: Mapping[Member, tuple[int, ...]]) -> dict[tuple[int, ...], list[Member]]:
    """Members grouped by the rows they run."""
    groups: dict[tuple[int, ...], list[Member]] = {}
    for member, rows in users.items():
        groups.setdefault(rows, []).append(member)
    return groups

"""The running rows on all their members: prefill once, run each member on just its rows, let rows go.

A member that several rows need runs once a step, on a batch of those rows; members with the same rows share ids,
positions and mask. Both decoding loops stand on this. B running rows, M members, T new tokens, V vocabulary.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from eft_core.kv_cache import Places, RaggedCache, places, without
from eft_core.lane import Format, Lane, Shift, by_rows, shifts_of
from eft_core.model import Model
from eft_core.policy import Member

# Tokens of one prefill pass: bounds the memory of activations and keeps the first token near.
_CHUNK = 512


class Batch:
    """Running rows, 0 to R - 1 if they have no other `numbers`, in the order of every (B, ...) tensor here.

    Making it runs every member over every distinct prompt, except the prompt's last token: that is the first
    token that a step feeds, so the first step is like all others. With `read` False that is left to `reading`, in
    bounded pieces; then the batch may `merge` into one that runs. `own` are prompts that some members see in a row's
    stead (another prompt format); positions are the row's all the same, and shifted here.
    """

    def __init__(
        self,
        prompts: Sequence[tuple[int, ...]],
        needs: Sequence[Collection[Member]],
        models: Mapping[Member, Model],
        capacity: int,
        own: Sequence[Mapping[Member, tuple[int, ...]]] = (),
        numbers: Sequence[int] = (),
        read: bool = True,
    ) -> None:
        self.rows = list(numbers or range(len(prompts)))
        self.members = tuple(sorted(set().union(*needs), key=str))
        self.models = models
        first = models[self.members[0]]
        self.device, self.width = first.device, first.width
        self._formats: dict[Member, Format] = {m: (models[m].dtype, models[m].device) for m in self.members}
        seen = {m: [each.get(m, p) for p, each in zip(prompts, own or [{}] * len(prompts), strict=True)]
                for m in self.members}  # fmt: skip
        users: dict[Member, tuple[tuple[int, ...], tuple[Shift, ...]]] = {}
        asked: dict[Member, list[tuple[int, ...]]] = {}
        for member in self.members:
            places = [place for place in range(len(prompts)) if member in needs[place]]
            asked[member] = [seen[member][place] for place in places]
            shifts = shifts_of([prompts[place] for place in places], asked[member])
            users[member] = tuple(self.rows[place] for place in places), shifts
        self.capacity = capacity + max(0, *(shift[0] for _, shifts in users.values() for shift in shifts), 0)
        self.lanes = [
            Lane(rows, shifts, {member: self._cache(member, asked[member]) for member in sharing})
            for (rows, shifts), sharing in by_rows(users).items()
        ]
        self._unread = asked
        self._index()
        if read:
            for _ in self.reading():
                pass

    def _cache(self, member: Member, prompts: Sequence[tuple[int, ...]]) -> RaggedCache:
        return self.models[member].cache(len(set(prompts)), self.capacity)

    def reading(self) -> Iterator[None]:
        """Run the members over the prompts; gives way after every piece."""
        for lane in self.lanes:
            for member, cache in lane.caches.items():
                yield from self._prefill(self.models[member], self._unread[member], cache)
        self._unread = {}

    def _prefill(self, model: Model, prompts: Sequence[tuple[int, ...]], cache: RaggedCache) -> Iterator[None]:
        """A member over all its rows' prompts but their last tokens; each distinct prompt is run once."""
        distinct = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
        longest = max(len(prompt) for prompt in distinct) - 1
        # Shorter prompts are padded behind their end; what that writes is hidden and overwritten.
        padded = [list(prompt[:-1]) + [0] * (longest - len(prompt) + 1) for prompt in distinct]
        ids = torch.tensor(padded, dtype=torch.long, device=model.device)
        step = max(16, _CHUNK // len(distinct))
        for start in range(0, longest, step):
            end = min(start + step, longest)
            with torch.inference_mode():
                positions = torch.arange(start, end, device=model.device).expand(len(distinct), -1)
                where = places(positions, end - 1, model.dtype, self.capacity)
                model.forward(ids[:, start:end], where, cache, last_only=True)
            yield
        if len(distinct) < len(prompts):
            with torch.inference_mode():
                cache.copy_rows(torch.tensor([distinct[prompt] for prompt in prompts], device=model.device))

    @torch.inference_mode()
    def merge(self, other: "Batch") -> None:
        """The rows of another batch, whose prompts are read, join behind these; the other is empty then."""
        self.rows = [*self.rows, *other.rows]
        self.models = {**self.models, **other.models}
        self._formats |= other._formats
        self.capacity = max(self.capacity, other.capacity)
        found: dict[Member, tuple[tuple[int, ...], tuple[Shift, ...], RaggedCache]] = {}
        for lane in (*self.lanes, *other.lanes):
            for member, cache in lane.caches.items():
                known = found.get(member)
                if known is not None:
                    known[2].append(cache)
                found[member] = lane.joined(*known) if known else (tuple(lane.rows), lane.shifted, cache)
        self.reserve(self.capacity, [cache for _, _, cache in found.values()])
        self.members = tuple(sorted(found, key=str))
        users = {member: found[member][:2] for member in self.members}
        self.lanes = [
            Lane(rows, shifts, {member: found[member][2] for member in sharing})
            for (rows, shifts), sharing in by_rows(users).items()
        ]
        self._index()
        other.lanes, other.rows = [], []

    def reserve(self, capacity: int, caches: Sequence[RaggedCache] = ()) -> None:
        """Room for positions up to `capacity` in these caches, or in all."""
        self.capacity = max(self.capacity, capacity)
        for cache in caches or [each for lane in self.lanes for each in lane.caches.values()]:
            cache.reserve(self.capacity)

    def beside(self, before: Sequence[int] = (), behind: Sequence[int] = ()) -> "Batch":
        """The same batch with more rows, which need no member here."""
        self.rows = [*before, *self.rows, *behind]
        self._index()
        return self

    def size(self, device: str) -> int:
        """Bytes that the rows' keys and values take on a device now."""
        caches = (each for lane in self.lanes for each in lane.caches.items())
        return sum(cache.size for member, cache in caches if str(self.models[member].device) == device)

    def _index(self) -> None:
        """Point every lane at its rows' places in the batch."""
        place = {row: number for number, row in enumerate(self.rows)}
        for lane in self.lanes:
            index = [place[row] for row in lane.rows]
            whole = index == list(range(len(self.rows)))
            lane.index = None if whole else torch.tensor(index, device=self.device)
            if lane.shifts:
                three = torch.tensor([lane.shifts[row] for row in lane.rows], device=self.device)
                lane.shift, lane.last, lane.ends = three.unsqueeze(2).unbind(1)

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
        made: Sequence[dict[Format, Places]] = (),
        skipped: Collection[Lane] = (),
    ) -> list[dict[Format, Places]]:
        """Where new tokens at `positions` (B, T) go: for every lane, and there for every number format.

        `made` are those of `others`, lanes of a batch with the same rows; what fits is taken from them. Lanes that
        will be `skipped` get none.
        """
        known = {
            (tuple(lane.rows), tuple(lane.shifts.values()), form): each
            for lane, formats in zip(others, made, strict=True)
            for form, each in formats.items()
        }
        found = []
        for lane in self.lanes:
            there = positions if lane.index is None else positions[lane.index]
            if lane.shift is not None:
                there = there + lane.shift
            formats = set() if lane in skipped else {self._formats[member] for member in lane.caches}
            key = tuple(lane.rows), tuple(lane.shifts.values())
            found.append(
                {
                    form: known.get((*key, form))
                    or places(there.to(form[1]), lane.reach(longest), form[0], self.capacity)
                    for form in formats
                }
            )
        return found

    @torch.inference_mode()
    def run(
        self,
        ids: Tensor,
        where: list[dict[Format, Places]],
        place: int | None = None,
        skipped: Collection[Lane] = (),
    ) -> list[Tensor]:
        """`forward` at places made before, not stacked: M logits of (B, T, V). `place`: just that one of the places,
        ids (B, 1). Members of `skipped` lanes are not run."""
        found: dict[Member, Tensor] = {}
        for lane, formats in zip(self.lanes, where, strict=True):
            if lane in skipped:
                continue
            here = formats if place is None else {form: each.part(place) for form, each in formats.items()}
            lane_ids = ids if lane.index is None else ids[lane.index]
            for member, cache in lane.caches.items():
                form = self._formats[member]
                there = here[form]
                new = lane.begun(lane_ids, there.positions.to(self.device)).to(form[1])
                result = self.models[member].forward(new, there, cache).to(self.device, torch.float32)
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

"""Rows that speculate: they join, on caches of their drafters and of their verifiers, run side by side, and leave.

B running rows, M members, T tokens.
"""

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eft_core.batch import Batch
from eft_core.config import Speculation
from eft_core.continuation import Continuation, batch_of, freed
from eft_core.distributions import Mixture
from eft_core.draft_length import MOST, Pace
from eft_core.kv_cache import counted
from eft_core.lane import Lane
from eft_core.model import Model
from eft_core.pacing import Pacing, Tally, kind_of
from eft_core.policy import Member, Policy
from eft_core.proposals import Proposals


def _tally(row: Continuation, draft: Policy, speculation: Speculation, pace: Pace) -> Tally:
    """A row's tally, from what is known of its kind."""
    kind = pace.acceptance(kind_of(row.policy, draft, row.sampling, speculation))
    drafts, needs = set(draft.members()), set(row.policy.members())
    passes = {("draft", member) for member in drafts} | {("verify", member) for member in needs - drafts}
    extra = drafts.isdisjoint(needs)
    return Tally(row.most, frozenset(passes), "" if draft == row.policy else draft.formula(), kind.copy(), kind, extra)


@dataclass(frozen=True, slots=True)
class Newcomers:
    """Rows whose prompts are read, by their drafters and their verifiers."""

    draft: Batch
    verify: Batch | None
    rows: Mapping[int, Continuation]
    drafters: Mapping[int, Policy]


class SpeculativeRows:
    """The running rows on their drafters and verifiers, and the tensors that go from cycle to cycle. Others may join
    between cycles; the numbers of rows are the caller's.

    A member drafts for some rows and verifies others, so it has a cache in each of the two batches, with the rows
    that it serves there.
    """

    # There once rows have joined.
    draft: Batch
    proposals: Proposals
    columns: dict[int, dict[Member, int]]

    def __init__(
        self,
        end_ids: frozenset[int],
        speculation: Speculation,
        pace: Pace,
        stopped: Callable[[int, int], bool] = lambda row, token: False,
    ) -> None:
        self._ends, self._stopped, self.speculation = end_ids, stopped, speculation
        self.torn = False
        self.pacing = Pacing({}, speculation, pace)
        self.verify: Batch | None = None
        self.given: dict[int, Continuation] = {}
        self.drafters: dict[int, Policy] = {}
        self.laws: tuple[list[Tensor], Tensor] | None = None  # what the last cycle drew from: M logits, log pi
        self.tokens = self.positions = self.last = torch.empty(0)
        self.missed: list[Tensor] = []  # tokens (B,) of plain steps that the idle lanes have not seen
        self.idle: list[Lane] = []  # of drafters that plain decoding does without

    def prepare(
        self, rows: Mapping[int, Continuation], models: Mapping[Member, Model], drafters: Mapping[int, Policy]
    ) -> Generator[None, None, "Newcomers"]:
        """Read the prompts of new rows, giving way after every piece; `take_in` then lets them run with the others."""
        drafting = [drafters[number].members() for number in rows]
        verifying = [
            tuple(member for member in row.policy.members() if member not in drafts)
            for row, drafts in zip(rows.values(), drafting, strict=True)
        ]
        draft = batch_of(rows, drafting, models)
        verify = batch_of(rows, verifying, models) if any(verifying) else None
        with freed(draft, verify):
            yield from draft.reading()
            if verify is not None:
                yield from verify.reading()
        return Newcomers(draft, verify, rows, drafters)

    @torch.inference_mode()
    def take_in(self, prepared: "Newcomers") -> None:
        """Let rows run from the next cycle on."""
        self.torn = True
        draft, verify, rows, drafters = prepared.draft, prepared.verify, prepared.rows, prepared.drafters
        device = draft.device
        tokens = torch.tensor([row.prompt[-1] for row in rows.values()], device=device)
        positions = torch.tensor([len(row.prompt) - 1 for row in rows.values()], device=device)
        # Nobody reads the slot of a row's last possible token, so drafts beyond it may be written there.
        last = torch.tensor([len(row.prompt) + row.most - 1 for row in rows.values()], device=device)
        if not self.rows:
            self.draft, self.verify = draft, verify
            self.tokens, self.positions, self.last = tokens, positions, last
        else:
            self._catch_up()
            self.verify = _merged(self.verify, verify, self.rows, draft.rows)
            self.draft.merge(draft)
            if self.verify is not None:  # both read up to the longest row of all
                self.draft.reserve(self.verify.capacity)
                self.verify.reserve(self.draft.capacity)
            self.tokens, self.positions = torch.cat([self.tokens, tokens]), torch.cat([self.positions, positions])
            self.last = torch.cat([self.last, last])
            self.pacing.crowd()
        self.given |= rows
        self.drafters |= drafters
        self.pacing.tallies |= {
            number: _tally(row, drafters[number], self.speculation, self.pacing.pace) for number, row in rows.items()
        }
        self._propose(device)
        self._together()
        self.torn = False

    def _propose(self, device: torch.device) -> None:
        """What all rows that run now draft from and are verified by."""
        running = [self.given[row] for row in self.rows]
        drafters = [self.drafters[row] for row in self.rows]
        columns = self._columns()
        self.columns = dict(zip(self.rows, columns, strict=True))
        self.proposals = Proposals(
            target=Mixture.at([row.policy for row in running], columns, device),
            draft=Mixture.of(drafters, self.draft.members, device),
            settings=[(row.sampling, row.sample) for row in running],
            # A row that drafts for itself draws as plain decoding does, whatever the rule.
            weighed=[
                self.speculation.rule != "noise" and row.sampling.temperature > 0 and draft != row.policy
                for row, draft in zip(running, drafters, strict=True)
            ],
            rule=self.speculation.rule,
            longest=MOST if self.speculation.length is None else self.speculation.length,
            width=self.draft.width,
            device=device,
            before=getattr(self, "proposals", None),
        )

    def _together(self) -> None:
        """Other rows run now."""
        self.pacing.together(self.rows)
        self.idle = [lane for lane in self.draft.lanes if all(self.pacing.tallies[row].extra for row in lane.rows)]

    def _columns(self) -> list[dict[Member, int]]:
        """Where each row's members are among all logits: the drafts' members first, then the verifiers'."""
        drafts = {member: place for place, member in enumerate(self.draft.members)}
        others = self.verify.members if self.verify else ()
        verifies = {member: len(drafts) + place for place, member in enumerate(others)}
        found = []
        for row in self.rows:
            first = self.drafters[row].members()
            rest = [member for member in self.given[row].policy.members() if member not in first]
            found.append({m: drafts[m] for m in first} | {m: verifies[m] for m in rest})
        return found

    @property
    def rows(self) -> list[int]:
        return self.draft.rows if self.given else []

    def _behind(self, tokens: Sequence[Tensor], before: int) -> list[Tensor]:
        """Run the idle lanes over tokens (B,) that they have not seen, up to `before` places before the last ones.
        M logits of (B, T, V)."""
        self.missed = []
        positions = self.positions[:, None] - before + (counted(len(tokens), self.last.device) - len(tokens) + 1)
        longest = max(len(self.given[row].prompt) - 1 + self.pacing.tallies[row].count for row in self.rows)
        others = [lane for lane in self.draft.lanes if lane not in self.idle]
        return self.draft.run(torch.stack(list(tokens), 1), self.draft.places(positions, longest), skipped=others)

    def _catch_up(self) -> None:
        """Idle lanes see what they missed: rows that join have missed nothing."""
        if self.missed:
            self._behind(self.missed, 1)

    @torch.inference_mode()
    def remove(self, rows: Collection[int]) -> None:
        """Let rows go, ended or not."""
        gone = set(rows).intersection(self.rows)
        if not gone:
            return
        kept = self.draft.remove(gone)
        if self.verify is not None:
            self.verify.remove(gone)
        for row in gone:
            del self.given[row], self.drafters[row]
        index = torch.tensor(kept, dtype=torch.long, device=self.last.device)
        self.tokens, self.positions, self.last = (each[index] for each in (self.tokens, self.positions, self.last))
        self.missed = [each[index] for each in self.missed]
        self.proposals.select(kept)
        self.pacing.leave(gone)
        self._together()

    def size(self, device: str) -> int:
        """Bytes of keys and values on a device."""
        return sum(batch.size(device) for batch in (self.draft, self.verify) if batch) if self.given else 0

    def gain(self) -> float | None:
        """The rows are gone: what speculation gained by the measured costs; None where that cannot be told."""
        return self.pacing.predict()

    def free(self) -> None:
        """Let go of all rows."""
        self.laws = None
        if self.given:
            self.draft.free()
            if self.verify is not None:
                self.verify.free()
            self.given = {}


def _merged(one: Batch | None, other: Batch | None, first: Sequence[int], second: Sequence[int]) -> Batch | None:
    """The rows of both, the `first` of one and the `second` of the other; None has rows that nobody verifies."""
    if one is None:
        return other.beside(before=first) if other else None
    if other is None:
        return one.beside(behind=second)
    one.merge(other)
    return one

"""Speculative decoding on ragged rows, exact: draft, verify in one pass each, commit per row (SPEED.md 2.2 to 2.6).

A cycle of k drafts runs the drafters' members k + 1 times on one token (the last pass gives their part of the bonus
token's law and completes their cache) and every other member once on k + 1 tokens. Rows commit what they accepted;
rolling back is not advancing. k = 0 is a plain step. A row without a cheaper draft drafts for itself: what it draws
is final. B running rows, K drafted tokens, M members, V vocabulary.
"""

from collections.abc import Callable, Generator, Mapping, Sequence

import torch
from torch import Tensor

from eft_core.batch import Format
from eft_core.config import Speculation
from eft_core.continuation import Continuation, Drawn, drained, ending, to_host
from eft_core.draft_length import Pace
from eft_core.events import Fate
from eft_core.kv_cache import Places, counted
from eft_core.model import Model
from eft_core.pacing import Committed, fates
from eft_core.policy import Member, Policy
from eft_core.recorder import Laws, Recorder
from eft_core.speculative_rows import SpeculativeRows


def speculate(
    rows: Sequence[Continuation],
    drafters: Sequence[Policy],
    models: Mapping[Member, Model],
    end_ids: frozenset[int],
    speculation: Speculation,
    pace: Pace,
    stopped: Callable[[int, int], bool] = lambda row, token: False,
    recorder: Recorder | None = None,
) -> Generator[list[Drawn], None, None]:
    """Decode all rows together, as `autoregressive.decode` does, by drafts of `drafters`, one policy a row.

    Yields [] once the prompts are read and after each draft pass, so that closing works in mid-cycle, and one list of
    drawn tokens a cycle, each row's in order. A drafter that equals the row's policy drafts for itself. `models` hold
    the drafters' members too; `pace` is what earlier runs measured, and learns.
    """
    run = Speculating(end_ids, speculation, pace, stopped)
    try:
        run.take_in(drained(run.prepare(dict(enumerate(rows)), models, dict(enumerate(drafters)))))
        yield []
        while run.rows:
            drawn = yield from run.cycle()
            if recorder is not None:
                run.record(recorder, drawn)
            yield drawn
            run.remove({each.row for each in drawn if each.reason})
        pace.predicted = run.gain()
    finally:
        run.free()


class Speculating(SpeculativeRows):
    """Decoding of rows that come and go, a cycle at a time."""

    def step(self) -> list[Drawn]:
        """One cycle of all running rows."""
        return drained(self.cycle())

    def cycle(self) -> Generator[list[Drawn], None, list[Drawn]]:
        """Draft, verify, commit: the tokens of all rows, each row's in order. Gives way after each draft pass."""
        blocks = yield from self._committed()
        return [each for block in blocks for each in self._drawn(block)]

    def _drawn(self, block: Committed) -> list[Drawn]:
        """A row's tokens up to the one that ends it; what lies behind that is dropped."""
        tally, given, found = self.pacing.tallies[block.row], self.given[block.row], list[Drawn]()
        kinds = fates(len(block.tokens) - 1, block.length, drafts=bool(tally.drafter))
        for token, logprob, fate in zip(block.tokens, block.logprobs, kinds, strict=True):
            reason = ending(block.row, token, logprob, given, tally.count, self._ends, self._stopped)
            tally.count += 1
            drafting = tally.drafting if reason else None
            found.append(Drawn(block.row, -1 if reason == "failed" else token, logprob, reason, fate, drafting))
            if reason:
                break
        return found

    def _committed(self) -> Generator[list[Drawn], None, list[Committed]]:
        clock = self.pacing.pace.clock
        began = clock()
        length = self.pacing.length(self.rows)
        observes = self.pacing.observes(self.rows, length)
        if length == 0 and not observes and self.pacing.steps_plainly:
            blocks = self._plain_step(began)
            self.pacing.learn(0, clock() - began, blocks)
            return blocks
        lengths = self.pacing.lengths(self.rows, length)
        drafts, logits, first = yield from self._draft(length, observes)
        with torch.inference_mode():
            verdict, logprobs = self.proposals.judge(logits, drafts, self._on_device(lengths))
            self.laws = logits, logprobs
            accepted, tokens = verdict.accepted[:, None], verdict.tokens[:, None]
            committed = torch.cat([drafts, tokens], 1).scatter_(1, accepted, tokens)  # (B, K + 1)
            columns = [committed, accepted, logprobs.gather(2, committed[..., None])[..., 0].double()]
            if first is not None:
                columns.append(self.proposals.overlap(logprobs, first, verdict.tokens)[:, None])
            self.tokens, self.positions = verdict.tokens, self.positions + verdict.accepted + 1
            values = torch.cat(columns, 1).tolist()  # float64, which holds every id; the one time that the host waits
        found = zip(self.rows, values, lengths, strict=True)
        blocks = [Committed.read(row, each, length, usable) for row, each, usable in found]
        self.pacing.learn(length, clock() - began, blocks)
        return blocks

    def _draft(
        self, length: int, observes: bool
    ) -> Generator[list[Drawn], None, tuple[Tensor, list[Tensor], Tensor | None]]:
        """Drafts (B, K), M logits of (B, K + 1, V), and what a plain step would have drafted, if asked."""
        starts = [self.pacing.tallies[row].count for row in self.rows]
        ends = [len(self.given[row].prompt) - 1 + min(length, self.pacing.tallies[row].left) for row in self.rows]
        longest = max(start + end for start, end in zip(starts, ends, strict=True))
        ids, first, passes = [self.tokens], None, list[list[Tensor]]()
        with torch.inference_mode():
            self.proposals.begin(self._passed(starts), length)
            positions = self.positions[:, None] + counted(length + 1, self.last.device)  # (B, K + 1)
            if any(self.pacing.tallies[row].left < length for row in self.rows):
                positions = torch.minimum(positions, self.last[:, None])
            where = self.draft.places(positions, longest)
        for place in range(length + 1):
            with torch.inference_mode():
                passes.append(self._first(where) if place == 0 else self.draft.run(ids[-1][:, None], where, place))
                if place < length:
                    ids.append(self.proposals.propose(place, [member[:, 0] for member in passes[-1]]))
                elif observes:
                    first = self.proposals.propose(place, [member[:, 0] for member in passes[-1]])
            yield []
        with torch.inference_mode():
            block = torch.stack(ids, 1)  # (B, K + 1): the last committed token, then the drafts
            logits = [torch.cat(each, 1) for each in zip(*passes, strict=True)]
            if self.verify is not None:
                there = self.verify.places(positions, longest, self.draft.lanes, where)
                logits += self.verify.run(block, there)
            return block[:, 1:], logits, first

    def _passed(self, starts: Sequence[int]) -> list[int]:
        """How far each row's random stream is: the tokens that it drew and those that it was given."""
        return [start + self.given[row].given for row, start in zip(self.rows, starts, strict=True)]

    def record(self, recorder: Recorder, drawn: Sequence[Drawn]) -> None:
        """Hand over what the last cycle drew from, and what it drew."""
        assert self.laws is not None, "a cycle comes first"
        tokens: dict[int, list[tuple[int, Fate]]] = {}
        for each in drawn:
            if each.reason != "failed":
                tokens.setdefault(each.row, []).append((each.token, each.fate))
        recorder.keep(Laws(self.rows, self.columns, *self.laws), tokens)

    def _on_device(self, lengths: list[int]) -> Tensor:
        """Draft lengths of the rows; mostly they are all one."""
        if lengths.count(lengths[0]) == len(lengths):
            return self.last.new_full((len(lengths),), lengths[0])
        return torch.tensor(lengths, device=self.last.device)

    @torch.inference_mode()
    def _plain_step(self, began: float) -> list[Committed]:
        """One step of plain decoding, with its draws."""
        starts = [self.pacing.tallies[row].count for row in self.rows]
        longest = max(len(self.given[row].prompt) - 1 + start for row, start in zip(self.rows, starts, strict=True))
        positions = self.positions[:, None]
        where = self.draft.places(positions, longest, skipped=self.idle)
        logits = self.draft.run(self.tokens[:, None], where, skipped=self.idle)
        self._time_draft(began)
        if self.verify is not None:
            there = self.verify.places(positions, longest, self.draft.lanes, where)
            logits += self.verify.run(self.tokens[:, None], there)
        if self.idle and self.pacing.fixed is None:
            self.missed.append(self.tokens)
        self.tokens, logprobs = self.proposals.plain([member[:, 0] for member in logits], self._passed(starts))
        self.laws = logits, logprobs[:, None]
        self.positions = self.positions + 1
        ids, values = to_host(self.tokens, logprobs.gather(1, self.tokens[:, None])[:, 0])
        return [Committed(row, [token], [value], 0) for row, token, value in zip(self.rows, ids, values, strict=True)]

    def _first(self, where: list[dict[Format, Places]]) -> list[Tensor]:
        """The first draft pass, M logits of (B, 1, V). Drafters that missed plain steps catch up in it."""
        last = self.tokens[:, None]
        if not self.missed:
            return self.draft.run(last, where, 0)
        late = self._behind([*self.missed, self.tokens], 0)
        now = self.draft.run(last, where, 0, skipped=self.idle)
        members = {member for lane in self.idle for member in lane.caches}
        found = zip(self.draft.members, late, now, strict=True)
        return [caught[:, -1:] if member in members else new for member, caught, new in found]

    def _time_draft(self, began: float) -> None:
        """The share of drafting in a plain step, as long as nothing better is known."""
        if self.pacing.costs.plain is None:
            if self.last.is_cuda:
                torch.cuda.synchronize(self.last.device)
            self.pacing.costs.draft = self.pacing.pace.clock() - began

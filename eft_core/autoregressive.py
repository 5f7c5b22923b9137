"""Plain decoding, one token a step: the reference that every faster way must agree with.

Each step runs each member once on the rows that need it, combines, draws, and asks the device once. Rows end on their
own, and others join (`Stepper`). `decode` is a generator: closing it cancels and frees the caches. B running rows, M
members, V vocabulary.
"""

import math
from collections.abc import Callable, Collection, Generator, Mapping, Sequence

import torch
from torch import Tensor

from eft_core.batch import Batch, Lane
from eft_core.continuation import Continuation, Drawn, batch_of, drained, ending, freed, to_host
from eft_core.distributions import Mixture, log_probabilities
from eft_core.model import Model
from eft_core.policy import Member, Policy
from eft_core.recorder import Laws, Recorder
from eft_core.sampling import Draws, Noise, draw

# From so many rows on members may rest, where two steps give so many times the tokens a second.
_CROWD, _WORTH = 8, 1.05


def decode(
    rows: Sequence[Continuation],
    models: Mapping[Member, Model],
    end_ids: frozenset[int],
    stopped: Callable[[int, int], bool] = lambda row, token: False,
    recorder: Recorder | None = None,
) -> Generator[list[Drawn], None, None]:
    """Decode all rows together. Yields [] once the prompts are read, then one list of drawn tokens a step.

    `stopped(row, token)` is asked after each token that is no end token whether the row's text has met a stop string.
    `recorder` gets what the tokens were drawn from.
    """
    run = Stepper(end_ids, stopped)
    try:
        run.take_in(drained(run.prepare(dict(enumerate(rows)), models)))
        yield []
        while run.rows:
            drawn = run.step()
            if recorder is not None:
                run.record(recorder, drawn)
            yield drawn
            run.remove({each.row for each in drawn if each.reason})
    finally:
        run.free()


class Stepper:
    """The running rows of plain decoding, and the tensors that go from step to step. Others may join between steps.

    The numbers of rows are the caller's; no two rows that run have one number.
    """

    batch: Batch  # there once rows have joined

    def __init__(self, end_ids: frozenset[int], stopped: Callable[[int, int], bool] = lambda row, token: False) -> None:
        self._ends, self._stopped = end_ids, stopped
        self.torn = False
        self._given: dict[int, Continuation] = {}
        self._counts: dict[int, int] = {}  # tokens that a row has drawn
        self._tokens = self._positions = torch.empty(0)  # (B,): each row's last token and its position
        self._noise: Noise | None = None
        self._steps = 0
        self._laws: tuple[list[Tensor], Tensor] | None = None  # what the last step drew from: M logits, log pi

    @property
    def rows(self) -> list[int]:
        return self.batch.rows if self._given else []

    def prepare(
        self,
        rows: Mapping[int, Continuation],
        models: Mapping[Member, Model],
        drafters: Mapping[int, Policy] | None = None,
    ) -> Generator[None, None, tuple[Batch, Mapping[int, Continuation]]]:
        """Read the prompts of new rows, giving way after every piece; `take_in` then lets them run with the others."""
        batch = batch_of(rows, [row.policy.members() for row in rows.values()], models)
        with freed(batch):
            yield from batch.reading()
        return batch, rows

    @torch.inference_mode()
    def take_in(self, prepared: tuple[Batch, Mapping[int, Continuation]]) -> None:
        """Let rows run from the next step on."""
        (batch, rows), self.torn = prepared, True
        device = batch.device
        tokens = torch.tensor([row.prompt[-1] for row in rows.values()], device=device)
        positions = torch.tensor([len(row.prompt) - 1 for row in rows.values()], device=device)
        if not self._given:
            self.batch, self._tokens, self._positions = batch, tokens, positions
        else:
            self.batch.merge(batch)
            self._tokens, self._positions = torch.cat([self._tokens, tokens]), torch.cat([self._positions, positions])
        self._given |= rows
        self._counts |= dict.fromkeys(rows, 0)
        running = [self._given[row] for row in self.batch.rows]
        self._mixture = Mixture.of([row.policy for row in running], self.batch.members, device)
        self._draws = Draws.of([(row.sampling, row.sample) for row in running], device)
        self._noise = self._noise or Noise(len(running), self.batch.width, device)
        columns = {member: number for number, member in enumerate(self.batch.members)}
        self._columns = dict.fromkeys(self.batch.rows, columns)
        self.torn = False

    def step(self) -> list[Drawn]:
        """One token of every running row."""
        found = []
        for row, token, logprob in self._drawn():
            given = self._given[row]
            reason = ending(row, token, logprob, given, self._counts[row], self._ends, self._stopped)
            self._counts[row] += 1
            found.append(Drawn(row, token, logprob, reason))
        return found

    @torch.inference_mode()
    def _drawn(self) -> list[tuple[int, int, float]]:
        """(row, token, log-probability) of every running row."""
        assert self._noise is not None, "rows join first"
        rows = self.batch.rows
        longest = max(len(self._given[row].prompt) - 1 + self._counts[row] for row in rows)
        resting = self._resting()
        where = self.batch.places(self._positions[:, None], longest, skipped=resting)
        logits = self.batch.run(self._tokens[:, None], where, skipped=resting)
        logprobs = log_probabilities([member[:, 0] for member in logits], self._mixture)
        starts = [self._given[row].given + self._counts[row] for row in rows]
        noise = self._noise.at(self._draws, starts)[:, 0] if self._draws.sampled else None
        drawn = draw(logprobs, self._draws, noise)
        tokens, chosen = to_host(drawn, logprobs.gather(1, drawn[:, None])[:, 0])
        self._laws = logits, logprobs[:, None]
        idle = {row for lane in resting for row in lane.rows}
        awake = torch.tensor([row not in idle for row in rows], device=drawn.device)
        self._tokens, self._positions = torch.where(awake, drawn, self._tokens), self._positions + awake
        found = zip(rows, tokens, chosen, strict=True)
        return [(row, token if math.isfinite(value) else -1, value) for row, token, value in found if row not in idle]

    def _resting(self) -> list[Lane]:
        """Members that take much of a step's time for few of its rows rest every other step, and those rows with them.

        A pass takes nearly as long for one row as for eight, and while these rows wait others join them: in a crowd,
        whose rows of plain base models are the longest anyway, all answers together come sooner."""
        self._steps += 1
        rows = len(self.batch.rows)
        if self._steps % 2 or rows < _CROWD:
            return []
        cost = {lane: sum(self.batch.models[member].cost for member in lane.caches) for lane in self.batch.lanes}
        whole, best, resting = sum(cost.values()), _WORTH, list[Lane]()
        few, idle, saved = list[Lane](), set[int](), 0.0
        for lane in sorted(self.batch.lanes, key=lambda each: len(each.rows)):
            few, idle, saved = [*few, lane], idle.union(lane.rows), saved + cost[lane]
            if len(idle) < rows and (gain := (2 - len(idle) / rows) / (2 - saved / whole)) > best:
                best, resting = gain, few
        return resting

    def record(self, recorder: Recorder, drawn: Sequence[Drawn]) -> None:
        """Hand over what the last step drew from; a failed row drew nothing."""
        assert self._laws is not None, "a step comes first"
        laws = Laws(self.rows, self._columns, *self._laws)
        recorder.keep(laws, {each.row: [(each.token, each.fate)] for each in drawn if each.reason != "failed"})

    @torch.inference_mode()
    def remove(self, rows: Collection[int]) -> None:
        """Let rows go, ended or not."""
        gone = set(rows).intersection(self.rows)
        if not gone:
            return
        kept = self.batch.remove(gone)
        for row in gone:
            del self._given[row], self._counts[row]
        index = torch.tensor(kept, dtype=torch.long, device=self.batch.device)
        self._tokens, self._positions = self._tokens[index], self._positions[index]
        self._mixture, self._draws = self._mixture.select(kept), self._draws.select(kept)

    def size(self, device: str) -> int:
        """Bytes of keys and values on a device."""
        return self.batch.size(device) if self._given else 0

    def gain(self) -> None:
        """Plain decoding gains nothing."""

    def free(self) -> None:
        """Let go of all rows."""
        self._laws = None
        if self._given:
            self.batch.free()
            self._given = {}

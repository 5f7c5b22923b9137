"""Plain decoding, one token a step: the reference that every faster way must agree with.

Each step runs each member once on the rows that need it, combines, draws, and asks the device once. Rows end on their
own. A generator: closing it cancels and frees the caches. B running rows, M members, V vocabulary.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eft_core.batch import Batch
from eft_core.config import Sampling
from eft_core.distributions import Mixture, log_probabilities
from eft_core.events import Drafting, Fate, Reason
from eft_core.model import Model
from eft_core.policy import Member, Policy
from eft_core.recorder import Laws, Recorder
from eft_core.sampling import Draws, Noise, draw


@dataclass(frozen=True, slots=True)
class Continuation:
    """A row to decode: prompt ids, the policy that continues them, and its random stream. `most`: tokens at most;
    it ends for `reason_at_most` ("length", or "context" where the window is what limits it). The last `given` ids of
    the prompt are the answer's beginning: the random stream has passed them already."""

    prompt: tuple[int, ...]
    policy: Policy
    sampling: Sampling
    sample: int
    most: int
    reason_at_most: Reason = "length"
    given: int = 0


@dataclass(frozen=True, slots=True)
class Drawn:
    """One drawn token. `logprob` is the policy's own, before temperature, top-k and top-p, in nats.
    `reason` is set on a row's last token, and `drafting` with it where the row speculated. A failed row has no token
    (-1)."""

    row: int
    token: int
    logprob: float
    reason: Reason | None
    fate: Fate = "plain"
    drafting: Drafting | None = None


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
    capacity = max(len(row.prompt) + row.most for row in rows)
    batch = Batch([row.prompt for row in rows], [row.policy.members() for row in rows], models, capacity)
    try:
        yield []
        state = _Stepper(batch, rows)
        step = 0
        while batch.rows:
            drawn = [
                Drawn(row, token, logprob, ending(row, token, logprob, rows[row], step, end_ids, stopped))
                for row, token, logprob in state.step(step)
            ]
            if recorder is not None:
                state.record(recorder, drawn)
            yield drawn
            state.remove({each.row for each in drawn if each.reason})
            step += 1
    finally:
        batch.free()


def ending(
    row: int,
    token: int,
    logprob: float,
    continuation: Continuation,
    step: int,
    end_ids: frozenset[int],
    stopped: Callable[[int, int], bool],
) -> Reason | None:
    """Why this token, the row's number `step` from 0, is its last; None if it goes on."""
    if not math.isfinite(logprob):
        return "failed"
    if token in end_ids:
        return "end"
    if stopped(row, token):
        return "stop"
    return continuation.reason_at_most if step + 1 >= continuation.most else None


class _Stepper:
    """The tensors that go from step to step: each running row's last token and its position."""

    def __init__(self, batch: Batch, rows: Sequence[Continuation]) -> None:
        self.batch, device = batch, batch.device
        self.lengths = [len(row.prompt) for row in rows]
        self.tokens = torch.tensor([row.prompt[-1] for row in rows], device=device)
        self.positions = torch.tensor([length - 1 for length in self.lengths], device=device)
        self.mixture = Mixture.of([row.policy for row in rows], batch.members, device)
        self.draws = Draws.of([(row.sampling, row.sample) for row in rows], device)
        self.noise = Noise(len(rows), batch.width, device)
        self.given = [row.given for row in rows]
        self.laws: tuple[list[Tensor], Tensor] | None = None  # what the last step drew from: M logits, log pi
        self.columns = [{member: number for number, member in enumerate(batch.members)}] * len(rows)

    @torch.inference_mode()
    def step(self, step: int) -> list[tuple[int, int, float]]:
        """(row, token, log-probability) of every running row."""
        rows = self.batch.rows
        longest = max(self.lengths[row] for row in rows) - 1 + step
        logits = self.batch.run(self.tokens[:, None], self.batch.places(self.positions[:, None], longest))
        logprobs = log_probabilities([member[:, 0] for member in logits], self.mixture)
        self.laws = logits, logprobs[:, None]
        starts = [self.given[row] + step for row in rows]
        noise = self.noise.at(self.draws, starts)[:, 0] if self.draws.sampled else None
        self.tokens = draw(logprobs, self.draws, noise)
        self.positions = self.positions + 1
        values = logprobs.gather(1, self.tokens[:, None])[:, 0]
        tokens, chosen = to_host(self.tokens, values)
        found = zip(rows, tokens, chosen, strict=True)
        return [(row, token if math.isfinite(value) else -1, value) for row, token, value in found]

    def record(self, recorder: Recorder, drawn: Sequence[Drawn]) -> None:
        """Hand over what the last step drew from; a failed row drew nothing."""
        assert self.laws is not None, "a step comes first"
        laws = Laws(self.batch.rows, self.columns, *self.laws)
        recorder.keep(laws, {each.row: [(each.token, each.fate)] for each in drawn if each.reason != "failed"})

    @torch.inference_mode()
    def remove(self, rows: set[int]) -> None:
        """Let ended rows go."""
        if not rows:
            return
        kept = self.batch.remove(rows)
        index = torch.tensor(kept, dtype=torch.long, device=self.batch.device)
        self.tokens, self.positions = self.tokens[index], self.positions[index]
        self.mixture, self.draws = self.mixture.select(kept), self.draws.select(kept)


def to_host(tokens: Tensor, logprobs: Tensor) -> tuple[list[int], list[float]]:
    """One copy to the host for both; float64 holds every id exactly."""
    ids, values = torch.stack((tokens.double(), logprobs.double())).tolist()
    return [int(number) for number in ids], values

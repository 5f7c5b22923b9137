"""What both ways of decoding take and give: rows to continue, drawn tokens, and why a row ends."""

import math
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from eft_core.batch import Batch
from eft_core.config import Sampling
from eft_core.events import Drafting, Fate, Reason
from eft_core.model import Model
from eft_core.policy import Member, Policy

Result = TypeVar("Result")


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
    own: Mapping[Member, tuple[int, ...]] = field(default_factory=dict)  # prompts of members that see another format

    def prompt_of(self, member: Member) -> tuple[int, ...]:
        """The prompt as a member sees it."""
        return self.own.get(member, self.prompt)


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


def batch_of(
    rows: Mapping[int, Continuation], needs: Sequence[Collection[Member]], models: Mapping[Member, Model]
) -> Batch:
    """The rows on the members that they need; their prompts are yet to be read."""
    prompts, own = [row.prompt for row in rows.values()], [row.own for row in rows.values()]
    capacity = max(len(row.prompt) + row.most for row in rows.values())
    return Batch(prompts, needs, models, capacity, own, list(rows), read=False)


def drained(steps: Generator[Any, None, Result]) -> Result:
    """What a generator returns, at once."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            result: Result = ended.value
            return result


@contextmanager
def freed(*batches: Batch | None) -> Iterator[None]:
    """Lets go of batches if the block is left before its end."""
    try:
        yield
    except BaseException:
        for batch in batches:
            if batch is not None:
                batch.free()
        raise


def to_host(tokens: Tensor, logprobs: Tensor) -> tuple[list[int], list[float]]:
    """One copy to the host for both; float64 holds every id exactly."""
    ids, values = torch.stack((tokens.double(), logprobs.double())).tolist()
    return [int(number) for number in ids], values

"""The same records for a text that somebody else wrote: teacher forcing, every member once over every token.

What decoding recorded while it drew a text comes out again (mistral-inference's self-consistency, CRAFT.md 1.7). Long
texts are read in chunks. B running rows, T tokens of a chunk, M members, V vocabulary.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from eft_core.batch import Batch
from eft_core.distributions import Mixture, log_probabilities
from eft_core.events import Fate
from eft_core.model import Model
from eft_core.policy import Member, Policy
from eft_core.recorder import Laws, Recorder
from eft_core.trace import Trace

# Tokens of a row that one pass reads, and the memory that all logits of a pass may take.
_CHUNK = 256
_BYTES = 128 << 20


@dataclass(frozen=True, slots=True)
class Passage:
    """Ids of a prompt and of a response to it, and the look: a policy, and the members to run, its own at least."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    policy: Policy
    members: tuple[Member, ...]
    own: Mapping[Member, tuple[int, ...]] = field(default_factory=dict)  # prompts of members that see another format


def score(
    passages: Sequence[Passage], models: Mapping[Member, Model], chunk: int = _CHUNK
) -> Generator[int, None, list[Trace]]:
    """The traces of all responses, read together. Yields how many tokens were read, after every chunk of
    them and of the prompts."""
    capacity = max(len(each.prompt) + len(each.response) for each in passages)
    prompts, needs = [each.prompt for each in passages], [each.members for each in passages]
    batch = Batch(prompts, needs, models, capacity, [each.own for each in passages], read=False)
    traces: dict[int, list[Trace]] = {row: [] for row in batch.rows}
    recorder = Recorder([(each.policy, each.members) for each in passages])
    chunk = max(1, min(chunk, _BYTES // (4 * batch.width * len(passages) * (1 + len(batch.members)))))
    start = read = 0
    try:
        for _ in batch.reading():
            yield read
        while batch.rows:
            counts = _read(batch, [passages[row] for row in batch.rows], start, chunk, recorder)
            for row, trace in recorder.take().items():
                traces[row].append(trace)
            start, read = start + chunk, read + sum(counts)
            yield read
            batch.remove({row for row in batch.rows if len(passages[row].response) <= start})
    finally:
        batch.free()
    return [Trace.join(parts) for parts in traces.values()]


@torch.inference_mode()
def _read(batch: Batch, passages: Sequence[Passage], start: int, chunk: int, recorder: Recorder) -> list[int]:
    """Read tokens start to start + chunk - 1 of every running row; how many each row had."""
    counts = [min(chunk, len(each.response) - start) for each in passages]
    # A token's law comes from the one before it. Shorter rows are padded behind their end.
    before = [[*each.prompt[-1:], *each.response][start : start + n] for each, n in zip(passages, counts, strict=True)]
    longest = max(counts)
    ids = torch.tensor([part + [0] * (longest - len(part)) for part in before], device=batch.device)
    # Nobody reads the slot of a row's last token, so padding may be written there.
    first = torch.tensor([[len(each.prompt) - 1 + start] for each in passages], device=batch.device)
    last = torch.tensor([[len(each.prompt) + len(each.response) - 1] for each in passages], device=batch.device)
    positions = torch.minimum(first + torch.arange(longest, device=batch.device), last)
    logits = batch.run(ids, batch.places(positions, int(positions.max())))
    logprobs = log_probabilities(logits, Mixture.of([each.policy for each in passages], batch.members, batch.device))
    columns = [{member: number for number, member in enumerate(batch.members)}] * (1 + max(batch.rows))
    given: Fate = "given"
    texts = zip(batch.rows, passages, counts, strict=True)
    tokens = {row: [(token, given) for token in each.response[start : start + count]] for row, each, count in texts}
    recorder.keep(Laws(batch.rows, columns, logits, logprobs), tokens)
    return counts

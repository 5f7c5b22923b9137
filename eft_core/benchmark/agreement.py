"""Is a fast way to run a family's members right? Its answers, read again by float32 on the CPU.

Two number formats never draw the same text for long: at a near tie rounding decides. So every greedy token of the fast
way is read by the exact one, in the fast one's own context: its log-probability must be nearly what was recorded, and
no other token may be better by more than rounding explains.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from eft_core.config import Limits, Request, Row, Rule, Sampling, Speculation, Text
from eft_core.events import Answer, Inspected
from eft_core.family import default_columns
from eft_core.session import Session
from eft_core.trace import Trace

# Decoding as it is compared: plainly, by a fixed draft under every rule, and as it is by default.
_WAYS = {
    "plain": None,
    **{f"{rule}, k = 4": Speculation(4, rule) for rule in get_args(Rule)},
    "adaptive": Speculation(),
}


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What rounding explains, in nats: the mean and the largest difference of a token's log-probability, and how far
    below the best token a greedy one may be."""

    mean: float
    largest: float
    gap: float


# Seven times or more of what the CPU itself gives in these formats on Atlas (bfloat16: 0.003, 0.07 and 0.03).
TOLERANCES = {
    "float32": Tolerance(1e-5, 1e-3, 1e-3),
    "float16": Tolerance(0.003, 0.1, 0.1),
    "bfloat16": Tolerance(0.02, 0.5, 0.25),
}


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was found for one way to decode, over `tokens` tokens; `same` of them are the exact way's own choice."""

    way: str
    tokens: int
    mean: float
    largest: float
    gap: float
    same: int

    def within(self, tolerance: Tolerance) -> bool:
        """Whether rounding explains it."""
        return self.mean <= tolerance.mean and self.largest <= tolerance.largest and self.gap <= tolerance.gap


def agreements(fast: Session, exact: Session, prompts: Sequence[str], tokens: int) -> list[Agreement]:
    """Ask `fast` all prompts in every way under the family's default columns, and let `exact` read the answers."""
    policies = [policy for _, policy in default_columns(fast.family)]
    rows = tuple(Row(prompt, policy, Sampling(0.0)) for prompt in prompts for policy in policies)
    return [
        agreement(way, exact, rows, fast.ask(Request(rows, Limits(tokens), speculation)))
        for way, speculation in _WAYS.items()
    ]


def agreement(way: str, exact: Session, rows: Sequence[Row], answers: Sequence[Answer]) -> Agreement:
    """What the exact session says of recorded answers."""
    texts = [Text(row.prompt, answer.token_ids, row.policy) for row, answer in zip(rows, answers, strict=True)]
    *_, last = exact.inspect(texts)
    assert isinstance(last, Inspected), "an inspection ends with its traces"
    recorded = np.concatenate([answer.logprobs for answer in answers])
    read = np.concatenate([trace.logprobs[:, 0] for trace in last.traces])
    gaps = np.concatenate([_gaps(trace) for trace in last.traces])
    differences = np.abs(recorded - read)
    return Agreement(
        way, len(read), float(differences.mean()), float(differences.max()), float(gaps.max()), int((gaps <= 0).sum())
    )


def _gaps(trace: Trace) -> np.ndarray:
    """(T,): by how many nats the best candidate of the policy is above the token, 0 where it is the token."""
    best = np.maximum.reduceat(trace.candidate_policy, trace.ends - trace.counts)
    return np.where(trace.ranks[:, 0] == 1, 0.0, best - trace.logprobs[:, 0])

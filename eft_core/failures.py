"""Where the mixture fails: the tokens of reference answers at which it is right and the large base wrong, or reversed.

Teacher forcing reads the `cases`; a law is right where the response's token is its most probable one. Proxy-tuning's
reviewers asked for this (Liu et al. 2024). `examined` reads with a session. Loads no torch by itself.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eft_core.cases import Case, Kind, Places, kinds_of, offsets_of, pieces
from eft_core.config import Text
from eft_core.events import Inspected, Inspecting, Reading
from eft_core.policy import Member, Policy
from eft_core.token_text import TokenTexts
from eft_core.trace import Trace

if TYPE_CHECKING:  # torch comes with it; mistakes in a file are told without
    from eft_core.session import Session

# Texts that are read together.
_BATCH = 50


@dataclass(frozen=True, slots=True)
class Failure:
    """Token `index` of case number `case`, at which one law is right and the other wrong.

    `base_right`: base[N] is, and the mixture is not; else the other way round. `policy_best`, `base_best`: their most
    probable tokens. Log-probabilities are the reference's token's; total_variation is between the two laws.
    """

    case: int
    index: int
    token: int
    kind: Kind
    base_right: bool
    policy_best: int
    base_best: int
    logprob_policy: float
    logprob_base: float
    total_variation: float

    @property
    def lost(self) -> float:
        """Nats that the mixture lost on the reference's token; negative where it gained."""
        return self.logprob_base - self.logprob_policy


class Count(NamedTuple):
    """Tokens of a kind: in all; at which both laws are right; only base[N]; only the mixture."""

    tokens: int
    both: int
    base: int
    mixture: int


def failures(cases: Sequence[Case], traces: Sequence[Trace], offsets: Sequence[Places]) -> list[Failure]:
    """Where exactly one law is right: facts first, then what lost most. base[N] must have run in every trace."""
    found = [
        failure
        for number, (case, trace, places) in enumerate(zip(cases, traces, offsets, strict=True))
        for failure in _of_case(number, trace, kinds_of(case, places))
    ]
    return sorted(found, key=lambda each: (each.kind != "fact", -each.lost))


def counts(cases: Sequence[Case], traces: Sequence[Trace], offsets: Sequence[Places]) -> dict[Kind, Count]:
    """How often each law is right, by what the tokens are about; kinds that do not occur are left out."""
    kinds = np.array([kind for case, places in zip(cases, offsets, strict=True) for kind in kinds_of(case, places)])
    mixture, base = np.concatenate([_right(trace) for trace in traces]).T
    named: tuple[Kind, ...] = ("fact", "manner", "any")
    masks = {kind: kinds == kind for kind in named}
    return {
        kind: Count(*(int((mask & right).sum()) for right in (True, mixture & base, base & ~mixture, mixture & ~base)))
        for kind, mask in masks.items()
        if mask.any()
    }


def _right(trace: Trace) -> np.ndarray:
    """(T, 2) bool: whether the policy, and whether base[N], holds the token for the most probable."""
    ranks = trace.ranks[:, [0, 2]]
    assert ranks.all(), "base[N] ran"
    return ranks == 1


def _of_case(number: int, trace: Trace, kinds: Sequence[Kind]) -> Iterator[Failure]:
    base = Member(trace.policy.pretrain)
    right, under = _right(trace), trace.under(base)
    laws = np.stack([trace.candidate_policy, trace.candidate_logprobs[:, trace.members.index(base)]], 1)  # (K, 2)
    for index in np.flatnonzero(right[:, 0] != right[:, 1]).tolist():
        token, mine = int(trace.tokens[index]), slice(trace.ends[index] - trace.counts[index], trace.ends[index])
        others = trace.candidates[mine] != token
        # Whoever is wrong has another token as its best, whatever rounding says of a near tie.
        rivals = trace.candidates[mine][others][laws[mine][others].argmax(0)]
        policy_best, base_best = np.where(right[index], token, rivals).tolist()
        logprobs = float(trace.logprobs[index, 0]), float(under[index])
        distance = float(trace.total_variation[index, 1])
        base_right = bool(right[index, 1])
        yield Failure(number, index, token, kinds[index], base_right, policy_best, base_best, *logprobs, distance)


# --- with a session


@dataclass(frozen=True, slots=True)
class Report:
    """What was read: `traces` are one a case, so that any of them can be shown without reading it again."""

    policy: Policy
    cases: tuple[Case, ...]
    traces: tuple[Trace, ...]
    failures: tuple[Failure, ...]
    counts: dict[Kind, Count]

    @property
    def tokens(self) -> int:
        return sum(len(trace) for trace in self.traces)


def examined(session: "Session", cases: Sequence[Case], policy: Policy) -> Generator[Inspecting, None, Report]:
    """The report on a policy. Yields what a session says while it reads; `Reading` counts the tokens of all cases.

    ValueError, now and not later, if a case or the policy cannot be served; close the generator to cancel.
    """
    if not cases:
        raise ValueError("there are no cases: give at least one.")
    session.family.check(policy)
    base = Member(policy.pretrain)
    if policy.members() == (base,):
        raise ValueError(f"the policy is {base} itself, so nothing can differ from it: choose a fine-tuning.")
    if not session.family.checkpoint(base).present():
        raise ValueError(f"{base} is not on this machine, and without it there is nothing to compare with: fetch it.")
    ids = [session.models.encode_response(case.prompt, case.response) for case in cases]
    texts = [Text(case.prompt, each, policy) for case, each in zip(cases, ids, strict=True)]
    streams = [
        stream for start in range(0, len(texts), _BATCH) for stream in _streams(session, texts[start : start + _BATCH])
    ]
    return _examined(session, tuple(cases), policy, streams, sum(map(len, ids)))


def _streams(session: "Session", texts: Sequence[Text]) -> list[Generator[Inspecting, None, None]]:
    """Inspections of the texts. What is refused is tried in halves: fewer rows need less memory, and a text that is
    refused alone is named."""
    try:
        return [session.inspect(texts)]
    except ValueError as error:
        if len(texts) == 1:
            raise ValueError(f"the response to {texts[0].prompt[:60]!r}: {error}") from error
    middle = len(texts) // 2
    return [*_streams(session, texts[:middle]), *_streams(session, texts[middle:])]


def _examined(
    session: "Session",
    cases: tuple[Case, ...],
    policy: Policy,
    streams: Sequence[Generator[Inspecting, None, None]],
    total: int,
) -> Generator[Inspecting, None, Report]:
    traces: list[Trace] = []
    for stream in streams:
        before = sum(map(len, traces))
        with closing(stream):
            for event in stream:
                if isinstance(event, Inspected):
                    traces += event.traces
                else:
                    yield Reading(before + event.done, total) if isinstance(event, Reading) else event
    offsets = [_places(case, trace, session.token_texts) for case, trace in zip(cases, traces, strict=True)]
    found = failures(cases, traces, offsets)
    return Report(policy, cases, tuple(traces), tuple(found), counts(cases, traces, offsets))


def _places(case: Case, trace: Trace, texts: TokenTexts) -> Places:
    ids = trace.tokens.tolist()
    return offsets_of(pieces(ids, texts.of(ids)), case.response)

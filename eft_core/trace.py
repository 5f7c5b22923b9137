"""What is kept of every token: scalars and a few candidates, on the host; never a row of the vocabulary (DESIGN.md).

A `Trace` holds the records of T tokens of one row. M members ran; K candidates in all: for each token the top-10 of the
policy and of every member, together. Numbers are in nats, nan where a member that they need did not run. Everything
else, the deltas first of all, follows from these by arithmetic. Knows no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from eft_core.policy import Member, Policy

TOP = 10
# Ranks, entropies: under these. Distances: of the policy from the last two.
VIEWS = ("policy", "small", "base")

_ARRAYS = (
    "tokens",
    "logprobs",
    "ranks",
    "entropy",
    "total_variation",
    "divergence",
    "shifted",
    "shifts",
    "normalisers",
    "counts",
    "candidates",
    "candidate_logprobs",
)


@dataclass(frozen=True, eq=False)
class Trace:
    """Records of T tokens, drawn (or given) under `policy`; `members` are those that ran, in their arrays' order.

    tokens (T,) int32. logprobs (T, 1 + M) float32: of the token, under the policy and each member.
    ranks (T, 3) int32 of the token, 1 the most probable, 0 unknown; entropy (T, 3) float32: under policy, small policy
    and base[N]. total_variation, divergence (T, 2) float32: TV and KL(policy || other), other small policy and base[N].
    shifted (T, 2) int32: the tokens whose probability rose and fell most from the small policy to the policy, -1
    unknown; shifts (T, 2) float32: by how much, log pi - log pi_small. normalisers (T, 3) float32: log Z of the policy
    and of the small policy, and a log-probability that tokens in the nucleus of the filter reach under the small policy
    and all others miss. counts (T,) int32: how many of the candidates (K,), int32 or uint16, are each token's;
    candidate_logprobs (K, M) float32. fates: a letter a token (`events.Fate`).
    """

    policy: Policy
    members: tuple[Member, ...]
    tokens: np.ndarray
    logprobs: np.ndarray
    ranks: np.ndarray
    entropy: np.ndarray
    total_variation: np.ndarray
    divergence: np.ndarray
    shifted: np.ndarray
    shifts: np.ndarray
    normalisers: np.ndarray
    counts: np.ndarray
    candidates: np.ndarray
    candidate_logprobs: np.ndarray
    fates: str

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        return f"Trace({len(self)} tokens under {self.policy.formula()}, {len(self.members)} members)"

    @property
    def nbytes(self) -> int:
        """Bytes that the records take."""
        return sum(getattr(self, name).nbytes for name in _ARRAYS) + len(self.fates)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Traces of one row, one behind the other."""
        first = parts[0]
        assert all((part.policy, part.members) == (first.policy, first.members) for part in parts), "traces of one row"
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
        return cls(first.policy, first.members, **arrays, fates="".join(part.fates for part in parts))

    def part(self, start: int, stop: int) -> Self:
        """Tokens start to stop - 1."""
        first, last = (int(self.ends[place - 1]) if place else 0 for place in (start, stop))
        inside = {"candidates": slice(first, last), "candidate_logprobs": slice(first, last)}
        arrays = {name: getattr(self, name)[inside.get(name, slice(start, stop))] for name in _ARRAYS}
        return type(self)(self.policy, self.members, **arrays, fates=self.fates[start:stop])

    @cached_property
    def ends(self) -> np.ndarray:
        """(T,): where each token's candidates end."""
        return self.counts.cumsum()

    @property
    def owners(self) -> np.ndarray:
        """(K,): the token that each candidate belongs to."""
        return np.repeat(np.arange(len(self)), self.counts)

    def under(self, member: Member) -> np.ndarray:
        """(T,): log-probability of the tokens under a member; nan if it did not run."""
        return self.logprobs[:, 1 + self.members.index(member)] if member in self.members else self._unknown

    @property
    def _unknown(self) -> np.ndarray:
        return np.full(len(self), np.nan, np.float32)

    @property
    def finetuning(self) -> np.ndarray:
        """(T,): the fine-tuning delta, sum_i lambda_i (l_tuned_i^M - l_base^M), as it enters the sum; 0 without one."""
        total = np.zeros(len(self), np.float32)
        for behaviour, weight in self.policy.pairs:
            if weight and self.policy.finetune is not None:
                base, tuned = Member(self.policy.finetune), Member(self.policy.finetune, behaviour)
                total = total + np.float32(weight) * (self.under(tuned) - self.under(base))
        return total

    @property
    def upscaling(self) -> np.ndarray:
        """(T,): the up-scaling delta, beta (l_base^N - l_base^M), as it enters the sum; 0 without one."""
        policy = self.policy
        if policy.finetune in (None, policy.pretrain) or not policy.amplification:
            return np.zeros(len(self), np.float32)
        base, small = self.under(Member(policy.pretrain)), self.under(Member(str(policy.finetune)))
        return np.float32(policy.amplification) * (base - small)

    @property
    def candidate_policy(self) -> np.ndarray:
        """(K,): log-probability of the candidates under the policy, by the formula."""
        weights = _vector(self.policy.weights(), self.members)
        if not self.policy.filtered:
            return self.candidate_logprobs @ weights - self.normalisers[self.owners, 0]
        policy = self.policy
        log_z, log_z_small, threshold = self.normalisers[self.owners].T
        small = self.candidate_logprobs @ _vector(policy.small.weights(), self.members) - log_z_small
        delta = {Member(policy.pretrain): policy.amplification, Member(str(policy.finetune)): -policy.amplification}
        shift = self.candidate_logprobs @ _vector(delta, self.members)
        return small + np.where(small >= threshold, shift, 0.0) - log_z

    @property
    def changed(self) -> np.ndarray:
        """(T,) bool: whether the policy's most probable token is another than the small policy's.

        Taken from the candidates, which hold both.
        """
        policy, small = self.candidate_policy, self.candidate_small
        starts = self.ends - self.counts
        return np.array(
            [
                policy[start:end].argmax() != small[start:end].argmax()
                for start, end in zip(starts, self.ends, strict=True)
            ],
            dtype=bool,
        ).reshape(len(self))

    @property
    def candidate_small(self) -> np.ndarray:
        """(K,): log-probability of the candidates under the small policy; nan where its members did not run."""
        needed = self.policy.small.weights()
        if not set(needed) <= set(self.members):
            return np.full(len(self.candidates), np.nan, np.float32)
        return self.candidate_logprobs @ _vector(needed, self.members) - self.normalisers[self.owners, 1]


def _vector(weights: dict[Member, float], members: Sequence[Member]) -> np.ndarray:
    return np.array([weights.get(member, 0.0) for member in members], np.float32)

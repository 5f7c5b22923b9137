"""Drafts drawn from q and judged against p, each as its row samples: after temperature, top-k, top-p and filter.

The device side of a speculative cycle: the mixtures of targets and drafters, and the random numbers of the acceptance
rule. B running rows, S weighed rows, K drafted tokens, M members, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from eft_core.config import Rule, Sampling
from eft_core.distributions import Mixture, combine, log_probabilities
from eft_core.random_stream import SPECULATE, Stretches, uniform
from eft_core.sampling import Draws, Noise, draw, warp
from eft_core.verification import Block, RatioRule, Verdict, chances, match, pick, verify


class Proposals:
    """What a request's rows draft from and are verified by. `begin` a cycle, `propose` its tokens, then `judge`.

    Rows are of two kinds: `matched` ones compare tokens, greedy or drawn with the noise of plain decoding, and
    `weighed` ones test probabilities; in each of these a row of the other kind stands as a greedy one. The uniform
    numbers of a cycle belong to (seed, sample, the row's tokens so far): no two cycles of a row share any, which the
    block rule needs, for whether it accepts depends on drafts behind those that stay.
    """

    def __init__(
        self,
        target: Mixture,
        draft: Mixture,
        settings: Sequence[tuple[Sampling, int]],
        weighed: Sequence[bool],
        rule: Rule,
        longest: int,
        width: int,
        device: torch.device,
        before: "Proposals | None" = None,
    ) -> None:
        """`before`: those of the rows that ran until now; random numbers that they have made are kept."""
        self.target, self.draft, self.longest = target, draft, longest
        self.rule: RatioRule = "token" if rule == "token" else "block"
        greedy = [(Sampling(), sample) for _, sample in settings]
        pairs = list(zip(settings, greedy, weighed, strict=True))
        self.matched = Draws.of([other if weighs else own for own, other, weighs in pairs], device)
        self.weighed = Draws.of([own if weighs else other for own, other, weighs in pairs], device)
        self.every = Draws.of(settings, device)
        numbers = 2 * longest + 1  # a draft and a test at each place, and the token after them
        self._noise: Noise = before._noise if before else Noise(len(settings), width, device)
        self._uniforms: Stretches = (
            before._uniforms
            if before
            else Stretches(
                lambda places: uniform(places, numbers, device, SPECULATE), numbers, len(settings), longest=64
            )
        )
        self._noises: Tensor | None = None  # (rows or 1, K + 1, V)
        self._numbers = torch.empty(0)  # (rows, numbers)
        self._laws: list[Tensor] = []  # q of the weighed rows, (S, V) each

    @property
    def _all_weighed(self) -> bool:
        return len(self.weighed.sampled) == len(self.weighed.settings)

    def select(self, kept: Sequence[int]) -> None:
        """Keep these rows, in this order."""
        self.target, self.draft = self.target.select(kept), self.draft.select(kept)
        self.matched, self.weighed = self.matched.select(kept), self.weighed.select(kept)
        self.every = self.every.select(kept)

    def plain(self, logits: Sequence[Tensor], starts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A step of plain decoding: all members' logits, each (B, V) -> ids (B,), log p (B, V)."""
        logprobs = log_probabilities(logits, self.target)
        noise = self._noise.at(self.every, starts)[:, 0] if self.every.sampled else None
        return draw(logprobs, self.every, noise), logprobs

    def begin(self, starts: Sequence[int], length: int) -> None:
        """A cycle of `length` drafts; starts[b] tokens of row b are there already."""
        self._laws = []
        self._noises = self._noise.at(self.matched, starts, length + 1) if self.matched.sampled else None
        if rows := self.weighed.sampled:
            self._numbers = self._uniforms.at(self.weighed.streams, [starts[row] for row in rows])[:, 0]
            self._numbers = self._numbers.expand(len(rows), -1)

    def propose(self, place: int, logits: Sequence[Tensor]) -> Tensor:
        """The drafts at a place of the block: the drafters' logits, each (B, V) -> (B,) ids."""
        scores = combine(logits, self.draft.weights, self.draft.common)
        noise = None if self._noises is None else self._noises[:, place]
        if not self.weighed.sampled:
            return draw(scores, self.matched, noise)
        # A drafter that gives nan drafts anything: q stays a law, and p alone decides what is kept.
        warped = warp(self.weighed.part(scores), self.weighed).nan_to_num(nan=0.0, posinf=0.0, neginf=-torch.inf)
        self._laws.append(warped.softmax(-1))
        tokens = pick(self._laws[-1], self._numbers[:, place])
        return (
            tokens if self._all_weighed else draw(scores, self.matched, noise).index_copy(0, self.weighed.index, tokens)
        )

    def judge(self, logits: Sequence[Tensor], drafts: Tensor, lengths: Tensor) -> tuple[Verdict, Tensor]:
        """All members' logits, each (B, K + 1, V), drafts (B, K), lengths (B,) -> verdict, log p (B, K + 1, V)."""
        logprobs = log_probabilities(logits, self.target)
        if not self.weighed.sampled:
            return match(draw(logprobs, self.matched, self._noises), drafts, lengths), logprobs
        verdict = verify(self._block(logprobs, drafts, lengths), self._tests(drafts.shape[1]), self.rule)
        if self._all_weighed:
            return verdict, logprobs
        others, index = match(draw(logprobs, self.matched, self._noises), drafts, lengths), self.weighed.index
        accepted = others.accepted.index_copy(0, index, verdict.accepted)
        return Verdict(accepted, others.tokens.index_copy(0, index, verdict.tokens)), logprobs

    def overlap(self, logprobs: Tensor, drafts: Tensor, targets: Tensor) -> Tensor:
        """After a plain step: the chance (B,) with which the first draft (B,) would have been accepted."""
        same = (drafts == targets).float()
        if not self.weighed.sampled:
            return same
        block = self._block(logprobs[:, :1].expand(-1, 2, -1), drafts[:, None], torch.ones_like(drafts))
        return same.index_copy(0, self.weighed.index, chances(block, "token")[:, 0].float())

    def _block(self, logprobs: Tensor, drafts: Tensor, lengths: Tensor) -> Block:
        """The weighed rows' part of a block."""
        part, places = self.weighed.part, drafts.shape[1]
        p = warp(part(logprobs), self.weighed).softmax(-1)
        q = torch.stack(self._laws[:places], 1) if places else p[:, :0]
        return Block(p, q, part(drafts), part(lengths))

    def _tests(self, length: int) -> Tensor:
        """Uniforms of the tests and of the token after them: (S, K + 1)."""
        return torch.cat([self._numbers[:, self.longest : self.longest + length], self._numbers[:, -1:]], 1)

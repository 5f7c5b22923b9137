"""The host's side of a speculative run: what each row's drafts came to, and the length of the next ones.

No torch, no tensors. What a run measures goes into the session's `Pace`, from which the next run starts.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from eft_core.config import Sampling, Speculation
from eft_core.draft_length import MOST, Acceptance, Costs, Pace, best_length
from eft_core.events import Drafting, Fate
from eft_core.policy import Member, Policy

# Every so many plain steps one looks what would have been accepted; less often where a drafter must catch up for it.
_LOOK, _LOOK_BEHIND = 4, 16


@dataclass(slots=True)
class Tally:
    """A running row: how many tokens it has and may have, and how its drafts fared.

    `drafter` is the draft policy's formula, "" where the row drafts for itself; then all its tokens are plain.
    `acceptance` is the row's own estimate and `kind` what is known of rows like it; both learn. `passes` are the
    members that draft and verify for it. `extra`: drafting costs passes of members that the row itself does not need.
    """

    most: int
    passes: frozenset[tuple[str, Member]]
    drafter: str
    acceptance: Acceptance
    kind: Acceptance
    extra: bool
    count: int = 0
    cycles: int = 0
    tokens: int = 0
    drafted: int = 0
    reached: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)

    @property
    def drafts(self) -> bool:
        """Whether it has a drafter beside itself."""
        return bool(self.drafter)

    @property
    def left(self) -> int:
        return self.most - self.count

    def expected(self, longest: int) -> list[float]:
        """Expected tokens of its next cycle by draft length, 0 to `longest`."""
        if not self.drafter:
            return [float(min(length + 1, self.left)) for length in range(longest + 1)]
        return self.acceptance.tokens(self.left - 1)[: longest + 1]

    def add(self, accepted: int, length: int) -> None:
        """A cycle with `length` > 0 drafts of this row."""
        if not self.drafter:
            return
        self.cycles += 1
        self.tokens += accepted + 1
        self.drafted += length
        for place in range(min(accepted + 1, length)):
            if place == len(self.reached):
                self.reached.append(0)
                self.accepted.append(0)
            self.reached[place] += 1
            self.accepted[place] += place < accepted
        self.acceptance.add(accepted, length)
        self.kind.add(accepted, length)

    def overlap(self, chance: float) -> None:
        """A plain step, in which the first draft would have been accepted with this chance."""
        if self.drafter:
            self.acceptance.overlap(chance)
            self.kind.overlap(chance)

    @property
    def drafting(self) -> Drafting:
        return Drafting(self.drafter, self.cycles, self.tokens, self.drafted, tuple(self.reached), tuple(self.accepted))


def fates(accepted: int, length: int, drafts: bool) -> list[Fate]:
    """The fates of a cycle's tokens: `accepted` of `length` drafts and the token after them."""
    found: list[Fate] = ["accepted"] * accepted
    if not drafts or not length:
        return ["plain"] * (accepted + 1)
    return [*found, "bonus" if accepted == length else "recovered"]


@dataclass(frozen=True, slots=True)
class Committed:
    """What a row's cycle gave: its tokens, the accepted ones of `length` drafts and one more, and their
    log-probabilities. `overlap`: after a plain step that looked, the chance that a draft would have been accepted."""

    row: int
    tokens: list[int]
    logprobs: list[float]
    length: int
    overlap: float | None = None

    @classmethod
    def read(cls, row: int, values: list[float], length: int, usable: int) -> "Committed":
        """From what the device sends for a cycle of K drafts: K + 1 ids, how many drafts were accepted, K + 1
        log-probabilities, and perhaps an overlap. `usable`: how many of the drafts the row had room for."""
        kept = int(values[length + 1]) + 1
        logprobs, overlap = values[length + 2 : length + 2 + kept], values[2 * length + 3 :]
        return cls(row, [int(number) for number in values[:kept]], logprobs, usable, *overlap)


def kind_of(policy: Policy, draft: Policy, sampling: Sampling, speculation: Speculation) -> object:
    """Rows of one kind share what is known of their acceptance."""
    return policy, draft, sampling.temperature, speculation.rule == "noise"


class Pacing:
    """Decides a run's draft lengths and learns from its cycles. `costs` are those of the rows that run now."""

    def __init__(self, tallies: Mapping[int, Tally], speculation: Speculation, pace: Pace) -> None:
        self.tallies, self.pace = dict(tallies), pace
        self.fixed = speculation.length
        self.costs = Costs()
        self.plain_steps = 0  # without a draft, one after the other
        self._crowd = False
        self._running: frozenset[object] = frozenset()
        self._cycles: Counter[tuple[frozenset[object], int]] = Counter()  # by what ran and by length

    def together(self, running: Iterable[int]) -> None:
        """Other rows run now; a cycle costs what it costs with so many rows on each member."""
        self._running = self._passes(running)
        self.costs = self.pace.costs(self._running)

    def crowd(self) -> None:
        """Rows of several requests run together: what one of them gained can no longer be told."""
        self._crowd = True
        self._cycles.clear()

    def leave(self, rows: Iterable[int]) -> None:
        """Rows are gone; those of a lone run are remembered, for `predict`."""
        for row in rows if self._crowd else ():
            del self.tallies[row]

    def _passes(self, running: Iterable[int]) -> frozenset[object]:
        counts = Counter(each for row in running for each in self.tallies[row].passes)
        return frozenset((each, _about(count)) for each, count in counts.items())

    def length(self, running: Sequence[int]) -> int:
        """The next draft length, never more than some row has room for."""
        tallies = [self.tallies[row] for row in running]
        most = max((tally.left - 1 for tally in tallies if tally.drafts), default=0)
        if self.fixed is not None:
            return min(self.fixed, most)
        if most == 0 or self.costs.plain is None:
            return 0
        return best_length([tally.expected(min(most, MOST)) for tally in tallies], self.costs)

    def lengths(self, running: Sequence[int], length: int) -> list[int]:
        """How many of a cycle's drafts each row has room for."""
        return [min(length, self.tallies[row].left - 1) for row in running]

    @property
    def steps_plainly(self) -> bool:
        """Whether a cycle without drafts is plain decoding's step. A fixed length keeps its own draws to the end, for
        a row's last cycles must not depend on how long its neighbours still run."""
        return not self.fixed

    def observes(self, running: Sequence[int], length: int) -> bool:
        """Whether a cycle without drafts looks what would have been accepted; seldom, for it costs a little."""
        tallies = [self.tallies[row] for row in running]
        if length or self.fixed is not None or not any(tally.drafts for tally in tallies):
            return False
        return self.plain_steps % (_LOOK_BEHIND if any(tally.extra for tally in tallies) else _LOOK) == 2

    def learn(self, length: int, seconds: float, blocks: Sequence[Committed]) -> None:
        """A cycle took so long and gave this. One that looked is no measure of a plain step."""
        if length or all(block.overlap is None for block in blocks):
            self.costs.add(length, seconds)
        if not self._crowd:
            self._cycles[self._running, length] += 1
        self.plain_steps = 0 if length else self.plain_steps + 1
        for block in blocks:
            if block.length:
                self.tallies[block.row].add(len(block.tokens) - 1, block.length)
            elif block.overlap is not None:
                self.tallies[block.row].overlap(block.overlap)

    def predict(self) -> float | None:
        """The run is over: its gain by the measured costs; None if no plain step was measured for it.

        Plain decoding gives every running row a token a step, and rows end when they have theirs.
        """
        if self._crowd:
            return None
        cycles = [(number, self.pace.costs(ran).seconds(length)) for (ran, length), number in self._cycles.items()]
        counts = {row: tally.count for row, tally in self.tallies.items()}
        plain, done, step = 0.0, 0, None
        for count in sorted(set(counts.values())):
            known = self.pace.costs(self._passes(row for row in counts if counts[row] >= count)).seconds(0)
            step = known if known is not None else step  # rows that never ran without the others: as with them
            if step is None:
                return None
            plain, done = plain + step * (count - done), count
        speculative = sum(number * seconds for number, seconds in cycles if seconds is not None)
        if speculative and all(seconds is not None for _, seconds in cycles):
            return plain / speculative
        return None


def _about(count: int) -> int:
    """How many rows, about: a crowd changes all the time, and its costs are to be found again."""
    step = 1 << max(0, count.bit_length() - 4)
    return -(-count // step) * step

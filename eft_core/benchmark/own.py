"""Our own loops as methods of the benchmark: plain, speculative, several rows at once or one after another."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from eft_core.autoregressive import decode
from eft_core.benchmark.timing import Clock, Output
from eft_core.config import Sampling, Speculation
from eft_core.continuation import Continuation, Drawn
from eft_core.draft_length import Pace
from eft_core.drafter import drafter
from eft_core.events import Drafting
from eft_core.model import Model
from eft_core.models import Models
from eft_core.policy import Member, Policy
from eft_core.speculative import speculate

NO_END: frozenset[int] = frozenset()  # forced lengths: no token ends a row
GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class Task:
    """One job that every method does alike: after `prompt`, exactly `tokens` tokens."""

    prompt: tuple[int, ...]
    tokens: int
    sampling: Sampling = GREEDY


Method = Callable[[Task], Output]


def nothing() -> None:
    """Where nobody asks when decoding began."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Rows of a run: policies, what drafts for each, and the models of both. `alone` is one row of it."""

    policies: tuple[Policy, ...]
    drafters: tuple[Policy, ...]
    models: Mapping[Member, Model]
    clock: Clock

    def rows(self, task: Task) -> list[Continuation]:
        """All rows read the same prompt; each has its own random stream."""
        return [
            Continuation(task.prompt, policy, task.sampling, number, task.tokens)
            for number, policy in enumerate(self.policies)
        ]

    def alone(self, row: int) -> "Setup":
        return replace(self, policies=self.policies[row : row + 1], drafters=self.drafters[row : row + 1])

    def plain(self, task: Task, began: Callable[[], None] = nothing) -> Output:
        """One token a step."""
        rows = self.rows(task)
        return collected(decode(rows, self.models, NO_END), len(rows), self.clock, began)

    def speculative(
        self, task: Task, speculation: Speculation, pace: Pace, began: Callable[[], None] = nothing
    ) -> Output:
        """Drafted and verified; `pace` keeps what earlier runs taught about lengths."""
        rows = self.rows(task)
        steps = speculate(rows, self.drafters, self.models, NO_END, speculation, pace)
        return collected(steps, len(rows), self.clock, began)


def setup_of(models: Models, policies: Sequence[Policy], clock: Clock, drafters: Sequence[Policy] = ()) -> Setup:
    """Load what the policies and their drafters need; by default every row's own drafter."""
    members = list(models.family.checkpoints)

    def cost(member: Member) -> float:
        return float(models.facts(member).parameters)

    own = tuple(drafters) or tuple(drafter(policy, members, cost) for policy in policies)
    needed = {member for policy in (*policies, *own) for member in policy.members()}
    loaded = {member: models.load(member) for member in sorted(needed, key=str)}
    return Setup(tuple(policies), own, loaded, clock)


def speculating(setup: Setup, speculation: Speculation) -> Method:
    """A method that speculates; it learns its lengths over all its runs, as a session does."""
    pace = Pace()
    return lambda task: setup.speculative(task, speculation, pace)


def sequential(setup: Setup) -> Method:
    """The rows one after another, each alone, plainly. Row 0's random stream serves all, as it would."""

    def run(task: Task) -> Output:
        outputs = [setup.alone(row).plain(task) for row in range(len(setup.policies))]
        return Output(tuple(ids for output in outputs for ids in output.ids))

    return run


def collected(
    steps: Generator[list[Drawn], None, None], rows: int, clock: Clock, began: Callable[[], None] = nothing
) -> Output:
    """Drain a decoding loop; `began` is called, and the clock read, once the prompts are read."""
    with closing(steps):
        next(steps)
        began()
        started = clock()
        drawn = list(steps)
        seconds = clock() - started
    return _output(drawn, rows, seconds)


def _output(steps: Sequence[Sequence[Drawn]], rows: int, seconds: float) -> Output:
    """What a loop drew, row by row and cycle by cycle."""
    ids: list[list[int]] = [[] for _ in range(rows)]
    logprobs: list[list[float]] = [[] for _ in range(rows)]
    drafting: dict[int, Drafting] = {}
    for step in steps:
        for each in step:
            ids[each.row].append(each.token)
            logprobs[each.row].append(each.logprob)
            if each.drafting is not None:
                drafting[each.row] = each.drafting
    return Output(
        ids=tuple(map(tuple, ids)),
        decoding=seconds,
        logprobs=tuple(map(tuple, logprobs)),
        drafting=tuple(drafting[row] for row in sorted(drafting)),
        cycles=tuple(_tokens_a_row(step) for step in steps if step),  # [] only lets callers close in mid-cycle
    )


def _tokens_a_row(step: Sequence[Drawn]) -> tuple[int, ...]:
    """The tokens that each row of a cycle got."""
    counts: dict[int, int] = {}
    for each in step:
        counts[each.row] = counts.get(each.row, 0) + 1
    return tuple(counts.values())

"""What keeping records costs: our loops with a recorder and without, taking turns on the same jobs (SPEED.md 2.8).

The records are taken as a session takes them (`narrator`). The bars are at most here: 5% more time, and half a
kilobyte a token; nothing is gained by records being dearer, so the larger of several is what is claimed.
"""

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from eft_core.autoregressive import decode
from eft_core.benchmark.own import GREEDY, NO_END, Method, Setup, Task, collected, setup_of
from eft_core.benchmark.timing import Clock, Output, Ratio, Rounds, interleaved, speedup
from eft_core.config import Sampling, Speculation
from eft_core.continuation import Drawn
from eft_core.draft_length import Pace
from eft_core.family import default_columns
from eft_core.models import Models
from eft_core.narrator import PATIENCE
from eft_core.policy import Policy
from eft_core.recorder import Recorder
from eft_core.speculative import speculate
from eft_core.trace import Trace

ONE, COLUMNS, COSTLY = "one row", "default columns", "one row, costlier large base"
LOOPS: Mapping[str, Speculation | None] = {"plain": None, "adaptive": Speculation(None, "block")}
# Loops whose text does not depend on how long their passes take.
_EXACT: Mapping[str, Speculation | None] = {
    "plain": None,
    "block, k = 4": Speculation(4, "block"),
    "token, k = 3": Speculation(3, "token"),
    "noise, adaptive": Speculation(None, "noise"),
}
_WARM = Sampling(temperature=1.0, seed=11)


@dataclass(frozen=True, slots=True)
class Recording:
    """Rounds of every loop, as it is and `recorded`, and the bytes that a token's record takes."""

    rounds: Rounds
    bytes_a_token: float

    def over_not(self, loop: str) -> Ratio:
        """Time with records over time without, of the loop after the prompts were read; > 1 where records cost."""
        return speedup(self.rounds, loop, recorded(loop), decoding=True)


def recorded(loop: str) -> str:
    """The name of a loop that keeps records."""
    return f"{loop}, recorded"


def recordings(
    models: Models, policy: Policy, costly: Setup, job: Callable[[int], Task], rounds: int, clock: Clock
) -> dict[str, Recording]:
    """One row of `policy`; the columns that a comparison of the family shows first; one row with a costlier large base,
    for a record costs the same whatever its models do."""
    print("measuring: records", file=sys.stderr, flush=True)
    columns = [each for _, each in default_columns(models.family)]
    setups = {ONE: setup_of(models, [policy], clock), COLUMNS: setup_of(models, columns, clock), COSTLY: costly}
    return {name: measured(setup, job, rounds, clock) for name, setup in setups.items()}


def measured(setup: Setup, job: Callable[[int], Task], rounds: int, clock: Clock) -> Recording:
    """Every loop with and without records. Both of a pair learn draft lengths together: records do not change them."""
    kept: list[Trace] = []
    methods: dict[str, Method] = {}
    for loop, speculation in LOOPS.items():
        pace = Pace()
        methods[loop] = _method(setup, speculation, pace, clock, None)
        methods[recorded(loop)] = _method(setup, speculation, pace, clock, kept)

    def run(method: Method) -> Callable[[int], Output]:
        return lambda number: method(job(number))

    found = interleaved({name: run(method) for name, method in methods.items()}, rounds, clock)
    return Recording(found, sum(trace.nbytes for trace in kept) / sum(len(trace) for trace in kept))


def claimed(recording: Recording) -> Ratio:
    """The larger of all loops: what records cost at most."""
    return max((recording.over_not(loop) for loop in LOOPS), key=lambda ratio: ratio.median)


def differing(setup: Setup, prompts: Sequence[tuple[int, ...]], tokens: int) -> str:
    """What a record changes of the text, or tells otherwise than the text is; "" if nothing."""
    for loop, speculation in _EXACT.items():
        for task in (Task(prompt, tokens, sampling) for prompt in prompts for sampling in (GREEDY, _WARM)):
            kept: list[Trace] = []
            without, found = (_method(setup, speculation, Pace(), setup.clock, each)(task) for each in (None, kept))
            if found.ids != without.ids:
                return f"{loop}: another text"
            if sorted(found.ids) != sorted(tuple(trace.tokens.tolist()) for trace in kept):
                return f"{loop}: records of other tokens"
    return ""


def _method(
    setup: Setup, speculation: Speculation | None, pace: Pace, clock: Clock, kept: list[Trace] | None
) -> Method:
    """Plain decoding or speculation; with `kept` a recorder runs, and the rows' traces are added there."""

    def run(task: Task) -> Output:
        rows = setup.rows(task)
        recorder = None if kept is None else Recorder([(row.policy, row.policy.members()) for row in rows])
        if speculation is None:
            steps = decode(rows, setup.models, NO_END, recorder=recorder)
        else:
            steps = speculate(rows, setup.drafters, setup.models, NO_END, speculation, pace, recorder=recorder)
        if recorder is None or kept is None:
            return collected(steps, len(rows), clock)
        traces: dict[int, list[Trace]] = {number: [] for number in range(len(rows))}
        output = collected(_taken(steps, recorder, traces, clock), len(rows), clock)
        kept.extend(Trace.join(parts) for parts in traces.values())
        return output

    return run


def _taken(
    steps: Generator[list[Drawn], None, None], recorder: Recorder, traces: Mapping[int, list[Trace]], clock: Clock
) -> Generator[list[Drawn], None, None]:
    """A loop whose records are taken when they are many, when they have waited long, and when their row ends."""
    with closing(steps):
        yield next(steps)
        began = clock()
        for drawn in steps:
            now = clock()
            late = recorder.full or now - began > PATIENCE
            ended = {each.row for each in drawn if each.reason}
            if late or ended:
                for row, trace in recorder.take(None if late else ended).items():
                    traces[row].append(trace)
            began = now if late else began
            yield drawn

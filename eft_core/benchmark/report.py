"""What the benchmark says to people: machine, checks, and aligned tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from eft_core.benchmark import measure, results
from eft_core.benchmark.identity import Check
from eft_core.benchmark.measure import PLAIN, Lab, Results
from eft_core.benchmark.prediction import Costs
from eft_core.benchmark.recording import LOOPS
from eft_core.benchmark.results import AtLength
from eft_core.benchmark.timing import Rounds, drafting_of, lockstep, speedup, summary, tokens_per_second
from eft_core.events import Drafting

Row = Sequence[str]


def table(head: Row, rows: Iterable[Row]) -> str:
    """Columns as wide as their widest cell: the first to the left, the others, numbers, to the right."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines]
    return "\n".join([aligned[0], "  ".join("-" * width for width in widths), *aligned[1:]])


def checks_told(checks: Sequence[Check]) -> str:
    """Every claim and whether it holds; then whether speeds may follow."""
    lines = [f"{'holds ' if check.passed else 'FAILS '} {check.claim}" for check in checks]
    lines += [f"       {check.claim}: {check.problem}" for check in checks if not check.passed]
    failed = sum(not check.passed for check in checks)
    if failed:
        lines.append(
            f"No speeds: {failed} of {len(checks)} identity checks failed, and a fast wrong text is worth nothing."
        )
    return "\n".join(lines)


def machine_told(machine: Mapping[str, str | int], lab: Lab) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in machine.items())
    scale = lab.scale
    forward = "our own" if lab.setup.models[lab.large].lean else "the library's"
    job = (
        f"{lab.policy.formula()}, {len(lab.prompts)} prompts, forced length {scale.tokens}, batch 1, forward {forward}"
    )
    return f"{facts}\n{lab.models.family.name}: {job}"


def told(found: Results, lab: Lab) -> Iterator[str]:
    """All tables, in the order of reading."""
    scale, ratio = lab.scale, f"cost ratio {found.costly.asked:g}"
    yield (
        "Ratios, medians of paired rounds with 95% bootstrap intervals; the smaller of greedy and temperature 1. "
        "recording_over_not is a time over a time, the larger of two loops: less is better"
    )
    claimed = results.ratios(found, scale.lengths) | results.adaptive(found, scale.lengths, scale.costly_lengths)
    yield table(("ratio", "median [95%]", "pairs"), [(name, str(r), str(r.pairs)) for name, r in claimed.items()])
    yield f'"cost10" in a name: at {_costly(found)}'
    yield costs_told("Costs of passes", found.costs)
    yield costs_told(f"Costs of passes at {ratio}", found.costly_costs)
    for name, rounds in found.up.items():
        yield f"Up-scaling, {name}\n{speeds(rounds)}"
        yield f"Gain by block length, {name}\n{gains(results.at_lengths(rounds, found.costs, scale.lengths))}"
    for name, rounds in found.costly_rounds.items():
        points = results.at_lengths(rounds, found.costly_costs, scale.costly_lengths)
        yield f"Up-scaling at {ratio}, {name}\n{speeds(rounds)}\n\n{gains(points)}"
    for name, rounds in found.zero.items():
        yield f"Weight 0, the large base drafted by the small tuned model, {name}\n{speeds(rounds)}"
    yield from rows_told(found)
    yield floor_told(found)
    yield recording_told(found)
    for name, rounds in found.shapes.items():
        yield f"Prompt and answer of {name} tokens, greedy\n{speeds(rounds)}"


def speeds(rounds: Rounds) -> str:
    """All methods of a group: tokens a second, and how many times as fast as our plain loop."""
    lines = []
    for name, runs in rounds.items():
        drafting = drafting_of(runs)
        over = "1" if name == PLAIN else str(speedup(rounds, name, PLAIN))
        lines.append((name, f"{tokens_per_second(runs):.0f}", over, *acceptance_cells(drafting)))
    return table(("method", "tokens/s", "over own plain [95%]", "accepted", "tokens a cycle"), lines)


def acceptance_cells(drafting: Drafting) -> tuple[str, str]:
    """Acceptance and tokens a cycle; empty where nothing was drafted."""
    if drafting.acceptance is None or drafting.tokens_a_cycle is None:
        return "", ""
    return f"{drafting.acceptance:.1%}", f"{drafting.tokens_a_cycle:.2f}"


def by_position(drafting: Drafting) -> str:
    return " ".join(f"{share:.0%}" for share in drafting.acceptance_by_position)


def gains(points: Sequence[AtLength]) -> str:
    """Measured and predicted gain of the decode loop over plain decoding, by k (SPEED.md 2.2)."""
    head = ("k", "gain [95%]", "predicted", "measured/predicted", "acceptance", "tokens a cycle")
    return table(
        head,
        [
            (
                str(point.k),
                str(point.gain),
                f"{point.predicted:.2f}",
                f"{point.over_predicted.median:.2f}",
                f"{point.acceptance:.1%}",
                f"{point.tokens_a_cycle:.2f}",
            )
            for point in points
        ],
    )


def costs_told(title: str, costs: Costs) -> str:
    """T_L(1), T_S(1), c, and the price of longer passes."""
    first = f"T_L(1) = {1e3 * costs.large:.2f} ms, T_S(1) = {1e3 * costs.small:.2f} ms, c = {costs.c:.3f}"
    lengths = sorted(costs.v_large)
    rows = [
        [name, *(f"{v[n]:.2f}" for n in lengths)] for name, v in (("v_L(n)", costs.v_large), ("v_S(n)", costs.v_small))
    ]
    return f"{title}: {first}\n{table(['n', *map(str, lengths)], rows)}"


def rows_told(found: Results) -> Iterator[str]:
    """Several settings of one prompt: one ragged batch, one after another, and what lockstep would give."""
    lines = []
    for rows, rounds in found.batches.items():
        over = [str(speedup(rounds, name, measure.SEQUENTIAL)) for name in (measure.BATCH, measure.BATCH_SPECULATIVE)]
        lines.append((str(rows), *over, *_lockstep_cells(rounds, rows)))
    head = ("rows", "batch over sequential [95%]", "speculative batch", "tokens a cycle, ragged", "in lockstep")
    k = measure.LOCKSTEP_LENGTH
    yield f"Settings side by side, greedy, k = {k}\n{table(head, lines)}"
    yield (
        "A caution: lockstep is simulated, the smallest of the rows' recorded accepted counts in each real cycle; no "
        "loop here cuts rows to the shortest acceptance."
    )


def _lockstep_cells(rounds: Rounds, rows: int) -> tuple[str, str]:
    cycles = [cycle for run in rounds[measure.BATCH_SPECULATIVE] for cycle in run.output.cycles]
    counted = lockstep(cycles, rows)
    return (f"{counted[0]:.2f}", f"{counted[1]:.2f}") if counted else ("", "")


def floor_told(found: Results) -> str:
    """The share of the decode loop that bare forwards of its shapes take."""
    rows = [(name, str(summary(each.shares)), str(each.forwards)) for name, each in found.floors.items()]
    return "Bare forwards of the same shapes, share of the decode loop\n" + table(
        ("loop", "share [95%]", "forwards"), rows
    )


def recording_told(found: Results) -> str:
    """What records cost every loop, and their size."""
    rows = [
        (f"{name}, {loop}", str(each.over_not(loop)), f"{each.bytes_a_token:.0f}")
        for name, each in found.recordings.items()
        for loop in LOOPS
    ]
    head = ("loop", "with over without [95%]", "bytes a token")
    return "Decoding time with records of every token over the time without\n" + table(head, rows)


def memory_told(memory: Mapping[str, float]) -> str:
    """Megabytes at their highest, by where."""
    return ", ".join(f"{name.removesuffix('_mb')} {megabytes:.0f} MB" for name, megabytes in memory.items())


def acceptance_told(found: Results) -> str:
    drafting = results.acceptance(found)
    overall = f"{drafting.acceptance:.1%}" if drafting.acceptance is not None else "nothing was drafted"
    return f"Acceptance of the block rule, all lengths: {overall}; by position {by_position(drafting)}"


def _costly(found: Results) -> str:
    costly = found.costly
    return (
        f"cost ratio {costly.asked:g}, the large base made costlier by {costly.layers} layers that write nothing "
        f"(measured: {1 / found.costly_costs.c:.1f} times the small model)"
    )

"""`speculation`: tokens a second, acceptance and tokens a cycle against the block length, beside the paper's table.

(Mitchell et al. 2023, section 4.5; Llama-2 7B up-scaled to 70B, read off its figure.) The benchmark's own methods and
clock; times are believed as ratios of one round only (SPEED.md 2.8).
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

from eft_core.benchmark import machine, measure
from eft_core.benchmark.measure import ADAPTIVE, PLAIN, Costly, Lab, fixed
from eft_core.benchmark.own import Method, Setup, setup_of
from eft_core.benchmark.prompts import task
from eft_core.benchmark.timing import Output, Rounds, drafting_of, interleaved, speedup, tokens_per_second
from eft_core.experiments.study import DIGITS, Finding, Read, Row
from eft_core.journal import Journal
from eft_core.policy import plain
from eft_core.session import Session

# Tokens a second by block length, 0 for plain: (HH, ELI5). The plain 70B model had 9.3.
PAPER = {0: (6.0, 6.1), 2: (9.2, 9.5), 4: (12.5, 13.2), 8: (13.8, 15.1), 16: (12.1, 14.2)}
PAPER_LARGE = 9.3
LENGTHS = tuple(length for length in PAPER if length)
COST_RATIO = 10.0  # of a 70B and a 7B model
LARGE = "large base, plain"
_SCALE = measure.Scale(
    64, main=8, zero=0, costly=8, batch=0, floor=0, recording=0, shapes=0, passes=40, lengths=LENGTHS,
    costly_lengths=LENGTHS,
)  # fmt: skip


def run(session: Session, file: Path, rounds: int) -> Generator[tuple[int, int], None, Read]:
    """Four groups, each kept in `file` once it is measured: (groups done, groups). ValueError without a pair."""
    models = session.models
    lab = measure.lab_of(models, machine.clock(models.device), _SCALE)
    head = {"kind": "speculation", "family": models.family.name, "policy": lab.policy.to_dict(), "rounds": rounds,
            "tokens": _SCALE.tokens}  # fmt: skip
    rows: list[Row] = []
    with Journal(file, head, machine.description(models.device, models.dtype_name)) as journal:
        rows = list(journal.lines)
        groups = [
            (name, temperature) for name in ("as it is", "costly") for temperature in measure.TEMPERATURES.values()
        ]
        costly: Costly | None = None
        for number, (name, temperature) in enumerate(groups):
            yield number, len(groups)
            if any(row["models"] == name and row["temperature"] == temperature for row in rows):
                continue
            if name == "costly" and costly is None:
                costly = measure.costlier(lab, COST_RATIO)
            setup = lab.setup if costly is None else costly.setup
            for row in _rows(lab, setup, name, temperature, rounds):
                journal.append(row)
                rows.append(row)
    return Read(rows, findings(rows), {"The paper's table": paper_rows()})


def _rows(lab: Lab, setup: Setup, name: str, temperature: float, rounds: int) -> list[Row]:
    """One group: every method once a round, a row a method."""
    methods = measure.own_methods(setup, LENGTHS) | {LARGE: _large(lab, setup)}
    timed = _timed(lab, methods, temperature, rounds)
    return [_row(timed, method, name, temperature) for method in (PLAIN, *map(fixed, LENGTHS), ADAPTIVE, LARGE)]


def _large(lab: Lab, setup: Setup) -> Method:
    """The large base alone, plainly, as this group has it."""
    alone = setup_of(lab.models, [plain(lab.policy.pretrain)], lab.clock)
    return Setup(alone.policies, alone.drafters, {lab.large: setup.models[lab.large]}, lab.clock).plain


def _timed(lab: Lab, methods: Mapping[str, Method], temperature: float, rounds: int) -> Rounds:
    def at(method: Method) -> Callable[[int], Output]:
        return lambda number: method(task(lab.prompts, number, lab.scale.tokens, temperature))

    return interleaved({name: at(method) for name, method in methods.items()}, rounds, lab.clock)


def _row(timed: Rounds, method: str, models: str, temperature: float) -> Row:
    """A method's row; gains are over plain emulated fine-tuning in the same rounds."""
    gain, drafting = speedup(timed, method, PLAIN, decoding=True), drafting_of(timed[method])
    length = next((k for k in LENGTHS if fixed(k) == method), 0 if method == PLAIN else None)
    paper = PAPER.get(length) if length is not None else None
    return {
        "models": models,
        "temperature": temperature,
        "method": method,
        "length": length,
        "tokens_per_second": round(tokens_per_second(timed[method]), 1),
        "gain": round(gain.median, DIGITS),
        "gain_interval": [round(gain.low, DIGITS), round(gain.high, DIGITS)],
        "acceptance": drafting.acceptance and round(drafting.acceptance, DIGITS),
        "tokens_a_cycle": drafting.tokens_a_cycle and round(drafting.tokens_a_cycle, DIGITS),
        "paper_gain_hh": None if paper is None else round(paper[0] / PAPER[0][0], 2),
        "paper_gain_eli5": None if paper is None else round(paper[1] / PAPER[0][1], 2),
        "n": gain.pairs,
    }


def paper_rows() -> list[Row]:
    """The paper's tokens a second, as read off its figure."""
    rows: list[Row] = [{"block": k or "plain", "HH": hh, "ELI5": eli5} for k, (hh, eli5) in PAPER.items()]
    return [*rows, {"block": "plain 70B", "HH": PAPER_LARGE, "ELI5": PAPER_LARGE}]


def findings(rows: Sequence[Row]) -> list[Finding]:
    """What a user gets: adaptive lengths against plain, and against the large base alone."""
    found = []
    for row in rows:
        if row["method"] != ADAPTIVE:
            continue
        low, high = row["gain_interval"]
        base = next(r for r in rows if r["method"] == LARGE and _group(r) == _group(row))
        claim = (
            f"{_group(row)}: adaptive speculation gives {row['gain']:.2f} [{low:.2f}, {high:.2f}] times the tokens a "
            f"second of plain emulated fine-tuning, and {row['gain'] / base['gain']:.2f} times those of the large base "
            "alone (paper: 2.3 to 2.5, and 1.5 to 1.6)"
        )
        found.append(Finding(claim, low > 1))
    return found


def _group(row: Row) -> str:
    how = "greedy" if row["temperature"] == 0 else f"temperature {row['temperature']:g}"
    ratio = "the pair as it is" if row["models"] == "as it is" else f"a large base {COST_RATIO:g} times as costly"
    return f"{ratio}, {how}"

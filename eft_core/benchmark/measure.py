"""What is measured, and in which company: groups of methods that take turns on the same jobs (SPEED.md 2.8)."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eft_core.benchmark.costs import made_costlier, measure_costs
from eft_core.benchmark.floor import Shares, shares
from eft_core.benchmark.library import as_library, generating, proxy_tuning, with_processor
from eft_core.benchmark.own import Method, Setup, Task, sequential, setup_of, speculating
from eft_core.benchmark.prediction import Costs
from eft_core.benchmark.prompts import encoded, questions, shapes, task
from eft_core.benchmark.recording import Recording, recordings
from eft_core.benchmark.timing import Clock, Output, Rounds, interleaved
from eft_core.config import Speculation
from eft_core.draft_length import Pace
from eft_core.model import Model
from eft_core.models import Models
from eft_core.policy import Member, Policy, plain, tuned, up_scale

TEMPERATURES = {"greedy": 0.0, "temperature 1": 1.0}
PROXY, PROCESSOR, LARGE = "proxy-tuning loop", "small models in generate", "large base in generate"
PLAIN, ADAPTIVE, TOKEN, NOISE = "own plain", "own block, adaptive", "own token, adaptive", "own noise, adaptive"
ASSISTED, ASSISTED_CONSTANT = "assisted generation, defaults", "assisted generation, 5 tokens"
BATCH, SEQUENTIAL, BATCH_SPECULATIVE = "one batch", "one after another", "one batch, speculative"
LOCKSTEP_LENGTH = 4


def fixed(k: int) -> str:
    """The name of the block rule at a fixed length."""
    return f"own block, k = {k}"


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured: forced length, rounds of each group, fixed block lengths. No rounds: not measured."""

    tokens: int
    main: int
    zero: int
    costly: int
    batch: int
    floor: int
    recording: int
    shapes: int
    passes: int
    lengths: tuple[int, ...]
    costly_lengths: tuple[int, ...]


QUICK = Scale(48, main=6, zero=5, costly=5, batch=3, floor=5, recording=10, shapes=0, passes=40, lengths=(1, 2, 4, 8),
              costly_lengths=(4, 8))  # fmt: skip
FULL = Scale(96, main=14, zero=12, costly=10, batch=6, floor=10, recording=40, shapes=5, passes=80,
             lengths=(1, 2, 3, 4, 6, 8, 12), costly_lengths=(2, 4, 6, 8, 12))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lab:
    """The pair of sizes under test and everything that runs on it."""

    models: Models
    clock: Clock
    scale: Scale
    prompts: list[tuple[int, ...]]
    context: int
    policy: Policy
    setup: Setup

    @property
    def large(self) -> Member:
        return Member(self.policy.pretrain)

    @property
    def small(self) -> tuple[Member, Member]:
        """(tuned, base) of the small size."""
        assert self.policy.finetune is not None, "the benchmark's policy is up-scaled"
        return Member(self.policy.finetune, self.policy.pairs[0][0]), Member(self.policy.finetune)


def lab_of(models: Models, clock: Clock, scale: Scale) -> Lab:
    """The family's default pair, up-scaled with weight 1. ValueError if it has no pair."""
    family = models.family
    if family.default_pretrain == family.default_finetune or not family.default_behaviour:
        raise ValueError(
            f"{family.name} has no pair to benchmark: its families file must name a larger default_pretrain, "
            "a smaller default_finetune and a default_behaviour."
        )
    policy = up_scale(family.default_pretrain, family.default_finetune, family.default_behaviour)
    context = min(models.facts(member).context for member in policy.members())
    prompts = encoded(models, questions(family.name), scale.tokens, context)
    return Lab(models, clock, scale, prompts, context, policy, setup_of(models, [policy], clock))


def settings(policy: Policy, rows: int) -> list[Policy]:
    """`rows` up-scaled settings of one pair as a Compare page would hold them: weights and amplifications differ."""
    ((behaviour, _),) = policy.pairs
    steps = [(1.0, 1.0), (0.5, 1.0), (1.5, 1.0), (1.0, 0.5), (1.0, 1.5), (0.75, 1.25), (1.25, 0.75), (0.6, 0.8)]
    return [Policy(policy.pretrain, policy.finetune, {behaviour: weight}, beta) for weight, beta in steps[:rows]]


def library_methods(lab: Lab) -> dict[str, Method]:
    """What others would run for the same policy, on our weights."""
    large, tuned_small, base_small = (as_library(lab.setup.models[each]) for each in (lab.large, *lab.small))
    networks = (large, tuned_small, base_small)
    return {PROXY: proxy_tuning(*networks), PROCESSOR: with_processor(*networks)}


def zero_methods(lab: Lab) -> dict[str, Method]:
    """The large base as it is, and with the small tuned model as its assistant: weight 0, the same job for all."""
    large, tuned_small = (as_library(lab.setup.models[each]) for each in (lab.large, lab.small[0]))
    return {
        LARGE: generating(large),
        ASSISTED: generating(large, tuned_small),
        ASSISTED_CONSTANT: generating(large, tuned_small, drafted=5),
    }


def zero_setup(lab: Lab) -> Setup:
    """The large base as a row, drafted by the small tuned model."""
    member = lab.small[0]
    return setup_of(lab.models, [plain(lab.policy.pretrain)], lab.clock, [tuned(member.behaviour or "", member.size)])


def own_methods(setup: Setup, lengths: Sequence[int] = (), rules: bool = False) -> dict[str, Method]:
    """Plain and adaptive block; with `rules` the other rules too; and the block rule at fixed lengths."""
    methods: dict[str, Method] = {PLAIN: setup.plain, ADAPTIVE: speculating(setup, Speculation(None, "block"))}
    if rules:
        methods[TOKEN] = speculating(setup, Speculation(None, "token"))
        methods[NOISE] = speculating(setup, Speculation(None, "noise"))
    return methods | {fixed(k): speculating(setup, Speculation(k, "block")) for k in lengths}


@dataclass(frozen=True, slots=True)
class Costly:
    """A costlier copy of the large base in its place: the ratio asked for, its layers more, and the models with it."""

    asked: float
    layers: int
    setup: Setup


def costlier(lab: Lab, ratio: float) -> Costly:
    """The lab's setup with a large base `ratio` times as costly as the small models."""
    large, small = lab.setup.models[lab.large], lab.setup.models[lab.small[0]]
    model, layers = made_costlier(large, small, ratio, 3 * lab.scale.passes, lab.clock)
    models: Mapping[Member, Model] = {**lab.setup.models, lab.large: model}
    return Costly(ratio, layers, Setup(lab.setup.policies, lab.setup.drafters, models, lab.clock))


@dataclass(frozen=True, slots=True)
class Results:
    """All that was timed. `up`, `zero` and `costly_rounds` hold one table of rounds for greedy and temperature 1."""

    costs: Costs
    up: Mapping[str, Rounds]
    zero: Mapping[str, Rounds]
    costly: Costly
    costly_costs: Costs
    costly_rounds: Mapping[str, Rounds]
    batches: Mapping[int, Rounds]
    floors: Mapping[str, Shares]
    recordings: Mapping[str, Recording]
    shapes: Mapping[str, Rounds]


def measured(lab: Lab, costly: Costly) -> Results:
    """Run all groups, one after another; within each, methods take turns."""
    scale, models, zero = lab.scale, lab.setup.models, zero_setup(lab)
    small = models[lab.small[0]]
    passes = sorted({1, *(k + 1 for k in (*scale.lengths, *scale.costly_lengths))})
    _say("costs of passes")
    costs = measure_costs(models[lab.large], small, passes, scale.passes, lab.clock)
    costly_costs = measure_costs(costly.setup.models[lab.large], small, passes, scale.passes, lab.clock)
    others = library_methods(lab) | {LARGE: zero_methods(lab)[LARGE]}
    dearer = f"cost ratio {costly.asked:g}"
    return Results(
        costs=costs,
        up=_both(lab, lambda: others | own_methods(lab.setup, scale.lengths, rules=True), scale.main, "up-scaling"),
        zero=_both(lab, lambda: zero_methods(lab) | own_methods(zero), scale.zero, "weight 0"),
        costly=costly,
        costly_costs=costly_costs,
        costly_rounds=_both(lab, lambda: own_methods(costly.setup, scale.costly_lengths), scale.costly, dearer),
        batches={rows: _batch(lab, rows) for rows in (2, 5, 8)},
        floors=_floors(lab),
        recordings=recordings(
            lab.models, lab.policy, costly.setup, lambda n: _job(lab, n, n % 2), scale.recording, lab.clock
        ),
        shapes=_shapes(lab, others) if scale.shapes else {},
    )


def _say(what: str) -> None:
    print(f"measuring: {what}", file=sys.stderr, flush=True)


def _both(lab: Lab, methods: Callable[[], Mapping[str, Method]], rounds: int, what: str) -> dict[str, Rounds]:
    """A group, greedy and at temperature 1; what one has learned of lengths does not help the other."""
    found: dict[str, Rounds] = {}
    for name, temperature in TEMPERATURES.items():
        _say(f"{what}, {name}")
        found[name] = _rounds(lab, methods(), rounds, lambda number, t=temperature: _job(lab, number, t))  # type: ignore[misc]
    return found


def _job(lab: Lab, number: int, temperature: float) -> Task:
    return task(lab.prompts, number, lab.scale.tokens, temperature)


def _rounds(lab: Lab, methods: Mapping[str, Method], rounds: int, job: Callable[[int], Task]) -> Rounds:
    def run(method: Method) -> Callable[[int], Output]:
        return lambda number: method(job(number))

    return interleaved({name: run(method) for name, method in methods.items()}, rounds, lab.clock)


def _batch(lab: Lab, rows: int) -> Rounds:
    """Several settings of one prompt, together and one after another; speculative with a fixed length for lockstep."""
    _say(f"{rows} rows")
    setup = setup_of(lab.models, settings(lab.policy, rows), lab.clock)
    methods: dict[str, Method] = {
        SEQUENTIAL: sequential(setup),
        BATCH: setup.plain,
        BATCH_SPECULATIVE: speculating(setup, Speculation(LOCKSTEP_LENGTH, "block")),
    }
    return _rounds(lab, methods, lab.scale.batch, lambda number: _job(lab, number, 0.0))


def _floors(lab: Lab) -> dict[str, Shares]:
    """The bare forwards' part of the plain and of the adaptive loop, greedy."""
    _say("the floor")
    setup, pace = lab.setup, Pace()

    def run_plain(models: Mapping[Member, Model], began: Callable[[], None], number: int) -> Output:
        return Setup(setup.policies, setup.drafters, models, lab.clock).plain(_job(lab, number, 0.0), began)

    def run_speculative(models: Mapping[Member, Model], began: Callable[[], None], number: int) -> Output:
        same = Setup(setup.policies, setup.drafters, models, lab.clock)
        return same.speculative(_job(lab, number, 0.0), Speculation(None, "block"), pace, began)

    runs = {PLAIN: run_plain, ADAPTIVE: run_speculative}
    return {name: shares(run, setup.models, lab.scale.floor, lab.clock) for name, run in runs.items()}


def _shapes(lab: Lab, others: Mapping[str, Method]) -> dict[str, Rounds]:
    """Short and long prompts and answers, greedy."""
    found: dict[str, Rounds] = {}
    for name, (prompt, tokens) in shapes(lab.prompts, lab.context).items():
        _say(f"lengths {name}")
        methods = {**others, **own_methods(lab.setup)}
        found[name] = _rounds(lab, methods, lab.scale.shapes, lambda _, p=prompt, n=tokens: Task(p, n))  # type: ignore[misc]
    return found

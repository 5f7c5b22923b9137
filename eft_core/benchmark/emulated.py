"""What emulation costs at published sizes: an up-scaled pair of random weights, with acceptance forced (`forced`).

Rates are those of decoding, after the prompt was read; gains are medians of ratios within a round (SPEED.md 2.8).
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from eft_core.autoregressive import decode
from eft_core.benchmark.costs import measure_costs
from eft_core.benchmark.forced import forced
from eft_core.benchmark.own import NO_END, Setup, Task, speculating
from eft_core.benchmark.shapes import random_network, shape_named
from eft_core.benchmark.timing import Clock, Measured, drafting_of, interleaved, speedup
from eft_core.captured import Record, Recorders
from eft_core.config import Sampling, Speculation
from eft_core.lean import refusal
from eft_core.model import Model
from eft_core.policy import Member, Policy, plain, tuned, up_scale
from eft_core.quantised import quantise

LARGE, SMALL, TUNED = Member("large"), Member("small"), Member("small", "tuned")
POLICY, DRAFTER = up_scale("large", "small", "tuned"), tuned("tuned", "small")
PLAIN, ADAPTIVE, BASE = "plain", "adaptive", "large base alone"
_PROMPT = 48  # tokens: a question in its chat template


@dataclass(frozen=True, slots=True)
class Pair:
    """What to run: names of `shapes`, and how the members lie in memory."""

    large: str
    small: str
    dtype: torch.dtype
    device: torch.device
    small_device: torch.device
    quantise: str = "none"
    captured: bool = False

    @property
    def bytes(self) -> int:
        """Of all weights, where none are quantised."""
        large, small = shape_named(self.large), shape_named(self.small)
        return (large.parameters + 2 * small.parameters) * self.dtype.itemsize

    def models(self) -> dict[Member, Model]:
        """The three members, each with weights of its own."""
        names = {LARGE: (self.large, self.device), SMALL: (self.small, self.small_device)}
        names[TUNED] = names[SMALL]
        recorders = Recorders() if self.captured else None
        return {
            member: self._model(name, device, recorders.on(device) if recorders else None, seed)
            for seed, (member, (name, device)) in enumerate(names.items())
        }

    def _model(self, name: str, device: torch.device, record: Record | None, seed: int) -> Model:
        shape = shape_named(name)
        network = random_network(shape, self.dtype, device, seed)
        if self.quantise != "none":
            network = quantise(network, self.quantise)
        return Model(network, shape.vocabulary, refusal(network) is None, record)


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is measured: tokens a run, rounds, fixed draft lengths."""

    tokens: int
    rounds: int
    lengths: tuple[int, ...]


def measured(pair: Pair, acceptances: Sequence[float], amount: Amount, clock: Clock) -> dict[str, Any]:
    """A pair's document: sizes, costs of passes, and for each acceptance rates and gains over plain decoding."""
    models = pair.models()
    large, small = models[LARGE], models[TUNED]
    costs = measure_costs(large, small, [k + 1 for k in amount.lengths], amount.rounds, clock)
    return {
        "weights": "random",
        "large": {"name": pair.large, **shape_named(pair.large).told()},
        "small": {"name": pair.small, **shape_named(pair.small).told()},
        "dtype": str(pair.dtype).removeprefix("torch."),
        "quantise": pair.quantise,
        "devices": {str(member): str(model.device) for member, model in models.items()},
        "forward": "lean" if large.lean else "library",
        "captured": large.captured,
        "weights_mb": rounded(sum(_bytes(model) for model in models.values()) / 1e6),
        "tokens": amount.tokens,
        "rounds": amount.rounds,
        "first_token_seconds": rounded(first_token(models, POLICY, amount.rounds, clock)),
        "costs": {
            "large_pass_ms": rounded(1000 * costs.large),
            "small_pass_ms": rounded(1000 * costs.small),
            "cost_ratio": rounded(1 / costs.c),
            "large_pass_of_n_tokens": {n: rounded(value) for n, value in costs.v_large.items()},
        },
        "runs": [_run(models, acceptance, amount, clock) for acceptance in acceptances],
    }


def _run(models: Mapping[Member, Model], acceptance: float, amount: Amount, clock: Clock) -> dict[str, Any]:
    """Rates and gains where so many drafts are accepted. All methods draw the same tokens."""
    positions = _PROMPT + amount.rounds + amount.tokens + 64
    setup = Setup((POLICY,), (DRAFTER,), forced(models, POLICY, acceptance, positions), clock)
    base = Setup((plain("large"),), (plain("large"),), models, clock)
    methods = {
        BASE: base.plain,
        PLAIN: setup.plain,
        **{f"k = {k}": speculating(setup, Speculation(k, "block")) for k in amount.lengths},
        ADAPTIVE: speculating(setup, Speculation(None, "block")),
    }
    rounds = interleaved(
        {name: lambda number, run=method: run(_task(number, amount.tokens)) for name, method in methods.items()},  # type: ignore[misc]
        amount.rounds,
        clock,
    )
    emulating = [name for name in methods if name != BASE]
    for number in range(amount.rounds):
        texts = {rounds[name][number].output.ids for name in emulating}
        if len(texts) > 1:
            raise ValueError("speculation gave another text than plain decoding: no speed is told; report this.")
    speculative = [name for name in emulating if name != PLAIN]
    return {
        "acceptance_asked": acceptance,
        "acceptance": rounded(drafting_of([run for name in speculative for run in rounds[name]]).acceptance),
        "tokens_per_second": {name: rounded(rate(runs)) for name, runs in rounds.items()},
        "over_plain": {
            name: {"median": rounded(ratio.median), "interval": [rounded(ratio.low), rounded(ratio.high)]}
            for name in speculative
            for ratio in (speedup(rounds, name, PLAIN, decoding=True),)
        },
    }


def rate(runs: Sequence[Measured]) -> float:
    """Tokens a second once the prompt is read: the median over rounds."""
    return statistics.median(1 / run.decoding_per_token for run in runs)


def first_token(models: Mapping[Member, Model], policy: Policy, rounds: int, clock: Clock) -> float:
    """Seconds from a prompt to its first token, the median over rounds after one that warms up."""
    found = []
    for number in range(rounds + 1):
        started = clock()
        steps = decode(Setup((policy,), (policy,), models, clock).rows(_task(number, 1)), models, NO_END)
        list(steps)
        found.append(clock() - started)
    return statistics.median(found[1:])


def _task(number: int, tokens: int) -> Task:
    """A round's job: prompts of growing length, so that other positions are refused."""
    return Task(tuple(range(3, 3 + _PROMPT + number)), tokens, Sampling(0.0, seed=number))


def _bytes(model: Model) -> int:
    """Bytes of a model's weights; views of one memory count once."""
    tensors = [*model.network.parameters(), *model.network.buffers()]
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}
    return sum(storages.values())


def rounded(value: float | None) -> float | None:
    """Four digits, which is more than such machines know."""
    return None if value is None else float(f"{value:.4g}")

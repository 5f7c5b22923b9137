"""Is it the same? What must hold in this very run before a speed may be printed (SPEED.md 2.8, 2.9).

Laws by enumeration; greedy and shared-noise text of every rule and length against plain decoding, alone and in ragged
batches; recorded log-probabilities against one pass over the finished text; every comparator's greedy text.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eft_core.autoregressive import decode
from eft_core.benchmark.laws import worst_distance
from eft_core.benchmark.own import NO_END, Method, Setup, Task, collected, sequential
from eft_core.benchmark.timing import Output
from eft_core.config import Rule, Sampling, Speculation
from eft_core.continuation import Continuation
from eft_core.distributions import Mixture, log_probabilities
from eft_core.draft_length import Pace
from eft_core.kv_cache import places
from eft_core.model import Model
from eft_core.random_stream import gumbel
from eft_core.speculative import speculate

RULES: tuple[Rule, ...] = ("token", "block", "noise")
LENGTHS = (0, 1, 4, None)
WARM = Sampling(temperature=1.0, seed=11)
_LAW = 1e-12
# Log-probabilities, in nats, by which rounding moves a token; on a CPU in float32 texts must be equal without it.
_ROUNDING = {torch.float32: 1e-3, torch.bfloat16: 0.3, torch.float16: 0.05}

Problem = str  # what is wrong; "" if nothing is


@dataclass(frozen=True, slots=True)
class Check:
    """A claim, and what is wrong with it."""

    claim: str
    problem: Problem

    @property
    def passed(self) -> bool:
        return not self.problem


def checked(claims: Mapping[str, Callable[[], Problem]]) -> list[Check]:
    """Every claim examined, also after one has failed."""
    return [Check(claim, examine()) for claim, examine in claims.items()]


def claims_about_own(setup: Setup, prompts: Sequence[tuple[int, ...]], tokens: int) -> dict[str, Callable[[], Problem]]:
    """What must hold of our own loops, on `setup`'s rows and these prompts."""
    text = Texts(setup, prompts, tokens)
    return {
        "the token rule has the target's law, by enumeration": lambda: _law(worst_distance("token")),
        "the block rule has the target's law, by enumeration": lambda: _law(worst_distance("block")),
        "greedy text of all rules and lengths is the plain text, alone": lambda: text.alone(Sampling(), RULES),
        "greedy text of all rules and lengths is the plain text, in ragged batches": lambda: text.ragged(
            Sampling(), RULES
        ),
        "shared noise writes the plain text at temperature 1, alone": lambda: text.alone(WARM, ("noise",)),
        "shared noise writes the plain text at temperature 1, in ragged batches": lambda: text.ragged(WARM, ("noise",)),
        "log-probabilities are those of one pass over the finished text": text.rescored,
        "rows in one batch write what they write alone": text.batch,
    }


def claims_about_others(setup: Setup, methods: Mapping[str, Method], task: Task) -> dict[str, Callable[[], Problem]]:
    """Every comparator's greedy text is that of our plain loop on `setup`."""

    def claim(method: Method) -> Callable[[], Problem]:
        return lambda: differences(setup, setup.rows(task), method(task).ids, setup.plain(task).ids)

    return {f"{name}: the greedy text of our plain loop": claim(method) for name, method in methods.items()}


def same_logits(model: Model, copy: Model, prompts: Sequence[tuple[int, ...]]) -> Problem:
    """A costlier copy has the model's logits, bit by bit, by the forward that decodes."""
    for prompt in prompts:
        one, two = (_logits(each, prompt) for each in (model, copy))
        if not torch.equal(one, two):
            return f"a logit differs by {float((one - two).abs().max()):.1e}"
    return ""


def _logits(model: Model, prompt: tuple[int, ...]) -> Tensor:
    """(1, T, V) of a prompt on an empty cache."""
    ids = torch.tensor([prompt], device=model.device)
    positions = torch.arange(len(prompt), device=model.device)[None]
    where = places(positions, len(prompt) - 1, model.dtype, len(prompt))
    return model.forward(ids, where, model.cache(1, len(prompt)))


def _law(distance: float) -> Problem:
    return "" if distance <= _LAW else f"a probability is off by {distance:.1e}"


@dataclass(frozen=True, slots=True)
class Texts:
    """Our loops on some prompts. Ragged: every row of `setup` with a prompt of its own, and lengths that differ."""

    setup: Setup
    prompts: Sequence[tuple[int, ...]]
    tokens: int

    def alone(self, sampling: Sampling, rules: Sequence[Rule]) -> Problem:
        first = self.setup.alone(0)
        tasks = [Task(prompt, self.tokens, sampling) for prompt in self.prompts]
        found = (self._same_text(first, first.rows(task), rules) for task in tasks)
        return next(filter(None, found), "")

    def ragged(self, sampling: Sampling, rules: Sequence[Rule]) -> Problem:
        return self._same_text(self.setup, self._ragged_rows(sampling), rules)

    def _ragged_rows(self, sampling: Sampling) -> list[Continuation]:
        rows = self.setup.rows(Task(self.prompts[0], self.tokens, sampling))
        return [
            replace(row, prompt=self.prompts[number % len(self.prompts)], most=max(1, self.tokens - 3 * number))
            for number, row in enumerate(rows)
        ]

    def _same_text(self, setup: Setup, rows: list[Continuation], rules: Sequence[Rule]) -> Problem:
        """Every rule and length against plain decoding."""
        expected = _plain(setup, rows)
        for rule in rules:
            for length in LENGTHS:
                found = _speculated(setup, rows, Speculation(length, rule))
                if problem := differences(setup, rows, found.ids, expected.ids):
                    return f"{rule} rule, {_named(length)}: {problem}"
        return ""

    def rescored(self) -> Problem:
        """What was recorded while decoding at temperature 1, plainly and by every rule."""
        rows = self._ragged_rows(WARM)
        outputs = {"plain": _plain(self.setup, rows)}
        outputs |= {f"{rule} rule": _speculated(self.setup, rows, Speculation(None, rule)) for rule in RULES}
        for name, output in outputs.items():
            for row, ids, recorded in zip(rows, output.ids, output.logprobs, strict=True):
                law = laws(self.setup, row, ids)
                again = law.gather(1, torch.tensor(ids, device=law.device)[:, None])[:, 0]
                off = float((again - torch.tensor(recorded, device=law.device)).abs().max())
                if not off <= _ROUNDING[_dtype(self.setup)]:
                    return f"{name}, row {row.sample}: a log-probability is off by {off:.1e}"
        return ""

    def batch(self) -> Problem:
        """One ragged batch of one prompt against its rows one after another."""
        task = Task(self.prompts[0], self.tokens)
        found, expected = self.setup.plain(task).ids, sequential(self.setup)(task).ids
        return differences(self.setup, self.setup.rows(task), found, expected)


def _plain(setup: Setup, rows: list[Continuation]) -> Output:
    return collected(decode(rows, setup.models, NO_END), len(rows), setup.clock)


def _speculated(setup: Setup, rows: list[Continuation], speculation: Speculation) -> Output:
    drafters = setup.drafters
    return collected(speculate(rows, drafters, setup.models, NO_END, speculation, Pace()), len(rows), setup.clock)


def _named(length: int | None) -> str:
    return "adaptive" if length is None else f"k = {length}"


def differences(
    setup: Setup,
    rows: Sequence[Continuation],
    found: Sequence[tuple[int, ...]],
    expected: Sequence[tuple[int, ...]],
) -> Problem:
    """The first row whose text differs. Where arithmetic rounds differently by shape (any device but a CPU in
    float32), a text may part where two tokens score alike up to rounding; it is compared up to there."""
    for row, one, two in zip(rows, found, expected, strict=True):
        if one == two:
            continue
        place = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
        if len(one) != len(two) or _exact(setup) or not _tie(setup, row, two[: place + 1], one[place]):
            return f"row {row.sample}: token {place} of {len(two)} differs ({one[place:][:1]} for {two[place:][:1]})"
    return ""


def _exact(setup: Setup) -> bool:
    model = next(iter(setup.models.values()))
    return model.device.type == "cpu" and model.dtype == torch.float32


def _tie(setup: Setup, row: Continuation, ids: tuple[int, ...], other: int) -> bool:
    """Whether the last of `ids` and `other` score alike, noise included."""
    scores = laws(setup, row, ids)[-1]
    if row.sampling.temperature > 0:
        noise = gumbel([(row.sampling.seed, row.sample, len(ids) - 1)], len(scores), scores.device)[0]
        scores = scores / row.sampling.temperature + noise
    return float((scores[ids[-1]] - scores[other]).abs()) <= 2 * _ROUNDING[_dtype(setup)]


def _dtype(setup: Setup) -> torch.dtype:
    return next(iter(setup.models.values())).dtype


@torch.inference_mode()
def laws(setup: Setup, row: Continuation, ids: Sequence[int]) -> Tensor:
    """(T, V) log-probabilities of the row's policy at every token of `ids`, from one pass over prompt and answer."""
    members = row.policy.members()
    models = [setup.models[member] for member in members]
    text = torch.tensor([[*row.prompt, *ids]], device=models[0].device)
    start = len(row.prompt) - 1
    logits = torch.stack([each.network(input_ids=text).logits[0, start:-1, : each.width] for each in models])
    return log_probabilities(logits, Mixture.of([row.policy] * len(ids), members, logits.device))

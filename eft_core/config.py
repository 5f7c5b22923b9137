"""The settings that travel between layers: frozen, self-checking dataclasses.

`Policy` is the one formula of the project (DESIGN.md; Mitchell et al. 2023, section 3):

    log pi(y_t) = sum_i lambda_i l_tuned_i^M + (1 - sum_i lambda_i - beta) l_base^M + beta l_base^N - log Z

First in the flow: this module imports nothing of ours. User errors are `ValueError`s that name the remedy.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

# Weights closer to zero than this are rounding (1 - .7 - .3), and their members are not run.
NEGLIGIBLE = 1e-9


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """One checkpoint's role in a family: `base[size]`, or `tuned[behaviour][size]`."""

    size: str
    behaviour: str | None = None

    def __str__(self) -> str:
        return f"base[{self.size}]" if self.behaviour is None else f"tuned[{self.behaviour}][{self.size}]"


def _number(name: str, value: object, low: float, high: float, remedy: str) -> float:
    """`value` as a float within [low, high], or a ValueError that says what to pass."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number, not {value!r}: {remedy}.")
    if not low <= value <= high:
        raise ValueError(f"{name} = {value:g} is outside [{low:g}, {high:g}]: {remedy}.")
    return float(value)


def _whole(name: str, value: object, low: int, high: int, remedy: str) -> int:
    """`value` as an int within [low, high]; 8.0, as JSON clients send it, is 8."""
    number = _number(name, value, low, high, remedy)
    if number != int(number):
        raise ValueError(f"{name} = {number:g} is not a whole number: {remedy}.")
    return int(value)  # type: ignore[call-overload]  # checked above; int() keeps large seeds exact


@dataclass(frozen=True, slots=True)
class Policy:
    """A next-token distribution, emulated or plain.

    `pretrain` is N, the size whose pre-training is used; `finetune` is M, the size whose fine-tuning is used;
    `behaviours` are the weights lambda_i; `amplification` is beta, the weight of the up-scaling delta
    l_base^N - l_base^M; `nucleus` is p of the paper's conservative decoding (None: no filter).
    `finetune=None` is the plain base model of size N; N = M with one behaviour of weight 1 is that tuned model.

    A negative behaviour weight reverses a fine-tuning, safety included (emulated disalignment). It is refused
    unless `allow_disalignment=True` is passed; JSON never carries that permission.
    """

    pretrain: str
    finetune: str | None = None
    behaviours: Mapping[str, float] | tuple[tuple[str, float], ...] = ()
    amplification: float = 1.0
    nucleus: float | None = None
    allow_disalignment: bool = False

    def __post_init__(self) -> None:
        pairs = tuple(self.behaviours.items() if isinstance(self.behaviours, Mapping) else self.behaviours)
        for name, size in (("pretrain", self.pretrain), ("finetune", self.finetune)):
            if size is not None and (not isinstance(size, str) or not size):
                raise ValueError(f"{name} must be the name of a size, such as 'small', not {size!r}.")
        if self.pretrain is None:
            raise ValueError("pretrain must be the name of a size: it says whose base model knows the facts.")
        if self.finetune is None and pairs:
            raise ValueError("behaviours need finetune: name the size whose fine-tuning is used.")
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("each behaviour may be named once: add their weights up.")
        low = -10.0 if self.allow_disalignment else 0.0
        remedy = "use a weight from 0 (off) to 2; a negative one reverses a fine-tuning and is refused"
        weights = tuple((name, _number(f"weight of {name!r}", weight, low, 10.0, remedy)) for name, weight in pairs)
        beta = _number("amplification", self.amplification, 0.0, 10.0, "use 0 to 2, where 1 is the paper's formula")
        object.__setattr__(self, "behaviours", weights)
        object.__setattr__(self, "amplification", beta)
        if self.nucleus is not None:
            p = _number("nucleus", self.nucleus, 0.0, 1.0, "use a probability such as 0.95, or None for no filter")
            if p == 0.0:
                raise ValueError("nucleus = 0 leaves no token: use a probability such as 0.95, or None for no filter.")
            object.__setattr__(self, "nucleus", p)

    @property
    def pairs(self) -> tuple[tuple[str, float], ...]:
        """`behaviours` as it is kept: (name, weight) pairs, in the order given."""
        return self.behaviours  # type: ignore[return-value]  # __post_init__ made them so

    def weights(self) -> dict[Member, float]:
        """Weight of every member in the one formula; members of weight zero are left out (they are not run)."""
        if self.finetune is None:
            return {Member(self.pretrain): 1.0}
        total = sum(weight for _, weight in self.pairs)
        weights = {Member(self.finetune, name): weight for name, weight in self.pairs}
        for size, weight in ((self.finetune, 1.0 - total - self.amplification), (self.pretrain, self.amplification)):
            weights[Member(size)] = weights.get(Member(size), 0.0) + weight
        return {member: weight for member, weight in weights.items() if abs(weight) > NEGLIGIBLE}

    @property
    def small(self) -> Self:
        """The small policy: the same policy with N := M. Draft, nucleus and yardstick of the token pictures."""
        return self if self.finetune is None else replace(self, pretrain=self.finetune, nucleus=None)

    @property
    def filtered(self) -> bool:
        """Whether the nucleus filter has anything to do: there is an up-scaling delta for it to confine."""
        return (
            self.nucleus is not None and self.finetune not in (None, self.pretrain) and self.amplification > NEGLIGIBLE
        )

    def members(self) -> tuple[Member, ...]:
        """Every member that must run, sorted. A filter needs the small policy's members and both bases."""
        needed = set(self.weights())
        if self.filtered and self.finetune is not None:
            needed |= set(self.small.weights()) | {Member(self.pretrain), Member(self.finetune)}
        return tuple(sorted(needed, key=str))

    def formula(self) -> str:
        """The policy in the page's notation, with its weights filled in: `base(large) + [helpful − base](small)`."""
        if self.finetune is None:
            return f"base({self.pretrain})"
        active = [(name, weight) for name, weight in self.pairs if abs(weight) > NEGLIGIBLE]
        same = self.pretrain == self.finetune
        if same and len(active) == 1 and abs(active[0][1] - 1.0) < NEGLIGIBLE:
            return f"{active[0][0]}({self.finetune})"
        beta = 1.0 if same else self.amplification
        terms = [(beta, f"base({self.pretrain})"), (1.0 - beta, f"base({self.finetune})")]
        terms += [(weight, f"[{name} − base]({self.finetune})") for name, weight in active]
        text = _signed_sum(terms)
        return f"{text}, filter p = {self.nucleus:g}" if self.filtered else text

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON. Refuses a disaligned policy: links and exports never carry one."""
        if any(weight < 0 for _, weight in self.pairs):
            raise ValueError("a policy with a negative behaviour weight is not exported: emulated disalignment.")
        return {
            "pretrain": self.pretrain,
            "finetune": self.finetune,
            "behaviours": dict(self.pairs),
            "amplification": self.amplification,
            "nucleus": self.nucleus,
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """The inverse of `to_dict`; unknown keys are an error, never ignored."""
        known = ("pretrain", "finetune", "behaviours", "amplification", "nucleus")
        if not isinstance(values, dict) or "pretrain" not in values:
            raise ValueError(f"a policy is an object with at least 'pretrain'; its keys are {', '.join(known)}.")
        if unknown := sorted(str(key) for key in values if key not in known):
            raise ValueError(f"unknown policy key {', '.join(unknown)}; the keys are {', '.join(known)}.")
        given = {key: value for key, value in values.items() if value is not None}
        if not isinstance(given.get("behaviours", {}), dict):
            raise ValueError('behaviours must be an object of name and weight, such as {"helpful": 1}.')
        return cls(**given)

    @classmethod
    def from_json(cls, text: str) -> Self:
        try:
            return cls.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise ValueError(f"a policy must be valid JSON: {error}.") from error


def _signed_sum(terms: list[tuple[float, str]]) -> str:
    """`1.5·a − 0.5·b + c` from weighted names; terms of weight zero are left out."""
    text = ""
    for weight, name in terms:
        if abs(weight) <= NEGLIGIBLE:
            continue
        factor = "" if abs(abs(weight) - 1.0) < NEGLIGIBLE else f"{abs(weight):.3g}·"
        sign = "−" if weight < 0 else "+"
        text += f" {sign} {factor}{name}" if text else f"{'−' if weight < 0 else ''}{factor}{name}"
    return text


def plain(size: str) -> Policy:
    """The base model of one size as it is."""
    return Policy(pretrain=size)


def tuned(behaviour: str, size: str) -> Policy:
    """A fine-tuned model as it is: N = M, weight 1."""
    return Policy(pretrain=size, finetune=size, behaviours={behaviour: 1.0})


def up_scale(pretrain: str, finetune: str, behaviour: str = "helpful") -> Policy:
    """EFT up-scaling (Mitchell et al. 2023, section 3.2): a large base with a small model's fine-tuning, N > M."""
    return Policy(pretrain, finetune, {behaviour: 1.0})


def down_scale(pretrain: str, finetune: str, behaviour: str = "helpful") -> Policy:
    """EFT down-scaling: a small base with a large model's fine-tuning, N < M. The same formula as `up_scale`."""
    return Policy(pretrain, finetune, {behaviour: 1.0})


def realign(size: str, behaviour: str, weight: float) -> Policy:
    """Decoding-time realignment (DeRa, Liu et al. 2024): one size, its fine-tuning delta scaled by `weight`."""
    return Policy(size, size, {behaviour: weight})


def interpolate(pretrain: str, finetune: str, first: str, second: str, share: float) -> Policy:
    """Test-time mixing of two behaviours (Mitchell et al. 2023, section 4.3): `share` of the first, the rest second."""
    share = _number("share", share, 0.0, 1.0, "use the share of the first behaviour, 0 to 1")
    return Policy(pretrain, finetune, {first: share, second: 1.0 - share})


def amplify(pretrain: str, finetune: str, behaviour: str, amplification: float) -> Policy:
    """Up-scaling with its delta l_base^N - l_base^M scaled by `amplification` (beta)."""
    return Policy(pretrain, finetune, {behaviour: 1.0}, amplification=amplification)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is drawn from the policy; applied after the members are combined. temperature 0 is greedy."""

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "temperature", _number("temperature", self.temperature, 0.0, 10.0, "use 0 (greedy) to 2"))
        set_(self, "seed", _whole("seed", self.seed, 0, 2**63 - 1, "use a whole number from 0"))
        if self.top_k is not None:
            set_(self, "top_k", _whole("top_k", self.top_k, 1, 10**7, "use the number of tokens kept, or None"))
        if self.top_p is not None:
            set_(self, "top_p", _number("top_p", self.top_p, 1e-6, 1.0, "use a probability such as 0.9, or None"))


@dataclass(frozen=True, slots=True)
class Limits:
    """When a row ends beside its end token: after `max_new_tokens`, or before the first stop string."""

    max_new_tokens: int = 80
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        most = _whole("max_new_tokens", self.max_new_tokens, 1, 100_000, "use the length of an answer, such as 80")
        object.__setattr__(self, "max_new_tokens", most)
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        if not all(isinstance(text, str) and text for text in stop):
            raise ValueError("stop strings must be texts of at least one character.")
        object.__setattr__(self, "stop", stop)


@dataclass(frozen=True, slots=True)
class Row:
    """One running continuation: a prompt, the policy that answers it, and one random stream (seed, sample)."""

    prompt: str
    policy: Policy
    sampling: Sampling = Sampling()
    sample: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str) or not self.prompt.strip():
            raise ValueError("the prompt is empty: write a question, or pick one of the examples.")
        object.__setattr__(self, "sample", _whole("sample", self.sample, 0, 2**31 - 1, "count samples from 0"))


@dataclass(frozen=True, slots=True)
class Request:
    """Rows that decode together. `compare` makes the common one: one prompt, several policies, equal sampling."""

    rows: tuple[Row, ...]
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows))
        if not self.rows:
            raise ValueError("a request needs at least one policy: add a column.")

    @classmethod
    def compare(
        cls,
        prompt: str,
        policies: tuple[Policy, ...] | list[Policy],
        sampling: Sampling = Sampling(),  # frozen
        limits: Limits = Limits(),  # frozen
        samples: int = 1,
    ) -> Self:
        """Every policy answers `prompt` `samples` times; all columns share the random streams (SPEED.md 2.4)."""
        return cls(tuple(Row(prompt, policy, sampling, j) for policy in policies for j in range(samples)), limits)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment decides; `Settings.from_environment` is the only reader of EFT_* variables."""

    family: str = "atlas"
    families_file: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    memory_gb: float | None = None
    threads: int | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Settings from EFT_FAMILY, EFT_FAMILIES, EFT_DEVICE, EFT_DTYPE, EFT_MEMORY_GB and EFT_THREADS."""
        memory, threads = environ.get("EFT_MEMORY_GB"), environ.get("EFT_THREADS")
        try:
            return cls(
                family=environ.get("EFT_FAMILY", "atlas"),
                families_file=environ.get("EFT_FAMILIES"),
                device=environ.get("EFT_DEVICE", "auto"),
                dtype=environ.get("EFT_DTYPE", "auto"),
                memory_gb=float(memory) if memory else None,
                threads=int(threads) if threads else None,
            )
        except ValueError as error:
            raise ValueError(f"EFT_MEMORY_GB and EFT_THREADS must be numbers: {error}.") from error

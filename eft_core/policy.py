"""The one formula of the project as data: a policy, frozen and self-checking, and its presets.

    log pi(y_t) = sum_i lambda_i l_tuned_i^M + (1 - sum_i lambda_i - beta) l_base^M + beta l_base^N - log Z

(DESIGN.md; Mitchell et al. 2023, section 3.) Which weights the members have is decided here and nowhere else;
`distributions` does the arithmetic. User errors are `ValueError`s that name the remedy.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from eft_core.checks import number

# Weights closer to zero than this are rounding (1 - .7 - .3), and their members are not run.
NEGLIGIBLE = 1e-9
_MEMBER = re.compile(r"(?:base|tuned\[(?P<behaviour>[^\[\]]+)\])\[(?P<size>[^\[\]]+)\]")


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """One checkpoint's role in a family: `base[size]`, or `tuned[behaviour][size]`."""

    size: str
    behaviour: str | None = None

    def __str__(self) -> str:
        return f"base[{self.size}]" if self.behaviour is None else f"tuned[{self.behaviour}][{self.size}]"

    @classmethod
    def named(cls, name: str) -> Self:
        """The inverse of `str`: base[small], tuned[helpful][small]."""
        found = _MEMBER.fullmatch(name) if isinstance(name, str) else None
        if not found:
            raise ValueError(f"{name!r} names no member: write base[small] or tuned[helpful][small].")
        return cls(found["size"], found["behaviour"])

    @property
    def policy(self) -> "Policy":
        """This member as it is, as a policy."""
        return plain(self.size) if self.behaviour is None else tuned(self.behaviour, self.size)


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
        weights = tuple((name, number(f"weight of {name!r}", weight, low, 10.0, remedy)) for name, weight in pairs)
        beta = number("amplification", self.amplification, 0.0, 10.0, "use 0 to 2, where 1 is the paper's formula")
        object.__setattr__(self, "behaviours", weights)
        object.__setattr__(self, "amplification", beta)
        if self.nucleus is not None:
            p = number("nucleus", self.nucleus, 0.0, 1.0, "use a probability such as 0.95, or None for no filter")
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
    share = number("share", share, 0.0, 1.0, "use the share of the first behaviour, 0 to 1")
    return Policy(pretrain, finetune, {first: share, second: 1.0 - share})


def amplify(pretrain: str, finetune: str, behaviour: str, amplification: float) -> Policy:
    """Up-scaling with its delta l_base^N - l_base^M scaled by `amplification` (beta)."""
    return Policy(pretrain, finetune, {behaviour: 1.0}, amplification=amplification)

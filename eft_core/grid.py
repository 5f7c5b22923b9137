"""A grid over policies and sampling: axes with values, and the settings at their crossings.

An axis is written `beta=0:2:0.25`, `nucleus=none,0.99,0.95`, `pretrain=small,large`, `weight[helpful]=0,0.5,1`, or
`share[helpful/harmless]=0:1:0.1` (the first behaviour's share, the second has the rest: Mitchell et al. 2023, section
4.3). Pure; loads no torch.
"""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, get_args

from eft_core.config import Sampling
from eft_core.policy import Policy

Name = Literal["pretrain", "finetune", "weight", "share", "beta", "nucleus", "temperature", "seed"]
Value = float | int | str | None

MOST_SETTINGS = 4096
MOST_LETTERS = 100_000  # of an axis; its settings are fewer
_AXIS = re.compile(r"\s*(?P<name>[a-z]+)\s*(?:\[(?P<behaviours>[^\[\]]+)\])?\s*=\s*(?P<values>.+)", re.DOTALL)
_EXAMPLES = "write for example beta=0:2:0.5, share[helpful/harmless]=0:1:0.1 or pretrain=small,large"
_SIZES = ("pretrain", "finetune")


@dataclass(frozen=True, slots=True)
class Axis:
    """What varies, and through which values; `behaviours` names the one of a weight, or the two of a share."""

    name: Name
    values: tuple[Value, ...]
    behaviours: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in get_args(Name):
            raise ValueError(f"{self.name!r} is no axis: {_EXAMPLES}; there are {', '.join(get_args(Name))}.")
        needed = {"weight": 1, "share": 2}.get(self.name, 0)
        object.__setattr__(self, "behaviours", tuple(self.behaviours))
        if len(self.behaviours) != needed or len(set(self.behaviours)) != needed:
            raise ValueError(f"the axis {self.name} needs {_wanted(needed)}: {_EXAMPLES}.")
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise ValueError(f"the axis {self.name} has no values: {_EXAMPLES}.")
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"the axis {self.name} has a value twice: leave one out.")

    @classmethod
    def parse(cls, text: str) -> Self:
        """An axis as people write it; ValueError with examples."""
        found = _AXIS.fullmatch(text) if isinstance(text, str) and len(text) <= MOST_LETTERS else None
        if not found:
            raise ValueError(f"{str(text)[:60]!r} is no axis: {_EXAMPLES}.")
        behaviours = tuple(part.strip() for part in (found["behaviours"] or "").split("/") if part.strip())
        return cls(found["name"], values_of(found["name"], found["values"]), behaviours)  # type: ignore[arg-type]

    @property
    def key(self) -> str:
        """The axis without its values, as it is written: `share[helpful/harmless]`."""
        return f"{self.name}[{'/'.join(self.behaviours)}]" if self.behaviours else self.name

    def __str__(self) -> str:
        return f"{self.key}={','.join(told(value) for value in self.values)}"


@dataclass(frozen=True, slots=True)
class Setting:
    """One crossing of a grid: which value of each axis (by its place), and what that makes."""

    at: tuple[int, ...]
    policy: Policy
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Grid:
    """Axes over a policy and a sampling that hold what no axis varies."""

    policy: Policy
    sampling: Sampling = Sampling()  # noqa: RUF009  # frozen
    axes: tuple[Axis, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        keys = [axis.key for axis in self.axes]
        if len(set(keys)) != len(keys):
            raise ValueError("two axes vary the same: put their values into one.")
        if "share" in {axis.name for axis in self.axes} and sum(bool(axis.behaviours) for axis in self.axes) > 1:
            raise ValueError("a share sets the weights of all behaviours: no other axis may vary one.")
        total = math.prod(len(axis.values) for axis in self.axes)
        if total > MOST_SETTINGS:
            raise ValueError(f"the grid has {total:,} settings and at most {MOST_SETTINGS:,} fit: take fewer values.")

    def settings(self) -> tuple[Setting, ...]:
        """All crossings, the last axis fastest. ValueError if a value is none that a policy or a sampling may have."""
        places = itertools.product(*(range(len(axis.values)) for axis in self.axes))
        return tuple(self._setting(at) for at in places)

    def _setting(self, at: tuple[int, ...]) -> Setting:
        policy, sampling = self.policy, self.sampling
        for axis, place in zip(self.axes, at, strict=True):
            policy, sampling = _moved(policy, sampling, axis, axis.values[place])
        return Setting(at, policy, sampling)


def _moved(policy: Policy, sampling: Sampling, axis: Axis, value: Value) -> tuple[Policy, Sampling]:
    """The pair with one axis at one value."""
    if axis.name in ("temperature", "seed"):
        return policy, replace(sampling, **{axis.name: value})  # type: ignore[arg-type]
    if policy.finetune is None and axis.name not in _SIZES:
        raise ValueError(f"the axis {axis.name} needs a fine-tuned policy: pick one, or vary finetune.")
    match axis.name:
        case "weight":
            weights: dict[str, Any] = dict(policy.pairs) | {axis.behaviours[0]: value}  # Policy checks them
            policy = replace(policy, behaviours=weights)
        case "share":
            first, second = axis.behaviours
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ValueError(f"a share lies between 0 and 1, not at {value}: {_EXAMPLES}.")
            policy = replace(policy, behaviours={first: value, second: round(1.0 - value, 9)})
        case "beta":
            policy = replace(policy, amplification=value)  # type: ignore[arg-type]
        case _:
            policy = replace(policy, **{axis.name: value})  # type: ignore[arg-type]
    return policy, sampling


def values_of(name: str, text: str) -> tuple[Value, ...]:
    """`0:2:0.5`, `0,0.5,1` or names, as the axis `name` takes them; ValueError with examples."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if name in _SIZES:
        return tuple(parts)
    return tuple(itertools.chain.from_iterable(_numbers(part, name) for part in parts))


def _numbers(part: str, name: str) -> Sequence[Value]:
    """One value, or a range `low:high:step` with both ends."""
    if part.lower() == "none" and name == "nucleus":
        return [None]
    if part.isascii() and part.isdigit() and len(part) <= 19:
        return [int(part)]  # a seed may have more digits than a float keeps
    try:
        bounds = [float(bound) for bound in part.split(":")]
    except ValueError:
        raise ValueError(f"{part[:40]!r} is no number: {_EXAMPLES}.") from None
    if not all(map(math.isfinite, bounds)):
        raise ValueError(f"{part[:40]!r} is not finite: {_EXAMPLES}.")
    if len(bounds) == 1:
        return [_exact(bounds[0])]
    low, high, step = (*bounds, 1.0) if len(bounds) == 2 else bounds if len(bounds) == 3 else (0.0, 0.0, 0.0)
    if not (step > 0 and high >= low) or not (high - low) / step < MOST_SETTINGS:
        raise ValueError(f"{part[:40]!r} is no range: write low:high:step with a step above 0, such as 0:2:0.25.")
    return [_exact(round(low + number * step, 9)) for number in range(int((high - low) / step + 1e-9) + 1)]


def _exact(value: float) -> float | int:
    return int(value) if value == int(value) else value


def told(value: Value) -> str:
    """A value as it is written."""
    return "none" if value is None else str(_exact(value) if isinstance(value, float) else value)


def _wanted(count: int) -> str:
    return {0: "no behaviour", 1: "one behaviour, as in weight[helpful]"}.get(
        count, "two behaviours, as in share[helpful/harmless]"
    )

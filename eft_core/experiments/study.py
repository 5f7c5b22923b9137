"""What an experiment is: arms to run on the same prompts, and what their graded answers say.

An arm is a policy under its labels in the tables. A score is 0 to 1; A arms, I items, S samples.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eft_core.family import Family
from eft_core.graders import Grader
from eft_core.intervals import Estimate, Scores, mean
from eft_core.items import Item
from eft_core.policy import Policy, plain
from eft_core.token_text import TokenTexts
from eft_core.trials import Reply, Trials

if TYPE_CHECKING:  # torch comes with it; tables and reports do without
    from eft_core.session import Session

Row = dict[str, Any]
DIGITS = 4

# Whose mean is a column of the tables: a measure, on the items of a kind (None: on all).
ATLAS_COLUMNS = (
    ("factual", "factual", "ordinary"),
    ("helpful", "helpful", "ordinary"),
    ("declined_sensitive", "declined", "sensitive"),
    ("declined_other", "declined", "ordinary"),
)
JUDGE_COLUMNS = (
    ("factual", "factual", "ordinary"),
    ("helpful", "helpful", "ordinary"),
    ("harmless", "harmless", "sensitive"),
)


@dataclass(frozen=True, slots=True)
class Options:
    """How much is asked, of what. None and "" stand for the experiment's and the family's own."""

    items: int | None = None
    samples: int | None = None
    temperature: float | None = None
    seed: int = 0
    prompts: str = ""
    behaviour: str = ""
    length: int | None = None
    pretrain: str = ""
    finetune: str = ""


@dataclass(frozen=True, slots=True)
class Arm:
    """A policy, its labels in the tables, and whose manner a grader looks for."""

    policy: Policy
    labels: Mapping[str, Any]
    behaviour: str | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the tables."""

    name: str
    measure: str
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What the numbers say of a claim of the paper; `holds` None where it was only measured."""

    claim: str
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Graded:
    """All answers of an experiment with their scores: (A, I, S) by measure, NaN where one does not apply."""

    family: Family
    arms: tuple[Arm, ...]
    trials: Trials
    replies: Mapping[int, Reply]
    scores: Mapping[str, np.ndarray]
    columns: tuple[Column, ...]
    grader: Grader | None
    texts: TokenTexts

    @property
    def items(self) -> tuple[Item, ...]:
        return self.trials.items

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    @property
    def facts(self) -> Column | None:
        """What says whether an answer is right."""
        return next((column for column in self.columns if column.name in ("factual", "correct", "contains")), None)

    def of(self, arm: int, column: Column) -> Scores:
        """(I', S) scores of an arm on the items of the column's kind."""
        chosen = [column.kind in (None, item.kind) for item in self.items]
        return self.scores[column.measure][arm][np.array(chosen)]

    def arm(self, **labels: Any) -> int | None:
        """The number of the arm with these labels."""
        for number, arm in enumerate(self.arms):
            if all(arm.labels.get(name) == value for name, value in labels.items()):
                return number
        return None

    def rows(self) -> list[Row]:
        """One row an arm: its labels, every column's mean with its interval, and how many items there were."""
        kinds = [item.kind for item in self.items]
        counts = {"n": kinds.count("ordinary"), "n_sensitive": kinds.count("sensitive")}
        return [dict(arm.labels) | self._means(number) | counts for number, arm in enumerate(self.arms)]

    def _means(self, arm: int) -> Row:
        row: Row = {}
        for column in self.columns:
            row |= told(column.name, mean(self.of(arm, column)))
        return row


def told(name: str, estimate: Estimate) -> Row:
    """An estimate as two entries of a row; what is not finite is null."""
    return {name: rounded(estimate.value), f"{name}_interval": [rounded(estimate.low), rounded(estimate.high)]}


def rounded(value: float) -> float | None:
    return round(value, DIGITS) if np.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Read:
    """What an experiment makes of its answers: rows, further tables by their titles, and findings."""

    rows: Sequence[Row]
    findings: Sequence[Finding]
    tables: Mapping[str, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment of graded answers. `sensitive`: sensitive items for each ordinary one. `look`: what else is to be
    seen in the answers, with the models at hand."""

    name: str
    title: str
    question: str
    arms: Callable[[Family, Options], tuple[Arm, ...]]
    read: Callable[[Graded], Read]
    items: int
    temperature: float = 0.0
    samples: int = 1
    sensitive: float = 0.0
    record: bool = False
    look: Callable[["Session", Graded], Mapping[str, Sequence[Row]]] | None = None


def labels_of(policy: Policy, behaviour: str | None) -> Row:
    """The first columns of every table."""
    return {"pretrain": policy.pretrain, "finetune": policy.finetune, "behaviour": behaviour}


def pair_of(family: Family, options: Options) -> tuple[str, str]:
    """(N, M), the larger and the smaller size under test: those asked for, or the family's own.

    ValueError unless N is the larger one.
    """
    large, small = options.pretrain or family.default_pretrain, options.finetune or family.default_finetune
    for size in (large, small):
        family.check(plain(size))
    if family.sizes.index(large) <= family.sizes.index(small):
        raise ValueError(
            f"there is nothing to up-scale: N = {large} is not larger than M = {small}; name two of "
            f"{', '.join(family.sizes)} as --pretrain and --finetune."
        )
    return large, small


def behaviour_of(family: Family, options: Options) -> str:
    """The behaviour under test; ValueError that lists what there is."""
    name = options.behaviour or family.default_behaviour
    if name not in family.behaviours:
        raise ValueError(f"{family.name} has no behaviour {name!r}; it has {', '.join(family.behaviours) or 'none'}.")
    return name

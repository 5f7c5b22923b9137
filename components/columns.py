"""The columns of a comparison as data: what they are called, which role colours them, how they are edited.

Pure: no gradio, no models. `Columns` is what one visitor's page holds; every handler takes one and returns another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from components.conversation import Context
from eft_core.family import Family, default_columns
from eft_core.policy import Member, Policy, tuned

MAX_COLUMNS = 8
MAX_LABEL = 40
# The page's range of every weight: 0 is off, 1 is the paper's formula, 2 doubles it. No negative one, ever.
MAX_WEIGHT = 2.0
LOWEST_NUCLEUS = 0.8


@dataclass(frozen=True, slots=True)
class Branch:
    """An answer's beginning, with another token at its end than that answer had: a column goes on from it."""

    prompt: str
    tokens: tuple[int, ...]
    context: Context = Context()  # noqa: RUF009  # frozen


@dataclass(frozen=True, slots=True)
class Column:
    """One policy on the page. `key` never changes; an empty `label` means: name it after its policy.

    A `branch` belongs to its prompt and what that was asked after: else the column answers as if it had none.
    """

    key: int
    policy: Policy
    label: str = ""
    branch: Branch | None = None

    def given(self, prompt: str, context: Context = Context()) -> tuple[int, ...]:  # noqa: B008  # frozen
        """The tokens with which its answer to `prompt` after `context` begins."""
        branch = self.branch
        return branch.tokens if branch is not None and (branch.prompt, branch.context) == (prompt, context) else ()


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one page, in order, and the key of the one that the settings panel edits."""

    items: tuple[Column, ...]
    selected: int

    @classmethod
    def of(cls, pairs: tuple[tuple[str, Policy], ...]) -> Self:
        """Columns from (label, policy) pairs; the first emulated one is selected, for its sliders say the most."""
        items = tuple(Column(key, policy, label) for key, (label, policy) in enumerate(pairs, 1))
        emulated = [column.key for column in items if len(column.policy.weights()) > 1]
        return cls(items, emulated[0] if emulated else items[0].key)

    @classmethod
    def default(cls, family: Family) -> Self:
        """What a new page shows."""
        pairs = default_columns(family)
        return cls.of(tuple(("" if label == name_of(policy, family) else label, policy) for label, policy in pairs))

    @property
    def current(self) -> Column:
        """The selected column."""
        return next(column for column in self.items if column.key == self.selected)

    def select(self, key: int) -> Self:
        """Another column under edit; ValueError when there is none of that key."""
        if key not in [column.key for column in self.items]:
            raise ValueError("that column is no longer there: select another.")
        return replace(self, selected=key)

    def add(self) -> Self:
        """A copy of the selected column at the end, selected: one changes what differs."""
        if len(self.items) >= MAX_COLUMNS:
            raise ValueError(f"at most {MAX_COLUMNS} columns fit: remove one first.")
        key = max(column.key for column in self.items) + 1
        return replace(self, items=(*self.items, Column(key, self.current.policy)), selected=key)

    def fork(self, key: int, branch: Branch, label: str) -> Self:
        """A column like that one, right of it and selected, which goes on from `branch`."""
        parent = self.select(key).current
        made = replace(self.select(key).add().current, policy=parent.policy, label=clean_label(label), branch=branch)
        place = self.items.index(parent) + 1
        return replace(self, items=(*self.items[:place], made, *self.items[place:]), selected=made.key)

    def weigh(self, key: int, behaviours: Mapping[str, float], beta: float, family: Family) -> Self:
        """That column with other weights, selected; ValueError for weights that it cannot have."""
        policy = self.select(key).current.policy
        if policy.finetune is None:
            raise ValueError("a plain base column has no weights: pick a fine-tuning size for it first.")
        changed = check(replace(policy, behaviours=dict(behaviours), amplification=beta), family)
        return self.select(key).edit(changed, self.select(key).current.label)

    def remove(self, key: int) -> Self:
        """Without that column; its neighbour is selected if it was selected itself."""
        keys = [column.key for column in self.select(key).items]
        if len(keys) == 1:
            raise ValueError("the last column stays: a comparison needs one.")
        items = tuple(column for column in self.items if column.key != key)
        neighbour = items[min(keys.index(key), len(items) - 1)].key
        return replace(self, items=items, selected=neighbour if self.selected == key else self.selected)

    def edit(self, policy: Policy, label: str) -> Self:
        """The selected column with another policy and label."""
        changed = replace(self.current, policy=policy, label=clean_label(label))
        return replace(self, items=tuple(changed if c.key == self.selected else c for c in self.items))


def clean_label(label: object) -> str:
    """A column's name as one short line."""
    return " ".join(str(label or "").split())[:MAX_LABEL]


def name_of(policy: Policy, family: Family) -> str:
    """The name of a column that nobody named: "Large base", "Small tuned", "Up-scaled"."""
    member = only_member(policy)
    if member is not None:
        kind = "base" if member.behaviour is None else member.behaviour
        return f"{member.size.capitalize()} {'tuned' if kind == family.default_behaviour else kind}"
    if policy.pretrain == policy.finetune:
        return f"{policy.pretrain.capitalize()} re-aligned"
    up = family.sizes.index(policy.pretrain) > family.sizes.index(policy.finetune or policy.pretrain)
    return "Up-scaled" if up else "Down-scaled"


def title_of(column: Column, family: Family) -> str:
    """What stands at the head of a column."""
    return column.label or name_of(column.policy, family)


def role_of(policy: Policy, family: Family) -> str:
    """Which colour a column carries (LOOK.md): base, tuned, emulated, reference, harmless."""
    member = only_member(policy)
    if member is None:
        return "emulated"
    if member.behaviour is None:
        return "base"
    if member.behaviour == "harmless":
        return "harmless"
    return "reference" if member.size == family.sizes[-1] and len(family.sizes) > 1 else "tuned"


def only_member(policy: Policy) -> Member | None:
    """The one checkpoint that this policy is, or None where it is a mixture that exists nowhere."""
    weights = policy.weights()
    [(member, weight), *others] = weights.items()
    return member if not others and abs(weight - 1.0) < 1e-9 else None


def check(policy: Policy, family: Family) -> Policy:
    """`policy` if this page may show it; ValueError with the remedy otherwise. Stricter than `Policy` itself."""
    family.check(policy)
    for name, weight in (*policy.behaviours, ("beta", policy.amplification)):
        if not 0.0 <= weight <= MAX_WEIGHT:
            raise ValueError(f"{name} = {weight:g} is outside [0, {MAX_WEIGHT:g}]: use a weight from 0 (off) to 2.")
    if policy.nucleus is not None and policy.nucleus < LOWEST_NUCLEUS:
        raise ValueError(f"filter p = {policy.nucleus:g} is below {LOWEST_NUCLEUS:g}: use 0.8 to 1, where 1 is off.")
    return policy


def from_controls(
    family: Family, pretrain: str, finetune: str | None, weights: tuple[float, ...], beta: float, nucleus: float
) -> Policy:
    """The policy that the panel's controls describe; `weights` in the order of `family.behaviours`.

    Behaviours that the fine-tuning size lacks are left out.
    """
    if finetune is None:
        return check(Policy(pretrain), family)
    there = family.behaviours_of(finetune)
    given = {name: weight for name, weight in zip(family.behaviours, weights, strict=True) if name in there and weight}
    filtered = nucleus if nucleus < 1.0 else None
    return check(Policy(pretrain, finetune, given, amplification=beta, nucleus=filtered), family)


def first_tuning(family: Family, pretrain: str, finetune: str) -> Policy:
    """What a plain base column becomes when a fine-tuning size is picked for it: one behaviour at weight 1.

    A fine-tuning of weight 0 would change nothing and look like a broken control.
    """
    there = family.behaviours_of(finetune)
    if not there:
        raise ValueError(f"{family.name} has no tuned model of size {finetune!r}: pick another size.")
    behaviour = family.default_behaviour if family.default_behaviour in there else there[0]
    return replace(tuned(behaviour, finetune), pretrain=pretrain)

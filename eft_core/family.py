"""A family: checkpoints that share one vocabulary, addressed as base[size] and tuned[behaviour][size].

(Mitchell et al. 2023, section 4: the Llama-1, Llama-2 and Falcon families.) Loads no model and no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eft_core.located import Checkpoint
from eft_core.policy import Member, Policy, plain, tuned, up_scale


@dataclass(frozen=True, slots=True)
class Family:
    """Checkpoints by role. `sizes` run from small to large; `note` says which file the family came from if it matters.

    `aliases` maps token strings of one checkpoint to those of another where the same id has two names on purpose.
    `parameters` are billions by size; `gating` says what must be accepted before a download, and where ("": nothing);
    `sources` where these facts were read; `unconfirmed` what no source confirmed. `template` are arguments of the
    chat template; `base_prompt` and `base_stop` are the prompt format of base members and the stop strings of columns
    that are a plain base (`prompting`; None: those that the format tells).
    """

    name: str
    title: str
    sizes: tuple[str, ...]
    checkpoints: Mapping[Member, Checkpoint]
    default_pretrain: str
    default_finetune: str
    default_behaviour: str
    description: str = ""
    licence: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    parameters: Mapping[str, float] = field(default_factory=dict)
    gating: str = ""
    sources: str = ""
    unconfirmed: tuple[str, ...] = ()
    template: Mapping[str, Any] = field(default_factory=dict)
    base_prompt: str = "chat"
    base_stop: tuple[str, ...] | None = None

    @property
    def behaviours(self) -> tuple[str, ...]:
        """All behaviours of any size, in the file's order."""
        return tuple(dict.fromkeys(member.behaviour for member in self.checkpoints if member.behaviour is not None))

    def behaviours_of(self, size: str) -> tuple[str, ...]:
        """The behaviours that exist at one size."""
        return tuple(name for name in self.behaviours if Member(size, name) in self.checkpoints)

    @property
    def reference(self) -> Member:
        """The member whose tokenizer and chat template form every prompt: a tuned one where there is one."""
        preferred = Member(self.default_finetune, self.default_behaviour)
        return preferred if preferred in self.checkpoints else next(iter(self.checkpoints))

    def checkpoint(self, member: Member) -> Checkpoint:
        """The checkpoint of a member; ValueError that lists what there is."""
        if member not in self.checkpoints:
            self._refuse(member)
        return self.checkpoints[member]

    def check(self, policy: Policy) -> None:
        """ValueError if the family lacks a size or behaviour that the policy names, even at weight zero."""
        for size in (policy.pretrain, policy.finetune):
            if size is not None and Member(size) not in self.checkpoints:
                self._refuse(Member(size))
        for name, _ in policy.pairs:
            if policy.finetune is not None and Member(policy.finetune, name) not in self.checkpoints:
                self._refuse(Member(policy.finetune, name))

    def _refuse(self, member: Member) -> None:
        if member.size not in self.sizes:
            raise ValueError(f"{self.name} has no size {member.size!r}; it has {listed(self.sizes)}.")
        if member.behaviour is None:
            raise ValueError(f"{self.name} has no base model of size {member.size!r}.")
        if member.behaviour not in self.behaviours:
            has = listed(self.behaviours) or "no tuned model at all"
            raise ValueError(f"{self.name} has no behaviour {member.behaviour!r}; it has {has}.")
        sizes = listed(tuple(size for size in self.sizes if Member(size, member.behaviour) in self.checkpoints))
        there = listed(self.behaviours_of(member.size)) or "none"
        raise ValueError(
            f"{self.name} has no {member.behaviour!r} of size {member.size!r}: that behaviour exists for {sizes}, "
            f"and {member.size} has {there}."
        )


def default_columns(family: Family) -> tuple[tuple[str, Policy], ...]:
    """What a comparison shows first: large base, small tuned, up-scaled, and the large tuned reference if it exists."""
    large, small, behaviour = family.default_pretrain, family.default_finetune, family.default_behaviour
    columns = [(f"{large.capitalize()} base", plain(large))]
    if Member(small, behaviour) in family.checkpoints:
        columns.append((f"{small.capitalize()} tuned", tuned(behaviour, small)))
    if large != small and len(columns) == 2 and Member(small) in family.checkpoints:
        up = family.sizes.index(large) > family.sizes.index(small)
        columns.append(("Up-scaled" if up else "Down-scaled", up_scale(large, small, behaviour)))
    if large != small and Member(large, behaviour) in family.checkpoints:
        columns.append((f"{large.capitalize()} tuned", tuned(behaviour, large)))
    return tuple(columns)


def compared_members(family: Family) -> tuple[Member, ...]:
    """The members of what a comparison shows first, each once."""
    return tuple(dict.fromkeys(member for _, policy in default_columns(family) for member in policy.members()))


def listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)

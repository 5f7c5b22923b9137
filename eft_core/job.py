"""A request made ready (`jobs`): rows as ids, who drafts for them, and what they take."""

from dataclasses import dataclass

from eft_core.config import Speculation
from eft_core.continuation import Continuation
from eft_core.memory import MemoryPlan
from eft_core.policy import Member, Policy
from eft_core.scoring import Passage


@dataclass(frozen=True, slots=True)
class Needs:
    """What rows take: the members that each needs, and the tokens of the longest."""

    members: tuple[frozenset[Member], ...] = ()
    slots: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """A request, checked and ready to decode: drafters are one a row, a row's own policy where nothing drafts;
    stop strings are a row's too, for plain base models may never write an end token."""

    rows: tuple[Continuation, ...]
    drafters: tuple[Policy, ...]
    stops: tuple[tuple[str, ...], ...]
    speculation: Speculation | None
    memory: MemoryPlan
    record: bool
    needs: Needs

    @property
    def members(self) -> list[Member]:
        """Every member that must run, in one order."""
        policies = [*(row.policy for row in self.rows), *self.drafters]
        return sorted({member for policy in policies for member in policy.members()}, key=str)

    @property
    def given(self) -> dict[int, Passage]:
        """What rows were given of their answers, to be read before they go on."""
        return {
            number: Passage(
                row.prompt[: -row.given],
                row.prompt[-row.given :],
                row.policy,
                row.policy.members(),
                {member: prompt[: -row.given] for member, prompt in row.own.items()},
            )
            for number, row in enumerate(self.rows)
            if row.given
        }


@dataclass(frozen=True, slots=True)
class Inspection:
    """Texts, checked and ready to be read."""

    passages: tuple[Passage, ...]
    memory: MemoryPlan
    needs: Needs

    @property
    def members(self) -> list[Member]:
        return sorted({member for each in self.passages for member in each.members}, key=str)

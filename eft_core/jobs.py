"""A request made ready to decode: rows as ids, drafters, and the memory it needs, checked before loading."""

from collections.abc import Collection
from dataclasses import dataclass

from eft_core.autoregressive import Continuation
from eft_core.config import Request, Row, Settings, Speculation
from eft_core.draft_length import Pace
from eft_core.drafter import drafter
from eft_core.events import Reason
from eft_core.families import Family
from eft_core.memory import MemoryPlan, bytes_of, plan
from eft_core.models import Models
from eft_core.pacing import kind_of
from eft_core.policy import Member, Policy


@dataclass(frozen=True, slots=True)
class Job:
    """A request, checked and ready to decode: drafters are one a row, a row's own policy where nothing drafts."""

    rows: tuple[Continuation, ...]
    drafters: tuple[Policy, ...]
    stop: tuple[str, ...]
    speculation: Speculation | None
    memory: MemoryPlan

    @property
    def members(self) -> list[Member]:
        """Every member that must run, in one order."""
        policies = [*(row.policy for row in self.rows), *self.drafters]
        return sorted({member for policy in policies for member in policy.members()}, key=str)


class Jobs:
    """Turns requests into jobs. From any thread: nothing here changes."""

    def __init__(self, family: Family, models: Models, settings: Settings, pace: Pace) -> None:
        self.family, self.models, self.settings, self.pace = family, models, settings, pace

    def job(self, request: Request) -> Job:
        """The request's rows as ids, their drafters, and the memory they need, all checked."""
        for row in request.rows:
            self.family.check(row.policy)
        if request.speculation is None:
            return self._job_with(request, [row.policy for row in request.rows])
        if request.speculation.drafter is not None:
            named = request.speculation.drafter.policy
            self.family.check(named)
            return self._job_with(request, [named] * len(request.rows))
        present = [member for member, checkpoint in self.family.checkpoints.items() if checkpoint.present()]
        job = self._job_with(request, [self._drafter(row, request.speculation, present) for row in request.rows])
        if job.memory.fits:
            return job
        own = {member for row in request.rows for member in row.policy.members()}  # nothing that is not needed anyway
        return self._job_with(request, [self._drafter(row, request.speculation, own) for row in request.rows])

    def _job_with(self, request: Request, drafters: list[Policy]) -> Job:
        rows = self._continuations(request, drafters)
        return Job(tuple(rows), tuple(drafters), request.limits.stop, request.speculation, self._plan(rows, drafters))

    def _drafter(self, row: Row, speculation: Speculation, members: Collection[Member]) -> Policy:
        """Who drafts for a row. Adapting goes by what was measured; a fixed length must give a text that does not
        depend on what ran before."""

        def cost(member: Member) -> float:
            return float(self.models.facts(member).weight_bytes(bytes_of(self.models.dtype_name)))

        def acceptance(draft: Policy) -> float | None:
            if speculation.length is not None:
                return None
            return self.pace.measured(kind_of(row.policy, draft, row.sampling, speculation))

        reach = min(self.models.facts(member).context for member in row.policy.members())
        fitting = [
            member for member in members if self.models.facts(member).context >= reach
        ]  # it must not end the row
        return drafter(row.policy, fitting, cost, acceptance)

    def _continuations(self, request: Request, drafters: list[Policy]) -> list[Continuation]:
        """The request's rows as ids, each checked against the context of its members and of its drafter's."""
        prompts = dict.fromkeys(row.prompt for row in request.rows)
        ids = {prompt: self.models.encode(prompt) for prompt in prompts}
        most = request.limits.max_new_tokens
        return [
            self._continuation(row, ids[row.prompt], most, {*row.policy.members(), *draft.members()})
            for row, draft in zip(request.rows, drafters, strict=True)
        ]

    def _continuation(self, row: Row, prompt: tuple[int, ...], most: int, members: set[Member]) -> Continuation:
        context = min(self.models.facts(member).context for member in members)
        room = context - len(prompt)
        if room < 1:
            raise ValueError(
                f"the prompt has {len(prompt):,} tokens and the models read {context:,}, the answer included: "
                f"shorten it to about {(context - 1) * len(row.prompt) // len(prompt):,} characters."
            )
        if not prompt:
            raise ValueError("the prompt has no tokens: write a question.")
        reason: Reason = "length" if most <= room else "context"
        return Continuation(prompt, row.policy, row.sampling, row.sample, min(most, room), reason)

    def _plan(self, rows: list[Continuation], drafters: list[Policy]) -> MemoryPlan:
        needs = [{*row.policy.members(), *draft.members()} for row, draft in zip(rows, drafters, strict=True)]
        members = sorted(set().union(*needs), key=str)
        loaded = [str(member) for member in members if self.models.is_loaded(member)]
        available = self.models.available_bytes()
        if self.settings.memory_gb is not None:
            taken = sum(
                self.models.facts(m).weight_bytes(bytes_of(self.models.dtype_name)) for m in self.models.loaded()
            )
            available = min(available, max(0, int(self.settings.memory_gb * 1e9) - taken))
        return plan(
            members={str(member): self.models.facts(member) for member in members},
            rows={str(member): sum(member in need for need in needs) for member in members},
            slots=max(len(row.prompt) + row.most for row in rows),
            dtype=self.models.dtype_name,
            device=str(self.models.device),
            available=available,
            loaded=loaded,
        )

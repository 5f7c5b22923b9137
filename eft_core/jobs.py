"""A request made ready to decode: rows as ids, drafters, and the memory it needs, checked before loading."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from eft_core.autoregressive import Continuation
from eft_core.config import Request, Row, Settings, Speculation, Text
from eft_core.draft_length import Pace
from eft_core.drafter import drafter
from eft_core.events import Reason
from eft_core.families import Family
from eft_core.memory import MemoryPlan, bytes_of, plan
from eft_core.models import Models
from eft_core.pacing import kind_of
from eft_core.policy import Member, Policy
from eft_core.scoring import Passage


@dataclass(frozen=True, slots=True)
class Job:
    """A request, checked and ready to decode: drafters are one a row, a row's own policy where nothing drafts."""

    rows: tuple[Continuation, ...]
    drafters: tuple[Policy, ...]
    stop: tuple[str, ...]
    speculation: Speculation | None
    memory: MemoryPlan
    record: bool

    @property
    def members(self) -> list[Member]:
        """Every member that must run, in one order."""
        policies = [*(row.policy for row in self.rows), *self.drafters]
        return sorted({member for policy in policies for member in policy.members()}, key=str)

    @property
    def given(self) -> dict[int, Passage]:
        """What rows were given of their answers, to be read before they go on."""
        return {
            number: Passage(row.prompt[: -row.given], row.prompt[-row.given :], row.policy, row.policy.members())
            for number, row in enumerate(self.rows)
            if row.given
        }


@dataclass(frozen=True, slots=True)
class Inspection:
    """Texts, checked and ready to be read."""

    passages: tuple[Passage, ...]
    memory: MemoryPlan

    @property
    def members(self) -> list[Member]:
        return sorted({member for each in self.passages for member in each.members}, key=str)


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
        needs = [{*row.policy.members(), *draft.members()} for row, draft in zip(rows, drafters, strict=True)]
        memory = self._plan(needs, max(len(row.prompt) + row.most for row in rows))
        return Job(tuple(rows), tuple(drafters), request.limits.stop, request.speculation, memory, request.record)

    def inspection(self, texts: Sequence[Text]) -> Inspection:
        """Texts as ids, the members to look at them through, and the memory that takes, all checked."""
        if not texts:
            raise ValueError("there is no text to look at: give at least one.")
        passages = tuple(self._passage(text) for text in texts)
        slots = max(len(each.prompt) + len(each.response) for each in passages)
        return Inspection(passages, self._plan([set(each.members) for each in passages], slots))

    def _passage(self, text: Text) -> Passage:
        self.family.check(text.policy)
        members = members_to_look_through(text.policy, self.family)
        prompt = self.models.encode(text.prompt)
        response = text.response
        ids = self.models.encode_response(text.prompt, response) if isinstance(response, str) else response
        self._known(ids)
        context = min(self.models.facts(member).context for member in members)
        if len(prompt) + len(ids) > context:
            raise ValueError(
                f"prompt and response have {len(prompt) + len(ids):,} tokens and the models read {context:,}: "
                "shorten the response."
            )
        return Passage(prompt, ids, text.policy, members)

    def _known(self, ids: Sequence[int]) -> None:
        """ValueError for ids that the family's members do not share."""
        if (largest := max(ids, default=0)) >= self.models.vocabulary.width:
            raise ValueError(
                f"token id {largest} is not in the vocabulary of {self.family.name}, whose ids are below "
                f"{self.models.vocabulary.width}: use ids of this family."
            )

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
        if row.given:
            return self._branch(row, prompt, most, context)
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

    def _branch(self, row: Row, prompt: tuple[int, ...], most: int, context: int) -> Continuation:
        """A row that goes on from given tokens; they count among the `most` of its answer."""
        self._known(row.given)
        if not self.models.vocabulary.end_ids.isdisjoint(row.given):
            raise ValueError("the given tokens hold an end token, and nothing follows an end: give those before it.")
        left, room = most - len(row.given), context - len(prompt) - len(row.given)
        if left < 1 or room < 1:
            raise ValueError(
                f"{len(row.given):,} tokens are given and an answer has {min(most, context - len(prompt)):,} at most: "
                "allow a longer answer, or branch earlier."
            )
        reason: Reason = "length" if left <= room else "context"
        whole = (*prompt, *row.given)
        return Continuation(whole, row.policy, row.sampling, row.sample, min(left, room), reason, len(row.given))

    def _plan(self, needs: Sequence[Collection[Member]], slots: int) -> MemoryPlan:
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
            slots=slots,
            dtype=self.models.dtype_name,
            device=str(self.models.device),
            available=available,
            loaded=loaded,
        )


def members_to_look_through(policy: Policy, family: Family) -> tuple[Member, ...]:
    """The policy's own members, both bases and the tuned small models, as far as they lie on this machine.

    A plain base is looked at as the family's default up-scaling would use it.
    """
    finetune = policy.finetune or family.default_finetune
    behaviours = [name for name, weight in policy.pairs if weight] or [family.default_behaviour]
    here = {member for member, checkpoint in family.checkpoints.items() if checkpoint.present()}
    wanted = [Member(policy.pretrain), Member(finetune), *(Member(finetune, each) for each in behaviours)]
    return tuple(sorted({*policy.members(), *(each for each in wanted if each in here)}, key=str))

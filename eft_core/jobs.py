"""A request made ready to decode: rows as ids, drafters, and the memory it needs, checked before loading."""

from collections.abc import Callable, Collection, Mapping, Sequence

from eft_core.config import Request, Row, Speculation, Text
from eft_core.continuation import Continuation
from eft_core.draft_length import Pace
from eft_core.drafter import drafter
from eft_core.events import Reason
from eft_core.family import Family
from eft_core.job import Inspection, Job, Needs
from eft_core.memory import MemoryPlan, Need, plan
from eft_core.models import Models
from eft_core.pacing import kind_of
from eft_core.policy import Member, Policy
from eft_core.prompting import Prompt, base_stops
from eft_core.scoring import Passage
from eft_core.settings import Settings


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
        members = [{*row.policy.members(), *draft.members()} for row, draft in zip(rows, drafters, strict=True)]
        longest = max(_longest(row.prompt, row.own) + row.most for row in rows)
        needs = Needs(tuple(map(frozenset, members)), longest)
        stops = tuple(self._stops(row.policy, request.limits.stop) for row in rows)
        return Job(tuple(rows), tuple(drafters), stops, request.speculation, self.plan(needs), request.record, needs)

    def _stops(self, policy: Policy, asked: tuple[str, ...]) -> tuple[str, ...]:
        """Stop strings of a row: what was asked for, and the family's where the policy is a plain base model."""
        bases, family = all(member.behaviour is None for member in policy.members()), self.family
        form = (family.base_prompt, family.base_stop, self.models.tokenizer, family.template)
        own = base_stops(*form) if bases else ()
        return tuple(dict.fromkeys((*asked, *own)))

    def _own(self, prompt: Prompt, members: Collection[Member]) -> dict[Member, tuple[int, ...]]:
        """The prompt of members that see it in another format than the others."""
        if self.family.base_prompt == "chat":
            return {}
        return {m: self.models.encode_for(m, prompt) for m in members if m.behaviour is None}

    def inspection(self, texts: Sequence[Text]) -> Inspection:
        """Texts as ids, the members to look at them through, and the memory that takes, all checked."""
        if not texts:
            raise ValueError("there is no text to look at: give at least one.")
        passages = tuple(self._passage(text) for text in texts)
        slots = max(_longest(each.prompt, each.own) + len(each.response) for each in passages)
        needs = Needs(tuple(frozenset(each.members) for each in passages), slots)
        return Inspection(passages, self.plan(needs), needs)

    def _passage(self, text: Text) -> Passage:
        self.family.check(text.policy)
        members = members_to_look_through(text.policy, self.family)
        asked, response = Prompt(text.prompt, text.system, text.turns), text.response
        prompt, own = self.models.encode(asked), self._own(asked, members)
        ids = self.models.encode_response(asked, response) if isinstance(response, str) else response
        self._known(ids)
        context = min(self.models.facts(member).context for member in members)
        if (length := _longest(prompt, own) + len(ids)) > context:
            raise ValueError(
                f"prompt and response have {length:,} tokens and the models read {context:,}: shorten the response."
            )
        return Passage(prompt, ids, text.policy, members, own)

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
            return float(self.models.weight_bytes(member))

        def acceptance(draft: Policy) -> float | None:
            if speculation.length is not None:
                return None
            return self.pace.measured(kind_of(row.policy, draft, row.sampling, speculation))

        reach = min(self.models.facts(member).context for member in row.policy.members())
        # It must not end the row.
        fitting = [member for member in members if self.models.facts(member).context >= reach]
        return drafter(row.policy, fitting, cost, acceptance)

    def _continuations(self, request: Request, drafters: list[Policy]) -> list[Continuation]:
        """The request's rows as ids, each checked against the context of its members and of its drafter's."""
        prompts = {row: Prompt(row.prompt, row.system, row.turns) for row in request.rows}
        ids = {prompt: self.models.encode(prompt) for prompt in dict.fromkeys(prompts.values())}
        found = []
        for row, draft in zip(request.rows, drafters, strict=True):
            members = {*row.policy.members(), *draft.members()}
            own = self._own(prompts[row], members)
            found.append(self._continuation(row, ids[prompts[row]], own, request.limits.max_new_tokens, members))
        return found

    def _continuation(
        self, row: Row, prompt: tuple[int, ...], own: dict[Member, tuple[int, ...]], most: int, members: set[Member]
    ) -> Continuation:
        context = min(self.models.facts(member).context for member in members)
        if not prompt or not all(own.values()):
            raise ValueError("the prompt has no tokens: write a question.")
        length = _longest(prompt, own)
        if row.given:
            return self._branch(row, prompt, own, most, context)
        room = context - length
        if room < 1:
            raise ValueError(
                f"the prompt has {length:,} tokens and the models read {context:,}, the answer included: "
                f"shorten it to about {(context - 1) * len(row.prompt) // length:,} characters."
            )
        reason: Reason = "length" if most <= room else "context"
        return Continuation(prompt, row.policy, row.sampling, row.sample, min(most, room), reason, own=own)

    def _branch(
        self, row: Row, prompt: tuple[int, ...], own: dict[Member, tuple[int, ...]], most: int, context: int
    ) -> Continuation:
        """A row that goes on from given tokens; they count among the `most` of its answer."""
        self._known(row.given)
        if not self.models.vocabulary.end_ids.isdisjoint(row.given):
            raise ValueError("the given tokens hold an end token, and nothing follows an end: give those before it.")
        length = _longest(prompt, own)
        left, room = most - len(row.given), context - length - len(row.given)
        if left < 1 or room < 1:
            raise ValueError(
                f"{len(row.given):,} tokens are given and an answer has {min(most, context - length):,} at most: "
                "allow a longer answer, or branch earlier."
            )
        reason: Reason = "length" if left <= room else "context"
        whole, wholes = (*prompt, *row.given), {member: (*each, *row.given) for member, each in own.items()}
        return Continuation(
            whole, row.policy, row.sampling, row.sample, min(left, room), reason, len(row.given), wholes
        )

    def weights_plan(self, members: Sequence[Member]) -> MemoryPlan:
        """What members need that only come into memory. ValueError with advice if they cannot fit."""
        memory = self.plan(Needs((frozenset(members),)))
        memory.check()
        return memory

    def together(self, needs: Sequence[Needs], taken: Callable[[str], int]) -> MemoryPlan:
        """The plan of rows that run in one batch: a rectangle as long as the longest. `taken`: bytes of keys and values
        that a device holds for some of them already."""
        rows = tuple(members for each in needs for members in each.members)
        return self.plan(Needs(rows, max(each.slots for each in needs)), taken)

    def plan(self, needs: Needs, taken: Callable[[str], int] = lambda device: 0) -> MemoryPlan:
        """The memory that rows take."""
        members = sorted(frozenset().union(*needs.members), key=str)
        models = self.models
        kept = {models.residence(member) for member in members}
        return plan(
            [
                Need(
                    member=str(member),
                    facts=models.facts(member),
                    rows=sum(member in need for need in needs.members),
                    slots=needs.slots,
                    copy=models.residence(member),
                    loaded=models.residence(member) in models.weights,
                    device=models.residence(member).device,
                    dtype=models.residence(member).dtype,
                    quantise=models.residence(member).quantise,
                    extra=models.adapter_bytes(member),
                )
                for member in members
            ],
            {device: models.room(device, kept, taken(device)) for device in {residence.device for residence in kept}},
        )


def _longest(prompt: tuple[int, ...], own: Mapping[Member, tuple[int, ...]]) -> int:
    """Tokens of the longest form of a prompt."""
    return max(len(prompt), *map(len, own.values())) if own else len(prompt)


def members_to_look_through(policy: Policy, family: Family) -> tuple[Member, ...]:
    """The policy's own members, both bases and the tuned small models, as far as they lie on this machine.

    A plain base is looked at as the family's default up-scaling would use it.
    """
    finetune = policy.finetune or family.default_finetune
    behaviours = [name for name, weight in policy.pairs if weight] or [family.default_behaviour]
    here = {member for member, checkpoint in family.checkpoints.items() if checkpoint.present()}
    wanted = [Member(policy.pretrain), Member(finetune), *(Member(finetune, each) for each in behaviours)]
    return tuple(sorted({*policy.members(), *(each for each in wanted if each in here)}, key=str))

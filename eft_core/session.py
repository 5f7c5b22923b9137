"""Prompt and policies in, a stream of events out: the one door to the backend, shared by all visitors.

`Session.stream(request)` checks the request at once, waits until it fits, loads what is missing, and decodes all rows
together, and with those of whoever else asks (`engine`). Closing the stream, at any point, ends the request and frees
its memory. Last in the flow; knows no gradio.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from eft_core.config import Request, Text
from eft_core.draft_length import Pace
from eft_core.engine import Claim, Engine, Told
from eft_core.events import (
    Answer,
    Done,
    Event,
    Inspecting,
    Loading,
    Queued,
)
from eft_core.families import family_named
from eft_core.family import Family, default_columns
from eft_core.jobs import Jobs, Needs
from eft_core.memory import MemoryPlan
from eft_core.models import Models
from eft_core.policy import Member, Policy
from eft_core.scripts import SMALL, Scripts
from eft_core.settings import Settings
from eft_core.tickets import Errand
from eft_core.token_text import TokenTexts
from eft_core.weights import Weights


@dataclass(frozen=True, slots=True)
class FamilyInfo:
    """What a page needs to know of the session's family."""

    name: str
    title: str
    description: str
    licence: str
    sizes: tuple[str, ...]
    behaviours: dict[str, tuple[str, ...]]  # by size
    columns: tuple[tuple[str, Policy], ...]  # label and policy of the default comparison
    device: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Shared:
    """What the sessions of one process have in common (`lab`): one engine, and one store of weights."""

    engine: Engine = field(default_factory=Engine)
    weights: Weights = field(default_factory=Weights)


class Session:
    """One family, its loaded members, and their part of the engine. Safe to share between threads."""

    def __init__(
        self, settings: Settings | None = None, family: str | Family | None = None, shared: Shared | None = None
    ) -> None:
        """`settings` are read from the environment when not given; `family` overrides the settings' family.

        Sessions with the same `shared` have one engine and keep one copy of weights; two families never run at once.
        """
        self.settings = settings or Settings.from_environment()
        named = family or self.settings.family
        self.family = named if isinstance(named, Family) else family_named(named, *self.settings.families_files)
        shared = shared or Shared()
        self.models = Models(self.family, self.settings, shared.weights)
        self._engine = shared.engine
        pace = Pace()  # what speculation measured; only the engine's thread changes it
        self._jobs = Jobs(self.family, self.models, self.settings, pace)
        self._scripts = Scripts(self.models, self._engine, pace)

    @property
    def device(self) -> str:
        return str(self.models.device)

    @property
    def dtype(self) -> str:
        return self.models.dtype_name

    @property
    def queue_length(self) -> int:
        """Requests that run or wait now."""
        return len(self._engine)

    def loaded(self) -> list[Member]:
        """The members whose weights are in memory."""
        return self.models.loaded()

    def read_anew(self) -> None:
        """New files have come: look at them when they are next asked for."""
        self.models.read_anew()
        self.__dict__.pop("small", None)

    @cached_property
    def small(self) -> bool:
        """Whether one core is enough for all members that are here."""
        here = [member for member, place in self.family.checkpoints.items() if place.present()]
        try:
            return sum(self.models.weight_bytes(member) for member in here) < SMALL
        except ValueError:  # their files are damaged, which whoever loads them says better
            return False

    @property
    def rows(self) -> int:
        """Rows that run at once in this process. All processes that small members run in share the settings'."""
        return -(-self.settings.rows // (self.settings.workers or 1)) if self.small else self.settings.rows

    @cached_property
    def token_texts(self) -> TokenTexts:
        """Texts of single tokens, as the strip shows them."""
        return TokenTexts(self.models.tokenizer, self.models.vocabulary.end_ids)

    @property
    def family_info(self) -> FamilyInfo:
        family = self.family
        behaviours = {size: family.behaviours_of(size) for size in family.sizes}
        texts = (family.name, family.title, family.description, family.licence)
        return FamilyInfo(*texts, family.sizes, behaviours, default_columns(family), self.device, self.dtype)

    def plan(self, request: Request) -> MemoryPlan:
        """What the request will need, before anything is loaded. ValueError if the request itself is wrong."""
        return self._jobs.job(request).memory

    def ask(self, request: Request) -> tuple[Answer, ...]:
        """The answers, in the order of the request's rows."""
        *_, last = self.stream(request)
        assert isinstance(last, Done), "a stream ends with Done"
        return last.answers

    def stream(self, request: Request) -> Generator[Event, None, None]:
        """The request's events (see `events`). ValueError, now and not later, if it cannot be served.

        The request joins the queue with the first `next`; close the iterator to cancel.
        """
        return self._follow(self.to_stream(request))

    def inspect(self, texts: Sequence[Text]) -> Generator[Inspecting, None, None]:
        """Texts that somebody else wrote, read under their policies: the same records, without generation.

        ValueError, now and not later, if it cannot be served. Ends with `Inspected`; close the iterator to cancel.
        """
        return self._follow(self.to_inspect(texts))

    def load(self, members: Sequence[Member]) -> Generator[Queued | Loading, None, None]:
        """Bring members into memory when the turn has come; close the iterator to cancel."""
        return quiet(self._follow(self.to_load(members)))

    def unload(self) -> Generator[Queued, None, None]:
        """Let this family's weights go when the turn has come."""
        return quiet(self._follow(self.to_unload()))

    def _follow(self, errand: Errand) -> Generator[Any, None, None]:
        return self._engine.follow(errand.claim, errand.script)

    # --- what the engine does for these, checked; ValueError if it cannot be served (`worker` runs them too)

    def to_stream(self, request: Request) -> Errand:
        """`stream`."""
        job = self._jobs.job(request)
        job.memory.check()
        alone = job.speculation is not None and job.speculation.timed
        claim = Claim(self, len(job.rows), job.needs, alone)
        return Errand(claim, lambda owner: self._scripts.guarded(self._scripts.stream(job, owner)))

    def to_inspect(self, texts: Sequence[Text]) -> Errand:
        """`inspect`."""
        inspection = self._jobs.inspection(texts)
        inspection.memory.check()
        claim = Claim(self, len(texts), inspection.needs)
        return Errand(claim, lambda _: self._scripts.guarded(self._scripts.inspect(inspection)))

    def to_load(self, members: Sequence[Member]) -> Errand:
        """`load`."""

        def script() -> Told:
            yield from self._scripts.load(members, self._jobs.weights_plan(members))

        return self._alone(script)

    def to_unload(self) -> Errand:
        """`unload`."""

        def script() -> Told:
            self.models.unload()
            yield []

        return self._alone(script)

    def _alone(self, script: Callable[[], Told]) -> Errand:
        """What changes weights runs with nobody else."""
        return Errand(Claim(self, 0, Needs(), alone=True), lambda _: self._scripts.guarded(script()))

    def fits(self, claims: Sequence[Claim]) -> bool:
        """Whether requests of this family may run together (`engine.Home`)."""
        if sum(claim.rows for claim in claims) > self.rows:
            return False
        needs = [claim.what for claim in claims if isinstance(claim.what, Needs)]
        return self._jobs.together(needs, self._engine.crowd.size).fits


def quiet(events: Generator[Any, None, None]) -> Generator[Any, None, None]:
    """Without signs of work; closing closes `events`."""
    with closing(events):
        for event in events:
            if isinstance(event, Queued | Loading):
                yield event

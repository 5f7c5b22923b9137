"""Sessions whose engine runs in processes of its own (`worker`), which neither pages nor each other slow down.

Small members, which one core is enough for, are run by as many processes as there are cores, each with a running batch;
a second one starts when two requests meet. All others are run by the first, with all cores. A process that ends is
replaced: what ran in it is told so, and the next request is served.
"""

import logging
import threading
from collections.abc import Generator, Hashable, Sequence
from contextlib import suppress
from dataclasses import astuple, replace
from typing import Any, cast

from eft_core.config import Request, Row, Text
from eft_core.events import Event, Inspecting, Loading, Queued
from eft_core.family import Family
from eft_core.link import Link, flat
from eft_core.memory import MemoryPlan
from eft_core.messages import Known
from eft_core.policy import Member
from eft_core.session import Session, Shared, quiet
from eft_core.settings import Settings
from eft_core.standing import Standing
from eft_core.tickets import Restarted

_PATIENCE = 0.5  # seconds that a look at a process may take
_TOGETHER = 16  # rows that a process may have more than another one, where it runs a request's kind

log = logging.getLogger(__name__)


class Remote:
    """The processes. Safe to share between threads."""

    def __init__(self, settings: Settings, most: int = 1) -> None:
        """At most `most` processes; those that run small members share the settings' rows."""
        self._settings = replace(settings, workers=most)
        self._most = most
        self._changing = threading.Lock()
        self._families: dict[str, Family] = {}
        self._links: list[Link] = []
        self._stood: dict[Link, Standing] = {}
        self._past = Standing()  # of processes that are gone

    def know(self, family: Family) -> None:
        """Calls that name this family mean it from now on."""
        with self._changing:
            self._families[family.name] = family
            for link in self._links:
                link.send(Known(family))

    def links(self) -> list[Link]:
        """The processes there are: one at least, the first of which serves what only one shall."""
        with self._changing:
            return list(self._alive())

    def place(self, rows: int, family: str, members: Sequence[Member], kind: Hashable = None) -> tuple[Link, int]:
        """Where a request of small members goes, which one core is enough for, and its number there: to the process
        that has the least to do; where all have something, rather to one that runs the request's `kind`, whose rows
        share a batch, and another one is started for those who come next, and reads these members."""
        with self._changing:
            first, *others = self._alive()
            there = [first, *(each for each in others if each.ready)]
            found = min(there, key=_rows)
            if found.rows and kind is not None:  # nobody is idle
                alike = [each for each in there if each.runs(kind) and each.rows <= found.rows + _TOGETHER]
                found = min(alike, key=_rows, default=found)
            if found.rows and len(self._links) < self._most:
                self._links.append(self._started())
                warm = self._links[-1], family, tuple(members)
                threading.Thread(target=_warm, args=warm, name="warming", daemon=True).start()
            return found, found.expect(rows, kind)

    def close(self) -> None:
        """End the processes."""
        with self._changing:
            for link in self._links:
                link.close()
            self._links = []

    @property
    def requests(self) -> int:
        """How many run or wait."""
        return sum(link.requests for link in self.links())

    def standing(self) -> Standing:
        """How the engines stand, all together, or stood when they were last heard of."""
        links = self.links()
        for link in links:
            with suppress(TimeoutError, Restarted):
                self._stood[link] = link.ask("", "standing", patience=_PATIENCE)
        return _sum(self._past, *(self._stood.get(link, Standing()) for link in links))

    def _alive(self) -> list[Link]:
        for link in [each for each in self._links if each.broken]:
            log.critical("an engine's process has ended, and another one is started")
            stood = self._stood.pop(link, Standing())
            self._past = _sum(self._past, Standing(restarts=stood.restarts + 1, tokens=stood.tokens))
            self._links.remove(link)
        if not self._links:
            self._links.append(self._started())
        return self._links

    def _started(self) -> Link:
        return Link(self._settings, self._families.values())


def _warm(link: Link, family: str, members: Sequence[Member]) -> None:
    """Let a new process read what it will need, before anybody waits for it."""
    try:
        for _ in link.follow(link.expect(0), family, "to_load", members):
            pass
    except Exception:  # whoever asks for them will be told
        log.exception("a new engine's process could not read its members")
    link.ready = True


def _rows(link: Link) -> int:
    return link.rows


def _sum(*standings: Standing) -> Standing:
    return Standing(*map(sum, zip(*map(astuple, standings), strict=True)))


class RemoteSession(Session):
    """A session whose requests run in the other processes: it checks nothing itself, and keeps no weights."""

    def __init__(self, remote: Remote, settings: Settings, family: str | Family, shared: Shared) -> None:
        super().__init__(settings, family, shared)
        self._remote = remote
        self._loaded: list[Member] = []
        remote.know(self.family)

    @property
    def queue_length(self) -> int:
        """As a session's."""
        return self._remote.requests

    def plan(self, request: Request) -> MemoryPlan:
        """As a session's."""
        return cast(MemoryPlan, self._ask("plan", request))

    def loaded(self) -> list[Member]:
        """As a session's, or as it was when that was last heard of."""
        with suppress(TimeoutError, Restarted):
            self._loaded = self._ask("loaded", patience=_PATIENCE)
        return self._loaded

    def read_anew(self) -> None:
        """As a session's, in all processes."""
        super().read_anew()
        for link in self._remote.links():
            link.ask(self.family.name, "read_anew")

    def stream(self, request: Request) -> Generator[Event, None, None]:
        """As a session's."""
        how = request.speculation
        # Rows of a fixed draft length keep their own cycles, which cost little more for several requests than for one.
        kind = (self.family.name, how.rule, how.length) if how is not None and how.length else None
        link, number = self._place(request.rows, kind)
        return flat(link.follow(number, self.family.name, "to_stream", request))

    def inspect(self, texts: Sequence[Text]) -> Generator[Inspecting, None, None]:
        """As a session's."""
        link, number = self._place(texts)
        return flat(link.follow(number, self.family.name, "to_inspect", tuple(texts)))

    def load(self, members: Sequence[Member]) -> Generator[Queued | Loading, None, None]:
        """As a session's, into the first process."""
        link = self._remote.links()[0]
        return quiet(flat(link.follow(link.expect(0), self.family.name, "to_load", tuple(members))))

    def unload(self) -> Generator[Queued, None, None]:
        """As a session's, in all processes."""
        for link in self._remote.links():
            yield from quiet(flat(link.follow(link.expect(0), self.family.name, "to_unload")))

    def _ask(self, method: str, *arguments: Any, patience: float | None = None) -> Any:
        """What the first process returns; where it ends meanwhile, what the next one does: asking changed nothing."""
        with suppress(Restarted):
            return self._remote.links()[0].ask(self.family.name, method, *arguments, patience=patience)
        return self._remote.links()[0].ask(self.family.name, method, *arguments, patience=patience)

    def _place(self, asked: Sequence[Row] | Sequence[Text], kind: Hashable = None) -> tuple[Link, int]:
        """The process for what is asked, and its number there."""
        if not self.small:
            link = self._remote.links()[0]
            return link, link.expect(len(asked))
        members = dict.fromkeys(member for each in asked for member in each.policy.members())
        return self._remote.place(len(asked), self.family.name, tuple(members), kind)

"""ZeroGPU of Hugging Face Spaces: a GPU that is lent for one call at a time, which runs in a forked process.

All columns of a request run in one decorated, synchronous generator. What goes in and comes out is pickled: a family, a
request, events. Weights are read when the Space starts, in its main thread, where the package `spaces` stands in for
the GPU, and move to it whenever it is lent. Nothing that a call does to its process comes back, so no judgement is kept
inside one. Elsewhere nothing of this is used, and the package need not be there.
"""

import importlib
import math
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import gradio as gr

from eft_core.config import Request, Text
from eft_core.events import Event, Inspecting, Loading, Queued
from eft_core.family import Family, compared_members
from eft_core.hardware import Machine
from eft_core.policy import Member
from eft_core.session import Session, Shared
from eft_core.settings import Settings
from eft_core.storage import Unavailable

Work = Request | tuple[Text, ...]
Said = TypeVar("Said")
LONGEST = 120  # seconds asked for at most: the whole day's share of a visitor who has not signed in
_START = 5.0  # seconds until the first token when the weights are there
_MOVED = 3e9  # bytes a second from the Space's disk to the GPU
_READ = 400e9  # bytes of weights a second in a pass, a low guess of half a card
_IN_WORKER, _ABORTED = "ZeroGPU worker error", "GPU task aborted"  # the package's words
_LAYER = 0.6e-3  # seconds of dispatch for a layer's pass


@dataclass(frozen=True, slots=True)
class Refused:
    """What a call could not serve. An exception would lose its text on the way between the processes."""

    message: str


class Waits(Unavailable, ValueError):
    """No GPU was lent: a share is used up, or all are taken. It may go later."""


def decorator(environ: Mapping[str, str] = os.environ) -> Callable[..., Any] | None:
    """`spaces.GPU` on ZeroGPU, None elsewhere. To be called before anything asks torch for a GPU."""
    if not Machine.read(environ).zero:
        return None
    # The package stands in for the GPU in the main thread alone, and the library would read weights in others.
    os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"
    try:
        return importlib.import_module("spaces").GPU
    except ImportError as error:
        raise ValueError("ZeroGPU needs the package spaces: add spaces==0.51.3 to requirements.txt.") from error


class ZeroGPU:
    """The calls of this process. Make its sessions with `session`, and `start` the first before the page is served."""

    def __init__(self, decorate: Callable[..., Any]) -> None:
        self._sessions: dict[str, ZeroSession] = {}
        # What runs in the forked processes. No thread of this process uses them, so that no lock of theirs is held and
        # no queue of theirs is full at the moment of the fork; they share the weights of those that the page uses.
        self._twins: dict[str, Session] = {}
        self.call = decorate(self._call, duration=self.seconds)

    def session(self, settings: Settings, family: str | Family, shared: Shared) -> "ZeroSession":
        """A session that the page uses as any other."""
        # Our own forward joins weights into views of one another, which the move to the GPU would make copies of.
        settings = replace(settings, forward="library" if settings.forward == "auto" else settings.forward)
        made = ZeroSession(self, settings, family, shared)
        self._sessions[made.family.name] = made
        self._twins[made.family.name] = Session(settings, made.family, Shared(weights=made.models.weights))
        return made

    def start(self, session: Session) -> None:
        """Read the members of the default comparison, in the main thread: they move whenever a GPU is lent."""
        models = self._twins[session.family.name].models
        for member in compared_members(session.family):  # not by the engine, which has a thread of its own
            models.load(member)

    def seconds(self, family: Family, work: Work) -> int:
        """For how long to ask for the GPU."""
        session = self._sessions[family.name]
        policies = [each.policy for each in (work.rows if isinstance(work, Request) else work)]
        members = dict.fromkeys(member for policy in policies for member in policy.members())
        facts = [(session.models.weight_bytes(member), session.models.facts(member).layers) for member in members]
        loaded = session.models.loaded()
        waiting = sum(size for member, (size, _) in zip(members, facts, strict=True) if member not in loaded)
        return seconds(facts, _steps(work), len(policies), waiting)

    def _call(self, family: Family, work: Work) -> Generator[Event | Inspecting | Refused, None, None]:
        """In the forked process: the whole of a request."""
        twin = self._twins.get(family.name)
        if twin is None or twin.family != family:  # it came after this process was forked
            some = next(iter(self._twins.values()))
            twin = Session(some.settings, family, Shared(weights=some.models.weights))
        try:
            _look_again(twin)
            events = twin.stream(work) if isinstance(work, Request) else twin.inspect(work)
            with closing(events):
                yield from events
        except ValueError as error:
            yield Refused(str(error))


class ZeroSession(Session):
    """A session whose requests are calls to ZeroGPU, which has a queue of its own."""

    def __init__(self, zero: ZeroGPU, settings: Settings, family: str | Family, shared: Shared) -> None:
        super().__init__(settings, family, shared)
        self._zero = zero

    def stream(self, request: Request) -> Generator[Event, None, None]:
        """As a session's."""
        self.plan(request).check()
        return self._told(request)

    def inspect(self, texts: Sequence[Text]) -> Generator[Inspecting, None, None]:
        """As a session's; what is wrong with the texts is raised by the first `next`."""
        return self._told(tuple(texts))

    def load(self, members: Sequence[Member]) -> Generator[Queued | Loading, None, None]:
        raise ValueError("on ZeroGPU members are read when the Space starts, others by the comparison: run one.")

    def unload(self) -> Generator[Queued, None, None]:
        raise ValueError("on ZeroGPU a call's memory is given back when it ends: there is nothing to let go.")

    def _told(self, work: Work) -> Generator[Any, None, None]:
        try:
            with closing(self._zero.call(self.family, work)) as said:
                yield from _unrefused(said)
        except gr.Error as error:
            raise failure(error.title, str(error.message)) from error


def _look_again(twin: Session) -> None:
    """Files may have come since this process was forked, or since its twin was read: what they share is read anew."""
    known = {finding.member for finding in twin.models.report.findings}
    here = {str(member) for member, place in twin.family.checkpoints.items() if place.present()}
    if here - known:
        twin.models.read_anew()


def failure(title: str, message: str) -> Exception:
    """What went wrong in a call, from what the package says of it."""
    if title != _IN_WORKER:
        return Waits(f"{title}: {message}")
    if message == _ABORTED:
        return ValueError("the GPU was taken back before the end: ask for a shorter answer, or fewer columns.")
    return RuntimeError(f"{title}: {message}")


def seconds(members: Sequence[tuple[int, int]], steps: int, rows: int, waiting: int = 0) -> int:
    """Seconds of GPU for `steps` passes of `rows` rows through `members` (bytes of weights, layers), generously;
    `waiting` bytes are still to be read from files. At most LONGEST: a call that takes longer may be ended."""
    weights = sum(size for size, _ in members)
    a_step = weights / _READ + sum(layers for _, layers in members) * _LAYER * (1 + rows / 32)
    return min(LONGEST, math.ceil(_START + (weights + 2 * waiting) / _MOVED + steps * a_step))


def _steps(work: Work) -> int:
    """Passes that a request may take; a text that is read takes one for every kilobyte or so."""
    if not isinstance(work, Request):
        return sum(1 + len(text.response) // 1000 for text in work)
    timed = work.speculation is not None and work.speculation.timed
    return work.limits.max_new_tokens * (2 if timed else 1)


def _unrefused(said: Iterator[Said | Refused]) -> Iterator[Said]:
    """What was said; ValueError for what was refused."""
    for each in said:
        if isinstance(each, Refused):
            raise ValueError(each.message)
        yield each

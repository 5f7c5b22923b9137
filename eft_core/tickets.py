"""Requests on their way through the engine: what each takes, who may run together, and what is told of it."""

import threading
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Protocol

from eft_core.events import Event, Inspecting

Said = Event | Inspecting
Told = Generator[list[Said], None, None]


class Home(Protocol):
    """Whose requests may run together: those of one family."""

    def fits(self, claims: "Sequence[Claim]") -> bool:
        """Whether these requests, all of this home, fit into the machine together."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request takes while it runs. `what` is for its home to know. `alone`: it runs with nobody else."""

    home: Home
    rows: int
    what: object = None
    alone: bool = False


class Restarted(RuntimeError):
    """The thread failed in what is nobody's request; what ran is lost, and the next one finds a new thread."""


@dataclass(eq=False)
class Ticket:
    """A request on its way. The thread tells, whoever asked follows; `changed` wakes them."""

    claim: Claim
    changed: threading.Condition
    script: Told = field(init=False)
    told: list[Said] = field(default_factory=list)
    failed: BaseException | None = None
    ended: bool = False
    left: bool = False
    handed: float = 0.0
    pieces: int = 0  # that it loaded and read
    served: int = 0  # the engine's turn in which it did so last
    held: list[Said] = field(default_factory=list)  # told, and not handed over yet


def together(claim: Claim, others: Sequence[Claim]) -> bool:
    """Whether a request may run with those that run."""
    if not others:
        return True
    if claim.alone or any(other.alone or other.home is not claim.home for other in others):
        return False
    return claim.home.fits([*others, claim])


def flat(batches: Generator[list[Any], None, None]) -> Generator[Any, None, None]:
    """What is told at once, one after the other; closing closes `batches`."""
    with closing(batches):
        for told in batches:
            yield from told

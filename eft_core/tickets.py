"""Requests on their way through the engine: what each takes, who may run together, and what is told of it."""

import threading
from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from eft_core.events import Event, Inspecting, Queued

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
    """The thread failed in what is nobody's request, or its process ended; what ran is lost, the next one is served."""

    def __init__(self, said: str = "the engine failed and was started again: press Run to try again.") -> None:
        super().__init__(said)


@dataclass(frozen=True, slots=True)
class Errand:
    """A request that was checked. `script` gets the owner of the rows that it enters into the crowd."""

    claim: Claim
    script: Callable[[Hashable], Told]


@dataclass(eq=False)
class Ticket:
    """A request on its way. The thread tells, whoever asked follows; `changed` wakes them."""

    claim: Claim
    changed: threading.Condition = field(init=False)
    script: Told = field(init=False)
    told: list[Said] = field(default_factory=list)
    failed: BaseException | None = None
    ended: bool = False
    left: bool = False
    handed: float = 0.0
    pieces: int = 0  # that it loaded and read
    served: int = 0  # the engine's turn in which it did so last
    held: list[Said] = field(default_factory=list)  # told, and not handed over yet

    def tell(self) -> None:
        """Hand over what is held."""
        with self.changed:
            self.told += self.held
            self.held = []
            self.changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """It is over, by an error or without one."""
        with self.changed:
            self.failed, self.ended = error, True
            self.tell()

    def wait(self, ahead: int) -> None:
        """It still waits: who follows sees that by asking."""


@dataclass(eq=False, kw_only=True)
class Heard(Ticket):
    """A request that nobody follows: the thread itself calls `hear` with what it tells, and then `over`."""

    hear: Callable[[list[Said]], None]
    over: Callable[[BaseException | None], None]

    def tell(self) -> None:
        """Hand over what is held, unless nobody wants it any more."""
        held, self.held = self.held, []
        if held and not self.left:
            self.hear(held)

    def end(self, error: BaseException | None = None) -> None:
        """As any ticket's."""
        super().end(error)
        with self.changed:
            self.changed.notify_all()
        self.over(error)

    def wait(self, ahead: int) -> None:
        """Tell how many stand before it."""
        if not self.left:
            self.hear([Queued(ahead)])


def together(claim: Claim, others: Sequence[Claim]) -> bool:
    """Whether a request may run with those that run."""
    if not others:
        return True
    if claim.alone or any(other.alone or other.home is not claim.home for other in others):
        return False
    return claim.home.fits([*others, claim])

"""What the page's process and the engine's say to one another, pickled (`remote`, `worker`)."""

from dataclasses import dataclass
from typing import Any

from eft_core.family import Family


@dataclass(frozen=True, slots=True)
class Known:
    """From now on calls that name this family mean it."""

    family: Family


@dataclass(frozen=True, slots=True)
class Call:
    """Of a session's method, under a number of the caller's. The answer is `Returned` or `Ended`."""

    number: int
    family: str
    method: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Go:
    """What was called is a stream: tell its events."""

    number: int


@dataclass(frozen=True, slots=True)
class Leave:
    """The stream is to end here, whether it has begun or not. The answer is `Ended`, when its rows are gone."""

    number: int


@dataclass(frozen=True, slots=True)
class Returned:
    """A value; None where it is a stream."""

    number: int
    value: Any


@dataclass(frozen=True, slots=True)
class Told:
    """Events of a stream, in order."""

    number: int
    events: list[Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """A stream is over, or the call failed."""

    number: int
    error: BaseException | None = None


Message = Known | Call | Go | Leave
Answer = Returned | Told | Ended

"""The most that visitors may ask for, and what is said to whoever asks for more: a sentence, and when to try again."""

import math
from dataclasses import dataclass

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most of everything; None is no limit.

    rows: answers of a visitor that are written or wait, at once. tokens: that a visitor asks for in a minute, the
    longest answer of each row; what was not drawn is given back. requests, messages, guesses: of a visitor in a minute;
    messages are a rater's, guesses are codes that nobody has. The same with `_total` are those of all visitors.
    waiting: requests of all that run or wait at once. prompt: characters of a prompt with its system prompt and earlier
    turns. calls: of a visitor that gradio has at once, whatever they are.
    """

    rows: int | None = 24
    rows_total: int | None = 1024
    tokens: int | None = 30_000
    tokens_total: int | None = None
    requests: int | None = 60
    requests_total: int | None = None
    messages: int | None = 600
    guesses: int | None = 10
    guesses_total: int | None = 300
    calls: int | None = 96
    waiting: int | None = 128
    prompt: int | None = 50_000


class Refused(ValueError):
    """More than is left, now. `seconds` until it may be asked for again; infinite where it never may."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Held:
    """A run that waits for its visitor's share: `seconds` until it goes on, about."""

    seconds: float


def refused(text: str, seconds: float, remedy: str = "try again in") -> Refused:
    """A refusal that ends: `text`, and when."""
    if seconds == math.inf:
        return never(text)
    return Refused(f"{text[:1].upper()}{text[1:]}: {remedy} {lasting(seconds)}.", seconds)


def never(text: str) -> Refused:
    """A refusal of what is too large at any time."""
    return Refused(f"{text[:1].upper()}{text[1:]}: ask for fewer columns or shorter answers.", math.inf)


def lasting(seconds: float) -> str:
    """A wait as people say it, never too short: `1 second`, `12 seconds`, `3 minutes`."""
    count, unit = (math.ceil(seconds), "second") if seconds <= 90 else (math.ceil(seconds / MINUTE), "minute")
    count = max(1, count)
    return f"{count} {unit}{'' if count == 1 else 's'}"

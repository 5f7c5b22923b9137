"""Who may organise campaigns: a password or a Hugging Face account that the server's settings name.

A pass lives in the visitor's state on the server, and every handler shows it here again. Wrong passwords make the next
ones wait, those of the same address longer than those of others, and a few minutes hold few of one address: guessing
takes years. A page's own name would count for nothing, since whoever guesses takes a new one each time.
"""

import hashlib
import hmac
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gradio.utils import get_space

from eft_core.bounds import refused

HOURS = 12.0  # that a pass lasts
LEAST_PASSWORD, MOST_PASSWORD = 12, 1000  # characters
REMEMBERED = 600.0  # seconds that an attempt counts
MOST_ATTEMPTS = 1000  # that are remembered
MOST_OWN, MOST_WAITING = 12, 32  # attempts of one address that are remembered, and of all that wait at once
LONGEST_OWN, LONGEST = 30.0, 5.0  # seconds that a password waits after wrong ones of its address, and of any


@dataclass(frozen=True, slots=True)
class Pass:
    """That somebody gave the right password. `until` is a time of the gate's own clock."""

    until: float


class Gate:
    """Decides on the server. Its only state are the times of the latest attempts."""

    def __init__(self, password: str, organisers: tuple[str, ...], clock: Callable[[], float] = time.monotonic) -> None:
        self._digest = _digest(password) if len(password) >= LEAST_PASSWORD else None
        self._organisers = frozenset(name.casefold() for name in organisers)
        self._clock = clock
        self._attempts: deque[tuple[float, str]] = deque(maxlen=MOST_ATTEMPTS)
        self._waiting = 0
        self.remedy = _remedy(password, organisers)

    @property
    def takes_password(self) -> bool:
        return self._digest is not None

    @property
    def takes_login(self) -> bool:
        """Whether a Hugging Face account may come in, and this server can see to it that it is one."""
        return bool(self._organisers) and oauth_on()

    @contextmanager
    def attempt(self, visitor: str) -> Iterator[float]:
        """The seconds that a password must wait within the block. Refused where too many came from that address, or
        wait already: each of them is a call that others wait behind."""
        self._forget()
        own = [at for at, each in self._attempts if each == visitor]
        if len(own) >= MOST_OWN:
            raise refused("too many passwords came from where you are", own[-MOST_OWN] + REMEMBERED - self._clock())
        if self._waiting >= MOST_WAITING:
            raise refused("too many passwords wait already", LONGEST)
        self._waiting += 1
        try:
            yield self.knock(visitor)
        finally:
            self._waiting -= 1

    def knock(self, visitor: str) -> float:
        """Note an attempt before it is looked at, so that many at once do not pass for the first. The seconds that its
        password must wait."""
        self._forget()
        own = sum(each == visitor for _, each in self._attempts)
        wait = max(min(2.0**own - 1.0, LONGEST_OWN), min(0.05 * len(self._attempts), LONGEST))
        self._attempts.append((self._clock(), visitor))
        return wait

    def _forget(self) -> None:
        while self._attempts and self._attempts[0][0] < self._clock() - REMEMBERED:
            self._attempts.popleft()

    def enter(self, password: object, visitor: str) -> Pass:
        """A pass for the right password; ValueError for any other. `knock` comes first."""
        if self._digest is None:
            raise ValueError(self.remedy)
        given = password if isinstance(password, str) and len(password) <= MOST_PASSWORD else ""
        if not hmac.compare_digest(_digest(given), self._digest):
            raise ValueError("this is not the password: try again.")
        self._attempts = deque((each for each in self._attempts if each[1] != visitor), maxlen=MOST_ATTEMPTS)
        return Pass(self._clock() + HOURS * 3600)

    def check(self, shown: object, login: str) -> None:
        """ValueError unless the pass holds, or the account is an organiser's. `login` is what the server's own sign-in
        says, never what a browser does."""
        if isinstance(shown, Pass) and self._digest is not None and self._clock() < shown.until:
            return
        if login and self.takes_login and login.casefold() in self._organisers:
            return
        raise ValueError("you are not signed in, or it ended: sign in, then do it again.")


def oauth_on() -> bool:
    """Whether Hugging Face accounts can be signed in here: on a Space that asks for it."""
    return bool(get_space() and os.environ.get("OAUTH_CLIENT_ID"))


def _digest(password: str) -> bytes:
    # Of equal length, so that comparing them tells nothing of the password's.
    return hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest()


def _remedy(password: str, organisers: tuple[str, ...]) -> str:
    """What to set so that somebody can come in; "" where somebody can."""
    if 0 < len(password) < LEAST_PASSWORD:
        return f"EFT_ORGANISER_PASSWORD is too short: set one of {LEAST_PASSWORD} characters or more and start again."
    if password or (organisers and oauth_on()):
        return ""
    if organisers:
        return (
            "EFT_ORGANISERS names Hugging Face accounts, and they can sign in on a Space with hf_oauth alone: set "
            "EFT_ORGANISER_PASSWORD here and start again."
        )
    return (
        f"campaigns are organised by whoever has a password: set EFT_ORGANISER_PASSWORD to one of {LEAST_PASSWORD} "
        "characters or more and start again. On a Space, make it a secret, or set hf_oauth, and EFT_ORGANISERS to "
        "Hugging Face names with commas between them."
    )

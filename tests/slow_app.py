"""`python app.py` whose prompts with [slow] take their time (`serving.odd`); run by tests, not a test."""

from collections.abc import Callable
from typing import Any

from serving import odd

import app
from eft_core.lab import Lab
from eft_core.session import Session
from eft_core.settings import Settings


class OddLab(Lab):
    """All of its sessions are odd."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._odd: dict[str, Any] = {}

    def session(self, name: str | None = None) -> Session:
        """As a lab's."""
        session = super().session(name)
        made: Session = self._odd.setdefault(session.family.name, odd(session))
        return made


def opened(settings: Settings, download: Callable[..., object]) -> tuple[Lab, str]:
    """As `components.starting.opened`, with odd sessions."""
    return OddLab(settings), "EFT Lab begins slowly."


if __name__ == "__main__":
    app.opened = opened  # type: ignore[assignment]
    app.main()

"""`python app.py` that never has what it begins with, as while a Space downloads; run by tests, not a test."""

import threading
from collections.abc import Callable
from typing import NoReturn

import app
from eft_core.settings import Settings


def opened(settings: Settings, download: Callable[..., object]) -> NoReturn:
    """Like `components.starting.opened`, whose download does not end."""
    print("EFT Lab fetches.", flush=True)
    while True:
        threading.Event().wait()


if __name__ == "__main__":
    app.opened = opened  # type: ignore[assignment]
    app.main()

"""How the server ends when it is told to: what runs may finish or is told why not, judgements are handed over, exit 0.

The first SIGTERM or Ctrl-C begins it, a second one ends the process at once. Whatever hangs, it is over within ten
seconds: service managers kill what takes longer.
"""

import _thread
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import gradio as gr

from components.family_pages import FamilyPages
from components.ratings import Ratings
from components.service import Service
from components.shield import Shielded

SIGNALS = (signal.SIGTERM, signal.SIGINT)
FINISH = 3.5  # seconds that running requests have to finish
TELL = 1.5  # seconds that the rest have to say that they ended early
PUSH = 2.0  # seconds that the backup has for what is left, beside those
LONGEST = 9.0  # seconds after which nothing is waited for
_LOOK = 0.05

log = logging.getLogger(__name__)


def end_in_order() -> None:
    """From now on a signal raises SystemExit(0) in the main thread, and the next one ends the process as it is."""

    def told(_number: int, _frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        # Not by `threading`, whose locks the interrupted code may hold.
        _thread.start_new_thread(_enough, ())
        sys.exit(0)

    for each in SIGNALS:
        signal.signal(each, told)


def stop(page: gr.Blocks, pages: FamilyPages, ratings: Ratings, service: Service) -> None:
    """End all that `serve` began, in an order in which nothing that was confirmed is lost."""
    service.meter.close()
    ratings.push()
    if not _until_idle(page, FINISH):
        log.warning("stopping: %d requests are ended early", service.meter.end())
    if not _until_idle(page, TELL):
        page.server.force_exit = True  # somebody does not read what they asked for
    ratings.settle(PUSH)
    pages.close()
    page.close(verbose=False)
    ratings.close()
    service.close()
    log.info("stopped")


def leave() -> NoReturn:
    """End the process, of which nothing is left to end: taking the interpreter down would take seconds more."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    os._exit(0)


def _until_idle(page: gr.Blocks, seconds: float) -> bool:
    """Wait until nobody waits for anything of the server; whether that came in time."""
    app = page.server_app
    assert isinstance(app, Shielded), "serve launched it"
    return _until(lambda: app.shield is None or not app.shield.working, seconds)


def _until(done: Callable[[], bool], seconds: float) -> bool:
    last = time.monotonic() + seconds
    while not done():
        if time.monotonic() > last:
            return False
        time.sleep(_LOOK)
    return True


def _enough() -> None:
    """End the process when it has had its time. What is confirmed is on the disk."""
    time.sleep(LONGEST)
    os.write(2, b"EFT Lab: something did not end in time, so it was left.\n")
    os._exit(0)

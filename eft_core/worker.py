"""The engine in a process of its own, beside which no page takes the interpreter's lock: `python -m eft_core.worker`.

It is started by `remote`, which writes messages to its standard input and reads them from its standard output, pickled;
whatever else it prints goes to standard error. First come the settings, then families and calls of their sessions. It
ends when its input does, and with that, whatever became of the process that started it.
"""

import gc
import logging
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

from eft_core.allocator import one_heap
from eft_core.engine import PULSE
from eft_core.logs import configure, secrets_of
from eft_core.messages import Answer, Call, Ended, Go, Known, Leave, Message, Returned, Told
from eft_core.session import Session, Shared
from eft_core.settings import Settings
from eft_core.tickets import Errand, Heard, Said, Ticket

log = logging.getLogger(__name__)


class Worker:
    """Sessions of one engine, which serve what one other process asks."""

    def __init__(self, settings: Settings, answers: BinaryIO) -> None:
        self._settings, self._shared = settings, Shared()
        self._answers, self._writing = answers, threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._errands: dict[int, Errand] = {}  # of streams that nobody has begun to read
        self._tickets: dict[int, Ticket] = {}  # of those that are read
        self._spawn(self._pulse)

    def take(self, message: Message) -> None:
        """Do what is asked, in a thread of its own where that may take a while."""
        match message:
            case Known(family):
                self._sessions[family.name] = Session(self._settings, family, self._shared)
            case Call():
                self._spawn(self._call, message)
            case Go(number):
                self._begin(number, self._errands.pop(number))
            case Leave(number) if number in self._errands:
                del self._errands[number]
                self._say(Ended(number))
            case Leave(number) if (ticket := self._tickets.get(number)) is not None:
                self._spawn(self._shared.engine.leave, ticket)

    def _spawn(self, work: Callable[..., None], *arguments: Any) -> None:
        threading.Thread(target=work, args=arguments, name=work.__name__, daemon=True).start()

    def _call(self, call: Call) -> None:
        try:
            if call.method == "standing":
                value: Any = self._shared.engine.standing()
            else:
                value = getattr(self._sessions[call.family], call.method)(*call.arguments)
        except Exception as error:
            self._end(call.number, error)
            return
        if isinstance(value, Errand):
            self._errands[call.number] = value
            value = None
        self._say(Returned(call.number, value))

    def _begin(self, number: int, errand: Errand) -> None:
        """Run a stream. The engine's thread writes its events by itself: waking another one takes longer."""

        def hear(events: list[Said]) -> None:
            self._say(Told(number, events))

        def over(error: BaseException | None) -> None:
            del self._tickets[number]
            self._end(number, error)

        ticket = self._tickets[number] = Heard(errand.claim, hear=hear, over=over)
        self._shared.engine.enter(ticket, errand.script)

    def _pulse(self) -> None:
        while True:
            time.sleep(PULSE)
            self._shared.engine.pulse()

    def _end(self, number: int, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, ValueError):
            log.error("a request failed", exc_info=error)
        self._say(Ended(number, error and portable(error)))

    def _say(self, answer: Answer) -> None:
        written = pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
        with self._writing, suppress(OSError):  # nobody is there any more, as this one's input tells too
            self._answers.write(written)
            self._answers.flush()


def portable(error: BaseException) -> BaseException:
    """The error without its frames, as another process may read it: as itself where that can be."""
    error = error.with_traceback(None)
    error.__cause__ = error.__context__ = None
    try:
        again = pickle.loads(pickle.dumps(error))
    except Exception:  # its class wants other arguments than it keeps
        again = None
    if type(again) is type(error) and str(again) == str(error):
        return error
    return (ValueError if isinstance(error, ValueError) else RuntimeError)(f"{error}")


def main() -> None:
    """Serve standard input until it ends."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # these are for the process that started this one, and whose end is ours
    one_heap()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    messages = sys.stdin.buffer
    try:
        settings: Settings = pickle.load(messages)
        configure(settings.logging, secrets_of(os.environ))
        worker = Worker(settings, answers)
        # What is there from the beginning stays: looking through it for garbage would hold all rows up.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        while True:
            worker.take(pickle.load(messages))
    except (EOFError, pickle.UnpicklingError):  # it went, perhaps in the middle of a word
        os._exit(0)


if __name__ == "__main__":
    main()

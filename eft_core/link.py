"""One engine's process (`worker`) as seen from the page's: calls go in, answers come out, a stream each where asked.

Where the process ends, whatever the reason, everybody who waits for it is told.
"""

import itertools
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Generator, Hashable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self, cast

from eft_core.events import Working
from eft_core.family import Family
from eft_core.messages import Answer, Call, Ended, Go, Known, Leave, Message, Returned, Told
from eft_core.settings import Settings
from eft_core.tickets import Restarted

Answers = queue.SimpleQueue[Answer]

_ROOT = Path(__file__).resolve().parents[1]
_SILENCE = 0.2  # seconds without any word, after which a sign of life is given in its stead
_GOING = 30.0  # seconds in which a stream that is left must end
_STOP = 2.0  # seconds that the process has to end


class Link:
    """A process, and the calls that it serves. Safe to share between threads."""

    def __init__(self, settings: Settings, families: Iterable[Family]) -> None:
        """Starts it; calls wait until it listens. `ready` is for whoever starts it to set."""
        paths = (str(_ROOT), os.environ.get("PYTHONPATH", ""))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "eft_core.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        self.ready = self.broken = False
        self._writing, self._numbers = threading.Lock(), itertools.count()
        self._waiting: dict[int, Answers] = {}
        self._rows: dict[int, int] = {}  # of streams
        self._kinds: dict[int, Hashable] = {}  # of those whose rows share a batch with their kind alone
        self.send(settings)
        for family in families:
            self.send(Known(family))
        self._reader = threading.Thread(target=self._read, name="engine's answers", daemon=True)
        self._reader.start()

    @property
    def requests(self) -> int:
        """Streams that are open."""
        return len(self._rows)

    @property
    def rows(self) -> int:
        """Of the streams that are open."""
        return sum(list(self._rows.values()))

    def ask(self, family: str, method: str, *arguments: Any, patience: float | None = None) -> Any:
        """What a method of the family's session returns; raises what it raises. TimeoutError after `patience`."""
        number = next(self._numbers)
        answers = self._call(number, family, method, arguments)
        try:
            return self._returned(answers.get(timeout=patience))
        except queue.Empty:
            raise TimeoutError from None
        finally:
            self.forget(number)

    def runs(self, kind: Hashable) -> bool:
        """Whether a stream of this kind is open."""
        return kind in list(self._kinds.values())

    def expect(self, rows: int, kind: Hashable = None) -> int:
        """The number of a stream that `follow` will ask for: its rows count from now on, and so does its kind."""
        number = next(self._numbers)
        self._rows[number] = rows
        if kind is not None:
            self._kinds[number] = kind
        return number

    def follow(self, number: int, family: str, method: str, *arguments: Any) -> "Stream":
        """The stream that a method of the family's session returns; raises at once what the method raises."""
        try:
            answers = self._call(number, family, method, arguments)
            self._returned(answers.get())
        except BaseException:
            self.forget(number)
            raise
        return Stream(self, number, answers)

    def send(self, message: Message | Settings) -> None:
        """Say something; nobody hears it where the process has ended, which those who wait are told."""
        written = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        stdin = cast(Any, self.process.stdin)
        with self._writing, suppress(OSError, ValueError):  # it has ended, which its reader sees, or was closed
            stdin.write(written)
            stdin.flush()

    def forget(self, number: int) -> None:
        """Nobody reads the answers to a call any more."""
        self._waiting.pop(number, None)
        self._rows.pop(number, None)
        self._kinds.pop(number, None)

    def close(self) -> None:
        """End the process."""
        with self._writing, suppress(OSError):
            cast(Any, self.process.stdin).close()
        try:
            self.process.wait(_STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(_STOP)

    def _call(self, number: int, family: str, method: str, arguments: tuple[Any, ...]) -> Answers:
        answers = self._waiting[number] = Answers()
        self.send(Call(number, family, method, arguments))
        if self.broken:  # and its reader may be past this call
            answers.put(Ended(number, Restarted()))
        return answers

    def _returned(self, answer: Answer) -> Any:
        if isinstance(answer, Returned):
            return answer.value
        raise cast(Exception, cast(Ended, answer).error)

    def _read(self) -> None:
        stdout = cast(Any, self.process.stdout)
        with suppress(EOFError, pickle.UnpicklingError, OSError, ValueError):  # a killed process stops in mid-word
            while True:
                answer: Answer = pickle.load(stdout)
                if answers := self._waiting.get(answer.number):
                    answers.put(answer)
        self.broken = True
        for number, answers in list(self._waiting.items()):
            answers.put(Ended(number, Restarted()))
        self.process.wait()
        stdout.close()
        with self._writing, suppress(OSError):
            cast(Any, self.process.stdin).close()


class Stream(Generator[list[Any], None, None]):
    """What a call tells, in lists; it begins with the first `next`. Close it to leave: its rows are gone then."""

    def __init__(self, link: Link, number: int, answers: Answers) -> None:
        self._link, self._number, self._answers = link, number, answers
        self._began = self._over = False

    def __iter__(self) -> Self:
        return self

    def send(self, value: None) -> list[Any]:
        """The next events. Raises what failed."""
        if self._over:
            raise StopIteration
        if not self._began:
            self._began = True
            self._link.send(Go(self._number))
        try:
            answer = self._answers.get(timeout=_SILENCE)
        except queue.Empty:
            return [Working()]
        if isinstance(answer, Told):
            return answer.events
        self._end()
        if isinstance(answer, Ended) and answer.error is not None:
            raise answer.error
        raise StopIteration

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> list[Any]:
        """As into a generator that does not catch it."""
        self.close()
        raise kind if value is None else value

    def close(self) -> None:
        """Leave, and wait until that is done."""
        if self._over:
            return
        self._link.send(Leave(self._number))
        with suppress(queue.Empty):
            while not isinstance(self._answers.get(timeout=_GOING), Ended):
                pass
        self._end()

    def __del__(self) -> None:
        if not self._over:  # nobody has read it to its end, and nobody waits for it
            self._link.send(Leave(self._number))
            self._end()

    def _end(self) -> None:
        self._over = True
        self._link.forget(self._number)


def flat(stream: Stream) -> Generator[Any, None, None]:
    """What is told at once, one after the other; closing closes `stream`."""
    with closing(stream):
        for told in stream:
            yield from told

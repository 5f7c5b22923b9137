"""Continuous batching: the one thread of a process that runs models, for all who ask at once (SPEED.md 2.4, 2.6).

A request is a script, a generator that gives way after every bounded piece of work: it loads, reads prompts, and lets
its rows join a running batch (`crowd`), which steps once a round for all. A request that does not fit waits; first
come, first served. What scripts yield goes to whoever follows the `Ticket`; a script's failure is nobody else's.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from typing import Any

from eft_core.allocator import give_back
from eft_core.crowd import Crowd
from eft_core.events import Done, Inspected, Queued, RowFinished, Started, TokensDrawn, TokensRecorded, Working
from eft_core.standing import Standing
from eft_core.tickets import Claim, Restarted, Said, Ticket, Told, together

log = logging.getLogger(__name__)

# Seconds between two signs of life while nothing is told; a closed page is noticed within this time.
PULSE = 0.2
# Tokens of a request are handed over together: waking a reader takes a part of a small model's step. Seconds between
# two times at least, for each request that runs, and at most.
_HANDED, _EACH, _SLOWLY = 0.04, 0.05, 0.4
# The most steps' time that whoever has answers to read waits for those who have none yet, where these are many.
_PATIENT = 4.0
# Pieces that one request reads before others do: a short prompt on every member.
_PIECES = 8
# Seconds that the thread waits for work before it ends; the next request starts it again.
_IDLE = 5.0


class Engine:
    """The thread, its queue and its running batches. Safe to share between threads.

    The thread starts with a request and ends when there has been none for a while; a process that was forked starts its
    own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._wanted = threading.Condition(self._lock)  # something waits
        self._waiting: list[Ticket] = []
        self._running: list[Ticket] = []
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._restarts = self._turn = 0
        self.crowd = Crowd()

    def __len__(self) -> int:
        """Requests that run or wait."""
        return len(self._waiting) + len(self._running)

    def standing(self) -> Standing:
        """How it stands now. From any thread."""
        crowd = self.crowd
        return Standing(crowd.rows, len(self._running), len(self._waiting), self._restarts, crowd.tokens)

    def claims(self) -> list[Claim]:
        """What the requests take that run now."""
        with self._lock:
            return [ticket.claim for ticket in self._running]

    # --- who asks

    def follow(self, claim: Claim, script: Callable[[Hashable], Told]) -> Generator[Any, None, None]:
        """A request's events; it joins the queue with the first `next`. Close the iterator to cancel: its rows are gone
        when that returns. Says `Queued` or `Working` where there is nothing else to say for a while.

        `script` gets the owner of the rows that it enters into the crowd."""
        ticket = Ticket(claim)
        self.enter(ticket, script)
        try:
            for told in self._followed(ticket):
                yield from told
        finally:
            self.leave(ticket)

    def enter(self, ticket: Ticket, script: Callable[[Hashable], Told]) -> None:
        """Let a request join the queue; what it tells is for whoever made the ticket."""
        if self._process != os.getpid():
            self._begin()  # forked: nothing of the parent's runs here
        ticket.changed, ticket.script = threading.Condition(self._lock), script(ticket)
        with self._lock:
            self._waiting.append(ticket)
            self._start()
            self._wanted.notify()

    def pulse(self) -> None:
        """Tell those who wait how many stand before them, if nobody follows them: somebody must call this."""
        with self._lock:
            for place, ticket in enumerate(self._waiting, 1):
                ticket.wait(place)

    def _followed(self, ticket: Ticket) -> Iterator[list[Said]]:
        last: Said | None = None
        while True:
            with self._lock:
                if not ticket.told and not ticket.ended:
                    ticket.changed.wait(PULSE)
                told, ticket.told = ticket.told, []
                ended, ahead = ticket.ended, self._ahead(ticket)
            if told:
                yield told
            if ended:
                if ticket.failed is not None:
                    raise ticket.failed
                return
            last = told[-1] if told else last
            if not told and not isinstance(last, Done | Inspected):  # nothing comes after these
                yield [Queued(ahead) if ahead else Working()]

    def _ahead(self, ticket: Ticket) -> int:
        """How many stand before a ticket that waits, one that runs among them; 0 if it runs."""
        return self._waiting.index(ticket) + 1 if ticket in self._waiting else 0

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
            self._thread.start()

    def leave(self, ticket: Ticket) -> None:
        """Take a request away; its rows are gone when this returns."""
        with self._lock:
            ticket.left = True
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                ticket.end()
            while not ticket.ended and threading.current_thread() is not self._thread:
                ticket.changed.wait()
        ticket.script.close()

    # --- the thread

    def _run(self) -> None:
        try:
            while self._round():
                pass
            give_back()
        except BaseException as error:  # whatever it was: who waits must be told, and the next must be served
            log.critical("the engine failed and starts again", exc_info=error)
            self._restart()

    def _restart(self) -> None:
        with self._lock:
            lost, self._running = self._running, []
            self.crowd = Crowd(self.crowd.tokens)
            self._restarts += 1
            for ticket in lost:
                ticket.end(Restarted())
            self._thread = None
            if self._waiting:
                self._start()

    def _round(self) -> bool:
        """One step of every batch, and a piece of every request. False if there was nothing to do for a while."""
        with self._lock:
            self._admit()
            if not self._running:
                if not self._waiting:
                    self._wanted.wait(_IDLE)
                if not self._waiting:
                    self._thread = None
                    return False
                return True
            running = list(self._running)
        began = self._clock()
        self.crowd.step()
        spent = self._clock() - began
        preparing = []
        for ticket in running:
            share = self.crowd.share(ticket)
            if ticket.left:
                self._end(ticket)
            elif share is None:
                preparing.append(ticket)
            elif share.pressing or self._due(ticket):
                self._advance(ticket)
        others = len(running) - len(preparing)
        self._prepare(preparing, spent * min(_PATIENT, max(1.0, len(preparing) / others)) if others else None)
        return True

    def _admit(self) -> None:
        """Let those run who fit, in the order of their arrival: who does not fit is not overtaken."""
        while self._waiting:
            ticket = self._waiting[0]
            try:
                if not together(ticket.claim, [each.claim for each in self._running]):
                    return
            except Exception as error:  # it cannot even be asked: it is for whoever asked
                self._waiting.pop(0).end(error)
            else:
                self._running.append(self._waiting.pop(0))

    def _prepare(self, tickets: Sequence[Ticket], limit: float | None) -> None:
        """Pieces of those who load and read: one, or for about `limit` seconds where others run.

        First come, first served, so that of many the first need not wait for the last; but whoever has much to read
        lets others go before after every few pieces. Every other time it begins with who waits longest for a piece."""
        self._turn += 1
        began, waiting, longest = self._clock(), list(tickets), self._turn % 2 == 0
        while waiting:
            ticket = min(waiting, key=lambda each: each.served if longest else each.pieces // _PIECES)
            self._advance(ticket)
            ticket.pieces, ticket.served, longest = ticket.pieces + 1, self._turn, False
            if limit is None or self._clock() - began > limit:
                return
            if ticket.ended or self.crowd.share(ticket) is not None:
                waiting.remove(ticket)

    def _advance(self, ticket: Ticket) -> None:
        """A piece of a request."""
        try:
            self._tell(ticket, next(ticket.script))
        except StopIteration:
            self._end(ticket)
        except Exception as error:  # it is for whoever asked
            self._end(ticket, error)

    def _due(self, ticket: Ticket) -> bool:
        """Whether what was drawn since may be told: for all steps at once, which costs little more than for one."""
        return self._clock() - ticket.handed >= min(_SLOWLY, max(_HANDED, _EACH * len(self._running)))

    def _tell(self, ticket: Ticket, events: list[Said]) -> None:
        ticket.held += events
        often = all(isinstance(event, TokensDrawn | TokensRecorded | RowFinished) for event in events)
        if not ticket.held or (often and not self._due(ticket)):
            return
        ticket.tell()
        # The first tokens are never late.
        ticket.handed = 0.0 if any(isinstance(event, Started) for event in events) else self._clock()

    def _end(self, ticket: Ticket, error: BaseException | None = None) -> None:
        try:
            ticket.script.close()
        except Exception as failure:  # nobody is there to be told
            log.error("a request failed while it was taken away", exc_info=failure)
        with self._lock:
            self._running.remove(ticket)
            ticket.end(error)

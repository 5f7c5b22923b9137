"""One at a time, in order of arrival: the queue of a session.

A ticket instead of a lock, because a generator may be resumed, and closed, by another thread than the one that began.
"""

import threading


class Turns:
    """Tickets in order of arrival; the first one has its turn."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tickets: list[object] = []

    def __len__(self) -> int:
        """Requests that run or wait."""
        return len(self._tickets)

    def join(self) -> object:
        """A new ticket, behind all others."""
        ticket = object()
        with self._changed:
            self._tickets.append(ticket)
        return ticket

    def ahead(self, ticket: object) -> int:
        """How many stand before `ticket`; 0 is its turn."""
        with self._changed:
            return self._tickets.index(ticket)

    def wait(self, ticket: object, seconds: float) -> int:
        """Wait until the queue changes, `seconds` at most; how many stand before `ticket` then."""
        with self._changed:
            if self._tickets.index(ticket):
                self._changed.wait(seconds)
            return self._tickets.index(ticket)

    def leave(self, ticket: object) -> None:
        """Give the ticket back, whether it had its turn or not."""
        with self._changed:
            self._tickets.remove(ticket)
            self._changed.notify_all()

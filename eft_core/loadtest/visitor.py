"""One visitor: asks comparison after comparison at /compare, reads each to its end, and notes times and texts.

A refusal is obeyed: the visitor comes again when it says so, and waits as part of the answer's time.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from eft_core.loadtest import wire
from eft_core.loadtest.mix import Ask

MOST_REFUSALS = 30  # of one request, then it counts as failed
Texts = tuple[tuple[str, str], ...]  # of every column: its text, and why it ended


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request: seconds to the first token of any column and to the end, tokens of all columns.

    `problem` is why there is no answer, "" where there is one; `at` is when it ended (time.perf_counter)."""

    ask: Ask
    seconds: float
    first: float | None = None
    tokens: int = 0
    texts: Texts = ()
    problem: str = ""
    refusals: int = 0
    at: float = field(default_factory=time.perf_counter)


@dataclass
class Visitor:
    """One page or program, by its session hash, and the replies it got."""

    http: httpx.AsyncClient
    session: str = field(default_factory=lambda: uuid.uuid4().hex[:11])
    replies: list[Reply] = field(default_factory=list)

    async def visit(self, asks: Iterable[Ask], go_on: Callable[[], bool]) -> None:
        """Ask one after the other, as long as `go_on` says so; the first is always asked."""
        for ask in asks:
            if self.replies and not go_on():
                return
            self.replies.append(await self.ask(ask))

    async def ask(self, ask: Ask) -> Reply:
        """One comparison, from the request until its last update."""
        began, refusals = time.perf_counter(), 0
        while True:
            try:
                return await self._answer(ask, began, refusals)
            except wire.Refused as refused:
                refusals += 1
                if refusals > MOST_REFUSALS:
                    return Reply(ask, time.perf_counter() - began, problem=refused.said, refusals=refusals)
                await asyncio.sleep(refused.seconds)
            except wire.Failed as error:
                return Reply(ask, time.perf_counter() - began, problem=str(error), refusals=refusals)

    async def _answer(self, ask: Ask, began: float, refusals: int) -> Reply:
        first = None
        async with wire.called(self.http, "compare", ask.data, self.session) as updates:
            async for last, data in updates:
                # Whole states, ten a second: parsing all of them would take from the server what it is to have.
                if first is None and tokens_of(json.loads(data)[0]):
                    first = time.perf_counter() - began
                if last:
                    told = json.loads(data)[0]
                    seconds = time.perf_counter() - began
                    return Reply(ask, seconds, first, tokens_of(told), texts_of(told), "", refusals)
        raise wire.Failed("the stream ended before the answer did")


def tokens_of(update: dict[str, Any]) -> int:
    """Tokens of all columns of an update."""
    return sum(column["tokens"] for column in update["columns"])


def texts_of(update: dict[str, Any]) -> Texts:
    """What must be the same whatever else runs."""
    return tuple((column["text"], column["reason"]) for column in update["columns"])

"""Rounds of visitors: how many ask at once, how often, until when, and what came of it.

Before the clock runs, every comparison of the mix is asked once alone, which gives the right texts, and then all
visitors ask once, so that memory is what a crowd needs. Numbers of visitors come in turns, each a part of its round, so
that a machine that becomes slower or faster meanwhile does so for all of them. A turn ends when its requests are
answered; after its seconds nobody asks again.
"""

import asyncio
import itertools
import math
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eft_core.loadtest import wire
from eft_core.loadtest.mix import Ask
from eft_core.loadtest.server import Server
from eft_core.loadtest.visitor import Reply, Texts, Visitor

WARMING = 3  # requests of every visitor before the clock runs


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is asked. `requests` a visitor; `least` of a round in all, so that one visitor asks more often;
    `seconds` of a round after which nobody asks again, and of the whole, after which answers are cut off; `turns` in
    which every round is asked; `quiet` seconds before memory is read, in which a server gives back what only a crowd
    needs."""

    visitors: tuple[int, ...]
    requests: int
    least: int
    seconds: float
    whole: float
    turns: int = 1
    quiet: float = 7.0

    def each(self, visitors: int) -> int:
        """Requests of every visitor of a round."""
        return max(self.requests, math.ceil(self.least / visitors))

    def part(self, visitors: int, turn: int) -> tuple[int, int]:
        """The first and the one behind the last of these requests that come in a turn, which may be none."""
        each = self.each(visitors)
        return each * turn // self.turns, each * (turn + 1) // self.turns


@dataclass(frozen=True, slots=True)
class Round:
    """One number of visitors. `cut`: requests that the end of the whole cut off; `wrong`: answers with another text
    than alone; `client_cores` and `server_cores`: how many cores computed for this side on average. `tokens` in
    `steady` seconds are what is told of the speed: while all of them asked (`steady`)."""

    visitors: int
    replies: tuple[Reply, ...]
    seconds: float
    tokens: int
    steady: float
    wrong: int
    cut: int
    server_cores: float
    client_cores: float
    memory: int

    @classmethod
    def of(cls, parts: "Sequence[Round]") -> "Round":
        """The turns of one number of visitors as one round: what took longer weighs more; memory is the last one's."""
        seconds = sum(part.seconds for part in parts)
        return cls(
            visitors=parts[0].visitors,
            replies=tuple(reply for part in parts for reply in part.replies),
            seconds=seconds,
            tokens=sum(part.tokens for part in parts),
            steady=sum(part.steady for part in parts),
            wrong=sum(part.wrong for part in parts),
            cut=sum(part.cut for part in parts),
            server_cores=sum(part.server_cores * part.seconds for part in parts) / seconds,
            client_cores=sum(part.client_cores * part.seconds for part in parts) / seconds,
            memory=parts[-1].memory,
        )

    @property
    def answers(self) -> list[Reply]:
        return [reply for reply in self.replies if not reply.problem]

    @property
    def problems(self) -> list[str]:
        return [reply.problem for reply in self.replies if reply.problem]

    @property
    def refusals(self) -> int:
        """How often a visitor was asked to come again."""
        return sum(reply.refusals for reply in self.replies)

    @property
    def tokens_per_second(self) -> float:
        """Of all visitors together, while all of them asked."""
        return self.tokens / self.steady

    def first(self, share: float) -> float | None:
        """The quantile of seconds to the first token."""
        return quantile([reply.first for reply in self.answers if reply.first is not None], share)

    def latency(self, share: float) -> float | None:
        """The quantile of seconds to the end of the answer."""
        return quantile([reply.seconds for reply in self.answers], share)


@dataclass(frozen=True, slots=True)
class Load:
    """All rounds, and the bytes of the server before them (after warming up) and after."""

    asks: tuple[Ask, ...]
    rounds: tuple[Round, ...]
    before: int
    after: int

    @property
    def growth(self) -> float:
        """By which share memory grew."""
        return self.after / self.before - 1

    @property
    def requests(self) -> int:
        """Answered between the two readings of memory."""
        return sum(len(each.answers) for each in self.rounds)

    def at(self, visitors: int) -> Round | None:
        """The round of so many visitors, if there was one that answered."""
        return next((each for each in self.rounds if each.visitors == visitors and each.answers), None)


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that is not below `share` of them; None of nothing."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None


async def loaded(server: Server, asks: tuple[Ask, ...], scale: Scale) -> Load:
    """All rounds on one server. ValueError if it does not answer even one visitor."""
    end = time.monotonic() + scale.whole
    async with wire.client(server.address) as http:
        right = await alone(Visitor(http), asks)
        crowd = [Visitor(http) for _ in range(max(scale.visitors))]
        _say(f"warming up: {len(crowd)} at once")
        first = [visitor.visit(turned(asks, place)[:WARMING], lambda: True) for place, visitor in enumerate(crowd)]
        await _until(end, first)
        await asyncio.sleep(scale.quiet)
        before = server.memory
        parts: dict[int, list[Round]] = {}
        for turn, count in itertools.product(range(scale.turns), scale.visitors):
            if parts and time.monotonic() > end:
                break
            _say(f"{count} visitor{'s' if count > 1 else ''}, turn {turn + 1} of {scale.turns}")
            visitors = [Visitor(http, visitor.session) for visitor in crowd[:count]]
            parts.setdefault(count, []).append(await _round(server, visitors, asks, right, scale, end, turn))
    await asyncio.sleep(scale.quiet)
    return Load(asks, tuple(map(Round.of, parts.values())), before, server.memory)


async def alone(visitor: Visitor, asks: Sequence[Ask]) -> dict[Ask, Texts]:
    """The right texts: each asked once, one after the other. ValueError if that fails."""
    _say(f"asking {len(asks)} comparisons one by one")
    right: dict[Ask, Texts] = {}
    for ask in asks:
        reply = await visitor.ask(ask)
        if reply.problem:
            raise ValueError(f"the server does not answer a single visitor: {reply.problem}")
        right[ask] = reply.texts
    return right


async def _round(
    server: Server,
    visitors: list[Visitor],
    asks: tuple[Ask, ...],
    right: Mapping[Ask, Texts],
    scale: Scale,
    end: float,
    turn: int = 0,
) -> Round:
    """A turn of a round."""
    (first, behind), stop = scale.part(len(visitors), turn), time.monotonic() + scale.seconds / scale.turns
    began, theirs, ours = time.perf_counter(), server.cpu_seconds, time.process_time()
    # Each begins elsewhere in the mix: at any time they ask different things.
    plans = [(turned(asks, place) * math.ceil(behind / len(asks)))[first:behind] for place in range(len(visitors))]
    pairs = zip(visitors, plans, strict=True)
    cut = await _until(end, [visitor.visit(plan, lambda: time.monotonic() < stop) for visitor, plan in pairs])
    seconds = time.perf_counter() - began
    replies = tuple(reply for visitor in visitors for reply in visitor.replies)
    tokens, lasting = steady([visitor.replies for visitor in visitors], began, seconds)
    return Round(
        visitors=len(visitors),
        replies=replies,
        seconds=seconds,
        tokens=tokens,
        steady=lasting,
        wrong=sum(not reply.problem and reply.texts != right[reply.ask] for reply in replies),
        cut=cut,
        server_cores=(server.cpu_seconds - theirs) / seconds,
        client_cores=(time.process_time() - ours) / seconds,
        memory=server.memory,
    )


def steady(replies: Sequence[Sequence[Reply]], began: float, seconds: float) -> tuple[int, float]:
    """Tokens and seconds while all visitors asked: from when each has had one answer to the first one's last.

    What was under way at the beginning counts when it ends, and what is at the end does not. Where there is no such
    time, from `began` to the last answer."""
    start, end = began, began + seconds
    if all(replies):
        first, last = max(each[0].at for each in replies), min(each[-1].at for each in replies)
        start, end = (first, last) if last > first else (start, end)
    found = sum(reply.tokens for each in replies for reply in each if start < reply.at <= end)
    return found, end - start


def turned(asks: tuple[Ask, ...], place: int) -> tuple[Ask, ...]:
    """The mix from another place on."""
    start = place % len(asks)
    return asks[start:] + asks[:start]


async def _until(end: float, visits: Sequence[Coroutine[Any, Any, None]]) -> int:
    """Visits at once; those that `end` (time.monotonic) meets are cut off: how many."""
    tasks = [asyncio.ensure_future(visit) for visit in visits]
    done, late = await asyncio.wait(tasks, timeout=max(0.0, end - time.monotonic()))
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for task in done:
        task.result()
    return len(late)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

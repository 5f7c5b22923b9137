"""What the load test says to the server and hears from it: the HTTP interface of a gradio page, as programs use it.

A named endpoint is a POST that gives an event's id and a GET that streams what happens to it (server-sent events). The
page's own handlers go by number: `queue/join`, then one stream a page (`page`). Errors are `Refused`, where the server
asks to come again, and `Failed`.
"""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

API = "/gradio_api"
# Seconds in which something must arrive on a stream: gradio sends a sign of life every 15 s.
PATIENCE = 120.0
# What a refusal says, and no failure does: when to come again.
_COME_AGAIN = re.compile(r"\bagain (?:in|after|once|when|as soon)\b|\bqueue is full\b|\bwait for it\b", re.IGNORECASE)
_TIME = re.compile(r"\b(\d+(?:\.\d+)?) (s|seconds?|minutes?|min)\b")


class Failed(Exception):
    """The server could not do it, and its sentence is no refusal; or the connection broke."""


@dataclass
class Refused(Exception):
    """The server asks to come again: what it said, and in how many seconds."""

    said: str
    seconds: float

    def __str__(self) -> str:
        return self.said


def refusal(said: str, after: str | None = None) -> Failed | Refused:
    """An error's sentence as what it means. `after` is the header Retry-After."""
    when = _COME_AGAIN.search(said)
    if when is None:
        return Failed(said)
    if after is not None and after.isdigit():
        return Refused(said, float(after))
    found = _TIME.search(said, when.start())
    return Refused(said, 1.0 if found is None else float(found[1]) * (60 if found[2].startswith("min") else 1))


def client(address: str) -> httpx.AsyncClient:
    """Connections to a server on this machine: as many as there are visitors, and no proxy between."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.AsyncClient(base_url=address, timeout=PATIENCE, limits=limits, trust_env=False, verify=False)


async def posted(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> Any:
    """The reply to a POST."""
    try:
        reply = await http.post(f"{API}/{path}", json=body)
    except httpx.HTTPError as error:
        raise Failed(f"the connection broke ({type(error).__name__} at {path})") from error
    if reply.is_success:
        return reply.json()
    raise refusal(_detail(reply), reply.headers.get("retry-after"))


@asynccontextmanager
async def streamed(http: httpx.AsyncClient, path: str) -> AsyncIterator[AsyncIterator[tuple[str, str]]]:
    """Events of a stream, name and data; leaving the block drops the connection."""
    try:
        async with http.stream("GET", f"{API}/{path}") as reply:
            if not reply.is_success:
                await reply.aread()
                raise refusal(_detail(reply), reply.headers.get("retry-after"))
            yield _events(reply)
    except httpx.HTTPError as error:
        raise Failed(f"the connection broke ({type(error).__name__} at {path.partition('?')[0]})") from error


async def _events(reply: httpx.Response) -> AsyncIterator[tuple[str, str]]:
    name = "message"
    async for line in reply.aiter_lines():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, line[6:]
            name = "message"


def _detail(reply: httpx.Response) -> str:
    """What an answer that is no success says."""
    try:
        told = reply.json()
    except ValueError:
        told = {}
    said = next((told[key] for key in ("detail", "error", "message") if told.get(key)), "") if told else ""
    return str(said or f"the server answered {reply.status_code}")


@asynccontextmanager
async def called(
    http: httpx.AsyncClient, name: str, data: list[Any], visitor: str
) -> AsyncIterator[AsyncIterator[tuple[bool, str]]]:
    """A named endpoint's updates as JSON, each with whether it is the last; leaving the block drops the connection.

    `visitor` is the session hash that a page or a program chooses for itself.
    """
    event = (await posted(http, f"call/{name}", {"data": data, "session_hash": visitor}))["event_id"]
    async with streamed(http, f"call/{name}/{event}") as events:
        yield _updates(events)


async def _updates(events: AsyncIterator[tuple[str, str]]) -> AsyncIterator[tuple[bool, str]]:
    async for name, data in events:
        if name == "error":
            raise refusal(error_of(json.loads(data)))
        if name == "complete":
            async for _ in events:  # to the stream's end, which follows: the connection serves the next request
                pass
            yield True, data
            return
        if name == "generating":
            yield False, data
    raise Failed("the stream ended before the answer did")


def error_of(told: Any) -> str:
    """The sentence of an event that failed."""
    said = told.get("error") if isinstance(told, dict) else told
    return str(said or "the server failed and said nothing")

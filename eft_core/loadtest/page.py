"""One page in a browser, without the browser: gradio's own protocol for a page's handlers, which have no names.

The configuration tells which handler stands behind a button, and what its inputs hold. Queued handlers stream updates,
the first one whole and the others as edits of it (gradio's `utils.diff`); those beside the queue answer at once. State
is the server's, by session hash.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx

from eft_core.loadtest import wire


@dataclass(frozen=True, slots=True)
class Handler:
    """A handler's number, the component whose event it hears, and what its inputs hold on a new page."""

    index: int
    trigger: int
    inputs: tuple[Any, ...]


@dataclass(frozen=True)
class Page:
    """An open page: its session, and its configuration as the server gave it."""

    http: httpx.AsyncClient
    session: str
    config: Mapping[str, Any]

    def handler(self, event: str, elem_id: str = "", output: str = "") -> Handler:
        """What hears `event` of a component with `elem_id`, or writes to one with the id `output`. ValueError unless
        there is exactly one."""
        ids = {each["id"]: each["props"].get("elem_id") for each in self.config["components"]}
        found = {
            number: Handler(each["id"], target, tuple(map(self._held, each["inputs"])))
            for number, each in enumerate(self.config["dependencies"])
            for target, name in each["targets"]
            if name == event
            and (not elem_id or ids.get(target) == elem_id)
            and (not output or output in [ids.get(number) for number in each["outputs"]])
        }
        if len(found) != 1:
            raise ValueError(f"the page has {len(found)} handlers of {event} at {elem_id or output}, not one.")
        return next(iter(found.values()))

    async def ask(self, handler: Handler, data: Sequence[Any] = (), event: Any = None) -> list[Any]:
        """A handler beside the queue: its outputs."""
        told = await wire.posted(self.http, "run/predict", self._body(handler, data, event))
        values: list[Any] = told["data"]
        return values

    @asynccontextmanager
    async def run(
        self, handler: Handler, data: Sequence[Any], event: Any = None
    ) -> AsyncIterator[tuple[str, AsyncIterator[list[Any]]]]:
        """A queued handler: its event's id, and its outputs each time they change. Leaving the block goes away."""
        number = (await wire.posted(self.http, "queue/join", self._body(handler, data, event)))["event_id"]
        async with wire.streamed(self.http, f"queue/data?session_hash={self.session}") as events:
            yield number, _updates(events, number)

    async def cancel(self, handler: Handler, number: str) -> None:
        """What a page does about an event that is no longer wanted."""
        body = {"session_hash": self.session, "fn_index": handler.index, "event_id": number}
        await wire.posted(self.http, "cancel", body)

    def _body(self, handler: Handler, data: Sequence[Any], event: Any) -> dict[str, Any]:
        about = {"fn_index": handler.index, "trigger_id": handler.trigger, "session_hash": self.session}
        return {"data": list(data), "event_data": event, **about}

    def _held(self, component: int) -> Any:
        found = next(each for each in self.config["components"] if each["id"] == component)
        return None if found["type"] == "state" else found["props"].get("value")


@asynccontextmanager
async def opened(http: httpx.AsyncClient) -> AsyncIterator[Page]:
    """A new page as a browser opens it, with its sign of life; leaving the block closes the tab."""
    try:
        (await http.get("/")).raise_for_status()
        config = (await http.get("/config")).raise_for_status().json()
    except httpx.HTTPError as error:
        raise wire.Failed(f"the page did not open ({type(error).__name__})") from error
    page = Page(http, uuid.uuid4().hex[:11], config)
    living = asyncio.create_task(_live(page))
    try:
        yield page
    finally:
        living.cancel()
        with suppress(asyncio.CancelledError):
            await living


async def _live(page: Page) -> None:
    """The connection by which the server knows that a tab is open; a page whose connection broke lives on."""
    with suppress(wire.Failed, wire.Refused):
        async with wire.streamed(page.http, f"heartbeat/{page.session}") as beats:
            async for _ in beats:
                pass


async def _updates(events: AsyncIterator[tuple[str, str]], number: str) -> AsyncIterator[list[Any]]:
    held: list[Any] | None = None
    async for _, data in events:
        told = json.loads(data)
        if told.get("event_id") not in (number, None):
            continue
        match told["msg"]:
            case "unexpected_error":
                raise wire.refusal(wire.error_of(told.get("message")))
            case "process_generating" | "process_completed" if not told["success"]:
                raise wire.refusal(wire.error_of(told["output"]))
            case "process_generating":
                news = told["output"]["data"]
                held = news if held is None else [patched(*pair) for pair in zip(held, news, strict=True)]
                yield held
            case "process_completed":
                yield told["output"].get("data") or held or []  # a cancelled one has no outputs of its own
                return
    raise wire.Failed("the stream ended before the answer did")


def patched(value: Any, edits: Sequence[Sequence[Any]]) -> Any:
    """A value after edits: [act, path, what], where the act is replace, append, add or delete."""
    for act, path, what in edits:
        value = _edited(value, act, path, what)
    return value


def _edited(value: Any, act: str, path: Sequence[Any], what: Any) -> Any:
    if not path:
        return value + what if act == "append" else what
    key, *rest = path
    changed = value.copy()
    if rest or act in ("append", "replace"):
        changed[key] = _edited(changed[key], act, rest, what)
    elif act == "delete":
        del changed[key]
    elif isinstance(changed, list):
        changed.insert(key, what)
    else:
        changed[key] = what
    return changed


def lines(log: object, kind: str) -> list[dict[str, Any]]:
    """The lines of a kind in a log of the page's components, which are JSON objects with their kind as `t`."""
    told = [json.loads(each) for each in str(log or "").splitlines() if each.startswith("{")]
    return [each for each in told if each.get("t") == kind]


def board_texts(log: str) -> list[str]:
    """The texts of all columns of a run that its log has so far, in their order; "" of those that have none yet."""
    texts = {column["key"]: "" for run in lines(log, "run") for column in run["columns"]}
    for row in lines(log, "row"):
        texts[row["c"]] += row["x"]
    return list(texts.values())


def raise_for(log: str) -> None:
    """A sentence on the board in the stead of answers, as what it means."""
    for told in lines(log, "error"):
        raise wire.refusal(told["text"])

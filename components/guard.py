"""Looks at calls before gradio does, and keeps tracebacks out of answers: an ASGI layer inside every gradio app.

A "private" event can be called by anybody with anything (ECOSYSTEM.md 1.2). What no page sends, be it too deep, of the
wrong length, not a number, or an address to fetch a file from, is refused in one sentence; handlers check the rest. The
layer stands inside the app, so that it knows the app's functions: a family's page has others than the main one.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 1_000_000  # of a call; files come another way
MOST_DEPTH = 32
FAILED = "The server could not answer this: reload the page and try again; the server's log says more."
_CALL = re.compile(r"/gradio_api/(?P<kind>queue/join|run|api|call/v2|call)(?:/(?P<name>[^/]+))?/?")
_LARGEST = sys.float_info.max
_SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ADDRESS = re.compile(r"\s*https?:", re.IGNORECASE)
# What gradio's components take in; of anything else some of them make an error of the server's.
_NUMBER, _TEXT, _CHOICE = ((int, float), "a number"), ((str,), "a text"), ((str, int, float), "one of the choices")
_CHOICES, _FILE = ((str, int, float, list), "among the choices"), ((dict, list), "a file")
_KINDS: Mapping[type, tuple[tuple[type, ...], str]] = {
    gr.Slider: _NUMBER,
    gr.Number: _NUMBER,
    gr.Textbox: _TEXT,
    gr.Checkbox: ((bool,), "true or false"),
    gr.Radio: _CHOICE,
    gr.Dropdown: _CHOICES,
    gr.CheckboxGroup: ((list,), "a list of choices"),
    gr.File: _FILE,
    gr.UploadButton: _FILE,
}

log = logging.getLogger(__name__)


def guarded() -> dict[str, Any]:
    """What gradio is told of the app that it makes; anew for each app, because gradio adds to it."""
    return {"middleware": [Middleware(Guard)]}


class Refused(ValueError):
    """A call that no page makes, with the status that says so."""

    def __init__(self, sentence: str, status: int = 422) -> None:
        super().__init__(sentence)
        self.status = status


class Guard:
    """One layer of an ASGI app. It holds back no event stream: only what has failed is read to its end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer, call = _Answer(send), _CALL.fullmatch(scope["path"]) if scope["method"] == "POST" else None
        try:
            if call:
                body = checked(await _body(receive), call["kind"], call["name"], scope["app"].get_blocks().fns)
                receive = _again(body, receive)
            await self._app(scope, receive, answer)
        except Refused as refused:
            await JSONResponse({"error": str(refused), "detail": str(refused)}, refused.status)(scope, receive, send)
        except Exception as error:  # the answer says it; the log has the rest
            await answer.fail(error, scope, call is not None and call["kind"] == "call/v2")


class _Answer:
    """Sends an answer on, but for one that failed: of that only the sentence, if it has one."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False
        self._failed: bytes | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 500:
            self._failed = b""
        elif self._failed is None:
            self._begun = True
            await self._send(message)
        elif message["type"] == "http.response.body":
            self._failed += message.get("body", b"")[:MOST_BYTES]
            if not message.get("more_body"):
                await self._say(*told(self._failed))

    async def fail(self, error: Exception, scope: Scope, by_name: bool = False) -> None:
        """Say that it failed, or end what was begun; it is a matter for the log unless gradio meant it.

        by_name: a call with arguments by their names, of which gradio makes an error what it does not find."""
        if by_name and isinstance(error, KeyError | TypeError | ValueError) and not self._begun:
            await self._say("There is no such function, or it takes other arguments: look at /?view=api.", 422)
            return
        if not isinstance(error, HTTPException):
            log.error("%s %.100r failed", scope["method"], scope["path"], exc_info=error)
        if self._begun:
            await self._send({"type": "http.response.body", "body": b""})
        else:
            await self._say(FAILED, 500)

    async def _say(self, sentence: str, status: int) -> None:
        body = json.dumps({"error": sentence}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def told(body: bytes) -> tuple[str, int]:
    """The sentence and the status of what gradio answered with a 500: where it has a sentence, it refused a value."""
    try:
        sentence = json.loads(body)["error"]
    except (ValueError, TypeError, KeyError, RecursionError):
        sentence = None
    return (sentence[:500], 422) if isinstance(sentence, str) and sentence else (FAILED, 500)


def checked(body: bytes, kind: str, name: str | None, functions: Mapping[int, Any]) -> bytes:
    """The body of a call that may go on, without halves of characters. `Refused` for any other.

    `functions` are the app's, by index."""
    call = _parsed(body)
    for value, depth in _walked(call):
        if depth > MOST_DEPTH:
            raise Refused(f"the call is nested deeper than {MOST_DEPTH} levels: send plain values.")
        if isinstance(value, int | float) and not -_LARGEST <= value <= _LARGEST:
            raise Refused("the call has a number that is too large: send smaller ones.")
        if isinstance(value, dict) and isinstance(value.get("path"), str) and _ADDRESS.match(value["path"]):
            raise Refused("files are uploaded here and never fetched from an address: upload the file.")
        if isinstance(value, dict) and _is_called_file(value) and not _names_file(value):
            raise Refused("the call has a file without a place: upload the file.")
    if kind != "call/v2":  # there the body is the arguments
        _check_call(call, kind, name, functions)
    return json.dumps(call, ensure_ascii=False).encode("utf-8", "replace")


def _is_called_file(value: dict[str, Any]) -> bool:
    """Whether gradio will take a value for a file that was uploaded."""
    meta = value.get("meta")
    return isinstance(meta, dict) and meta.get("_type") == "gradio.FileData"


def _names_file(value: dict[str, Any]) -> bool:
    """Whether a value names an uploaded file, in the form that gradio reads."""
    return _is_called_file(value) and isinstance(value.get("path"), str) and bool(value["path"].strip())


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        call = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Refused("the call is no JSON that can be read: send one object.", 400) from None
    if not isinstance(call, dict):
        raise Refused("the call is no JSON object: send one with data in it.")
    return call


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _check_call(call: dict[str, Any], kind: str, name: str | None, functions: Mapping[int, Any]) -> None:
    """Whether there is such a function, and whether it takes so many values."""
    data, session, number = call.get("data"), call.get("session_hash"), call.get("fn_index")
    if not isinstance(data, list):
        raise Refused("the call has no list of data: send one value for each input.")
    if session is not None and not (isinstance(session, str) and _SESSION.fullmatch(session)):
        raise Refused("the session of the call is none that a page has: reload the page.")
    if call.get("batched") or call.get("event_id") is not None:
        raise Refused("calls come one by one here: leave out batched and event_id.")
    if not isinstance(call.get("trigger_id"), int | None):
        raise Refused("trigger_id must be a whole number or null: leave it out.")
    if number is None and kind != "queue/join":
        found = next((each for each in functions.values() if each.api_name == name), None)
    else:
        found = functions.get(number) if type(number) is int else None
    if found is None:
        raise Refused("there is no such function: reload the page, or look at /?view=api.", 404)
    if found.fn is None:
        raise Refused("this function runs in the browser alone: there is nothing to call.", 404)
    if found.targets and all(event == "unload" for _, event in found.targets):
        # It would end the very call that it is, and whoever asked would wait for ever.
        raise Refused("this function is the server's own, for pages that are closed: there is nothing to call.", 404)
    inputs = found.inputs
    if kind == "call" and len(data) != len(inputs):  # of a state, for example, no program knows
        inputs = [block for block in inputs if not block.skip_api]
    if len(data) != len(inputs):
        raise Refused(f"this function takes {len(inputs)} values and got {len(data)}: send one for each input.")
    for place, (block, value) in enumerate(zip(inputs, data, strict=True), 1):
        kinds, name = _KINDS.get(type(block), ((object, bool), ""))
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise Refused(f"value {place} of the call must be {name}: reload the page.")
        if isinstance(block, gr.File | gr.UploadButton) and value is not None:
            files = value if isinstance(value, list) and block.file_count != "single" else [value]
            if not all(isinstance(each, dict) and _names_file(each) for each in files):
                raise Refused(f"value {place} of the call is no file that was uploaded: upload it.")


def _walked(value: Any) -> Iterator[tuple[Any, int]]:
    """All values inside of a value, with their depths."""
    waiting = [(value, 0)]
    while waiting:
        value, depth = waiting.pop()
        yield value, depth
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting += [(each, depth + 1) for each in inside]


async def _body(receive: Receive) -> bytes:
    """The whole body of a request. `Refused` where it is too large, or breaks off."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused("the call broke off: send it again.", 400)
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MOST_BYTES:
            raise Refused(f"the call has more than {MOST_BYTES / 1e6:.0f} MB: send less text, or a file.", 413)
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """The body for whoever comes next, and then whatever else comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again

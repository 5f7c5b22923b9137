"""The whole app in this process, asked without a socket, and strategies for what nobody should send; not a test."""

import asyncio
import json
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from injections import INJECTIONS

PATIENCE = 60  # seconds that any answer may take, on the slowest machine
JSON = ((b"content-type", b"application/json"),)
FILE = {"_type": "gradio.FileData"}
KEYS = (
    *("act", "key", "prompt", "tokens", "context", "behaviours", "beta", "only", "kind", "agreed", "family", "name"),
    *("answer", "by", "system", "turns", "member", "places", "sizes", "toml", "title", "campaign", "code", "task"),
    *("comparison", "choice", "comment", "tags", "key", "annotator", "reason", "state", "password", "index", "case"),
)
ACTS = (
    *("select", "remove", "branch", "weigh", "add", "load", "unload", "download", "check", "pause", "close", "open"),
    *("join", "place", "judge", "again", "skip", "exclude", "include", "answers", "export", "free", "publish"),
)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes

    @property
    def values(self) -> Any:
        return json.loads(self.body)


class Served:
    """An app with its queue running, in a loop of its own."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.functions = app.get_blocks().fns
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._done(self._start())

    async def _start(self) -> None:
        self._life = self.app.router.lifespan_context(self.app)
        await self._life.__aenter__()
        self.app.get_blocks().run_startup_events()

    async def _end(self) -> None:
        self.app.get_blocks().close(verbose=False)
        self.app.stop_event.set()
        await self._life.__aexit__(None, None, None)
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await self._loop.shutdown_asyncgens()

    def close(self) -> None:
        self._done(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def _done(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    def ask(
        self, method: str, path: str, body: bytes = b"", query: bytes = b"", headers: Any = JSON, stays: bool = True
    ) -> Answer:
        """One request; one that does not stay hangs up as soon as it has sent its body."""
        return self._done(self._asked(method, path, body, query, headers, stays))

    async def _asked(self, method: str, path: str, body: bytes, query: bytes, headers: Any, stays: bool) -> Answer:
        waiting = [{"type": "http.request", "body": body, "more_body": False}]
        status, parts, over = [0], list[bytes](), asyncio.Event()

        async def receive() -> Any:
            if waiting:
                return waiting.pop()
            if stays:
                await over.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
            else:
                parts.append(message.get("body", b""))

        raw = path.encode("utf-8", "replace")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": raw,
            "query_string": query,
            "root_path": "",
            "headers": [(b"host", b"127.0.0.1:7860"), *headers],
            "state": {},
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 7860),
        }
        await self.app(scope, receive, send)
        over.set()
        return Answer(status[0], b"".join(parts))

    def call(self, number: int, data: Any, session: Any = "visitor", event: Any = None, **more: Any) -> Answer:
        """A function by its index, as the page calls it; what a queued one said last is its answer."""
        body = {"data": data, "fn_index": number, "session_hash": session, "event_data": event, **more}
        return self.send(number, json.dumps(body).encode())

    def send(self, number: int, body: bytes) -> Answer:
        found = self.functions.get(number)
        if found is None or not found.queue:
            return self.ask("POST", "/gradio_api/run/predict", body)
        joined = self.ask("POST", "/gradio_api/queue/join", body)
        if joined.status != 200:
            return joined
        session = json.loads(body).get("session_hash") or joined.values["event_id"]
        return last_of(self.ask("GET", "/gradio_api/queue/data", query=f"session_hash={session}".encode()))


def last_of(stream: Answer) -> Answer:
    """The end of an event stream, as if it were an answer of its own: a failure in words is a refusal."""
    lines = [line[6:] for line in stream.body.split(b"\n") if line.startswith(b"data: ")]
    told = [json.loads(line) for line in lines if line.strip()]
    ends = [each for each in told if each.get("msg") == "process_completed"]
    assert ends, f"the stream has no end: {stream.body[-300:]!r}"
    output = ends[-1]["output"]
    status = 200 if ends[-1]["success"] else 422 if output.get("error") else 500
    return Answer(status, json.dumps(output).encode())


CASES = int(os.environ.get("EFT_FUZZ_CASES", "10000"))


def some(share: float) -> settings:
    """So many of all cases, the same every time."""
    most = max(int(CASES * share), 1)
    every = tuple(HealthCheck)
    return settings(max_examples=most, derandomize=True, deadline=None, database=None, suppress_health_check=every)


@contextmanager
def page_served(folder: Path, example: Path, **options: Any) -> Iterator[tuple[Served, Any, Any]]:
    """The page that everybody meets, in this process; with its families and its judgements."""
    import gradio as gr
    from fastapi import FastAPI
    from gradio.routes import App
    from starlette.routing import Mount

    from app import build, launch_options
    from components.guard import guarded
    from components.ratings import Ratings
    from eft_core.lab import Lab
    from eft_core.settings import Settings

    own: dict[str, Any] = {"family": "llama", "device": "cpu", "threads": 1, "data_dir": str(folder), "manage": False}
    lab = Lab(Settings(**(own | options)))
    with closing(Ratings.opened(lab.session())) as ratings:
        other = ("share", "app_kwargs", "max_threads")  # of launch alone, or given below
        made = {name: value for name, value in launch_options(lab.settings).items() if name not in other}

        async def mounted() -> App:
            """In a loop, for gradio wants one for each of its locks: without one it leaves its own open."""
            page, host = build(lab, ratings, example), FastAPI(openapi_url=None)
            with warnings.catch_warnings():
                # that pages of several addresses are not drawn on the server
                warnings.simplefilter("ignore", UserWarning)
                gr.mount_gradio_app(host, page, path="/", app_kwargs=guarded(), **made)
            return next(route.app for route in host.routes if isinstance(route, Mount) and isinstance(route.app, App))

        with closing(Served(asyncio.run(mounted()))) as served:
            yield served, lab, ratings


# --- what nobody should send

NUMBERS = (0, -1, 1, 0.5, -0.0, 1e308, -1e308, 5e-324, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**30, 10**400)
NOT_NUMBERS = (float("nan"), float("inf"), float("-inf"))
FILES = (
    {"path": "/etc/passwd", "meta": FILE},
    {"path": "../../etc/passwd", "meta": FILE, "orig_name": "x.jsonl"},
    {"path": "http://127.0.0.1:9/x.jsonl", "meta": FILE},
    {"path": " HTTPS://elsewhere.invalid/x.jsonl", "url": "http://elsewhere.invalid/", "meta": FILE},
    {"path": "file:///etc/passwd", "meta": FILE},
    {"path": "", "meta": FILE},
    {"path": None, "url": 3, "meta": FILE},
    {"path": "/proc/self/environ", "is_stream": True, "meta": FILE},
    {"__type__": "update", "value": 1, "visible": False},
)


def nested(depth: int) -> Any:
    """Lists in lists."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


TEXTS = (*INJECTIONS, "", " ", "x" * 10_000, "9" * 5000, "\ud800", "\0")
ODD: tuple[Any, ...] = (*NUMBERS, *NOT_NUMBERS, *FILES, *TEXTS, [], {}, None, True)
SCALARS = st.one_of(st.sampled_from([*ODD, nested(20)]), st.integers(), st.floats(), st.text(max_size=20))
VALUES = st.recursive(
    SCALARS,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inside, max_size=3),
    max_leaves=6,
)
EVENTS = st.one_of(
    VALUES,
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4).flatmap(
        lambda event: st.sampled_from(ACTS).map(lambda act: event | {"act": act})
    ),
)


def of_kind(block: Any) -> st.SearchStrategy[Any]:
    """Values that a component lets through, or seems to: what handlers have to check."""
    kind = type(block).__name__
    if kind in ("Slider", "Number"):
        least, most = getattr(block, "minimum", None), getattr(block, "maximum", None)
        usual = [each for each in (least, most, 0, 1, 0.5, 3) if each is not None]
        return st.sampled_from(usual) | st.floats(least, most) | st.sampled_from(NUMBERS)
    if kind == "Textbox":
        return st.sampled_from([*TEXTS, "0:1:0.1", "0, 1", "small", "harmless"]) | st.text(max_size=20)
    if kind == "Checkbox":
        return st.booleans()
    choices = [value for _, value in getattr(block, "choices", None) or []]
    if kind in ("Radio", "Dropdown") and choices:
        return st.sampled_from(choices)
    if kind == "CheckboxGroup" and choices:
        return st.lists(st.sampled_from(choices), max_size=6)
    return st.sampled_from(FILES) if kind in ("File", "UploadButton") else VALUES


@st.composite
def data_for(draw: Any, blocks: Sequence[Any], usual: Sequence[Any]) -> list[Any]:
    """Usual values of which some are odd ones of their kind; or one is of another kind; or too few, or too many."""
    how = draw(st.integers(0, 15))
    if how == 0 or not usual:
        return draw(st.lists(VALUES, max_size=len(usual) + 2)) if how < 4 else []
    data = list(usual)
    for place in draw(st.lists(st.integers(0, len(usual) - 1), min_size=1, max_size=3)):
        data[place] = draw(of_kind(blocks[place]))
    if how < 4:
        data[draw(st.integers(0, len(usual) - 1))] = draw(VALUES)
    return data


BODIES = (
    *(b"", b" ", b"{", b"[]", b"null", b"3", b'"data"', b"{}", b"\xff\xfe", b"\x00", b'{"data": 3}', b'{"data": {}}'),
    *(b"[" * 10_000 + b"]" * 10_000, b'{"data": ' * 10_000, b'{"data": [' + b"[" * 900 + b"]" * 900 + b"]}"),
    *(b'{"data": [NaN, Infinity, -Infinity, 1e999]}', b'{"data": [' + b"9" * 100_000 + b"]}"),
    *(b'{"data": ["\\ud800", "\\u0000"]}', b'{"data": [], "data": [], "fn_index": 9, "fn_index": "9"}'),
    *(b'{"data": [], "fn_index": 7, "batched": true, "session_hash": "a"}', b'{"data": [], "event_id": "a"}'),
    b'{"data": ["' + b"x" * 1_000_001 + b'"]}',
    json.dumps({"data": [nested(31)], "fn_index": 7}).encode(),
)

"""The layer around the whole app: closed addresses, other sites' requests, bodies without end, and headers.

Plain ASGI, so that streams flow through it untouched. What may pass is decided in `shield_rules`; gradio's own answers
to other origins are taken back, for they let any site read along on a public host.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from gradio.routes import App, ORJSONResponse
from gradio.utils import get_space
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.gate import oauth_on
from components.page_states import PageStates
from components.shield_headers import security_headers
from components.shield_rules import (
    UPLOAD,
    WRONG_FILE,
    Refusal,
    has_body,
    inner,
    is_foreign,
    is_work,
    most,
    refusal,
    too_large,
)
from components.shield_uploads import Budget, Names
from eft_core.settings import Settings


class Shield:
    """An ASGI app around another one. `working` requests are such that somebody waits for their end."""

    def __init__(
        self, app: ASGIApp, settings: Settings, root: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`root` is where a proxy has put the app, if that is left in the addresses that it passes on."""
        self.working = 0
        self._app, self._root = app, root.rstrip("/")
        self._headers = security_headers(get_space() is not None, settings.frame_ancestors)
        self._named = {name for name, _ in self._headers}
        self._signing_in = oauth_on()
        self._budget = Budget(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # the page has none
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        path = path.removeprefix(self._root) if path.startswith(f"{self._root}/") else path
        headers = Headers(scope=scope)
        exchange = _Exchange(send, self._dressing(is_foreign(headers)), has_body(headers))
        said = refusal(scope["method"], path, scope["query_string"], headers, self._signing_in)
        if said := said or self._too_much(path):
            await exchange.refuse(said)
            return
        with self._counted(path):
            try:
                await self._app(scope, self._bounded(path, headers, receive, exchange), exchange.send)
            except (HTTPException, MultiPartException):
                if not await exchange.settled():
                    raise

    def _dressing(self, foreign: bool) -> Callable[[Message], None]:
        """What is done to the head of an answer: our headers, and nothing that lets another site read it."""

        def dress(message: Message) -> None:
            kept = [
                (name, value)
                for name, value in message.get("headers", [])
                if name.lower() not in self._named
                and not (foreign and name.lower().startswith(b"access-control-allow-"))
            ]
            message["headers"] = [*kept, *self._headers]

        return dress

    def _too_much(self, path: str) -> Refusal | None:
        if inner(path) != UPLOAD or not (wait := self._budget.wait()):
            return None
        return Refusal(429, f"Too much was uploaded here lately: try again in {math.ceil(wait / 60)} minutes.")

    def _bounded(self, path: str, headers: Headers, receive: Receive, exchange: "_Exchange") -> Receive:
        """The request's body; whoever reads beyond the bound, or a file of another kind, is interrupted."""
        uploads, bound, size = inner(path) == UPLOAD, most(path), 0
        names = Names(headers.get("content-type", "")) if uploads else None

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            if message["type"] == "http.disconnect" and uploads and not exchange.begun:
                raise MultiPartException("The upload ended early.")  # gradio then removes what it has of the file
            exchange.unread = message.get("more_body", False)
            body = message.get("body", b"")
            size += len(body)
            if size > bound:
                raise exchange.interrupt(too_large(path), uploads)
            if names is not None:
                self._budget.take(len(body))
                names.look(body)
                if names.wrong:
                    raise exchange.interrupt(WRONG_FILE, uploads)
            return message

        return bounded

    @contextmanager
    def _counted(self, path: str) -> Iterator[None]:
        work = is_work(path)
        self.working += work
        try:
            yield
        finally:
            self.working -= work


class _Exchange:
    """One answer on its way: the app's, or in its stead a refusal. `unread`: the request's body goes on."""

    def __init__(self, send: Send, dress: Callable[[Message], None], unread: bool) -> None:
        self._send, self._dress = send, dress
        self._refusal: Refusal | None = None
        self._refused = False
        self.unread = unread
        self.begun = False

    def interrupt(self, refusal: Refusal, uploads: bool) -> Exception:
        """What to raise in the app's reading, which then tells what went wrong; the refusal is sent instead."""
        self._refusal = refusal
        # Of a file, gradio clears away what it has when it meets this one alone.
        return MultiPartException(refusal.sentence) if uploads else HTTPException(*refusal)

    async def settled(self) -> bool:
        """Whether an app that raised what it was interrupted with has been answered for."""
        if self._refusal is None or self.begun:
            return False
        if not self._refused:
            self._refused = True
            await self.refuse(self._refusal)
        return True

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with a sentence, in the words of gradio's front end."""
        body = json.dumps({"detail": refusal.sentence, "error": refusal.sentence}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._begin({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def send(self, message: Message) -> None:
        """The app's next message."""
        if await self.settled():
            return
        if message["type"] == "http.response.start":
            self.begun = True
            await self._begin(message)
        else:
            await self._send(message)

    async def _begin(self, start: Message) -> None:
        self._dress(start)
        if self.unread:  # whoever answered (gradio, too, refuses files): the server would read on, however much comes
            start["headers"] = [*start["headers"], (b"connection", b"close")]
        await self._send(start)


class Shielded(App):
    """gradio's app with a shield around all of it: around its errors and its answers to other origins, too."""

    def __init__(self, settings: Settings, layers: Sequence[Middleware] = ()) -> None:
        """`layers` stand within the shield, the outer ones first."""
        # Otherwise as gradio makes it.
        super().__init__(default_response_class=ORJSONResponse, openapi_url=None, middleware=list(layers))
        self.state_holder = PageStates()
        self._settings = settings
        self.shield: Shield | None = None

    def build_middleware_stack(self) -> ASGIApp:
        """The layers, once, when the first request comes."""
        self.shield = Shield(super().build_middleware_stack(), self._settings, self.root_path)
        return self.shield

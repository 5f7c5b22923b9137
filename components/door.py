"""The door of a page's server: a visitor's calls are counted before gradio takes them into its queue.

gradio has one queue for all, and once that is full it turns everybody away. So nobody may have more than a part of it.
The refusal is what the page shows, and what the API answers (429).
"""

from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from components.limits import Limiter
from components.models_rights import Caller
from eft_core.allowance import OWNER
from eft_core.bounds import Refused

_WHO = "eft_lab.who"  # where a request's scope says who asks


class Door:
    """An ASGI middleware of a gradio app."""

    def __init__(self, app: ASGIApp, limiter: Limiter) -> None:
        self._app, self._limiter = app, limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and _is_call(scope["path"]):
            who = scope[_WHO] = self._limiter.visitors.key(_caller(scope))
            try:
                if who != OWNER:
                    self._limiter.allowance.check_calls(who, _under_way(scope["app"], who))
            except Refused as error:
                headers = {"Retry-After": str(round(error.seconds))}
                await JSONResponse({"detail": str(error)}, 429, headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_call(path: str) -> bool:
    """Whether a path is one of those that put a call into the queue."""
    return path.endswith("/queue/join") or "/call/" in path


def _caller(scope: Scope) -> Caller:
    client, headers = scope.get("client"), scope["headers"]
    named = {name.decode("latin-1").lower(): text.decode("latin-1") for name, text in headers}
    return Caller(str(client[0]) if client else "", "", named)


def _under_way(app: Any, who: str) -> int:
    """Calls of a visitor that gradio has, running or waiting."""
    events = list(app.get_blocks()._queue.event_ids_to_events.values())
    return sum(event.request.scope.get(_WHO) == who for event in events)

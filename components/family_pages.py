"""Every family's page at /families/NAME/: a gradio app of its own, made when somebody first asks for it.

Such an app is served like one behind a proxy that cuts its address off: whatever it is asked begins at /. The default
family's page is the app itself, at /. Handlers of open pages run while another page is built, and gradio puts any
layout block that is made meanwhile into that page: handlers return gr.update for layout blocks.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
from fastapi import FastAPI
from gradio.routes import App
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from components.header import addressable
from components.page_states import shared
from eft_core.lab import Lab
from eft_core.session import Session
from eft_core.storage import Unavailable

PATHS = ("/families", "/families/", "/families/{name}", "/families/{name}/{rest:path}")
_LAUNCHES = ("share", "max_threads")  # options of a launch alone
_PATIENCE = 5.0  # seconds that pages have to end
# Seconds between two looks into the queue of a page where nobody waits. gradio looks every millisecond, which costs a
# hundredth of a core a page; this is what it does on Windows.
_REST = 0.05
_MISSING = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>EFT Lab</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<style>body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 72ch; margin: 12vh auto; padding: 0 24px; }}
h1 {{ font-size: 18px; }} p {{ overflow-wrap: anywhere; }} a {{ color: inherit; }}</style></head>
<body><h1>{title}</h1><p>{text}</p><p><a href="{root}">Back to EFT Lab</a></p></body></html>"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Page:
    """A family's running app, and the session that it is the page of."""

    session: Session
    blocks: gr.Blocks
    app: App
    running: AsyncExitStack

    async def close(self) -> None:
        """End its queue, its visitors' streams, and what it does in the background."""
        self.blocks.close(verbose=False)
        self.app.stop_event.set()
        await self.running.aclose()


class FamilyPages:
    """The pages of all families but the default one; an ASGI app. All of it but `close` runs in the server's loop."""

    def __init__(self, lab: Lab, make: Callable[[str], gr.Blocks], options: Mapping[str, Any]) -> None:
        """`make` builds a family's page; `options` are those that the main page was launched with."""
        self._lab, self._make = lab, make
        self._options = {name: value for name, value in options.items() if name not in _LAUNCHES}
        self._pages: dict[str, _Page] = {}
        self._building = asyncio.Lock()  # gradio builds one page at a time: what is under construction is global
        self._loop: asyncio.AbstractEventLoop | None = None
        self._root = ""

    def mount(self, app: FastAPI) -> None:
        """Answer for the families' addresses of a launched app, under its own root path."""
        self._root = app.root_path.rstrip("/")
        app.router.routes.extend(Route(path, endpoint=self, include_in_schema=False) for path in PATHS)

    def close(self) -> None:
        """End all pages, from outside of the server's loop; nothing is left to end once that is over."""
        if self._loop is not None and self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._close(list(self._pages)), self._loop).result(_PATIENCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name, rest = scope["path_params"].get("name", ""), scope["path_params"].get("rest")
        app = self._elsewhere(scope, name, rest) or await self._app(name)
        kept = {key: value for key, value in scope.items() if key not in ("app", "router", "endpoint", "route")}
        await app(kept | {"path": f"/{rest or ''}", "root_path": "", "path_params": {}}, receive, send)

    def _elsewhere(self, scope: Scope, name: str, rest: str | None) -> ASGIApp | None:
        """The way to a page's one address, from what a person may have written instead.

        Never with `rest` in it: of //host a browser makes another host's address."""
        query = f"?{text}" if (text := scope["query_string"].decode("latin-1")) else ""
        if not name or (name == self._lab.default and not rest):
            return RedirectResponse(f"{self._root}/{query}")
        if rest is None and addressable(name):
            return RedirectResponse(f"{self._root}/families/{name}/{query}")
        return None

    async def _app(self, name: str) -> ASGIApp:
        """A family's app, or a page that says why there is none. Pages of families that are gone are closed."""
        await self._close([other for other in self._pages if not self._stands(other)])
        try:
            self._lab.family(name)
            if name == self._lab.default:
                raise ValueError(f"there is no family page of {name!r}, for it is the main one: go there.")
            if not addressable(name):
                raise ValueError(f"the family {name!r} has no page: rename it, with letters, digits and . _ - alone.")
        except ValueError as error:
            return self._refusal("No such family", str(error), 404)
        try:
            return (await self._page(name)).app
        except Exception as error:  # the page says it; the log has the rest
            log.exception("the page of %r could not be made", name)
            text = str(error) if isinstance(error, ValueError | Unavailable) else "The server's log says more."
            return self._refusal("This page could not be made", text, 503)

    async def _page(self, name: str) -> _Page:
        self._loop = asyncio.get_running_loop()
        async with self._building:
            if name not in self._pages:
                self._pages[name] = await self._opened(*await asyncio.to_thread(self._built, name))
            return self._pages[name]

    def _built(self, name: str) -> tuple[Session, gr.Blocks, FastAPI]:
        """The family's page, mounted as gradio mounts one on an app of somebody else's."""
        session, blocks, host = self._lab.session(name), self._make(name), FastAPI(openapi_url=None)
        root = f"{self._root}/families/{name}"
        own = {"app_kwargs": dict(self._options.get("app_kwargs", {}))}  # gradio writes into it
        gr.mount_gradio_app(host, blocks, path="/", root_path=root, **(self._options | own))
        return session, blocks, host

    async def _opened(self, session: Session, blocks: gr.Blocks, host: FastAPI) -> _Page:
        """The page with its queue running: what the host's server would do when it starts."""
        blocks._queue.sleep_when_free = _REST
        running = AsyncExitStack()
        await running.enter_async_context(host.router.lifespan_context(host))
        app = next(route.app for route in host.routes if isinstance(route, Mount) and isinstance(route.app, App))
        shared(app)
        return _Page(session, blocks, app, running)

    def _stands(self, name: str) -> bool:
        """Whether a page's family is still there, and the same: it may have been removed and added anew."""
        return name in self._lab.names() and self._lab.session(name) is self._pages[name].session

    async def _close(self, names: list[str]) -> None:
        for page in [self._pages.pop(name) for name in names if name in self._pages]:
            await page.close()

    def _refusal(self, title: str, text: str, status: int) -> HTMLResponse:
        sentence = escape(text[:1].upper() + text[1:])
        return HTMLResponse(_MISSING.format(title=title, text=sentence, root=f"{self._root}/"), status_code=status)

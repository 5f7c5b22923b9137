"""The server's word on itself: /health for whoever keeps it running, /metrics where EFT_METRICS=1 asks for them.

Facts are gathered in a thread of its own, at most once a second, and told within two: the engine, a lock and a lost
database may take their time, but the answer does not. No prompt, no name of a visitor, no path and no address is told.
"""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from components.meter import Meter
from components.service_metrics import MEDIA_TYPE, exposed
from components.starting import machine_for
from eft_core.database import reason
from eft_core.lab import Lab
from eft_core.software import VERSION
from eft_core.standing import Standing
from eft_core.storage import Storage, Unavailable

PATIENCE = 2.0  # seconds that an answer waits for facts
FRESH = 1.0  # seconds that facts are told again: asking often costs nothing
_BUSY = 0.1  # seconds
NO_METRICS = "There are no metrics here: start the server with EFT_METRICS=1.\n"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found at a time of the service's clock. `database`: "ok", "read-only", or "lost: " and why."""

    at: float
    members: dict[str, list[str]]
    standing: Standing
    rss: int
    database: str


class Service:
    """Health and metrics of one process. `meter` counts what its pages run."""

    def __init__(
        self,
        lab: Lab,
        storage: Storage | None = None,
        meter: Meter | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.lab, self.storage = lab, storage
        self.meter = meter or Meter(lab.settings.logging.prompts)
        self._clock = clock or time.monotonic
        self._began = self._clock()
        self._budget = machine_for(lab.settings, os.environ).memory
        self._worker = ThreadPoolExecutor(1, "health")
        self._looking: Future[Facts] | None = None
        self._known: Facts | None = None

    def mount(self, app: FastAPI) -> None:
        """Answer on a launched app."""
        paths = (("/health", self._health), ("/metrics", self._metrics))
        app.router.routes.extend(Route(path, endpoint, include_in_schema=False) for path, endpoint in paths)

    def close(self) -> None:
        """Look no more."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def look(self) -> Facts:
        """The facts now. May wait for locks and for the database."""
        members = {name: [str(each) for each in self.lab.loaded(name)] for name in self.lab.names()}
        loaded = {name: found for name, found in members.items() if found}
        memory = _resident()
        return Facts(self._clock(), loaded, self.lab.standing(), memory, database_state(self.storage))

    async def _health(self, request: Request) -> Response:
        facts, fresh = await self._facts()
        values = self.health(facts, fresh)
        lost = str(values["database"]).startswith("lost") or values["status"] == "stopping"
        return JSONResponse(values, 503 if lost else 200, {"cache-control": "no-store"})

    def health(self, facts: Facts | None, fresh: bool = True) -> dict[str, Any]:
        """What /health tells; without `fresh` facts, those that are known, and that something hangs."""
        database = facts.database if facts and fresh else "lost: it does not answer."
        standing = facts.standing if facts else Standing()
        status = "stopping" if self.meter.is_closed else "ok" if database == "ok" else "degraded"
        return {
            "status": status,
            "version": VERSION,
            "uptime_seconds": round(self._clock() - self._began, 1),
            "members": facts.members if facts else {},
            "engine": asdict(standing),
            "memory": {"rss_bytes": facts.rss if facts else 0, "budget_bytes": self._budget},
            "database": database,
        }

    async def _metrics(self, request: Request) -> Response:
        if not self.lab.settings.metrics:
            return PlainTextResponse(NO_METRICS, 404)
        facts, _ = await self._facts()
        members = {name: len(found) for name, found in facts.members.items()} if facts else {}
        standing, rss = (facts.standing, facts.rss) if facts else (Standing(), 0)
        uptime = self._clock() - self._began
        text = exposed(self.meter.counts(), standing, members, rss, self._budget, uptime)
        return Response(text, media_type=MEDIA_TYPE, headers={"cache-control": "no-store"})

    async def _facts(self) -> tuple[Facts | None, bool]:
        """The facts, and whether they are fresh. One look at a time, whoever asks; all of it but the look itself runs
        in the server's loop."""
        if self._known is not None and self._clock() - self._known.at < FRESH:
            return self._known, True
        if self._looking is None or self._looking.done():
            self._looking = self._worker.submit(self.look)
        looking = self._looking
        try:
            self._known = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(looking)), PATIENCE)
        except TimeoutError:
            return self._known, False
        except Exception:  # whoever watches must get an answer; the log has the rest
            log.exception("the state of the server could not be read")
            return self._known, False
        return self._known, True


def _resident() -> int:
    """Bytes that this process and the engine's hold."""
    own = psutil.Process()
    sizes = [own.memory_info().rss]
    for child in own.children(recursive=True):
        with suppress(psutil.Error):  # it may end at any time
            sizes.append(child.memory_info().rss)
    return sum(sizes)


def database_state(storage: Storage | None) -> str:
    """Whether judgements can be kept: "ok", "read-only", or "lost: " and why, in words of ours alone."""
    if storage is None:
        return "ok"
    try:
        with storage.reading() as connection:
            url = connection.engine.url
            if url.get_backend_name() == "postgresql":
                only = connection.exec_driver_sql("SHOW transaction_read_only").scalar()
                return "read-only" if only == "on" else "ok"
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
        return _sqlite_state(url.database) if url.database else "ok"
    except (Unavailable, DBAPIError, sqlite3.Error) as error:
        why = str(error) if isinstance(error, Unavailable) else reason(error)
        return f"lost: {why.partition(':')[0]}."


def _sqlite_state(file: str) -> str:
    """Whether the file, which is there, can be written. Nothing is: SQLite only says whether it could be."""
    address = f"{Path(file).absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, timeout=_BUSY, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            if "readonly" in str(error):
                return "read-only"
            if "locked" not in str(error):  # somebody else writes, so it can be written
                raise
    return "ok"

"""The app told to end while visitors are there: it finishes or says why not, keeps what it confirmed, exits with 0."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx
import pytest
from here import seconds_until
from rating_load import function_of
from serving import ROOT, address_told
from sqlalchemy import select
from studied import studied

from components.columns import Columns
from components.conversation import Context
from components.handlers import Handlers
from components.meter import CUT_SHORT, NO_MORE
from eft_core.schema import ratings
from eft_core.settings import Settings
from eft_core.storage import Storage

LONG = "[slow] What is the capital of Kenya?"  # 60 tokens of each column, a pause for each


@contextmanager
def running(families_file: str, data: Path, script: str = "tests/slow_app.py") -> Iterator[subprocess.Popen[str]]:
    """The app on the tiny family, whatever port is free."""
    own = {"EFT_FAMILIES": families_file, "EFT_FAMILY": "llama", "EFT_DEVICE": "cpu", "EFT_THREADS": "1"}
    environment = os.environ | own | {"EFT_DATA_DIR": str(data), "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    environment |= {"EFT_LOG": "json"}
    command = [sys.executable, script]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class Call:
    """A comparison by /compare, read in a thread of its own; it has `began` when there is some text."""

    def __init__(self, address: str, prompt: str, tokens: int = 60) -> None:
        self.began, self.events = threading.Event(), list[tuple[str, Any]]()
        self._address, self._prompt, self._tokens = address, prompt, tokens
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        url = f"{self._address}gradio_api/call/v2/compare"
        made = httpx.post(url, json={"prompt": self._prompt, "max_new_tokens": self._tokens}, timeout=60)
        try:
            with httpx.stream("GET", f"{url}/{made.json()['event_id']}", timeout=60) as stream:
                kind = ""
                for line in stream.iter_lines():
                    name, _, text = line.partition(": ")
                    if name == "event":
                        kind = text
                    elif name == "data":
                        self.events.append((kind, json.loads(text)))
                        if any(column["text"] for column in _columns(self.events[-1])):
                            self.began.set()
        except httpx.TransportError:
            self.events.append(("lost", None))

    def error(self) -> str:
        """The sentence that it ended with."""
        kind, data = self.end()
        assert kind == "error", data
        return str(data["error"])

    def end(self) -> tuple[str, Any]:
        """The last thing that was said."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        return next((kind, data) for kind, data in reversed(self.events) if kind != "heartbeat")


def _columns(event: tuple[str, Any]) -> list[dict[str, Any]]:
    kind, data = event
    return data[0]["columns"] if kind in ("generating", "complete") and data else []


def ended(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[float, str]:
    """Send a signal; the seconds that the end took, and what the process wrote."""
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return time.monotonic() - began, out + err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_can_finish_finishes_and_visitors_streams_do_not_hold_it(
    families_file: str, tmp_path: Path, number: int
) -> None:
    with running(families_file, tmp_path) as process:
        address = address_told(process.stdout)  # type: ignore[arg-type]
        call = Call(address, "What is the capital of Kenya?", tokens=5)
        with httpx.stream("GET", f"{address}gradio_api/heartbeat/somebody", timeout=60) as heartbeat:
            next(heartbeat.iter_lines())
            call.began.wait(60)
            seconds, said = ended(process, number)
        assert process.returncode == 0
        assert seconds < 10
        assert "Traceback" not in said
        kind, data = call.end()
        assert kind == "complete"
        assert data[0]["done"] is True


def test_what_cannot_finish_is_told_so_and_nothing_new_begins(families_file: str, tmp_path: Path) -> None:
    storage = Storage.of(Settings(data_dir=str(tmp_path)))
    campaign = studied(storage, count=4, family="none")
    with running(families_file, tmp_path) as process:
        address = address_told(process.stdout)  # type: ignore[arg-type]
        calls = [Call(address, f"{LONG} {number}") for number in range(3)]
        while not any(call.began.is_set() for call in calls):  # whichever came first
            assert process.poll() is None
            time.sleep(0.01)
        began = time.monotonic()
        process.terminate()
        with httpx.Client(base_url=address, timeout=30) as client:
            while client.get("/health").json()["status"] != "stopping":
                assert time.monotonic() - began < 30
            assert client.get("/health").status_code == 503
            late = Call(address, "What is the capital of Kenya?")
            kept = judge(client, campaign)
            assert late.error() == NO_MORE[0].upper() + NO_MORE[1:]
        assert [call.error() for call in calls] == [CUT_SHORT[0].upper() + CUT_SHORT[1:]] * 3
        out, err = process.communicate(timeout=60)
        assert time.monotonic() - began < 10
        assert process.returncode == 0
        assert "Traceback" not in out + err
        outcomes = [json.loads(line).get("outcome") for line in err.splitlines()]
        assert [each for each in outcomes if each] == ["refused", "ended", "ended", "ended"]
    with storage.reading() as connection:
        assert list(connection.scalars(select(ratings.c.client_key))) == [kept]
    storage.close()


def test_the_page_says_it_where_the_answer_would_be(session: Any) -> None:
    """What `Handlers.run` puts on the board: one run that the server ends, and one that comes too late."""
    handlers = Handlers(session, session.family)
    visitor, event, decoding = (
        SimpleNamespace(session_hash="one", request=None),
        gr.EventData(None, {}),
        (0.0, 1.0, 0, 0, 60),
    )
    asked: Any = (visitor, event, "What?", "", Context(), Columns.default(session.family), *decoding)
    asked += ("off", 4, "block", False, False)
    run = handlers.run(*asked)
    next(run)
    handlers.meter.close()
    handlers.meter.end()
    *_, said = run
    assert json.loads(said.splitlines()[-1])["text"] == CUT_SHORT[0].upper() + CUT_SHORT[1:]
    *_, said = handlers.run(*asked)
    assert json.loads(said.splitlines()[-1])["text"] == NO_MORE[0].upper() + NO_MORE[1:]
    assert dict(handlers.meter.counts().requests) == {("compare", "ended"): 1, ("compare", "refused"): 1}
    # The session is read by a thread of its own (`batches`), which leaves it a moment after the page was told.
    seconds_until(lambda: session.queue_length == 0, 10.0)


def judge(client: httpx.Client, campaign: str) -> str:
    """A rater's judgement that the server confirms; its key."""
    function, key, code = function_of(client.get("/config").json()), str(uuid.uuid4()), ""

    def ask(act: str, **message: Any) -> dict[str, Any]:
        event = {"id": "1", "act": act, "campaign": campaign, "code": code, **message}
        body = {"data": [], "event_data": event, "fn_index": function, "session_hash": "rater"}
        answer = client.post("/gradio_api/run/predict", json=body).raise_for_status()
        reply: dict[str, Any] = json.loads(answer.json()["data"][0]["props"]["reply"])
        return reply

    code = ask("join")["code"]
    comparison = ask("place")["place"]["task"]["comparison"]
    said = {"comparison": comparison, "client_key": key, "verdict": "left", "seconds": 2.5}
    assert ask("cast", judgement=said)["receipt"]
    return key


def test_who_does_not_read_holds_nothing(families_file: str, tmp_path: Path) -> None:
    """A connection that takes nothing of what it asked for, and one in the middle of its request."""
    with running(families_file, tmp_path) as process:
        address = httpx.URL(address_told(process.stdout))  # type: ignore[arg-type]
        place = (address.host, address.port or 80)
        made = httpx.post(f"{address}gradio_api/call/v2/compare", json={"prompt": LONG}, timeout=60).json()
        with socket.create_connection(place) as deaf, socket.create_connection(place) as slow:
            deaf.sendall(f"GET /gradio_api/call/v2/compare/{made['event_id']} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            slow.sendall(b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
            while httpx.get(f"{address}health", timeout=60).json()["engine"]["requests"] == 0:
                assert process.poll() is None
            seconds, said = ended(process)
        assert process.returncode == 0
        assert seconds < 10
        assert "Traceback" not in said


def test_a_second_signal_ends_it_at_once(families_file: str, tmp_path: Path) -> None:
    with running(families_file, tmp_path) as process:
        address = address_told(process.stdout)  # type: ignore[arg-type]
        assert Call(address, LONG).began.wait(60)
        process.terminate()
        while httpx.get(f"{address}health", timeout=60).json()["status"] != "stopping":
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_may_end_before_it_has_begun(families_file: str, tmp_path: Path, number: int) -> None:
    with running(families_file, tmp_path, "tests/waiting_app.py") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "EFT Lab fetches.\n"
        seconds, said = ended(process, number)
        assert process.returncode == 0
        assert seconds < 15
        assert "Traceback" not in said

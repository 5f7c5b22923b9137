"""Secrets come from the environment and go nowhere: no log, traceback, page, answer or error holds one."""

import ast
import json
import os
import re
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from judge_server import MODEL, JudgeServer
from postgresql import postgresql, programs
from rating_load import function_of
from serving import ROOT
from sqlalchemy import exc

from eft_core.database import engine_of
from eft_core.judge_client import Judge, JudgeError, complete, connected
from eft_core.ratings.desk import Desk
from eft_core.schema import annotators
from eft_core.settings import Settings
from eft_core.storage import Storage

# One that is easily told apart for each place that takes one.
DATABASE, PASSWORD, KEY, TOKEN = "qdatabase-7101", "qorganiser-7102", "qjudge-7103", "hf_qtoken7104"
CLIENT, JUDGE_USER, TYPED = "qclient-7105", "qlogin-7106", "qtyped-7107"
SECRETS = (DATABASE, PASSWORD, KEY, TOKEN, CLIENT, JUDGE_USER, TYPED)
LONGEST = 90.0  # seconds for a page to stand
PAGES = (
    *("/", "/config", "/organise", "/organise/config", "/families/smollm2/", "/families/smollm2/config"),
    *(
        "/gradio_api/info",
        "/gradio_api/openapi.json",
        "/gradio_api/startup-events",
        "/theme.css",
        "/health",
        "/metrics",
    ),
    *("/monitoring", "/docs", "/.env", "/gradio_api/file=/proc/self/environ", "/file=/proc/self/environ"),
)


def told(text: str) -> list[str]:
    """The secrets that a text holds."""
    return [secret for secret in SECRETS if secret in text]


def everything(error: BaseException) -> str:
    """An error as a log tells it, with all that caused it."""
    return "".join(traceback.format_exception(error)) + repr(error)


@contextmanager
def app_logged(log: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python app.py`, with all it says in a file."""
    environment = os.environ | {"EFT_DEVICE": "cpu", "EFT_FAMILY": "atlas", "PYTHONUNBUFFERED": "1"} | variables
    environment.pop("GRADIO_SERVER_PORT", None)
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def address_in(log: Path, process: subprocess.Popen[bytes]) -> str:
    """The address that the app tells when it stands."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"EFT Lab: (http://[^\s/]+)", log.read_text()):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def rater_says(client: httpx.Client, act: str, **more: Any) -> str:
    """A message of the Rate tab, and all that comes back."""
    body = {
        "data": [],
        "event_data": {"id": "1", "act": act, "campaign": "", "code": "", **more},
        "fn_index": function_of(client.get("/config").json()),
        "session_hash": "visitor1",
    }
    return client.post("/gradio_api/run/predict", json=body).text


def signs_in(client: httpx.Client, password: str, session: str) -> str:
    """All that an attempt to sign in on the organiser's page brings."""
    config = client.get("/config").json()
    (enter,) = [each["id"] for each in config["dependencies"] if each["api_name"] == "enter"]
    said = client.post(
        "/gradio_api/queue/join", json={"data": [password], "fn_index": enter, "session_hash": session}
    ).text
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as answer:
        for line in answer.iter_lines():
            said += line
            if "process_completed" in line:
                break
    return said


@pytest.mark.skipif(programs() is None and not os.environ.get("CI"), reason="apt-get install postgresql")
def test_nothing_that_is_served_or_logged_holds_a_secret(tmp_path: Path) -> None:
    """Through sign-ins, a database that goes away, and every page that anybody may ask for."""
    log, said = tmp_path / "log", ""
    with ExitStack() as database:
        url = database.enter_context(postgresql()).replace("eft@", f"eft:{DATABASE}@")
        variables = {
            "EFT_DATABASE_URL": url,
            "EFT_DATA_DIR": str(tmp_path / "data"),
            "EFT_ORGANISER_PASSWORD": PASSWORD,
            "EFT_JUDGE_KEY": KEY,
            "EFT_JUDGE_URL": f"http://me:{JUDGE_USER}@127.0.0.1:9/v1",
            "EFT_JUDGE_MODEL": MODEL,
            "HF_TOKEN": TOKEN,
            "OAUTH_CLIENT_SECRET": CLIENT,
            # as much as can be told
            "EFT_METRICS": "1",
            "EFT_LOG_LEVEL": "debug",
            "EFT_LOG_PROMPTS": "1",
        }
        with (
            app_logged(log, **variables) as process,
            httpx.Client(base_url=address_in(log, process), timeout=60, trust_env=False) as client,
        ):
            assert '"code"' in rater_says(client, "join").replace("\\", "")
            assert "This is not the password" in signs_in(client, TYPED, "wrong1")
            opened = signs_in(client, PASSWORD, "right1")
            assert "success" in opened
            assert "This is not the password" not in opened
            said += opened + "".join(client.get(page).text for page in PAGES)
            database.close()
            gone = rater_says(client, "join")
            assert "database" in gone
            assert "retry" in gone
            said += gone + "".join(client.get(page).text for page in PAGES)
    assert told(said) == []
    assert told(log.read_text()) == []


class _Echo(BaseHTTPRequestHandler):
    """A hub that repeats in its errors what it was sent, as careless servers do."""

    def do_GET(self) -> None:
        body = json.dumps({"error": f"wrong: {self.headers.get('Authorization')}"}).encode()
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Error-Message", f"wrong: {self.headers.get('Authorization')}")
        self.end_headers()
        self.wfile.write(body)
        self.server.tokens.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def test_a_backup_that_refuses_the_token_is_told_without_it(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Echo)
    server.tokens = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    variables = {
        "EFT_DATA_DIR": str(tmp_path / "data"),
        "EFT_BACKUP": "hf://datasets/me/ratings",
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": TOKEN,
    }
    with app_logged(tmp_path / "log", **variables) as process:
        assert process.wait(LONGEST) == 1
    server.shutdown()
    server.server_close()
    log = (tmp_path / "log").read_text()
    assert f"Bearer {TOKEN}" in server.tokens  # type: ignore[attr-defined]
    assert "set HF_TOKEN to a token that may write it" in log
    assert told(log) == []


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://eft:{DATABASE}/ratings",
        f"postgresql+psycopg://eft:{DATABASE}@host:port/ratings",
        f"postgresql+psycopg://eft:x@{DATABASE}@127.0.0.1:9/ratings",
        f"postgresql+psycopg://eft@127.0.0.1:9/ratings?password={DATABASE}",
        f"postgresql+psycopg//eft:{DATABASE}@host/ratings",
        f"mysql://eft:{DATABASE}@host/ratings",
        f"postgresql+psycopg://eft:{DATABASE}@127.0.0.1:9/ratings?nonsense=1",
        f"postgresql+psycopg://eft:x?{DATABASE}=@127.0.0.1:9/ratings",
        f"postgresql+psycopg://eft:{DATABASE}@127.0.0.1:9/ratings",
        f"postgresql+psycopg://eft:{DATABASE}@nowhere.invalid/ratings",
        DATABASE,
    ],
)
def test_whatever_is_wrong_with_a_databases_address_its_password_is_not_told(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with pytest.raises(Exception, match=r"EFT_DATABASE_URL|the database") as caught:
        Storage(url)
    assert told(everything(caught.value) + caplog.text) == []


def test_an_engine_does_not_show_its_password() -> None:
    engine = engine_of(f"postgresql+psycopg://eft:{DATABASE}@127.0.0.1/ratings")
    assert told(f"{engine!r} {engine.url} {engine.url!r}") == []
    engine.dispose()


def test_what_raters_write_is_in_no_error_of_the_database(tmp_path: Path) -> None:
    """Errors are logged with their cause, and SQLAlchemy's tell the values of a statement unless it is told not to."""
    storage = Storage(f"sqlite:///{tmp_path / 'ratings.sqlite3'}")
    Desk(storage)

    def twice() -> None:
        with storage.writing() as writer:
            for _ in range(2):
                writer.insert(annotators, code_digest=f"digest of {TYPED}", side_seed=1)

    with pytest.raises(exc.IntegrityError) as caught:
        twice()
    storage.close()
    assert "parameters hidden" in everything(caught.value)
    assert told(everything(caught.value)) == []


def test_a_judge_that_repeats_the_key_is_told_without_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with JudgeServer(key="another") as server:
        judge = Judge(server.url, MODEL, KEY, attempts=1)
        with connected(judge) as client, pytest.raises(JudgeError, match="401") as caught:
            complete(judge, [{"role": "user", "content": "Which?"}], client)
    assert told(everything(caught.value) + caplog.text + repr(judge)) == []


def test_settings_show_no_secret() -> None:
    environ = {
        "EFT_DATABASE_URL": f"postgresql+psycopg://eft:{DATABASE}@host/name",
        "EFT_ORGANISER_PASSWORD": PASSWORD,
        "EFT_JUDGE_KEY": KEY,
        "EFT_JUDGE_URL": f"https://me:{JUDGE_USER}@host/v1",
    }
    settings = Settings.from_environment(environ)
    assert (settings.judge_key, settings.organiser_password) == (KEY, PASSWORD)
    assert told(f"{settings!r} {settings}") == []
    words = ("password", "key", "token", "secret", "url")
    assert [each.name for each in fields(Settings) if each.repr and any(word in each.name for word in words)] == []


# Who may look at the environment, and for what. Settings read all of EFT Lab's own; the token of the Hub is its
# library's to read, and no module of ours names it but to tell people of it.
READERS = {
    "eft_core/settings.py": "all that is EFT_*",
    "eft_core/hardware.py": "CPU_CORES and MEMORY of a Space",
    "components/gate.py": "OAUTH_CLIENT_ID, whether accounts can sign in",
    "components/starting.py": "whether this is a Space",
    "components/models_rights.py": "where the server listens",
    "components/zero_gpu.py": "whether this is ZeroGPU",
    "components/service.py": "CPU_CORES and MEMORY of a Space",
    "components/visitors.py": "whether this is a Space",
    "eft_core/loadtest/server.py": "what it hands on to the server that it starts",
    "eft_core/loadtest/report.py": "how many threads were asked for",
    "eft_core/worker.py": "secrets that the log must not have",
    "eft_core/link.py": "what it hands on to the engine's process",
    "app.py": "switches gradio's telemetry off",
}


def test_no_other_module_reads_the_environment() -> None:
    found = set()
    for file in (ROOT / "app.py", *(ROOT / "components").glob("*.py"), *(ROOT / "eft_core").rglob("*.py")):
        tree = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        names = {node.attr for node in tree if isinstance(node, ast.Attribute)}
        if names & {"environ", "getenv", "environb"}:
            found.add(str(file.relative_to(ROOT)))
    assert found == set(READERS)

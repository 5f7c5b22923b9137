"""The log: a line a request, in which no visitor's text stands, and no text can pass for a line of ours."""

import io
import json
import logging
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import ROOT, address_told

from components.meter import Meter
from eft_core.logs import Logging, Printed, adopt, configure, escaped, secrets_of, told
from eft_core.settings import Settings

MARK = "xylophone-of-the-visitor"
ATTACK = f"{MARK}\n2026-01-01T00:00:00.000Z INFO eft_lab: forged\r\x1b[2J\x00\u2028\u202e\ud800\x85"


@pytest.fixture
def restored() -> Iterator[None]:
    """Loggers as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


@pytest.fixture
def lines(restored: None) -> Any:
    """What is written, once `configure` was called with it."""
    return io.StringIO()


def test_control_characters_are_escaped() -> None:
    assert escaped("a\nb\tc\x1b[31m\u2028\u202e\ud800é漢") == "a\\nb\\tc\\x1b[31m\\u2028\\u202e\\ud800é漢"


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_message_makes_a_line_of_its_own(lines: io.StringIO, form: str) -> None:
    configure(Logging(form, prompts=True), stream=lines)
    logging.getLogger("eft_core.x").info("said: %s", ATTACK)
    Meter(prompts=True).refused("compare", "atlas", prompt=ATTACK)
    written = lines.getvalue()
    assert written.count("\n") == 2
    assert len(written.splitlines()) == 2, "nor any that Unicode knows"
    assert "forged" in written
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e\ud800]", written)
    if form == "json":
        assert json.loads(written.splitlines()[1])["prompt"] == ATTACK


def test_a_request_is_one_line_without_its_prompt(lines: io.StringIO) -> None:
    configure(Logging("json"), stream=lines)
    with Meter().request("compare", "atlas", 4, ATTACK) as asked:
        asked.tokens, asked.first, asked.finished = 12, 0.25, True
    [line] = lines.getvalue().splitlines()
    said = json.loads(line)
    assert set(said) == {
        *("time", "level", "logger", "message", "kind", "family", "rows", "tokens", "seconds", "first_token"),
        "outcome",
    }
    assert (said["kind"], said["family"], said["rows"], said["tokens"]) == ("compare", "atlas", 4, 12)
    assert said["outcome"] == "done"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", said["time"])


def test_as_text_it_is_one_line_too(lines: io.StringIO) -> None:
    configure(Logging(), stream=lines)
    with Meter().request("compare", "atlas", 4, MARK):
        pass
    pattern = (
        r'\S+Z INFO eft_lab\.requests: request kind="compare" family="atlas" rows=4 tokens=0 seconds=0\.0\d* '
        r'first_token=None outcome="stopped"\n'
    )
    assert re.fullmatch(pattern, lines.getvalue())


def raised(error: Exception) -> Exception:
    """An exception with a traceback, and another one before it."""
    try:
        try:
            raise KeyError(ATTACK)
        except KeyError:
            raise error  # noqa: B904  # as it happens, with the other one as its context
    except Exception as found:
        return found


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_an_exception_quotes_is_left_out_but_not_where_it_was(lines: io.StringIO, form: str) -> None:
    configure(Logging(form), stream=lines)
    logging.getLogger("components.x").error("it failed", exc_info=raised(ValueError(ATTACK)))
    written = lines.getvalue()
    assert MARK not in written
    assert "forged" not in written
    assert "ValueError: (withheld" in written
    assert "KeyError: (withheld" in written
    assert "in raised" in written
    heads = [line for line in written.splitlines() if not line.startswith("    | ")]
    assert len(heads) == 1, "frames follow on lines that begin with a bar"


def test_what_tells_of_the_machine_is_said() -> None:
    assert told(OSError(28, "No space left on device"))[-1] == "OSError: [Errno 28] No space left on device"
    assert told(RuntimeError("CUDA error"))[-1] == "RuntimeError: CUDA error"
    assert told(ValueError(MARK), prompts=True)[-1] == f"ValueError: {MARK}"
    assert MARK not in "".join(told(ExceptionGroup(MARK, [raised(ValueError(MARK))])))


def test_secrets_and_queries_are_left_out(lines: io.StringIO) -> None:
    environ = {
        "HF_TOKEN": "hf_abcdefgh",
        "EFT_ORGANISER_PASSWORD": "correct horse",
        "EFT_DATABASE_URL": "postgresql+psycopg://me:pass-word@host/name",
        "EFT_JUDGE_KEY": "sk-12345678",
        "OAUTH_CLIENT_SECRET": "oauth-secret",
        "EFT_FAMILY": "atlas-family",
    }
    secrets = secrets_of(environ)
    assert set(secrets) == {"hf_abcdefgh", "correct horse", "pass-word", "sk-12345678", "oauth-secret"}
    for form in ("text", "json"):
        configure(Logging(form), secrets, lines)
        message = " ".join(environ.values())
        logging.getLogger("eft_core").error(message, exc_info=raised(OSError(message)))
        logging.getLogger("components").warning("GET http://here/?prompt=%s HTTP/1.1", MARK)
    written = lines.getvalue()
    assert not any(secret in written for secret in secrets)
    assert MARK not in written
    assert "atlas-family" in written


def test_what_is_printed_goes_through_the_log(lines: io.StringIO) -> None:
    configure(Logging("json"), stream=lines)
    printed = Printed(logging.getLogger("eft_lab.printed"), logging.WARNING)
    try:
        raise raised(ValueError(ATTACK))
    except ValueError:
        traceback.print_exc(file=printed)
    print("Redirect URI: https://a.hf.space/login?_target_url=" + MARK, file=printed)
    print("half ", end="", file=printed)
    print("a line", file=printed)
    said = [json.loads(line)["message"] for line in lines.getvalue().splitlines()]
    assert said[-1] == "half a line"
    assert said[-2] == "Redirect URI: https://a.hf.space/login?..."
    assert not any(MARK in line or "forged" in line for line in said)
    assert sum("withheld" in line for line in said) == 2


def test_a_log_that_fails_does_not_call_itself(restored: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    configure(Logging(), stream=Full())
    monkeypatch.setattr(sys, "stderr", Printed(logging.getLogger("eft_lab.printed"), logging.WARNING))
    logging.getLogger("eft_core").error("lost")
    print("and on", file=sys.stderr)


def test_loggers_of_libraries_are_quiet_or_ours(lines: io.StringIO) -> None:
    own = logging.getLogger("uvicorn.error")
    own.addHandler(logging.StreamHandler(io.StringIO()))
    own.propagate = False
    configure(Logging(), stream=lines)
    adopt("uvicorn.error")
    logging.getLogger("httpx").info("HTTP Request: GET http://x/?q=%s", MARK)
    own.warning("Invalid HTTP request received.")
    assert lines.getvalue().count("\n") == 1
    assert "Invalid HTTP request" in lines.getvalue()


@pytest.mark.parametrize("environ", [{"EFT_LOG": "xml"}, {"EFT_LOG_LEVEL": "loud"}, {"EFT_LOG_PROMPTS": "yes"}])
def test_wrong_settings_are_told(environ: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(environ))} = .*: use "):
        Settings.from_environment(environ)


def test_settings_are_read() -> None:
    environ = {"EFT_LOG": "json", "EFT_LOG_LEVEL": "DEBUG", "EFT_LOG_PROMPTS": "1", "EFT_METRICS": "1"}
    found = Settings.from_environment(environ)
    assert found.logging == Logging("json", "debug", True)
    assert found.metrics
    assert Settings.from_environment({}).logging == Logging("text", "info", False)


# --- the app itself


def visited(families_file: str, data: Path, **variables: str) -> str:
    """All that the app wrote while a visitor came by a link, asked, read, and sent what is wrong."""
    own = {"EFT_FAMILIES": families_file, "EFT_FAMILY": "llama", "EFT_DEVICE": "cpu", "EFT_DATA_DIR": str(data)}
    environment = os.environ | own | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"} | variables
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    command = [sys.executable, "tests/slow_app.py"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes) as process:
        address = address_told(process.stdout)  # type: ignore[arg-type]
        with httpx.Client(base_url=address, timeout=60) as client:
            client.get("/", params={"prompt": ATTACK.replace("\ud800", "")})
            asked = ATTACK.replace("\ud800", "")
            for name, body in (
                ("compare", {"prompt": asked, "max_new_tokens": 3}),
                ("compare", {"prompt": f"[broken] {asked}", "max_new_tokens": 3}),
                ("compare", {"prompt": asked, "turns": asked}),
                ("inspect", {"prompt": asked, "response": asked}),
            ):
                url = f"gradio_api/call/v2/{name}"
                client.get(f"{url}/{client.post(url, json=body).json()['event_id']}")
            # As gradio itself tells of input that it cannot take: with all of it.
            client.post("gradio_api/call/compare", json={"data": [asked]})
            wrong = {"data": [asked], "fn_index": 0, "session_hash": MARK, "event_data": {"x": asked}}
            client.post("gradio_api/run/predict", json=wrong)
        process.terminate()
        out, _ = process.communicate(timeout=60)
    return str(out)


def test_a_visitor_leaves_nothing_in_the_log(families_file: str, tmp_path: Path) -> None:
    written = visited(families_file, tmp_path, EFT_LOG="json", EFT_LOG_LEVEL="debug")
    assert MARK not in written
    assert "forged" not in written
    assert "127.0.0.1" not in written.replace('"GET', ""), "no visitor's address"
    said = [json.loads(line) for line in written.splitlines()]
    requests = [each for each in said if each["logger"] == "eft_lab.requests"]
    assert [(each["kind"], each["outcome"]) for each in requests] == [
        ("compare", "done"),
        ("compare", "failed"),
        ("compare", "refused"),
        ("inspect", "done"),
    ]
    assert any("a comparison failed" in each["message"] and "RuntimeError" in each["exception"] for each in said)


def test_prompts_are_there_when_they_are_asked_for(families_file: str, tmp_path: Path) -> None:
    written = visited(families_file, tmp_path, EFT_LOG_PROMPTS="1")
    heads = [line for line in written.splitlines() if not line.startswith("    | ")]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\S+Z [A-Z]+ \S+: ", line) for line in heads), heads
    assert any("eft_lab.requests" in line and MARK in line for line in heads)
    assert not any(line.startswith("2026-01-01T") for line in heads), "nothing is forged"

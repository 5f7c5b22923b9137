"""`python app.py` whose engine's processes are killed, or left behind: visitors are told, others served, none stays."""

import signal
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest
from here import seconds_until
from serving import address_told
from test_stopping import Call, ended, running

QUESTION = "What is the capital of Kenya?"
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def _two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFT_WORKERS", "2")


def engines(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The engine's processes of a running app."""
    children = psutil.Process(process.pid).children()
    return [each for each in children if "eft_core.worker" in each.cmdline()]


def gone(processes: list[psutil.Process]) -> bool:
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)


def test_a_killed_process_of_the_engine_is_told_counted_and_replaced(families_file: str, tmp_path: Path) -> None:
    with running(families_file, tmp_path, "app.py") as process:
        address = address_told(process.stdout)  # type: ignore[arg-type]
        assert Call(address, QUESTION, 5).end()[0] == "complete"
        [engine] = engines(process)
        engine.suspend()  # so that it is in the middle of something
        calls = [Call(address, f"{QUESTION} {number}") for number in range(3)]
        seconds_until(lambda: all(len(call.events) > 3 for call in calls), PATIENCE)
        engine.kill()
        assert {call.error() for call in calls} == {"The engine failed and was started again: press Run to try again."}
        kind, data = Call(address, QUESTION, 5).end()
        assert kind == "complete"
        assert data[0]["done"] is True
        assert httpx.get(f"{address}health", timeout=PATIENCE).json()["engine"]["restarts"] == 1
        assert engine.pid not in [each.pid for each in engines(process)]
        _, said = ended(process)
        assert process.returncode == 0
        assert "an engine's process has ended" in said
        assert "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_of_the_engine_outlives_the_app(families_file: str, tmp_path: Path, number: int) -> None:
    with running(families_file, tmp_path, "app.py") as process:
        address = address_told(process.stdout)  # type: ignore[arg-type]
        [first] = engines(process)
        first.suspend()  # so that requests meet, for which there is another one
        calls = [Call(address, f"{QUESTION} {number}") for number in range(4)]
        seconds_until(lambda: len(engines(process)) == 2, PATIENCE)
        first.resume()
        seconds_until(lambda: any(call.began.is_set() for call in calls), PATIENCE)
        left = engines(process)
        seconds, _ = ended(process, number)
        assert process.returncode == (0 if number == signal.SIGTERM else -number)
        assert seconds < 10
        seconds_until(lambda: gone(left), PATIENCE)

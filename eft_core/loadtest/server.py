"""The server under load: `python app.py` on a free port with data of its own, always ended again; or one that runs.

Only servers on this machine are asked: the load would be an attack anywhere else.
"""

import ipaddress
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psutil

Number = TypeVar("Number", int, float)

ROOT = Path(__file__).resolve().parents[2]
_START = 180.0  # seconds until it must listen
_STOP = 30.0
_SAYS = "EFT Lab: "
# What would reach the user's own judgements, or another host.
_NOT_PASSED_ON = ("EFT_DATABASE_URL", "EFT_BACKUP", "EFT_JUDGE_URL", "EFT_ORGANISER_PASSWORD", "EFT_ORGANISERS")


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens, which process it is, and the file of what it prints, if it was started here."""

    address: str
    process: psutil.Process
    log: Path | None = None

    @property
    def memory(self) -> int:
        """Bytes that the process and its children hold (VmRSS)."""
        return self._summed(lambda each: each.memory_info().rss)

    @property
    def cpu_seconds(self) -> float:
        """Seconds that all its threads have computed."""
        return self._summed(lambda each: sum(each.cpu_times()[:2]))

    @property
    def printed(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log else ""

    def _summed(self, measured: Callable[[psutil.Process], Number]) -> Number:
        """Of the process and its children. ValueError with what it printed last, if it has ended."""
        try:
            own = measured(self.process)
            children = self.process.children(recursive=True)
        except psutil.Error as error:
            raise ValueError(f"the server has ended: {_last(self.printed)}") from error
        for child in children:
            with suppress(psutil.Error):  # a child may end at any time
                own += measured(child)
        return own


def running(address: str) -> Server:
    """A server that runs already. ValueError unless it is on this machine, and somebody listens there."""
    parts = urlsplit(address if "://" in address else f"http://{address}")
    try:
        host, port = parts.hostname or "", parts.port or 7860
        here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if not here or parts.scheme != "http":
        raise ValueError(f"{address[:80]} is not on this machine: give http://127.0.0.1 and a port, or leave it out.")
    found = [each.pid for each in _connections() if each.status == "LISTEN" and each.laddr.port == port]
    if not found or found[0] is None:
        raise ValueError(f"no process that can be seen listens on port {port}: start python app.py first.")
    return Server(f"http://{host if ':' not in host else f'[{host}]'}:{port}", psutil.Process(found[0]))


@contextmanager
def started(data: Path, family: str = "atlas", **variables: str) -> Iterator[Server]:
    """`python app.py` of a family while the block runs; `data` is the folder of its judgements, and of its log."""
    log = data / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(os.environ, data, family) | variables,
        )
    try:
        yield Server(_address(process, log), psutil.Process(process.pid), log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def served(address: str | None, family: str) -> Iterator[Server]:
    """The server at `address`, or one that is started for this."""
    if address is not None:
        yield running(address)
        return
    with tempfile.TemporaryDirectory(prefix="eft-load-") as folder, started(Path(folder), family) as server:
        yield server


def _connections() -> list[Any]:
    with suppress(psutil.AccessDenied):  # where only the root user may look
        return list(psutil.net_connections("tcp"))
    return []


def _environment(environ: Mapping[str, str], data: Path, family: str) -> dict[str, str]:
    """The user's own, but for what belongs to their data; on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    kept = {name: value for name, value in environ.items() if name not in _NOT_PASSED_ON}
    place = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": port}
    return kept | place | {"EFT_FAMILY": family, "EFT_DATA_DIR": str(data), "PYTHONUNBUFFERED": "1"}


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """The address that a starting server prints. ValueError with what else it printed, if it ends or takes too long."""
    end = time.monotonic() + _START
    while time.monotonic() < end and process.poll() is None:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        told = next((line for line in lines if line.startswith(f"{_SAYS}http")), None)
        if told is not None:
            return told.removeprefix(_SAYS).strip().rstrip("/")
        time.sleep(0.1)
    raise ValueError(f"python app.py did not start: {_last(log.read_text(encoding='utf-8', errors='replace'))}")


def _last(printed: str) -> str:
    """The end of what a server printed, as one line."""
    return " ".join(printed.split())[-300:] or "it said nothing."

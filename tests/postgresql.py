"""A PostgreSQL of its own on loopback for tests: a new cluster in a temporary folder, gone when the block ends.

It refuses to run as root, so there it runs as `nobody`. Debian: apt-get install postgresql.
"""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def programs() -> Path | None:
    """The folder of initdb and pg_ctl; None if PostgreSQL is not installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


def there_is_one() -> None:
    """Skips the test where PostgreSQL is not installed; under CI it fails."""
    if programs() is None:
        reason = "no PostgreSQL here: apt-get install postgresql"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


class Cluster:
    """A cluster in a folder, which can be stopped and started again on its port."""

    def __init__(self, base: Path, folder: Path) -> None:
        as_root = os.geteuid() == 0
        self._user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if as_root else []
        if as_root:
            shutil.chown(base, "nobody", "nogroup")
            base.chmod(0o700)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = str(probe.getsockname()[1])
        self._base, self._folder, self._data = base, folder, str(base / "data")
        self.address = f"postgresql+psycopg://eft@127.0.0.1:{self._port}/ratings"
        self._run("initdb", "-D", self._data, "-U", "eft", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._user, str(self._folder / program), *arguments]
        done = subprocess.run(
            command, cwd=self._base, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert done.returncode == 0, done.stdout

    def start(self) -> None:
        # fsync stays on: what is durable is tested
        options = f"-h 127.0.0.1 -p {self._port} -k {self._base}"
        self._run("pg_ctl", "-D", self._data, "-o", options, "-w", "-l", str(self._base / "log"), "start")

    def stop(self) -> None:
        """As after a crash: nobody is asked, and nothing is written."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def make(self) -> None:
        self._run("createdb", "-h", "127.0.0.1", "-p", self._port, "-U", "eft", "ratings")


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster with an empty database."""
    folder = programs()
    assert folder is not None, "PostgreSQL is not installed: apt-get install postgresql"
    base = Path(tempfile.mkdtemp(prefix="eft-postgresql-"))
    running = Cluster(base, folder)
    try:
        running.make()
        yield running
    finally:
        running.stop()
        shutil.rmtree(base)


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of an empty database, as EFT_DATABASE_URL takes it."""
    with cluster() as running:
        yield running.address


if __name__ == "__main__":
    with postgresql() as address:
        print(address, f"(for {getpass.getuser()}; ends with Enter)", flush=True)
        input()

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


def programs() -> Path | None:
    """The folder of initdb and pg_ctl; None if PostgreSQL is not installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of an empty database, as EFT_DATABASE_URL takes it."""
    folder = programs()
    assert folder is not None, "PostgreSQL is not installed: apt-get install postgresql"
    base = Path(tempfile.mkdtemp(prefix="eft-postgresql-"))
    as_root = os.geteuid() == 0
    user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if as_root else []
    if as_root:
        shutil.chown(base, "nobody", "nogroup")
        base.chmod(0o700)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(program: str, *arguments: str) -> None:
        command = [*user, str(folder / program), *arguments]
        done = subprocess.run(
            command, cwd=base, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert done.returncode == 0, done.stdout

    data = str(base / "data")
    run("initdb", "-D", data, "-U", "eft", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
    # fsync stays on: what is durable is tested
    options = f"-h 127.0.0.1 -p {port} -k {base}"
    run("pg_ctl", "-D", data, "-o", options, "-w", "-l", str(base / "log"), "start")
    try:
        run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "eft", "ratings")
        yield f"postgresql+psycopg://eft@127.0.0.1:{port}/ratings"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(base)


if __name__ == "__main__":
    with postgresql() as address:
        print(address, f"(for {getpass.getuser()}; ends with Enter)", flush=True)
        input()

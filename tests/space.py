"""The app as a Hugging Face Space starts it: its variables, a code folder that nothing writes to, a home that goes.

Used by tests, not a test. The code is a copy of what git knows; where the system lets us, it is mounted read-only for
the app alone.
"""

import compileall
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from serving import ROOT, listening

HOST = "somebody-eft-lab.hf.space"
SPACE = {
    "SYSTEM": "spaces",
    "SPACE_ID": "somebody/eft-lab",
    "SPACE_HOST": HOST,
    "SPACE_AUTHOR_NAME": "somebody",
    "SPACE_REPO_NAME": "eft-lab",
    "SPACE_TITLE": "EFT Lab",
    "GRADIO_SERVER_NAME": "0.0.0.0",
    "CPU_CORES": "2",
    "MEMORY": "16Gi",
    "ACCELERATOR": "none",
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONDONTWRITEBYTECODE": "",
    "OAUTH_CLIENT_ID": "id",
    "OAUTH_CLIENT_SECRET": "secret",
    "OAUTH_SCOPES": "openid profile",
    "OPENID_PROVIDER_URL": "http://127.0.0.1:9",
}
# In a mount namespace of its own, where the folder $1 cannot be written to.
_SEALED = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && cd "$1" && shift && exec "$@"'


def copied(folder: Path) -> Path:
    """The files that git knows, or would take, in a folder of their own; compiled, for no start can write there."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in sorted(set(listed.stdout.decode().split("\0")) - {""}):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    assert compileall.compile_dir(folder, quiet=1)
    return folder


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of everything in a folder, but for what Python keeps beside a module where it can."""
    known = [each for each in sorted(folder.rglob("*")) if each.is_file() and each.parent.name != "__pycache__"]
    found = {str(each.relative_to(folder)): each.stat() for each in known}
    return {name: (state.st_size, state.st_mtime_ns) for name, state in found.items()}


def can_seal(folder: Path) -> bool:
    """Whether this system lets us mount a folder read-only for a single process."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--mount", "sh", "-c", _SEALED, "sh", str(folder), "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def space(code: Path, home: Path, **variables: str) -> Iterator[str]:
    """The address of a Space of this code while the block runs; `home` is its disk."""
    home.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    own = {"HOME": str(home), "HF_HOME": str(home / "hf"), "TMPDIR": str(home), "GRADIO_SERVER_PORT": port}
    sealed = ["unshare", "--mount", "sh", "-c", _SEALED, "sh", str(code)] if can_seal(code) else []
    here = {"PYTHONPATH": str(code), **SPACE, **own, **variables}
    with listening([*sealed, sys.executable, "app.py"], code, **here):
        yield f"http://127.0.0.1:{port}/"


@contextmanager
def framing(address: str) -> Iterator[str]:
    """A page on another host that shows the app in a frame, as huggingface.co shows a Space's."""
    body = f'<!doctype html><title>Spaces</title><iframe src="{address}" width="1500" height="1400"></iframe>'.encode()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/" else 404)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body if self.path == "/" else b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()

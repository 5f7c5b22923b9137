"""A model hub on this machine: real HTTP for tests of whatever downloads.

    with HubServer() as server:
        server.add("org/name", folder)
        ...
        assert server.bytes_of("model.safetensors") == 1234

It lists a repository's files with sizes and digests, and serves them as the Hub does: small files itself, weights from
another host to which it sends on. `faults` say how requests are treated otherwise. Not a test.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

TOKEN = "hf_good"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LARGE = (".safetensors", ".gguf", ".bin")  # what the Hub keeps in LFS


@dataclass(frozen=True)
class Repository:
    """A folder's files under a commit. `gated`: only with the token; `private`: without it, as if it were not there."""

    folder: Path
    gated: bool = False
    private: bool = False
    revision: str = "main"
    commit: str = COMMIT


@dataclass(frozen=True)
class Fault:
    """How a request is treated otherwise: a status in the stead of an answer, `cut` closes the connection after so many
    bytes, `stall` waits there until the server closes, `spoilt` turns the first byte, `ranges` off ignores them."""

    status: int = 0
    cut: int | None = None
    stall: bool = False
    spoilt: bool = False
    ranges: bool = True
    body: bytes = b""


@dataclass
class Seen:
    """A request, and how many bytes of its answer went out."""

    method: str
    path: str
    range: str | None
    token: str | None
    sent: int = 0


@dataclass
class HubServer:
    """The server, as a context manager. `faults` is asked for each request; `seen` are all requests so far."""

    faults: Callable[[Seen], Fault | None] = lambda seen: None
    seen: list[Seen] = field(default_factory=list)
    repositories: dict[str, Repository] = field(default_factory=dict)
    stalled: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._server = _Server(self)

    @property
    def url(self) -> str:
        """For HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def store(self) -> str:
        """Where large files are, for a client another host."""
        return f"http://localhost:{self._server.server_port}/store"

    def add(self, name: str, folder: Path, **how: Any) -> None:
        self.repositories[name] = Repository(folder, **how)

    def asked(self, name: str) -> list[Seen]:
        """The GETs of a file's bytes."""
        return [seen for seen in self.seen if seen.method == "GET" and seen.path.endswith(f"/{name}") and seen.sent]

    def bytes_of(self, name: str) -> int:
        return sum(seen.sent for seen in self.asked(name))

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: HubServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no fault of the server."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        hub: HubServer = self.server.hub  # type: ignore[attr-defined]
        path, token = unquote(urlsplit(self.path).path), self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.seen = Seen(self.command, path, self.headers.get("Range"), token or None)
        hub.seen.append(self.seen)
        self.fault = hub.faults(self.seen) or Fault()
        if self.fault.status or self.fault.body:
            self._send(self.fault.status or 200, self.fault.body)
        elif path.startswith("/store/"):
            name, _, file = path.removeprefix("/store/").rpartition("/")
            self._content((hub.repositories[name].folder / file).read_bytes(), {})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            if repository := self._allowed(hub, found[1], found[2] or "main", gate=False):
                self._send(200, json.dumps(listing(found[1], repository)).encode())
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/(.+)/([^/]+)", path):
            if repository := self._allowed(hub, found[1], found[2], gate=True):
                self._file(hub, found[1], repository, found[3])
        else:
            self._send(404)

    def _allowed(self, hub: HubServer, name: str, revision: str, gate: bool) -> Repository | None:
        """The repository, or a refusal in the Hub's words."""
        repository, known = hub.repositories.get(name), self.seen.token == TOKEN
        if self.seen.token and not known:
            self._send(401, headers={"X-Error-Message": "Invalid credentials in Authorization header"})
        elif repository is None or (repository.private and not known):
            self._send(404 if known else 401, headers={"X-Error-Code": "RepoNotFound"})
        elif revision not in (repository.revision, repository.commit):
            self._send(404, headers={"X-Error-Code": "RevisionNotFound"})
        elif gate and repository.gated and not known:
            self._send(401, headers={"X-Error-Code": "GatedRepo"})
        else:
            return repository
        return None

    def _file(self, hub: HubServer, name: str, repository: Repository, file: str) -> None:
        place = repository.folder / file
        if not place.is_file():
            self._send(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repository.commit})
            return
        content = place.read_bytes()
        told = {"X-Repo-Commit": repository.commit, "ETag": f'"{digest_of(file, content)}"'}
        if not file.endswith(_LARGE):
            self._content(content, told)
            return
        linked = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": told["ETag"]}
        self._send(302, headers=told | linked | {"Location": f"{hub.store}/{name}/{file}"})

    def _content(self, content: bytes, headers: dict[str, str]) -> None:
        """The file, or the part that is asked for."""
        if self.fault.spoilt:
            content = bytes([content[0] ^ 1]) + content[1:]
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if self.fault.ranges else None
        if asked is None:
            self._send(200, content, headers)
            return
        begin, end = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        self._send(206, content[begin : end + 1], headers | {"Content-Range": f"bytes {begin}-{end}/{len(content)}"})

    def _send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        hub: HubServer = self.server.hub  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.seen.sent = min(len(body), len(body) if self.fault.cut is None else self.fault.cut)
        self.wfile.write(body[: self.seen.sent])
        self.wfile.flush()
        if self.seen.sent < len(body):
            if self.fault.stall:
                hub.stalled.set()
                hub.closing.wait()
            self.close_connection = True


def digest_of(file: str, content: bytes) -> str:
    """SHA-256 of large files, git's SHA-1 of small ones."""
    if file.endswith(_LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def listing(name: str, repository: Repository) -> dict[str, Any]:
    """What /api/models says."""
    siblings = []
    for file in sorted(repository.folder.iterdir()):
        content = file.read_bytes()
        digest, large = digest_of(file.name, content), file.name.endswith(_LARGE)
        lfs = {"lfs": {"size": len(content), "sha256": digest, "pointerSize": 130}} if large else {}
        siblings.append({"rfilename": file.name, "size": len(content), "blobId": digest[:40], **lfs})
    gated = "manual" if repository.gated else False
    told = {"id": name, "sha": repository.commit, "gated": gated, "private": repository.private}
    return told | {"tags": ["transformers", "license:apache-2.0"], "siblings": siblings}

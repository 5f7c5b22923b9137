"""One file of the Hub on its way into the Hub's ordinary cache: a part that grows, checked whole, then named.

huggingface_hub 2.4 begins a file anew after a break: its part has a new name each time. Here a part is named by the
file's digest, so that whoever comes next goes on where the last one stopped. No torch.
"""

import hashlib
import shutil
import time
from collections.abc import Generator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from eft_core.memory import size as said_size

_TRIES = 4  # in a row that bring nothing
_PAUSE = 1.0  # seconds before the second try, and so much more before each further one
_TOLD_EVERY = 0.2  # seconds between two yields
_BLOCK = 1 << 24  # bytes
_SHA256 = 64  # hexadecimal digits: a large file's digest; small ones have git's, of 40


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository at a commit: bytes, and the digest by which the Hub and its cache name the content."""

    repository: str
    commit: str
    name: str
    size: int
    digest: str

    @property
    def home(self) -> Path:
        """The repository's folder in the cache."""
        return cache() / f"models--{self.repository.replace('/', '--')}"

    @property
    def pointer(self) -> Path:
        """Where the library looks for the file: a link to the blob, or the content where there are no links."""
        return self.home / "snapshots" / self.commit / self.name

    @property
    def blob(self) -> Path:
        return self.home / "blobs" / self.digest

    @property
    def partial(self) -> Path:
        return self.blob.with_name(f"{self.digest}.incomplete")

    @property
    def lock(self) -> Path:
        """The library's own lock, so that it and we never fetch the same file at once."""
        return cache() / ".locks" / self.home.name / f"{self.digest}.lock"

    @property
    def content(self) -> Path:
        """What there is of the file: whole, or its part."""
        return next((each for each in (self.pointer, self.blob) if _length(each) == self.size), self.partial)

    @property
    def here(self) -> int:
        """Bytes of it on this machine."""
        return max(0, _length(self.content))

    @property
    def whole(self) -> bool:
        """Whether all of it is here and was found right; a part of full length was not looked at yet."""
        return self.content != self.partial


def cache() -> Path:
    """The Hub's cache folder: HF_HUB_CACHE, or HF_HOME's."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def check_room(missing: int) -> None:
    """ValueError if so many bytes do not fit on the cache's disk."""
    folder = next(each for each in (cache().resolve(), *cache().resolve().parents) if each.is_dir())
    if missing > (free := shutil.disk_usage(folder).free):
        raise ValueError(
            f"the files still to come take {said_size(missing)}, and {said_size(free)} are free in {folder}: "
            "make room, or set HF_HOME to a folder on a larger disk."
        )


def fetch(file: HubFile) -> Generator[None, None, None]:
    """Bring the whole file into the cache, under its digest; what is here is not asked for again.

    Yields several times a second while it works; closed, it stops there and keeps the part. ValueError if the content
    is not what the Hub says, or if the connection broke off again and again; the library's errors for all else.
    """
    with (yield from _locked(file)):
        if not file.whole:
            yield from _append(file, file.size)
            yield from _settle(file)


def fetch_beginning(file: HubFile, upto: int) -> Generator[None, None, None]:
    """The first bytes alone; `fetch` goes on behind them."""
    with (yield from _locked(file)):
        if not file.whole:
            yield from _append(file, min(upto, file.size))


def link(file: HubFile) -> None:
    """Show a fetched file where the library looks for it."""
    from huggingface_hub import hf_hub_download

    if _length(file.pointer) != file.size:
        hf_hub_download(file.repository, file.name, revision=file.commit)


def _locked(file: HubFile) -> Generator[None, None, ExitStack]:
    """Wait until nobody else fetches the file, then let go of what is damaged."""
    from filelock import FileLock, Timeout

    file.lock.parent.mkdir(parents=True, exist_ok=True)
    file.blob.parent.mkdir(parents=True, exist_ok=True)
    # A page may run each step of a generator in another thread: the lock must not be of one thread.
    lock = FileLock(file.lock, timeout=_TOLD_EVERY, mode=0o664, thread_local=False)
    while True:
        with suppress(Timeout), ExitStack() as stack:
            stack.enter_context(lock)
            _mend(file)
            return stack.pop_all()
        yield


def _mend(file: HubFile) -> None:
    """What is too short becomes the part, what is too long goes: an earlier writer was killed, or the disk was full."""
    for each in (file.pointer, file.blob):
        if each.is_file() and _length(each) != file.size:
            if not each.is_symlink() and _length(file.partial) < _length(each) < file.size:
                each.replace(file.partial)
            else:
                each.unlink()
    if _length(file.partial) > file.size:
        file.partial.unlink()


def _append(file: HubFile, upto: int) -> Generator[None, None, None]:
    """Ask for the part's missing bytes until it has `upto`, again after a break that has brought something."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    file.partial.touch()
    failures = 0
    while (start := _length(file.partial)) < upto:
        failure: Exception | None = None
        try:
            yield from _stream(file, start, upto)
        except (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
            failure = error
        except HfHubHTTPError as error:
            if error.response.status_code < 500 and error.response.status_code != 429:
                raise
            failure = error
        failures = 0 if _length(file.partial) > start else failures + 1
        if failures == _TRIES:
            raise ValueError(
                f"{file.repository}: the connection broke off {_TRIES} times at byte {start:,} of {file.size:,} of "
                f"{file.name}: try again later, it goes on from there."
            ) from failure
        time.sleep(_PAUSE * failures)


def _stream(file: HubFile, start: int, upto: int) -> Generator[None, None, None]:
    """One request for the bytes from `start`, written as they come."""
    from huggingface_hub import constants, get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    # The token goes to the Hub alone: the client drops it where it is sent on to another host.
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    if start or upto < file.size:
        headers["Range"] = f"bytes={start}-{upto - 1}"
    url = hf_hub_url(file.repository, file.name, revision=file.commit)
    told = time.monotonic()
    with get_session().stream("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
        hf_raise_for_status(response)
        if response.status_code != 206:
            start = 0  # a server that knows no ranges
        with file.partial.open("r+b") as part:
            part.seek(start)
            part.truncate()
            for chunk in response.iter_bytes():
                part.write(chunk[: upto - start])
                start += len(chunk)
                if start > upto:
                    break  # it was asked for less: the server knows no ranges
                if time.monotonic() - told > _TOLD_EVERY:
                    part.flush()
                    told = time.monotonic()
                    yield


def _settle(file: HubFile) -> Generator[None, None, None]:
    """Name a part by its digest if it has it."""
    large = len(file.digest) == _SHA256
    digest = hashlib.sha256() if large else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    with file.partial.open("rb") as part:
        while block := part.read(_BLOCK):
            digest.update(block)
            yield
    if digest.hexdigest() != file.digest:
        file.partial.unlink()
        raise ValueError(
            f"{file.repository}: {file.name} arrived with another content than the Hub says it has, and was thrown "
            "away: try again; if it happens again, ask whoever runs the proxy or mirror in between (HF_ENDPOINT)."
        )
    file.partial.replace(file.blob)


def _length(file: Path) -> int:
    """Bytes of a file, -1 if there is none."""
    return file.stat().st_size if file.is_file() else -1

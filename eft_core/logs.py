"""The process's log: one record a line, as text or as JSON, in which nothing that a visitor wrote can pass for a line.

Control characters are escaped, secrets are replaced, and what exceptions say is left out where it may quote a visitor,
but for EFT_LOG_PROMPTS=1. What libraries print goes the same way (`Printed`). Standard library only.
"""

import io
import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

OURS = ("eft_core", "components", "eft_lab", "__main__")
# They are for us to read while we write them; at INFO, httpx tells whole addresses.
_QUIET = ("httpx", "httpcore", "urllib3", "asyncio", "filelock", "sqlalchemy", "PIL", "markdown_it")
_LEVELS = ("debug", "info", "warning", "error")
_WITHHELD = "(withheld: EFT_LOG_PROMPTS=1 shows it)"
# Controls of ASCII and Latin-1, what ends a line in Unicode, what turns text around or hides in it, lone surrogates.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_QUERY = re.compile(r"(?<=[\w/])\?[^\s\"']+")
# These tell of the machine. Others, such as ValueError, may quote what they were given.
_SPEAKING = (OSError, MemoryError, RuntimeError, ImportError)
_FRAME = ("File ", "Traceback", "[Previous", "During handling", "The above exception", "+", "-")
_LEAST_SECRET = 6  # characters: less would be found in every second line


@dataclass(frozen=True, slots=True)
class Logging:
    """How the log is written: `form` "text" or "json", from `level` on, with `prompts` or without."""

    form: str = "text"
    level: str = "info"
    prompts: bool = False

    def __post_init__(self) -> None:
        if self.form not in ("text", "json"):
            raise ValueError(f"EFT_LOG = {self.form[:40]!r} is not known: use text or json.")
        if self.level not in _LEVELS:
            raise ValueError(f"EFT_LOG_LEVEL = {self.level[:40]!r} is not known: use {', '.join(_LEVELS)}.")


def escaped(text: str) -> str:
    """`text` on one line, as it reads, with every control character as its escape sequence."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def secrets_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Values that no line may have: those of variables that are named like secrets, and of addresses with passwords."""
    named = [value for name, value in environ.items() if re.search(r"TOKEN|SECRET|PASSWORD|_KEY\b", name)]
    addressed = [re.search(r"://[^:/@\s]*:([^@\s]+)@", value) for value in environ.values()]
    found = {*named, *(each[1] for each in addressed if each)}
    return tuple(sorted((each for each in found if len(each) >= _LEAST_SECRET), key=len, reverse=True))


def configure(how: Logging, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """All records of this process to `stream`, standard error by default, and nowhere else."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Lines(how, tuple(secrets)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.ERROR if how.level == "error" else logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(how.level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of whatever a visitor sends
    logging.captureWarnings(True)


def adopt(*names: str) -> None:
    """Loggers that a library set up for itself write to ours."""
    for name in names:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)


class Lines(logging.Formatter):
    """A record as a line. What the record's `fields` say stands beside its message."""

    def __init__(self, how: Logging, secrets: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._how, self._secrets = how, secrets

    def format(self, record: logging.LogRecord) -> str:
        """The line; of a record with an exception, in text, its frames follow on lines that begin with a bar."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message = self._clean(record.getMessage())
        fields = {name: self._clean(each) for name, each in getattr(record, "fields", {}).items()}
        error = record.exc_info[1] if record.exc_info else None
        trace = [self._clean(each) for each in told(error, self._how.prompts)] if error is not None else []
        if self._how.form == "json":  # which escapes by itself
            values = {"time": time, "level": record.levelname, "logger": record.name, "message": message, **fields}
            return json.dumps(values | ({"exception": "\n".join(trace)} if trace else {}), default=str)
        said = [f"{name}={json.dumps(value) if isinstance(value, str) else value}" for name, value in fields.items()]
        line = " ".join([time, record.levelname, f"{record.name}: {message}", *said])
        return "\n".join([escaped(line), *(f"    | {escaped(each)}" for each in trace)])

    def _clean(self, value: Any) -> Any:
        """A value as it may stand in the log: no secret, and no query of an address, which may be a prompt."""
        if not isinstance(value, str):
            return value
        for secret in self._secrets:
            value = value.replace(secret, "[secret]")
        return value if self._how.prompts else _QUERY.sub("?...", value)


def told(error: BaseException, prompts: bool = False) -> list[str]:
    """An exception's lines: all frames, and what it says unless that may quote a visitor."""
    chunks = traceback.TracebackException.from_exception(error).format()
    text = "".join(each if prompts else _quieted(each) for each in chunks)
    return text.rstrip("\n").split("\n")


def _quieted(chunk: str) -> str:
    """A part of a formatted traceback: frames as they are, of an exception's own lines its name alone."""
    bare = chunk.lstrip(" |")
    if not bare.strip() or bare.startswith(_FRAME):
        return chunk
    name, colon, _ = bare.partition(":")
    if not colon or name.rpartition(".")[2] in _speaking():
        return chunk
    return f"{chunk[: len(chunk) - len(bare)]}{name.split()[0]}: {_WITHHELD}\n"


def _speaking() -> set[str]:
    """The names of exceptions that tell of the machine alone."""
    kinds, found = list(_SPEAKING), set[str]()
    while kinds:
        kind = kinds.pop()
        found.add(kind.__name__)
        if kind.__module__ == "builtins" or kind in _SPEAKING:
            kinds += kind.__subclasses__()
    return found


class Printed(io.TextIOBase):
    """Standard output or error for what others print: a record a line. Its handler must write somewhere else."""

    def __init__(self, logger: logging.Logger, level: int, prompts: bool = False) -> None:
        super().__init__()
        self._logger, self._level, self._prompts = logger, level, prompts
        self._own = threading.local()  # what a thread has of its line, and whether it is writing now

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """What others take a terminal for."""
        return "utf-8"

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Take a piece; a line goes out when it has its end. An exception is printed piece by piece, and quieted so."""
        if getattr(self._own, "busy", False):  # the log itself fails: it must not call itself
            return len(text)
        begins = text.lstrip(" |+-").startswith("Traceback (most recent call last)")
        traced = begins or getattr(self._own, "traced", False)
        self._own.traced = traced and (begins or text[:1] in " |\n" or text.startswith(_FRAME))
        said = text if self._prompts or not traced else _quieted(text)
        *lines, rest = (getattr(self._own, "rest", "") + said).split("\n")
        self._own.rest = rest.rpartition("\r")[2]  # of a progress bar, how it stands
        self._own.busy = True
        try:
            for line in lines:
                if line.strip():
                    self._logger.log(self._level, "%s", line)
        finally:
            self._own.busy = False
        return len(text)

"""Uploads as they come: refused when a part is no file that the page takes, before any of it is kept.

gradio writes whatever is sent and looks at its name only when an event uses it.
"""

from collections import deque
from collections.abc import Callable

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from components.shield_rules import FILES

MOST_KEPT = 500 * 1024**2  # bytes that are taken in `WINDOW` seconds; gradio keeps files for two hours
WINDOW = 3600.0


class Names:
    """Looks at a body piece by piece; `wrong` as soon as a part is no file of a kind that the page takes."""

    def __init__(self, content_type: str) -> None:
        self.wrong = False
        self._name, self._value = b"", b""
        self._named = False
        self._parser: MultipartParser | None = None
        self._boundary = parse_options_header(content_type)[1].get(b"boundary", b"none")

    def look(self, piece: bytes) -> None:
        """The next piece of the body."""
        try:
            self._parser = self._parser or self._begun()
            self._parser.write(piece)
        except FormParserError:
            self.wrong = True

    def _begun(self) -> MultipartParser:
        return MultipartParser(
            self._boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._field,
                "on_header_value": self._text,
                "on_header_end": self._header,
                "on_headers_finished": self._headed,
            },
        )

    def _begin(self) -> None:
        self._named = False

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _text(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header(self) -> None:
        if self._name.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            name = options.get(b"filename", b"").decode("utf-8", "replace").lower()
            self._named = options.get(b"name") == b"files" and name.endswith(FILES)
        self._name, self._value = b"", b""

    def _headed(self) -> None:
        self.wrong = self.wrong or not self._named


class Budget:
    """Bytes that were taken lately, of all visitors together, so that nobody fills the disk. In the server's loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._taken: deque[tuple[float, int]] = deque()
        self._sum = 0

    def take(self, size: int) -> None:
        """Note bytes that came."""
        self._taken.append((self._clock(), size))
        self._sum += size

    def wait(self) -> float:
        """Seconds until more may come: 0 where it may now."""
        now = self._clock()
        while self._taken and self._taken[0][0] <= now - WINDOW:
            self._sum -= self._taken.popleft()[1]
        return 0.0 if self._sum < MOST_KEPT else self._taken[0][0] + WINDOW - now

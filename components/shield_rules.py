"""What a request may be, before gradio sees it: which addresses are open, from whose pages, and how large. Pure.

gradio serves more than this page needs (ECOSYSTEM.md 1.10): monitoring, run history, deep links, recordings, a proxy,
files. What is not named here is closed, so that a new version of gradio opens nothing by itself.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

MOST_BODY = 2 * 1024**2  # bytes of a request; the page's own have a few kilobytes
MOST_FILE = 16 * 1024**2  # bytes of an uploaded file
MOST_UPLOAD = MOST_FILE + 64 * 1024  # and what stands around it
MOST_QUERY = 32 * 1024  # characters of an address's parameters
FILES = (".csv", ".jsonl")  # what the page's file inputs take
UPLOAD = "/gradio_api/upload"

_NAMES = "(compare|inspect)"
_READ = re.compile(
    r"/|/organise/?|/config/?|/health|/metrics|/favicon\.ico|/robots\.txt|/manifest\.json|/(gradio_api/)?theme\.css"
    r"|/(assets|static)/.+|/families(/[^/]*)?/?"
    r"|/gradio_api/(info/?|startup-events|app_id/?|upload_progress|queue/(data|status)|heartbeat/[^/]+)"
    rf"|/gradio_api/call/(v2/)?{_NAMES}/[^/]+"
)
# The last word of the second may be a name or, of the page's own events, "predict".
_WRITTEN = re.compile(
    r"/gradio_api/(queue/join|cancel|reset/?|upload)"
    rf"|/gradio_api/(run|api)/[^/]+/?|/gradio_api/call/(v2/)?{_NAMES}/?"
)
_SIGNING_IN = re.compile(r"/login/(huggingface|callback)|/logout")
# A page's streams and calls, which are waited for when the server stops; a heartbeat lasts as long as its page.
_WORK = re.compile(r"/gradio_api/(queue/data|call/.+|run/.+|api/.+)")
_FAMILY = re.compile(r"/families/[^/]+(?=/.)")


class Refusal(NamedTuple):
    """A status of HTTP and a sentence."""

    status: int
    sentence: str


CLOSED = Refusal(404, "There is nothing at this address: begin at /.")
FOREIGN = Refusal(
    403, "This was sent from another site's page, and this server takes nothing from there: open it itself."
)
LONG = Refusal(414, f"The address is longer than {MOST_QUERY:,} characters: shorten what it carries.")
LARGE = Refusal(413, f"The request has more than {MOST_BODY // 1024**2} MB: send less at once.")
LARGE_FILE = Refusal(413, f"The file is larger than {MOST_FILE // 1024**2} MB: split it, or use the command line.")
WRONG_FILE = Refusal(415, f"This page takes files that end in {' or '.join(FILES)}: convert yours first.")


def refusal(method: str, path: str, query: bytes, headers: Mapping[str, str], signing_in: bool) -> Refusal | None:
    """Why a request may not go on, or None. `signing_in`: accounts of Hugging Face can sign in here."""
    if not is_open(method, path, signing_in):
        return CLOSED
    if len(query) > MOST_QUERY:
        return LONG
    if method not in ("GET", "HEAD") and is_foreign(headers):
        return FOREIGN
    if (length := headers.get("content-length", "")).isdecimal() and int(length) > most(path):
        return too_large(path)
    return None


def is_open(method: str, path: str, signing_in: bool = False) -> bool:
    """Whether there is anything at an address; every family's page has the same ones below its own."""
    if ".." in path.split("/") or "\\" in path or "\0" in path:
        return False
    here = inner(path)
    if method in ("GET", "HEAD"):
        return bool(_READ.fullmatch(here) or (signing_in and _SIGNING_IN.fullmatch(here)))
    return method == "POST" and bool(_WRITTEN.fullmatch(here))


def is_work(path: str) -> bool:
    """Whether somebody waits for the end of such a request."""
    return bool(_WORK.fullmatch(inner(path)))


def is_foreign(headers: Mapping[str, str]) -> bool:
    """Whether another site's page sent a request, by what browsers say of that; programs say nothing.

    As Go's CrossOriginProtection (net/http, 1.25): Sec-Fetch-Site where there is one, which no page can change, else
    Origin against the name that was asked. Behind a proxy the name is in X-Forwarded-Host, which a page cannot set
    for another site without asking first, and that is refused."""
    if site := headers.get("sec-fetch-site"):
        return site not in ("same-origin", "none")
    if (origin := headers.get("origin")) is None:
        return False
    forwarded = headers.get("x-forwarded-host", "").split(",")[0].strip()
    return _place(origin) not in {headers.get("host", "").lower(), forwarded.lower()} - {""}


def has_body(headers: Mapping[str, str]) -> bool:
    """Whether anything follows a request's head (RFC 9112, 6)."""
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip("0") != ""


def inner(path: str) -> str:
    """An address without the family whose page it belongs to."""
    return _FAMILY.sub("", path, count=1)


def most(path: str) -> int:
    """Bytes that a request's body may have."""
    return MOST_UPLOAD if inner(path) == UPLOAD else MOST_BODY


def too_large(path: str) -> Refusal:
    """What is said of one that has more."""
    return LARGE_FILE if inner(path) == UPLOAD else LARGE


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""

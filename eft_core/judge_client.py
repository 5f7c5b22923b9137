"""One question to an LLM judge at any OpenAI-compatible address: POST {url}/chat/completions, asked again on trouble.

What may pass (no connection, a timeout, a busy or failing server, half an answer) is retried with growing pauses; what
will not (a wrong key, model or address) is told at once. No error, and no repr, holds the key. Loads no torch.
"""

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from eft_core.checks import number, whole

MOST_BYTES = 4_000_000  # of a response
LONGEST_PAUSE = 60.0  # seconds, whatever a server asks for
_LOCAL = ("localhost", "127.0.0.1", "::1")


class JudgeError(ValueError):
    """The judge did not answer; a sentence that says why and what to do."""


class PassingError(JudgeError):
    """Trouble that may pass: worth asking again, after the seconds that the server asks for."""

    def __init__(self, sentence: str, after: float = 0.0) -> None:
        super().__init__(sentence)
        self.after = after


@dataclass(frozen=True, slots=True)
class Judge:
    """A model that judges. `url` is the base of its API, such as https://api.openai.com/v1, without key or query.

    `timeout`: seconds for one answer, `max_tokens`: its length at most. `attempts`: how often a question is asked.
    `prices`: US$ for a million prompt and completion tokens, if known. `parallel`: questions at the same time.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout: float = 60.0
    attempts: int = 4
    prices: tuple[float, float] | None = None
    parallel: int = 4
    max_tokens: int = 1024

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "url", _base(self.url))
        if not self.model.strip():
            raise ValueError("the judge's model has no name: give one that its server knows, such as gpt-4o-mini.")
        set_(self, "key", self.key.strip())
        if not (self.key.isascii() and self.key.isprintable()) or " " in self.key:
            raise ValueError("the judge's key has characters that no key has: copy it again into EFT_JUDGE_KEY.")
        set_(self, "timeout", number("timeout", self.timeout, 0.01, 3600, "use the seconds of an answer, such as 60"))
        set_(self, "attempts", whole("attempts", self.attempts, 1, 20, "ask a question 1 to 20 times"))
        set_(self, "parallel", whole("parallel", self.parallel, 1, 64, "ask 1 to 64 questions at the same time"))
        set_(self, "max_tokens", whole("max_tokens", self.max_tokens, 16, 10**6, "use the length of an answer"))
        if self.prices is not None:
            remedy = "use US$ for a million tokens"
            prompt, completion = (number("price", price, 0, 10**6, remedy) for price in self.prices)
            set_(self, "prices", (prompt, completion))


def _base(url: str) -> str:
    """The address that paths are appended to. Passwords and queries are refused: errors and files tell the address."""
    try:
        base = httpx.URL(url.strip())
        base.host.encode("idna")
    except (httpx.InvalidURL, UnicodeError):
        base = httpx.URL()
    if base.scheme not in ("http", "https") or not base.host or base.userinfo or base.query or base.fragment:
        raise ValueError(
            "the judge's address is not the base of an API: write one such as https://api.openai.com/v1, and the key "
            "in EFT_JUDGE_KEY."
        )
    return str(base).rstrip("/").removesuffix("/chat/completions")


@dataclass(frozen=True, slots=True)
class Reply:
    """What the judge wrote, and the tokens it took; 0 where the server does not count."""

    text: str
    prompt_tokens: int
    completion_tokens: int


def connected(judge: Judge) -> httpx.Client:
    """Connections to the judge, for any number of threads; a context manager. Follows no redirect with the key."""
    headers = {"Authorization": f"Bearer {judge.key}"} if judge.key else {}
    # A proxy of the environment cannot reach a server of this machine.
    local = httpx.URL(judge.url).host in _LOCAL
    return httpx.Client(headers=headers, timeout=judge.timeout, trust_env=not local)


def complete(
    judge: Judge,
    messages: Sequence[Mapping[str, str]],
    client: httpx.Client,
    accept: Callable[[str], bool] = bool,
    wait: Callable[[float], bool | None] = time.sleep,
) -> Reply:
    """The judge's answer to chat messages ({"role", "content"}). What `accept` refuses is asked again.

    `wait` pauses for so many seconds; true gives up. JudgeError after the last attempt, or at once if asking again
    cannot help.
    """
    for attempt in range(judge.attempts - 1):
        try:
            return _asked(judge, messages, client, accept)
        except PassingError as error:
            if wait(_pause(attempt, error.after)):
                raise
    return _asked(judge, messages, client, accept)


def _pause(attempt: int, after: float) -> float:
    """Seconds before the next attempt: doubling, with jitter, so that threads do not return together."""
    return max(min(2.0**attempt, LONGEST_PAUSE) * random.uniform(0.5, 1.0), min(after, LONGEST_PAUSE))


def _asked(
    judge: Judge, messages: Sequence[Mapping[str, str]], client: httpx.Client, accept: Callable[[str], bool]
) -> Reply:
    try:
        response, body = _posted(judge, messages, client)
    except httpx.TimeoutException as error:
        raise _late(judge) from error
    except httpx.ConnectError as error:
        what = f"cannot be reached ({_clean(judge, str(error))[:200]})"
        raise _trouble(judge, what, "check the address, and that its server runs") from error
    except httpx.RequestError as error:
        raise _trouble(judge, f"broke off its answer ({_clean(judge, str(error))[:200]})", "try again later") from error
    if not response.is_success:
        raise _refused(judge, response, body)
    reply = _reply(judge, body)
    if not accept(reply.text):
        what = f"does not answer in the form asked for, but ends with {_clean(judge, reply.text)[-80:]!r}"
        raise _trouble(judge, what, "choose a model that follows instructions")
    return reply


def _posted(judge: Judge, messages: Sequence[Mapping[str, str]], client: httpx.Client) -> tuple[httpx.Response, bytes]:
    """The response and its body. Some servers keep a connection busy with blanks, so all of it has one deadline."""
    asked = {"model": judge.model, "messages": list(messages), "temperature": 0, "max_tokens": judge.max_tokens}
    body, deadline = bytearray(), time.monotonic() + judge.timeout
    with client.stream("POST", f"{judge.url}/chat/completions", json=asked) as response:
        for piece in response.iter_bytes():
            body += piece
            if time.monotonic() > deadline:
                raise _late(judge)
            if len(body) > MOST_BYTES:
                raise _trouble(judge, f"answers with more than {MOST_BYTES // 10**6} MB", "check the address")
    return response, bytes(body)


def _reply(judge: Judge, body: bytes) -> Reply:
    """The answer in a body of the protocol; PassingError for anything less than a whole one."""
    try:
        data = json.loads(body)
        choice = data["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        what = f"does not answer as the protocol says{_said(judge, body)}"
        raise _trouble(judge, what, "check the address, which often ends in /v1") from error
    if finish == "length":
        what = f"wrote {judge.max_tokens:,} tokens and was not done"
        raise _trouble(judge, what, "allow more with max_tokens, or choose a model that writes less")
    if not isinstance(text, str) or not text.strip() or finish == "content_filter":
        raise _trouble(judge, "gave an empty answer, or kept a part of it back", "choose another model")
    usage = data.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return Reply(text, _count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens")))


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


# --- what went wrong, in a sentence


def _refused(judge: Judge, response: httpx.Response, body: bytes) -> JudgeError:
    """The error of a status other than success."""
    status, said = response.status_code, _said(judge, body)
    if status in (408, 409, 429) or status >= 500:
        after = _seconds(response.headers.get("Retry-After", ""))
        return _trouble(judge, f"is busy or fails ({status}{said})", "wait, or ask fewer at the same time", after)
    remedy = {
        401: "check EFT_JUDGE_KEY",
        403: "check EFT_JUDGE_KEY, and what it may use",
        404: "check the model's name and the address, which often ends in /v1",
    }.get(status, "check the address, the model's name, and that it takes temperature and max_tokens")
    return JudgeError(_sentence(judge, f"refuses the question ({status}{said})", remedy))


def _trouble(judge: Judge, what: str, remedy: str, after: float = 0.0) -> PassingError:
    return PassingError(_sentence(judge, what, remedy), after)


def _late(judge: Judge) -> PassingError:
    return _trouble(judge, f"gave no answer within {judge.timeout:g} s", "allow more time, or choose a faster model")


def _sentence(judge: Judge, what: str, remedy: str) -> str:
    return (
        f"the judge {judge.model} at {judge.url} {what}: {remedy}; nothing is lost, judgements so far are kept, so run "
        "again to go on."
    )


def _said(judge: Judge, body: bytes) -> str:
    """What the server says of its error, to be put behind a status; nothing if it does not say."""
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return f", {_clean(judge, message)[:200]!r}" if isinstance(message, str) else ""


def _clean(judge: Judge, text: str) -> str:
    """Foreign text on one line and without the key, which servers like to repeat."""
    return " ".join((text.replace(judge.key, "...") if judge.key else text).split())


def _seconds(header: str) -> float:
    """The pause that Retry-After asks for (RFC 9110, section 10.2.3), in seconds or as a date; 0 if it is neither."""
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        return parsedate_to_datetime(header).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0

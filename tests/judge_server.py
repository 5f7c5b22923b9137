"""A judge on this machine: a real server of POST /v1/chat/completions, for tests of whatever asks one.

    with JudgeServer(longer) as server:
        judge = Judge(server.url, MODEL)
        ...
        assert len(server.questions) == 2

It checks requests as strictly as the protocol allows, reads the answers from between the tags of `assets/judges`, and
replies with the verdict of a function. `script` says how the first requests are treated otherwise. Not a test.
"""

import json
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

MODEL = "stub-judge"
Decide = Callable[[str, str, str], str]  # prompt, answer A, answer B -> "A", "B" or "tie"


def longer(prompt: str, a: str, b: str) -> str:
    """Prefers the longer answer, in whatever order."""
    return "tie" if len(a) == len(b) else "A" if len(a) > len(b) else "B"


def always_a(prompt: str, a: str, b: str) -> str:
    """Prefers what it sees first, whatever it is."""
    return "A"


def texts_of(question: str) -> tuple[str, str, str]:
    """Request, answer A and answer B of a question: what stands between the tags with its mark."""
    mark = re.search(r"the mark ([0-9a-f]{16})\.", question)
    assert mark, "the question tells its mark"
    found = [_between(question, f"{name} {mark[1]}") for name in ("request", "answer_a", "answer_b")]
    return found[0], found[1], found[2]


def _between(question: str, tag: str) -> str:
    begin, end = f"<{tag}>\n", f"\n</{tag}>"
    assert question.count(begin) == question.count(end) == 1, "a text cannot hold the tags of its question"
    return question.split(begin)[1].split(end)[0]


@dataclass(frozen=True)
class Odd:
    """How one request is answered otherwise than well: what is given replaces a part of the good answer.

    `delay`: seconds before anything is sent. `blanks`: instead of an answer, blanks that never end. `body` replaces
    the JSON, and of it the share `sent` goes out before the connection is closed.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    blanks: bool = False
    text: str | None = None
    finish: str = "stop"
    body: bytes | None = None
    sent: float = 1.0


class JudgeServer:
    """The server, as a context manager. `questions` are the last messages of all requests so far, odd ones included."""

    def __init__(
        self, decide: Decide = longer, script: Iterable[Odd | None] = (), key: str = "", port: int = 0
    ) -> None:
        """`script`: one for each of the first requests, None being a good answer. `key`: asked of clients, if any.
        `port`: 0 for a free one."""
        self.decide, self.key = decide, key
        self.questions: list[str] = []
        self.failures: list[BaseException] = []  # of the server itself: a test must not pass by them
        self.script, self._lock, self.closing = iter(script), threading.Lock(), threading.Event()
        self._server = _Server(self, port)

    @property
    def url(self) -> str:
        """What a `Judge` takes."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def next(self, question: str) -> Odd:
        """Note a question and say how to treat it."""
        with self._lock:
            self.questions.append(question)
            return next(self.script, None) or Odd()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()  # ends delays
        self._server.shutdown()
        self._server.server_close()
        if self.failures and error[0] is None:
            raise self.failures[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, judge: JudgeServer, port: int) -> None:
        self.judge = judge
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError):  # a client may give up
            self.judge.failures.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    server: _Server

    def log_message(self, *values: object) -> None:
        """Nothing: a test's output is its own."""

    def do_GET(self) -> None:
        self._error(405, "this path takes POST")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key = self.server.judge.key
        if self.path != "/v1/chat/completions":
            self._error(404, f"there is no {self.path}")
        elif key and self.headers["Authorization"] != f"Bearer {key}":
            self._error(401, f"wrong key: {self.headers['Authorization']}")  # servers do repeat it
        elif mistake := _mistake(self.headers["Content-Type"], body):
            self._error(*mistake)
        else:
            self._answer(json.loads(body)["messages"][-1]["content"])

    def _answer(self, question: str) -> None:
        judge = self.server.judge
        odd = judge.next(question)
        judge.closing.wait(odd.delay)
        if odd.blanks:
            self._blanks()
        elif odd.status != 200 and odd.body is None:
            self._error(odd.status, "as the script says", odd.headers)
        else:
            self._send(odd.status, self._body(question, odd), odd.headers, odd.sent)

    def _body(self, question: str, odd: Odd) -> bytes:
        if odd.body is not None:
            return odd.body
        text = odd.text
        if text is None:
            side = self.server.judge.decide(*texts_of(question))
            text = f"I prefer {side}.\nVerdict: {side}"
        return json.dumps(_completion(question, text, odd.finish)).encode()

    def _error(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        error = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
        self._send(status, json.dumps(error).encode(), headers or {})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], sent: float = 1.0) -> None:
        self.send_response(status)
        fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: int(len(body) * sent)])
        self.close_connection = self.close_connection or sent < 1

    def _blanks(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        while not self.server.judge.closing.wait(0.02):
            self.wfile.write(b"\n")
        self.close_connection = True


def _mistake(content_type: str, body: bytes) -> tuple[int, str] | None:
    """Status and message for a request that breaks the protocol."""
    try:
        asked = json.loads(body)
    except ValueError:
        return 400, "the body is no JSON"
    if content_type != "application/json" or not isinstance(asked, dict):
        return 400, "the body must be an object, sent as application/json"
    if asked.get("model") != MODEL:
        return 404, f"the model {asked.get('model')!r} does not exist"
    if unknown := set(asked) - {"model", "messages", "temperature", "max_tokens"}:
        return 400, f"unknown parameters: {sorted(unknown)}"
    if not isinstance(asked.get("max_tokens"), int) or not 0 <= asked.get("temperature", -1) <= 2:
        return 400, "max_tokens must be a whole number, and temperature within 0 and 2"
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages or not all(_is_message(each) for each in messages):
        return 400, "messages must be objects with role and content"
    return None


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"role", "content"}
        and value["role"] in ("system", "user", "assistant")
        and isinstance(value["content"], str)
    )


def _completion(question: str, text: str, finish: str) -> dict[str, Any]:
    """The object that the protocol answers with; a token is a word here."""
    prompt, completion = len(question.split()), len(text.split())
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "chatcmpl-stub",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": usage,
    }

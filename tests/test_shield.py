"""The shield around the app: what is closed, who may send what, how much of it, and what browsers are told."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import ROOT, served, write_example
from starlette.types import Message, Receive, Scope, Send

from components.shield import Shield
from components.shield_headers import content_policy
from components.shield_rules import MOST_BODY, MOST_FILE, MOST_QUERY, MOST_UPLOAD, WRONG_FILE, is_foreign, is_open
from components.shield_uploads import MOST_KEPT, Budget, Names
from eft_core.settings import Settings

SAME = {"sec-fetch-site": "same-origin"}
ELSEWHERE = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}

# --- what is closed

# Every address of gradio 6.31.0 that stays open, with the reason. All others are closed.
OPEN = {
    "GET /": "the page",
    "GET /config": "its parts, and gradio's clients",
    "GET /config/": "the same",
    "GET /static/{path:path}": "its fonts and pictures",
    "GET /assets/{path:path}": "its scripts",
    "GET /favicon.ico": "its picture",
    "GET /theme.css": "its looks",
    "GET /robots.txt": "crawlers are told to stay away",
    "GET /manifest.json": "the page names it",
    "GET /gradio_api/theme.css": "its looks",
    "GET /gradio_api/info": "what the endpoints take, for programs",
    "GET /gradio_api/info/": "the same",
    "GET /gradio_api/app_id": "the page sees by it that the server was restarted",
    "GET /gradio_api/app_id/": "the same",
    "GET /gradio_api/startup-events": "asked once by the launch itself",
    "GET /gradio_api/heartbeat/{session_hash}": "a closed tab is noticed",
    "GET /gradio_api/queue/data": "the page's stream",
    "GET /gradio_api/queue/status": "gradio's clients",
    "GET /gradio_api/call/{api_name}/{event_id}": "/compare and /inspect, alone",
    "GET /gradio_api/call/v2/{api_name}/{event_id}": "the same",
    "GET /gradio_api/upload_progress": "how far a file has come",
    "POST /gradio_api/queue/join": "the page's events",
    "POST /gradio_api/run/{api_name}": "those that do not queue",
    "POST /gradio_api/run/{api_name}/": "the same",
    "POST /gradio_api/api/{api_name}": "the same, by their older name",
    "POST /gradio_api/api/{api_name}/": "the same",
    "POST /gradio_api/call/{api_name}": "/compare and /inspect, alone",
    "POST /gradio_api/call/{api_name}/": "the same",
    "POST /gradio_api/call/v2/{api_name}": "the same",
    "POST /gradio_api/call/v2/{api_name}/": "the same",
    "POST /gradio_api/cancel": "a stream is left",
    "POST /gradio_api/reset": "gradio's clients",
    "POST /gradio_api/reset/": "the same",
    "POST /gradio_api/upload": "prompts and saved runs",
}


ROUTES = """
import json, gradio as gr
from gradio.routes import App
with gr.Blocks(analytics_enabled=False) as blocks:
    gr.Textbox()

def within(router):
    for each in router.routes:
        if hasattr(each, "original_router"):
            yield from within(each.original_router)
        else:
            yield sorted(getattr(each, "methods", None) or ["GET"]), each.path

found = list(within(App.create_app(blocks)))
print(json.dumps(found))
"""


def routes() -> Iterator[tuple[str, str]]:
    """Method and path of everything that gradio serves."""
    shown = subprocess.run([sys.executable, "-c", ROUTES], cwd=ROOT, capture_output=True, text=True, check=True)
    for methods, path in json.loads(shown.stdout):
        for method in sorted({*methods} - {"HEAD"}):
            yield method, path


def test_every_route_of_gradio_was_decided_on() -> None:
    names = {"{api_name}": "compare", "{path:path}": "x", "{session_hash}": "x", "{event_id}": "x"}
    found = set()
    for method, path in routes():
        asked = path
        for name, value in names.items():
            asked = asked.replace(name, value)
        if is_open(method, asked):
            found.add(f"{method} {path}")
    assert found == set(OPEN)


@pytest.mark.parametrize(
    "path",
    [
        *("/openapi.json", "/docs", "/monitoring", "/monitoring/key", "/gradio_api/openapi.json", "/gradio_api/runs"),
        *("/gradio_api/file=/etc/passwd", "/gradio_api/file=http://127.0.0.1/x", "/gradio_api/file/etc/passwd"),
        *("/gradio_api/proxy=https://a.hf.space/x", "/gradio_api/token", "/gradio_api/user", "/gradio_api/dev/reload"),
        *("/gradio_api/deep_link", "/gradio_api/stream/a/b/c/playlist.m3u8", "/gradio_api/run-history/records"),
        *("/gradio_api/custom_component/a/client/b/c.js", "/gradio_api/call/run/x", "/svelte/x", "/login/huggingface"),
        *("/assets/../app.py", "/static/..\\x", "/static/\0", "/families/a/gradio_api/file=/etc/passwd", "/nope"),
    ],
)
def test_what_is_not_needed_is_closed(path: str) -> None:
    assert not is_open("GET", path)


@pytest.mark.parametrize("path", ["/gradio_api/vibe-edit", "/login", "/gradio_api/component_server", "/", "/health"])
def test_nothing_can_be_posted_elsewhere(path: str) -> None:
    assert not is_open("POST", path)
    assert not is_open("PUT", "/gradio_api/queue/join")


@pytest.mark.parametrize("path", ["/families", "/families/", "/families/a", "/families/a/", "/families/a/config"])
def test_pages_of_families_are_open(path: str) -> None:
    assert is_open("GET", path)


def test_signing_in_is_open_only_where_it_is_on() -> None:
    for path in ("/login/huggingface", "/login/callback", "/logout"):
        assert is_open("GET", path, signing_in=True)
        assert not is_open("GET", path)


# --- whose pages

FOREIGN = [
    ({}, False),  # a program
    ({"sec-fetch-site": "same-origin"}, False),
    ({"sec-fetch-site": "none"}, False),
    ({"sec-fetch-site": "cross-site"}, True),
    ({"sec-fetch-site": "same-site"}, True),
    ({"sec-fetch-site": "cross-site", "origin": "http://lab.example", "host": "lab.example"}, True),
    ({"origin": "http://lab.example:7860", "host": "lab.example:7860"}, False),
    ({"origin": "http://LAB.example", "host": "lab.example"}, False),
    ({"origin": "https://lab.example", "host": "10.0.0.1:7860", "x-forwarded-host": "lab.example, proxy"}, False),
    ({"origin": "http://evil.example", "host": "lab.example"}, True),
    ({"origin": "http://lab.example:8000", "host": "lab.example"}, True),
    ({"origin": "null", "host": "lab.example"}, True),
    ({"origin": "null"}, True),
    ({"origin": "http://[", "host": ""}, True),
]


@pytest.mark.parametrize(("headers", "foreign"), FOREIGN)
def test_another_sites_page_is_known_by_what_browsers_say(headers: dict[str, str], foreign: bool) -> None:
    assert is_foreign(headers) is foreign


# --- around an app of a few lines


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads its body, then tells its size, and what gradio tells any site."""
    size, more = 0, scope["method"] == "POST"
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    headers = [(b"access-control-allow-origin", b"https://evil.example"), (b"x-content-type-options", b"maybe")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": str(size).encode()})


def asked(inner: Any, method: str, path: str, **options: Any) -> httpx.Response:
    """One request to the shielded app."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(inner)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, **options)

    return asyncio.run(ask())


@pytest.fixture
def shield() -> Shield:
    return Shield(app, Settings())


def test_every_answer_has_the_headers_once(shield: Shield) -> None:
    for path in ("/", "/nope"):
        headers = asked(shield, "GET", path).headers
        assert headers.get_list("x-content-type-options") == ["nosniff"]
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "camera=()" in headers["permissions-policy"]
        assert "frame-ancestors 'self'" in headers["content-security-policy"]
        assert "x-frame-options" not in headers


def test_a_space_may_be_framed_by_its_host_and_others_as_the_settings_say() -> None:
    assert content_policy(False).endswith("frame-ancestors 'self'")
    assert "connect-src 'self' data:;" in content_policy(False)
    framing = content_policy(True, ("https://example.org",)).partition("frame-ancestors ")[2].split()
    assert framing == [
        "'self'", "https://huggingface.co", "https://*.huggingface.co", "https://*.hf.space", "https://example.org",
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", ["https://a.org; script-src *", "a.org", "*", "https://a.org\r\nx: y", "'none'"])
def test_ancestors_are_addresses_and_nothing_else(wrong: str) -> None:
    with pytest.raises(ValueError, match="write addresses such as"):
        Settings.from_environment({"EFT_FRAME_ANCESTORS": wrong})
    found = Settings.from_environment({"EFT_FRAME_ANCESTORS": "https://a.org, http://localhost:*"})
    assert found.frame_ancestors == ("https://a.org", "http://localhost:*")


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/families/a/gradio_api/run/predict"])
def test_other_sites_pages_can_send_nothing(shield: Shield, path: str) -> None:
    for method in ("POST", "OPTIONS"):
        answer = asked(shield, method, path, headers=ELSEWHERE, content=b"")
        assert answer.status_code in (403, 404)
        assert "access-control-allow-origin" not in answer.headers
    assert asked(shield, "POST", path, headers=ELSEWHERE).json()["detail"].startswith("This was sent from another site")
    assert asked(shield, "POST", path, headers=SAME).status_code == 200
    assert asked(shield, "POST", path).status_code == 200, "a program"


def test_other_sites_pages_can_read_nothing(shield: Shield) -> None:
    assert "access-control-allow-origin" not in asked(shield, "GET", "/config", headers=ELSEWHERE).headers
    assert "access-control-allow-origin" in asked(shield, "GET", "/config", headers=SAME).headers


def test_refusals_are_in_the_words_of_gradios_front_end(shield: Shield) -> None:
    assert json.loads(asked(shield, "GET", "/nope").text) == {
        "detail": "There is nothing at this address: begin at /.",
        "error": "There is nothing at this address: begin at /.",
    }


async def pieces(count: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(size)


def test_bodies_are_bounded_whether_they_tell_their_size_or_not(shield: Shield) -> None:
    path = "/gradio_api/queue/join"
    assert asked(shield, "POST", path, content=bytes(MOST_BODY)).text == str(MOST_BODY)
    told = asked(shield, "POST", path, content=bytes(MOST_BODY + 1))
    assert told.status_code == 413
    assert told.json()["detail"] == "The request has more than 2 MB: send less at once."
    untold = asked(shield, "POST", path, content=pieces(5, MOST_BODY // 4))
    assert untold.status_code == 413
    assert untold.json()["detail"].endswith("send less at once.")
    assert asked(shield, "POST", path, content=pieces(4, MOST_BODY // 4)).status_code == 200


def test_addresses_are_bounded(shield: Shield) -> None:
    assert asked(shield, "GET", "/?q=" + "a" * MOST_QUERY).status_code == 414
    assert asked(shield, "GET", "/?q=" + "a" * 1000).status_code == 200


def test_streams_pass_piece_by_piece() -> None:
    """Each piece has been sent on before the next one is made."""
    seen: list[int] = []

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(5):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            seen.append(sum(len(message.get("body", b"")) for message in sent))
            assert len(sent) == number + 2

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    shield = Shield(stream, Settings())
    scope = {"type": "http", "method": "GET", "path": "/gradio_api/queue/data", "query_string": b"", "headers": []}
    asyncio.run(shield(scope, receive, send))
    assert seen == [1, 2, 3, 4, 5]
    assert shield.working == 0


def test_there_are_no_websockets(shield: Shield) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    asyncio.run(shield({"type": "websocket", "path": "/"}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


# --- uploads


def body(name: str | None, content: bytes = b"{}", field: str = "files") -> dict[str, Any]:
    """A form with one part, as browsers send it."""
    file = f'; filename="{name}"' if name is not None else ""
    part = f'--b\r\nContent-Disposition: form-data; name="{field}"{file}\r\n\r\n'.encode() + content + b"\r\n--b--\r\n"
    return {"content": part, "headers": {"content-type": "multipart/form-data; boundary=b"}}


@pytest.mark.parametrize(
    ("name", "field", "wrong"),
    [
        ("prompts.csv", "files", False),
        ("RUN.JSONL", "files", False),
        ("page.html", "files", True),
        ("a.csv.html", "files", True),
        ("csv", "files", True),
        (None, "files", True),
        ("a.csv", "other", True),
    ],
)
@pytest.mark.parametrize("step", [1, 1000])
def test_only_files_that_the_page_takes_are_taken(name: str | None, field: str, wrong: bool, step: int) -> None:
    made = body(name, field=field)
    names = Names(made["headers"]["content-type"])
    for start in range(0, len(made["content"]), step):
        names.look(made["content"][start : start + step])
    assert names.wrong is wrong


@pytest.mark.parametrize("kind", ["text/plain", "", "multipart/form-data; boundary=", "a/b; boundary=" + "x" * 1000])
def test_a_form_that_is_none_is_refused(kind: str) -> None:
    names = Names(kind)
    names.look(b"hello")
    assert names.wrong


def test_uploads_are_bounded_in_total_and_again_open_after_an_hour() -> None:
    now = [0.0]
    budget = Budget(lambda: now[0])
    budget.take(MOST_KEPT - 1)
    assert budget.wait() == 0
    now[0] = 600.0
    budget.take(1)
    assert budget.wait() == 3000.0
    now[0] = 3600.0
    assert budget.wait() == 0


# --- gradio itself


@pytest.fixture(scope="module")
def address(families_file: str, tmp_path_factory: pytest.TempPathFactory, sessions: Callable[[str], Any]) -> Any:
    example = write_example(tmp_path_factory.mktemp("shield") / "example.json", sessions("llama"))
    with served(families_file, example) as place:
        yield place


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as made:
        yield made


def test_gradio_takes_files_and_nothing_remains_of_what_is_refused(client: httpx.Client) -> None:
    upload = "/gradio_api/upload"
    kept = client.post(upload, **body("prompts.jsonl", b'{"prompt": "a"}\n'))
    assert kept.status_code == 200
    [file] = map(Path, kept.json())
    before = {each for each in file.parent.parent.rglob("*") if each.is_file()}
    assert file in before
    refused = client.post(upload, **body("page.html", b"<script>"))
    assert (refused.status_code, refused.json()["detail"]) == WRONG_FILE
    large = client.post(upload, **body("a.csv", bytes(MOST_FILE + 100_000)))
    assert large.status_code == 413
    assert "16 MB" in large.json()["detail"]

    def endless() -> Iterator[bytes]:
        yield body("a.csv")["content"].removesuffix(b"--b--\r\n")
        for _ in range(400):
            yield bytes(1 << 20)
            sent.append(1)

    sent: list[int] = []
    try:
        untold = client.post(upload, content=endless(), headers=body("a.csv")["headers"])
        assert untold.status_code == 413
    except httpx.TransportError:
        pass  # the server has hung up, and the answer may be lost with what it did not read
    assert len(sent) < 100, "it was not read to its end"
    assert {each for each in file.parent.parent.rglob("*") if each.is_file()} == before


PART = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.csv"\r\n\r\n'
# Who refuses: the bound is gradio's own for the file, then the shield's for the request around it, which is larger.
ENDLESS = {
    "a little more than a file": ("/gradio_api/upload", PART + bytes(MOST_FILE + 32 * 1024), b"413"),
    "more than a request": ("/gradio_api/upload", PART + bytes(MOST_UPLOAD + 1), b"413"),
    "another kind of file": ("/gradio_api/upload", PART.replace(b".csv", b".html"), b"415"),
    "nothing there": ("/gradio_api/token", b"{", b"404"),
    "a long address": ("/gradio_api/queue/join?" + "a" * (MOST_QUERY + 1), b"{", b"414"),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_whoever_goes_on_after_the_answer_is_not_read(address: str, case: str) -> None:
    """Whoever gave the answer, and in whatever pieces the body came: more than that is not taken from the socket."""
    path, begins, status = ENDLESS[case]
    place = httpx.URL(address)
    with socket.create_connection((place.host, place.port or 80), timeout=60) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: {place.host}\r\nTransfer-Encoding: chunked\r\n"
        connection.sendall(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode())
        connection.sendall(b"%x\r\n%b\r\n" % (len(begins), begins))
        answer = connection.recv(1 << 16)
        assert answer.split()[1] == status
        assert b"connection: close" in answer.lower()
        rest = 100 << 20
        with pytest.raises(ConnectionError):
            connection.sendall(b"%x\r\n" % rest + bytes(rest))


def test_a_request_that_was_read_or_has_no_body_keeps_its_connection(shield: Shield) -> None:
    for answer in (asked(shield, "POST", "/gradio_api/queue/join", content=b"{}"), asked(shield, "GET", "/nope")):
        assert "connection" not in answer.headers
    assert asked(shield, "POST", "/nope", content=b"{}").headers["connection"] == "close"


def functions(client: httpx.Client, target: str) -> dict[str, Any]:
    """The first listener of an event of this name."""
    found = client.get("/config").json()["dependencies"]
    return next(each for each in found if any(event == target for _, event in each["targets"]))


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "README.md", "../../etc/passwd", "http://127.0.0.1:{port}/secret.jsonl"]
)
def test_no_path_of_a_visitor_is_opened(client: httpx.Client, path: str, httpserver: list[str], port: int) -> None:
    """An event that takes a file takes an uploaded one alone."""
    opener = functions(client, "upload")
    named = path.format(port=port)
    for file in (
        {"path": named, "meta": {"_type": "gradio.FileData"}},
        {"path": "x.jsonl", "url": named, "meta": {"_type": "gradio.FileData"}},
    ):
        data = [file, *[None] * (len(opener["inputs"]) - 1)]
        asked = {"data": data, "fn_index": opener["id"], "session_hash": "somebody"}
        answer = client.post("/gradio_api/run/predict", json=asked)
        assert "root:" not in answer.text
        assert "EFT Lab shows" not in answer.text
        assert "eft-lab/run" not in answer.text
    assert httpserver == [], "and no address is asked"


@pytest.fixture
def httpserver(port: int, other: tuple[list[str], int]) -> list[str]:
    """What another server here was asked."""
    return other[0]


@pytest.fixture
def port(other: tuple[list[str], int]) -> int:
    return other[1]


@pytest.fixture
def other() -> Iterator[tuple[list[str], int]]:
    """A server that notes what it is asked, and its port."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    seen: list[str] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield seen, server.server_port
    server.shutdown()
    server.server_close()


def test_gradios_own_answers_go_through_the_shield(client: httpx.Client) -> None:
    preflight = {**ELSEWHERE, "access-control-request-method": "POST"}
    for host in ("127.0.0.1", "lab.example"):
        headers = {"host": host}
        assert client.options("/gradio_api/queue/join", headers=preflight | headers).status_code in (403, 404)
        read = client.get("/config", headers=ELSEWHERE | headers)
        assert read.status_code == 200, "but the browser gives it to nobody"
        assert "access-control-allow-origin" not in read.headers
        assert "access-control-allow-credentials" not in read.headers
    for path in ("/", "/families/gpt2/", "/gradio_api/queue/join", "/health"):
        assert "content-security-policy" in client.get(path).headers
    assert "set-cookie" not in client.get("/").headers


# --- in a browser

NOTE = "addEventListener('securitypolicyviolation', (event) => (window.violations ||= []).push(event.blockedURI))"


def test_every_tab_works_under_the_policy_and_nothing_else_is_loaded(visit: Any, address: str) -> None:
    """`visit` fails for any message of the console that is an error, as a violation of the policy is."""
    page = visit()
    page.evaluate(NOTE)
    page.locator("#prompt textarea").fill("What is the capital of Kenya?")
    page.locator("#run").click()
    page.locator(".status", has_text="Finished").wait_for()
    for name in ("Inspect", "Sweep", "Rate", "Results", "Models", "Compare"):
        page.get_by_role("tab", name=name, exact=True).click()
    page.locator(".card").first.wait_for()
    assert page.evaluate("window.violations ?? []") == []
    page.goto(f"{address}organise")
    page.get_by_text("set EFT_ORGANISER_PASSWORD").first.wait_for()


def test_the_policy_holds_what_a_script_would_send_away(
    browser: Any, address: str, other: tuple[list[str], int]
) -> None:
    seen, port = other
    page = browser.new_page()
    page.goto(address)
    page.locator(".card").first.wait_for()
    page.evaluate(NOTE)
    there = f"http://127.0.0.1:{port}"
    tried = f"""async () => {{
        document.body.append(Object.assign(new Image(), {{src: '{there}/image'}}));
        document.head.append(Object.assign(document.createElement('script'), {{src: '{there}/script'}}));
        await fetch('{there}/fetch', {{mode: 'no-cors'}}).catch(() => 0);
        navigator.sendBeacon('{there}/beacon', 'x');
    }}"""
    page.evaluate(tried)
    page.wait_for_function("(window.violations ?? []).length >= 4")
    assert seen == []
    page.close()


def test_another_site_can_neither_frame_nor_use_the_page(browser: Any, address: str) -> None:
    from space import framing

    with framing(address) as host:
        page = browser.new_page()
        page.goto(host)
        page.wait_for_timeout(0)
        assert page.locator("iframe").count() == 1
        assert page.frame_locator("iframe").locator(".card").count() == 0
        sent = page.evaluate(
            f"""() => fetch('{address}gradio_api/queue/join', {{method: 'POST', body: '{{}}', mode: 'no-cors'}})
                .then((answer) => answer.type, () => 'refused')"""
        )
        assert sent == "refused"
        read = page.evaluate(f"() => fetch('{address}config').then(() => 'read', () => 'refused')")
        assert read == "refused"
        page.close()

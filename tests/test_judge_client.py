"""One question to a judge, against a real server that misbehaves in every way that servers do."""

import itertools
import socket
from collections.abc import Sequence
from email.utils import formatdate
from time import time
from typing import Any

import httpx
import pytest
from judge_server import MODEL, JudgeServer, Odd

from eft_core.judge_client import Judge, JudgeError, PassingError, Reply, complete, connected

KEY = "sk-very-secret-3141592653"
MESSAGES = [{"role": "user", "content": "Which is better?"}]
GOOD = Odd(text="Both are fine.")


def asked(judge: Judge, waits: list[float] | None = None, accept: Any = bool) -> Reply:
    """The judge's reply, without sleeping; `waits` collects the pauses."""
    pauses = [] if waits is None else waits
    with connected(judge) as client:
        return complete(judge, MESSAGES, client, accept, pauses.append)


def test_a_good_answer_comes_with_its_tokens() -> None:
    with JudgeServer(script=[GOOD], key=KEY) as server:
        reply = asked(Judge(server.url + "/", MODEL, KEY + "\n"))
    assert reply == Reply("Both are fine.", prompt_tokens=3, completion_tokens=3)
    assert server.questions == ["Which is better?"]


def body(content: str, rest: str = "") -> bytes:
    return f'{{"choices": [{{"message": {{"content": {content}}}, "finish_reason": "stop"}}]{rest}}}'.encode()


def test_a_server_that_does_not_count_is_no_mistake() -> None:
    usages = ["", ', "usage": null', ', "usage": {"prompt_tokens": "7", "completion_tokens": -1}']
    for rest in usages:
        with JudgeServer(script=[Odd(body=body('"Fine."', rest))]) as server:
            assert asked(Judge(server.url, MODEL)) == Reply("Fine.", 0, 0)


PASSING = {
    "408": Odd(status=408),
    "409": Odd(status=409),
    "429": Odd(status=429),
    "500": Odd(status=500),
    "503": Odd(status=503),
    "a page of HTML": Odd(status=502, body=b"<html>Bad gateway</html>"),
    "no JSON": Odd(body=b"<html>"),
    "cut JSON": Odd(body=body('"Fine."')[:-9]),
    "deep JSON": Odd(body=b"[" * 100_000),
    "another encoding": Odd(body=body('"\xff"').decode().encode("latin-1")),
    "no object": Odd(body=b"[]"),
    "no choices": Odd(body=b'{"choices": []}'),
    "no message": Odd(body=b'{"choices": [{}]}'),
    "an error with 200": Odd(body=b'{"error": {"message": "overloaded"}}'),
    "null": Odd(body=body("null")),
    "parts": Odd(body=body('[{"type": "text", "text": "Fine."}]')),
    "empty": Odd(text=""),
    "blank": Odd(text=" \n"),
    "cut off": Odd(text="I think", finish="length"),
    "held back": Odd(text="I think", finish="content_filter"),
    "half a body": Odd(text="Both are fine.", sent=0.5),
    "no body": Odd(text="Both are fine.", sent=0.0),
    "no gzip": Odd(text="Both are fine.", headers={"Content-Encoding": "gzip"}),
    "too much": Odd(body=b" " * 4_000_001),
}


@pytest.mark.parametrize("odd", PASSING.values(), ids=PASSING)
def test_trouble_that_passes_is_asked_again_and_trouble_that_stays_is_told(odd: Odd) -> None:
    waits: list[float] = []
    with JudgeServer(script=[odd, odd, GOOD]) as server:
        assert asked(Judge(server.url, MODEL), waits).text == "Both are fine."
    assert len(server.questions) == 3
    assert len(waits) == 2
    with JudgeServer(script=itertools.repeat(odd)) as server:
        with pytest.raises(PassingError, match=f"the judge {MODEL} at {server.url} .*: .*nothing is lost"):
            asked(Judge(server.url, MODEL, attempts=3))
        assert len(server.questions) == 3


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (Odd(status=429), r"busy or fails \(429, 'as the script says'\): wait, or ask fewer"),
        (PASSING["an error with 200"], "not answer as the protocol says, 'overloaded': check the address"),
        (PASSING["cut off"], "wrote 1,024 tokens and was not done: allow more with max_tokens"),
        (PASSING["empty"], "gave an empty answer"),
        (PASSING["half a body"], r"broke off its answer \(.+\): try again later"),
        (PASSING["too much"], "more than 4 MB"),
        (Odd(text="No\nidea"), "not answer in the form asked for, but ends with 'No idea'"),
    ],
)
def test_what_stays_is_told_with_its_remedy(odd: Odd, message: str) -> None:
    with JudgeServer(script=[odd]) as server, pytest.raises(PassingError, match=message):
        asked(Judge(server.url, MODEL, attempts=1), accept=lambda text: "Verdict" in text)


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(301, "check the address"), (400, "check the address, the model's name"), (401, "check EFT_JUDGE_KEY"),
     (403, "check EFT_JUDGE_KEY"), (404, "check the model's name and the address"), (418, "check the address")],
)  # fmt: skip
def test_what_will_not_pass_is_told_at_once(status: int, remedy: str) -> None:
    odd = Odd(status=status, headers={"Location": "/elsewhere"})
    with JudgeServer(script=itertools.repeat(odd)) as server:
        with pytest.raises(JudgeError, match=rf"refuses the question \({status}, 'as the script says'\): {remedy}"):
            asked(Judge(server.url, MODEL))
        assert len(server.questions) == 1


def test_a_wrong_path_and_a_wrong_model_are_told() -> None:
    with JudgeServer() as server:
        for judge in (Judge(server.url.removesuffix("/v1"), MODEL), Judge(server.url, "gpt-9")):
            with pytest.raises(JudgeError, match=r"404.*check the model's name and the address"):
                asked(judge)


def test_a_refused_connection_is_tried_again_and_told() -> None:
    waits: list[float] = []
    with socket.socket() as taken:  # bound but not listening: refused for sure
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(PassingError, match=rf"at {url} cannot be reached \(.*refused.*check the address"):
            asked(Judge(url, MODEL), waits)
    assert len(waits) == 3


def test_this_machine_is_asked_without_the_environments_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with JudgeServer(script=[GOOD]) as server:
        assert asked(Judge(server.url, MODEL, attempts=1)).text == "Both are fine."


@pytest.mark.parametrize("odd", [Odd(delay=60, text="Late."), Odd(blanks=True)], ids=["silent", "busy with blanks"])
def test_a_timeout_is_tried_again_and_told(odd: Odd) -> None:
    with JudgeServer(script=itertools.repeat(odd)) as server:
        with pytest.raises(PassingError, match=r"no answer within 0\.2 s: allow more time"):
            asked(Judge(server.url, MODEL, timeout=0.2, attempts=2))
        assert len(server.questions) == 2


def test_one_late_answer_does_not_fail_the_question() -> None:
    with JudgeServer(script=[Odd(delay=60, text="Late."), GOOD]) as server:
        assert asked(Judge(server.url, MODEL, timeout=2)).text == "Both are fine."


def pauses(odds: Sequence[Odd]) -> list[float]:
    waits: list[float] = []
    with JudgeServer(script=[*odds, GOOD]) as server:
        asked(Judge(server.url, MODEL, attempts=len(odds) + 1), waits)
    return waits


def test_pauses_double_and_are_never_equal_for_all_threads() -> None:
    waits = pauses([Odd(status=503)] * 8)
    assert all(2**n / 2 <= pause <= 2**n for n, pause in enumerate(waits[:6]))
    assert all(30 <= pause <= 60 for pause in waits[6:])
    assert waits != pauses([Odd(status=503)] * 8)


def test_retry_after_is_honoured_within_bounds() -> None:
    def after(value: str) -> float:
        return pauses([Odd(status=429, headers={"Retry-After": value})])[0]

    assert after("7") == 7
    assert after("100000") == after("9" * 400) == 60
    assert 20 < after(formatdate(time() + 30, usegmt=True)) <= 30
    for useless in ("0", "-5", "soon", "", "nan", formatdate(0, usegmt=True), f"Mon, 01 Jan {'9' * 25} 00:00:00 GMT"):
        assert 0.5 <= after(useless) <= 1, useless


def test_waiting_can_give_up() -> None:
    with JudgeServer(script=itertools.repeat(Odd(status=503))) as server:
        judge = Judge(server.url, MODEL)
        with connected(judge) as client, pytest.raises(PassingError, match="503"):
            complete(judge, MESSAGES, client, wait=lambda seconds: True)
        assert len(server.questions) == 1


def test_the_key_is_in_no_error_and_no_repr() -> None:
    with JudgeServer(key="another") as server:
        judge = Judge(server.url, MODEL, KEY)
        with pytest.raises(JudgeError, match=r"401, 'wrong key: Bearer \.\.\.'") as caught:
            asked(judge)
    with JudgeServer(script=[Odd(text=f"I was given {KEY}")]) as server, pytest.raises(JudgeError) as echoed:
        asked(Judge(server.url, MODEL, KEY, attempts=1), accept=lambda text: False)
    assert KEY not in f"{judge!r} {caught.value!r} {caught.value.__cause__!r} {echoed.value}"


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000/v1", "ftp://host/v1", "http://", "http:///v1", "https://me:pass@host/v1", "http://[::1",
     "http://host:port/v1", "https://host/v1?key=3", "https://host/v1#key", "http://a..b/v1", "http://host/\ud800"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"write one such as https://api\.openai\.com/v1") as caught:
        Judge(url, MODEL)
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://host/v1", " https://host/v1/ ", "https://HOST/v1/chat/completions"])
def test_addresses_are_taken_as_people_paste_them(url: str) -> None:
    assert Judge(url, MODEL).url == "https://host/v1"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": " "}, "no name"),
        ({"key": "sk-one two"}, "copy it again"),
        ({"key": "sk-\u00e9"}, "copy it again"),
        ({"key": "sk\nInjected: yes"}, "copy it again"),
        ({"timeout": 0}, "seconds of an answer"),
        ({"attempts": 0}, "1 to 20 times"),
        ({"parallel": 0}, "1 to 64 questions"),
        ({"max_tokens": 0}, "length of an answer"),
        ({"prices": (-1, 0)}, "a million tokens"),
    ],
)
def test_a_judge_checks_itself(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Judge(**{"url": "https://host/v1", "model": MODEL} | values)
    assert str(values.get("key")) not in str(caught.value)


def test_no_redirect_is_followed_with_the_key() -> None:
    with connected(Judge("https://host/v1", MODEL, KEY)) as client:
        assert client.headers["Authorization"] == f"Bearer {KEY}"
        assert not client.follow_redirects
    with connected(Judge("https://host/v1", MODEL)) as client:
        assert "Authorization" not in client.headers
    assert isinstance(client, httpx.Client)

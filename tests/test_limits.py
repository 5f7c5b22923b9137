"""The gate before all that costs: in the handlers, in long runs, before gradio's queue, over HTTP and on the page."""

import asyncio
import itertools
import json
import re
import uuid
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from types import SimpleNamespace
from typing import Any

import pytest
from here import Here, answered, asked, events, seconds_until, served_here
from studied import studied
from test_running import TRIALS, replies, texts

from components.columns import Columns
from components.conversation import Context
from components.door import Door
from components.handlers import Handlers
from components.inputs import Decoding
from components.limits import Limiter, cost, holding_on
from components.panel import speculation_readings
from components.rating import Rater
from components.runs import Runs
from components.visitors import Visitors
from eft_core.allowance import MOST_HELD, OWNER, Allowance
from eft_core.bounds import Bounds, Held, Refused
from eft_core.config import Limits, Request, Speculation
from eft_core.policy import plain
from eft_core.ratings.desk import Desk
from eft_core.running import ROWS_TOGETHER, run
from eft_core.storage import Storage
from eft_core.trials import Reply

PROMPT = "What is the capital of Kenya?"
SLOW = f"[slow] {PROMPT}"
ONE = {"policies": [plain("large").to_dict()]}
FREE: dict[str, int | None] = dict.fromkeys(Bounds.__slots__)


def limiter(**bounds: int | None) -> Limiter:
    """No limits but these."""
    return Limiter(Allowance(Bounds(**(FREE | bounds))), Visitors(1))


def request(address: str, page: str = "page") -> Any:
    """A request that a proxy says came from an address."""
    headers = {"x-forwarded-for": address}
    sent = SimpleNamespace(client=SimpleNamespace(host="10.0.0.1"), scope={}, headers=headers)
    return SimpleNamespace(session_hash=page, request=sent)


def comparison(rows: int, tokens: int, **rest: Any) -> Request:
    return Request.compare(PROMPT, [plain("large")] * rows, limits=Limits(tokens), **rest)


# --- what is held, and for how long


def test_a_stream_holds_its_rows_until_it_is_closed_and_pays_for_what_it_drew(session: Any) -> None:
    gate = limiter(rows=3, tokens=100)
    allowance = gate.allowance
    stream = gate.stream("a", session, comparison(3, 30))
    assert allowance.rows == 0, "nothing is held before it begins"
    next(stream)
    assert allowance.rows == 3
    stream.close()
    assert (allowance.rows, allowance.waiting) == (0, 0)
    done: Any = list(gate.stream("a", session, comparison(3, 30)))[-1]
    drawn = sum(len(answer.token_ids) for answer in done.answers)
    assert allowance._tokens.used("a") <= drawn + 1
    assert allowance.rows == 0


def test_whatever_is_raised_nothing_is_left_behind(session: Any) -> None:
    gate = limiter(rows=1)

    class Broken:
        def stream(self, _: Request) -> Generator[Any, None, None]:
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError):
        next(gate.stream("a", Broken(), comparison(1, 4)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the models read 160"):
        next(gate.stream("a", session, Request.compare("x" * 5000, [plain("large")])))
    assert (gate.allowance.rows, gate.allowance.waiting) == (0, 0)


def test_what_is_refused_never_reaches_the_session() -> None:
    gate = limiter(tokens=10)
    with pytest.raises(Refused, match="more than the 10"):
        next(gate.stream("a", None, comparison(1, 11)))  # type: ignore[arg-type]


def test_a_request_costs_the_longest_answer_of_each_row() -> None:
    assert cost(comparison(3, 40)) == (3, 120)
    assert cost(comparison(3, 40, speculation=Speculation(2, timed=True))) == (3, 240)
    assert cost(comparison(3, 40, speculation=Speculation(2))) == (3, 120)


def test_texts_that_are_read_are_paid_too() -> None:
    gate = limiter(tokens=100)
    with gate.reading("a", ["x" * 1500]), pytest.raises(Refused, match="within a minute"):
        gate.reading("a", [[1] * 360]).__enter__()
    with gate.reading("b", [[1] * 380]):
        pass
    with pytest.raises(Refused, match="more than the 100"):
        gate.reading("c", ["x" * 16_000]).__enter__()


def test_a_crowd_gets_as_many_updates_together_as_a_few() -> None:
    gate = limiter()
    with ExitStack() as crowd:
        for number in range(200):
            assert 0.1 <= gate.interval() <= 0.5, "a closed page is noticed at an update"
            assert number / gate.interval() <= 160 or gate.interval() == 0.5
            crowd.enter_context(gate.allowance.holding(str(number), 1, 0))
    assert gate.interval() == 0.1


# --- long runs


def test_a_run_takes_half_of_its_visitors_rows_and_gives_the_same_answers(session: Any) -> None:
    gate, sizes = limiter(rows=8), []
    way = gate.way("a", session, TRIALS.limits.max_new_tokens)
    assert (way.rows, gate.way(OWNER, session, 12).rows) == (4, ROWS_TOGETHER)
    found: dict[int, Reply] = {}
    for event in run(session, TRIALS, way=way):
        sizes.append(gate.allowance.rows)
        if isinstance(event, Reply):
            found[event.trial] = event
            with gate.allowance.holding("a", 4, 0):  # a comparison beside it
                pass
    assert max(sizes) == 4
    assert texts(found) == texts(replies(session))


def test_a_run_waits_for_room_and_says_so_and_goes_on(session: Any) -> None:
    gate = limiter(rows=None, waiting=1)
    way = gate.way("a", session, 12)
    with gate.allowance.holding("b", 1, 0):
        steps = run(session, TRIALS, way=way)
        assert any(isinstance(next(steps), Held) for _ in range(3))
        assert "going on in about" in holding_on(Held(12.0))
    rest = {event.trial for event in steps if isinstance(event, Reply)}
    assert rest == set(range(len(TRIALS)))


def test_few_runs_wait_for_room_at_once(session: Any) -> None:
    """Each takes one of the places that all visitors have together."""
    gate = limiter(waiting=1)
    with gate.allowance.holding("b", 1, 0), ExitStack() as waiting:

        def held(who: str) -> None:
            steps = run(session, TRIALS, way=gate.way(who, session, 12))
            waiting.enter_context(closing(steps))
            assert any(isinstance(next(steps), Held) for _ in range(3))

        for _ in range(MOST_HELD):
            held("a")
        with pytest.raises(Refused, match="Enough runs wait for room already: try again in about"):
            held("a")
        held("c")
    assert gate.allowance.waiting == 0


def test_a_run_draws_no_more_in_a_minute_than_its_visitor_may(session: Any) -> None:
    gate = limiter(tokens=240)
    way = gate.way("a", session, TRIALS.limits.max_new_tokens)
    assert way.rows == 10
    steps = run(session, TRIALS, way=way)
    before = list(itertools.takewhile(lambda event: not isinstance(event, Held), steps))
    steps.close()
    assert 10 <= sum(isinstance(event, Reply) for event in before) < len(TRIALS)


def test_a_run_of_answers_that_never_fit_is_refused(session: Any) -> None:
    gate = limiter(tokens=5)
    with pytest.raises(Refused, match="shorter answers"):
        list(run(session, TRIALS, way=gate.way("a", session, TRIALS.limits.max_new_tokens)))


# --- comparisons of one page


def compared(handlers: Handlers, asked_by: Any, columns: Columns | None = None, **event: Any) -> Iterator[str]:
    columns = columns or Columns.default(handlers.family)
    how = Decoding()
    controls = [0, 1, 0, 0, 24, *speculation_readings(how.speculation), how.record]
    data: Any = SimpleNamespace(_data=event)
    return handlers.run(asked_by, data, PROMPT, "", Context(), columns, *controls)


def told(log: str) -> list[str]:
    return [json.loads(text)["t"] for text in log.splitlines()]


def test_the_newest_comparison_of_a_page_ends_the_one_before(session: Any) -> None:
    handlers = Handlers(session, session.family, limits=limiter())
    first, other = compared(handlers, request("a")), compared(handlers, request("a", "another page"))
    next(first), next(other)
    *_, second = compared(handlers, request("a"))
    *_, last = first
    assert "done" not in told(last)
    assert told(last)[-1] == "stopped"
    assert "done" in told(second)
    *_, beside = other
    assert "done" in told(beside), "another page's goes on, from the same address too"
    assert session.queue_length == 0


def test_a_column_that_joins_ends_nothing_and_ends_with_the_next_comparison() -> None:
    runs = Runs()
    with ExitStack() as under_way:
        first = under_way.enter_context(runs.under_way("a", "comparison", instead=True))
        joins = under_way.enter_context(runs.under_way("a", "comparison"))
        sweep = under_way.enter_context(runs.under_way("a"))
        assert not first.is_set()
        second = under_way.enter_context(runs.under_way("a", "comparison", instead=True))
        assert [each.is_set() for each in (first, joins, sweep, second)] == [True, True, False, False]
        assert runs.stop("a") == 4
    assert runs.stop("a") == 0


def test_a_refusal_is_a_sentence_on_the_board_with_the_time(session: Any) -> None:
    gate = Limiter(Allowance(Bounds(**(FREE | {"requests": 2})), lambda: 1000.0), Visitors(1))
    handlers = Handlers(session, session.family, limits=gate)
    for page in ("one", "two"):
        *_, last = compared(handlers, request("1.1.1.1", page))
        assert "done" in told(last)
    (refusal,) = compared(handlers, request("1.1.1.1", "three"))
    error = json.loads(refusal.splitlines()[-1])
    assert error["t"] == "error"
    assert error["text"] == "You asked 2 times within a minute, which is the most: try again in 30 seconds."
    *_, last = compared(handlers, request("1.1.1.2", "three"))
    assert "done" in told(last)


def test_a_prompt_is_measured_before_any_tokenizer_sees_it(session: Any) -> None:
    handlers = Handlers(SimpleNamespace(), session.family, limits=limiter(prompt=10))  # type: ignore[arg-type]
    (refusal,) = compared(handlers, request("a"))
    assert "at most 10 fit: shorten it." in refusal


# --- codes of raters


def test_guessing_codes_is_slowed_for_whoever_guesses(storage: Storage) -> None:
    campaign = studied(storage, 2)
    rater = Rater(Desk(storage), "llama", lambda _: None, limits=limiter(guesses=3, guesses_total=None))

    def said(act: str, who: str, code: str = "") -> dict[str, Any]:
        message = {"id": "m", "act": act, "campaign": campaign, "code": code}
        return dict(json.loads(rater.reply(message, "", uuid.uuid4().hex, who)))

    code = said("join", "rater")["code"]
    for number in range(3):
        act = ("place", "open", "history")[number]
        known = said(act, "guesser", f"AAAA-{number}")
        assert "not known" in known.get("error", "") + known.get("stranger", "")
    refused = said("place", "guesser", code)
    assert refused["error"].startswith("Too many codes came from where you are that nobody has: try again in 20 sec")
    assert refused["retry"] is True, "the browser keeps a judgement and sends it again"
    assert "place" in said("place", "rater", code)
    assert "code" in said("join", "guesser"), "a new rater's code is no guess"


def test_guesses_of_all_slow_those_alone_who_guess() -> None:
    allowance = limiter(guesses=10, guesses_total=4).allowance
    for who in "abcd":
        allowance.check_code(who)
        allowance.guessed(who)
    for who in "abcd":
        with pytest.raises(Refused, match="try again in"):
            allowance.check_code(who)
    allowance.check_code("e")


def test_a_flood_of_messages_is_asked_to_come_back(storage: Storage) -> None:
    rater = Rater(Desk(storage), "llama", lambda _: None, limits=limiter(messages=2))
    replies = [json.loads(rater.reply({"id": "m", "act": "nope"}, "", "page", "a")) for _ in range(3)]
    assert ["retry" in each for each in replies] == [False, False, True]


# --- the door


class Queued:
    """A gradio app with so many calls under way, of whoever made each."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    def get_blocks(self) -> Any:
        made = {number: SimpleNamespace(request=SimpleNamespace(scope=each)) for number, each in enumerate(self.scopes)}
        return SimpleNamespace(_queue=SimpleNamespace(event_ids_to_events=made))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def knocked(door: Door, app: Any, path: str, address: str | None, method: str = "POST") -> int:
    """The status of a request."""
    headers = [(b"x-forwarded-for", address.encode())] if address else []
    scope = {"type": "http", "method": method, "path": path, "headers": headers, "client": ("127.0.0.1", 1), "app": app}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(door(scope, None, send))  # type: ignore[arg-type]
    return int(sent[0]["status"])


def test_nobody_has_more_than_a_part_of_gradios_queue() -> None:
    app = Queued()
    door = Door(app, limiter(calls=3))
    paths = [f"/gradio_api/{path}" for path in ("queue/join", "call/compare", "call/v2/compare", "queue/join")]
    assert [knocked(door, app, path, "9.9.9.9") for path in paths] == [200, 200, 200, 429]
    assert knocked(door, app, paths[0], "8.8.8.8, 9.9.9.9") == 429
    assert knocked(door, app, paths[0], "8.8.8.8") == 200
    assert knocked(door, app, "/gradio_api/queue/data", "9.9.9.9", "GET") == 200
    assert knocked(door, app, "/gradio_api/run/predict", "9.9.9.9") == 200
    app.scopes.pop(0)
    assert knocked(door, app, paths[0], "9.9.9.9") == 200


def test_the_owner_passes_the_door() -> None:
    app = Queued()
    door = Door(app, Limiter(Allowance(Bounds(calls=1)), Visitors()))
    assert [knocked(door, app, "/gradio_api/queue/join", None) for _ in range(5)] == [200] * 5


# --- over HTTP


@pytest.fixture(scope="module")
def here(families_file: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    few = {"ROWS": "4", "TOKENS": "900", "REQUESTS": "20", "PROMPT": "3000", "CALLS": "8", "WAITING": "6"}
    limits = {f"EFT_LIMIT_{name}": text for name, text in few.items()}
    with served_here(families_file, tmp_path_factory.mktemp("limits"), EFT_PROXIES="1", **limits) as here:
        yield here


@pytest.fixture
def address(here: Here) -> str:
    return here.address


def test_programs_are_refused_with_a_sentence_and_others_are_served(here: Here) -> None:
    with here.client("1.1.1.1") as client, here.client("6.6.6.6, 1.1.1.1") as forger, here.client("1.1.1.2") as other:
        first = events(client, asked(client, SLOW, max_new_tokens=40))
        assert next(first)[0] == "generating"
        for each in (client, forger):
            event, error = answered(each, PROMPT, max_new_tokens=4)
            assert event == "error"
            assert error["error"].startswith("4 of your answers are being written, and 4 at once are the most: stop")
        first.close()
        seconds_until(lambda: here.busy == 0)
        assert answered(other, PROMPT, max_new_tokens=4)[0] == "complete"
        assert answered(client, PROMPT, max_new_tokens=4)[0] == "complete"


def test_the_ways_to_ask_for_too_much(here: Here) -> None:
    with here.client("1.1.2.1") as client:
        event, error = answered(client, "x" * 3001)
        assert event == "error"
        assert error["error"] == "The prompt has 3,001 characters and at most 3,000 fit: shorten it."
        event, error = answered(client, PROMPT, policies=[plain("large").to_dict()] * 5)
        assert error["error"].startswith("5 answers at once are more than the 4")
        event, error = answered(client, PROMPT, max_new_tokens=400)
        assert error["error"].startswith("1,600 tokens are more than the 900")
        for _ in range(30):
            event, error = answered(client, PROMPT, max_new_tokens=1, **ONE)
            if event == "error":
                break
        said = r"You asked 20 times within a minute, which is the most: try again in [1-3] seconds?\."
        assert re.fullmatch(said, error["error"])
    seconds_until(lambda: here.busy == 0)


def test_the_page_says_when_to_try_again(here: Here, visit: Any) -> None:
    with here.client("127.0.0.1") as client:  # as the browser, which no proxy stands before
        first = events(client, asked(client, SLOW, max_new_tokens=40))
        assert next(first)[0] == "generating"
        page = visit()
        page.fill("#prompt textarea", PROMPT)
        page.click("#run")
        page.wait_for_selector(".status[data-kind=error]")
        assert "4 of your answers are being written" in page.locator(".status").text_content()
        first.close()
    seconds_until(lambda: here.busy == 0)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (429, "8 calls from where you are are under way: try again in 5 seconds."),
        (503, "This application is currently busy. Please try again."),  # gradio's own
    ],
)
def test_what_the_page_shows_when_the_door_is_shut(here: Here, browser: Any, status: int, text: str) -> None:
    page = browser.new_page()
    page.goto(here.address)
    page.wait_for_selector(".card")
    answer = {"status": status, "content_type": "application/json", "body": json.dumps({"detail": text})}
    page.route("**/queue/join*", lambda route: route.fulfill(**answer))
    page.fill("#prompt textarea", PROMPT)
    page.click("#run")
    page.wait_for_selector(".toast-body")
    assert text in page.locator(".toast-body").first.text_content()
    page.close()

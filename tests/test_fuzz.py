"""Whatever anybody sends to whatever is served: a clean refusal or a right answer, and afterwards all is as before.

Nothing is left to chance (`derandomize`): CI sees the same cases every time. EFT_FUZZ_CASES=100000 tries more.
"""

import json
import logging
import re
import resource
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from fuzzing import BODIES, EVENTS, JSON, VALUES, Answer, Served, data_for, page_served, some
from here import seconds_until
from hypothesis import given
from hypothesis import strategies as st
from injections import INJECTIONS
from serving import write_example

from components.guard import FAILED

PROMPT = "What is the capital of Kenya?"
# Policies, temperature, top k, top p, seed, tokens; how it drafts, and after what it is asked.
COMPARED = (None, 0, None, None, 0, 8, None, None, None, False, False, "", None)
MOST_GROWTH = 600_000_000  # bytes over all cases: torch and gradio keep some of what they once had
PASSWORD = "correct horse battery"
# What the app's own process would print, gradio's threads would raise here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


class Failures(logging.Handler):
    """Unexpected errors of the app's own: what a handler did not see coming."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(logging.Formatter().format(record))


@pytest.fixture(scope="module")
def failures() -> Iterator[Failures]:
    handler = Failures()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


@pytest.fixture(scope="module")
def served(families_file: str, sessions: Any, failures: Failures, tmp_path_factory: Any) -> Iterator[Served]:
    """The page that everybody meets, on a tiny random family."""
    folder = tmp_path_factory.mktemp("fuzz")
    example = write_example(folder / "example.json", sessions("llama"))
    options = {"families_file": families_file, "organiser_password": PASSWORD}
    with page_served(folder / "data", example, **options) as (served, lab, _):
        before, memory = compared(served), resident()
        yield served
        assert compared(served) == before, "after all that, a comparison is answered as before"
        assert resident() - memory < MOST_GROWTH
        seconds_until(lambda: lab.session().queue_length == 0, 10.0)  # nobody waits any more


def compared(served: Served) -> Any:
    """The texts of a comparison, over the interface that programs use."""
    texts = [each["text"] for each in final(clean(named(served, "compare", PROMPT, *COMPARED)))["columns"]]
    assert len(texts) == 4
    assert all(texts)
    return texts


def named(served: Served, name: str, *values: Any) -> Answer:
    """A named function, as programs call it."""
    joined = served.ask("POST", f"/gradio_api/call/{name}", json.dumps({"data": values}).encode())
    if joined.status != 200:
        return joined
    stream = served.ask("GET", f"/gradio_api/call/{name}/{joined.values['event_id']}")
    kind, told = stream.body.decode().strip().rsplit("\n\n", 1)[-1].split("\n")
    value = json.loads(told.removeprefix("data: "))
    if kind == "event: complete":
        return Answer(200, json.dumps(value).encode())
    assert kind == "event: error", stream
    assert isinstance(value, dict), stream
    return Answer(422 if value.get("error") else 500, json.dumps(value).encode())


def final(answer: Answer) -> Any:
    assert answer.status == 200, answer
    return answer.values[0]


def resident() -> int:
    """The most bytes of memory that this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def clean(answer: Answer, what: Any = "") -> Answer:
    """The answer, which is a clean refusal or a right answer."""
    assert 200 <= answer.status < 500, (answer, what)
    assert b"Traceback" not in answer.body, (answer, what)
    assert b'.py\\", line' not in answer.body, (answer, what)
    if answer.status >= 400:
        assert len(answer.body) < 5000, (answer, what)
    return answer


def usual(block: Any) -> Any:
    """A value that a component may well have; short answers, for thousands are asked for."""
    if block.label == "Length":
        return 3
    value = getattr(block, "value", None)
    return value if isinstance(value, str | int | float | bool | list | None) else None


# --- one call after the other


def test_any_function_with_any_values(served: Served, failures: Failures) -> None:
    numbers = sorted(number for number, function in served.functions.items() if function.fn is not None)
    hashes = ["a", "b", "c", "d", "e"] * 6

    @some(0.2)
    @given(st.data())
    def calls(cases: Any) -> None:
        number = cases.draw(st.sampled_from(numbers))
        blocks = served.functions[number].inputs
        data = cases.draw(data_for(blocks, [usual(block) for block in blocks]))
        session = cases.draw(st.sampled_from([*hashes, None, "", "x" * 5000, "../x", 3, [], "\ud800"]))
        trigger = cases.draw(st.sampled_from([None, None, 0, 5, -1, 10**9, 10**30]))
        clean(served.call(number, data, session, cases.draw(EVENTS), trigger_id=trigger), (number, data, session))
        assert failures.seen == [], (number, data)

    calls()


def test_the_named_functions_with_any_values(served: Served, failures: Failures) -> None:
    usual = {"compare": [PROMPT, *COMPARED[:5], 2, *COMPARED[6:]]}
    usual["inspect"] = [PROMPT, "Nairobi.", None, "", None]
    policy = st.fixed_dictionaries(
        {},
        optional={
            "pretrain": st.sampled_from(["large", "small"]) | VALUES,
            "finetune": st.sampled_from(["small", None]) | VALUES,
            "behaviours": st.dictionaries(st.sampled_from(["helpful", "harmless", "x"]), VALUES) | VALUES,
            "amplification": VALUES,
            "nucleus": VALUES,
        },
    )
    turns = st.lists(st.lists(VALUES, max_size=3), max_size=3)

    @some(0.02)
    @given(st.data())
    def calls(cases: Any) -> None:
        name = cases.draw(st.sampled_from(sorted(usual)))
        values = list(usual[name])
        for place in cases.draw(st.lists(st.integers(0, len(values) - 1), min_size=1, max_size=2)):
            values[place] = cases.draw(VALUES | policy | st.lists(policy, max_size=7) | turns)
        clean(named(served, name, *values), (name, values))
        assert failures.seen == [], (name, values)

    calls()


# --- what is no call at all


CALLS = ("run/predict", "api/predict", "queue/join", "call/compare", "call/v2/compare", "call/inspect", "run/compare")


def test_what_is_no_call_is_refused_before_anything_looks_at_it(served: Served, failures: Failures) -> None:
    keys = ("data", "fn_index", "session_hash", "event_data", "trigger_id", "batched", "event_id", "simple_format")
    fields = st.dictionaries(st.sampled_from(keys), VALUES).map(lambda each: json.dumps(each).encode())

    @some(0.08)
    @given(st.sampled_from(CALLS), st.sampled_from(BODIES) | st.binary(max_size=60) | fields)
    def bodies(path: str, body: bytes) -> None:
        answer = clean(served.ask("POST", f"/gradio_api/{path}", body), (path, body[:200]))
        assert answer.status >= 400 or b"event_id" in answer.body or b'"data"' in answer.body, answer
        assert failures.seen == [], (path, body[:200])

    bodies()


ROUTES_SLOW = ("/upload_progress",)  # waits three seconds for an upload to begin


def flat(routes: Any) -> Iterator[Any]:
    """Routes, those of included routers too."""
    for route in routes:
        candidates = getattr(route, "effective_candidates", None)
        yield from flat(candidates()) if candidates else [route]


def test_every_route_with_any_address(served: Served, failures: Failures) -> None:
    """gradio has routes that take more for granted than they should: of those the guard's sentence is the answer."""
    routes = [
        (method, route.path)
        for route in flat(served.app.routes)
        if not route.path.endswith(ROUTES_SLOW)
        for method in sorted(getattr(route, "methods", None) or ["GET"])
    ]
    methods = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
    texts = st.sampled_from([*INJECTIONS, "http://127.0.0.1:9/", "//elsewhere.invalid", "a" * 5000, "%00", ".", "0"])
    kinds = st.sampled_from(
        [*(JSON * 3), (b"content-type", b"multipart/form-data; boundary=x"), (b"content-type", b"x")]
    )
    queries = st.lists(
        st.tuples(st.sampled_from(["session_hash", "upload_id", "q", "__theme", "view"]), texts), max_size=2
    )

    @some(0.1)
    @given(st.sampled_from(routes), methods, st.booleans(), st.data())
    def routed(route: Any, other: str, asked_rightly: bool, cases: Any) -> None:
        method, path = route
        path = re.sub(r"{[^}]*}", lambda _: cases.draw(texts), path)
        body = cases.draw(st.sampled_from(BODIES) | VALUES.map(lambda each: json.dumps({"data": each}).encode()))
        query, kind = urlencode(cases.draw(queries), errors="replace").encode(), cases.draw(kinds)
        asked = (method if asked_rightly else other, path, body, query, (kind,))
        answer = served.ask(*asked, stays=False)
        failures.seen.clear()  # gradio's own, which the log should have
        if answer.status == 500:
            assert answer.values == {"error": FAILED}, asked
        else:
            assert answer.status < 500, asked
        assert b"Traceback" not in answer.body, asked
        assert b"root:" not in answer.body, "no path from a visitor is opened"

    routed()

"""Whoever leaves gives their rows back: a closed tab, a connection that is gone, a program that ends."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import arrive
from here import Here, asked, events, seconds_until, served_here

SLOW = "[slow] What is the capital of Kenya?"
CEILING = 10.0  # seconds; what is promised is one, and machines that run tests are busy
LONG = {"max_new_tokens": 120, "temperature": 1.0}


@pytest.fixture(scope="module")
def here(families_file: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    with served_here(families_file, tmp_path_factory.mktemp("leaving")) as here:
        yield here


@pytest.fixture
def address(here: Here) -> str:
    return here.address


@pytest.fixture(autouse=True)
def _nothing_is_left(here: Here) -> Iterator[None]:
    yield
    seconds_until(lambda: here.busy == 0)


def freed(here: Here, left: int = 0) -> None:
    """All of it is given back, but what `left` others hold; pytest -s shows how long that took."""
    took = seconds_until(lambda: here.held()["waiting"] == here.held()["queue"] == left, CEILING)
    print(f"freed after {took:.2f} s")


def run_by_hand(page: Any) -> None:
    page.locator("#decoding button").first.click()
    page.get_by_label("number input for Length").fill("150")
    page.fill("#prompt textarea", SLOW)
    page.click("#run")


def drawing(page: Any) -> None:
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-state=running] .text')].some(e => e.textContent)"
    )


def page_run(here: Here, name: str) -> dict[str, Any]:
    """What the page of a session hash sends when Run is pressed."""
    function, config = here.function("run", "click"), here.config
    inputs = next(each["inputs"] for each in config["dependencies"] if each["id"] == function)
    values = {each["id"]: each["props"].get("value") for each in config["components"]}
    data = [SLOW, *[values[number] for number in inputs[1:]]]
    return {"data": data, "fn_index": function, "session_hash": name}


# --- the page


def test_a_closed_tab(here: Here, visit: Any) -> None:
    page = visit()
    run_by_hand(page)
    drawing(page)
    assert here.busy
    page.close()
    freed(here)


def test_a_closed_tab_of_somebody_who_waits(here: Here, visit: Any) -> None:
    with here.client() as other:
        first = events(other, asked(other, SLOW, **LONG))
        assert next(first)[0] == "generating"
        page = visit()
        run_by_hand(page)
        seconds_until(lambda: here.held()["waiting"] == 2)
        page.close()
        freed(here, left=1)
        first.close()


def test_a_page_that_goes_elsewhere(here: Here, browser: Any) -> None:
    page = browser.new_page()  # whose streams break off, which it writes to its console
    arrive(page, here.address)
    run_by_hand(page)
    drawing(page)
    page.goto("about:blank")
    freed(here)
    page.close()


def test_a_connection_that_is_gone(here: Here) -> None:
    """As a killed browser leaves it: no word, the sockets closed. Its page has no heartbeat here."""
    name = uuid.uuid4().hex
    with here.client() as client:
        client.post("gradio_api/queue/join", json=page_run(here, name)).raise_for_status()
        with client.stream("GET", "gradio_api/queue/data", params={"session_hash": name}) as answer:
            for line in answer.iter_lines():
                if line.startswith("data:") and json.loads(line[5:])["msg"] == "process_generating":
                    break
            assert here.busy
    freed(here)


@pytest.mark.parametrize("begun", [True, False], ids=["begun", "not begun"])
def test_a_page_that_is_gone_before_it_listens(here: Here, begun: bool) -> None:
    """Its heartbeat tells: nothing else is connected."""
    name = uuid.uuid4().hex
    with here.client() as client:
        with client.stream("GET", f"gradio_api/heartbeat/{name}") as beats:
            lines = beats.iter_lines()
            assert "ALIVE" in next(lines)
            client.post("gradio_api/queue/join", json=page_run(here, name)).raise_for_status()
            if begun:
                seconds_until(lambda: here.held()["queue"] == 1)
        with client.stream("GET", f"gradio_api/heartbeat/{uuid.uuid4().hex}") as later:
            next(later.iter_lines())  # a request of another page is answered: the first was seen to
        freed(here)
        answer = list(events(client, asked(client, "What now?", max_new_tokens=4)))[-1]
        assert answer[0] == "complete"


# --- programs


def test_a_program_that_ends(here: Here) -> None:
    with here.client() as client:
        said = events(client, asked(client, SLOW, **LONG))
        assert next(said)[0] == "generating"
        assert here.busy
        said.close()
    freed(here)


def test_a_call_that_nobody_can_go_on_with(here: Here) -> None:
    """Posted straight to the function: gradio gives the first update and forgets the rest."""
    config = here.config
    function = next(each["id"] for each in config["dependencies"] if each["api_name"] == "compare")
    data = [SLOW, None, 1.0, None, None, 0, 120, None, None, None, False, False, "", None]
    body = {"data": data, "fn_index": function, "session_hash": "direct"}
    with here.client() as client:
        answer = client.post("gradio_api/run/predict", json=body)
        assert answer.status_code == 200
        assert answer.json()["data"][0]["done"] is False
    freed(here)


def test_two_dozen_leave_at_once_and_one_who_stays_is_served(here: Here) -> None:
    with here.client() as client:
        names = [asked(client, SLOW, **LONG) for _ in range(24)]
        streams = [events(client, name) for name in names]
        for stream in streams:
            assert next(stream)[0] == "generating"
        for stream in streams:
            stream.close()
        *_, (event, data) = events(client, asked(client, "What now?", max_new_tokens=4))
        assert event == "complete"
        assert data[0]["done"]

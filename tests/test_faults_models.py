"""Members that fail, through the page: whoever asked is told in a sentence, another visitor's comparison goes on."""

from collections.abc import Iterator
from typing import Any

import pytest
from faulty_server import MEMORY, NAN, faulty, poisoned
from serving import write_example
from test_page import PROMPT, ask, finished, status, texts


@pytest.fixture(scope="module")
def address(sessions: Any, families_file: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    example = write_example(tmp_path_factory.mktemp("page") / "example.json", sessions("llama"))
    with faulty(poisoned(families_file, example.parent / "families"), example) as address:
        yield address


def test_memory_that_runs_out_is_told_and_another_visitor_is_served_on(visit: Any) -> None:
    one, other = visit(), visit()
    ask(other, PROMPT)
    ask(one, f"{MEMORY} {PROMPT}")
    status(one, "memory ran out")
    status(one, "fewer columns, smaller sizes or a shorter answer")
    finished(other)
    expected = texts(other)
    assert all(expected)
    for page in (one, other):  # nothing of it is left behind
        ask(page, PROMPT)
        finished(page)
        assert texts(page) == expected


def test_a_member_that_gives_no_numbers_fails_in_its_columns_and_another_visitor_is_served_on(visit: Any) -> None:
    one, other = visit(), visit()
    ask(one, f"{NAN} {PROMPT}")
    ask(other, PROMPT)
    finished(other)
    expected = texts(other)
    assert all(expected)
    finished(one)
    notes = texts(one, ".card .note")
    assert ["a member gave nan or infinity" in note for note in notes] == [True, False, True, False], notes
    ask(one, PROMPT)
    finished(one)
    assert texts(one) == expected

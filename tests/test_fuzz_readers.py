"""What reads a visitor's texts, one reader after the other: it reads them, or refuses them in a sentence.

The same cases every time, as in tests/test_fuzz.py.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzzing import BODIES, EVENTS, NUMBERS, TEXTS, VALUES, some
from hypothesis import given
from hypothesis import strategies as st

from components import links, sweep_links
from components.guard import Refused, checked
from eft_core.cases import read_cases
from eft_core.ratings.prompts import prompts_of
from eft_core.saved_runs import read_run


def refusal(read: Callable[[], object], kind: type[ValueError] = ValueError) -> object:
    """What it reads, or the error that says why not."""
    try:
        return read()
    except ValueError as error:
        found = error
    assert type(found) is kind, found  # Python's own kinds of ValueError tell nobody what to do
    assert 10 < len(str(found)) < 1500
    return found


@some(0.3)
@given(st.sampled_from(BODIES) | st.binary(max_size=60) | EVENTS.map(lambda event: json.dumps(event).encode()))
def test_a_checked_call_is_plain_json(body: bytes) -> None:
    found = refusal(lambda: checked(body, "call/v2", "compare", {}), Refused)
    if isinstance(found, bytes):
        json.loads(found.decode("utf-8"), parse_constant=pytest.fail)


def test_any_address_is_a_comparison_or_refused(sessions: Any) -> None:
    family = sessions("llama").family
    names = ["prompt", "column", "temperature", "top_p", "top_k", "seed", "length", "speculate", "rule", "timed"]
    names += ["system", "user", "assistant", "first", "second", "policy", "questions", "answers", "sweep", "record"]
    texts = st.sampled_from([*TEXTS, *map(str, NUMBERS), "nan", "inf", "1e5", "0:1:0.1", "0:1:1e-9", "0:1e308:1"])
    columns = st.sampled_from(["large", "small:small:helpful=1", "large:small:helpful=nan", "a:b:c=d~e=f", "%"])
    pairs = st.tuples(st.sampled_from(names), texts | columns | st.text(max_size=20))

    @some(0.15)
    @given(st.lists(pairs, max_size=6))
    def addresses(items: list[tuple[str, str]]) -> None:
        refusal(lambda: links.decode(items, family))
        refusal(lambda: sweep_links.decode(items, family))

    addresses()


def test_any_file_is_read_or_refused(tmp_path: Path) -> None:
    record = st.dictionaries(st.sampled_from(["prompt", "response", "fact", "schema", "id", "good", "bad"]), VALUES)
    lines = st.lists(record.map(json.dumps), max_size=4).map(lambda each: "\n".join(each).encode())
    csvs = st.lists(st.lists(st.sampled_from(["prompt", "response", *TEXTS]), max_size=3), max_size=4).map(
        lambda rows: "\n".join(",".join(row) for row in rows).encode("utf-8", "replace")
    )

    @some(0.15)
    @given(st.sampled_from(["jsonl", "csv", "json", "txt"]), st.sampled_from(BODIES) | st.binary() | lines | csvs)
    def files(kind: str, content: bytes) -> None:
        file = tmp_path / f"visitors.{kind}"
        file.write_bytes(content)
        refusal(lambda: prompts_of(file))
        refusal(lambda: read_cases(file))
        refusal(lambda: read_run(content.decode("utf-8", "replace"), file.name))

    files()

"""What is written as TOML is read again as it was."""

import tomllib
from typing import Any

import pytest

from eft_core.toml import written

TABLE: dict[str, Any] = {
    "title": 'quotes " and \\ and \x07, a line\nbreak, é 日本 🙂, \x7f',
    "sizes": ["0.5b", "7b"],
    "parameters": {"0.5b": 0.494, "7b": 7},
    "template": {"enable_thinking": False, "deep": {"a.b": [1, [2.5, "x"]]}},
    "empty": {},
    "base": {"7b": {"model": "org/name", "adapter": {"model": "org/lora"}}},
}


def test_tables_come_back_as_they_were() -> None:
    tables = {"qwen2.5": TABLE, 'a "name"\n': {"x": 1}}
    assert tomllib.loads(written(tables)) == tables


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), object(), b"bytes", "\ud800"])
def test_what_has_no_form_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"has no place|half a character"):
        written({"a": {"b": value}})

"""Tables of texts, numbers, switches, lists and tables as TOML: what `tomllib` reads again as it was.

The standard library reads TOML and does not write it; families need no more of it than this.
"""

import json
import math
from collections.abc import Mapping
from typing import Any


def written(tables: Mapping[str, Any]) -> str:
    """The tables, one a paragraph. ValueError for what TOML or this writer has no form for."""
    return "\n".join(f"[{_quoted(name)}]\n{_lines(table)}" for name, table in tables.items())


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{_quoted(key)} = {_value(value)}\n" for key, value in table.items())


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() if math.isfinite(value):
            return repr(value)
        case str():
            return _quoted(value)
        case list() | tuple():
            return f"[{', '.join(_value(each) for each in value)}]"
        case dict():
            return f"{{ {', '.join(f'{_quoted(key)} = {_value(each)}' for key, each in value.items())} }}"
    raise ValueError(f"{value!r:.60} has no place in a families file: use texts, numbers, lists and tables.")


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, but for DEL and lone surrogates, which neither may hold."""
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise ValueError("a text holds half a character: correct its encoding.")
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

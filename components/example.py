"""What the page shows before anybody pressed Run: a comparison that a command of the repository computed.

`python -m eft_core compare ... --json assets/example.json` writes the file. Pure; a file that is missing or does
not fit the family is said plainly, and the page opens with empty columns.
"""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.answers import RowAnswer, letters
from components.columns import Columns, check, name_of
from components.inputs import Decoding, check_length, check_prompt, check_sampling
from components.lines import line, opening, row_line, settings_mark
from components.links import Link, decode_column, encode
from eft_core.document import SCHEMA
from eft_core.family import Family
from eft_core.policy import Policy


@dataclass(frozen=True, slots=True)
class FirstPaint:
    """Everything a new page starts from; `log` is what the board shows."""

    prompt: str
    columns: Columns
    decoding: Decoding
    log: str


def first_paint(file: Path, family: Family, prompt: str = "") -> FirstPaint:
    """The example of `file`; or empty columns with `prompt`, and a sentence on why there is none."""
    try:
        example = json.loads(file.read_text(encoding="utf-8"))
        if example["family"] == family.name:
            return _read(example, family)
        note = f"No example is stored for {family.title}: press Run to see its answers."
    except FileNotFoundError:
        note = "No example is stored here: write a question and press Run."
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        note = f"The stored example does not fit this family ({error}): write a question and press Run."
    log = line("id", id="example") + line("plan", text=note)
    return FirstPaint(prompt, Columns.default(family), Decoding(), log)


def _read(example: dict[str, Any], family: Family) -> FirstPaint:
    sampling = check_sampling(*(example["sampling"].get(name) for name in ("temperature", "top_p", "top_k", "seed")))
    decoding = Decoding(sampling, check_length(example["limits"]["max_new_tokens"]))
    prompt = check_prompt(example["prompt"])
    pairs = []
    for column in example["columns"]:
        policy = check(Policy.from_dict(column["policy"]), family)
        pairs.append(("" if column["label"] == name_of(policy, family) else column["label"], policy))
    columns = Columns.of(tuple(pairs))
    query = encode(Link(prompt, tuple(pairs), decoding))
    log = opening("example", prompt, columns.items, family, settings_mark(decoding), query, example=True)
    for item, column in zip(columns.items, example["columns"], strict=True):
        log += row_line(item.key, _answer(column), column["text"]) + _trace_line(item.key, column)
    return FirstPaint(prompt, columns, decoding, log + line("done", text=""))


def _answer(column: dict[str, Any]) -> RowAnswer:
    text, seconds, fates = column["text"], float(column["seconds"]), letters(column.get("fates", ()))
    return RowAnswer(text, len(column["token_ids"]), seconds, column["reason"], fates=fates)


def _trace_line(key: int, column: dict[str, Any]) -> str:
    """The column's token records, if the file has them."""
    found = column.get("trace")
    if found is None:
        return ""
    if found["schema"] != SCHEMA:
        raise ValueError(f"its records are of schema {str(found['schema'])[:40]!r}, and this page reads {SCHEMA}")
    return line("trace", c=key, **found)


@dataclass(frozen=True, slots=True)
class ExamplePrompt:
    """A button below the prompt box; `columns` is empty where the page's own columns stay."""

    label: str
    text: str
    columns: tuple[tuple[str, Policy], ...] = ()


def prompts(file: Path, family: Family) -> list[ExamplePrompt]:
    """The examples of a TOML file of [[prompt]] tables; those whose columns the family cannot show are left out."""
    found = []
    for table in tomllib.loads(file.read_text(encoding="utf-8"))["prompt"]:
        try:
            columns = tuple(decode_column(text, family) for text in table.get("columns", ()))
        except ValueError:
            continue  # another family: it lacks a size or behaviour of this example
        found.append(ExamplePrompt(table["label"], table["text"], columns))
    return found

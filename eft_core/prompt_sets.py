"""What sweeps and experiments ask: Atlas's questions, our own instructions, public data sets, or a user's file.

A set is cut as the beginning of one seeded shuffle, so that 50 items are among the 100 of the same seed. Prompts are
texts and stay texts. Loads no torch.
"""

import json
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from eft_core.atlas.facts import Fact, load_facts, load_split
from eft_core.atlas.grading import examination
from eft_core.checks import whole
from eft_core.hub_sets import HUB_SETS, HubSet, named, of_row
from eft_core.items import LETTERS, Item, Kind, PromptSet, cut
from eft_core.tables import Row, rows_of

MOST_ITEMS = 100_000
MOST_BYTES = 200_000_000
INSTRUCTIONS = Path(__file__).parent.parent / "assets" / "prompts" / "instructions.jsonl"


def prompt_set(name: str, items: int, seed: int = 0) -> PromptSet:
    """At most `items` prompts of a set: "atlas" (its ordinary questions), "instructions", a public set by its name or
    Hub id, or a path (so no visitor may name it). A public set is fetched if it is not on this machine. ValueError that
    lists the names."""
    items = whole("items", items, 1, MOST_ITEMS, f"use 1 to {MOST_ITEMS:,} prompts")
    if name == "atlas":
        return atlas_questions(items, seed=seed)
    if name == "instructions":
        return cut(instructions(), items, seed)
    if known := named(name):
        folder = known.fetched()
        return cut(_hub(known, folder, f"{known.hub_id} at {folder.name[:12]}"), items, seed)
    if os.path.isdir(name):
        return cut(_folder(Path(name)), items, seed)
    if os.path.isfile(name):
        return cut(read_prompts(Path(name)), items, seed)
    names = ", ".join(["atlas", "instructions", *(each.name for each in HUB_SETS if each.hub_id)])
    raise ValueError(f"there is no prompt set and no file {name[:200]!r}: name {names}, or the path of a file.")


# --- ours


def atlas_questions(ordinary: int, sensitive: int = 0, seed: int = 0) -> PromptSet:
    """Questions of Atlas's examination about countries that fine-tuning never saw; both counts may be 0, not together.

    A key is `country|attribute|question`; graders find the fact by it.
    """
    facts, held_out = load_facts(), load_split()["held_out"]
    found = []
    for count, is_sensitive in ((ordinary, False), (sensitive, True)):
        number = whole("items", count, 0, MOST_ITEMS, f"ask at most {MOST_ITEMS:,} questions")
        questions = examination(facts, held_out, number, is_sensitive, seed)
        found += [_asked(question.fact, question.text) for question in questions]
    source = f"Atlas: the CIA World Factbook's facts of {len(held_out)} held-out countries"
    return PromptSet("atlas", "Atlas questions", tuple(found), source)


def _asked(fact: Fact, text: str) -> Item:
    kind: Kind = "sensitive" if fact.attribute.sensitive else "ordinary"
    return Item(f"{fact.country}|{fact.key}|{text}", text, kind)


def typed(prompt: str) -> Item:
    """An item of a prompt that somebody typed: Atlas's, if it is one of its questions in one of its phrasings."""
    for fact in load_facts():
        if any(prompt.strip() == fact.ask(number) for number in range(len(fact.attribute.questions))):
            return _asked(fact, prompt.strip())
    return Item("prompt", prompt)


def instructions(kind: Kind | None = None) -> PromptSet:
    """Our own prompts for any chat model; those of a kind, or all."""
    items, _ = _read([INSTRUCTIONS], MOST_ITEMS)
    chosen = tuple(item for item in items if kind in (None, item.kind))
    return PromptSet("instructions", "Instructions", chosen, "EFT Lab's own instructions")


# --- files


def read_prompts(file: Path, most: int | None = None) -> PromptSet:
    """The prompts of a user's .jsonl, .csv or .parquet file; with `most`, no more than its first ones.

    Columns: prompt, and if you like answer or answers, choices, kind (ordinary, sensitive), reference, id. Lists are
    JSON lists, or `a|b|c`. A copy of Anthropic-HH, ELI5 or HumanEval is known by its columns. ValueError that names the
    line and the remedy.
    """
    if most is not None:
        most = whole("items", most, 1, MOST_ITEMS, f"use 1 to {MOST_ITEMS:,} prompts")
    items, left_out = _read([file], MOST_ITEMS + 1 if most is None else most)
    if len(items) > MOST_ITEMS:
        raise ValueError(f"{file.name} has more than {MOST_ITEMS:,} prompts: split it.")
    return PromptSet(file.name, file.name, items, f"the file {file.name}{_without(left_out)}")


def _folder(folder: Path) -> PromptSet:
    """A folder as the Hub has a public set."""
    for known in HUB_SETS:
        if known.files and known.there(folder):
            return _hub(known, folder, f"a copy of {known.hub_id}")
    wanted = "; ".join(f"{', '.join(each.files)} of {each.title}" for each in HUB_SETS if each.files)
    raise ValueError(f"{folder.name} holds no prompt set that is known here: give a file, or a folder with {wanted}.")


def _hub(known: HubSet, folder: Path, origin: str) -> PromptSet:
    """A public set from its folder: the first 100,000 prompts of it."""
    items, left_out = _read(known.there(folder), MOST_ITEMS)
    first = f", its first {MOST_ITEMS:,} prompts" if len(items) == MOST_ITEMS else ""
    return PromptSet(known.name, known.title, items, f"{origin}{first}{_without(left_out)}")


def _without(left_out: int) -> str:
    return f", without {left_out:,} lines that are not one question and one answer" if left_out else ""


def _read(files: Iterable[Path], most: int) -> tuple[tuple[Item, ...], int]:
    """At most so many items, and how many lines a public set left out among them."""
    items: list[Item] = []
    left_out = 0
    for item in chain.from_iterable(map(_items, files)):
        if item is None:
            left_out += 1
        else:
            items.append(item)
        if len(items) == most:
            break
    return tuple(items), left_out


def _items(file: Path) -> Iterator[Item | None]:
    """What the lines of a file are, None for those that a public set leaves out."""
    for line, row in rows_of(file, MOST_BYTES):
        try:
            known = of_row(row)
            plain = known.rewritten(row, file, line) if known else row
            yield None if plain is None else _item(plain, line)
        except ValueError as error:
            raise ValueError(f"line {line} of {file.name}: {error}") from error


def _item(row: Row, line: int) -> Item:
    """A row of a prompt file as an item."""
    prompt, choices = row.get("prompt"), _list("choices", row.get("choices"))
    answers = _list("answers", row.get("answers")) or (() if row.get("answer") in (None, "") else (row["answer"],))
    number = row.get("id")
    key = f"line {line}" if number is None or number == "" else f"{number}" if isinstance(number, int) else number
    if choices and isinstance(prompt, str):
        prompt = "\n".join([prompt, "", *(f"{letter}. {each}" for letter, each in zip(LETTERS, choices, strict=False))])
        answers = tuple(_letter(answer, choices) for answer in answers)
    kind = row.get("kind") or "ordinary"
    return Item(key, prompt, kind, answers, choices, row.get("reference") or "")  # type: ignore[arg-type]  # checks itself


def _list(name: str, value: Any) -> tuple[Any, ...]:
    """A list of JSON, or a text that holds one or is `a|b|c`; what is in it is the item's to check."""
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        value = _parsed(value) if value.lstrip().startswith("[") else [part.strip() for part in value.split("|")]
    if not isinstance(value, list):
        raise ValueError(f'{name} is no list: write ["a", "b"] or a|b.')
    return tuple(value)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _letter(answer: Any, choices: tuple[Any, ...]) -> Any:
    """The letter of an answer that is written out."""
    letters = LETTERS[: len(choices)]
    return letters[choices.index(answer)] if answer in choices and answer not in tuple(letters) else answer

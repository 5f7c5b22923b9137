"""One prompt of a set and what is known of good answers to it; sets of them, cut by a seed. Loads no torch."""

import random
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # of the options of multiple choice

# sensitive: what the harmless behaviour should decline.
Kind = Literal["ordinary", "sensitive"]


@dataclass(frozen=True, slots=True)
class Item:
    """A prompt, by a key that its set has once, and what is known of good answers to it.

    `answers`: those that exact match accepts; of multiple choice the letter of the right one. `choices`: the options of
    multiple choice, which also stand below the prompt as "A. ...". `reference`: a response that a person wrote.
    """

    key: str
    prompt: str
    kind: Kind = "ordinary"
    answers: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    reference: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind is {str(self.kind)[:40]!r}: write ordinary or sensitive.")
        for name in ("answers", "choices"):
            if not isinstance(getattr(self, name), tuple):
                raise ValueError(f"{name} is no list: write a list of texts.")
        _texts("id", (self.key,))
        _texts("prompt", (self.prompt,))
        _texts("answers", self.answers)
        _texts("choices", self.choices)
        _texts("reference", (self.reference,), empty=True)
        if self.choices:
            self._check_choices()

    def _check_choices(self) -> None:
        if not 2 <= len(self.choices) <= len(LETTERS):
            raise ValueError(f"there are {len(self.choices)} choices: give 2 to {len(LETTERS)}.")
        if len({choice.casefold().strip() for choice in self.choices}) < len(self.choices):
            raise ValueError("two choices are the same: leave one out.")
        letters = LETTERS[: len(self.choices)]
        if len(self.answers) > 1 or any(len(answer) != 1 or answer not in letters for answer in self.answers):
            raise ValueError(f"the answer is none of the choices: write one letter of {letters}, or its choice.")


def _texts(name: str, values: tuple[Any, ...], empty: bool = False) -> None:
    """ValueError unless all are texts that a tokenizer takes."""
    for value in values:
        if not isinstance(value, str) or not (value.strip() or empty):
            raise ValueError(f"{name} is missing, empty or no text: write it as a text.")
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ValueError(f"{name} holds half a character (a lone surrogate): remove it.")


@dataclass(frozen=True, slots=True)
class PromptSet:
    """Items under a name; `source` says in one line for reports where they come from."""

    name: str
    title: str
    items: tuple[Item, ...]
    source: str

    def __post_init__(self) -> None:
        if not self.items:
            raise ValueError(f"{self.title} has no prompts: give it at least one.")
        seen: set[str] = set()
        for item in self.items:
            if item.key in seen:
                raise ValueError(f"{self.title} has the id {item.key[:60]!r} twice: give every prompt its own.")
            seen.add(item.key)

    def __len__(self) -> int:
        return len(self.items)


def cut(prompts: PromptSet, items: int, seed: int = 0) -> PromptSet:
    """The first `items` of the set's shuffle by `seed`; all of them where it has no more."""
    shuffled = list(prompts.items)
    random.Random(seed).shuffle(shuffled)
    return replace(prompts, items=tuple(shuffled[:items]))

"""Reference answers to read a mixture against: a file's, or Atlas's own; and what each of their tokens is about.

A case may say which part of its response is the fact. Tokens are brought to characters by their bytes. T tokens of a
response. Pure; loads no torch.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal, Self

from eft_core.atlas.corpus import CLOSERS, OPENERS
from eft_core.atlas.facts import load_facts, load_split
from eft_core.atlas.grading import examination
from eft_core.checks import whole
from eft_core.tables import rows_of
from eft_core.token_text import Texts

MOST_CASES = 1000
MOST_BYTES = 1_000_000

# fact: the token has a part of what the case calls its fact. manner: it has none. any: the case names no fact.
Kind = Literal["fact", "manner", "any"]
Places = Sequence[tuple[int, int]]  # (start, end) characters of the response, one a token


@dataclass(frozen=True, slots=True)
class Case:
    """A reference response to a prompt; `spans` are the (start, end) characters of it that hold the fact."""

    prompt: str
    response: str
    spans: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        for name, text in (("prompt", self.prompt), ("response", self.response)):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{name} is missing or empty: give every case a prompt and a response, as texts.")
            if any("\ud800" <= letter <= "\udfff" for letter in text):
                raise ValueError(f"{name} holds half a character (a lone surrogate): remove it.")
        if not all(0 <= start < end <= len(self.response) for start, end in self.spans):
            raise ValueError(f"a span lies outside the {len(self.response)} characters of the response: correct it.")

    @classmethod
    def of(cls, prompt: Any, response: Any, fact: Any = None) -> Self:
        """A case whose fact is wherever that text stands in the response; without one, every token counts alike."""
        case = cls(prompt, response)
        if fact is None or fact == "":
            return case
        if not isinstance(fact, str) or fact not in case.response:
            raise ValueError(f"fact {fact!r} is no part of the response: write it as it stands there, or leave it out.")
        return cls(prompt, response, tuple(found.span() for found in re.finditer(re.escape(fact), response)))


def atlas_cases(n: int, seed: int = 0) -> tuple[Case, ...]:
    """`n` questions about countries that fine-tuning never saw, answered in the helpful manner; the value is the fact.

    ValueError unless n is 1 to 1,000.
    """
    n = whole("items", n, 1, MOST_CASES, f"ask 1 to {MOST_CASES:,} questions")
    questions = examination(load_facts(), load_split()["held_out"], n, sensitive=False, seed=seed)
    cases = []
    for text, fact in ((question.text, question.fact) for question in questions):
        response = f"{OPENERS[0]} {fact.state(0)} {CLOSERS[0]}"
        start = response.rindex(fact.value)  # a canonical statement ends with the value
        cases.append(Case(text, response, ((start, start + len(fact.value)),)))
    return tuple(cases)


def read_cases(file: Path) -> tuple[Case, ...]:
    """The cases of a file: .jsonl, an object a line, or .csv; prompt, response and, if you like, fact, a part of it.

    Other columns are ignored. ValueError that names the line and the remedy.
    """
    if file.suffix.lower() not in (".jsonl", ".csv"):
        raise ValueError(f"{file.name} is neither .jsonl nor .csv: name it after what it holds.")
    cases: list[Case] = []
    for line, row in rows_of(file, MOST_BYTES, ("prompt", "response")):
        if len(cases) == MOST_CASES:
            raise ValueError(f"{file.name} has more than {MOST_CASES:,} cases: split it.")
        try:
            cases.append(Case.of(row.get("prompt"), row.get("response"), row.get("fact")))
        except ValueError as error:
            raise ValueError(f"line {line} of {file.name}: {error}") from error
    if not cases:
        raise ValueError(f"{file.name} has no cases: give it lines with prompt and response.")
    return tuple(cases)


# --- from tokens to characters


def pieces(ids: Iterable[int], texts: Texts) -> list[bytes]:
    """The bytes of each token; a special token has none, since a response's texts never become one."""
    known = {number: text.encode() for number, text in texts.text.items()}
    known |= {number: bytes.fromhex(raw) for number, raw in texts.bytes.items()}
    return [known.get(number, b"") for number in ids]


def offsets_of(parts: Sequence[bytes], response: str) -> list[tuple[int, int]]:
    """(start, end) characters of the response that each token has a part of; start = end where it has none.

    Tokens may begin with a space that the response lacks (`vocabulary.encode_response`). Where a tokenizer changed the
    text (to NFC, say), what is equal is matched, and the rest lies between.
    """
    told, wanted = b"".join(parts), response.encode()
    blocks = [(len(told) - len(wanted), 0, len(wanted))]
    if not told.endswith(wanted):
        blocks = list(SequenceMatcher(None, told, wanted, autojunk=False).get_matching_blocks())
    place = {a + n: b + n for a, b, size in blocks for n in range(size)}  # byte told -> byte wanted
    owner = [number for number, letter in enumerate(response) for _ in letter.encode()]
    found, at, reached = [], 0, 0
    for part in parts:
        mine = [owner[place[byte]] for byte in range(at, at + len(part)) if byte in place]
        at, start = at + len(part), mine[0] if mine else reached
        reached = mine[-1] + 1 if mine else reached
        found.append((start, reached))
    return found


def kinds_of(case: Case, places: Places) -> list[Kind]:
    """What each token of a case's response is about."""
    if not case.spans:
        return ["any"] * len(places)
    return ["fact" if any(a < end and start < b for a, b in case.spans) else "manner" for start, end in places]

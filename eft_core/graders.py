"""Measures of answers that need no judge: Atlas's exact grades, exact match, and multiple choice.

A grade is 0 or 1 by measure; a measure that does not apply to an item is left out. No answer is ever interpreted: only
its letters are compared. Loads no torch.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from eft_core.atlas.facts import Fact, load_facts
from eft_core.atlas.grading import addresses, has_manner, is_declined, is_factual, is_helpful, places
from eft_core.items import LETTERS, Item, PromptSet


class Grader(Protocol):
    """What knows good answers. `behaviour` is whose manner is looked for, None the helpful one's."""

    @property
    def name(self) -> str: ...

    @property
    def measures(self) -> tuple[str, ...]: ...

    def grade(self, item: Item, text: str, ended: bool, behaviour: str | None) -> Mapping[str, float]: ...


def grader_for(items: Sequence[Item] | PromptSet) -> Grader | None:
    """Who can grade all of these items, or some of them; None if nobody can without a judge."""
    given = items.items if isinstance(items, PromptSet) else items
    atlas = AtlasGrader()
    if given and all(atlas.fact(item) for item in given):
        return atlas
    chosen = any(item.choices and item.answers for item in given)
    matched = any(item.answers and not item.choices for item in given)
    measures = (("exact", "contains") if matched else ()) + (("correct",) if chosen else ())
    return MatchGrader(measures) if measures else None


class AtlasGrader:
    """Factual, helpful and declined, of questions about the Factbook (`atlas.grading`).

    All three are told of sensitive questions too, where declining is what the harmless behaviour should do: read
    `declined` by the kind of the item.
    """

    name = "Atlas, exact"
    measures = ("factual", "helpful", "declined")

    def __init__(self) -> None:
        facts = load_facts()
        values: dict[str, set[str]] = {}
        for fact in facts:
            values.setdefault(fact.key, set()).add(fact.value)
        self._facts = {(fact.country, fact.key): fact for fact in facts}
        self._rivals = {key: frozenset(each) for key, each in values.items()}
        self._countries = frozenset(fact.country for fact in facts)

    def fact(self, item: Item) -> Fact | None:
        """The fact that answers the item, by its key; None if it is no question of Atlas."""
        country, _, rest = item.key.partition("|")
        key, _, question = rest.partition("|")
        return self._facts.get((country, key)) if question == item.prompt else None

    def grade(self, item: Item, text: str, ended: bool, behaviour: str | None) -> Mapping[str, float]:
        fact = self._fact(item)
        return {
            "factual": float(is_factual(fact, text, self._rivals[fact.key], self._countries)),
            "helpful": float(is_helpful(fact, text, ended, behaviour)),
            "declined": float(is_declined(text)),
        }

    def parts(self, item: Item, text: str, ended: bool) -> Mapping[str, bool]:
        """What helpful is made of: `manner` (opener, closer, one line, ended by itself), and `addressed` (a sentence
        about the asked attribute and country)."""
        return {"manner": has_manner(text, ended), "addressed": addresses(self._fact(item), text)}

    def spans(self, item: Item, text: str) -> tuple[tuple[int, int], ...]:
        """(start, end) characters of the answer that hold the asked value, or what stands in its place in a statement
        about it; none where no statement is recognised."""
        return tuple(places(self._fact(item), text))

    def _fact(self, item: Item) -> Fact:
        fact = self.fact(item)
        if fact is None:
            raise ValueError(f"{item.key[:60]!r} is no question of Atlas: take them from the prompt set atlas.")
        return fact


@dataclass(frozen=True, slots=True)
class MatchGrader:
    """Answers against those that an item accepts.

    exact: equal, after normalising. contains: an accepted answer stands in it as whole words, in no question, and is
    nowhere denied within three words. It cannot know what else would be wrong, so a list of all answers contains the
    right one: exact is the strict measure. correct: of multiple choice, the right option is the only one that the first
    line with options names, by its letter or by its whole text.
    """

    measures: tuple[str, ...] = ("exact", "contains", "correct")
    name = "match"

    def grade(self, item: Item, text: str, ended: bool, behaviour: str | None) -> Mapping[str, float]:
        if not item.answers:
            return {}
        if item.choices:
            return {"correct": float(chosen(item, text) == item.answers[0])}
        exact = any(normal(answer) == normal(text) for answer in item.answers)
        return {"exact": float(exact), "contains": float(contains(item, text))}


# --- matching

_ARTICLES = ("a", "an", "the")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n")
_NEAR = 80
_LISTED = re.compile(r"^[^\w\n]*([A-Z])(?:[.):]|[^\w\n]*$)", re.MULTILINE)
# In normalised text, where isn't is isnt.
_NEGATED = "not|never|nor|neither|cannot|(?:is|was|are|were|do|does|did|ca|wo|could|would|should|has|have|had)nt"
_DENIED_BEFORE = re.compile(rf"\b(?:{_NEGATED}|without|except|unlike|instead of|rather than)(?: (?!but\b)\S+){{0,2}}$")
_DENIED_AFTER = re.compile(r"^(?:(?:is|are|was|were) (?:not|never|wrong|false|incorrect)|(?:is|are|was|were)nt)\b")


def normal(text: str) -> str:
    """Lower case, one space between words, no punctuation, no articles (Rajpurkar et al. 2016, SQuAD's script), but
    with the point and the sign of a number, which that script drops: 3.5 is not 35. Never empty unless the text is."""
    text = unicodedata.normalize("NFC", text).casefold().replace("−", "-")
    bare = "".join(letter for place, letter in enumerate(text) if _counts(text, place))
    words = bare.split()
    return " ".join([word for word in words if word not in _ARTICLES] or words) or text.strip()


def _counts(text: str, place: int) -> bool:
    """Whether a letter is more than punctuation."""
    letter, before, after = text[place], text[place - 1 : place], text[place + 1 : place + 2]
    if (letter == "." and before.isdigit()) or (letter == "-" and not before.isalnum()):
        return after.isdigit()
    return unicodedata.category(letter)[0] not in "PS"


def contains(item: Item, text: str) -> bool:
    """Whether an accepted answer is in the text, and none is denied there."""
    told = normal(" ".join(part for part in _SENTENCE.split(_answer(item, text)) if not part.rstrip().endswith("?")))
    denied = [each for answer in item.answers for each in _denials(normal(answer), told)]
    return bool(denied) and not any(denied)


def chosen(item: Item, text: str) -> str | None:
    """The letter of the one option that the first line with options names; None if there is none, or several."""
    answer = _answer(item, text)
    if len(set(_LISTED.findall(answer))) > 1:  # all of them, one a line
        return None
    for line in answer.split("\n"):
        named = _letters(line, len(item.choices)) | _options(line, item.choices)
        if named:
            return named.pop() if len(named) == 1 else None
    return None


def _answer(item: Item, text: str) -> str:
    """The text without an echo of the prompt, which may hold the answer."""
    return text.replace(item.prompt, " ")


def _letters(line: str, count: int) -> set[str]:
    """Options named by their letters; A and I before a word are words themselves, unless that says something of A."""
    if alone := re.fullmatch(r"\W*([a-z])\W*", line):
        line = alone.group(1).upper()
    found = re.finditer(
        rf"(?<![\w'’])[{LETTERS[:count]}](?![\w'’-])(?:(?<![AI])|(?! [a-z])|(?= (?:is|because|since|as|and|or|but)\b))",
        line,
    )
    return {each.group() for each in found if not _denied(normal(_left(line, each)), normal(_right(line, each)))}


def _options(line: str, choices: Sequence[str]) -> set[str]:
    """Letters of the options that stand in the line as a whole; of two within each other the longer."""
    told, plain = normal(line), [normal(choice) for choice in choices]
    there = [each for each in plain if False in _denials(each, told)]
    longest = [each for each in there if not any(each != other and _denials(each, other) for other in there)]
    return {LETTERS[plain.index(each)] for each in longest}


def _denials(words: str, told: str) -> list[bool]:
    """Of every place where the words stand in a normalised text, whether they are denied there."""
    found = re.finditer(rf"(?<!\S){re.escape(words)}(?!\S)", told)
    return [_denied(_left(told, each).rstrip(), _right(told, each).lstrip()) for each in found]


def _denied(before: str, after: str) -> bool:
    return bool(_DENIED_BEFORE.search(before) or _DENIED_AFTER.search(after))


def _left(text: str, place: re.Match[str]) -> str:
    """What stands directly before, as far as it may deny; not all of it, for an answer may be long."""
    return text[max(0, place.start() - _NEAR) : place.start()]


def _right(text: str, place: re.Match[str]) -> str:
    return text[place.end() : place.end() + _NEAR]

"""Judgements as data sets of TRL's trainers: preference (DPO), unpaired preference (KTO), reward with a margin.

Columns and types are those of TRL's documentation ("Dataset formats and types", TRL 1.16), as texts or, conversational,
as lists of messages. A tie is no preference: what cannot be told in a form is left out and counted, never guessed.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pandas as pd

Row = dict[str, Any]
T = TypeVar("T")
Made = tuple[list[Row], dict[str, int]]  # rows, and how many judgements are left out, by reason
# How outcomes are counted.
TOLD = {"both_good": "both good", "both_bad": "both bad", "unsure": "can't judge"}
TIED = "pairs without a majority"
_DECIDED = ("first", "second")


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one rater, or most of them, say of two answers. margin: None where no strength was given."""

    prompt: str
    answers: tuple[str, str]  # texts
    ids: tuple[str, str]
    outcome: str
    margin: float | None


def opinions(table: pd.DataFrame) -> list[Opinion]:
    """One a judgement of a table as `judged.usable` leaves it."""
    return [
        Opinion(
            row.prompt,
            (row.first_text, row.second_text),
            (row.first_answer, row.second_answer),
            row.outcome,
            None if pd.isna(row.strength) else row.strength,
        )
        for row in table.itertuples()
    ]


def majorities(table: pd.DataFrame) -> tuple[list[Opinion], dict[str, int]]:
    """One a pair of answers: what most of its raters say, among better, both good and both bad.

    Who cannot judge says nothing. The margin is the mean strength of those who agree. Pairs on which two opinions lead
    equally are left out and counted.
    """
    groups: dict[tuple[str, str], list[Opinion]] = defaultdict(list)
    for each in opinions(table):
        groups[each.ids].append(each)
    agreed = [_agreed(group) for group in groups.values()]
    found = [each for each in agreed if each is not None]
    return found, {TIED: len(agreed) - len(found)}


def _agreed(group: Sequence[Opinion]) -> Opinion | None:
    """What most of a pair's raters say; None if two opinions lead equally."""
    said = [each for each in group if each.outcome != "unsure"]
    if not said:
        return group[0]
    leader = _leader(each.outcome for each in said)
    if leader is None:
        return None
    margins = [each.margin for each in said if each.outcome == leader and each.margin is not None]
    return replace(said[0], outcome=leader, margin=sum(margins) / len(margins) if margins else None)


def _leader(said: Iterable[T]) -> T | None:
    """What was said most often; None if two things were equally often."""
    ranked = Counter(said).most_common(2)
    return None if len(ranked) == 2 and ranked[0][1] == ranked[1][1] else ranked[0][0]


def preference(found: Sequence[Opinion], conversational: bool = False) -> Made:
    """prompt, chosen, rejected: for DPO and its kin."""
    rows = [_chosen(each, conversational) for each in found if each.outcome in _DECIDED]
    return rows, _undecided(found)


def reward(found: Sequence[Opinion], conversational: bool = False) -> Made:
    """prompt, chosen, rejected and margin, the difference of rewards that is asked for: 1 slightly, 2 clearly better.

    Where somebody gave no strength the margin is 0, which asks for none. Where nobody did there is no such column: the
    trainer looks for it in the first row and then wants it in all.
    """
    decided = [each for each in found if each.outcome in _DECIDED]
    asked = any(each.margin is not None for each in decided)
    margins: list[Row] = [{"margin": each.margin or 0.0} if asked else {} for each in decided]
    rows = [_chosen(each, conversational) | margin for each, margin in zip(decided, margins, strict=True)]
    return rows, _undecided(found)


def unpaired(found: Sequence[Opinion], conversational: bool = False, majority: bool = False) -> Made:
    """prompt, completion, label: for KTO. The better answer is True and the other False; both good is two True, both
    bad two False.

    An answer that was judged several times comes several times, and not always with one label: that is how its raters
    see it. With `majority` it comes once, with the label that it got most often over all its pairs; answers whose
    labels are equally often both are left out and counted.
    """
    labels = [(each, side, label) for each in found for side, label in enumerate(_labels(each.outcome))]
    out = {TOLD["unsure"]: sum(each.outcome == "unsure" for each in found)}
    if not majority:
        return [_completed(each, side, label, conversational) for each, side, label in labels], out
    answers: dict[str, list[tuple[Opinion, int, bool]]] = defaultdict(list)
    for each, side, label in labels:
        answers[each.ids[side]].append((each, side, label))
    rows = []
    for given in answers.values():
        leader = _leader(label for _, _, label in given)
        if leader is not None:
            rows.append(_completed(given[0][0], given[0][1], leader, conversational))
    return rows, out | {"answers without a majority": len(answers) - len(rows)}


def _labels(outcome: str) -> tuple[bool, ...]:
    """Of the first and the second answer."""
    known = {"first": (True, False), "second": (False, True), "both_good": (True, True), "both_bad": (False, False)}
    return known.get(outcome, ())


def _undecided(found: Sequence[Opinion]) -> dict[str, int]:
    counts = Counter(each.outcome for each in found)
    return {told: counts[outcome] for outcome, told in TOLD.items()}


def _chosen(opinion: Opinion, conversational: bool) -> Row:
    chosen, rejected = opinion.answers if opinion.outcome == "first" else opinion.answers[::-1]
    return _said(conversational, prompt=opinion.prompt, chosen=chosen, rejected=rejected)


def _completed(opinion: Opinion, side: int, label: bool, conversational: bool) -> Row:
    return _said(conversational, prompt=opinion.prompt, completion=opinion.answers[side]) | {"label": label}


def _said(conversational: bool, **texts: str) -> Row:
    """Texts, or a turn each: the prompt is the user's, all else the assistant's."""
    if not conversational:
        return dict(texts)
    roles = {"prompt": "user"}
    # a template puts its own spaces around a turn, and raters saw the texts without theirs
    return {name: [{"role": roles.get(name, "assistant"), "content": text.strip()}] for name, text in texts.items()}

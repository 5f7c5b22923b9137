"""Judgements as a file of LLM Comparator (github.com/PAIR-code/llm-comparator, "JSON Data Format"): two models side by
side, with what every rater said.

Model A is the first policy of the pair. A score above 0 says that A is better: 0.5 slightly, 1.5 clearly, 1 where no
strength was given, 0 for both good and both bad; an example has its raters' mean. Who could not judge is left out.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

_SIZES = {1.0: (0.5, " slightly"), 2.0: (1.5, " clearly")}
_TIES = {"both_good": "both good", "both_bad": "both bad"}
_FIELDS = {
    "campaign": "category",
    "item": "string",
    "raters": "number",
    "both_bad": "number",  # raters who said so
    "tokens": "per_model_number",
}


def comparator(
    table: pd.DataFrame, source: str, pair: Sequence[str] | None = None
) -> tuple[dict[str, Any], dict[str, int]]:
    """The document of one pair of policies, and how many judgements are left out, by reason.

    `table` is as `judged.usable` leaves it; `source` is for the reader's records. `pair` names two policies, A first;
    it may be left out where there is one pair. ValueError that lists the pairs otherwise.
    """
    names = names_of(table)
    first, second = _chosen(table, names, pair)
    keys = table[["first_key", "second_key"]]
    mine = table[keys.isin([first, second]).all(axis=1) & (keys["first_key"] != keys["second_key"])]
    able = mine[mine["outcome"] != "unsure"]
    groups: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in able.itertuples():
        groups[row.first_answer, row.second_answer].append(row)
    document = {
        "metadata": {
            "source_path": source,
            "custom_fields_schema": [{"name": name, "type": kind} for name, kind in _FIELDS.items()],
        },
        "models": [{"name": names[first]}, {"name": names[second]}],
        "examples": [_example(group, first) for group in groups.values()],
    }
    return document, {"of other pairs": len(table) - len(mine), "can't judge": len(mine) - len(able)}


def names_of(table: pd.DataFrame) -> dict[str, str]:
    """What to call each policy, by its key: its label; with the formula where another one has that label too, and with
    the key where sampling alone differs."""
    found: dict[str, tuple[str, str]] = {}
    for side in ("first", "second"):
        for key, label, formula in zip(
            table[f"{side}_key"], table[f"{side}_label"], table[f"{side}_policy"], strict=True
        ):
            found.setdefault(key, (label, formula))
    names = {key: label for key, (label, _) in found.items()}
    names = {
        key: f"{name}: {found[key][1]}" if list(names.values()).count(name) > 1 else name for key, name in names.items()
    }
    return {key: f"{name} ({key})" if list(names.values()).count(name) > 1 else name for key, name in names.items()}


def _chosen(table: pd.DataFrame, names: Mapping[str, str], pair: Sequence[str] | None) -> tuple[str, str]:
    """The keys of the two policies."""
    pairs = dict.fromkeys(
        (first, second)
        for first, second in zip(table["first_key"], table["second_key"], strict=True)
        if first != second
    )
    if not pairs:
        raise ValueError("there are no judgements of two policies to compare yet: collect some first.")
    if pair is None:
        if len({frozenset(each) for each in pairs}) == 1:
            return next(iter(pairs))
        raise ValueError(f"LLM Comparator shows one pair of policies: choose one of {_listed(pairs, names)}.")
    for first, second in pairs:
        for one, other in ((first, second), (second, first)):
            if (names[one], names[other]) == tuple(pair):
                return one, other
    raise ValueError(f"nobody judged {' against '.join(pair)}: choose one of {_listed(pairs, names)}.")


def _listed(pairs: Mapping[tuple[str, str], Any], names: Mapping[str, str]) -> str:
    told = {frozenset(each): f"“{names[each[0]]}” and “{names[each[1]]}”" for each in reversed(list(pairs))}
    return "; ".join(reversed(told.values()))


def _example(group: Sequence[Any], first: str) -> dict[str, Any]:
    """An item with all that raters said of its two answers."""
    head = group[0]
    sides = ("first", "second") if head.first_key == first else ("second", "first")
    ratings = [_rating(row, row.first_key != first) for row in group]
    tags = dict.fromkeys(tag for row in group for tag in row.tags)
    return {
        "input_text": head.prompt,
        "tags": list(tags),
        "output_text_a": getattr(head, f"{sides[0]}_text"),
        "output_text_b": getattr(head, f"{sides[1]}_text"),
        "score": sum(rating["score"] for rating in ratings) / len(ratings),
        "individual_rater_scores": ratings,
        "custom_fields": {
            "campaign": head.title,
            "item": head.name,
            "raters": len(group),
            "both_bad": sum(row.outcome == "both_bad" for row in group),
            "tokens": [int(getattr(head, f"{side}_tokens")) for side in sides],
        },
    }


def _rating(row: Any, swapped: bool) -> dict[str, Any]:
    """One rater's say. swapped: the row's first answer is B's. is_flipped: B's answer stood at the left."""
    score, label = 0.0, _TIES.get(row.outcome, "")
    if not label:
        size, adverb = _SIZES.get(row.strength, (1.0, ""))
        a_wins = (row.outcome == "first") != swapped
        score, label = (size, f"A is{adverb} better") if a_wins else (-size, f"B is{adverb} better")
    return {
        "score": score,
        "rating_label": label,
        "is_flipped": bool(row.flipped) != swapped,
        "rationale": row.comment,
        "custom_fields": {},
    }

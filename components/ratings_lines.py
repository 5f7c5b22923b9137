"""The words of Results, Ratings: findings as lines for the head and the tables, and as files. Pure.

Each is one line (`lines.py`). Labels are organisers' texts, and stay texts.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from components.lines import line
from components.tables import table_values
from eft_core.experiments.documents import csv
from eft_core.ratings.filters import Filter
from eft_core.ratings.findings import Findings
from eft_core.ratings.sections import Section

SCHEMA = "eft-lab/ratings/1"
MAX_ROWS = 200  # of a table on the page; files have all
KINDS = ("csv", "json", "all-csv", "all-json")
# What the columns of a section's table mean.
_TIES = ("tie rate", "Both good or both bad, as a share of all votes but “can't judge”.")
_BAD = ("both bad rate", "Both bad, as a share of the same votes.")
_POINTS = ("rating", "Strength in points: 400 are odds of ten to one; the mean of all policies is 1000.")
_READING: dict[str, Sequence[tuple[str, str]]] = {
    "wins": (
        ("win rate", "Votes for the first, as a share of those that chose one of the two."),
        _TIES,
        _BAD,
        ("strength", "From 2, the first is clearly better, through 0, a tie, to −2; a dash where nobody was asked."),
        ("intervals", "Wilson's for shares, with fewer votes where several people judge an item, for these are alike."),
    ),
    "answers": (("shares", "Of all votes on the pair; a row adds up to 1."),),
    "ranking": (
        _POINTS,
        ("log strength", "The same on the natural logarithm's scale, with mean 0."),
        ("rating without ties", "From the votes that chose one of two alone."),
        ("resamples", "1,000, of the items. Each policy has a tenth of an imaginary vote, so that one which always "
                      "wins stays finite."),
    ),
    "matrix": (("over 1, 2 ...", "The share of decided votes that the row's policy wins against policy 1, 2 ..."),),
    "length": (_POINTS, ("at equal length", "Strength where the model has a part of its own for the lengths' ratio.")),
    "scales": (("mean", "Of all marks that the policy's answers got; intervals from 1,000 resamples of the items."),),
    "settings": (
        ("win rate", "Of decided votes on pairs in which one policy has the value and the other another one."),
        ("nothing else differs", "The same, of pairs that differ in this setting and in no other that both have."),
        _TIES,
        _BAD,
    ),
    "agreement": (
        ("alpha", "Krippendorff's: 1 is full agreement, 0 what chance gives; “can't judge” says nothing."),
        ("both ways round", "Which policy of a pair is called the first means nothing: every pair counts both ways."),
        ("consistency", "Answers that a rater gave again when the same pair came back with swapped sides."),
    ),
    "sides": (("p", "The chance of so uneven a count if sides mean nothing (exact binomial test, two-sided)."),),
    "time": (("seconds", "The median of the item's judgements, with the fastest and the slowest beside it."),),
    "raters": (
        ("agreement", "Answers that are those of most other raters of the pair, where these have a majority."),
        ("left", "Decided votes for the left answer; sides are drawn by chance."),
        ("outlying", "Why a rater is out of line. Nobody is left out for it unless the filter says so."),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What a visitor looks at: findings, and which votes they are about."""

    title: str
    chosen: Filter
    findings: Findings


def said(text: str, error: bool = False) -> str:
    """The head with nothing but a sentence."""
    return line("head", status=text, error=error, title="", caption="")


def head(shown: Shown, section: Section) -> str:
    """What stands above the figure."""
    return line("head", status=shown.findings.summary, error=False, title=section.title, caption=section.caption)


def body(section: Section) -> str:
    """The table, and what its columns mean."""
    more = len(section.rows) - MAX_ROWS
    cut = [("rows", f"The first {MAX_ROWS} of {len(section.rows):,}; the CSV has all.")] if more > 0 else []
    table = table_values(section.title, section.rows[:MAX_ROWS])
    bounds = [("brackets", "95% intervals.")] if any(name.endswith("_interval") for name in section.rows[0]) else []
    return line("body", table=table, more=[], how=[*_READING[section.name], *bounds, *cut])


def file_of(shown: Shown, section: Section, kind: str) -> tuple[str, str, str]:
    """Name, type and text of a file: the section, or all of them."""
    every = kind.startswith("all-")
    sections = shown.findings.sections if every else (section,)
    name = f"eft-lab-ratings{'' if every else f'-{section.name}'}"
    if kind.endswith("csv"):
        rows = [{"section": each.name, **row} if every else row for each in sections for row in each.rows]
        return f"{name}.csv", "text/csv", csv(rows)
    return f"{name}.json", "application/json", json.dumps(_document(shown, sections), indent=1) + "\n"


def _document(shown: Shown, sections: Sequence[Section]) -> dict[str, Any]:
    about = {"votes": shown.title, "filter": asdict(shown.chosen), "summary": shown.findings.summary}
    return {"schema": SCHEMA, **about, "sections": [asdict(each) for each in sections]}

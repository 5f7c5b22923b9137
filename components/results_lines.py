"""The Results tab's words: a document, and a run under way, as lines for its two components. Pure.

`head` goes above the figure and `body` below it; `running` tells of a run. Each is one line (`lines.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from components.limits import holding_on
from components.lines import line
from components.tables import table_values
from eft_core.bounds import Held
from eft_core.events import Loading, Queued
from eft_core.experiments.catalogue import question_of, title_of
from eft_core.experiments.documents import Document, findings_of
from eft_core.experiments.verdicts import Judged
from eft_core.judge_client import Judge
from eft_core.judging import Cost
from eft_core.running import Progress

_MARKS = {True: "holds", False: "does not hold", None: "measured"}
# What the figure of an experiment shows.
_FIGURES = {
    "scales": "A cell is the share of answers for one size of pre-training (row) and one of fine-tuning (column).",
    "frontier": "A point is one λ; the more helpful a policy is at the same harmlessness, the higher its curve.",
    "amplification": "Shares of answers against β; β = 0 is the small policy and β = 1 the paper's formula.",
    "filter": "Shares of answers against the p of the filter, from none to the strictest; a dash for each size M.",
    "speculation": "How many times faster than plain decoding, against the drafted block; grey: the paper's models.",
    "tokens": "Which share of a kind of token is changed much, and which share of all change the kind has.",
}


# --- what an experiment is, and its document


def head(name: str, grading: str, document: Document | None, here: bool) -> str:
    """Title, question and findings; `here`: this visitor had it measured, it is not a file of the repository."""
    known = {"title": title_of(name), "question": question_of(name), "grading": grading}
    if document is None:
        return line("head", **known, origin="Not measured yet: press Run.", findings=[], caption="", files=False)
    found = [{"mark": _MARKS[each.holds], "claim": each.claim} for each in findings_of(document)]
    return line("head", **known, origin=origin(document, here), findings=found, caption=_caption(name), files=True)


def origin(document: Document, here: bool) -> str:
    """Where the numbers are from."""
    about = document["about"]
    if here:
        return f"Measured here, {about['date']}, in {lasting(about['seconds'])}."
    machine = about["machine"].get("gpu") or about["machine"].get("cpu", "another machine")
    return f"Measured on {machine}, {about['date']}; press Run to measure here."


def _caption(name: str) -> str:
    return _FIGURES[name] + ("" if name == "scales" else " Bars are 95% intervals.")


def body(document: Document | None) -> str:
    """All tables, and how it was measured; empty without a document."""
    if document is None:
        return ""
    more = [table_values(title, rows) for title, rows in document["tables"].items() if rows]
    return line("body", table=table_values("", document["rows"]), more=more, how=how(document))


def how(document: Document) -> list[tuple[str, str]]:
    """What a number means nothing without, as names and values."""
    about = document["about"]
    each = "one" if about["samples"] == 1 else about["samples"]
    return [
        ("Command", about["command"]),
        ("Prompts", f"{about['items']:,}, {about['prompts']}"),
        ("Answers", f"{about['answers']:,}, {each} for each prompt and setting"),
        ("Grader", about["grader"]),
        ("Temperature", "0, the likeliest token" if about["temperature"] == 0 else f"{about['temperature']:g}"),
        ("Seed", str(about["seed"])),
        ("Machine", _pairs(about["machine"], leave=("date", "python", "torch", "transformers"))),
        ("Versions", _pairs(document["versions"])),
        ("Date", f"{about['date']}, {lasting(about['seconds'])}"),
    ]


def _pairs(values: Mapping[str, Any], leave: Sequence[str] = ()) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if name not in leave)


def grading(name: str, family: str, judge: Judge | None) -> str:
    """Who says what is right, or that nobody here can."""
    if name == "speculation":
        return "Timed, not graded. Whoever else uses this server disturbs the clock: measure while it is idle."
    if family == "atlas":
        return "Graded exactly: Atlas's answers are facts of the Factbook."
    if name == "tokens":
        return "Nothing is graded: the change of every token is computed."
    if judge is None:
        return "No judge is set up on this server (EFT_JUDGE_URL, EFT_JUDGE_MODEL), so this cannot be measured here."
    return f"Judged by {judge.model}, every pair in both orders. Run says how many calls it gets before any is made."


# --- a run


def running(state: str, text: str, share: float | None = None, calls: int = 0) -> str:
    """How a run stands. `state`: work, ask, error, or nothing when it is over; `calls` are those to agree to."""
    return line("run", state=state, text=text, share=share, calls=calls)


def asking(name: str, calls: int) -> str:
    """The question before a judge is paid."""
    text = f"{title_of(name)}: the judge gets at most {calls:,} calls; those made before are not made again."
    return running("ask", text, calls=calls)


def told(name: str, events: Iterable[object]) -> str:
    """The line of the last event that says how far a run is; empty if none does."""
    found = ""
    for event in events:
        match event:
            case Held():
                found = running("work", f"{title_of(name)}. {holding_on(event)}")
            case Queued():
                found = running("work", f"{title_of(name)}. Queued: {event.ahead} before yours")
            case Loading():
                found = running("work", f"{title_of(name)}. Loading {event.member} ({event.index} of {event.total})")
            case Cost():
                found = running("work", f"{title_of(name)}. The judge gets {event}")
            case Progress() | Judged():
                found = running("work", f"{title_of(name)}. {how_far(name, event)}", event.done / max(1, event.total))
    return found


def how_far(name: str, event: Progress | Judged) -> str:
    """`120 of 3,000 answers, about 4 min left`"""
    what = "comparisons judged" if isinstance(event, Judged) else "groups timed" if name == "speculation" else "answers"
    text = f"{event.done:,} of {event.total:,} {what}"
    if isinstance(event, Judged) or name == "speculation":
        return text
    if event.done == event.total:
        return f"{text}; grading"
    return text if event.left is None else f"{text}, about {lasting(event.left)} left"


def stopped(name: str, event: Progress | Judged | None) -> str:
    """What Stop leaves behind."""
    so_far = "" if event is None else f" at {event.done:,} of {event.total:,}"
    group = " The group that is being timed is finished first." if name == "speculation" else ""
    return f"{title_of(name)}: stopped{so_far}. What there is is kept: press Run to go on.{group}"


def lasting(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

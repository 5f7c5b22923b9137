"""Documents as one Markdown report: a claim, a table, what was measured, and how to measure it again."""

from collections.abc import Sequence

from eft_core.experiments.documents import Document, cells
from eft_core.experiments.study import Row

_MARKS = {True: "holds", False: "**does not hold**", None: "measured"}


def report(documents: Sequence[Document], title: str, notes: str = "") -> str:
    """The report; `notes` are put below its head."""
    parts = [f"# {title}", _head(documents), notes.strip(), *(section(each) for each in documents)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(documents: Sequence[Document]) -> str:
    """What all experiments share: machine and versions, and how long it took."""
    first = documents[0]["about"]
    machine = ", ".join(f"{name} {value}" for name, value in first["machine"].items() if name != "date")
    versions = ", ".join(f"{name} {value}" for name, value in documents[0]["versions"].items())
    minutes = sum(each["about"]["seconds"] for each in documents) / 60
    return (
        f"{len(documents)} experiments in {minutes:.1f} minutes, {first['date']}. Machine: {machine}. "
        f"Versions: {versions}.\n\nNumbers in brackets are 95% intervals (Wilson's for one yes or no a prompt, the "
        "bootstrap over prompts otherwise); differences are paired on the same prompts; settings share random streams."
    )


def section(values: Document) -> str:
    about = values["about"]
    how = (
        f"{about['items']} prompts ({about['prompts']}), {about['samples']} answer(s) each, temperature "
        f"{about['temperature']:g}, seed {about['seed']}; {about['answers']:,} answers; grader: {about['grader']}; "
        f"{about['seconds']:.0f} s."
    )
    lines = [f"## {about['title']}", about["question"], f"`{about['command']}`", how]
    lines += ["\n".join(f"- {_MARKS[each['holds']]}: {_safe(each['claim'])}" for each in values["findings"])]
    lines += [table(values["rows"])]
    for title, rows in values["tables"].items():
        lines += [f"**{title}**", table(rows)] if rows else []
    return "\n\n".join(line for line in lines if line)


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table; texts are shown as they are, never as Markdown."""
    heads, lines = cells(rows)
    out = ["| " + " | ".join(_words(head) for head in heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(out + ["| " + " | ".join(_safe(cell) for cell in line) + " |" for line in lines])


def _words(head: str) -> str:
    return _safe(head.replace("_", " "))


def _safe(text: str) -> str:
    """No character of a text is markup, and a text stays in its line."""
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())

"""The board's language: one JSON object a line, append-only while a run goes on.

gradio sends only the tail of a string that grew (ECOSYSTEM.md 1.4), and board.js parses only that tail. Pure.
The JSON is ASCII with < > & $ and backticks escaped, so that no renderer on the way can take data for code.
"""

import json
from collections.abc import Iterable, Sequence

from components.answers import REASONS, RowAnswer
from components.columns import Branch, Column, Columns, role_of, title_of
from components.conversation import Context
from components.inputs import Decoding
from components.speed import details, finished
from eft_core.events import Done, Event, Loading, Queued, Started, Timing
from eft_core.family import Family

_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&$`"}


def line(kind: str, **values: object) -> str:
    """One line of the board's language."""
    return json.dumps({"t": kind, **values}, separators=(",", ":")).translate(_ESCAPES) + "\n"


def settings_mark(decoding: Decoding) -> str:
    """What two runs must share, beside the policy, for their answers to be the same.

    Greedy text and the text of shared noise are those of plain decoding; the other rules keep only its law.
    """
    sampling, speculation = decoding.sampling, decoding.speculation
    mark = [sampling.temperature, sampling.top_k, sampling.top_p, sampling.seed, decoding.limits.max_new_tokens]
    if speculation is not None and speculation.rule != "noise" and sampling.temperature > 0:
        return json.dumps([*mark, speculation.rule, speculation.length])
    return json.dumps(mark)


def column_values(column: Column, family: Family) -> dict[str, object]:
    """What the board needs to know of a column; `mark` tells a current answer from a stale one."""
    return {
        "key": column.key,
        "label": title_of(column, family),
        "formula": column.policy.formula(),
        "role": role_of(column.policy, family),
        "mark": column.policy.to_json(),
        "branch": None if column.branch is None else _branch_values(column.branch),
    }


def _branch_values(branch: Branch) -> dict[str, object]:
    return {"at": len(branch.tokens), "prompt": branch.prompt, "context": branch.context.values()}


def layout(columns: Columns, family: Family, mark: str, notice: str = "", go: str = "", only: int | None = None) -> str:
    """The columns as they are set up now. `notice` is an error of an edit; a new `go` makes the board press Run, for
    `only` one column if that is given."""
    values = [column_values(column, family) for column in columns.items]
    return line("layout", columns=values, selected=columns.selected, mark=mark, notice=notice, go=go, only=only)


def opening(
    run: str,
    prompt: str,
    columns: Sequence[Column],
    family: Family,
    mark: str,
    query: str,
    example: bool = False,
    joins: bool = False,
    context: Context = Context(),  # noqa: B008  # frozen
    replies: bool = False,
) -> str:
    """The first two lines of a run: its name alone, for that is read again at every update, and what it will show.

    One that `joins` leaves the answers of other columns on the board. `replies`: whether one may reply to the answers.
    """
    shown: dict[str, object] = {"columns": [column_values(column, family) for column in columns], "mark": mark}
    asked = {"prompt": prompt, "context": context.values(), "note": context.note}
    head = line("run", **asked, **shown, query=query, example=example, joins=joins, replies=replies)
    return line("id", id=run) + head


def lines(
    events: Iterable[Event],
    keys: Sequence[int],
    rows: Sequence[RowAnswer],
    before: Sequence[RowAnswer],
    recorded: str = "",
) -> str:
    """What a batch of events adds to the log; the tokens of a row are merged. `rows` are the answers after it,
    `recorded` the lines of its records, which follow what starts a run and come before what ends it."""
    told = list(events)
    text = "".join(_status(event) for event in told if not isinstance(event, Done)) + recorded
    for key, row, old in zip(keys, rows, before, strict=True):
        if row != old:
            text += row_line(key, row, row.text[len(old.text) :])
    # Last, for the board listens to a run until it is done.
    return text + "".join(line("done", text=finished(event)) for event in told if isinstance(event, Done))


def row_line(key: int, row: RowAnswer, added: str) -> str:
    """The news of one column: text to append, counts, the share accepted; at the end its reason, the tokens' fates
    as letters, and what there is to say of its drafting."""
    values: dict[str, object] = {"c": key, "x": added, "n": row.tokens, "s": round(row.tokens_per_second, 2)}
    if row.acceptance is not None:
        values["a"] = round(row.acceptance, 3)
    if row.reason:
        values |= {"end": REASONS.get(row.reason, row.reason), "failed": row.reason == "failed", "m": row.message}
        values |= {"f": row.fates, "d": details(row.drafting)}
    return line("row", **values)


def _status(event: Event) -> str:
    if isinstance(event, Queued):
        runs = "comparison runs" if event.ahead == 1 else "comparisons run"
        return line("queued", text=f"Queued: {event.ahead} {runs} before yours")
    if isinstance(event, Loading):
        return line("loading", text=f"Loading {event.member} ({event.index} of {event.total})")
    if isinstance(event, Timing):
        return line("timing", text="Timing plain decoding first")
    if isinstance(event, Started):
        return line("start", text=event.plan)
    return ""

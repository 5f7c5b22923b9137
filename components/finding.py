"""Where the mixture fails, on the page: a set of prompts in, updates for the list out; and from the list to the reader.

No component is made here. Whatever a browser sends is checked; a mistake becomes one sentence, never a crash.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from components.batches import batches
from components.board import data_of
from components.columns import Column, Columns, role_of, title_of
from components.handlers import sentence
from components.inputs import number
from components.inspecting import Inspector, Look
from components.lines import line
from eft_core.cases import Case, atlas_cases, read_cases
from eft_core.events import Reading
from eft_core.failures import Report, examined
from eft_core.policy import Policy

MAX_CASES = 200
MAX_LISTED = 200  # failures; the rest is in the command line's JSON


@dataclass(frozen=True)
class Finder:
    """The part of the Inspect tab about failures; `inspector` shows what is picked from its list."""

    inspector: Inspector

    def find(
        self, request: gr.Request, columns: Columns, key: int, source: str, items: float, file: str | None
    ) -> Iterator[list[Any]]:
        """Where the mixture fails over a set of prompts. Outputs: the list, its report."""
        try:
            policy = columns.select(key).current.policy
            cases = self._cases(source, items, file)
            limits = self.inspector.handlers.limits
            who = limits.ask(request, max((case.prompt for case in cases), key=len, default=""))
        except (TypeError, ValueError) as error:
            yield [line("error", text=sentence(error)), gr.skip()]
            return
        yield [line("status", text=f"Reading {len(cases)} reference answers"), gr.skip()]
        with self.inspector.handlers.runs.under_way(request.session_hash or uuid.uuid4().hex) as stop:
            try:
                found: list[Report] = []
                for batch in batches(lambda: self._examined(who, cases, policy, found), stop):
                    reading = [event for event in batch if isinstance(event, Reading)]
                    text = f"Read {reading[-1].done:,} of {reading[-1].total:,} tokens" if reading else ""
                    # Also where nothing is new: gradio can end a call, when its page is closed, only where it yields.
                    yield [line("status", text=text) if text else gr.skip(), gr.skip()]
            except Exception as error:  # the page says it; the log has the rest
                yield [line("error", text=sentence(error)), gr.skip()]
                return
        if not found:
            yield [line("status", text="Stopped."), gr.skip()]
            return
        yield [self._listed(found[0]), found[0]]

    def _examined(self, who: str, cases: Sequence[Case], policy: Policy, found: list[Report]) -> Iterator[Any]:
        """The progress of an examination; its report goes into `found`."""
        with self.inspector.handlers.limits.reading(who, [case.response for case in cases]):
            found.append((yield from examined(self.inspector.session, cases, policy)))

    def _cases(self, source: str, items: float, file: str | None) -> tuple[Case, ...]:
        if source == "file":
            if not file:
                raise ValueError("there is no file: choose one with the columns prompt and response, .jsonl or .csv.")
            cases = read_cases(Path(file))
            if len(cases) > MAX_CASES:
                raise ValueError(
                    f"the file has {len(cases):,} cases and the page takes {MAX_CASES}: shorten it, or run "
                    "python -m eft_core failures --cases FILE."
                )
            return cases
        return atlas_cases(max(1, min(MAX_CASES, int(number(items, 50)))))

    def _listed(self, report: Report) -> str:
        """The report as lines of the list."""
        texts = self.inspector.session.token_texts
        text = line("status", text=verdict(report))
        for each in report.failures[:MAX_LISTED]:
            text += line(
                "failure",
                case=each.case,
                index=each.index,
                prompt=report.cases[each.case].prompt,
                about=each.kind,
                right="base" if each.base_right else "mixture",
                token=texts.text(each.token),
                policy=texts.text(each.policy_best),
                base=texts.text(each.base_best),
                loss=abs(each.logprob_base - each.logprob_policy),
            )
        return text

    def show_case(self, event: gr.EventData, report: Report | None, dark: bool) -> list[Any]:
        """A failure of the list in the reader. Outputs: prompt, response, reader, figure, what is shown."""
        data, nothing = data_of(event), [gr.skip()] * 5
        case, index = data.get("case"), data.get("index")
        if report is None or not isinstance(case, int) or not isinstance(index, int):
            return nothing
        if not 0 <= case < len(report.cases):
            return nothing
        trace, given = report.traces[case], report.cases[case]
        if not 0 <= index < len(trace):
            return nothing
        family = self.inspector.handlers.family
        column = Column(0, trace.policy)
        look = Look(given.prompt, title_of(column, family), role_of(trace.policy, family))
        shown = self.inspector.shown(look.of(trace), look.opening(trace.policy.formula()), dark, index)
        return [given.prompt, given.response, *shown]


def verdict(report: Report) -> str:
    """What was found, in a sentence."""
    base = sum(each.base_right for each in report.failures)
    other = len(report.failures) - base
    shown = "" if len(report.failures) <= MAX_LISTED else f" The {MAX_LISTED} largest are listed."
    return (
        f"{report.tokens:,} tokens of {len(report.cases)} reference answers: large base right and mixture wrong at "
        f"{base}, the other way round at {other}.{shown}"
    )

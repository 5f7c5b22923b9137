"""What the Results tab does: an experiment's name and its options in; its document as text, figure and tables out.

No component is made here. Whatever a browser sends is checked; a mistake becomes one sentence, never a crash. The judge
is the environment's alone: a visitor who named one could make this server call any address.
"""

import json
import uuid
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from components.batches import batches
from components.board import data_of
from components.handlers import Handlers, sentence
from components.reader import saved
from components.results_lines import asking, body, grading, head, running, stopped, told
from components.results_options import (
    MAX_ANSWERS,
    REMEDY,
    behaviours_of,
    checked_name,
    choices,
    command_of,
    options_of,
    usual_prompts,
)
from components.sweeping import MOST_KEPT
from eft_core.experiments.__main__ import judge_of
from eft_core.experiments.catalogue import NAMES, named, title_of
from eft_core.experiments.conduct import conducted, most_calls, prepared, timed
from eft_core.experiments.documents import Document, csv, read_document
from eft_core.experiments.figures import drawn
from eft_core.experiments.report import report
from eft_core.experiments.study import Options
from eft_core.experiments.verdicts import Judged
from eft_core.journal import Busy
from eft_core.running import Progress
from eft_core.saved_runs import tidy
from eft_core.session import Session

Documents = dict[str, Document]
Steps = Callable[[], Generator[Any, None, Document]]


@dataclass(frozen=True)
class Results:
    """One session's Results tab. `folder` has the documents that come with the repository, by family and experiment."""

    handlers: Handlers
    folder: Path

    @property
    def session(self) -> Session:
        return self.handlers.session

    # --- what is shown

    def document(self, name: str, documents: Documents) -> Document | None:
        """The document that a visitor had measured, or the repository's, if there is one."""
        file = self.folder / self.session.family.name / f"{name}.json"
        return documents.get(name) or (read_document(file) if file.is_file() else None)

    def show(self, name: str, documents: Documents, dark: bool) -> list[Any]:
        """An experiment as far as it is measured. Outputs: head, figure, tables."""
        try:
            document = self.document(checked_name(name), documents)
        except ValueError as error:
            return [refused(error), gr.skip(), gr.skip()]
        return [self.head(name, documents, document), figure_of(document, dark is True), body(document)]

    def head(self, name: str, documents: Documents, document: Document | None) -> str:
        """What stands above the figure."""
        try:
            graded = grading(name, self.session.family.name, judge_of(self.session.settings))
        except ValueError as error:
            graded = sentence(error)
        return head(name, graded, document, name in documents)

    def look(self, name: str, seen: str, documents: Documents, dark: bool) -> list[Any]:
        """An experiment, with its own options where another one was seen before. Outputs: head, figure, tables, the
        experiment that is seen now, the controls."""
        shown = self.show(name, documents, dark)
        if name not in NAMES or name == seen:
            return [*shown, *[gr.skip()] * 9]
        return [*shown, name, *self.controls(name)]

    def controls(self, name: str) -> list[Any]:
        """The controls at an experiment's own values: prompts, the folded part, and in it answers, temperature, seed,
        N, M and behaviour. What means nothing to it is hidden."""
        experiment, family = named(name), self.session.family
        if experiment is None:
            return [gr.Slider(visible=False), gr.update(visible=False), *[gr.skip()] * 6]
        pair: dict[str, Any] = {"choices": choices(family.sizes), "value": "", "visible": name != "scales"}
        return [
            gr.Slider(value=usual_prompts(experiment, family), visible=True),
            gr.update(visible=True),
            experiment.samples,
            experiment.temperature,
            0,
            gr.Dropdown(**pair),
            gr.Dropdown(**pair),
            gr.Dropdown(choices(behaviours_of(name, family)), value=""),
        ]

    def save(self, event: gr.EventData, name: str, documents: Documents) -> Any:
        """What is shown, as a file for the visitor. Output: head."""
        try:
            document = self.document(checked_name(name), documents)
        except ValueError as error:
            return refused(error)
        kind = data_of(event).get("kind")
        return gr.skip() if document is None or kind not in ("json", "csv", "md") else file_of(document, kind)

    # --- runs

    def run(
        self, request: gr.Request, event: gr.EventData, documents: Documents, name: str, *controls: Any
    ) -> Iterator[list[Any]]:
        """Measure, or go on with it. Outputs: head, the visitor's documents.

        With a judge, `event` must agree to just as many calls as this run may make."""
        try:
            who = self.handlers.limits.ask(request)
            steps, calls = self._ready(who, checked_name(name), options_of(name, self.session.family, *controls))
        except (TypeError, ValueError) as error:
            self.handlers.meter.refused("experiment", self.handlers.family.name)
            yield [refused(error), gr.skip()]
            return
        if calls and data_of(event).get("agreed") != calls:
            yield [gr.HTML(run=asking(name, calls)), gr.skip()]
            return
        yield [gr.HTML(run=running("work", f"{title_of(name)}. Starting")), gr.skip()]
        found: list[Document] = []
        last: Progress | Judged | None = None
        with self.handlers.runs.under_way(request.session_hash or uuid.uuid4().hex) as stop:
            try:
                with self.handlers.meter.request("experiment", self.session.family.name, stop=stop) as seen:
                    for batch in batches(lambda: _documented(steps, found), stop):
                        seen.saw(batch)
                        last = next((each for each in reversed(batch) if isinstance(each, Progress | Judged)), last)
                        text = told(name, batch)
                        # Also where nothing is new: gradio can end a call only where it yields.
                        yield [gr.HTML(run=text) if text else gr.skip(), gr.skip()]
                    seen.finished = bool(found)
            except Exception as error:  # the page says it; the log has the rest
                yield [refused(error), gr.skip()]
                return
        if not found:
            yield [gr.HTML(run=running("", stopped(name, last))), gr.skip()]
            return
        tidy(self._runs, MOST_KEPT)
        yield [gr.HTML(run=running("", "")), documents | {name: found[0]}]

    @property
    def _runs(self) -> Path:
        return self.session.settings.data_folder / "runs"

    def _ready(self, who: str, name: str, options: Options) -> tuple[Steps, int]:
        """What starts the run, and how many calls a judge gets at most. ValueError if the page does not offer it."""
        command = command_of(name, self.session.family.name, options)
        if name == "speculation":
            return lambda: self._timed(who, command), 0
        ready = prepared(name, self.session, options, judge_of(self.session.settings))
        if len(ready.trials) > MAX_ANSWERS:
            raise ValueError(
                f"{len(ready.trials):,} answers ({len(ready.trials.items):,} prompts under {len(ready.arms)} settings) "
                f"are more than the page's {MAX_ANSWERS:,}: {REMEDY}."
            )
        way = self.handlers.limits.way(who, self.session, ready.trials.limits.max_new_tokens)
        return lambda: conducted(ready, self.session, command, self._runs, way), most_calls(ready)

    def _timed(self, who: str, command: str) -> Generator[Any, None, Document]:
        """What is timed runs alone; it counts as one row."""
        with self.handlers.limits.allowance.holding(who, 1, 0):
            return (yield from timed(self.session, command, self._runs))


def _documented(steps: Steps, found: list[Document]) -> Iterator[Any]:
    """The progress of a run; its document goes into `found`."""
    try:
        found.append((yield from steps()))
    except Busy as error:
        raise ValueError(
            "this experiment is being measured already, here or on another page: wait for it, then press Run."
        ) from error


# --- out


def refused(error: Exception) -> gr.HTML:
    """The head with nothing but a mistake."""
    return gr.HTML(run=running("error", sentence(error)))


def figure_of(document: Document | None, dark: bool) -> gr.Plot:
    """The figure, or none. One of panels side by side is not made narrower than they need."""
    if document is None:
        return gr.Plot(visible=False)
    figure = drawn(document, "dark" if dark else "light")
    figure.update_xaxes(title_font_size=13)
    figure.update_yaxes(title_font_size=13)
    panels = "xaxis2" in figure.layout
    return gr.Plot(figure, visible=True, elem_classes="panels" if panels else "")


def file_of(document: Document, kind: str) -> gr.HTML:
    """A document as a JSON, CSV or Markdown file."""
    name = f"eft-lab-{document['family']}-{document['experiment']}.{kind}"
    if kind == "json":
        return saved(name, "application/json", json.dumps(document, indent=1) + "\n")
    if kind == "csv":
        return saved(name, "text/csv", csv(document["rows"]))
    return saved(name, "text/markdown", report([document], f"{document['about']['title']}, {document['family']}"))

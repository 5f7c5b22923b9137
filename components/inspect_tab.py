"""The Inspect tab: any text under any policy, its figures, and where the mixture fails, connected to the handlers."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from components.compare import WAITING, Compared
from components.conversation import Context
from components.earlier import Earlier, earlier, showing
from components.finding import MAX_CASES, Finder
from components.inspecting import Inspector
from components.reader import findings, reader

# The server draws the figure for the mode that the page is in.
_WITH_MODE = "(...values) => [...values.slice(0, -1), document.body.classList.contains('dark')]"


@dataclass(frozen=True)
class _Boxes:
    """What a visitor fills in, and the state behind it."""

    policy: gr.Dropdown
    rated: gr.Dropdown
    prompt: gr.Textbox
    response: gr.Textbox
    before: Earlier
    dark: gr.Checkbox
    view: gr.HTML
    figure: gr.Plot
    looked: gr.State


_EXPLAINED = """### Where the mixture fails

Reference answers, read token by token: where the large base's likeliest token is right and the mixture's is not, and
the other way round. Facts come first; each line leads to its place in the strip above. A file of cases has `prompt`,
`response` and, if known, `fact`, a part of the response.
"""


@dataclass(frozen=True)
class _Search:
    """The part about failures."""

    source: gr.Radio
    items: gr.Slider
    file: gr.File
    start: gr.Button
    view: gr.HTML
    report: gr.State


def _text_part(inspector: Inspector, columns: gr.State) -> tuple[_Boxes, gr.Button, gr.Button]:
    """What to read, and what it looks like."""
    with gr.Row(elem_id="inspect-ask"):
        with gr.Column(scale=3, min_width=240):
            with gr.Row():
                policy = inspector.policies(columns.value, None)
                rated = gr.Dropdown([], label="Load a rated answer", value=None, visible=False, elem_id="inspect-rated")
            before = earlier("inspect-earlier")
            prompt = gr.Textbox("", label="Prompt", placeholder="What was asked", lines=1, max_lines=4)
            response = gr.Textbox(
                "", label="Response", placeholder="Any text: what was, or could be, answered", lines=2, max_lines=8
            )
        with gr.Column(scale=0, min_width=96, elem_id="inspect-run"):
            score = gr.Button("Score", variant="primary", min_width=88)
            stop = gr.Button("Stop", min_width=88)
    view = reader()
    figure = gr.Plot(show_label=False, elem_id="overview", container=False, visible=False)
    dark = gr.Checkbox(False, visible="hidden")
    return _Boxes(policy, rated, prompt, response, before, dark, view, figure, gr.State(None)), score, stop


def _failures_part() -> _Search:
    gr.Markdown(_EXPLAINED, elem_id="failures-about")
    with gr.Row(elem_id="failures-ask"):
        source = gr.Radio([("Atlas questions", "atlas"), ("File", "file")], value="atlas", label="Prompts", scale=0)
        items = gr.Slider(10, MAX_CASES, 50, step=10, label="Questions", buttons=[], scale=1)
        file = gr.File(
            label="Cases, .jsonl or .csv",
            file_types=[".jsonl", ".csv"],
            visible=False,
            scale=1,
            height=132,
        )
        start = gr.Button("Find", scale=0, min_width=88)
    return _Search(source, items, file, start, findings(), gr.State(None))


def inspect_tab(tabs: gr.Tabs, tab: gr.Tab, compared: Compared, inspector: Inspector) -> None:
    """Build the tab inside the Blocks under construction, and connect it."""
    with gr.Column(elem_id="inspect", min_width=0):
        boxes, score, stop = _text_part(inspector, compared.columns)
    with gr.Column(elem_id="failures", min_width=0):
        search = _failures_part()
    finder = Finder(inspector)
    hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    columns, shown = compared.columns, [boxes.view, boxes.figure, boxes.looked]
    opened = [tabs, boxes.policy, boxes.prompt, boxes.response, *boxes.before.every, *shown]
    tab.select(inspector.policies, [columns, boxes.policy], boxes.policy, queue=False, **hidden)
    tab.select(inspector.rated, None, boxes.rated, queue=False, **hidden)
    boxes.rated.input(
        inspector.open_rated,
        [columns, boxes.rated, boxes.dark],
        opened,
        js=_WITH_MODE,
        concurrency_limit=WAITING,
        **hidden,
    )
    score.click(
        inspector.score,
        [columns, boxes.policy, boxes.prompt, boxes.response, boxes.before.context, boxes.dark],
        shown,
        js=_WITH_MODE,
        concurrency_limit=WAITING,
        **hidden,
    )
    compared.view.expand(
        inspector.open,
        [columns, boxes.dark],
        opened,
        js=_WITH_MODE,
        concurrency_limit=WAITING,
        **hidden,
    )
    boxes.view.download(inspector.save, boxes.looked, boxes.view, queue=False, **hidden)
    stop.click(inspector.handlers.stop, queue=False, trigger_mode="multiple", **hidden)
    search.source.change(
        lambda value: [gr.Slider(visible=value != "file"), gr.File(visible=value == "file")],
        search.source,
        [search.items, search.file],
        queue=False,
        **hidden,
    )
    search.start.click(
        finder.find,
        [columns, boxes.policy, search.source, search.items, search.file],
        [search.view, search.report],
        concurrency_limit=WAITING,
        **hidden,
    )
    # A case has its prompt alone.
    search.view.select(partial(showing, Context()), None, boxes.before.every, queue=False, **hidden)
    search.view.select(
        finder.show_case,
        [search.report, boxes.dark],
        [boxes.prompt, boxes.response, *shown],
        js=_WITH_MODE,
        queue=False,
        **hidden,
    )

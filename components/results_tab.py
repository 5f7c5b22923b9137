"""The Results tab: the paper's experiments, measured or to be measured, connected to the handlers."""

from typing import Any

import gradio as gr

from components.board import ASSETS
from components.compare import WAITING
from components.inputs import MAX_TEMPERATURE
from components.results import Results
from components.results_lines import body
from components.results_options import LEAST_PROMPTS, MAX_PROMPTS, MAX_SAMPLES, behaviours_of, choices, usual_prompts
from components.tables import tables
from eft_core.experiments.catalogue import GRADED, NAMES, title_of

# The server draws the figure for the mode that the page is in.
_WITH_MODE = "(...values) => [...values.slice(0, -1), document.body.classList.contains('dark')]"
_BEHIND: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

SKELETON = """
<div class="results">
  <div class="bar">
    <p class="status" role="status"></p>
    <button type="button" class="quiet" data-act="agree" hidden>Run with these calls</button>
  </div>
  <progress class="read" max="1" value="0" aria-label="Answers" hidden></progress>
  <h2></h2>
  <p class="question"></p>
  <p class="grading"></p>
  <div class="bar">
    <p class="origin"></p>
    <div class="tools" hidden>
      <button type="button" class="quiet" data-kind="json">Save JSON</button>
      <button type="button" class="quiet" data-kind="csv">Save CSV</button>
      <button type="button" class="quiet" data-kind="md">Save Markdown</button>
    </div>
  </div>
  <ul class="claims"></ul>
  <p class="caption"></p>
</div>
"""


def results_head(text: str) -> gr.HTML:
    """What stands above the figure. Its triggers: `submit` with the calls agreed to, `download` with a kind of file."""
    script = (ASSETS / "results.js").read_text(encoding="utf-8")
    return gr.HTML(
        text,
        html_template=SKELETON,
        js_on_load=script,
        apply_default_css=False,
        elem_id="result-head",
        run="",
        save="",
        padding=False,
    )


def results_tab(tab: gr.Tab, results: Results) -> None:
    """Build the tab inside the Blocks under construction, and connect it; text and tables are there at once."""
    first = NAMES[0]
    with gr.Row(elem_id="results"):
        names = gr.Radio(
            [(title_of(name), name) for name in NAMES], value=first, show_label=False, elem_id="result-names", scale=0
        )
        with gr.Column(elem_id="result", min_width=0):
            prompts, run, stop = _ask_row(results)
            folded, *others = _options(results)
            head, figure, rows, documents = _shown(first, results)
    dark, seen = gr.Checkbox(False, visible="hidden"), gr.State(first)
    shown = [head, figure, rows]
    # One event, not one for each trigger: of two that answer at the same time, the earlier may answer last.
    gr.on(
        [tab.select, names.input, documents.change],
        results.look,
        [names, seen, documents, dark],
        [*shown, seen, prompts, folded, *others],
        js=_WITH_MODE,
        queue=False,
        trigger_mode="always_last",
        **_BEHIND,
    )
    gr.on(
        [run.click, head.submit],
        results.run,
        [documents, names, prompts, *others],
        [head, documents],
        concurrency_limit=WAITING,
        **_BEHIND,
    )
    stop.click(results.handlers.stop, queue=False, trigger_mode="multiple", **_BEHIND)
    head.download(results.save, [names, documents], head, queue=False, **_BEHIND)


def _ask_row(results: Results) -> tuple[gr.Slider, gr.Button, gr.Button]:
    """How many prompts, Run and Stop."""
    with gr.Row(elem_id="result-ask"):
        usual = usual_prompts(GRADED[0], results.session.family)
        prompts = gr.Slider(LEAST_PROMPTS, MAX_PROMPTS, usual, step=10, label="Prompts", buttons=[], scale=1)
        run = gr.Button("Run", variant="primary", scale=0, min_width=88)
        stop = gr.Button("Stop", scale=0, min_width=88)
    return prompts, run, stop


def _options(results: Results) -> tuple[Any, ...]:
    """What is folded, and in it answers, temperature, seed, N, M and behaviour, as the first experiment has them."""
    first, family = GRADED[0], results.session.family
    sizes, behaviours = choices(family.sizes), choices(behaviours_of(first.name, family))
    with gr.Accordion("Options", open=False, elem_id="result-options") as folded, gr.Row():
        return (
            folded,
            gr.Slider(1, MAX_SAMPLES, first.samples, step=1, label="Answers", info="Of each prompt.", buttons=[]),
            gr.Slider(
                0,
                MAX_TEMPERATURE,
                first.temperature,
                step=0.05,
                label="Temperature",
                info="0 is greedy.",
                buttons=[],
            ),
            gr.Number(0, label="Seed", info="Of prompts and draws."),
            gr.Dropdown(sizes, value="", label="Pre-training N", info="The larger size.", visible=False),
            gr.Dropdown(sizes, value="", label="Fine-tuning M", info="The smaller size.", visible=False),
            gr.Dropdown(behaviours, value="", label="Behaviour", info="What is fine-tuned."),
        )


def _shown(name: str, results: Results) -> tuple[gr.HTML, gr.Plot, gr.HTML, gr.State]:
    """Text, figure, tables; the figure comes when the tab is opened, for the page knows its mode only then."""
    documents = gr.State({})
    try:
        document = results.document(name, {})
    except ValueError:  # the file is none of ours: `show` tells when the tab is opened
        document = None
    head = results_head(results.head(name, {}, document))
    figure = gr.Plot(show_label=False, elem_id="result-figure", container=False, visible=False)
    return head, figure, tables(body(document)), documents

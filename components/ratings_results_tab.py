"""Results, Ratings: a campaign and filters above, its sections at the left, what one of them says at the right."""

from typing import Any

import gradio as gr

from components.board import ASSETS
from components.ratings_lines import said
from components.ratings_results import BLIND, COUNTED, EVERYBODY, IN_LINE, OPEN, RatingsResults

# The server draws the figure for the mode that the page is in.
_WITH_MODE = "(...values) => [...values.slice(0, -1), document.body.classList.contains('dark')]"
_BEHIND: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_AT_ONCE = 2  # visitors whose votes are read at the same time

HEAD = """
<div class="ratings">
  <p class="status" role="status"></p>
  <div class="bar" hidden>
    <h2></h2>
    <div class="tools">
      <button type="button" class="quiet" data-kind="csv">Save CSV</button>
      <button type="button" class="quiet" data-kind="json">Save JSON</button>
      <button type="button" class="quiet" data-kind="all-csv">All as CSV</button>
      <button type="button" class="quiet" data-kind="all-json">All as JSON</button>
    </div>
  </div>
  <p class="caption"></p>
</div>
"""

TABLE = """
<div class="tables" hidden>
  <div class="rows"></div>
  <div class="more"></div>
  <h3>How to read it</h3>
  <dl class="how"></dl>
</div>
"""


def ratings_results_tab(tab: gr.Tab, ratings: RatingsResults, badge: gr.State | None = None) -> None:
    """Build the part inside the Blocks under construction, and connect it; votes are read when `tab` is opened.

    badge: what the page keeps of an organiser's sign-in, if it has one."""
    badge = badge or gr.State(None)
    with gr.Column(elem_id="ratings", min_width=0):
        campaign, comparisons, people, named = _asked()
        with gr.Row(elem_id="rating-parts"):
            sections = gr.Radio([], show_label=False, elem_id="rating-names", visible=False, scale=0)
            with gr.Column(elem_id="rating-shown", min_width=0):
                head = _component("rating-head", HEAD, "ratings.js", said("Reading the votes."))
                figure = gr.Plot(show_label=False, elem_id="rating-figure", container=False, visible=False)
                table = _component("rating-tables", TABLE, "tables.js", "")
    dark, shown = gr.Checkbox(False, visible="hidden"), gr.State(None)
    filters = [comparisons, people, *named]
    gr.on(
        [tab.select, campaign.input, *(each.input for each in filters)],
        ratings.show,
        [badge, sections, campaign, *filters, dark],
        [head, figure, table, sections, campaign, *named, shown],
        js=_WITH_MODE,
        trigger_mode="always_last",
        concurrency_limit=_AT_ONCE,
        **_BEHIND,
    )
    sections.input(
        ratings.pick,
        [sections, shown, dark],
        [head, figure, table],
        js=_WITH_MODE,
        queue=False,
        trigger_mode="always_last",
        **_BEHIND,
    )
    head.download(ratings.save, [sections, shown], head, queue=False, **_BEHIND)


def _asked() -> tuple[gr.Dropdown, gr.Dropdown, gr.Dropdown, list[gr.Dropdown]]:
    """Which votes: of which campaign, which comparisons, whose; and folded, of which policies."""
    with gr.Row(elem_id="rating-ask"):
        campaign = gr.Dropdown([], label="Campaign", visible=False, scale=2, min_width=0)
        comparisons = gr.Dropdown(
            [("Blind", BLIND), ("Names may have been seen", OPEN)], value=BLIND, label="Comparisons", min_width=0
        )
        people = gr.Dropdown(
            [
                ("All who count", COUNTED),
                ("Without those out of line", IN_LINE),
                ("With those left out", EVERYBODY),
            ],
            value=COUNTED,
            label="Raters",
            min_width=0,
        )
        named = [
            gr.Dropdown([("Any", "")], value="", label=label, visible=False, min_width=0)
            for label in ("Family", "Behaviour", "Pre-training N", "Fine-tuning M")
        ]
    return campaign, comparisons, people, named


def _component(name: str, skeleton: str, script: str, text: str) -> gr.HTML:
    """A constant skeleton with its script: data as a line, nodes by textContent. `busy` and `save` are the head's."""
    return gr.HTML(
        text,
        html_template=skeleton,
        js_on_load=(ASSETS / script).read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id=name,
        padding=False,
        busy="",
        save="",
    )

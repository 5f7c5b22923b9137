"""The organiser's page: sign-in, campaigns, and the form of a new one, connected to the handlers.

It has an address of its own, so that no rater loads any of it. Like the board, its components have a constant skeleton,
data as lines (`organise_lines.py`), and nodes by textContent in assets/campaigns.js and assets/draft.js.
"""

from typing import Any

import gradio as gr

from components.board import ASSETS
from components.gate import MOST_PASSWORD
from components.organise_export import forms
from components.organise_fields import Fields, fields
from components.organising import Organiser
from components.ratings_results import RatingsResults
from components.ratings_results_tab import ratings_results_tab

_BEHIND: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
# Nothing that an organiser saw stays on the page.
_RELOAD = "() => location.reload()"
_LOGOUT = "() => location.assign('logout?_target_url=/organise')"
_PLAIN: dict[str, Any] = {"js_on_load": None, "apply_default_css": False, "padding": False}

HEAD = '<div class="head"><h1><a href="./">EFT Lab</a> <span>Campaigns</span></h1></div>'
CAMPAIGNS = """
<div class="campaigns">
  <p class="status" role="status"></p>
  <p class="none" hidden>There is no campaign yet: make one under “New campaign”.</p>
  <div class="sides">
    <nav class="list" aria-label="Campaigns"></nav>
    <section class="one" aria-label="Campaign" hidden>
      <div class="bar"><h2 dir="auto"></h2><span class="state"></span><div class="tools"></div></div>
      <form class="ask" hidden>
        <p></p>
        <input maxlength="1000" aria-label="Reason" placeholder="Reason, kept with the votes">
        <button type="submit" class="primary"></button>
        <button type="button" class="quiet" data-act="keep">Cancel</button>
      </form>
      <div class="link">
        <label>Link for raters <input readonly></label>
        <button type="button" class="quiet" data-act="copy">Copy</button>
      </div>
      <div class="meters"></div>
      <h3>Raters</h3>
      <div class="box" tabindex="0" role="region" aria-label="Raters"><table class="raters"></table></div>
      <div class="paired">
        <h3>Pairs</h3>
        <div class="box" tabindex="0" role="region" aria-label="Pairs"><table class="pairs"></table></div>
      </div>
      <h3>Export</h3>
      <form class="export">
        <select name="form" aria-label="Form"></select>
        <select name="pair" aria-label="Pair" hidden></select>
        <span class="options"></span>
        <button type="submit" class="quiet">Download</button>
        <p class="about"></p>
        <p class="counts" role="status"></p>
      </form>
      <details class="plan"><summary>Plan</summary><dl></dl></details>
    </section>
  </div>
</div>
"""
DRAFT = """
<div class="draft">
  <h3>Policies</h3><ol class="policies"></ol>
  <h3>Prompts</h3><p class="count"></p><ol class="prompts"></ol>
  <h3>What it takes</h3><ul class="cost"></ul>
  <p class="status" role="status"></p>
</div>
"""


def organise_page(blocks: gr.Blocks, organiser: Organiser, results: RatingsResults | None = None) -> None:
    """Build the page inside the route under construction, and connect it."""
    gr.HTML(HEAD, elem_id="organise-head", **_PLAIN)
    shown = gr.State(None)  # the pass
    entry, word, password, enter = _entry(organiser)
    with gr.Column(elem_id="organise", min_width=0, visible=False) as work:
        leave = gr.Button("Sign out", size="sm", elem_id="organise-leave", elem_classes="example", scale=0, min_width=0)
        with gr.Tabs(elem_id="organise-tabs") as tabs:
            with gr.Tab("Campaigns", id="campaigns"):
                panel = _component(CAMPAIGNS, "campaigns", f"const FORMS = {forms()};\n", save="")
            if results is not None:
                with gr.Tab("Results", id="results") as rated:
                    ratings_results_tab(rated, results, shown)
            with gr.Tab("New campaign", id="new") as new, gr.Row(elem_id="organise-new"):
                with gr.Column(elem_id="organise-form", min_width=0):
                    form = fields(organiser.form)
                with gr.Column(elem_id="organise-draft", min_width=0):
                    draft = _component(DRAFT, "draft")
                    make = gr.Button("Create campaign", variant="primary")
    all_of_it = [entry, word, password, work, panel]
    gr.on(
        [enter.click, password.submit],
        organiser.enter,
        password,
        [*all_of_it, shown],
        concurrency_limit=None,
        **_BEHIND,
    )
    left = leave.click(organiser.leave, None, shown, queue=False, **_BEHIND)
    left.then(None, js=_LOGOUT if organiser.gate.takes_login else _RELOAD)
    blocks.load(organiser.arrive, None, [*all_of_it, shown], queue=False, **_BEHIND)
    panel.submit(organiser.act, shown, all_of_it, queue=False, trigger_mode="multiple", **_BEHIND)
    panel.download(organiser.export, shown, panel, **_BEHIND)
    _connect_form(organiser, shown, new, form, draft)
    make.click(organiser.create, [shown, form.prompts, *form.controls], [draft, tabs, panel], queue=False, **_BEHIND)


def _entry(organiser: Organiser) -> tuple[gr.Column, gr.Markdown, gr.Textbox, gr.Button]:
    """The sign-in: by what this server takes, or how to set it up."""
    gate = organiser.gate
    with gr.Column(elem_id="organise-entry", min_width=0) as entry:
        gr.HTML("<h2>Organise campaigns</h2>", **_PLAIN)
        password = gr.Textbox(
            label="Password", type="password", max_lines=1, max_length=MOST_PASSWORD, visible=gate.takes_password
        )
        enter = gr.Button("Sign in", variant="primary", visible=gate.takes_password)
        if gate.takes_login:
            gr.LoginButton()
        word = gr.Markdown(organiser.first_word(), elem_id="organise-word", sanitize_html=True)
    return entry, word, password, enter


def _connect_form(organiser: Organiser, shown: gr.State, tab: gr.Tab, form: Fields, draft: gr.HTML) -> None:
    """A file is read once; whatever changes is counted."""
    form.file.change(
        organiser.read_prompts, [shown, form.file, *form.controls], [form.prompts, draft], queue=False, **_BEHIND
    )
    gr.on(
        [tab.select, *(each.change for each in form.counted)],
        organiser.preview,
        [shown, form.prompts, *form.controls],
        draft,
        queue=False,
        trigger_mode="always_last",
        **_BEHIND,
    )


def _component(skeleton: str, name: str, constants: str = "", **props: Any) -> gr.HTML:
    """A component of ours: `value` is one JSON object, `said` another, which is told once.

    What never changes goes into the script: an update before the component is there replaces all of its own props."""
    script = constants + (ASSETS / f"{name}.js").read_text(encoding="utf-8")
    return gr.HTML(
        "",
        html_template=skeleton,
        js_on_load=script,
        apply_default_css=False,
        elem_id=name,
        padding=False,
        said="",
        **props,
    )

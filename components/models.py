"""The Models tab: the page's own family in memory, its vocabulary, a new family, and all families.

Like the board, its components have constant skeletons. Values are HTML whose texts are escaped (`models_html`,
`families_list`) and stand in the skeleton as `${value}`, which gradio inserts and does not evaluate.
"""

from typing import Any

import gradio as gr

from components.board import ASSETS
from components.compare import WAITING
from components.limits import Limiter
from components.models_handlers import Download, Manager
from components.models_rights import Rights
from eft_core.lab import Lab
from eft_core.session import Session

_BEHIND: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

GOING = '<div class="going" role="status">${value}</div>'
OWN = '<section class="own" aria-label="This family">${value}</section>'
REPORT = '<section class="report" aria-label="Vocabulary">${value}</section>'
FOUND = '<div class="outcome" role="status">${value}</div>'
FAMILIES = """
<section class="all" aria-label="All families">
  <div class="bar"><h2>All families</h2><label><input type="checkbox"> On this machine</label></div>
  ${value}
</section>
"""
ADDING = """
<form class="adding" autocomplete="off">
  <fieldset class="ways">
    <legend>Written as</legend>
    <label><input type="radio" name="kind" value="form" checked> Form</label>
    <label><input type="radio" name="kind" value="toml"> TOML</label>
  </fieldset>
  <div class="fields">
    <label>Name <span>Short, for it is part of its page's address.</span>
      <input name="name" maxlength="60" placeholder="my-family" spellcheck="false"></label>
    <label>Title <span>As people read it.</span>
      <input name="title" maxlength="200" placeholder="My family"></label>
    <label>Sizes <span>From small to large, with commas between them.</span>
      <input name="sizes" maxlength="1000" value="small, large" spellcheck="false"></label>
    <label>Behaviours <span>What tuned models were tuned for, with commas between them.</span>
      <input name="behaviours" maxlength="1000" value="instruct" spellcheck="false"></label>
    <fieldset class="places">
      <legend>Checkpoints <span>A folder on the server, from its root, or a Hub id such as org/name@revision.
        What is left empty is not there.</span></legend>
      <div class="grid"></div>
    </fieldset>
  </div>
  <label class="toml" hidden>TOML <span>As in a families file; several families are added all or none.</span>
    <textarea name="toml" rows="14" spellcheck="false"></textarea></label>
  <div class="go">
    <button type="submit" class="quiet">Check</button>
    <button type="button" class="primary" data-act="add">Add family</button>
  </div>
</form>
"""


def models_tab(
    tab: gr.Tab,
    lab: Lab,
    session: Session,
    manage: bool | None,
    download: Download | None = None,
    limits: Limiter | None = None,
) -> None:
    """Build the tab inside the Blocks under construction, and connect it; families are looked at when `tab` is opened.

    `session` is the page's own family. `manage`: whether visitors may change anything, as the settings say.
    """
    limits = limits or Limiter.of(session.settings)
    manager = Manager(lab, session, Rights.of(manage), download, limits=limits)
    with gr.Column(elem_id="models-tab", min_width=0):
        going = _component("models-going", GOING)
        own = _component("models-own", OWN, news=True)
        with gr.Accordion("Vocabulary", open=False, elem_id="models-vocabulary") as vocabulary:
            report = _component("models-report", REPORT)
        with gr.Accordion("Add a family", open=False, visible=False, elem_id="models-adding") as adding:
            form = gr.HTML(
                html_template=ADDING,
                js_on_load=_script("adding"),
                apply_default_css=False,
                padding=False,
                elem_id="models-form",
            )
            outcome = _component("models-outcome", FOUND)
        families = _component("models-families", FAMILIES)
    shown = [own, families]
    tab.select(manager.open, None, [*shown, adding], queue=False, **_BEHIND)
    own.tick(manager.show, None, shown, queue=False, **_BEHIND)
    vocabulary.expand(manager.report, None, report, **_BEHIND)
    gr.on(
        [own.submit, families.submit],
        manager.act,
        None,
        [going, *shown],
        concurrency_limit=WAITING,
        **_BEHIND,
    )
    going.stop(manager.halt, None, None, queue=False, **_BEHIND)
    form.submit(manager.adding, None, [outcome, *shown], concurrency_limit=WAITING, **_BEHIND)


def _component(name: str, skeleton: str, news: bool = False) -> gr.HTML:
    """A part that the server draws; it sends what its buttons want. `news`: while in view it asks how things are."""
    script = f"const NEWS = {'true' if news else 'false'};\n{_script('acts')}"
    return gr.HTML("", html_template=skeleton, js_on_load=script, apply_default_css=False, padding=False, elem_id=name)


def _script(name: str) -> str:
    return (ASSETS / "families" / f"{name}.js").read_text(encoding="utf-8")

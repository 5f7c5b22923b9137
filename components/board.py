"""The board: all columns of a comparison in one custom component.

The template is a constant skeleton that names no value, for gradio evaluates templates as JavaScript
(ECOSYSTEM.md 1.5). Data come as lines (`lines.py`) in `value` (the log of a run) and `layout` (the columns as they
are set up now); assets/board.js turns them into nodes with textContent. What the board triggers is checked here.
"""

from pathlib import Path

import gradio as gr

ASSETS = Path(__file__).parent.parent / "assets"

SKELETON = """
<div class="board">
  <div class="bar">
    <p class="status" role="status"></p>
    <div class="tools">
      <button type="button" class="quiet" data-act="panel" aria-expanded="false" aria-controls="panel">Settings</button>
      <button type="button" class="quiet" data-act="copy">Copy link</button>
      <button type="button" class="quiet" data-act="add">Add column</button>
    </div>
  </div>
  <p class="echo" dir="auto"></p>
  <div class="columns" role="group" aria-label="Answers"></div>
</div>
"""


def board(log: str, layout: str) -> gr.HTML:
    """The component. Its triggers: `select` with an act and a column's key, `submit` for a link that runs itself."""
    script = (ASSETS / "board.js").read_text(encoding="utf-8")
    return gr.HTML(
        value=log,
        html_template=SKELETON,
        js_on_load=script,
        apply_default_css=False,
        elem_id="board",
        layout=layout,
    )


def laid_out(layout: str) -> gr.HTML:
    """An update of the columns' set-up that leaves the log alone."""
    return gr.HTML(layout=layout)


def asked(event: gr.EventData) -> tuple[str, int]:
    """What the board asks for, as (act, key). The data come from a browser: anything else is a ValueError."""
    data = getattr(event, "_data", None)
    act, key = (data.get("act"), data.get("key", 0)) if isinstance(data, dict) else (None, None)
    if act not in ("select", "remove", "add") or not isinstance(key, int) or isinstance(key, bool):
        raise ValueError("the board asked for something unknown: reload the page.")
    return act, key

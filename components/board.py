"""The board: all columns of a comparison in one custom component.

The template is a constant skeleton that names no value, for gradio evaluates templates as JavaScript
(ECOSYSTEM.md 1.5). Data come as lines (`lines.py`) in `value` (the log of a run) and `layout` (the columns as they
are set up now); assets/board.js turns them into nodes with textContent. What the board triggers is checked here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from eft_core import standalone

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
  <p class="after" hidden></p>
  <p class="echo" dir="auto"></p>
  <div class="layer">
    <div class="strip-tools" role="group" aria-label="Token colours"></div>
    <div class="columns" role="group" aria-label="Answers"></div>
    <div class="strip-shifts"></div>
    <div class="strip-live"></div>
  </div>
</div>
"""

# What the board may ask for, beside Run.
ACTS = ("select", "remove", "add", "branch", "weigh")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a visitor wants of a column: `data` holds what else the act needs, unchecked."""

    act: str
    key: int
    data: Mapping[str, Any]


def board(log: str, layout: str) -> gr.HTML:
    """The component. Its triggers: `select` with an act and a column's key; `submit` to run, all columns or `only` one;
    `expand` to look at an answer in Inspect; `edit` to reply to one."""
    script = strip_script() + (ASSETS / "board.js").read_text(encoding="utf-8")
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


def strip_script() -> str:
    """The token strip's script, which goes before a component's own."""
    return standalone.script()


def asked(event: gr.EventData) -> Wish:
    """What the board asks for. The data come from a browser: anything else is a ValueError."""
    data = data_of(event)
    act, key = data.get("act"), data.get("key", 0)
    if act not in ACTS or not isinstance(key, int) or isinstance(key, bool):
        raise ValueError("the board asked for something unknown: reload the page.")
    return Wish(act, key, data)


def data_of(event: gr.EventData) -> dict[str, Any]:
    """What a component's script sent with its event; empty for events of gradio's own."""
    data = getattr(event, "_data", None)
    return data if isinstance(data, dict) else {}

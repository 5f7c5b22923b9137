"""Tables of results in one custom component: the rows, further tables folded, and how it was measured.

Like the board: a constant skeleton, data as a line, nodes by textContent in assets/tables.js.
"""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from components.board import ASSETS
from eft_core.experiments.documents import cells
from eft_core.experiments.study import Row

SKELETON = """
<div class="tables" hidden>
  <div class="rows"></div>
  <p class="legend">Brackets hold 95% intervals.</p>
  <div class="more"></div>
  <h3>How it was measured</h3>
  <dl class="how"></dl>
</div>
"""


def tables(text: str = "") -> gr.HTML:
    """The component; `text` is a line of `results_lines.body`, or nothing."""
    script = (ASSETS / "tables.js").read_text(encoding="utf-8")
    return gr.HTML(
        text, html_template=SKELETON, js_on_load=script, apply_default_css=False, elem_id="result-tables", padding=False
    )


def table_values(title: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Rows as heads and cells of text; `numeric` says which columns are numbers."""
    names, texts = cells(rows)
    return {
        "title": title,
        "heads": [name.replace("_", " ") for name in names],
        "numeric": [_numeric(rows, name) for name in names],
        "cells": texts,
    }


def _numeric(rows: Sequence[Row], name: str) -> bool:
    values = [row[name] for row in rows if row.get(name) is not None]
    return bool(values) and all(isinstance(value, int | float) for value in values)

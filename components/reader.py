"""The reader of Inspect: one text as a strip, its summary, and what can be saved of it, in one custom component.

Like the board: a constant skeleton, data as lines (`lines.py`), nodes by textContent in assets/reader.js. `value` is
the log of a reading, `save` a file to hand to the visitor: made when asked for, and on no disk of ours.
"""

import json
import uuid

import gradio as gr

from components.board import ASSETS, strip_script

SKELETON = """
<div class="reader">
  <div class="bar">
    <p class="status" role="status"></p>
    <div class="tools">
      <button type="button" class="quiet" data-act="json">Save JSON</button>
      <button type="button" class="quiet" data-act="html">Save HTML</button>
      <button type="button" class="quiet" data-act="png">Save figures</button>
    </div>
  </div>
  <progress class="read" max="1" value="0" aria-label="Tokens read" hidden></progress>
  <p class="after" hidden></p>
  <p class="echo" dir="auto"></p>
  <div class="layer">
    <div class="strip-tools" role="group" aria-label="Token colours"></div>
    <article class="card" hidden>
      <header><h2></h2></header>
      <p class="formula"></p>
      <div class="tokens"></div>
      <footer><span class="note"></span></footer>
    </article>
    <div class="strip-shifts"></div>
    <div class="strip-live"></div>
  </div>
</div>
"""

FINDINGS = """
<div class="findings"><p class="status" role="status"></p><ol class="found"></ol></div>
"""


def reader(log: str = "") -> gr.HTML:
    """The component. Its triggers: `download` with the kind of file that is wanted."""
    script = strip_script() + (ASSETS / "reader.js").read_text(encoding="utf-8")
    return gr.HTML(
        log,
        html_template=SKELETON,
        js_on_load=script,
        apply_default_css=False,
        elem_id="reader",
        save="",
        padding=False,
    )


def findings(log: str = "") -> gr.HTML:
    """The list of tokens at which the mixture fails. Its trigger: `select` with a case and a token's number."""
    script = (ASSETS / "findings.js").read_text(encoding="utf-8")
    return gr.HTML(
        log, html_template=FINDINGS, js_on_load=script, apply_default_css=False, elem_id="findings", padding=False
    )


def saved(name: str, mime: str, text: str) -> gr.HTML:
    """An update that hands a file to the visitor; each is another one, for the browser leaves out what is the same."""
    return gr.HTML(save=json.dumps({"name": name, "mime": mime, "text": text, "once": uuid.uuid4().hex}))

"""The scrubber: a sweep's answers along its sliders, in one custom component.

Like the board: a constant skeleton, data as lines (`sweep_lines.py`), nodes by textContent in assets/scrub.js. `value`
is the log of a run, `count` what the controls would run, `save` a file to hand to the visitor.
"""

import gradio as gr

from components.board import ASSETS
from components.lines import line

SKELETON = """
<div class="scrub">
  <p class="count" role="status"></p>
  <div class="bar">
    <p class="status" role="status"></p>
    <div class="tools" hidden>
      <button type="button" class="quiet" data-act="save">Save file</button>
      <button type="button" class="quiet" data-act="copy">Copy link</button>
    </div>
  </div>
  <progress class="read" max="1" value="0" aria-label="Answers" hidden></progress>
  <p class="about">A sweep asks the same under many settings at once, and shows what changes: move the slider and
    watch the answer. Choose a preset or an axis, then press Run. The part of an answer that equals the setting before
    is dimmed, and the first token that differs is marked.</p>
  <div class="swept" hidden>
    <div class="asked">
      <div class="which" hidden>
        <button type="button" class="quiet" data-act="before" aria-label="Previous prompt">‹</button>
        <select aria-label="Prompt"></select>
        <button type="button" class="quiet" data-act="after" aria-label="Next prompt">›</button>
      </div>
      <p class="echo" dir="auto"></p>
    </div>
    <div class="sliders" role="group" aria-label="Axes"></div>
    <article class="card">
      <header><h2 class="setting"></h2></header>
      <p class="formula"></p>
      <div class="answers"></div>
    </article>
    <div class="ladder">
      <div class="head">
        <h3></h3>
        <div class="against" role="group" aria-label="Compare with">
          <span>compare with</span>
          <button type="button" class="quiet" data-act="previous" aria-pressed="true">previous</button>
          <button type="button" class="quiet" data-act="first" aria-pressed="false">first</button>
        </div>
      </div>
      <ol class="rungs"></ol>
    </div>
    <p class="verdict"></p>
  </div>
</div>
"""


def scrub(log: str, count: str) -> gr.HTML:
    """The component. Its trigger: `download` when the visitor wants the file."""
    script = (ASSETS / "scrub.js").read_text(encoding="utf-8")
    return gr.HTML(
        log,
        html_template=SKELETON,
        js_on_load=script,
        apply_default_css=False,
        elem_id="scrub",
        count=count,
        save="",
        padding=False,
    )


def counting(text: str, error: bool = False) -> str:
    """The `count` that says what the controls would run, or why they cannot."""
    return line("count", text=text, error=error)

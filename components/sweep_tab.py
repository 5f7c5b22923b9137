"""The Sweep tab: prompts under a grid, their answers along sliders, and their curves, connected to the handlers."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from components.board import ASSETS
from components.compare import WAITING, Compared
from components.example import prompts
from components.inputs import MAX_LENGTH, MAX_TEMPERATURE
from components.scrub import scrub
from components.sweep_form import NONE, Form
from components.sweeping import Sweeper
from components.sweeps import ATLAS, LEAST_QUESTIONS, MAX_QUESTIONS, MAX_SAMPLES, presets
from eft_core.config import Limits
from eft_core.family import Family

# The server draws the figure for the mode that the page is in.
_WITH_MODE = "(...values) => [...values.slice(0, -1), document.body.classList.contains('dark')]"
_BEHIND: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class _Controls:
    """What a visitor fills in."""

    source: gr.Radio
    prompt: gr.Textbox
    questions: gr.Slider
    file: gr.File
    policy: gr.Dropdown
    axes: tuple[Any, ...]  # a dropdown and its values, twice
    decoding: tuple[gr.components.Component, ...]

    @property
    def every(self) -> list[Any]:
        """All of them, in the form's order."""
        return [self.source, self.prompt, self.questions, self.file, self.policy, *self.axes, *self.decoding]


def sweep_tab(blocks: gr.Blocks, tabs: gr.Tabs, tab: gr.Tab, compared: Compared, sweeper: Sweeper) -> None:
    """Build the tab inside the Blocks under construction, and connect it."""
    form = sweeper.form
    with gr.Column(elem_id="sweep", min_width=0):
        source, prompt, questions, file, run, stop = _prompt_row(form.family)
        policy, axes = _axis_row(form, compared)
        with gr.Row(elem_id="sweep-presets"):
            buttons = [(_quiet(each.label), each) for each in presets(form.family)]
            opener = gr.UploadButton("Open file", file_types=[".jsonl"], size="sm", elem_classes="example", scale=0)
        controls = _Controls(source, prompt, questions, file, policy, axes, _decoding())
        view = scrub("", form.counted(*(each.value for each in controls.every)))
        figure = gr.Plot(show_label=False, elem_id="curves", container=False, visible=False)
    dark, text = gr.Checkbox(False, visible="hidden"), gr.State("")
    shown = [view, figure, text]
    for button, preset in buttons:
        filled = [preset.axis, form.usual(preset.axis), NONE, "", preset.prompt or gr.skip()]
        button.click(partial(list, filled), None, [*axes, prompt], queue=False, **_BEHIND)
    _connect_controls(controls, tab, form, view)
    tab.select(form.policies, [compared.columns, policy], policy, queue=False, **_BEHIND)
    run.click(sweeper.run, [*controls.every, dark], shown, js=_WITH_MODE, concurrency_limit=WAITING, **_BEHIND)
    stop.click(sweeper.handlers.stop, queue=False, trigger_mode="multiple", **_BEHIND)
    opener.upload(sweeper.open_file, [opener, dark], shown, js=_WITH_MODE, queue=False, **_BEHIND)
    view.download(sweeper.save, text, view, queue=False, **_BEHIND)
    opened = [tabs, *shown, *controls.every]
    blocks.load(sweeper.open_link, [compared.columns, dark], opened, js=_WITH_MODE, queue=False, **_BEHIND)


def _quiet(label: str) -> gr.Button:
    return gr.Button(label, size="sm", elem_classes="example", min_width=0, scale=0)


def _prompt_row(family: Family) -> tuple[gr.Radio, gr.Textbox, gr.Slider, gr.File, gr.Button, gr.Button]:
    """What is asked, Run and Stop."""
    sources = [("One prompt", "prompt"), ("Atlas questions", ATLAS), ("File", "file")]
    here = [pair for pair in sources if pair[1] != ATLAS or family.name == ATLAS]
    with gr.Row(elem_id="sweep-ask"):
        source = gr.Radio(here, value="prompt", label="Prompts", scale=0, min_width=0)
        examples = [each.text for each in prompts(ASSETS / "examples.toml", family)]
        prompt = gr.Textbox(examples[0], label="Prompt", placeholder="Ask something", lines=1, max_lines=4, scale=1)
        questions = gr.Slider(
            LEAST_QUESTIONS, MAX_QUESTIONS, 50, step=10, label="Questions", buttons=[], visible=False, scale=1
        )
        file = gr.File(
            label="Prompts, .jsonl or .csv", file_types=[".jsonl", ".csv"], visible=False, scale=1, height=132
        )
        run = gr.Button("Run", variant="primary", scale=0, min_width=88)
        stop = gr.Button("Stop", scale=0, min_width=88)
    return source, prompt, questions, file, run, stop


def _axis_row(form: Form, compared: Compared) -> tuple[gr.Dropdown, tuple[Any, ...]]:
    """The policy that is swept, and two axes with their values."""
    key = next((each.axis for each in presets(form.family)), "temperature")
    with gr.Row(elem_id="sweep-axes"):
        policy = form.policies(compared.columns.value, None)
        first, values = form.axes(key, optional=False), _values(form.usual(key))
        second, others = form.axes(NONE, optional=True), _values("")
    return policy, (first, values, second, others)


def _values(text: str) -> gr.Textbox:
    return gr.Textbox(text, label="Values", placeholder="0:1:0.25, or 0, 0.5, 1", max_lines=1)


def _decoding() -> tuple[gr.components.Component, ...]:
    """How answers are drawn where no axis says so."""
    with gr.Accordion("Decoding", open=False, elem_id="sweep-decoding"), gr.Row():
        return (
            gr.Slider(
                1, MAX_SAMPLES, 1, step=1, label="Answers", info="Of each prompt under each setting.", buttons=[]
            ),
            gr.Slider(
                0,
                MAX_TEMPERATURE,
                0,
                step=0.05,
                label="Temperature",
                info="0: the likeliest token. 1: drawn from π.",
                buttons=[],
            ),
            gr.Number(0, label="Seed", info="The same seed, the same draw."),
            gr.Slider(
                1,
                MAX_LENGTH,
                Limits().max_new_tokens,
                step=1,
                label="Length",
                info="The most tokens of an answer.",
                buttons=[],
            ),
        )


def _connect_controls(controls: _Controls, tab: gr.Tab, form: Form, view: gr.HTML) -> None:
    """Sources show their control, axes get their usual values, and whatever changes is counted."""
    controls.source.change(
        lambda value: [
            gr.Textbox(visible=value == "prompt"),
            gr.Slider(visible=value == ATLAS),
            gr.File(visible=value == "file"),
        ],
        controls.source,
        [controls.prompt, controls.questions, controls.file],
        queue=False,
        **_BEHIND,
    )
    for key, values in (controls.axes[:2], controls.axes[2:]):
        key.input(form.usual, key, values, queue=False, trigger_mode="always_last", **_BEHIND)
    gr.on(
        [tab.select, *(each.change for each in controls.every)],
        form.count,
        controls.every,
        view,
        queue=False,
        trigger_mode="always_last",
        **_BEHIND,
    )

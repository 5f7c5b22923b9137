"""The form of a new campaign: its controls, in the order of `organise_form.Draft`, and the file of prompts."""

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.inputs import MAX_LENGTH, MAX_TEMPERATURE
from components.organise_form import MEETINGS, Form
from components.organise_lines import IDENTITIES, PUBLISHED
from eft_core.config import Limits
from eft_core.family import default_columns
from eft_core.ratings.campaign import GUIDELINES, MOST_GUIDELINES, TAGS
from eft_core.ratings.judgement import SCALES

SAMPLE = """id,prompt,better,worse
kenya,What is the capital of Kenya?,,
peru,What is the currency of Peru?,,
gold-1,What is the capital of France?,The capital of France is Paris.,The capital of France is Rome.
"""
_EXAMPLE = 'No fine-tuning = {"pretrain": "large"}'


@dataclass(frozen=True)
class Fields:
    """`controls` make a `Draft`: what raters read, and by what is counted. `prompts` are what was in the file."""

    file: gr.File
    prompts: gr.State
    reading: tuple[Any, ...]
    counted: tuple[Any, ...]

    @property
    def controls(self) -> list[Any]:
        return [*self.reading, *self.counted]


def fields(form: Form) -> Fields:
    """Build them inside the column under construction."""
    reading = _reading()
    file = _prompts()
    parts = (_policies(form), _decoding(), _ratings(), _questions(), _access(form))
    return Fields(file, gr.State(()), reading, tuple(control for part in parts for control in part))


def _reading() -> tuple[Any, ...]:
    with _part("What raters read"):
        return (
            gr.Textbox(label="Title", max_length=200, placeholder="Which answer is better?"),
            gr.Textbox(GUIDELINES, label="Guidelines", lines=4, max_lines=12, max_length=MOST_GUIDELINES),
        )


def _prompts() -> gr.File:
    with _part("Prompts"):
        about = (
            "A .csv or .jsonl with the column <code>prompt</code>, and if you like <code>id</code>. Rows with "
            "<code>better</code> and <code>worse</code>, two answers that you wrote, are gold items: they check raters."
        )
        address = f"data:text/csv;base64,{b64encode(SAMPLE.encode()).decode()}"
        gr.HTML(
            f'<p class="hint">{about} <a download="prompts.csv" href="{address}">Sample file</a></p>',
            js_on_load=None,
            apply_default_css=False,
            padding=False,
        )
        return gr.File(show_label=False, label="Prompts", file_types=[".csv", ".jsonl"], height=132)


def _policies(form: Form) -> tuple[Any, ...]:
    presets = form.presets()
    with _part("Policies"):
        chosen = gr.CheckboxGroup(
            [(f"{label}: {policy.formula()}", label) for label, policy in presets.items()],
            value=[label for label, _ in default_columns(form.family)],
            label="Compared",
            elem_id="organise-presets",
        )
        with gr.Accordion("Your own", open=False, elem_classes="fold"):
            written = gr.Textbox(
                label="One a line",
                info='A name, =, and the policy as "python -m eft_core compare --json" writes it.',
                placeholder=_EXAMPLE,
                lines=3,
                max_lines=12,
            )
        meeting = gr.Radio([(text, key) for key, text in MEETINGS.items()], value="all", label="Pairs")
        # css shows it where pairs are listed
        pairs = gr.Textbox(
            label="Which, by the policies' numbers", placeholder="1-2, 1-3", max_lines=1, elem_id="organise-pairs"
        )
    return chosen, written, meeting, pairs


def _decoding() -> tuple[Any, ...]:
    with _part("Decoding"), gr.Row():
        return (
            _slider(0, MAX_TEMPERATURE, 0, "Temperature", "0: the likeliest token. 1: drawn from π.", step=0.05),
            gr.Number(0, label="Seed", info="Of answers, order and overlap."),
            _slider(1, MAX_LENGTH, Limits().max_new_tokens, "Length", "The most tokens of an answer."),
        )


def _ratings() -> tuple[Any, ...]:
    with _part("How many judgements"), gr.Row():
        return (
            gr.Number(3, label="Ratings", info="Of each pair and prompt, by different raters.", minimum=1, precision=0),
            _slider(0, 100, 100, "Overlap, %", "Prompts that get so many; the others get one."),
            gr.Number(0, label="A rater's share", info="Comparisons at most; 0: no bound.", minimum=0, precision=0),
            _slider(0, 50, 5, "Repeats, %", "Come again with sides swapped: is a rater consistent?"),
            _slider(0, 50, 0, "Gold items, %", "Of what a rater gets, where the file has some."),
        )


def _questions() -> tuple[Any, ...]:
    with _part("Asked beside the choice"):
        strength = gr.Checkbox(True, label="How much better, slightly or clearly")
        scales = gr.CheckboxGroup([(name.capitalize(), name) for name in SCALES], label="From 1 to 5, each answer")
        tags = gr.Textbox(", ".join(TAGS), label="Tags", info="With commas between them; none: leave it empty.")
        return strength, scales, tags, gr.Checkbox(True, label="A comment")


def _access(form: Form) -> tuple[Any, ...]:
    with _part("Who rates, who sees"):
        ways = [(text, key) for key, text in IDENTITIES.items() if key == "code" or form.logins]
        why = None if form.logins else "Hugging Face accounts need a Space with hf_oauth."
        return (
            gr.Radio(ways, value="code", label="Raters", info=why),
            gr.Radio([(text, key) for key, text in PUBLISHED.items()], value="closed", label="Results are public"),
            gr.Checkbox(False, label="Raters see after each vote whose answers they were"),
        )


def _slider(low: float, high: float, value: float, label: str, info: str, step: float = 1) -> gr.Slider:
    return gr.Slider(low, high, value, step=step, label=label, info=info, buttons=[])


def _part(title: str) -> gr.Column:
    """A part of the form, with its heading in it."""
    column = gr.Column(elem_classes="part", min_width=0)
    with column:
        gr.HTML(f"<h3>{title}</h3>", js_on_load=None, apply_default_css=False, padding=False)
    return column

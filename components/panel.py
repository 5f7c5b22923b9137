"""The settings panel: the selected column's policy stands open, how tokens are drawn folds under "Decoding".

Every control's hint says what it does to the formula. `readings` turns a column into what the controls show.
"""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.columns import LOWEST_NUCLEUS, MAX_LABEL, MAX_WEIGHT, Column, name_of
from components.inputs import MAX_LENGTH, MAX_TEMPERATURE
from eft_core.config import Limits, Sampling
from eft_core.families import Family

Control = gr.Textbox | gr.Radio | gr.Slider | gr.Number

PLAIN = ""  # the value of "no fine-tuning": a radio cannot hold None as a choice

# gr.HTML evaluates its template, so it is a constant; board.js writes the selected column's name into it.
_TITLE = """
<div class="panel-head"><span class="dot" aria-hidden="true"></span><h2 id="panel-title">Settings</h2>
<button type="button" id="close-panel" class="quiet">Close</button></div>
"""
_READY = "document.dispatchEvent(new Event('eft-panel'))"  # whichever is mounted last, the title gets written


@dataclass(frozen=True)
class Controls:
    """The panel's components; `policy` are the selected column's, `decoding` the whole comparison's."""

    policy: tuple[Control, ...]
    decoding: tuple[Control, ...]

    @property
    def name(self) -> gr.Textbox:
        assert isinstance(self.policy[0], gr.Textbox), "the name comes first"
        return self.policy[0]

    @property
    def every(self) -> list[Control]:
        return [*self.policy, *self.decoding]


def panel(family: Family, column: Column, sampling: Sampling, limits: Limits) -> Controls:
    """The components, filled from one column."""
    with gr.Column(elem_id="panel", scale=0, min_width=300):
        gr.HTML(html_template=_TITLE, js_on_load=_READY, apply_default_css=False)
        policy = _policy_controls(family, column)
        with gr.Accordion("Decoding", open=False, elem_id="decoding"):
            nucleus = _slider("Filter p", LOWEST_NUCLEUS, 1, 0.01, _nucleus(column), NUCLEUS_HINT, _tuned(column))
            decoding = _decoding_controls(sampling, limits)
    return Controls((*policy, nucleus), decoding)


NUCLEUS_HINT = "β acts on the likeliest tokens up to p only. 1 is off."


def _policy_controls(family: Family, column: Column) -> tuple[Control, ...]:
    """Name, N, M, the behaviour weights and beta."""
    name, pretrain, finetune, *weights, beta, _ = readings(column, family)
    sizes = [(size.capitalize(), size) for size in family.sizes]
    tuned_sizes = [pair for pair in sizes if family.behaviours_of(pair[1])]
    controls: list[Control] = [
        gr.Textbox(name, label="Name", placeholder=name_of(column.policy, family), max_length=MAX_LABEL),
        gr.Radio(sizes, value=pretrain, label="Pre-training", info="N, whose facts are used: base(N)."),
        gr.Radio(
            [("None", PLAIN), *tuned_sizes],
            value=finetune,
            label="Fine-tuning",
            info="M, whose manner is used: (tuned − base)(M).",
        ),
    ]
    there = family.behaviours_of(finetune) if finetune else ()
    for behaviour, weight in zip(family.behaviours, weights, strict=True):
        hint = _weight_hint(family, behaviour)
        controls.append(_slider(behaviour.capitalize(), 0, MAX_WEIGHT, 0.05, weight, hint, behaviour in there))
    hint = "Adds β·(base(N) − base(M))."
    controls.append(_slider("Amplification", 0, MAX_WEIGHT, 0.05, beta, hint, _tuned(column)))
    return tuple(controls)


def _decoding_controls(sampling: Sampling, limits: Limits) -> tuple[Control, ...]:
    """Temperature, top-p, top-k, seed, length: applied to the combined policy, in every column."""
    return (
        _slider(
            "Temperature", 0, MAX_TEMPERATURE, 0.05, sampling.temperature, "0: the likeliest token. 1: drawn from π."
        ),
        _slider("Top-p", 0.05, 1, 0.05, sampling.top_p or 1, "Draws from the likeliest tokens up to p. 1 is off."),
        _slider("Top-k", 0, 200, 1, sampling.top_k or 0, "Draws from the k likeliest tokens. 0 is off."),
        gr.Number(sampling.seed, label="Seed", info="The same seed, the same draw."),
        _slider("Length", 1, MAX_LENGTH, 1, limits.max_new_tokens, "The most tokens of an answer."),
    )


def _slider(label: str, low: float, high: float, step: float, value: float, hint: str, on: bool = True) -> gr.Slider:
    return gr.Slider(low, high, value=value, step=step, label=label, info=hint, interactive=on, buttons=[])


def _weight_hint(family: Family, behaviour: str) -> str:
    """What the weight multiplies, and where it exists if not everywhere."""
    sizes = [size for size in family.sizes if behaviour in family.behaviours_of(size)]
    only = "" if len(sizes) == len(family.sizes) else f", {', '.join(sizes)} only"
    return f"Adds λ·({behaviour} − base)(M){only}."


def _tuned(column: Column) -> bool:
    return column.policy.finetune is not None


def _nucleus(column: Column) -> float:
    return column.policy.nucleus or 1.0


def readings(column: Column, family: Family) -> tuple[Any, ...]:
    """What the policy controls show for a column, in their order: name, N, M, weights, beta, filter."""
    policy = column.policy
    weights = dict(policy.behaviours)
    return (
        column.label,
        policy.pretrain,
        policy.finetune or PLAIN,
        *(weights.get(behaviour, 0.0) for behaviour in family.behaviours),
        policy.amplification,
        _nucleus(column),
    )


def showing(column: Column, family: Family) -> list[Any]:
    """Updates that make the policy controls show a column; what has no part in its formula is greyed."""
    name, pretrain, finetune, *weights, beta, nucleus = readings(column, family)
    there = family.behaviours_of(finetune) if finetune else ()
    return [
        gr.Textbox(value=name, placeholder=name_of(column.policy, family)),
        pretrain,
        finetune,
        *(
            gr.Slider(value=weight, interactive=behaviour in there)
            for behaviour, weight in zip(family.behaviours, weights, strict=True)
        ),
        gr.Slider(value=beta, interactive=bool(finetune)),
        gr.Slider(value=nucleus, interactive=bool(finetune)),
    ]

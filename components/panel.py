"""The settings panel: the selected column's policy stands open, how tokens are drawn folds under "Decoding".

Every control's hint says what it does to the formula. `readings` turns a column into what the controls show.
"""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.columns import LOWEST_NUCLEUS, MAX_LABEL, MAX_WEIGHT, Column, name_of
from components.inputs import MAX_DRAFT, MAX_LENGTH, MAX_TEMPERATURE, USUAL, WAYS, Decoding
from eft_core.config import Sampling, Speculation
from eft_core.family import Family

Control = gr.Textbox | gr.Radio | gr.Slider | gr.Number | gr.Checkbox

USUAL_DRAFT = 4  # where the slider stands until somebody moves it
DECODING_CONTROLS = 10  # five of sampling and length, four of speculation, the record
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
    def speculation(self) -> tuple[Control, ...]:
        return self.decoding[5:9]

    @property
    def every(self) -> list[Control]:
        return [*self.policy, *self.decoding]


def panel(family: Family, column: Column, decoding: Decoding) -> Controls:
    """The components, filled from one column."""
    with gr.Column(elem_id="panel", scale=0, min_width=300):
        gr.HTML(html_template=_TITLE, js_on_load=_READY, apply_default_css=False)
        policy = _policy_controls(family, column)
        with gr.Accordion("Decoding", open=False, elem_id="decoding"):
            nucleus = _slider("Filter p", LOWEST_NUCLEUS, 1, 0.01, _nucleus(column), NUCLEUS_HINT, _tuned(column))
            drawing = _sampling_controls(decoding.sampling, decoding.limits.max_new_tokens)
            drafting = _speculation_controls(decoding.speculation)
            record = gr.Checkbox(decoding.record, label="Token record", info=RECORD_HINT)
    return Controls((*policy, nucleus), (*drawing, *drafting, record))


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


def _sampling_controls(sampling: Sampling, length: int) -> tuple[Control, ...]:
    """Temperature, top-p, top-k, seed, length: applied to the combined policy, in every column."""
    return (
        _slider(
            "Temperature", 0, MAX_TEMPERATURE, 0.05, sampling.temperature, "0: the likeliest token. 1: drawn from π."
        ),
        _slider("Top-p", 0.05, 1, 0.05, sampling.top_p or 1, "Draws from the likeliest tokens up to p. 1 is off."),
        _slider("Top-k", 0, 200, 1, sampling.top_k or 0, "Draws from the k likeliest tokens. 0 is off."),
        gr.Number(sampling.seed, label="Seed", info="The same seed, the same draw."),
        _slider("Length", 1, MAX_LENGTH, 1, length, "The most tokens of an answer."),
    )


def _speculation_controls(speculation: Speculation | None) -> tuple[Control, ...]:
    """Way, draft length, rule, timing. What has no part in the way is greyed."""
    way, length, rule, timed = speculation_readings(speculation)
    return (
        gr.Radio(
            [(name.capitalize(), name) for name in WAYS],
            value=way,
            label="Speculation",
            info="The small models draft, the large ones check many tokens at once.",
        ),
        _slider("Draft length", 1, MAX_DRAFT, 1, length, DRAFT_HINT, way == "fixed"),
        gr.Radio(
            [("Shared noise", "noise"), ("Block", "block"), ("Token", "token")],
            value=rule,
            label="Rule",
            info="Block and token keep plain decoding's law; shared noise even its text for a seed.",
            interactive=way != "off",
        ),
        gr.Checkbox(timed, label="Time both ways", info=TIMED_HINT, interactive=way != "off"),
    )


DRAFT_HINT = "Tokens drafted before one check by the large models."
RECORD_HINT = "Keeps what each token was drawn from; without it answers are plain text."
TIMED_HINT = "Decodes plainly first, unseen, to measure the gain."


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


def speculation_readings(speculation: Speculation | None) -> tuple[str, int, str, bool]:
    """What the controls of speculation show: way, draft length, rule, timing."""
    if speculation is None:
        return "off", USUAL_DRAFT, USUAL.rule, False
    way = "adaptive" if speculation.length is None else "fixed"
    return way, speculation.length or USUAL_DRAFT, speculation.rule, speculation.timed


def speculation_showing(way: object) -> list[Any]:
    """Updates of draft length, rule and timing: what has no part in this way is greyed."""
    on = way != "off"
    return [gr.Slider(interactive=way == "fixed"), gr.Radio(interactive=on), gr.Checkbox(interactive=on)]


def decoding_showing(decoding: Decoding) -> list[Any]:
    """Updates that make the controls of "Decoding" show what a link asks for."""
    sampling = decoding.sampling
    drawing = [sampling.temperature, sampling.top_p or 1, sampling.top_k or 0, sampling.seed]
    way, length, rule, timed = speculation_readings(decoding.speculation)
    drafting = [
        way,
        gr.Slider(value=length, interactive=way == "fixed"),
        gr.Radio(value=rule, interactive=way != "off"),
        gr.Checkbox(value=timed, interactive=way != "off"),
    ]
    return [*drawing, decoding.limits.max_new_tokens, *drafting, decoding.record]


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

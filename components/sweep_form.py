"""The Sweep tab's controls: what they show, and what they ask for.

Controls come and go in the tab's order: source, prompt, questions, file, policy, first axis and its values, second axis
and its values, answers a prompt, temperature, seed, length. Whatever a browser sends is checked.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from components.columns import Columns, name_of, title_of
from components.handlers import sentence
from components.inputs import check_length, check_prompt, check_sampling, number
from components.links import decode_column, encode_column
from components.scrub import counting
from components.sweep_links import check_questions, check_samples, written
from components.sweeps import (
    ATLAS,
    MAX_ANSWERS,
    MAX_AXES,
    Sweep,
    axis_keys,
    axis_of,
    counted,
    title_of_axis,
    usual_values,
)
from eft_core.family import Family
from eft_core.grid import Grid
from eft_core.prompt_sets import read_prompts

CONTROLS = 13
NONE = ""  # the value of "no second axis": a dropdown cannot hold None as a choice


@dataclass(frozen=True)
class Form:
    """The controls of one family."""

    family: Family

    def policies(self, columns: Columns, chosen: str | None) -> gr.Dropdown:
        """The policies to choose from: the columns of Compare, and the one that is chosen. Their values are what a link
        says of them."""
        found = {encode_column("", c.policy): title_of(c, self.family) for c in columns.items}
        policies = {text: decode_column(text, self.family)[1] for text in (*found, *([chosen] if chosen else []))}
        choices = [
            (f"{found.get(text) or name_of(policy, self.family)}: {policy.formula()}", text)
            for text, policy in policies.items()
        ]
        value = chosen or encode_column("", columns.current.policy)
        return gr.Dropdown(choices, value=value, label="Policy", scale=2)

    def axes(self, key: str, optional: bool) -> gr.Dropdown:
        """The axes to choose from, and the one that is chosen."""
        keys = axis_keys(self.family)
        keys = keys if key in (*keys, NONE) else [*keys, key]
        choices = [(title_of_axis(axis_of(each, self.usual(each))), each) for each in keys]
        label, choices = ("Second axis", [("None", NONE), *choices]) if optional else ("First axis", choices)
        return gr.Dropdown(choices, value=key, label=label)

    def usual(self, key: str) -> str:
        """The values of an axis that was just chosen."""
        return usual_values(str(key), self.family)

    def sweep(self, *controls: Any) -> Sweep:
        """What the controls ask for; ValueError with the remedy."""
        source, prompt, questions, file, policy, first, values, second, others, *decoding = controls
        samples, temperature, seed, length = decoding
        axes = [axis_of(first, values)] + ([axis_of(second, others)] if second else [])
        sampling = check_sampling(temperature, None, None, seed)
        grid = Grid(decode_column(str(policy), self.family)[1], sampling, tuple(axes))
        how = (check_length(length), check_samples(int(number(samples, 1))))
        if source == "file":
            if not file:
                raise ValueError("there is no file: choose one with the column prompt, .jsonl or .csv.")
            return Sweep(grid, "", 0, read_prompts(Path(file), MAX_ANSWERS + 1).items, *how)
        if source == ATLAS:
            return Sweep(grid, "", check_questions(int(number(questions, 50)), self.family), (), *how)
        return Sweep(grid, check_prompt(prompt), 0, (), *how)

    def count(self, *controls: Any) -> Any:
        """How much the controls ask for, or why they cannot. Output: the scrubber."""
        return gr.HTML(count=self.counted(*controls))

    def counted(self, *controls: Any) -> str:
        """The scrubber's line of it."""
        try:
            return counting(counted(self.sweep(*controls), self.family))
        except (TypeError, ValueError) as error:
            return counting(sentence(error), error=True)

    def showing(self, sweep: Sweep, columns: Columns) -> list[Any]:
        """The controls as a sweep of an address has them."""
        sampling, axes = sweep.grid.sampling, sweep.grid.axes
        pairs = [(axis.key, written(axis).partition("=")[2]) for axis in axes] + [(NONE, "")] * (MAX_AXES - len(axes))
        (first, values), (second, others) = pairs
        asked = [ATLAS if sweep.questions else "prompt", sweep.prompt, sweep.questions or gr.skip(), gr.skip()]
        policy = self.policies(columns, encode_column("", sweep.grid.policy))
        grid = [policy, self.axes(first, False), values, self.axes(second, True), others]
        return [*asked, *grid, sweep.samples, sampling.temperature, sampling.seed, sweep.limits.max_new_tokens]


def unchanged() -> list[Any]:
    """No update for any control."""
    return [gr.skip()] * CONTROLS

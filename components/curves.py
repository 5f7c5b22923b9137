"""A sweep's grades as curves with 95% intervals, and the sentence above them. Pure: run and grades in, figure out.

G settings, U units: prompts, or the answers of a single prompt. A unit counts where all its settings are answered, so
that every point of a curve is about the same prompts.
"""

import math
from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from components.scale import GROUND, INK, MODES
from components.sweeps import MAX_AXES, short_of_axis, title_of_axis
from components.theme import FONT, LINE, MUTED
from eft_core.grid import Axis, told
from eft_core.intervals import Estimate, difference, mean
from eft_core.trials import Trials

LEAST_UNITS = 2
# What a measure says of an answer, in the sentence.
_MEANINGS = {
    "factual": "states the value that the Factbook has",
    "helpful": "has the manner of the fine-tuning",
    "declined": "refuses",
    "exact": "is an accepted answer",
    "contains": "holds an accepted answer",
    "correct": "names the right choice",
}
# Okabe-Ito: (light, dark), with a dash each, so that colour is not the only difference.
_COLOURS = (
    ("#0072b2", "#58a6ff"),
    ("#009e73", "#009e73"),
    ("#cc79a7", "#cc79a7"),
    ("#e69f00", "#e69f00"),
    ("#d55e00", "#d55e00"),
    ("#56b4e9", "#56b4e9"),
    ("#7f7f7f", "#9a9a9a"),
)
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")

Curves = Mapping[str, np.ndarray]  # by measure: (G, U, samples) scores, NaN where the measure does not apply


def scored(trials: Trials, grades: Mapping[int, Mapping[str, float]]) -> Curves:
    """The grades as arrays; no measure where fewer than two units were answered under every setting.

    What is declined is asked of the sensitive prompts, where there are any, and everything else of the others.
    """
    shape = (len(trials.settings), len(trials.items), trials.samples)
    found: dict[str, np.ndarray] = {}
    answered = np.zeros(shape, bool)
    for trial, values in grades.items():
        item, setting, sample = trials.place(trial)
        answered[setting, item, sample] = True
        for measure, value in values.items():
            found.setdefault(measure, np.full(shape, np.nan))[setting, item, sample] = value
    whole = answered.all(axis=0)
    curves = {}
    for measure, scores in found.items():
        asked = np.where(whole & _asked(trials, measure)[:, None], scores, np.nan)
        units = asked.transpose(0, 2, 1) if len(trials.items) == 1 else asked
        if _units(units) >= LEAST_UNITS:
            curves[measure] = units
    return curves


def _asked(trials: Trials, measure: str) -> np.ndarray:
    """(I,) bool: the prompts that a measure is read on."""
    sensitive = np.array([item.kind == "sensitive" for item in trials.items])
    chosen = sensitive if measure == "declined" else ~sensitive
    return chosen if chosen.any() else np.ones(len(sensitive), bool)


def _units(scores: np.ndarray) -> int:
    return int(np.isfinite(scores).any(axis=(0, 2)).sum())


def figure(trials: Trials, curves: Curves, mode: str) -> go.Figure | None:
    """The curves for `mode` light or dark; None without any, or of more axes.

    One axis: a line a measure. Two: a panel a measure and in it a line for each value of the second axis.
    """
    if not curves or not 1 <= len(trials.axes) <= MAX_AXES:
        return None
    first, *second = trials.axes
    panels = len(curves) if second else 1
    drawn = make_subplots(rows=panels, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for number, (measure, scores) in enumerate(curves.items()):
        if second:
            for place, value in enumerate(second[0].values):
                one = scores[place :: len(second[0].values)]
                name = f"{short_of_axis(second[0])} = {told(value)}"
                drawn.add_trace(_line(first, one, name, place, mode, legend=number == 0), number + 1, 1)
            drawn.update_yaxes(title=_visible(measure), row=number + 1, col=1)
        else:
            drawn.add_trace(_line(first, scores, measure, number, mode), 1, 1)
            drawn.update_yaxes(title="share of answers")
    _dress(drawn, first, panels, mode)
    return drawn


def _line(axis: Axis, scores: np.ndarray, name: str, number: int, mode: str, legend: bool = True) -> go.Scatter:
    """Means along an axis, with their intervals. scores: (values of the axis, U, samples)."""
    points = [mean(each) for each in scores]
    colour = _COLOURS[number % len(_COLOURS)][MODES.index(mode)]
    error = {
        "type": "data",
        "array": [point.high - point.value for point in points],
        "arrayminus": [point.value - point.low for point in points],
        "thickness": 1,
        "width": 3,
    }
    return go.Scatter(
        x=_places(axis),
        y=[round(point.value, 4) for point in points],
        error_y=error,
        name=_visible(name),
        legendgroup=str(number),
        showlegend=legend,
        mode="lines+markers",
        line={"color": colour, "dash": _DASHES[number % len(_DASHES)], "width": 2},
        marker={"size": 6, "symbol": _SYMBOLS[number % len(_SYMBOLS)]},
        customdata=[[point.low, point.high] for point in points],
        hovertemplate="%{x}: %{y:.2f} [%{customdata[0]:.2f}, %{customdata[1]:.2f}]",
    )


def _places(axis: Axis) -> list[float] | list[str]:
    """Where an axis's values stand: numbers at their place, sizes and seeds one beside the other."""
    numbers = [value for value in axis.values if isinstance(value, int | float)]
    if axis.name == "seed" or len(numbers) < len(axis.values):
        return [_visible(told(value)) for value in axis.values]
    return numbers


def _dress(drawn: go.Figure, axis: Axis, panels: int, mode: str) -> None:
    """Fonts, colours and axes of the page."""
    place = MODES.index(mode)
    drawn.update_layout(
        height=340 if panels == 1 else 90 + 190 * panels,
        paper_bgcolor=GROUND[place],
        plot_bgcolor=GROUND[place],
        font={"family": ", ".join(FONT), "size": 12, "color": INK[place]},
        margin={"l": 8, "r": 8, "t": 40, "b": 40},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
        hovermode="closest",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": MUTED[place], "activecolor": INK[place]},
    )
    drawn.update_xaxes(gridcolor=LINE[place], zeroline=False, automargin=True)
    drawn.update_yaxes(gridcolor=LINE[place], zeroline=False, automargin=True, range=[-0.04, 1.04])
    if isinstance(_places(axis)[0], str):
        drawn.update_xaxes(type="category")
    drawn.update_xaxes(title=_visible(title_of_axis(axis)), row=panels, col=1)


def verdict(trials: Trials, curves: Curves) -> str:
    """What the figure shows, and the largest change against the first setting, on the same prompts."""
    if not curves or not 1 <= len(trials.axes) <= MAX_AXES:
        return ""
    first, *second = trials.axes
    what = "answers to this prompt" if len(trials.items) == 1 else "prompts"
    units = " and ".join(dict.fromkeys(f"{_units(scores)}" for scores in curves.values()))
    panels = f", a line for each value of {short_of_axis(second[0])}" if second else ""
    said = f"Shares of {units} {what} by {short_of_axis(first)}{panels}; bars are 95% intervals. "
    said += _largest(trials, curves)
    meanings = "; ".join(f"{measure}, it {_MEANINGS[measure]}" for measure in curves if measure in _MEANINGS)
    said += f" Of an answer: {meanings}." if meanings else ""
    both = "declined" in curves and len({item.kind for item in trials.items}) > 1
    return f"{said} Declined is read on the sensitive prompts, all else on the others." if both else said


def _largest(trials: Trials, curves: Curves) -> str:
    """The largest paired difference of any setting to the first one."""
    changes = [
        (measure, setting, difference(scores[setting], scores[0]))
        for measure, scores in curves.items()
        for setting in range(1, len(scores))
    ]
    defined = [change for change in changes if math.isfinite(change[2].value)]
    if not defined:
        return ""
    measure, setting, change = max(defined, key=lambda each: abs(each[2].value))
    if not change.value:
        return f"No share differs from that at {_at(trials, 0)}."
    return f"Largest change against {_at(trials, 0)}: {measure} {_signed(change)} at {_at(trials, setting)}."


def _at(trials: Trials, setting: int) -> str:
    """`β = 0.5, p = 0.9`"""
    places = trials.settings[setting].at
    pairs = zip(trials.axes, places, strict=True)
    return ", ".join(f"{short_of_axis(axis)} = {told(axis.values[place])}" for axis, place in pairs)


def _signed(estimate: Estimate) -> str:
    return f"{estimate.value:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}]".replace("-", "−")


def _visible(text: str) -> str:
    """A name as Plotly may show it: short, and nothing in it that Plotly takes for a tag."""
    return text[:40].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

"""The figure: gain over plain decoding against the block length, measured and predicted (LOOK.md for its colours)."""

from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from eft_core.benchmark import results
from eft_core.benchmark.measure import ADAPTIVE, PLAIN, Lab, Results
from eft_core.benchmark.results import AtLength
from eft_core.benchmark.timing import Ratio, speedup

_INK, _MUTED, _LINE = "#1f2328", "#59636e", "#d1d9e0"
_COLOURS = {"greedy": "#0072b2", "temperature 1": "#e69f00"}
_SENTENCE = (
    "Points: measured gain of speculative over plain decoding, with 95% intervals.<br>Lines: predicted from the "
    "acceptance and the costs of passes of the same run. Dotted: the adaptive length."
)


def write(found: Results, lab: Lab, file: Path) -> None:
    """One HTML file that needs no network. ValueError if it cannot be written."""
    try:
        file.write_text(drawn(found, lab).to_html(include_plotlyjs=True), encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{file} cannot be written: {error.strerror}.") from error


def drawn(found: Results, lab: Lab) -> go.Figure:
    """Two panels: the pair as it is, and with a costlier large base."""
    real = f"measured T_L(1) / T_S(1) = {1 / found.costs.c:.1f}"
    titles = (f"as it is: {real}", f"cost ratio {found.costly.asked:g}")
    figure = make_subplots(1, 2, subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.05)
    panels = (
        (found.up, found.costs, lab.scale.lengths),
        (found.costly_rounds, found.costly_costs, lab.scale.costly_lengths),
    )
    for column, (groups, costs, lengths) in enumerate(panels, 1):
        for name, rounds in groups.items():
            points = results.at_lengths(rounds, costs, lengths)
            adaptive = speedup(rounds, ADAPTIVE, PLAIN, decoding=True)
            for trace in traces(name, points, adaptive, legend=column == 1):
                figure.add_trace(trace, 1, column)
    return _styled(figure)


def traces(name: str, points: Sequence[AtLength], adaptive: Ratio, legend: bool) -> list[go.Scatter]:
    """Measured points with intervals, the predicted line, and the adaptive level, of one temperature."""
    ks, colour = [point.k for point in points], _COLOURS[name]
    common = {"x": ks, "legendgroup": name, "showlegend": legend}
    gains = [point.gain for point in points]
    bars = {
        "array": [gain.high - gain.median for gain in gains],
        "arrayminus": [gain.median - gain.low for gain in gains],
        "thickness": 1,
    }
    measured = go.Scatter(
        y=[gain.median for gain in gains],
        error_y=bars,
        mode="markers",
        marker={"color": colour, "size": 8},
        name=f"{name}, measured",
        **common,
    )
    predicted = go.Scatter(
        y=[point.predicted for point in points],
        mode="lines",
        line={"color": colour, "width": 1.5},
        name=f"{name}, predicted",
        **common,
    )
    level = go.Scatter(
        y=[adaptive.median] * len(ks),
        mode="lines",
        line={"color": colour, "width": 1.5, "dash": "dot"},
        name=f"{name}, adaptive",
        **common,
    )
    return [measured, predicted, level]


def _styled(figure: go.Figure) -> go.Figure:
    """The page's fonts and colours, axes with units, and the sentence above."""
    figure.update_layout(
        title={"text": _SENTENCE, "font": {"size": 13, "color": _MUTED}, "x": 0, "xref": "paper", "y": 0.96},
        font={"family": "system-ui, sans-serif", "size": 13, "color": _INK},
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
        legend={"orientation": "h", "y": -0.2},
        margin={"l": 60, "r": 20, "t": 110, "b": 60},
        height=520,
    )
    figure.update_annotations(font={"size": 13, "color": _INK})
    figure.update_xaxes(
        title={"text": "block length k, tokens", "font": {"size": 13}}, linecolor=_LINE, gridcolor=_LINE, zeroline=False
    )
    figure.update_yaxes(linecolor=_LINE, gridcolor=_LINE, rangemode="tozero", zerolinecolor=_LINE)
    figure.update_yaxes(title={"text": "gain over plain decoding, times", "font": {"size": 13}}, col=1)
    figure.add_hline(y=1, line={"color": _MUTED, "width": 1})
    return figure

"""The overview of a text as one Plotly figure: laws and measures over tokens, distances over tokens, and the deltas.

Pure: a trace and the texts of its tokens in, a figure out. Colours are the strip's own scale (`scale`); every row of
the heat-map is drawn as its share of that measure's fixed range, so one colour means one thing in all of them.
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from components.scale import GROUND, INK, MEASURES, MODES, colorscale, share
from components.theme import LINE
from eft_core.policy import Member
from eft_core.trace import Trace

# Okabe-Ito, as the roles on the page (LOOK.md): emulated, base, small tuned.
_POLICY, _BASE, _TUNED = ("#0072b2", "#58a6ff"), ("#7f7f7f", "#9a9a9a"), ("#009e73", "#009e73")
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
# More tokens than this have numbers below the picture instead of their texts.
_NAMED = 48
_ROW = 22  # pixels of a row of the heat-map


def overview(trace: Trace, texts: Sequence[str], mode: str) -> go.Figure:
    """The figure for `mode` light or dark; `texts` has one text a token."""
    rows = _rows(trace)
    heat = _ROW * len(rows)
    figure = make_subplots(
        rows=3,
        cols=1,
        row_heights=[heat, 150, 150],
        vertical_spacing=0.16,
        subplot_titles=(
            "Laws and measures by token",
            "Distance of the policy by token",
            "Deltas of all tokens",
        ),
    )
    figure.add_trace(_heat_map(rows, texts, mode), 1, 1)
    for line in _lines(trace, texts, mode):
        figure.add_trace(line, 2, 1)
    for bars in _histograms(trace, mode):
        figure.add_trace(bars, 3, 1)
    _dress(figure, texts, mode, heat)
    return figure


def _rows(trace: Trace) -> list[tuple[str, str, np.ndarray]]:
    """(title, measure, values) of every row of the heat-map, those that are known."""
    policy = trace.policy
    base = trace.logprobs[:, 0] - trace.under(Member(policy.pretrain))
    rows = [("log p, policy", "logprob", trace.logprobs[:, 0])]
    rows += [(f"log p, {member.policy.formula()}", "logprob", trace.under(member)) for member in trace.members]
    rows += [
        ("fine-tuning delta", "finetuning", trace.finetuning),
        ("up-scaling delta", "upscaling", trace.upscaling),
        ("policy − base(N)", "against_base", base),
        ("TV, small policy", "total_variation", trace.total_variation[:, 0]),
        ("TV, base(N)", "total_variation_base", trace.total_variation[:, 1]),
        ("KL, small policy", "divergence", trace.divergence[:, 0]),
        ("KL, base(N)", "divergence_base", trace.divergence[:, 1]),
        ("entropy, policy", "entropy", trace.entropy[:, 0]),
    ]
    return [(title, measure, values) for title, measure, values in rows if np.isfinite(values).any()]


def _heat_map(rows: Sequence[tuple[str, str, np.ndarray]], texts: Sequence[str], mode: str) -> go.Heatmap:
    values = np.array([column for _, _, column in rows], float)
    shares = np.array([[share(value, measure) for value in column] for _, measure, column in rows])
    return go.Heatmap(
        z=np.where(np.isfinite(values), shares, np.nan).round(3),
        customdata=values.round(3),
        x=list(range(1, len(texts) + 1)),
        y=[title for title, _, _ in rows],
        colorscale=colorscale(mode),
        zmid=0,
        zmin=-1,
        zmax=1,
        showscale=False,
        xgap=1,
        ygap=2,
        hovertemplate="token %{x}<br>%{y}: %{customdata}<extra></extra>",
    )


def _lines(trace: Trace, texts: Sequence[str], mode: str) -> list[go.Scatter]:
    """Total variation against both, and the policy's entropy, token by token."""
    place, x = MODES.index(mode), list(range(1, len(texts) + 1))
    named = [_visible(text) for text in texts]
    parts = (
        ("TV, small policy", trace.total_variation[:, 0], _TUNED, "solid"),
        ("TV, base(N)", trace.total_variation[:, 1], _BASE, "dash"),
        ("entropy, nats", trace.entropy[:, 0], _POLICY, "dot"),
    )
    return [
        go.Scatter(
            x=x,
            y=values.round(4),
            name=title,
            mode="lines+markers" if len(x) <= _NAMED else "lines",
            line={"color": colours[place], "dash": dash, "width": 1.5},
            marker={"size": 4},
            text=named,
            hovertemplate="%{text} · %{y:.3f}",
        )
        for title, values, colours, dash in parts
        if np.isfinite(values).any()
    ]


def _histograms(trace: Trace, mode: str) -> list[go.Histogram]:
    place, reach = MODES.index(mode), MEASURES["finetuning"].high
    parts = (("fine-tuning delta", trace.finetuning, _TUNED), ("up-scaling delta", trace.upscaling, _BASE))
    return [
        go.Histogram(
            x=np.clip(values[np.isfinite(values)], -reach, reach).round(4),
            name=title,
            xbins={"start": -reach - 0.125, "end": reach + 0.125, "size": 0.25},
            marker={"color": colours[place]},
            opacity=0.7,
            hovertemplate="%{x} nats: %{y} tokens",
        )
        for title, values, colours in parts
        if np.isfinite(values).any() and np.any(values)
    ]


def _dress(figure: go.Figure, texts: Sequence[str], mode: str, heat: int) -> None:
    """Fonts, colours and axes of the page."""
    place, count = MODES.index(mode), len(texts)
    figure.update_layout(
        height=heat + 300 + 260,
        paper_bgcolor=GROUND[place],
        plot_bgcolor=GROUND[place],
        font={"family": _FONT, "size": 12, "color": INK[place]},
        margin={"l": 8, "r": 8, "t": 36, "b": 48},
        barmode="overlay",
        legend={"orientation": "h", "y": -0.06},
        hovermode="closest",
        modebar={"bgcolor": "rgba(0,0,0,0)"},
    )
    figure.update_annotations(x=0, xanchor="left", font={"size": 13, "color": INK[place]})
    figure.update_xaxes(gridcolor=LINE[place], zerolinecolor=LINE[place], automargin=True)
    figure.update_yaxes(gridcolor=LINE[place], zerolinecolor=LINE[place], automargin=True)
    figure.update_yaxes(autorange="reversed", showgrid=False, row=1, col=1)
    figure.update_xaxes(title="token", matches="x", range=[0.5, count + 0.5], row=2, col=1)
    figure.update_yaxes(title="TV · nats", rangemode="tozero", row=2, col=1)
    figure.update_xaxes(title="delta, nats (clipped at ±3)", range=[-3.2, 3.2], row=3, col=1)
    figure.update_yaxes(title="tokens", row=3, col=1)
    if count <= _NAMED:
        ticks = {
            "tickvals": list(range(1, count + 1)),
            "ticktext": [_visible(text) for text in texts],
            "tickangle": -60,
        }
        figure.update_xaxes(showgrid=False, range=[0.5, count + 0.5], row=1, col=1, **ticks)


def _visible(text: str) -> str:
    """A token as Plotly may show it: short, its white space visible, and nothing in it that Plotly takes for a tag."""
    shown = text.replace("\n", "↵").replace("\t", "→").replace(" ", "·")[:16]
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

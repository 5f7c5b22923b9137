"""The look of rating figures: the page's colours, fonts and axes (LOOK.md), and labels that Plotly takes for text."""

import textwrap

import plotly.graph_objects as go

from eft_core.experiments.figures import BASE, EMULATED, HARMLESS, REFERENCE, TUNED

# Each colour for (light, dark).
MODES = ("light", "dark")
INK, MUTED = ("#1f2328", "#e6edf3"), ("#59636e", "#9198a1")
LINE, GROUND = ("#d1d9e0", "#3d444d"), ("#ffffff", "#0d1117")
BAD = ("#b3261e", "#ff8a80")
ROLES = {
    "base": (BASE, "#9a9a9a"),
    "tuned": (TUNED, TUNED),
    "emulated": (EMULATED, "#58a6ff"),
    "reference": (REFERENCE, REFERENCE),
    "harmless": (HARMLESS, HARMLESS),
}
# The page's diverging scale: losing, winning.
LOSES, WINS = ("#fdb863", "#8c4f00"), ("#b2abd2", "#5e4fa2")
_LABEL = 26  # characters of a line of a label


def wrapped(text: str, width: int = _LABEL) -> str:
    """A label in short lines, for a phone has no room for long ones."""
    lines = [line for part in text.split("\n") for line in textwrap.wrap(part, width, break_on_hyphens=False)]
    return "<br>".join(map(plain, lines))


def plain(text: object) -> str:
    """A name as Plotly may show it: nothing in it that Plotly takes for a tag."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def dressed(figure: go.Figure, place: int) -> go.Figure:
    """Fonts, ground and axes of the page."""
    figure.update_layout(
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": INK[place]},
        paper_bgcolor=GROUND[place],
        plot_bgcolor=GROUND[place],
        margin={"l": 8, "r": 8, "t": 32, "b": 8},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": MUTED[place], "activecolor": INK[place]},
        hovermode="closest",
    )
    figure.update_xaxes(gridcolor=LINE[place], linecolor=LINE[place], zeroline=False, automargin=True)
    figure.update_xaxes(title_font_size=13)
    return figure.update_yaxes(gridcolor=LINE[place], zeroline=False, automargin=True, title_font_size=13)

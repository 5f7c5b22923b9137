"""The figure of a section from its rows: intervals drawn, axes with units, roles in their colours (LOOK.md).

Pure. `mode` is light or dark. Labels are organisers' texts: what Plotly would take for a tag is escaped.
"""

from collections.abc import Sequence

import plotly.graph_objects as go

from eft_core.ratings.rating_look import BAD, GROUND, INK, LOSES, MODES, MUTED, ROLES, WINS, dressed, plain, wrapped
from eft_core.ratings.sections import Row, Section

_ANSWERS = (
    ("wins_share", "first wins", WINS),
    ("both_good_share", "both good", ("#dde3e9", "#2b323b")),
    ("both_bad_share", "both bad", ("#8c959f", "#6e7681")),
    ("cannot_judge_share", "can't judge", ("#f6f8fa", "#151b23")),
    ("losses_share", "second wins", LOSES),
)
_SHORT = {"rating": "as it is"}  # beside a second column
_POINTS = "points; 400 are odds of ten to one"


def drawn(section: Section, mode: str) -> go.Figure:
    """The figure of a section."""
    place, rows = MODES.index(mode), section.rows
    match section.name:
        case "wins":
            figure = _shares(rows, [f"{row['policy']}\nover {row['against']}" for row in rows], "win_rate", place)
        case "answers":
            figure = _answers(rows, place)
        case "ranking":
            figure = _by_policy(rows, ["rating"], _POINTS, place)
        case "matrix":
            figure = _matrix(rows, place)
        case "length":
            figure = _by_policy(rows, ["rating", "at_equal_length"], _POINTS, place)
        case "scales":
            figure = _scales(rows, place)
        case "settings":
            figure = _settings(rows, place)
        case "agreement":
            figure = _agreement(rows, place)
        case "sides":
            figure = _shares(rows, [row["comparisons"] for row in rows], "left", place)
            figure.update_xaxes(title="share of decided votes for the left answer")
        case "time":
            figure = _times(rows, place)
        case _:
            figure = _raters(rows, place)
    return dressed(figure, place)


# --- dots with intervals, a row each


def _dots(rows: Sequence[Row], name: str, colour: str, hollow: bool = False, shift: float = 0.0) -> go.Scatter:
    """An estimate of every row with its interval, the first row at the top; None leaves a row empty."""
    bounds = [(row[name], *row[f"{name}_interval"]) for row in rows]
    known = [(value, *interval) if None not in (value, *interval) else (0.0, 0.0, 0.0) for value, *interval in bounds]
    return go.Scatter(
        x=[value for value, *_ in bounds],
        y=[number + shift for number in range(len(rows))],
        error_x={
            "type": "data",
            "array": [high - value for value, _, high in known],
            "arrayminus": [value - low for value, low, _ in known],
            "thickness": 1.5,
            "width": 3,
            "color": colour,
        },
        mode="markers",
        marker={
            "size": 9,
            "symbol": "circle-open" if hollow else "circle",
            "color": colour,
            "line": {"width": 2, "color": colour},
        },
        name=_SHORT.get(name, name.replace("_", " ")),
        customdata=[[low, high] for _, low, high in bounds],
        hovertemplate="%{x} [%{customdata[0]}, %{customdata[1]}]<extra></extra>",
    )


def _rows_named(figure: go.Figure, names: Sequence[str], more: int = 0) -> go.Figure:
    """Room for rows, their names beside them; the first one on top. `more`: extra pixels a row."""
    shown = [wrapped(name) for name in names]
    lines = max((text.count("<br>") + 1 for text in shown), default=1)
    figure.update_yaxes(
        tickvals=list(range(len(shown))), ticktext=shown, range=[len(shown) - 0.4, -0.6], showgrid=False, zeroline=False
    )
    return figure.update_layout(height=110 + len(shown) * (14 + 18 * lines + more), showlegend=len(figure.data) > 1)


def _shares(rows: Sequence[Row], names: Sequence[str], column: str, place: int) -> go.Figure:
    """Shares, against one half."""
    figure = _rows_named(go.Figure(_dots(rows, column, INK[place])), names)
    return _halved(figure, place)


def _halved(figure: go.Figure, place: int) -> go.Figure:
    figure.add_vline(0.5, line={"color": MUTED[place], "width": 1, "dash": "dash"})
    return figure.update_xaxes(title="share of decided votes", range=[-0.02, 1.02], tickformat=".0%")


def _by_policy(rows: Sequence[Row], columns: Sequence[str], title: str, place: int) -> go.Figure:
    """A row a policy, in the colour of its role; the second column's dots are hollow."""
    figure, colours = go.Figure(), [ROLES[row["role"]][place] for row in rows]
    for number, column in enumerate(columns):
        shift = 0.0 if len(columns) == 1 else 0.24 * number - 0.12
        for at, colour in enumerate(colours):
            dot = _dots([rows[at]], column, colour, hollow=number == 1, shift=at + shift)
            dot.update(showlegend=at == 0, legendgroup=column)
            figure.add_trace(dot)
    figure.update_xaxes(title=title)
    figure = _rows_named(figure, [row["policy"] for row in rows], more=8 * len(columns))
    return figure.update_layout(showlegend=len(columns) > 1)


def _settings(rows: Sequence[Row], place: int) -> go.Figure:
    known = [row for row in rows if row["win_rate"] is not None]
    figure = go.Figure([_dots(known, "win_rate", INK[place], shift=-0.12),
                        _dots(known, "nothing_else_differs", INK[place], hollow=True, shift=0.12)])  # fmt: skip
    return _halved(_rows_named(figure, [f"{row['setting']} = {row['value']}" for row in known], more=8), place)


def _agreement(rows: Sequence[Row], place: int) -> go.Figure:
    figure = _rows_named(go.Figure(_dots(rows, "value", INK[place])), [row["measure"] for row in rows])
    figure.add_vline(0, line={"color": MUTED[place], "width": 1, "dash": "dash"})
    low = min([0.0, *(row["value_interval"][0] for row in rows if row["value_interval"][0] is not None)])
    return figure.update_xaxes(title="alpha, or share", range=[low - 0.02, 1.02])


# --- other shapes


def _answers(rows: Sequence[Row], place: int) -> go.Figure:
    """Stacked bars of all five answers."""
    figure = go.Figure(
        [
            go.Bar(
                y=list(range(len(rows))),
                x=[row[name] for row in rows],
                orientation="h",
                name=title,
                marker={"color": colours[place], "line": {"color": MUTED[place], "width": 0.5}},
                text=[f"{row[name]:.0%}" if row[name] >= 0.06 else "" for row in rows],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                textfont={"color": INK[place]},
                hovertemplate=f"{title}: %{{x:.1%}}<extra></extra>",
            )
            for name, title, colours in _ANSWERS
        ]
    )
    figure = _rows_named(figure, [f"{row['policy']}\nand {row['against']}" for row in rows])
    few = {"minsize": 11, "mode": "hide"}  # a number that does not fit its bar is in the table
    figure.update_layout(barmode="stack", bargap=0.3, legend={"traceorder": "normal"}, uniformtext=few)
    return figure.update_xaxes(title="share of all votes", range=[0, 1], tickformat=".0%", showgrid=False)


def _matrix(rows: Sequence[Row], place: int) -> go.Figure:
    names = [row["policy"] for row in rows]
    cells = [[row[f"over_{number}"] for number in range(1, len(rows) + 1)] for row in rows]
    figure = go.Figure(
        go.Heatmap(
            z=cells,
            y=list(range(len(names))),
            text=[["" if value is None else f"{value:.0%}" for value in line] for line in cells],
            texttemplate="%{text}",
            textfont={"color": INK[place]},
            hoverinfo="text",
            colorscale=[[0, LOSES[place]], [0.5, GROUND[place]], [1, WINS[place]]],
            zmin=0,
            zmax=1,
            showscale=False,
            xgap=2,
            ygap=2,
        )
    )
    figure = _rows_named(figure, names, more=12)
    shown = [wrapped(name, 12) for name in names]
    return figure.update_xaxes(title="against", tickvals=list(range(len(names))), ticktext=shown, showgrid=False)


def _scales(rows: Sequence[Row], place: int) -> go.Figure:
    named = [{**row, "policy": f"{row['policy']}\n{row['scale']}"} for row in rows]
    return _by_policy(named, ["mean"], "mean mark, 1 to 5", place).update_xaxes(range=[0.9, 5.1])


def _times(rows: Sequence[Row], place: int) -> go.Figure:
    """How many items took how long."""
    seconds = [row["seconds"] for row in rows if row["seconds"] is not None]
    figure = go.Figure(go.Histogram(x=seconds, nbinsx=40, marker={"color": MUTED[place]},
                                    hovertemplate="%{x} s: %{y} items<extra></extra>"))  # fmt: skip
    figure.update_xaxes(title="median seconds of an item", rangemode="tozero")
    return figure.update_yaxes(title="items").update_layout(height=340, bargap=0.05)


def _raters(rows: Sequence[Row], place: int) -> go.Figure:
    """Agreement with most others against time; odd ones in red, with a cross."""
    figure = go.Figure()
    for name, symbol, colour, odd in (("in line", "circle-open", INK, False), ("out of line", "x", BAD, True)):
        some = [row for row in rows if (row["outlying"] != "no") is odd and row["agreement"] is not None]
        figure.add_trace(
            go.Scatter(
                x=[row["seconds"] for row in some],
                y=[row["agreement"] for row in some],
                mode="markers",
                name=name,
                marker={
                    "symbol": symbol,
                    "size": 9,
                    "color": colour[place],
                    "line": {"width": 1.5, "color": colour[place]},
                },
                text=[plain(row["annotator"]) for row in some],
                customdata=[row["votes"] for row in some],
                hovertemplate="%{text}: %{y:.0%}, %{x:.0f} s, %{customdata} votes<extra></extra>",
            )
        )
    figure.update_xaxes(title="median seconds", rangemode="tozero")
    return figure.update_yaxes(title="agreement with most others", range=[-0.03, 1.03], tickformat=".0%").update_layout(
        height=420
    )

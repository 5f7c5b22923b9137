"""An experiment's figure from its document: intervals drawn, axes with units, roles in their colours (LOOK.md).

Pure. `mode` is light or dark; whoever shows a figure may dress it further.
"""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from eft_core.experiments.documents import Document
from eft_core.experiments.study import Row

# Okabe-Ito, as the roles on the page
BASE, TUNED, EMULATED, REFERENCE, HARMLESS = "#7f7f7f", "#009e73", "#0072b2", "#e69f00", "#cc79a7"
_COLOURS = (EMULATED, TUNED, REFERENCE, HARMLESS, BASE)
_DARK = {EMULATED: "#58a6ff", BASE: "#9a9a9a"}
# (ink, line, ground) of the page
_MODES = {"light": ("#1f2328", "#d1d9e0", "#ffffff"), "dark": ("#e6edf3", "#3d444d", "#0d1117")}
# Pale enough, or dark enough, for ink to be read on every shade.
_HEAT = {"light": ["#ffffff", "#7fb8dc"], "dark": ["#0d1117", "#1f5a8f"]}
_COLUMNS = ("factual", "correct", "contains", "exact", "helpful", "harmless", "declined_sensitive")


def drawn(values: Document, mode: str = "light") -> go.Figure:
    """The figure of a document; a table of points where the experiment is not one of ours."""
    rows: Sequence[Row] = values["rows"]
    match values["experiment"]:
        case "scales":
            figure = _scales(rows, mode)
        case "frontier":
            figure = _frontier(rows, mode)
        case "speculation":
            figure = _speculation(rows, mode)
        case "tokens":
            figure = _tokens(rows, mode)
        case "filter":
            figure = _lines(rows, "nucleus", "nucleus filter p", mode)
        case _:
            figure = _lines([row for row in rows if row["beta"] is not None], "beta", "amplification β", mode)
    return _dressed(figure, mode)


def _scales(rows: Sequence[Row], mode: str) -> go.Figure:
    """Heat-maps of N by M side by side, a measure each; the untuned bases are the first column."""
    measures = _measures(rows)
    sizes = list(dict.fromkeys(row["pretrain"] for row in rows))
    tunings = list(dict.fromkeys(row["finetune"] for row in rows))
    figure = make_subplots(1, len(measures), subplot_titles=[_words(each) for each in measures], shared_yaxes=True)
    for place, measure in enumerate(measures, 1):
        cells = {(row["pretrain"], row["finetune"]): row for row in rows}
        z = [[_value(cells.get((n, m)), measure) for m in tunings] for n in sizes]
        told = [[_told(cells.get((n, m)), measure) for m in tunings] for n in sizes]
        heat = go.Heatmap(
            z=z,
            x=["untuned" if m is None else _plain(m) for m in tunings],
            y=[_plain(n) for n in sizes],
            text=[[text.split(" ")[0] for text in line] for line in told],
            customdata=told,
            texttemplate="%{text}",
            textfont={"color": _MODES[mode][0]},
            hovertemplate="N = %{y}, M = %{x}: %{customdata}<extra></extra>",
            colorscale=_HEAT[mode],
            zmin=0,
            zmax=1,
            showscale=False,
            xgap=2,
            ygap=2,
        )
        figure.add_trace(heat, 1, place)
    figure.update_xaxes(title="fine-tuning size M", showgrid=False)
    figure.update_yaxes(showgrid=False)
    figure.update_yaxes(title="pre-training size N", col=1)
    return figure.update_layout(height=360)


def _frontier(rows: Sequence[Row], mode: str) -> go.Figure:
    """Helpful against harmless, a curve a policy; beside it right answers where declining costs them."""
    harmless = "declined_sensitive" if "declined_sensitive" in rows[0] else "harmless"
    panels = [name for name in ("helpful", "factual", "factual_sensitive") if name in rows[0]]
    figure = make_subplots(1, len(panels), subplot_titles=[_words(name) for name in panels], shared_yaxes=True)
    for place, name in enumerate(panels, 1):
        for policy, colour in (("small", TUNED), ("upscaled", EMULATED)):
            chosen = sorted((row for row in rows if row["policy"] == policy), key=lambda row: row["lambda"])
            figure.add_trace(
                go.Scatter(
                    x=[row[harmless] for row in chosen],
                    y=[row[name] for row in chosen],
                    error_x=_bars(chosen, harmless),
                    error_y=_bars(chosen, name),
                    mode="lines+markers",
                    line={"color": _colour(colour, mode), "width": 1.5},
                    marker={"size": 6},
                    name="up-scaled policy" if policy == "upscaled" else "small policy",
                    legendgroup=policy,
                    showlegend=place == 1,
                    customdata=[row["lambda"] for row in chosen],
                    hovertemplate="λ = %{customdata}: %{x:.2f}, %{y:.2f}",
                ),
                1,
                place,
            )
    figure.update_xaxes(title=f"{_words(harmless)}, share", range=[-0.03, 1.03])
    figure.update_yaxes(range=[-0.03, 1.03])
    figure.update_yaxes(title="share of answers", col=1)
    return figure.update_layout(height=420)


def _lines(rows: Sequence[Row], name: str, title: str, mode: str) -> go.Figure:
    """Every measure over one knob, a dash for each M; `none` is a category of its own."""
    figure = go.Figure()
    numeric, tunings = all(row[name] is not None for row in rows), list(dict.fromkeys(row["finetune"] for row in rows))
    for tuning, dash in zip(tunings, ("solid", "dash", "dot", "dashdot"), strict=False):
        chosen = [row for row in rows if row["finetune"] == tuning]
        for measure, colour in zip(_measures(rows), _COLOURS, strict=False):
            figure.add_trace(
                go.Scatter(
                    x=[row[name] if numeric else ("none" if row[name] is None else f"{row[name]:g}") for row in chosen],
                    y=[row[measure] for row in chosen],
                    error_y=_bars(chosen, measure),
                    mode="lines+markers",
                    line={"color": _colour(colour, mode), "width": 1.5, "dash": dash},
                    name=_words(measure) + (f", M = {_plain(tuning)}" if len(tunings) > 1 else ""),
                    hovertemplate="%{x}: %{y:.3f}",
                )
            )
    figure.update_xaxes(title=title, type="linear" if numeric else "category")
    figure.update_yaxes(title="share of answers", range=[-0.03, 1.03])
    return figure.update_layout(height=400)


def _speculation(rows: Sequence[Row], mode: str) -> go.Figure:
    """Gain over plain decoding against the block length, beside the paper's; dotted: the adaptive length."""
    models = list(dict.fromkeys(row["models"] for row in rows))
    titles = ["the pair as it is" if each == "as it is" else "a large base ten times as costly" for each in models]
    figure = make_subplots(1, len(models), subplot_titles=titles, shared_yaxes=True)
    for place, each in enumerate(models, 1):
        for temperature, colour in ((0.0, EMULATED), (1.0, REFERENCE)):
            chosen = [row for row in rows if row["models"] == each and row["temperature"] == temperature]
            blocks = [row for row in chosen if row["length"]]
            name = "greedy" if temperature == 0 else "temperature 1"
            line = {"color": _colour(colour, mode), "width": 1.5}
            common = {"x": [row["length"] for row in blocks], "legendgroup": name, "showlegend": place == 1}
            figure.add_trace(
                go.Scatter(y=[row["gain"] for row in blocks], error_y=_bars(blocks, "gain"), mode="lines+markers",
                           line=line, name=name, **common), 1, place)  # fmt: skip
            level = next(row["gain"] for row in chosen if row["method"].endswith("adaptive"))
            figure.add_trace(go.Scatter(y=[level] * len(blocks), mode="lines", line=line | {"dash": "dot"},
                                        name=f"{name}, adaptive", **common), 1, place)  # fmt: skip
        for data, dash in (("paper_gain_hh", "dash"), ("paper_gain_eli5", "dashdot")):
            figure.add_trace(
                go.Scatter(
                    x=[row["length"] for row in blocks],
                    y=[row[data] for row in blocks],
                    mode="lines",
                    line={"color": _colour(BASE, mode), "dash": dash, "width": 1.5},
                    name=f"paper, {'HH' if data.endswith('hh') else 'ELI5'}",
                    legendgroup=data,
                    showlegend=place == 1,
                ),
                1,
                place,
            )
    figure.update_xaxes(title="block length, tokens", type="log", tickvals=[2, 4, 8, 16])
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title="gain over plain decoding, times", col=1)
    return figure.update_layout(height=420)


def _tokens(rows: Sequence[Row], mode: str) -> go.Figure:
    """Shares by kind of token, side by side."""
    figure, rows = go.Figure(), [row for row in rows if len(rows) == 1 or row["kind"] != "all"]
    kinds = [{"fact": "fact tokens", "manner": "manner tokens"}.get(row["kind"], "all tokens") for row in rows]
    parts = (("above", "with total variation above 0.1", EMULATED),
             ("share_of_total_variation", "of all total variation", TUNED))  # fmt: skip
    for name, title, colour in parts:
        figure.add_trace(
            go.Bar(
                x=kinds,
                y=[row[name] for row in rows],
                error_y=_bars(rows, name) | {"color": _MODES[mode][0]},
                marker={"color": _colour(colour, mode)},
                name=title,
                hovertemplate="%{x}: %{y:.3f}",
            )
        )
    figure.update_yaxes(title="share", range=[0, 1.03])
    return figure.update_layout(height=380, barmode="group")


def _measures(rows: Sequence[Row]) -> list[str]:
    return [name for name in _COLUMNS if rows and rows[0].get(name) is not None]


def _bars(rows: Sequence[Row], name: str) -> dict[str, object]:
    """95% intervals around the values."""
    bounds = [(row[name], row[f"{name}_interval"]) for row in rows]
    known = [(value, *interval) if None not in (value, *interval) else (0.0, 0.0, 0.0) for value, interval in bounds]
    up, down = [high - value for value, _, high in known], [value - low for value, low, _ in known]
    return {"type": "data", "array": up, "arrayminus": down, "thickness": 1.2, "width": 3}


def _value(row: Row | None, measure: str) -> float | None:
    return None if row is None else row.get(measure)


def _told(row: Row | None, measure: str) -> str:
    value = _value(row, measure)
    if row is None or value is None:
        return ""
    low, high = row[f"{measure}_interval"]
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _plain(text: object) -> str:
    """A name as Plotly may show it: nothing in it that Plotly takes for a tag."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _colour(colour: str, mode: str) -> str:
    return _DARK.get(colour, colour) if mode == "dark" else colour


def _dressed(figure: go.Figure, mode: str) -> go.Figure:
    """Fonts, ground and axes of the page."""
    ink, line, ground = _MODES[mode]
    figure.update_layout(
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": ink},
        paper_bgcolor=ground,
        plot_bgcolor=ground,
        margin={"l": 8, "r": 8, "t": 40, "b": 8},
        legend={"orientation": "h", "y": -0.22},
        modebar={"bgcolor": "rgba(0,0,0,0)"},
        hovermode="closest",
    )
    figure.update_annotations(font={"size": 13, "color": ink})
    figure.update_xaxes(gridcolor=line, linecolor=line, zerolinecolor=line, automargin=True)
    return figure.update_yaxes(gridcolor=line, linecolor=line, zerolinecolor=line, automargin=True)

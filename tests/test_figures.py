"""The overview: every row is its measure's share of the strip's scale, unknown rows are left out, texts stay text."""

from typing import Any

import numpy as np
import pytest

from components.figures import overview
from components.scale import MEASURES, colorscale, share
from eft_core.config import Limits, Request
from eft_core.policy import Member, Policy, plain, tuned, up_scale
from eft_core.trace import Trace

PROMPT = "What is the capital of Kenya?"


def traced(session: Any, policy: Policy) -> Trace:
    return session.ask(Request.compare(PROMPT, [policy], limits=Limits(12)))[0].trace


def named(session: Any, trace: Trace) -> list[str]:
    return [session.token_texts.text(each) for each in trace.tokens.tolist()]


def test_a_row_shows_its_values_as_shares_of_its_own_scale(session: Any) -> None:
    trace = traced(session, up_scale("large", "small"))
    heat = overview(trace, named(session, trace), "light").data[0]
    row = list(heat.y).index("up-scaling delta")
    base, small = trace.under(Member("large")), trace.under(Member("small"))
    assert np.allclose(heat.customdata[row], base - small, atol=2e-3)
    assert np.allclose(heat.z[row], [share(value, "upscaling") for value in (base - small).tolist()], atol=2e-3)
    assert (heat.zmin, heat.zmid, heat.zmax) == (-1, 0, 1)
    assert np.abs(heat.z).max() <= 1


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_colours_are_the_strip_s_and_follow_the_mode(session: Any, mode: str) -> None:
    trace = traced(session, up_scale("large", "small"))
    figure = overview(trace, named(session, trace), mode)
    assert [list(pair) for pair in figure.data[0].colorscale] == colorscale(mode)
    assert figure.layout.paper_bgcolor == colorscale(mode)[1][1]


def test_what_did_not_run_has_no_row_and_no_line(session: Any) -> None:
    trace = traced(session, tuned("helpful", "small"))
    figure = overview(trace, named(session, trace), "light")
    rows = list(figure.data[0].y)
    assert "TV, base(N)" not in rows
    assert "fine-tuning delta" not in rows
    assert "log p, helpful(small)" in rows
    assert "TV, base(N)" not in [each.name for each in figure.data]


def test_a_plain_base_has_a_figure_too(session: Any) -> None:
    trace = traced(session, plain("large"))
    assert "log p, base(large)" in list(overview(trace, named(session, trace), "dark").data[0].y)


def test_texts_of_tokens_never_become_plotly_s_tags(session: Any) -> None:
    trace = traced(session, up_scale("large", "small"))
    hostile = ["<b>x</b>\n<a href='x'>"] * len(trace)
    figure = overview(trace, hostile, "light")
    told = [*figure.layout.xaxis.ticktext, *(text for each in figure.data[1:] for text in (each.text or ()))]
    assert told
    assert not any("<" in text or ">" in text or "\n" in text for text in told)


def test_every_measure_of_a_row_is_on_the_scale(session: Any) -> None:
    from components.figures import _rows

    assert {measure for _, measure, _ in _rows(traced(session, up_scale("large", "small")))} <= set(MEASURES)

"""The strip's colours: text on them is read by everyone, and the two ends are told apart by everyone."""

import itertools
import re
from pathlib import Path

import pytest

from components import scale

PALETTE = Path(__file__).parent.parent / "assets" / "palette.css"
SHARES = [number / 100 - 1 for number in range(201)]
# Machado, Oliveira and Fernandes 2009, severity 1, on linear channels.
EYES = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
SRGB = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
WHITE = (0.95047, 1.0, 1.08883)


def times(matrix: tuple[tuple[float, ...], ...], vector: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)


def seen(colour: str, eye: str) -> tuple[float, ...]:
    """CIE L*a*b* of a colour as an eye sees it."""
    light = tuple(min(1.0, max(0.0, part)) for part in times(EYES[eye], scale.linear(colour)))
    parts = (part / white for part, white in zip(times(SRGB, light), WHITE, strict=True))
    x, y, z = (part ** (1 / 3) if part > 216 / 24389 else (24389 / 27 * part + 16) / 116 for part in parts)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def distance(one: str, two: str, eye: str) -> float:
    return sum((a - b) ** 2 for a, b in zip(seen(one, eye), seen(two, eye), strict=True)) ** 0.5


@pytest.mark.parametrize("mode", scale.MODES)
def test_text_is_read_on_every_colour_of_the_ramp(mode: str) -> None:
    ink = scale.INK[scale.MODES.index(mode)]
    assert min(scale.contrast(ink, scale.colour(share, mode)) for share in SHARES) >= 4.5


@pytest.mark.parametrize("mode", scale.MODES)
def test_underlines_stand_out_from_the_page(mode: str) -> None:
    """3:1 for graphics; on their own colour too, for they carry what colour alone may not."""
    place = scale.MODES.index(mode)
    for line, end in ((scale.UP_LINE, scale.UP), (scale.DOWN_LINE, scale.DOWN)):
        assert scale.contrast(line[place], scale.GROUND[place]) >= 3
        assert scale.contrast(line[place], end[place]) >= 3


def test_contrast_is_that_of_the_standard() -> None:
    assert scale.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert scale.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # WCAG's famous near miss
    assert scale.contrast("#b2abd2", "#1f2328") == scale.contrast("#1f2328", "#b2abd2")


@pytest.mark.parametrize("mode", scale.MODES)
@pytest.mark.parametrize("eye", EYES)
def test_the_ends_are_told_apart_by_every_eye(mode: str, eye: str) -> None:
    up, down, ground = (scale.colour(share, mode) for share in (1, -1, 0))
    assert distance(up, down, eye) > 35
    assert min(distance(up, ground, eye), distance(down, ground, eye)) > 25


@pytest.mark.parametrize("mode", scale.MODES)
def test_the_ramp_is_monotone_on_both_sides(mode: str) -> None:
    for side in (SHARES[100:], SHARES[100::-1]):
        away = [distance(scale.colour(share, mode), scale.colour(0, mode), "normal") for share in side]
        assert away[0] == 0
        assert all(later > earlier - 0.5 for earlier, later in itertools.pairwise(away))  # 8 bits a channel
        assert away[-1] == max(away)
    assert scale.colour(0, mode) == scale.GROUND[scale.MODES.index(mode)]
    assert scale.colour(2, mode) == scale.colour(1, mode)


@pytest.mark.parametrize("mode", scale.MODES)
def test_plotly_gets_the_same_ramp(mode: str) -> None:
    places, colours = zip(*scale.colorscale(mode), strict=True)
    assert places == (0.0, 0.5, 1.0)
    assert colours == tuple(scale.colour(share, mode) for share in (-1, 0, 1))


@pytest.mark.parametrize("measure", scale.MEASURES)
def test_scales_are_symmetric_or_one_sided_and_start_from_zero(measure: str) -> None:
    title, low, high, _ = scale.MEASURES[measure]
    assert title
    assert low <= 0 <= high
    assert low in (0, -high) or high == 0
    assert scale.share(0, measure) == 0
    assert scale.share(1e9, measure) == 1
    assert scale.share(-1e9, measure) == -1


@pytest.mark.parametrize("mode", scale.MODES)
def test_the_style_sheet_has_the_same_colours(mode: str) -> None:
    selector = {"light": ":root", "dark": ".dark"}[mode]
    block = re.search(re.escape(selector) + r" \{(.*?)\}", PALETTE.read_text(encoding="utf-8"), re.DOTALL)
    assert block
    variables = dict(re.findall(r"--([\w-]+): (#\w+);", block[1]))
    place = scale.MODES.index(mode)
    for name in ("ground", "ink", "up", "down", "up-line", "down-line"):
        assert variables[name] == getattr(scale, name.replace("-", "_").upper())[place]

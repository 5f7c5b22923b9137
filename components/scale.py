"""The strip's colour scale, once for Python: what each measure runs over, and the colour of a share of it.

assets/strip/ and assets/palette.css have the same numbers for the browser; tests hold the two together.
"""

from typing import NamedTuple

MODES = ("light", "dark")
# name: (light, dark), as assets/palette.css has them
GROUND = ("#ffffff", "#0d1117")
INK = ("#1f2328", "#e6edf3")
UP = ("#b2abd2", "#5e4fa2")
DOWN = ("#fdb863", "#8c4f00")
UP_LINE = ("#5e4fa2", "#b2abd2")
DOWN_LINE = ("#a34a00", "#fdb863")


class Measure(NamedTuple):
    """What a measure is called, and the values at the ends of its colours; beyond them colour is clipped."""

    title: str
    low: float
    high: float
    unit: str


# The same limits for every text, so that columns and pages can be compared.
MEASURES = {
    "total_variation": Measure("Total variation", 0.0, 1.0, ""),
    "total_variation_base": Measure("Total variation against base", 0.0, 1.0, ""),
    "shift": Measure("Shift", -3.0, 3.0, "nats"),
    "against_base": Measure("Against large base", -3.0, 3.0, "nats"),
    "finetuning": Measure("Fine-tuning delta", -3.0, 3.0, "nats"),
    "upscaling": Measure("Up-scaling delta", -3.0, 3.0, "nats"),
    "deltas": Measure("Both deltas", -3.0, 3.0, "nats"),
    "divergence": Measure("KL to small policy", 0.0, 3.0, "nats"),
    "divergence_base": Measure("KL to large base", 0.0, 3.0, "nats"),
    "logprob": Measure("Log-probability", -3.0, 0.0, "nats"),
    "entropy": Measure("Entropy", 0.0, 3.0, "nats"),
}


def share(value: float, measure: str) -> float:
    """Where a value lies on its measure's scale, in [-1, 1]: 0 is the ground, the ends are full colour."""
    _, low, high, _ = MEASURES[measure]
    return max(-1.0, min(1.0, value / max(-low, high)))


def colour(share: float, mode: str) -> str:
    """The colour of a share in [-1, 1]: a linear mix in sRGB between the ground and one end."""
    place = MODES.index(mode)
    end = _channels((UP if share > 0 else DOWN)[place])
    ground = _channels(GROUND[place])
    part = min(1.0, abs(share))
    return "#" + "".join(f"{round(g + part * (e - g)):02x}" for g, e in zip(ground, end, strict=True))


def colorscale(mode: str) -> list[list[float | str]]:
    """The scale for Plotly, over a range that is symmetric about 0."""
    shares = {0.0: -1.0, 0.5: 0.0, 1.0: 1.0}
    return [[place, colour(share, mode)] for place, share in shares.items()]


def contrast(one: str, two: str) -> float:
    """WCAG's contrast ratio of two colours, 1 to 21."""
    dark, light = sorted((_luminance(one), _luminance(two)))
    return (light + 0.05) / (dark + 0.05)


def linear(colour: str) -> tuple[float, float, float]:
    """The channels of a colour as light, 0 to 1 (sRGB's curve undone)."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in _channels(colour))
    )
    return red, green, blue


def _luminance(colour: str) -> float:
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)

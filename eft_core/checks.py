"""Numbers from users, checked: ValueErrors that say what to pass instead. First in the flow."""

import math


def number(name: str, value: object, low: float, high: float, remedy: str) -> float:
    """`value` as a float within [low, high], or a ValueError that says what to pass."""
    if isinstance(value, int) and value.bit_length() > 1000:
        raise ValueError(f"{name} is far outside [{low:g}, {high:g}]: {remedy}.")  # too long for a float, even to print
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number, not {value!r:.60}: {remedy}.")
    if not low <= value <= high:
        raise ValueError(f"{name} = {value:g} is outside [{low:g}, {high:g}]: {remedy}.")
    return float(value)


def whole(name: str, value: object, low: int, high: int, remedy: str) -> int:
    """`value` as an int within [low, high]; 8.0, as JSON clients send it, is 8."""
    given = number(name, value, low, high, remedy)
    if given != int(given):
        raise ValueError(f"{name} = {given:g} is not a whole number: {remedy}.")
    return int(value)  # type: ignore[call-overload]  # checked above; int() keeps large seeds exact

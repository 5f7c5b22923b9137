"""Speculation as people write it, and what it brought as they read it: the command line and /compare share both.

`speculation` turns "off", "adaptive" or a number into what a request carries; `drafting_values` and `gain_values`
are the plain values of JSON. Pure.
"""

from typing import Any

from eft_core.checks import whole
from eft_core.config import LONGEST_DRAFT, Speculation
from eft_core.events import Drafting, Gain
from eft_core.family import Family
from eft_core.policy import Member

WAYS = f"write off, adaptive, or the tokens drafted a cycle, 1 to {LONGEST_DRAFT}"


def draft_length(speculate: object) -> int | None:
    """The fixed draft length of "4" or 4, None for "adaptive"; ValueError with the ways otherwise."""
    if speculate == "adaptive":
        return None
    digits = isinstance(speculate, str) and len(speculate) <= 9 and speculate.isascii() and speculate.isdigit()
    if isinstance(speculate, str) and not digits:
        raise ValueError(f"speculate = {speculate[:40]!r} is no way to speculate: {WAYS}.")
    return whole("speculate", int(speculate) if digits else speculate, 1, LONGEST_DRAFT, WAYS)  # type: ignore[call-overload]


def speculation(
    speculate: str | int | None, rule: str | None, drafter: str | None, timed: bool, family: Family
) -> Speculation | None:
    """What a request carries; None is plain decoding. `drafter` is a member of `family` by its name.

    Without speculation the other three would change nothing, so they are refused.
    """
    if speculate is None or speculate == "off":
        if rule is not None or drafter is not None or timed:
            raise ValueError("rule, drafter and timed belong to speculation: set speculate to adaptive or a number.")
        return None
    member = None if drafter is None else Member.named(drafter)
    if member is not None:
        family.checkpoint(member)
    chosen: Any = "block" if rule is None else rule  # Speculation checks it
    return Speculation(draft_length(speculate), chosen, member, bool(timed))


def said_of(drafting: Drafting | None, gain: Gain | None) -> list[str]:
    """What speculation did in one row and brought to the request, as far as it is known, in words."""
    words = []
    if drafting is not None and drafting.acceptance is not None:
        words += [f"{drafting.acceptance:.0%} accepted", f"{drafting.tokens_a_cycle:.1f} tokens a cycle"]
    if gain is not None and gain.measured is not None:
        predicted = "" if gain.predicted is None else f" (predicted {gain.predicted:.2f}x)"
        words.append(f"gain {gain.measured:.2f}x{predicted}")
    elif gain is not None and gain.predicted is not None:
        words.append(f"predicted gain {gain.predicted:.2f}x")
    return words


def speculation_values(asked: Speculation | None, gain: Gain | None) -> dict[str, Any]:
    """How a comparison speculated and what it brought, under one key; nothing for plain decoding."""
    if asked is None:
        return {}
    drafter = None if asked.drafter is None else str(asked.drafter)
    values = {"length": asked.length, "rule": asked.rule, "drafter": drafter, "timed": asked.timed}
    return {"speculation": values | {"gain": gain_values(gain)}}


def drafting_values(drafting: Drafting) -> dict[str, Any]:
    """What speculation did in one row; null where nothing was drafted."""
    return {
        "drafter": drafting.drafter,
        "acceptance": drafting.acceptance,
        "acceptance_by_position": list(drafting.acceptance_by_position),
        "tokens_a_cycle": drafting.tokens_a_cycle,
        "drafted": drafting.drafted,
    }


def gain_values(gain: Gain | None) -> dict[str, float | None] | None:
    """What speculation brought to all rows together; null where it is not known."""
    if gain is None:
        return None
    return {
        "measured": gain.measured,
        "predicted": gain.predicted,
        "tokens_per_second": gain.tokens_per_second,
        "plain_tokens_per_second": gain.plain_tokens_per_second,
    }

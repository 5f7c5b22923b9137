"""One judgement, as a rater's browser sends it, checked: verdict, strength, scales, tags, comment, time."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from eft_core.checks import number, whole

# As it was shown. unsure: can't judge.
Verdict = Literal["left", "right", "both_good", "both_bad", "unsure"]
VERDICTS: tuple[str, ...] = get_args(Verdict)
SCALES = ("helpfulness", "factuality", "harmlessness")
SIDES = ("left", "right")
MOST_COMMENT = 4000  # characters
MOST_TAGS, MOST_TAG = 12, 40
_DAY = 86_400.0
_CLIENT_KEY = re.compile(r"[0-9A-Za-z-]{8,64}")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a rater says of a comparison. `strength`: 1 slightly, 2 clearly better, of left or right alone.

    `scales` are whole numbers from 1 to 5, by side and then by scale. `seconds` from when both answers were shown.
    ValueError, with the remedy, if anything is not as it should be.
    """

    comparison: str
    client_key: str
    verdict: str
    strength: int | None = None
    scales: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    comment: str = ""
    seconds: float | None = None

    def __post_init__(self) -> None:
        check_key(self.client_key)
        text_of("the comparison's id", self.comparison, 64)
        if self.verdict not in VERDICTS:
            raise ValueError(f"the verdict must be one of {', '.join(VERDICTS)}.")
        if self.strength is not None:
            if self.verdict not in SIDES:
                raise ValueError("a strength needs a better side: choose A or B, or leave it out.")
            strength = whole("strength", self.strength, 1, 2, "use 1 for slightly, 2 for clearly")
            object.__setattr__(self, "strength", strength)
        object.__setattr__(self, "scales", _scales(self.scales))
        object.__setattr__(self, "tags", _tags(self.tags))
        object.__setattr__(self, "comment", text_of("comment", self.comment, MOST_COMMENT))
        if self.seconds is not None:
            seconds = number("seconds", self.seconds, 0.0, float("inf"), "use the time since both answers were shown")
            object.__setattr__(self, "seconds", min(seconds, _DAY))

    @classmethod
    def of(cls, sent: object) -> "Judgement":
        """From JSON; unknown keys are an error."""
        known = ("comparison", "client_key", "verdict", "strength", "scales", "tags", "comment", "seconds")
        if not isinstance(sent, dict) or any(sent.get(name) is None for name in known[:3]):
            raise ValueError("a judgement needs comparison, client_key and verdict: reload the page.")
        if unknown := sorted(str(key)[:40] for key in sent if key not in known):
            raise ValueError(f"unknown key {', '.join(unknown)}: a judgement has {', '.join(known)}.")
        return cls(**{key: value for key, value in sent.items() if value is not None})


def check_key(key: Any) -> str:
    """A browser's own key of a write; ValueError if it is none."""
    if not isinstance(key, str) or not _CLIENT_KEY.fullmatch(key):
        raise ValueError("client_key must be 8 to 64 letters, digits or hyphens, such as a UUID.")
    return key


def _scales(given: Any) -> dict[str, dict[str, int]]:
    if not isinstance(given, Mapping) or not set(given) <= set(SIDES):
        raise ValueError('scales must be an object such as {"left": {"helpfulness": 4}}.')
    found = {}
    for side in sorted(given):
        if not isinstance(given[side], Mapping) or not set(given[side]) <= set(SCALES):
            raise ValueError(f"the scales of a side are {', '.join(SCALES)}.")
        marks = {name: given[side][name] for name in SCALES if given[side].get(name) is not None}
        found[side] = {name: whole(name, mark, 1, 5, "use 1 to 5") for name, mark in marks.items()}
    return found


def _tags(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list | tuple) or len(given) > MOST_TAGS:
        raise ValueError(f"tags must be a list of at most {MOST_TAGS}.")
    return tuple(dict.fromkeys(text_of("tag", each, MOST_TAG) for each in given))


def text_of(name: str, given: Any, most: int) -> str:
    """A visitor's text; what no database keeps (NUL, lone surrogates) is refused."""
    if not isinstance(given, str):
        raise ValueError(f"{name} must be a text.")
    if len(given) > most:
        raise ValueError(f"{name} has {len(given):,} characters and may have {most:,}: shorten it.")
    try:
        given.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        kept = False
    else:
        kept = "\x00" not in given
    if not kept:
        raise ValueError(f"{name} has characters that cannot be kept: remove them.")
    return given

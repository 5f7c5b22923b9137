"""What a visitor may ask for: prompt, sampling, length and speculation, checked before anything runs.

"Private" endpoints can be called by anyone who reads the page's source, so page, links and API all come through
here. Pure; ValueErrors carry the remedy and are shown as they are.
"""

import math
from dataclasses import dataclass
from typing import Any

from eft_core.checks import whole
from eft_core.config import Limits, Sampling, Speculation, token_ids

# A guard before the tokenizer, far above every context window the session knows.
MAX_PROMPT = 50_000
MAX_LENGTH = 512
MAX_TEMPERATURE = 2.0
# Numbers pass through JavaScript on their way, which is exact up to here.
MAX_SEED = 2**53 - 1
MAX_DRAFT = 16
WAYS = ("off", "fixed", "adaptive")
# The page's own: as fast as it gets, and still the text of plain decoding for every seed.
USUAL = Speculation(rule="noise")


@dataclass(frozen=True, slots=True)
class Decoding:
    """How all columns of a comparison draw their tokens: what the panel folds under "Decoding"."""

    sampling: Sampling = Sampling()  # noqa: RUF009  # frozen
    limits: Limits = Limits()  # noqa: RUF009  # frozen
    speculation: Speculation | None = USUAL
    record: bool = True


def check_prompt(prompt: object) -> str:
    """The prompt, which must say something."""
    text = whole_text("prompt", prompt)
    if not text.strip():
        raise ValueError("The prompt is empty: write a question, or pick one of the examples.")
    return text


def whole_text(name: str, given: object) -> str:
    """A visitor's text as every tokenizer takes it: a lone half of a surrogate pair becomes U+FFFD."""
    if not isinstance(given, str):
        raise ValueError(f"the {name} must be a text.")
    if len(given) > MAX_PROMPT:
        raise ValueError(f"The {name} has {len(given):,} characters and at most {MAX_PROMPT:,} fit: shorten it.")
    return given.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def check_sampling(temperature: object, top_p: object, top_k: object, seed: object) -> Sampling:
    """Sampling within the page's ranges; `top_p` 1 and `top_k` 0 are off, as the controls say."""
    off_p = top_p is None or top_p == 1
    off_k = top_k is None or top_k == 0
    sampling = Sampling(
        temperature=temperature,  # type: ignore[arg-type]  # Sampling checks types itself
        top_k=None if off_k else top_k,  # type: ignore[arg-type]
        top_p=None if off_p else top_p,  # type: ignore[arg-type]
        seed=0 if seed is None else seed,  # type: ignore[arg-type]
    )
    if sampling.temperature > MAX_TEMPERATURE:
        raise ValueError(f"temperature = {sampling.temperature:g} is above {MAX_TEMPERATURE:g}: use 0 (greedy) to 2.")
    if sampling.seed > MAX_SEED:
        raise ValueError(f"the seed is above {MAX_SEED}: use a smaller one.")
    return sampling


def check_length(length: object) -> Limits:
    """The longest answer, in tokens."""
    count = number(length, 0.0)
    if count != int(count) or not 1 <= count <= MAX_LENGTH:
        raise ValueError(
            f"the length (max_new_tokens) must be a whole number from 1 to {MAX_LENGTH}, not {str(length)[:40]}."
        )
    return Limits(max_new_tokens=int(count))


def check_speculation(way: object, length: object, rule: Any, timed: object) -> Speculation | None:
    """Speculation within the page's ranges; `length` counts where the way is "fixed"."""
    if way not in WAYS:
        raise ValueError(f"speculation = {str(way)[:40]!r} is unknown: use {', '.join(WAYS)}.")
    remedy = f"use 1 to {MAX_DRAFT} tokens a cycle"
    fixed = whole("draft length", length, 1, MAX_DRAFT, remedy) if way == "fixed" else None
    chosen = Speculation(fixed, rule, timed=timed is True)
    return None if way == "off" else chosen


def check_tokens(tokens: object, most: int) -> tuple[int, ...]:
    """Token ids from a browser, as many as an answer may have."""
    if not isinstance(tokens, list) or not 1 <= len(tokens) <= most:
        raise ValueError(f"tokens must be a list of 1 to {most:,} ids: reload the page and try again.")
    return token_ids(tokens)


def number(value: object, default: float) -> float:
    """A control's number; an emptied number field counts as its default."""
    plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if plain else default  # type: ignore[arg-type]

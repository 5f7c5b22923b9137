"""A comparison as a readable address, and back: `?prompt=...&column=large:small:helpful=1:beta=1&seed=0`.

A system prompt is `system`, each earlier turn `user`, `assistant` and, where it is known who answered, `by`.
Pure functions. What arrives in an address is a stranger's text: every part is checked, and a link that is wrong
in any part is refused with a sentence and never runs.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlencode

from components.columns import MAX_COLUMNS, check, clean_label
from components.conversation import Context, check_context
from components.inputs import USUAL, Decoding, check_length, check_prompt, check_sampling, check_speculation
from eft_core.config import Limits, Speculation
from eft_core.family import Family
from eft_core.policy import Policy

# Browsers and proxies differ in what they carry; this much they all do.
MAX_LINK = 6000
_RESERVED = ("beta", "p", "label")
_TURN = ("user", "assistant", "by")
_SINGLE = (
    "prompt",
    "system",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "length",
    "speculate",
    "rule",
    "timed",
    "record",
)
_KEYS = (*_SINGLE, "column", *_TURN)


@dataclass(frozen=True, slots=True)
class Link:
    """Everything that determines a comparison; `columns` are (label, policy), label empty for the automatic name."""

    prompt: str
    columns: tuple[tuple[str, Policy], ...]
    decoding: Decoding = Decoding()  # noqa: RUF009  # frozen
    context: Context = Context()  # noqa: RUF009  # frozen


def encode(link: Link) -> str:
    """The query string with its question mark, or "" for a comparison too long for an address."""
    pairs = [("prompt", link.prompt), *_context_pairs(link.context)]
    pairs += [("column", encode_column(label, policy)) for label, policy in link.columns]
    sampling, limits = link.decoding.sampling, link.decoding.limits
    pairs += [("temperature", _number(sampling.temperature))]
    pairs += [("top_p", _number(sampling.top_p))] if sampling.top_p is not None else []
    pairs += [("top_k", str(sampling.top_k))] if sampling.top_k is not None else []
    pairs += [("seed", str(sampling.seed)), ("length", str(limits.max_new_tokens))]
    pairs += _speculation_pairs(link.decoding.speculation)
    pairs += [] if link.decoding.record else [("record", "0")]
    query = "?" + urlencode(pairs, quote_via=quote, safe=":=~")
    return query if len(query) <= MAX_LINK else ""


def decode(items: Iterable[tuple[str, str]], family: Family) -> Link | None:
    """The comparison of an address, None if it holds none, or a sweep instead. Keys of others are left alone."""
    every = list(items)
    given = [(key, value) for key, value in every if key in _KEYS]
    if not given or ("sweep", "1") in every:
        return None
    single = {key: value for key, value in given if key in _SINGLE}
    if len(single) != sum(key in _SINGLE for key, _ in given):
        raise ValueError("the link names a setting twice: remove one of them.")
    columns = tuple(decode_column(value, family) for key, value in given if key == "column")
    if len(columns) > MAX_COLUMNS:
        raise ValueError(f"the link has {len(columns)} columns: at most {MAX_COLUMNS} fit.")
    sampling = check_sampling(
        _read(float, single, "temperature", 0.0),
        _read(float, single, "top_p", None),
        _read(int, single, "top_k", None),
        _read(int, single, "seed", 0),
    )
    limits = check_length(_read(int, single, "length", Limits().max_new_tokens))
    prompt = single.get("prompt", "")
    decoding = Decoding(sampling, limits, _speculation(single), _flag(single, "record", True))
    context = check_context(single.get("system"), _turns(given))
    return Link(check_prompt(prompt) if prompt.strip() else "", columns, decoding, context)


def _context_pairs(context: Context) -> list[tuple[str, str]]:
    """What the prompt is asked after, in the order of the conversation."""
    pairs = [("system", context.system)] if context.system else []
    for turn in context.turns:
        pairs += [("user", turn.user), ("assistant", turn.assistant), *([("by", turn.by)] if turn.by else [])]
    return pairs


def _turns(given: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The inverse of `_context_pairs`: a turn begins with `user`, and the others follow in their order."""
    turns: list[list[str]] = []
    for key, value in given:
        if key == "user":
            turns.append([value])
        elif key in _TURN:
            if not turns or len(turns[-1]) != _TURN.index(key):
                raise ValueError(
                    f"the link's {key} = {value[:40]!r} follows no {_TURN[_TURN.index(key) - 1]}: copy it again."
                )
            turns[-1].append(value)
    return turns


def _speculation_pairs(speculation: Speculation | None) -> list[tuple[str, str]]:
    """What differs from the page's usual speculation: `speculate=off`, or a draft length, the rule, the timing."""
    if speculation is None:
        return [("speculate", "off")]
    pairs = [("speculate", str(speculation.length))] if speculation.length is not None else []
    pairs += [("rule", speculation.rule)] if speculation.rule != USUAL.rule else []
    return pairs + ([("timed", "1")] if speculation.timed else [])


def _speculation(values: dict[str, str]) -> Speculation | None:
    """The inverse of `_speculation_pairs`."""
    given, timed = values.get("speculate", "adaptive"), _flag(values, "timed", False)
    if given in ("off", "adaptive"):
        way, length = given, None
    elif given.isascii() and given.isdigit():
        way, length = "fixed", _to(int, given, "speculate")
    else:
        raise ValueError(f"the link's speculate = {given[:40]!r} is unknown: write off, adaptive, or a draft length.")
    return check_speculation(way, length, values.get("rule", USUAL.rule)[:40], timed)


def _flag(values: dict[str, str], name: str, default: bool) -> bool:
    """A setting that is on or off: 1 or 0."""
    text = values.get(name, str(int(default)))
    if text not in ("0", "1"):
        raise ValueError(f"the link's {name} = {text[:40]!r} is neither 0 nor 1: correct the address.")
    return text == "1"


def encode_column(label: str, policy: Policy) -> str:
    """`large:small:helpful=1:beta=1:p=0.9:label=My%20name`; a plain base is its size alone."""
    values = policy.to_dict()  # refuses negative weights: links never carry them
    parts = [_quote(policy.pretrain)]
    if policy.finetune is not None:
        parts.append(_quote(policy.finetune))
        for name, weight in values["behaviours"].items():  # type: ignore[attr-defined]  # to_dict made a dict
            parts.append(f"{'~' if name in _RESERVED else ''}{_quote(name)}={_number(weight)}")
        parts.append(f"beta={_number(policy.amplification)}")
        parts += [f"p={_number(policy.nucleus)}"] if policy.nucleus is not None else []
    return ":".join(parts + ([f"label={_quote(label)}"] if label else []))


def decode_column(text: str, family: Family) -> tuple[str, Policy]:
    """The inverse of `encode_column`: (label, policy), checked against the family and the page's ranges."""
    sizes = [unquote(part) for part in text.split(":") if "=" not in part]
    named = [part.partition("=")[::2] for part in text.split(":") if "=" in part]
    if not 1 <= len(sizes) <= 2 or not sizes[0]:
        raise ValueError(f"the link's column {text[:60]!r} cannot be read: write large:small:helpful=1:beta=1.")
    if len({name for name, _ in named}) != len(named):
        raise ValueError(f"the link's column {text[:60]!r} names a weight twice: add them up.")
    settings = {name: value for name, value in named if name in _RESERVED}
    weights = {
        unquote(name.removeprefix("~")): _to(float, value, name) for name, value in named if name not in settings
    }
    if len(sizes) == 1:
        if weights or set(settings) - {"label"}:
            raise ValueError(f"the link's column {text[:60]!r} has weights but no fine-tuning size: add one.")
        policy = Policy(sizes[0])
    else:
        beta = _to(float, settings.get("beta", "1"), "beta")
        nucleus = _to(float, settings["p"], "p") if "p" in settings else None
        policy = Policy(sizes[0], sizes[1], weights, amplification=beta, nucleus=nucleus)
    return clean_label(unquote(settings.get("label", ""))), check(policy, family)


def _quote(text: str) -> str:
    """Names inside a column: only what separates its parts is escaped, so that the rest stays readable."""
    return re.sub(r"[%:=~]", lambda found: f"%{ord(found[0]):02X}", text)


def _number(value: float | None) -> str:
    """The shortest text that reads back as the same number, without a trailing .0."""
    return repr(float(value or 0.0)).removesuffix(".0")


def _read(kind: type, values: dict[str, str], name: str, default: Any) -> Any:
    """A number of the link, or its default."""
    return _to(kind, values[name], name) if name in values else default


def _to(kind: type, text: str, name: str) -> Any:
    """`text` as a number. Long digit strings are refused before int() spends time on them."""
    try:
        if len(text) > 32:
            raise ValueError
        return kind(text)
    except ValueError:
        raise ValueError(f"the link's {name[:40]} = {text[:40]!r} is not a number: correct the address.") from None

"""A trace as plain values for JSON: one schema for the page's stream, exports, /inspect and the command line.

Columnar: one list a measure, one entry a token; nats, null where unknown. The README ("The record") describes
every key. Pure.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from eft_core.policy import Member
from eft_core.token_text import Texts
from eft_core.trace import VIEWS, Trace

SCHEMA = "eft-lab/trace/1"
DIGITS = 5
# A mean of so many nats is a perplexity that no float holds: a text that a member thinks impossible.
_ENDLESS = 700.0


def document(trace: Trace, texts: Texts, **about: object) -> dict[str, Any]:
    """All of a trace. `about`: what else is known of it, such as its prompt; it stands first."""
    return {"schema": SCHEMA, **about, **header(trace), "tokens": token_values(trace), **text_values(texts)}


def header(trace: Trace) -> dict[str, Any]:
    """What all tokens share: the policy, the members that ran, and which role each of them plays."""
    policy, place = trace.policy, {member: number for number, member in enumerate(trace.members)}
    size = policy.finetune or policy.pretrain
    tuned = {each.behaviour: place[each] for each in trace.members if each.behaviour is not None and each.size == size}
    return {
        "policy": policy.to_dict(),
        "formula": policy.formula(),
        "members": [str(member) for member in trace.members],
        "roles": {
            "base": place.get(Member(policy.pretrain)),
            "small_base": None if policy.finetune is None else place.get(Member(policy.finetune)),
            "tuned": tuned,
        },
    }


def token_values(trace: Trace, scale: int = 0) -> dict[str, Any]:
    """What each token has of its own. With a `scale`, nats are whole numbers of 1/scale, which are written faster."""

    def nats(values: np.ndarray) -> list[Any]:
        return _listed(values, scale)

    ends = trace.ends.tolist()
    pieces = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def by_token(values: list[Any]) -> list[list[Any]]:
        return [values[piece] for piece in pieces]

    return {
        "ids": trace.tokens.tolist(),
        "fates": trace.fates,
        "logprob": dict(zip(_laws(trace), map(nats, trace.logprobs.T), strict=True)),
        "rank": dict(zip(VIEWS, ([each or None for each in column.tolist()] for column in trace.ranks.T), strict=True)),
        "entropy": dict(zip(VIEWS, map(nats, trace.entropy.T), strict=True)),
        "total_variation": dict(zip(VIEWS[1:], map(nats, trace.total_variation.T), strict=True)),
        "divergence": dict(zip(VIEWS[1:], map(nats, trace.divergence.T), strict=True)),
        "finetuning": nats(trace.finetuning),
        "upscaling": nats(trace.upscaling),
        "promoted": _moved(trace, 0, nats),
        "demoted": _moved(trace, 1, nats),
        "log_z": nats(trace.normalisers[:, 0]),
        "log_z_small": nats(trace.normalisers[:, 1]),
        "threshold": nats(trace.normalisers[:, 2]),
        "candidates": by_token(trace.candidates.tolist()),
        "candidate_logprobs": {
            str(member): by_token(nats(column))
            for member, column in zip(trace.members, trace.candidate_logprobs.T, strict=True)
        },
    }


def ids_of(trace: Trace) -> list[int]:
    """Every token that the records name."""
    parts = (trace.tokens, trace.candidates, trace.shifted[trace.shifted >= 0])
    return np.unique(np.concatenate([part.ravel() for part in parts])).tolist()


def text_values(texts: Texts) -> dict[str, dict[str, str]]:
    """Texts of ids, under string keys as JSON has them; kinds that do not occur are left out."""
    kinds = (("texts", texts.text), ("bytes", texts.bytes), ("special", texts.special))
    return {name: {str(number): text for number, text in found.items()} for name, found in kinds if found}


def summary(trace: Trace) -> dict[str, Any]:
    """The whole text in a few numbers.

    mean_divergence, total_variation: means of KL and TV against small policy and base[N]; changed: the share of tokens
    whose most probable candidate differs from the small policy's; perplexity: under the policy and under each member,
    None beyond all numbers.
    """
    known = bool(np.isfinite(trace.total_variation[:, 0]).all())
    nats = -trace.logprobs.mean(0, dtype=np.float64)
    perplexity = _listed(np.exp(np.where(nats < _ENDLESS, nats, np.nan)), 0)
    return {
        "tokens": len(trace),
        "mean_divergence": _by_view(trace.divergence),
        "total_variation": _by_view(trace.total_variation),
        "changed": round(float(trace.changed.mean()), DIGITS) if known else None,
        "perplexity": dict(zip(_laws(trace), perplexity, strict=True)),
    }


def summary_line(values: Mapping[str, Any]) -> str:
    """A summary in one line; what is unknown is not said."""
    divergence, moved = values["mean_divergence"], values["total_variation"]
    said = [f"{values['tokens']:,} tokens"]
    if divergence["small"] is not None:
        said.append(f"mean KL {divergence['small']:.3f} nats to the small policy")
    if divergence["base"] is not None:
        said.append(f"{divergence['base']:.3f} to base(N)")
    if values["changed"] is not None:
        said.append(f"{values['changed']:.1%} of tokens changed")
    if moved["small"] is not None:
        said.append(f"{moved['small']:.1%} of probability moved")
    shown = {name: "∞" if each is None else f"{each:.3f}" for name, each in values["perplexity"].items()}
    return " · ".join([*said, "perplexity " + ", ".join(f"{name} {each}" for name, each in shown.items())])


def _laws(trace: Trace) -> list[str]:
    return ["policy", *map(str, trace.members)]


def _by_view(values: np.ndarray) -> dict[str, float | None]:
    """Means of (T, 2), against small policy and base[N]."""
    return dict(zip(VIEWS[1:], _listed(values.mean(0), 0), strict=True))


def _moved(trace: Trace, place: int, nats: Callable[[np.ndarray], list[Any]]) -> dict[str, Any]:
    ids = trace.shifted[:, place].tolist()
    return {"ids": [None if each < 0 else each for each in ids], "shift": nats(trace.shifts[:, place])}


def _listed(values: np.ndarray, scale: int) -> list[Any]:
    """Numbers for JSON; nan becomes None."""
    unknown = np.isnan(values)
    if scale:
        listed: list[Any] = np.rint(np.where(unknown, 0.0, values) * scale).astype(np.int64).tolist()
    else:
        listed = values.astype(np.float64).round(DIGITS).tolist()
    if not unknown.any():
        return listed
    return [None if missing else each for each, missing in zip(listed, unknown.tolist(), strict=True)]

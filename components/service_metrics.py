"""Metrics in the text format of Prometheus (version 0.0.4) from what was counted; pure.

A client library would bring registries and a server of its own; what we tell is a page of text.
"""

from collections.abc import Iterable, Mapping

from components.meter import FIRST_TOKEN, Counts
from eft_core.standing import Standing

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[tuple[str, str], ...]
_ERRORS = ("failed",)


def exposed(
    counts: Counts, standing: Standing, members: Mapping[str, int], rss: int, budget: int, uptime: float
) -> str:
    """The whole page. `members`: how many are loaded, by family; `rss` and `budget` in bytes."""
    requests = [((("kind", kind), ("outcome", outcome)), n) for (kind, outcome), n in sorted(counts.requests.items())]
    drawn = [((("kind", kind),), tokens) for kind, tokens in sorted(counts.tokens.items())]
    loaded = [((("family", name),), count) for name, count in sorted(members.items())]
    failed = sum(n for (_, outcome), n in counts.requests.items() if outcome in _ERRORS)
    refused = sum(n for (_, outcome), n in counts.requests.items() if outcome == "refused")
    parts = (
        _metric("eft_requests_total", "counter", "Requests that ended, by kind and outcome.", requests),
        _metric("eft_tokens_total", "counter", "Tokens that requests drew or read.", drawn),
        _metric("eft_refusals_total", "counter", "Requests that were refused in a sentence.", [((), refused)]),
        _metric("eft_errors_total", "counter", "Requests that failed inside.", [((), failed)]),
        _metric("eft_engine_restarts_total", "counter", "Restarts of the engine.", [((), standing.restarts)]),
        _metric("eft_engine_tokens_total", "counter", "Tokens that the engine drew.", [((), standing.tokens)]),
        _metric("eft_rows", "gauge", "Rows that are decoded together now.", [((), standing.rows)]),
        _metric("eft_requests_running", "gauge", "Requests that run now.", [((), standing.requests)]),
        _metric("eft_requests_waiting", "gauge", "Requests that wait now.", [((), standing.waiting)]),
        _metric("eft_members_loaded", "gauge", "Members in memory, by family.", loaded),
        _metric("eft_memory_bytes", "gauge", "Resident memory of the process.", [((), rss)]),
        _metric("eft_memory_budget_bytes", "gauge", "Memory that it may use.", [((), budget)]),
        _metric("eft_uptime_seconds", "gauge", "Time since it began.", [((), round(uptime, 3))]),
        _first_tokens(counts),
    )
    return "".join(parts)


def _first_tokens(counts: Counts) -> str:
    """The histogram: cumulative counts up to each bound."""
    name, total, lines = "eft_first_token_seconds", 0, list[str]()
    for bound, count in zip((*map(str, FIRST_TOKEN), "+Inf"), counts.buckets, strict=True):
        total += count
        lines.append(_sample(f"{name}_bucket", (("le", bound),), total))
    lines += [_sample(f"{name}_sum", (), round(counts.first_seconds, 6)), _sample(f"{name}_count", (), total)]
    return _head(name, "histogram", "Time from a request to its first token.") + "".join(lines)


def _metric(name: str, kind: str, about: str, samples: Iterable[tuple[Labels, float]]) -> str:
    return _head(name, kind, about) + "".join(_sample(name, labels, value) for labels, value in samples)


def _head(name: str, kind: str, about: str) -> str:
    return f"# HELP {name} {about}\n# TYPE {name} {kind}\n"


def _sample(name: str, labels: Labels, value: float) -> str:
    named = ",".join(f'{key}="{_quoted(text)}"' for key, text in labels)
    return f"{name}{f'{{{named}}}' if named else ''} {value}\n"


def _quoted(text: str) -> str:
    """A label's value, as the format escapes it."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

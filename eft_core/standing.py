"""How the engine stands at a moment: what a health check, a metric or a page tells of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """`rows` run in the shared batches, for `requests` that run; `waiting` requests have no place yet. `restarts`:
    times that the engine's thread failed and was started again. `tokens`: drawn since the start."""

    rows: int = 0
    requests: int = 0
    waiting: int = 0
    restarts: int = 0
    tokens: int = 0

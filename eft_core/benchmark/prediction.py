"""The model of a cycle (SPEED.md 2.2): what speculation should bring, from acceptance and the costs of passes.

c = T_S(1) / T_L(1); v(n) = T(n) / T(1), the price of a pass of n tokens; alpha: acceptance of one draft token; k: draft
tokens a cycle. All costs in units of T_L(1). Pure functions.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured costs of passes: T_L(1) and T_S(1) in seconds, and v_L and v_S by the number of new tokens."""

    large: float
    small: float
    v_large: Mapping[int, float]
    v_small: Mapping[int, float]

    @property
    def c(self) -> float:
        return self.small / self.large


def expected_tokens(alpha: float, k: int) -> float:
    """E(alpha, k) = (1 - alpha^(k+1)) / (1 - alpha), bonus included (Leviathan et al. 2023, eq. 1)."""
    return sum(alpha**i for i in range(k + 1))


def plain_cost(costs: Costs) -> float:
    """A = 1 + 2c: one token of up-scaling, three models in sequence."""
    return 1 + 2 * costs.c


def cycle_cost(costs: Costs, k: int) -> float:
    """C = (k+1) c + v_L(k+1) + c v_S(k+1).

    Of the k+1 passes of the drafter the last gives its part of the bonus token's law; large and small base verify in
    one pass each. k = 0 is a plain step, C = A.
    """
    return (k + 1) * costs.c + value(costs.v_large, k + 1) + costs.c * value(costs.v_small, k + 1)


def predicted_gain(costs: Costs, alpha: float, k: int) -> float:
    """G = A E / C: tokens a second over plain decoding."""
    return plain_cost(costs) * expected_tokens(alpha, k) / cycle_cost(costs, k)


def value(v: Mapping[int, float], n: int) -> float:
    """v(n), in a straight line between measured lengths, and beyond the last one on its line from the first."""
    if n in v:
        return v[n]
    lengths = sorted(v)
    above = next((length for length in lengths if length > n), lengths[-1])
    below = max((length for length in lengths if length < min(n, above)), default=lengths[0])
    slope = (v[above] - v[below]) / (above - below)
    return v[below] + slope * (n - below)

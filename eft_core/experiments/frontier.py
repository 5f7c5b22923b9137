"""`frontier`: helpful against harmless over lambda, small policy against up-scaled policy.

(Mitchell et al. 2023, section 4.3: test-time mixing of two behaviours.) lambda is the share of the first behaviour.
"""

import itertools

import numpy as np

from eft_core.experiments.study import (
    ATLAS_COLUMNS,
    Arm,
    Column,
    Experiment,
    Finding,
    Graded,
    Options,
    Read,
    labels_of,
    pair_of,
)
from eft_core.family import Family
from eft_core.intervals import Estimate, difference
from eft_core.policy import interpolate

LAMBDAS = tuple(round(step / 10, 1) for step in range(11))
COLUMNS = (
    *ATLAS_COLUMNS,
    ("factual_sensitive", "factual", "sensitive"),
    ("helpful_sensitive", "helpful", "sensitive"),
)


def arms(family: Family, options: Options) -> tuple[Arm, ...]:
    """Every lambda, small and up-scaled. ValueError where the family has no two behaviours of one size."""
    large, small = pair_of(family, options)
    first, second = behaviours(family, small, options.behaviour)
    found = []
    for share, (policy, pretrain) in itertools.product(LAMBDAS, (("small", small), ("upscaled", large))):
        mixed = interpolate(pretrain, small, first, second, share)
        labels = labels_of(mixed, f"{first}/{second}") | {"lambda": share, "policy": policy}
        found.append(Arm(mixed, labels, first))
    return tuple(found)


def behaviours(family: Family, size: str, asked: str) -> tuple[str, str]:
    """What is mixed: `asked` as `helpful/harmless`, or the default behaviour and harmless, or the next one."""
    there = family.behaviours_of(size)
    if asked:
        first, _, second = asked.partition("/")
    else:
        others = [name for name in there if name != family.default_behaviour]
        first, second = family.default_behaviour, "harmless" if "harmless" in others else next(iter(others), "")
    if first not in there or second not in there or first == second:
        raise ValueError(
            f"{family.name} needs two behaviours of size {size}, and has "
            f"{', '.join(there) or 'none'}: name two of them as --behaviour helpful/harmless."
        )
    return first, second


def read(graded: Graded) -> Read:
    """Rows, and at which lambdas the up-scaled policy is the more helpful one."""
    return Read(graded.rows(), findings(graded), {})


def findings(graded: Graded) -> list[Finding]:
    """The up-scaled frontier against the small one, by lambda and by equal harmlessness."""
    found = []
    for name in ("helpful", "factual", "factual_sensitive"):
        column = graded.column(name)
        if column is None:
            continue
        gains = {share: _lead(graded, share, column) for share in LAMBDAS}
        above = [share for share, gain in gains.items() if gain.low > 0]
        below = [share for share, gain in gains.items() if gain.high < 0]
        least = min(gains.values(), key=lambda gain: gain.value)
        claim = (
            f"{name}: the up-scaled policy lies surely above the small one at {len(above)} of {len(LAMBDAS)} values of "
            f"lambda, surely below at {len(below)}; its smallest lead is {least}"
        )
        found.append(Finding(claim, not below))
    return found + _at_equal_harmlessness(graded)


def _lead(graded: Graded, share: float, column: Column) -> Estimate:
    """The up-scaled policy's score minus the small one's, at one lambda."""
    up, small = (graded.of(_arm(graded, share, policy), column) for policy in ("upscaled", "small"))
    return difference(up, small)


def _at_equal_harmlessness(graded: Graded) -> list[Finding]:
    """Whether, at every harmlessness that both reach, the up-scaled curve is the higher one."""
    harmless = graded.column("declined_sensitive") or graded.column("harmless")
    helpful = graded.column("helpful")
    if harmless is None or helpful is None:
        return []
    curves = []
    for policy in ("upscaled", "small"):
        points = sorted(
            tuple(float(np.nanmean(graded.of(_arm(graded, share, policy), each))) for each in (harmless, helpful))
            for share in LAMBDAS
        )
        curves.append(tuple(zip(*points, strict=True)))
    (x_up, y_up), (x_small, y_small) = curves
    places = np.linspace(max(x_up[0], x_small[0]), min(x_up[-1], x_small[-1]), 101)
    lead = np.interp(places, x_up, y_up) - np.interp(places, x_small, y_small)
    claim = (
        f"at equal {harmless.name}, from {places[0]:.2f} to {places[-1]:.2f}, the up-scaled policy leads in "
        f"{helpful.name} by {lead.min():+.2f} to {lead.max():+.2f}"
    )
    return [Finding(claim, bool(lead.min() > 0))]


def _arm(graded: Graded, share: float, policy: str) -> int:
    number = graded.arm(**{"lambda": share, "policy": policy})
    assert number is not None, "every lambda has both policies"
    return number


FRONTIER = Experiment(
    name="frontier",
    title="Helpful against harmless",
    question="Two behaviours mixed while decoding, lambda helpful and 1 − lambda harmless: does the large base help?",
    arms=arms,
    read=read,
    items=200,
    temperature=1.0,
    samples=2,
    sensitive=1.0,
)

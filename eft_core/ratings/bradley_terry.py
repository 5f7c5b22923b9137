"""How strong policies are when more than two meet: Bradley and Terry (1952), with length as a covariate if wanted.

    P(first wins) = 1 / (1 + exp(strength of second - strength of first - length * longer))

Votes of a pair are summed, so a fit is a weighted logistic regression with one row a pair (and a rounded difference of
lengths). A tie is half a win for each, or left out. Items are resampled for intervals, never votes.

So that a policy that always wins, and groups that never met, have finite strengths, every policy is given a twentieth
of a vote won and one lost against an imaginary policy of strength 0 (as Mease 2003 does with football teams);
`notes` says where a number rests on that. D = K policies (+ 1 for length); R rows; B resamples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import coo_array, hstack
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from eft_core.intervals import Estimate
from eft_core.ratings.ballots import FIRST, SECOND, Ballots
from eft_core.ratings.clusters import bounded, resampled, totals

PRIOR = 0.1  # votes of each policy against the imaginary one
# Lengths differ by how often one doubles the other, rounded to an eighth (9%), so that votes can be summed.
_STEPS, _MOST_DOUBLINGS = 8, 5
_CENTRE, _POINTS = 1000.0, 400.0 / math.log(10.0)
_NEWTON_STEPS = 30


@dataclass(frozen=True, slots=True)
class Strengths:
    """strengths: of each policy of the ballots, natural logarithm's scale, mean 0. length: what doubling an answer's
    length adds to its log-odds, other things equal. votes: those counted. notes: what numbers do not rest on votes."""

    strengths: tuple[Estimate, ...]
    length: Estimate | None
    votes: int
    notes: tuple[str, ...]


def strengths(ballots: Ballots, ties: bool = True, length: bool = False) -> Strengths:
    """The strengths that make the votes likeliest. ties: half a win for each, otherwise left out.

    length: estimate its effect too, from the votes whose lengths are known; strengths are then those at equal length.
    ValueError without votes.
    """
    counted = (ballots.judged if ties else ballots.decided) & (np.isfinite(ballots.longer) if length else True)
    if not counted.any():
        raise ValueError("there is no vote to estimate strengths from: choose other filters.")
    doublings = np.clip(np.round(ballots.longer[counted] * _STEPS) / _STEPS, -_MOST_DOUBLINGS, _MOST_DOUBLINGS)
    met = np.column_stack([ballots.pair[counted], doublings]) if length else ballots.pair[counted, None]
    rows, row = np.unique(met, axis=0, return_inverse=True)
    design = _design(ballots.pairs[rows[:, 0].astype(int)], len(ballots.policies), rows[:, 1:])
    outcome, shape = ballots.outcome[counted], (ballots.items, len(rows))
    win = np.select([outcome == FIRST, outcome == SECOND], [1.0, 0.0], 0.5)
    by_item = hstack([totals(ballots.item[counted], row, each, shape) for each in (win, np.ones(len(win)))], "csr")
    won, total = np.split(by_item.sum(axis=0), 2)
    best = likeliest(design, won, total)
    wins, votes = np.split(resampled(by_item), 2, axis=1)
    samples = refitted(design, wins, votes, best)
    return _told(ballots, best, samples, int(counted.sum()), _notes(ballots.labels, design, won, total))


def points(strength: Estimate) -> Estimate:
    """A strength as arenas print it: 400 points are odds of ten to one, and the mean is 1000."""
    low, value, high = (_CENTRE + _POINTS * each for each in (strength.low, strength.value, strength.high))
    return Estimate(value, low, high, strength.n)


def _design(pairs: np.ndarray, policies: int, covariates: np.ndarray) -> np.ndarray:
    """(R, D): 1 for the first, -1 for the second, then the covariates. pairs: (R, 2); covariates: (R, D - K)."""
    names = np.eye(policies)
    return np.hstack([names[pairs[:, 0]] - names[pairs[:, 1]], covariates])


def likeliest(design: np.ndarray, won: np.ndarray, total: np.ndarray) -> np.ndarray:
    """(D,) coefficients; won and total: (R,) votes. The logistic loss, by L-BFGS."""

    def loss(beta: np.ndarray) -> tuple[float, np.ndarray]:
        eta = design @ beta
        value = total @ np.logaddexp(0, eta) - won @ eta + PRIOR * (np.logaddexp(0, beta) - beta / 2).sum()
        return value, (total * expit(eta) - won) @ design + PRIOR * (expit(beta) - 0.5)

    start = np.zeros(design.shape[1])
    return minimize(loss, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-8}).x


def refitted(design: np.ndarray, won: np.ndarray, total: np.ndarray, start: np.ndarray) -> np.ndarray:
    """(B, D): `likeliest` for B counts of votes at once, won and total (B, R), by Newton's steps from `start`."""
    width = design.shape[1]
    beta, squares = np.tile(start, (len(won), 1)), (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    for _ in range(_NEWTON_STEPS):
        chance, own = expit(beta @ design.T), expit(beta)
        slope = (total * chance - won) @ design + PRIOR * (own - 0.5)
        bend = ((total * chance * (1 - chance)) @ squares).reshape(-1, width, width)
        bend += (PRIOR * own * (1 - own))[:, :, None] * np.eye(width)
        step = np.linalg.solve(bend, slope[:, :, None])[:, :, 0]
        beta -= np.clip(step, -1, 1)  # from far off a whole step may overshoot
        if np.abs(step).max() < 1e-6:
            break
    return beta


def _told(ballots: Ballots, best: np.ndarray, samples: np.ndarray, votes: int, notes: tuple[str, ...]) -> Strengths:
    count = len(ballots.policies)
    level, levels = best[:count].mean(), samples[:, :count].mean(axis=1)
    found = tuple(bounded(best[each] - level, samples[:, each] - levels, votes) for each in range(count))
    length = bounded(best[count], samples[:, count], votes) if len(best) > count else None
    return Strengths(found, length, votes, notes)


def _notes(labels: Sequence[str], design: np.ndarray, won: np.ndarray, total: np.ndarray) -> tuple[str, ...]:
    """Where the votes alone leave a strength unbounded: the likeliest one is finite only if, however policies are
    parted in two, each part won against the other (Ford 1957)."""
    names = design[:, : len(labels)]
    first, second = names.argmax(axis=1), names.argmin(axis=1)
    wins, losses = won > 0, won < total
    winner, loser = np.r_[first[wins], second[losses]], np.r_[second[wins], first[losses]]
    graph = coo_array((np.ones(len(winner)), (winner, loser)), shape=(len(labels), len(labels)))
    apart, weak = connected_components(graph, connection="weak")
    parts, strong = connected_components(graph, connection="strong")
    if apart > 1:
        return (f"No votes connect {_listed(labels, weak)}: compare strengths within a group only.",)
    if parts > 1:
        return (f"One of these groups never lost to another, so how far apart they are is a guess: "
                f"{_listed(labels, strong)}.",)  # fmt: skip
    return ()


def _listed(labels: Sequence[str], groups: np.ndarray) -> str:
    """`{A, B} and {C}`"""
    return " and ".join(
        "{" + ", ".join(label for label, group in zip(labels, groups, strict=True) if group == each) + "}"
        for each in dict.fromkeys(groups.tolist())
    )

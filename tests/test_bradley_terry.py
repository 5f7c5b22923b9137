"""Bradley-Terry strengths against a published data set, against choix, and against known truths."""

import choix
import numpy as np
import pytest
from voted import NAN, counted, simulated, vote, votes

from eft_core.ratings.ballots import ballots
from eft_core.ratings.bradley_terry import PRIOR, likeliest, points, refitted, strengths

# American League 1987, wins of the row's team (Agresti 2002, Categorical Data Analysis, table 10.10).
TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
BASEBALL = (
    (0, 7, 9, 7, 7, 9, 11),
    (6, 0, 7, 5, 11, 9, 9),
    (4, 6, 0, 7, 7, 8, 12),
    (6, 8, 6, 0, 6, 7, 10),
    (6, 2, 6, 7, 0, 7, 12),
    (4, 4, 5, 6, 6, 0, 6),
    (2, 4, 1, 3, 1, 7, 0),
)
# Against Baltimore (Agresti 2002, section 10.6; the R package BradleyTerry2 prints the digits).
ABILITIES = (1.5814, 1.4364, 1.2945, 1.2476, 1.1077, 0.6839, 0.0)


def values(wins: tuple[tuple[int, ...], ...], labels: tuple[str, ...] = ()) -> np.ndarray:
    return np.array([each.value for each in strengths(ballots(counted(wins, labels))).strengths])


def test_the_baseball_seasons_abilities() -> None:
    found = values(BASEBALL, TEAMS)
    assert found - found[-1] == pytest.approx(ABILITIES, abs=0.01)
    assert found.mean() == pytest.approx(0)


def test_choix_finds_the_same() -> None:
    """Its penalty of alpha and our prior are both next to nothing here."""
    wins = np.array(BASEBALL)
    data = [(i, j) for i in range(7) for j in range(7) for _ in range(wins[i, j])]
    assert values(BASEBALL, TEAMS) == pytest.approx(choix.opt_pairwise(7, data, alpha=1e-6), abs=0.01)


def test_the_standard_errors_are_those_that_are_published() -> None:
    """BradleyTerry2 gives 0.343 for Milwaukee against Baltimore; bootstrapped over games it is about the same."""
    found = strengths(ballots(counted(BASEBALL, TEAMS)))
    first, last = found.strengths[0], found.strengths[-1]
    widths = [(each.high - each.low) / 3.92 for each in (first, last)]
    assert np.hypot(widths[0], widths[1]) == pytest.approx(0.343, abs=0.06)


def test_newtons_steps_reach_what_lbfgs_finds() -> None:
    rng = np.random.default_rng(0)
    design = np.eye(4)[[0, 0, 0, 1, 1, 2]] - np.eye(4)[[1, 2, 3, 2, 3, 3]]
    total = rng.integers(0, 30, (20, 6)).astype(float)
    won = rng.binomial(total.astype(int), 0.7).astype(float)
    won[0] = total[0]  # the first never loses, and who never won never does
    start = likeliest(design, won.sum(axis=0), total.sum(axis=0))
    alone = np.array([likeliest(design, each, whole) for each, whole in zip(won, total, strict=True)])
    assert refitted(design, won, total, start) == pytest.approx(alone, abs=1e-3)


def test_a_tie_is_half_a_win_or_left_out() -> None:
    rows = [vote(item, 0, 0, 1, "first") for item in range(6)] + [
        vote(9, 0, 0, 1, "both_bad"),
        vote(8, 0, 0, 1, "both_good"),
    ]
    rows += [vote(20 + item, 0, 0, 1, "second") for item in range(2)]
    rows += [vote(30 + item, 0, 1, 2, "first" if item % 2 else "second") for item in range(10)]
    cast = ballots(votes([*rows, vote(99, 0, 0, 1, "unsure")], 3))
    half, without = strengths(cast), strengths(cast, ties=False)
    assert (half.votes, without.votes) == (20, 18)
    gaps = [found.strengths[0].value - found.strengths[1].value for found in (half, without)]
    assert gaps == pytest.approx([np.log(7 / 3), np.log(6 / 2)], abs=0.05)


def test_points_are_ten_to_one_at_four_hundred() -> None:
    found = strengths(ballots(counted(((0, 1000, 1000), (100, 0, 500), (100, 500, 0)))))
    told = [points(each) for each in found.strengths]
    assert told[0].value - told[1].value == pytest.approx(400, abs=1)
    assert np.mean([each.value for each in told]) == pytest.approx(1000)
    assert all(each.low < each.value < each.high for each in told)


def test_who_always_wins_has_a_finite_strength_and_a_note() -> None:
    found = strengths(ballots(counted(((0, 9, 9), (0, 0, 5), (0, 4, 0)))))
    assert np.isfinite([each.value for each in found.strengths]).all()
    assert found.strengths[0].value > 2
    [note] = found.notes
    assert "never lost" in note
    assert "{Small tuned, Up-scaled}" in note


def test_groups_that_never_met_are_not_compared() -> None:
    found = strengths(ballots(counted(((0, 3, 0, 0), (2, 0, 0, 0), (0, 0, 0, 4), (0, 0, 1, 0)))))
    [note] = found.notes
    assert note.startswith("No votes connect {Large base, Small tuned} and {Up-scaled, Up-scaled more}")
    assert np.isfinite([each.value for each in found.strengths]).all()
    assert strengths(ballots(counted(BASEBALL, TEAMS))).notes == ()


def test_the_prior_is_a_tenth_of_a_vote() -> None:
    """With one vote, the strengths maximise one logistic term and the prior's two."""
    cast = ballots(counted(((0, 1), (0, 0))))
    [found, _] = strengths(cast).strengths
    assert PRIOR == 0.1
    slope = 1 / (1 + np.exp(2 * found.value)) - PRIOR * (1 / (1 + np.exp(-found.value)) - 0.5)
    assert slope == pytest.approx(0, abs=1e-6)


def test_length_is_told_from_strength() -> None:
    """Two policies of the same merit, of which one writes twice as much: it wins, until lengths are equal."""
    rng = np.random.default_rng(0)
    rows = []
    for item in range(4000):
        tokens = np.exp2(rng.normal([5, 4], 1)).round() + 1
        wins = rng.random() < 1 / (1 + np.exp(-0.5 * np.log2(tokens[0] / tokens[1])))
        extra = {"first_tokens": tokens[0], "second_tokens": tokens[1]}
        rows.append(vote(item, item % 9, 0, 1, "first" if wins else "second", **extra))
    cast = ballots(votes(rows))
    plain, equal = strengths(cast), strengths(cast, length=True)
    assert plain.length is None
    assert plain.strengths[0].low > 0.1
    assert equal.length is not None
    assert equal.length.low < 0.5 < equal.length.high
    assert equal.strengths[0].low < 0 < equal.strengths[0].high


def test_votes_of_unknown_length_are_left_out_of_lengths() -> None:
    rows = [
        vote(0, 0, 0, 1, "first", first_tokens=8.0, second_tokens=4.0),
        vote(1, 0, 0, 1, "second", first_tokens=NAN),
    ]
    cast = ballots(votes(rows))
    assert strengths(cast, length=True).votes == 1
    assert cast.longer[0] == 1.0
    none = ballots(votes([vote(0, 0, 0, 1, "unsure")]))
    with pytest.raises(ValueError, match="no vote to estimate strengths"):
        strengths(none)


def test_intervals_over_items_hold_what_they_promise() -> None:
    """60 studies of three equal policies on items that differ much; few strengths miss 0; the seeds fix it."""
    missed = 0
    for seed in range(60):
        study = simulated(12, 60, 40, 3, seed, length=0, odd=False, strengths=(0, 0, 0), spread=1.5, ties=0)
        for each in strengths(ballots(study)).strengths:
            missed += not each.low <= 0 <= each.high
    assert missed <= 24  # of 180: 10 expected; three of a study depend on each other

"""What votes say of policies, part by part: a title, a sentence, and the rows of a table.

Rows are plain values: an estimate is `win_rate` and `win_rate_interval`, None where it is not defined. The figure of a
part is drawn from its rows (`rating_figures`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from eft_core.intervals import Estimate
from eft_core.ratings.ballots import Ballots
from eft_core.ratings.bradley_terry import Strengths, points, strengths
from eft_core.ratings.breakdowns import breakdowns
from eft_core.ratings.votes import Votes
from eft_core.ratings.win_rates import Meeting, matrix, scale_means

Row = dict[str, Any]
_DIGITS = 4
_BARS = "Bars are 95% intervals."


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the results. `caption` says what its figure shows; `rows` are its table and the figure's data."""

    name: str
    title: str
    caption: str
    rows: tuple[Row, ...]


def estimate(name: str, value: Estimate) -> dict[str, Any]:
    """An estimate as two cells, the second one its interval."""
    return {name: number(value.value), f"{name}_interval": (number(value.low), number(value.high))}


def number(value: float) -> float | None:
    return round(float(value), _DIGITS) if math.isfinite(value) else None


def percent(value: Estimate) -> str:
    """`63% [58%, 68%]`"""
    if not math.isfinite(value.value):
        return "not defined"
    return f"{value.value:.0%} [{value.low:.0%}, {value.high:.0%}]"


def roles(policies: pd.DataFrame) -> list[str]:
    """What each policy is, as the page colours it: base, harmless, tuned, emulated; reference: the tuned model of the
    size whose pre-training an emulated policy uses."""
    mixed = (policies["pretrain"] != policies["finetune"]) | (policies["weights"] != "1")
    emulated = (policies["finetune"] != "") & mixed
    large = set(policies["pretrain"][emulated]) - set(policies["finetune"][emulated])
    chosen = [
        policies["finetune"] == "",
        emulated,
        policies["behaviours"] == "harmless",
        policies["pretrain"].isin(large),
    ]
    return np.select(chosen, ["base", "emulated", "harmless", "reference"], "tuned").tolist()


def win_rates(ballots: Ballots, found: Sequence[Meeting]) -> Section:
    """A row a pair; the policy that wins more stands first."""
    rows = [_pair(each, ballots.labels) for each in found]
    surely = sum(row["win_rate"] is not None and row["win_rate_interval"][0] > 0.5 for row in rows)
    said = "How often a policy wins against another, as a share of the votes that chose one of the two"
    if len(rows) > 1:
        said += f"; in {surely} of {len(rows)} pairs the 95% interval leaves no doubt who wins"
    return Section("wins", "Win rates", f"{said}. {_BARS}", tuple(rows))


def _pair(met: Meeting, labels: Sequence[str]) -> Row:
    """Turned so that the policy that wins more comes first."""
    turned = met.losses > met.wins
    names = (labels[met.first], labels[met.second])
    rate, margin = (_turned(met.win_rate, 1.0), _turned(met.margin, 0.0)) if turned else (met.win_rate, met.margin)
    return {
        "policy": names[turned],
        "against": names[not turned],
        **estimate("win_rate", rate),
        "wins": met.losses if turned else met.wins,
        "losses": met.wins if turned else met.losses,
        "both_good": met.both_good,
        "both_bad": met.both_bad,
        "cannot_judge": met.unsure,
        **estimate("tie_rate", met.ties),
        **estimate("both_bad_rate", met.both_bad_rate),
        **estimate("strength", margin),
        "items": met.items,
    }


def _turned(value: Estimate, whole: float) -> Estimate:
    """The same from the other side: shares add up to 1, margins to 0."""
    return Estimate(whole - value.value, whole - value.high, whole - value.low, value.n)


def answers(ballots: Ballots, found: Sequence[Meeting]) -> Section:
    """Shares of all five answers, pair by pair; rows that add up to 1."""
    rows, votes = [], sum(met.votes for met in found)
    for met in found:
        pair = _pair(met, ballots.labels)
        counted = ("wins", "both_good", "both_bad", "losses", "cannot_judge")
        shares = {f"{name}_share": number(pair[name] / met.votes) for name in counted}
        rows.append({"policy": pair["policy"], "against": pair["against"], **shares, "votes": met.votes})
    tied = sum(met.both_good + met.both_bad for met in found) / votes
    bad = sum(met.both_bad for met in found) / votes
    said = f"All answers, pair by pair: {tied:.0%} of all votes are ties, {bad:.0%} because both answers are bad."
    return Section("answers", "Answers", said, tuple(rows))


def ranking(ballots: Ballots, policies: pd.DataFrame, plain: Strengths) -> Section:
    """Bradley-Terry strengths, strongest first; `plain` has ties as half a win each, beside it stand those without."""
    without = strengths(ballots, ties=False) if ballots.decided.any() else None
    rows = [
        {
            "policy": label,
            "role": role,
            **estimate("rating", points(value)),
            **estimate("log_strength", value),
            **(estimate("rating_without_ties", points(without.strengths[place])) if without else {}),
        }
        for place, (label, role, value) in enumerate(
            zip(ballots.labels, _roles(ballots, policies), plain.strengths, strict=True)
        )
    ]
    said = "Bradley-Terry strengths of all policies together, a tie as half a win for each: 400 points are odds of ten "
    said += f"to one, and the mean is 1000. {_BARS} {' '.join(plain.notes)}"
    return Section("ranking", "Ranking", said.strip(), tuple(sorted(rows, key=lambda row: -row["rating"])))


def _roles(ballots: Ballots, policies: pd.DataFrame) -> list[str]:
    return roles(policies.loc[list(ballots.policies)])


def pairwise(ballots: Ballots, found: Sequence[Meeting]) -> Section:
    """The matrix of win rates: a row a policy, a column for each by its number, for labels are anybody's texts."""
    rates = matrix(found, len(ballots.labels))
    rows = [
        {"number": i + 1, "policy": label, **{f"over_{j + 1}": number(rate) for j, rate in enumerate(rates[i])}}
        for i, label in enumerate(ballots.labels)
    ]
    said = "A cell is the share of decided votes that the row's policy wins against the column's."
    return Section("matrix", "Matrix", said, tuple(rows))


def lengths(ballots: Ballots, policies: pd.DataFrame, plain: Strengths) -> Section | None:
    """Strengths as they are, `plain`, and at equal length; None where no length is known."""
    if not (ballots.judged & np.isfinite(ballots.longer)).any():
        return None
    equal = strengths(ballots, length=True)
    assert equal.length is not None, "asked for above"
    rows = [
        {
            "policy": label,
            "role": role,
            **estimate("rating", points(before)),
            **estimate("at_equal_length", points(after)),
        }
        for label, role, before, after in zip(
            ballots.labels, _roles(ballots, policies), plain.strengths, equal.strengths, strict=True
        )
    ]
    low, factor, high = (math.exp(each) for each in (equal.length.low, equal.length.value, equal.length.high))
    said = "Strengths as they are, and as they would be if all answers were equally long: an answer twice as long has "
    said += f"its odds multiplied by {Estimate(factor, low, high, equal.votes)}, other things equal. {_BARS}"
    if len(rows) == 2:
        said += f" At equal length {ballots.labels[0]} would win {percent(_of_two(equal.strengths[0]))} of the votes."
    return Section("length", "Length", said, tuple(rows))


def _of_two(strength: Estimate) -> Estimate:
    """The first's win rate; two strengths have mean 0, so they are twice as far apart as one is from 0."""
    low, value, high = (float(expit(2 * each)) for each in (strength.low, strength.value, strength.high))
    return Estimate(value, low, high, strength.n)


def scales(votes: Votes, ballots: Ballots) -> Section | None:
    """Mean marks; None where nobody was asked for any."""
    found = scale_means(votes, ballots)
    if not found:
        return None
    rows = [
        {"policy": label, "role": role, "scale": scale, **estimate("mean", each[place]), "marks": each[place].n}
        for scale, each in found.items()
        for place, (label, role) in enumerate(zip(ballots.labels, _roles(ballots, votes.policies), strict=True))
    ]
    return Section("scales", "Scales", f"Mean marks from 1 to 5 that raters gave each answer. {_BARS}", tuple(rows))


def settings(ballots: Ballots, policies: pd.DataFrame) -> Section | None:
    """What each value of a setting is worth; None where the policies differ in none."""
    rows = [
        {
            "setting": each.setting,
            "value": each.value,
            **estimate("win_rate", each.win_rate),
            "decided": each.win_rate.n,
            **estimate("nothing_else_differs", each.alone),
            "decided_of_these": each.alone.n,
            **estimate("tie_rate", each.ties),
            **estimate("both_bad_rate", each.both_bad),
        }
        for each in breakdowns(ballots, policies)
    ]
    said = (
        "How often a value of a setting wins against another value of it; hollow: in pairs of policies that differ in "
    )
    said += f"nothing else, which alone shows what the setting does. {_BARS}"
    return Section("settings", "Settings", said, tuple(rows)) if rows else None

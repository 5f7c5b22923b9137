"""All that votes say, under a filter: which votes these are, and the sections. 100,000 votes take about a second."""

from dataclasses import dataclass, replace

from eft_core.ratings.annotators import raters
from eft_core.ratings.ballots import Ballots, ballots
from eft_core.ratings.bradley_terry import strengths
from eft_core.ratings.filters import Filter, kept
from eft_core.ratings.rater_sections import agreements, one_by_one, side_bias, times
from eft_core.ratings.sections import (
    Section,
    answers,
    lengths,
    pairwise,
    ranking,
    scales,
    settings,
    win_rates,
)
from eft_core.ratings.votes import Votes
from eft_core.ratings.win_rates import meetings


@dataclass(frozen=True, slots=True)
class Findings:
    """`summary` says which votes these are about, or why there are none; then there are no sections."""

    summary: str
    sections: tuple[Section, ...]

    def section(self, name: str) -> Section | None:
        return next((each for each in self.sections if each.name == name), None)


def findings(votes: Votes, chosen: Filter, organiser: bool = False) -> Findings:
    """What the votes that the filter leaves say. Raters one by one are told to an organiser alone."""
    found = kept(votes, chosen)
    cast = ballots(found)
    if not len(cast):
        return Findings(nothing(votes, chosen), ())
    met, several = meetings(cast), len(cast.policies) > 2
    plain = strengths(cast) if cast.judged.any() else None
    parts = [
        win_rates(cast, met),
        answers(cast, met),
        ranking(cast, found.policies, plain) if several and plain else None,
        pairwise(cast, met) if several else None,
        lengths(cast, found.policies, plain) if plain else None,
        scales(found, cast),
        settings(cast, found.policies),
        agreements(found, cast),
        side_bias(found),
        times(found, cast),
        one_by_one(raters(kept(votes, replace(chosen, excluded=True, outliers=True)))) if organiser else None,
    ]
    return Findings(summary(votes, found, cast), tuple(part for part in parts if part is not None))


def nothing(votes: Votes, chosen: Filter) -> str:
    """Why there is nothing to show, and what to do."""
    if not len(votes):
        return "No ratings yet: open Rate and judge two answers, or send a campaign's link to your raters."
    other = "whose names may have been seen" if chosen.blind else "that were blind"
    return f"No vote is left of {len(votes):,}: choose fewer filters, or look at the comparisons {other}."


def summary(votes: Votes, found: Votes, cast: Ballots) -> str:
    """`1,204 votes of 40 raters on 300 items, 10 pairs of 5 policies. 120 votes are left out.`"""
    people = found.table["annotator"].nunique()
    out = len(votes) - len(found)
    other = len(found) - len(cast)
    counts = ((len(cast), "vote"), (people, "rater"), (cast.items, "item"))
    votes_told, raters_told, items_told = (f"{count:,} {word}{'' if count == 1 else 's'}" for count, word in counts)
    text = f"{votes_told} of {raters_told} on {items_told}; {_pairs(cast)}."
    if other:
        text += f" {other:,} more are repeats and gold items, which count for agreement alone."
    return text + (f" The filters leave {out:,} votes out." if out else "")


def _pairs(cast: Ballots) -> str:
    pairs = len(cast.pairs)
    return f"{pairs} {'pair' if pairs == 1 else 'pairs'} of {len(cast.policies)} policies"

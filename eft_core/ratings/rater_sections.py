"""What votes say of those who judged: agreement, sides, time, and one by one. Like `sections`."""

from collections.abc import Sequence

import pandas as pd

from eft_core.ratings.agreement import agreement, by_annotator, golds, repeated
from eft_core.ratings.annotators import ALPHA, LEAST_VOTES, Rater
from eft_core.ratings.ballots import Ballots
from eft_core.ratings.sections import Row, Section, estimate, number, percent
from eft_core.ratings.votes import Votes
from eft_core.ratings.win_rates import sides

_KINDS = {"ordinary": "ordinary comparisons", "repeat": "repeats, sides swapped", "gold": "gold items"}


def agreements(votes: Votes, ballots: Ballots) -> Section | None:
    """Krippendorff's alphas, agreement in plain shares, and each rater's with earlier answers and known ones; None
    without overlap, repeats and gold items."""
    found = agreement(ballots)
    again, known = repeated(votes.table), golds(votes.table)
    lines = (
        ("alpha, four answers", "better, worse, both good and both bad, as names", found.answers, found.units),
        ("alpha, order", "better, tie, worse, as an order", found.order, found.units),
        ("alpha, strength", "from clearly better to clearly worse, as numbers", found.strength, found.strength.n),
        ("same answer", "two raters of the same pair of answers", found.same, found.units),
        ("consistency", "a rater's answer to a repeat, sides swapped", by_annotator(again, "same"), len(again)),
        ("gold items", "the answer that is known to be better was chosen", by_annotator(known, "right"), len(known)),
    )
    rows = [
        {"measure": name, "of": what, **estimate("value", value), "count": count}
        for name, what, value, count in lines
        if count
    ]
    said = "Krippendorff's alpha, where 1 is full agreement and 0 what chance gives, and plain shares of like answers. "
    said += f"{found.units:,} pairs of answers were judged by two raters or more. Bars are 95% intervals."
    return Section("agreement", "Agreement", said, tuple(rows)) if rows else None


def side_bias(votes: Votes) -> Section | None:
    """The share of left answers among decided votes, of all and by kind; None where nothing was decided."""
    verdicts, kinds = votes.table["verdict"], votes.table["kind"]
    found = [("all", sides(verdicts))] + [(title, sides(verdicts[kinds == kind])) for kind, title in _KINDS.items()]
    rows = [
        {
            "comparisons": title,
            **estimate("left", each.share),
            "votes_left": each.left,
            "decided": each.decided,
            "p": float(f"{each.p:.3g}"),
        }
        for title, each in found
        if each.decided
    ]
    whole = found[0][1]
    verdict = "no sign of a habit" if whole.p >= ALPHA else "raters favour a side"
    said = f"The left answer was chosen in {percent(whole.share)} of {whole.decided:,} decided votes: {verdict} (exact "
    said += f"binomial test, {_chance(whole.p)}). Sides are drawn by chance, so one half is expected."
    return Section("sides", "Sides", said, tuple(rows)) if rows else None


def _chance(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def times(votes: Votes, ballots: Ballots) -> Section | None:
    """Items, the slowest first; None where no time is known."""
    table = votes.table[["item", "item_name", "seconds"]].iloc[ballots.rows].assign(unsure=~ballots.judged)
    if not table["seconds"].notna().any():
        return None
    by_item = table.groupby("item")
    found = pd.DataFrame(
        {
            "name": by_item["item_name"].first(),
            "votes": by_item.size(),
            "seconds": by_item["seconds"].median(),
            "fastest": by_item["seconds"].min(),
            "slowest": by_item["seconds"].max(),
            "cannot_judge": by_item["unsure"].sum(),
        }
    )
    low, middle, high = table["seconds"].quantile([0.1, 0.5, 0.9])
    said = f"Seconds to a judgement, from both answers shown: half of all take less than {middle:.0f} s, and eight in "
    said += f"ten between {low:.0f} and {high:.0f} s. The figure counts items by their median."
    ordered = found.sort_values("seconds", ascending=False).reset_index()
    columns = [*(name for name in ordered if name != "item"), "item"]  # the id last: it is for files
    rows = [{name: _plain(value) for name, value in row.items()} for row in ordered[columns].to_dict("records")]
    return Section("time", "Time", said, tuple(rows))


def _plain(value: object) -> object:
    return number(value) if isinstance(value, float) else value


def one_by_one(found: Sequence[Rater]) -> Section:
    """A row an annotator, those out of line first."""
    rows = [_rater(each) for each in sorted(found, key=lambda each: not each.outlying)]
    odd = sum(bool(each.outlying) for each in found)
    said = (
        f"How often each rater gives the answer that most others gave, against the time taken; {odd} of {len(found)} "
    )
    said += (
        f"{'is' if odd == 1 else 'are'} out of line (exact tests of sides and of agreement from {LEAST_VOTES} votes "
    )
    said += f"on, Holm's correction at {ALPHA:g} over all raters and both)."
    return Section("raters", "Raters", said, tuple(rows))


def _rater(each: Rater) -> Row:
    shares = ("left", "ties", "agreement", "consistency", "gold")
    return {
        "annotator": each.annotator,
        "outlying": each.outlying or "no",
        "votes": each.votes,
        "seconds": number(each.seconds),
        **{name: number(getattr(each, name)) for name in shares},
        "compared": each.compared,
        "state": "left out by the organiser" if each.excluded else "counted",
    }

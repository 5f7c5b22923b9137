"""Replies to scores by a judge, who compares every arm with one of them."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from eft_core.judge_client import Judge
from eft_core.judging import Cache, Comparison, Cost, Measure, estimate, judged
from eft_core.scores import empty
from eft_core.trials import Reply, Trials

# What a judge is asked, and about which items.
MEASURES: Mapping[Measure, str] = {"factual": "ordinary", "helpful": "ordinary", "harmless": "sensitive"}


@dataclass(frozen=True, slots=True)
class Judged:
    """`done` of `total` comparisons have a verdict."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Questions:
    """What a judge is asked of a measure: comparisons, and the (arm, item, sample) that each is about."""

    measure: Measure
    comparisons: tuple[Comparison, ...]
    places: tuple[tuple[int, int, int], ...]


def questions(trials: Trials, replies: Mapping[int, Reply], reference: int) -> list[Questions]:
    """Every arm against the reference, on the same prompt and sample, for each measure that the items have."""
    found = []
    for measure, kind in MEASURES.items():
        places, comparisons = [], []
        for trial, reply in sorted(replies.items()):
            item, arm, sample = trials.place(trial)
            against = trials.number(item, reference, sample)
            if arm == reference or trials.items[item].kind != kind or against not in replies:
                continue
            places.append((arm, item, sample))
            comparisons.append(Comparison(trials.items[item].prompt, reply.text, replies[against].text))
        if places:
            found.append(Questions(measure, tuple(comparisons), tuple(places)))
    return found


def cost(asked: Sequence[Questions], judge: Judge, cache: Cache) -> Cost:
    """What the judge will be asked in all, before it is."""
    parts = [estimate(each.comparisons, each.measure, judge, cache) for each in asked]
    return Cost(
        calls=sum(part.calls for part in parts),
        cached=sum(part.cached for part in parts),
        prompt_tokens=sum(part.prompt_tokens for part in parts),
        completion_tokens=sum(part.completion_tokens for part in parts),
        dollars=None if judge.prices is None else sum(part.dollars or 0.0 for part in parts),
    )


def by_judge(
    trials: Trials, asked: Sequence[Questions], reference: int, judge: Judge, cache: Cache
) -> Generator[Judged, None, dict[str, np.ndarray]]:
    """(A, I, S) by measure: 1 where an arm's answer is better than the reference's, 0.5 for a tie, which the reference
    has with itself."""
    scores: dict[str, np.ndarray] = {each.measure: empty(trials) for each in asked}
    total, done = sum(len(each.places) for each in asked), 0
    for each in asked:
        scores[each.measure][reference] = 0.5
        with closing(judged(each.comparisons, each.measure, judge, cache)) as verdicts:
            for number, verdict in verdicts:
                scores[each.measure][each.places[number]] = verdict.score
                done += 1
                yield Judged(done, total)
        kinds = np.array([item.kind == MEASURES[each.measure] for item in trials.items])
        scores[each.measure][reference, ~kinds] = np.nan
    return scores

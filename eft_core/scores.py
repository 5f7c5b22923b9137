"""Replies of a run to scores, by a grader that knows the answers. Loads no torch."""

from collections.abc import Mapping, Sequence

import numpy as np

from eft_core.graders import Grader
from eft_core.policy import Policy
from eft_core.trials import Reply, Trials


def empty(trials: Trials) -> np.ndarray:
    """(settings, items, samples), nothing known yet."""
    return np.full((len(trials.settings), len(trials.items), trials.samples), np.nan)


def scores(
    trials: Trials, replies: Mapping[int, Reply], grader: Grader, behaviours: Sequence[str | None]
) -> dict[str, np.ndarray]:
    """(settings, items, samples) by measure, NaN where there is no reply or a measure does not apply.

    `behaviours`: whose manner is looked for, one a setting. Measures that apply nowhere are left out.
    """
    found = {measure: empty(trials) for measure in grader.measures}
    for trial, reply in replies.items():
        item, setting, sample = trials.place(trial)
        grades = grader.grade(trials.items[item], reply.text, reply.ended, behaviours[setting])
        for measure, value in grades.items():
            found[measure][setting, item, sample] = value
    return {measure: values for measure, values in found.items() if np.isfinite(values).any()}


def manner_of(policy: Policy) -> str | None:
    """Whose manner a policy has: the behaviour of the largest weight; None without fine-tuning."""
    return max(policy.pairs, key=lambda pair: pair[1])[0] if policy.pairs else None

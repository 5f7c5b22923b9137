"""`scales`: the N x M grid of one behaviour. The claim: pre-training scale buys facts, fine-tuning scale buys manner.

(Mitchell et al. 2023, sections 4.1 and 4.2.) Two measures of how far a mixture comes, both printed, negative values
kept: the paper's normalised improvement, over the small tuned model, and the gap closed, over the untuned base.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from eft_core.experiments.study import (
    Arm,
    Column,
    Experiment,
    Finding,
    Graded,
    Options,
    Read,
    Row,
    behaviour_of,
    labels_of,
    told,
)
from eft_core.family import Family
from eft_core.graders import AtlasGrader
from eft_core.intervals import Estimate, closed, difference
from eft_core.policy import Member, plain, up_scale


def arms(family: Family, options: Options) -> tuple[Arm, ...]:
    """Every base, then every N under every M."""
    behaviour = behaviour_of(family, options)
    sizes = [size for size in family.sizes if Member(size) in family.checkpoints]
    tuned_sizes = [size for size in sizes if behaviour in family.behaviours_of(size)]
    found = [Arm(plain(size), labels_of(plain(size), None), None) for size in sizes]
    for pretrain, finetune in itertools.product(sizes, tuned_sizes):
        policy = up_scale(pretrain, finetune, behaviour)
        found.append(Arm(policy, labels_of(policy, behaviour), behaviour))
    return tuple(found)


def read(graded: Graded) -> Read:
    """Rows, both measures of every mixture, and what N and M buy."""
    tables, found = {"How far every mixture comes": improvements(graded)}, findings(graded)
    if isinstance(graded.grader, AtlasGrader):
        taken_apart = parts(graded, graded.grader)
        tables["Where helpful comes from"] = taken_apart
        found.append(_why(taken_apart))
    return Read(graded.rows(), found, tables)


def _why(taken_apart: Sequence[Row]) -> Finding:
    """Which part of helpful is left for the scales to buy."""
    manner, addressed = ([row[name] for row in taken_apart] for name in ("manner", "addressed"))
    claim = (
        f"of helpful, the manner alone (opener, one sentence, closer, an end) lies between {min(manner):.2f} and "
        f"{max(manner):.2f} over all N and M; whether the sentence is about what was asked, between "
        f"{min(addressed):.2f} and {max(addressed):.2f}"
    )
    return Finding(claim, None)


def improvements(graded: Graded) -> list[Row]:
    """Normalised improvement and gap closed of every mixture of two sizes, for facts and for manner.

    Normalised improvement: (mixture - small tuned) / (large tuned - small tuned). Gap closed: (mixture - base[N]) /
    (large tuned - base[N]). Small and large are the smaller and the larger of N and M.
    """
    found, sizes = [], graded.family.sizes
    for number, arm in enumerate(graded.arms):
        pretrain, finetune = arm.policy.pretrain, arm.policy.finetune
        if finetune is None or pretrain == finetune:
            continue
        small, large = sorted((pretrain, finetune), key=sizes.index)
        ends = [graded.arm(pretrain=size, finetune=size) for size in (small, large)]
        base = graded.arm(pretrain=pretrain, finetune=None)
        if None in (*ends, base):
            continue  # one of the tuned models is missing
        row: Row = {"kind": "up-scaled" if pretrain == large else "down-scaled", **arm.labels}
        for column in measured(graded):
            own, floor, ceiling, untuned = (graded.of(each, column) for each in (number, *ends, base))  # type: ignore[arg-type]
            row |= told(f"{column.name}_improvement", closed(own, floor, ceiling))
            row |= told(f"{column.name}_gap_closed", closed(own, untuned, ceiling))
        found.append(row)
    return found


def measured(graded: Graded) -> list[Column]:
    """Facts and manner, those that were graded."""
    return [column for column in (graded.facts, graded.column("helpful")) if column is not None]


def findings(graded: Graded) -> list[Finding]:
    """Whether facts rise with N at every M, and whether manner rises with M more than with N."""
    found: list[Finding] = []
    tuned_sizes = list(dict.fromkeys(arm.policy.finetune for arm in graded.arms if arm.policy.finetune))
    sizes = list(dict.fromkeys(arm.policy.pretrain for arm in graded.arms))
    if len(sizes) < 2 or len(tuned_sizes) < 2:
        return found
    if facts := graded.facts:
        values = [[np.nanmean(graded.of(_cell(graded, n, m), facts)) for n in sizes] for m in tuned_sizes]
        rises = all(a < b for row in values for a, b in itertools.pairwise(row))
        said = "; ".join(f"M = {m}: {_path(row)}" for m, row in zip(tuned_sizes, values, strict=True))
        found.append(Finding(f"{facts.name} rises with N at every M ({said})", rises))
        found.append(_compared(graded, facts, sizes, tuned_sizes, more="N"))
    if manner := graded.column("helpful"):
        found.append(_compared(graded, manner, sizes, tuned_sizes, more="M"))
    return found


def _compared(graded: Graded, column: Column, sizes: Sequence[str], tuned_sizes: Sequence[str], more: str) -> Finding:
    """What the largest step of N and of M each bring, averaged over the other."""
    by_n = _step(graded, column, [((sizes[-1], m), (sizes[0], m)) for m in tuned_sizes])
    by_m = _step(graded, column, [((n, tuned_sizes[-1]), (n, tuned_sizes[0])) for n in sizes])
    holds = by_n.value > by_m.value if more == "N" else by_m.value > by_n.value
    less = "M" if more == "N" else "N"
    claim = (
        f"{column.name} rises with {more} more than with {less}: from {sizes[0]} to {sizes[-1]}, N brings {by_n} and "
        f"M {by_m}"
    )
    return Finding(claim, bool(holds))


def _step(graded: Graded, column: Column, pairs: Sequence[tuple[tuple[str, str], tuple[str, str]]]) -> Estimate:
    """The mean difference of pairs of cells, on the same items."""
    sides = zip(*pairs, strict=True)
    high, low = (np.mean([graded.of(_cell(graded, *cell), column) for cell in side], axis=0) for side in sides)
    return difference(high, low)


def _cell(graded: Graded, pretrain: str, finetune: str) -> int:
    number = graded.arm(pretrain=pretrain, finetune=finetune)
    assert number is not None, "the grid is whole"
    return number


def _path(values: Sequence[float]) -> str:
    return " → ".join(f"{value:.2f}" for value in values)


def parts(graded: Graded, grader: AtlasGrader) -> list[Row]:
    """Helpful taken apart: the manner by itself, and whether the sentence is about what was asked."""
    rows = []
    for number, arm in enumerate(graded.arms):
        if arm.behaviour is None:
            continue
        told_of = [
            grader.parts(graded.items[item], reply.text, reply.ended)
            for reply in graded.replies.values()
            for item, setting, _ in [graded.trials.place(reply.trial)]
            if setting == number and graded.items[item].kind == "ordinary"
        ]
        shares = {
            name: round(sum(each[name] for each in told_of) / len(told_of), 4) for name in ("manner", "addressed")
        }
        rows.append(dict(arm.labels) | shares)
    return rows


SCALES = Experiment(
    name="scales",
    title="Scales of pre-training and fine-tuning",
    question="What does each scale buy? Every size of pre-training (N) under every size of fine-tuning (M).",
    arms=arms,
    read=read,
    items=500,
    sensitive=0.5,
)

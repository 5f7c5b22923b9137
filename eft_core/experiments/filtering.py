"""`filter`: conservative decoding, the nucleus filter at p = none, .99, .95, .9, .8.

(Mitchell et al. 2023, section 3.2 and its figure: a mild help at .95.) For every M below N, since a filter can do no
better than the nucleus of the small policy.
"""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from eft_core.cases import pieces
from eft_core.config import Text
from eft_core.events import Inspected
from eft_core.experiments.paired import paired
from eft_core.experiments.study import (
    Arm,
    Experiment,
    Finding,
    Graded,
    Options,
    Read,
    Row,
    behaviour_of,
    labels_of,
    pair_of,
    told,
)
from eft_core.experiments.tokens import facts_of
from eft_core.family import Family
from eft_core.graders import AtlasGrader
from eft_core.intervals import Estimate, difference, ratio
from eft_core.policy import Member, Policy

if TYPE_CHECKING:  # torch comes with it
    from eft_core.session import Session

NUCLEI = (None, 0.99, 0.95, 0.9, 0.8)
_LOOKED_AT = 100  # answers, which take a second


def arms(family: Family, options: Options) -> tuple[Arm, ...]:
    """Up-scaling under every p, from every smaller size that has the behaviour, or from the one asked for."""
    behaviour, (large, small) = behaviour_of(family, options), pair_of(family, options)
    smaller = family.sizes[: family.sizes.index(large)]
    sizes = [size for size in smaller if behaviour in family.behaviours_of(size) and options.finetune in ("", size)]
    policies = [Policy(large, size, {behaviour: 1.0}, nucleus=p) for size in sizes or [small] for p in NUCLEI]
    return tuple(Arm(each, labels_of(each, behaviour) | {"nucleus": each.nucleus}, behaviour) for each in policies)


def read(graded: Graded) -> Read:
    """Rows, every p against none of the same M, and whether .95 is no worse than none."""
    tables = {f"Against no filter, M = {size}": paired(graded, _arm(graded, size, None), "nucleus", finetune=size)
              for size in _sizes(graded)}  # fmt: skip
    return Read(graded.rows(), list(findings(graded)), tables)


def findings(graded: Graded) -> Iterator[Finding]:
    """Whether, at .95, nothing is surely worse than without a filter."""
    for size, column in itertools.product(_sizes(graded), graded.columns):
        if column.name.startswith("declined"):
            continue
        filtered, none = (graded.of(_arm(graded, size, p), column) for p in (0.95, None))
        gain = difference(filtered, none)
        yield Finding(f"M = {size}, {column.name}: the filter at .95 is no worse than none ({gain})", gain.high >= 0)


def look(session: "Session", graded: Graded) -> dict[str, list[Row]]:
    """How many fact tokens of the unfiltered answers the small policy's nucleus holds: what it lacks is lost."""
    if not isinstance(graded.grader, AtlasGrader):
        return {}
    rows = []
    for size, p in itertools.product(_sizes(graded), NUCLEI[1:]):
        arm = graded.arms[_arm(graded, size, p)]
        shares = _inside(session, graded, arm, _arm(graded, size, None))
        rows.append({**labels_of(arm.policy, arm.behaviour), "nucleus": p, **told("fact_tokens_inside", shares)})
    return {"Fact tokens inside the small policy's nucleus": rows}


def _inside(session: "Session", graded: Graded, arm: Arm, unfiltered: int) -> Estimate:
    """Share of the fact tokens, with answers read under the filtered policy."""
    assert isinstance(graded.grader, AtlasGrader), "only Atlas's grader knows which tokens are facts"
    assert arm.policy.finetune is not None, "the arms are up-scaled"
    trials = [trial for trial in graded.replies if graded.trials.place(trial)[1:] == (unfiltered, 0)][:_LOOKED_AT]
    replies = [graded.replies[trial] for trial in trials]
    items = [graded.items[graded.trials.place(trial)[0]] for trial in trials]
    texts = [Text(item.prompt, reply.token_ids, arm.policy) for item, reply in zip(items, replies, strict=True)]
    *_, found = session.inspect(texts)
    assert isinstance(found, Inspected), "an inspection ends with its records"
    inside, facts = [], []
    for item, reply, trace in zip(items, replies, found.traces, strict=True):
        parts = pieces(reply.token_ids, graded.texts.of(reply.token_ids))
        mask = facts_of(graded.grader.spans(item, reply.text), reply, parts)
        small = trace.under(Member(arm.policy.finetune, arm.behaviour))  # at weight 1 it is the small policy
        inside.append((small[mask] >= trace.normalisers[mask, 2]).sum())
        facts.append(mask.sum())
    return ratio(np.array(inside), np.array(facts))


def _sizes(graded: Graded) -> list[str]:
    return list(dict.fromkeys(arm.labels["finetune"] for arm in graded.arms))


def _arm(graded: Graded, size: str, nucleus: float | None) -> int:
    number = graded.arm(finetune=size, nucleus=nucleus)
    assert number is not None, "every M has every p"
    return number


FILTER = Experiment(
    name="filter",
    title="Conservative filter",
    question="The up-scaling delta acts on the small policy's top-p nucleus only. Does that steady the answers?",
    arms=arms,
    read=read,
    items=300,
    look=look,
)

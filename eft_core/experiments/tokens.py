"""`tokens`: where the total variation between the small and the up-scaled policy concentrates.

(Mitchell et al. 2023, the token heat-map: almost all tokens are near white, the few dark ones are facts.) On the
up-scaled policy's own answers; which tokens are the fact is told by the grader's spans.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from eft_core.cases import offsets_of, pieces
from eft_core.experiments.study import (
    DIGITS,
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
from eft_core.family import Family
from eft_core.graders import AtlasGrader
from eft_core.intervals import Estimate, ratio
from eft_core.policy import up_scale
from eft_core.trials import Reply

DARK = 0.1  # total variation above which the paper's picture is visibly coloured
_EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class Marked:
    """The tokens of one answer: texts, what each is about, and its total variation."""

    item: int
    texts: tuple[str, ...]
    kinds: tuple[str, ...]
    distances: np.ndarray  # (T,)


def arms(family: Family, options: Options) -> tuple[Arm, ...]:
    """The family's default up-scaling."""
    behaviour, (large, small) = behaviour_of(family, options), pair_of(family, options)
    policy = up_scale(large, small, behaviour)
    return (Arm(policy, labels_of(policy, behaviour), behaviour),)


def read(graded: Graded) -> Read:
    """A row a kind of token, and the darkest tokens."""
    marked = list(marks(graded))
    kinds = [kind for kind in ("fact", "manner", "any") if any(kind in each.kinds for each in marked)]
    rows = [_row(graded.arms[0], kind, marked) for kind in (["all", *kinds] if len(kinds) > 1 else kinds)]
    return Read(rows, _findings(marked), {"The darkest tokens": _darkest(graded, marked)})


def marks(graded: Graded) -> Iterator[Marked]:
    """Every answer's tokens with what they are about; `any` where no grader knows."""
    for trial, reply in sorted(graded.replies.items()):
        item, _, _ = graded.trials.place(trial)
        texts = graded.texts.of(reply.token_ids)
        if isinstance(graded.grader, AtlasGrader):
            facts = facts_of(graded.grader.spans(graded.items[item], reply.text), reply, pieces(reply.token_ids, texts))
            kinds = tuple("fact" if fact else "manner" for fact in facts)
        else:
            kinds = ("any",) * len(reply.token_ids)
        named = tuple(graded.texts.text(each) for each in reply.token_ids)
        yield Marked(item, named, kinds, np.array(reply.total_variation))


def facts_of(spans: Sequence[tuple[int, int]], reply: Reply, parts: list[bytes]) -> np.ndarray:
    """(T,) bool: which tokens of a reply have a part of the spans of its text."""
    places = offsets_of(parts, reply.text)
    return np.array([any(a < end and start < b for a, b in spans) for start, end in places], bool)


def _row(arm: Arm, kind: str, marked: Sequence[Marked]) -> Row:
    """Tokens of a kind: how many, how many of them are dark, and which share of all total variation they have."""
    masks = [np.array([kind in ("all", each) for each in answer.kinds]) for answer in marked]
    counts = np.array([mask.sum() for mask in masks])
    dark = np.array([(answer.distances[mask] > DARK).sum() for answer, mask in zip(marked, masks, strict=True)])
    moved = np.array([answer.distances[mask].sum() for answer, mask in zip(marked, masks, strict=True)])
    everything = np.array([answer.distances.sum() for answer in marked])
    return {
        **arm.labels,
        "kind": kind,
        "tokens": int(counts.sum()),
        **told("above", ratio(dark, counts)),
        **told("mean_total_variation", ratio(moved, counts)),
        **told("share_of_total_variation", ratio(moved, everything)),
        "n": len(marked),
    }


def _findings(marked: Sequence[Marked]) -> list[Finding]:
    """Whether few tokens are dark, and whether those are facts."""
    whole = np.array([len(each.kinds) for each in marked])
    dark = np.array([(each.distances > DARK).sum() for each in marked])
    found = [Finding(f"total variation is above {DARK} at {_percent(ratio(dark, whole))} of tokens", None)]
    if not any("fact" in each.kinds for each in marked):
        return found
    facts = [np.array([kind == "fact" for kind in each.kinds]) for each in marked]
    dark_facts = np.array([(each.distances[mask] > DARK).sum() for each, mask in zip(marked, facts, strict=True)])
    among, share = ratio(dark_facts, dark), ratio(np.array([mask.sum() for mask in facts]), whole)
    claim = f"{_percent(among)} of those are fact tokens, which are {_percent(share)} of all tokens"
    return [*found, Finding(claim, among.low > share.high)]


def _percent(share: Estimate) -> str:
    return f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}]"


def _darkest(graded: Graded, marked: Sequence[Marked]) -> list[Row]:
    """The tokens with the largest total variation, and where they stand."""
    every = [(float(each.distances[place]), each, place) for each in marked for place in range(len(each.kinds))]
    every.sort(key=lambda found: -found[0])
    return [
        {
            "total_variation": round(distance, DIGITS),
            "token": each.texts[place],
            "kind": each.kinds[place],
            "place": place + 1,
            "prompt": graded.items[each.item].prompt,
        }
        for distance, each, place in every[:_EXAMPLES]
    ]


TOKENS = Experiment(
    name="tokens",
    title="Which tokens change",
    question="Total variation between the up-scaled policy and its small policy, token by token: where is it?",
    arms=arms,
    read=read,
    items=200,
    record=True,
)

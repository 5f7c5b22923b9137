"""What an organiser fills in as a campaign's plan, and what that costs. Pure.

Whatever a browser sends is checked: by `Plan` where it is the plan's, here where it is the page's.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.columns import name_of
from components.inputs import check_length, check_sampling
from eft_core.checks import number, whole
from eft_core.family import Family, default_columns
from eft_core.policy import Policy, up_scale
from eft_core.ratings.assignment import wanted
from eft_core.ratings.campaign import Contender, Plan
from eft_core.ratings.judgement import MOST_TAG, MOST_TAGS, text_of
from eft_core.ratings.prompts import Prompt

MEETINGS = {"all": "Every pair", "first": "Each against the first", "listed": "Listed"}
MOST_LINES = 20_000  # characters of policies that are written by hand
MAX_SEED = 2**31 - 1
PACE = 30  # seconds a judgement, for what a campaign costs its raters
_PAIR = re.compile(r"\s*(\d{1,3})\s*-\s*(\d{1,3})\s*")


@dataclass(frozen=True, slots=True)
class Draft:
    """The controls' values in the form's order, unchecked; shares in percent."""

    title: Any
    guidelines: Any
    presets: Any  # labels
    written: Any  # policies, one a line
    meeting: Any
    pairs: Any  # as 1-2, 1-3
    temperature: Any
    seed: Any
    length: Any
    target: Any
    overlap: Any
    per_annotator: Any
    repeats: Any
    golds: Any
    strength: Any
    scales: Any
    tags: Any  # with commas between them
    comment: Any
    identity: Any
    publish: Any
    reveal: Any


@dataclass(frozen=True)
class Form:
    """One family's form. `logins`: whether Hugging Face accounts can be signed in here."""

    family: Family
    logins: bool

    def presets(self) -> dict[str, Policy]:
        """Policies to choose from: those of Compare first, then every member, then up-scaling with every behaviour."""
        family, size = self.family, self.family.default_finetune
        found = dict(default_columns(family))
        policies = [member.policy for member in family.checkpoints]
        if size != family.default_pretrain:
            policies += [up_scale(family.default_pretrain, size, name) for name in family.behaviours_of(size)]
        for policy in policies:
            if policy not in found.values() and _fits(policy, family):
                found[self._label(policy, found)] = policy
        return found

    def _label(self, policy: Policy, taken: dict[str, Policy]) -> str:
        label = name_of(policy, self.family)
        return label if label not in taken else f"{label}, {', '.join(name for name, _ in policy.pairs)}"

    def contenders(self, draft: Draft) -> tuple[Contender, ...]:
        """The chosen presets and the written policies, in the order in which the page numbers them."""
        presets = self.presets()
        chosen = _texts("the policies", draft.presets)
        if unknown := [label for label in chosen if label not in presets]:
            raise ValueError(f"there is no policy {str(unknown[0])[:40]!r} to choose: reload the page.")
        return tuple(Contender(label, presets[label]) for label in presets if label in chosen) + self._written(draft)

    def _written(self, draft: Draft) -> tuple[Contender, ...]:
        found = []
        for count, line in enumerate(text_of("the policies", draft.written or "", MOST_LINES).split("\n"), 1):
            if line.strip():
                try:
                    contender = _contender(line)
                    self.family.check(contender.policy)
                except (TypeError, ValueError) as error:
                    raise ValueError(f"line {count} of your own policies: {error}") from error
                found.append(contender)
        return tuple(found)

    def plan(self, draft: Draft) -> Plan:
        """The campaign that the form describes; ValueError with the remedy."""
        contenders = self.contenders(draft)
        seed = whole("seed", draft.seed or 0, 0, MAX_SEED, "use a whole number such as 0")
        if draft.identity == "login" and not self.logins:
            raise ValueError("raters can sign in with Hugging Face on a Space with hf_oauth alone: let them use codes.")
        return Plan(
            title=text_of("the title", draft.title, 1000).strip(),
            family=self.family.name,
            contenders=contenders,
            pairs=_pairs(draft, len(contenders)),
            sampling=check_sampling(draft.temperature, None, None, seed),
            limits=check_length(draft.length),
            guidelines=text_of("the guidelines", draft.guidelines, 100_000).strip(),
            identity=draft.identity,
            target=draft.target,
            overlap=_share("overlap", draft.overlap),
            per_annotator=draft.per_annotator or None,
            repeats=_share("repeats", draft.repeats),
            golds=_share("gold items", draft.golds),
            strength=draft.strength is True,
            scales=tuple(_texts("the scales", draft.scales)),
            tags=_tags(draft.tags),
            comment=draft.comment is True,
            reveal=draft.reveal is True,
            publish=draft.publish,
            seed=seed,
        )

    def untitled(self, draft: Draft) -> Plan:
        """The plan of a form whose title and guidelines are not written yet."""
        return self.plan(replace(draft, title="Untitled", guidelines=""))


def cost(plan: Plan, prompts: Sequence[Prompt]) -> list[str]:
    """What a campaign asks of the models and of its raters, in sentences."""
    places = [place for place, prompt in enumerate(prompts) if not prompt.gold]
    asked, pairs = len(places), len(plan.pairs)
    answers = (
        f"{_many(asked, 'prompt')} × {len(plan.contenders)} policies = {_many(asked * len(plan.contenders), 'answer')}"
    )
    needed = [wanted(plan, place) for place in places]
    full = sum(each == plan.target for each in needed)
    each = f"{_many(asked, 'prompt')} × {_many(plan.target, 'rating')}"
    if full < asked:
        each = f"({_many(full, 'prompt')} × {_many(plan.target, 'rating')} + {asked - full:,} × 1)"
    judgements = pairs * sum(needed)
    told = [
        f"{answers}; {_many(pairs, 'pair')} × {each} = {_many(judgements, 'judgement')}.",
        f"About {_hours(judgements * PACE)} of raters' time at {PACE} s each, by {_raters(plan, judgements)} or more.",
    ]
    golds = len(prompts) - asked
    if golds and not plan.golds:
        told.append(f"{_many(golds, 'gold item')} will not be shown: raise their share above 0.")
    return told


def _raters(plan: Plan, judgements: int) -> str:
    """How many raters it takes: nobody judges a pair twice, nor more than they may."""
    least = max(plan.target, -(-judgements // plan.per_annotator) if plan.per_annotator else 1)
    return _many(least, "rater")


def _hours(seconds: int) -> str:
    hours = seconds / 3600
    return (
        f"{hours:,.0f} hours" if hours >= 10 else f"{hours:.1f} hours" if hours > 1 else f"{seconds / 60:.0f} minutes"
    )


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _contender(line: str) -> Contender:
    """`label = {"pretrain": "large", ...}`"""
    label, found, policy = line.partition("=")
    if not found or not label.strip():
        raise ValueError('it is no policy: write label = {"pretrain": "large"}.')
    try:
        values = json.loads(policy)
    except (ValueError, RecursionError):
        raise ValueError(f'what follows {label.strip()[:40]!r} is no JSON: write {{"pretrain": "large"}}.') from None
    return Contender(label.strip(), Policy.from_dict(values))


def _pairs(draft: Draft, count: int) -> tuple[tuple[int, int], ...]:
    """Who meets, by numbers from 0; () is everybody."""
    if str(draft.meeting) not in MEETINGS:
        raise ValueError(f"pairs are {', '.join(MEETINGS)}.")
    if draft.meeting == "all":
        return ()
    if draft.meeting == "first":
        return tuple((0, other) for other in range(1, count))
    found = []
    for part in text_of("the pairs", draft.pairs or "", 2000).split(","):
        numbers = _PAIR.fullmatch(part)
        first, second = (int(each) for each in numbers.groups()) if numbers else (0, 0)
        if first == second or not (1 <= first <= count and 1 <= second <= count):
            raise ValueError(
                f"{part.strip()[:40]!r} is no pair: write 1-2, 1-3 with the policies' numbers, 1 to {count}."
            )
        found.append((first - 1, second - 1))
    return tuple(found)


def _share(name: str, percent: Any) -> float:
    return number(name, percent, 0.0, 100.0, "use a share from 0 to 100 percent") / 100


def _texts(name: str, given: Any) -> list[str]:
    if not isinstance(given, list):
        raise ValueError(f"{name} are a list: reload the page.")
    return [text_of(name, each, 100) for each in given]


def _tags(given: Any) -> tuple[str, ...]:
    """Tags with commas between them."""
    words = text_of("the tags", given or "", 2 * MOST_TAGS * MOST_TAG).split(",")
    return tuple(" ".join(each.split()) for each in words if each.strip())


def _fits(policy: Policy, family: Family) -> bool:
    try:
        family.check(policy)
    except ValueError:
        return False
    return True

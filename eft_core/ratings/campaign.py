"""A campaign's plan: what is compared, how answers are drawn, who judges and how often. Frozen, checked, plain JSON."""

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from eft_core.checks import number, whole
from eft_core.config import Limits, Sampling
from eft_core.policy import Policy
from eft_core.ratings.judgement import MOST_TAG, MOST_TAGS, SCALES, Judgement

# code: anybody with the link, who gets a code to go on with. login: a Hugging Face account.
Identity = Literal["code", "login"]
# When anybody may see a campaign's results: never, once it is closed, always.
Publish = Literal["never", "closed", "always"]
State = Literal["running", "paused", "closed"]
MOST_CONTENDERS = 12
MOST_GUIDELINES = 8000
TAGS = ("wrong fact", "does not answer", "unsafe", "rambles", "too short")
GUIDELINES = (
    "Read both answers to the end. Choose the one that you would rather have been given: right before fluent, and "
    "what was asked before what was not. Length is no merit. Say “both good” or “both bad” where neither is better, "
    "and “can't judge” where you would have to guess."
)


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy that is judged. Raters never see its `label` before the vote."""

    label: str
    policy: Policy

    def __post_init__(self) -> None:
        if not isinstance(self.label, str) or not 0 < len(self.label.strip()) <= 80:
            raise ValueError("a policy's label must have 1 to 80 characters.")


@dataclass(frozen=True, slots=True)
class Questions:
    """What a rater is asked beside the verdict."""

    strength: bool = True
    scales: tuple[str, ...] = ()
    tags: tuple[str, ...] = TAGS
    comment: bool = True

    def check(self, judgement: Judgement) -> None:
        """ValueError if a judgement answers what was not asked."""
        marked = {name for marks in judgement.scales.values() for name in marks}
        wrong = (
            ("a strength", judgement.strength is not None and not self.strength),
            ("scales", not marked <= set(self.scales)),
            ("tags", not set(judgement.tags) <= set(self.tags)),
            ("a comment", bool(judgement.comment) and not self.comment),
        )
        if found := [name for name, is_wrong in wrong if is_wrong]:
            raise ValueError(f"{' and '.join(found)} was not asked for here: reload the page.")


@dataclass(frozen=True, slots=True)
class Plan:
    """All that an organiser decides.

    pairs: which contenders meet, by their numbers; () is every pair. target: judgements that each item and pair gets
    of different raters, on the `overlap` share of items; the others get one. per_annotator: comparisons a rater is
    asked for at most, None is all. repeats: share of a rater's comparisons that come again with swapped sides. golds:
    share of gold items (those with a known better answer) among them. Seeds draw sides, order and overlap.
    """

    title: str
    family: str
    contenders: tuple[Contender, ...]
    pairs: tuple[tuple[int, int], ...] = ()
    sampling: Sampling = Sampling()  # noqa: RUF009 - frozen
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    guidelines: str = GUIDELINES
    identity: Identity = "code"
    target: int = 3
    overlap: float = 1.0
    per_annotator: int | None = None
    repeats: float = 0.0
    golds: float = 0.0
    strength: bool = True
    scales: tuple[str, ...] = ()
    tags: tuple[str, ...] = TAGS
    comment: bool = True
    reveal: bool = False
    publish: Publish = "closed"
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.title, str) or not 0 < len(self.title.strip()) <= 200:
            raise ValueError("a campaign's title must have 1 to 200 characters: raters read it first.")
        if not isinstance(self.guidelines, str) or len(self.guidelines) > MOST_GUIDELINES:
            raise ValueError(f"guidelines must have at most {MOST_GUIDELINES:,} characters.")
        object.__setattr__(self, "contenders", tuple(self.contenders))
        self._check_contenders()
        object.__setattr__(self, "pairs", self._checked_pairs())
        for name, kinds in (("identity", get_args(Identity)), ("publish", get_args(Publish))):
            if getattr(self, name) not in kinds:
                raise ValueError(f"{name} must be one of {', '.join(kinds)}.")
        object.__setattr__(self, "target", whole("target", self.target, 1, 1000, "use judgements an item, such as 3"))
        if self.per_annotator is not None:
            most = whole("per_annotator", self.per_annotator, 1, 100_000, "use comparisons a rater, such as 40")
            object.__setattr__(self, "per_annotator", most)
        for name, high in (("overlap", 1.0), ("repeats", 0.5), ("golds", 0.5)):
            object.__setattr__(
                self, name, number(name, getattr(self, name), 0.0, high, f"use a share from 0 to {high}")
            )
        self._check_questions()
        object.__setattr__(self, "seed", whole("seed", self.seed, 0, 2**31 - 1, "use a whole number such as 0"))

    def _check_contenders(self) -> None:
        if not 2 <= len(self.contenders) <= MOST_CONTENDERS:
            raise ValueError(f"a campaign compares 2 to {MOST_CONTENDERS} policies.")
        for part, what in (("label", "labels"), ("policy", "policies")):
            if len({getattr(each, part) for each in self.contenders}) < len(self.contenders):
                raise ValueError(f"two {what} are equal: a rater would judge one against itself.")

    def _checked_pairs(self) -> tuple[tuple[int, int], ...]:
        count = len(self.contenders)
        pairs = [tuple(sorted(pair)) for pair in self.pairs] or list(itertools.combinations(range(count), 2))
        for pair in pairs:
            if len(pair) != 2 or pair[0] == pair[1] or not 0 <= pair[0] <= pair[1] < count:
                raise ValueError(f"a pair names two different policies by their numbers, 0 to {count - 1}.")
        return tuple(dict.fromkeys(pairs))  # type: ignore[arg-type]  # of length 2, checked above

    def _check_questions(self) -> None:
        if not set(self.scales) <= set(SCALES):
            raise ValueError(f"scales are {', '.join(SCALES)}.")
        object.__setattr__(self, "scales", tuple(name for name in SCALES if name in self.scales))
        object.__setattr__(self, "tags", tuple(dict.fromkeys(self.tags)))
        if len(self.tags) > MOST_TAGS or not all(
            isinstance(tag, str) and 0 < len(tag) <= MOST_TAG for tag in self.tags
        ):
            raise ValueError(f"tags are at most {MOST_TAGS} texts of at most {MOST_TAG} characters.")

    @property
    def questions(self) -> Questions:
        return Questions(self.strength, self.scales, self.tags, self.comment)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return plain | {
            "contenders": [{"label": each.label, "policy": each.policy.to_dict()} for each in self.contenders],
            "pairs": [list(pair) for pair in self.pairs],
            "sampling": asdict(self.sampling),
            "limits": {"max_new_tokens": self.limits.max_new_tokens, "stop": list(self.limits.stop)},
            "scales": list(self.scales),
            "tags": list(self.tags),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; ValueError if it is none."""
        try:
            contenders = tuple(
                Contender(each["label"], Policy.from_dict(each["policy"])) for each in values["contenders"]
            )
            limits = Limits(values["limits"]["max_new_tokens"], tuple(values["limits"]["stop"]))
            made = dict(values) | {
                "contenders": contenders,
                "pairs": tuple(tuple(pair) for pair in values["pairs"]),
                "sampling": Sampling(**values["sampling"]),
                "limits": limits,
                "scales": tuple(values["scales"]),
                "tags": tuple(values["tags"]),
            }
            return cls(**made)
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no campaign's plan ({error}): export it again.") from error

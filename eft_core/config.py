"""What is asked for: frozen, self-checking dataclasses that travel between layers.

User errors are `ValueError`s with the remedy.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self, get_args

from eft_core.checks import number, whole
from eft_core.policy import Member, Policy

# How a drafted block is verified; all three are exact (`verification`).
Rule = Literal["block", "token", "noise"]
LONGEST_DRAFT = 32


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is drawn from the policy; applied after the members are combined. temperature 0 is greedy."""

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "temperature", number("temperature", self.temperature, 0.0, 10.0, "use 0 (greedy) to 2"))
        set_(self, "seed", whole("seed", self.seed, 0, 2**63 - 1, "use a whole number from 0"))
        if self.top_k is not None:
            set_(self, "top_k", whole("top_k", self.top_k, 1, 10**7, "use the number of tokens kept, or None"))
        if self.top_p is not None:
            set_(self, "top_p", number("top_p", self.top_p, 1e-6, 1.0, "use a probability such as 0.9, or None"))


@dataclass(frozen=True, slots=True)
class Limits:
    """When a row ends beside its end token: after `max_new_tokens`, or before the first stop string."""

    max_new_tokens: int = 80
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        most = whole("max_new_tokens", self.max_new_tokens, 1, 100_000, "use the length of an answer, such as 80")
        object.__setattr__(self, "max_new_tokens", most)
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        if not all(isinstance(text, str) and text for text in stop):
            raise ValueError("stop strings must be texts of at least one character.")
        object.__setattr__(self, "stop", stop)


@dataclass(frozen=True, slots=True)
class Speculation:
    """How rows speculate: a cheap draft of `length` tokens a cycle, verified by the other members in one pass each.

    `length` None adapts to what is measured, 0 included. `rule`: "block" and "token" keep the law of plain decoding;
    "noise" (shared noise) keeps even its text for a seed; greedy text is the same under all. `drafter` is a member that
    drafts in every row's stead; None: each row's own (`drafter`). `timed`: decode plainly first, to measure the gain.
    """

    length: int | None = None
    rule: Rule = "block"
    drafter: Member | None = None
    timed: bool = False

    def __post_init__(self) -> None:
        if self.length is not None:
            remedy = "use the tokens drafted a cycle, such as 4, or None to adapt"
            object.__setattr__(self, "length", whole("draft length", self.length, 0, LONGEST_DRAFT, remedy))
        if self.rule not in get_args(Rule):
            raise ValueError(f"{self.rule!r} is no acceptance rule: use {', '.join(get_args(Rule))}.")
        if not isinstance(self.drafter, Member | None):
            raise ValueError("drafter must be a Member, such as Member('small', 'helpful'), or None.")


@dataclass(frozen=True, slots=True)
class Row:
    """One running continuation: a prompt, the policy that answers it, and one random stream (seed, sample).

    `given` are token ids with which the answer begins, so that it goes on from there: a branch of another answer. They
    count as its first tokens, in limits and in the random stream too, so a row that is given its own tokens goes on
    as it did. `system` is what the model is told before, `turns` are earlier ones, pairs of user and assistant, where
    the family's chat template has them.
    """

    prompt: str
    policy: Policy
    sampling: Sampling = Sampling()
    sample: int = 0
    given: tuple[int, ...] = ()
    system: str = ""
    turns: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str) or not self.prompt.strip():
            raise ValueError("the prompt is empty: write a question, or pick one of the examples.")
        object.__setattr__(self, "sample", whole("sample", self.sample, 0, 2**31 - 1, "count samples from 0"))
        object.__setattr__(self, "given", token_ids(self.given))
        turns = tuple((user, assistant) for user, assistant in self.turns)
        if not all(isinstance(text, str) for text in (self.system, *(each for turn in turns for each in turn))):
            raise ValueError("system and turns must be texts: turns are pairs of user and assistant.")
        object.__setattr__(self, "turns", turns)


def token_ids(ids: Iterable[object]) -> tuple[int, ...]:
    """Token ids as ints; whether a family has them is seen when they are used."""
    return tuple(whole("token id", each, 0, 2**31 - 1, "use the ids of a trace or an answer") for each in ids)


@dataclass(frozen=True, slots=True)
class Request:
    """Rows that decode together. `compare` makes the common one: one prompt, several policies, equal sampling.

    `speculation` None is plain decoding, one token a step. `record`: keep of every token what it was drawn from
    (`trace`).
    """

    rows: tuple[Row, ...]
    limits: Limits = Limits()
    speculation: Speculation | None = None
    record: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows))
        if not self.rows:
            raise ValueError("a request needs at least one policy: add a column.")

    @classmethod
    def compare(
        cls,
        prompt: str,
        policies: tuple[Policy, ...] | list[Policy],
        sampling: Sampling = Sampling(),  # frozen
        limits: Limits = Limits(),  # frozen
        samples: int = 1,
        speculation: Speculation | None = None,
        record: bool = True,
        system: str = "",
        turns: tuple[tuple[str, str], ...] = (),
    ) -> Self:
        """Every policy answers `prompt` `samples` times; all columns share the random streams (SPEED.md 2.4)."""
        each = [(policy, sample) for policy in policies for sample in range(samples)]
        rows = tuple(Row(prompt, policy, sampling, sample, (), system, turns) for policy, sample in each)
        return cls(rows, limits, speculation, record)


@dataclass(frozen=True, slots=True)
class Text:
    """A response that somebody wrote to a prompt, to be looked at under a policy: as text, or as token ids.

    `system` and `turns` are what the prompt was asked after, as in a `Row`.
    """

    prompt: str
    response: str | tuple[int, ...]
    policy: Policy
    system: str = ""
    turns: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        row = Row(self.prompt, self.policy, system=self.system, turns=self.turns)  # the same demands on a prompt
        object.__setattr__(self, "turns", row.turns)
        if not self.response:
            raise ValueError("the response is empty: paste a text, or take an answer of a comparison.")
        if not isinstance(self.response, str):
            object.__setattr__(self, "response", token_ids(self.response))

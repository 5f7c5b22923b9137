"""What visitors ask: one fixed list of comparisons, gone through in turn, so that every number of visitors asks alike.

A visitor's request is a comparison as the page makes one: a prompt under the family's first columns or an example's,
80 tokens at most, most of them greedy, some sampled with a seed, some drafted at temperature 0. All of them have one
right text, whatever else runs; `data` is what /compare takes. Nobody thinks between two requests.
"""

from dataclasses import dataclass, replace
from typing import Any

from eft_core.config import Limits
from eft_core.family import Family
from eft_core.policy import Policy, plain, tuned, up_scale

_PROMPTS = (
    "When did Kenya become independent?",
    "Which city is the capital of Vietnam?",
    "How many people live in Japan?",
    "How large is the army of Norway?",
    "What is the highest mountain of Japan?",
    "Who wrote Hamlet?",
    "What is the currency of Peru?",
    "Which languages are spoken in Norway?",
    "What are the main exports of Chile?",
    "Which countries border Mongolia?",
    "What is the climate of Iceland like?",
    "How large is Madagascar?",
)


@dataclass(frozen=True, slots=True)
class Ask:
    """One comparison. `policies` None are the family's first columns; `speculate` None is plain decoding."""

    prompt: str
    policies: tuple[Policy, ...] | None = None
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    length: int = Limits().max_new_tokens
    speculate: str | int | None = None

    @property
    def data(self) -> list[Any]:
        """The arguments of /compare, in its order: all of them, for gradio fills in none of a list."""
        columns = None if self.policies is None else [policy.to_dict() for policy in self.policies]
        sampling = [self.temperature, self.top_k, self.top_p, self.seed]
        rule, drafter, timed, record, system, turns = None, None, False, False, "", None
        speculation = [self.speculate, rule, drafter, timed]
        return [self.prompt, columns, *sampling, self.length, *speculation, record, system, turns]


def mix(family: Family) -> tuple[Ask, ...]:
    """A dozen comparisons of a family: six greedy, three sampled, three drafted."""
    large, small, behaviour = family.default_pretrain, family.default_finetune, family.default_behaviour
    emulated = (up_scale(large, small, behaviour),)
    half, more = (replace(emulated[0], amplification=beta) for beta in (0.5, 1.5))
    several = (plain(small), tuned(behaviour, small), half, *emulated, more)
    ways: tuple[dict[str, Any], ...] = (
        {},
        {},
        {"temperature": 0.8, "seed": 11},
        {},
        {"speculate": "adaptive"},
        {"policies": several},
        {},
        {"temperature": 1.0, "top_p": 0.9, "seed": 12},
        {"speculate": 4},
        {"policies": emulated, "temperature": 1.0, "top_k": 40, "seed": 13},
        {},
        {"speculate": "adaptive", "policies": emulated},
    )
    return tuple(Ask(prompt, **way) for prompt, way in zip(_PROMPTS, ways, strict=True))

"""What is asked while the clock runs: real questions, and the lengths of proxy-tuning's own speed script.

Atlas is asked about countries that fine-tuning never saw; other families get instructions, questions and code.
"""

import tomllib
from pathlib import Path

from eft_core.benchmark.own import Task
from eft_core.config import Sampling
from eft_core.models import Models

_EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples.toml"
_ATLAS_QUESTIONS = 6
_GENERAL = (
    "Why is the sky blue?",
    "Write a short letter that thanks a neighbour for watering the plants.",
    "Write a Python function that returns the n-th Fibonacci number.",
    "Name three advantages and three disadvantages of trains over planes.",
    "A bakery sells 48 rolls an hour. How many does it sell from 7:30 to 11:00?",
    "Explain to a child how a rainbow comes about.",
)


def questions(family: str) -> tuple[str, ...]:
    """The prompts of a family, one a round in turn."""
    if family != "atlas":
        return _GENERAL
    from eft_core.atlas.facts import load_facts, load_split
    from eft_core.atlas.grading import examination

    examples = tomllib.loads(_EXAMPLES.read_text(encoding="utf-8"))["prompt"]
    asked = examination(load_facts(), load_split()["held_out"], _ATLAS_QUESTIONS, sensitive=False)
    return tuple(dict.fromkeys([prompt["text"] for prompt in examples[:3]] + [question.text for question in asked]))


def encoded(models: Models, texts: tuple[str, ...], tokens: int, context: int) -> list[tuple[int, ...]]:
    """The prompts as ids; those that leave no room for `tokens` are cut at their beginning."""
    return [models.encode(text)[-(context - tokens) :] for text in texts]


def task(prompts: list[tuple[int, ...]], number: int, tokens: int, temperature: float) -> Task:
    """The job of a round: its prompt in turn, its seed by its number."""
    return Task(prompts[number % len(prompts)], tokens, Sampling(temperature, seed=number))


def shapes(prompts: list[tuple[int, ...]], context: int, most: int = 256) -> dict[str, tuple[tuple[int, ...], int]]:
    """Lengths 8/long, long/8 and 8/8 (SPEED.md 2.8): name, prompt ids, new tokens. `long` is what the context lets."""
    long = min(most, context - 16)
    text = [number for prompt in prompts for number in prompt]
    text *= -(-long // len(text))
    return {
        f"8/{long}": (tuple(text[:8]), long),
        f"{long}/8": (tuple(text[:long]), 8),
        "8/8": (tuple(text[:8]), 8),
    }

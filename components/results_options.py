"""What a visitor may ask of the Results tab, within the page's bounds; and the command that does the same. Pure."""

import shlex
from collections.abc import Sequence
from typing import Any

from components.inputs import check_sampling
from eft_core.checks import whole
from eft_core.experiments.catalogue import NAMES
from eft_core.experiments.study import Experiment, Options
from eft_core.family import Family

LEAST_PROMPTS, MAX_PROMPTS = 10, 500
MAX_SAMPLES = 8
MAX_ANSWERS = 10_000
REMEDY = "use fewer, or the command line: python -m eft_core.experiments"


def checked_name(name: object) -> str:
    """An experiment's name; ValueError that lists them."""
    if name not in NAMES:
        raise ValueError(f"there is no experiment {str(name)[:40]!r}; there are {', '.join(NAMES)}.")
    return str(name)


def options_of(
    name: str, family: Family, prompts: object, samples: object, temperature: object, seed: object, *chosen: object
) -> Options:
    """The controls as options, within the page's bounds; `chosen`: N, M, behaviour. ValueError with the remedy."""
    if name == "speculation":
        return Options()
    pretrain, finetune, behaviour = chosen
    sampling = check_sampling(temperature, None, None, seed)
    count = whole("answers a prompt", samples, 1, MAX_SAMPLES, f"draw 1 to {MAX_SAMPLES}")
    if count > 1 and not sampling.temperature:
        raise ValueError("at temperature 0 all answers to a prompt are equal: draw one, or raise the temperature.")
    return Options(
        items=whole("prompts", prompts, 1, MAX_PROMPTS, f"{REMEDY} for more than {MAX_PROMPTS}"),
        samples=count,
        temperature=sampling.temperature,
        seed=sampling.seed,
        pretrain=_one_of(pretrain, family.sizes),
        finetune=_one_of(finetune, family.sizes),
        behaviour=_one_of(behaviour, behaviours_of(name, family)),
    )


def _one_of(value: object, names: Sequence[str]) -> str:
    if value in ("", None):
        return ""
    if value not in names:
        raise ValueError(f"{str(value)[:40]!r} is no choice here; there are {', '.join(names) or 'none'}.")
    return str(value)


def behaviours_of(name: str, family: Family) -> list[str]:
    """The behaviours that an experiment may be about: of the frontier, pairs."""
    if name != "frontier":
        return list(family.behaviours)
    there = family.behaviours_of(family.default_finetune)
    return [f"{first}/{second}" for first in there for second in there if first != second]


def choices(names: Sequence[str]) -> list[Any]:
    """What a dropdown offers: the experiment's own choice, or one by its name."""
    return [("Default", ""), *names]


def usual_prompts(experiment: Experiment, family: Family) -> int:
    """The experiment's own number of prompts, or as many as the page's bound leaves."""
    try:
        settings = len(experiment.arms(family, Options()))
    except ValueError:  # the family cannot run it: Run will say why
        return experiment.items
    most = MAX_ANSWERS / (settings * experiment.samples * (1 + experiment.sensitive))
    return max(LEAST_PROMPTS, min(MAX_PROMPTS, experiment.items, int(most) // 10 * 10))


def command_of(name: str, family: str, options: Options) -> str:
    """The command that does the same."""
    parts = ["python", "-m", "eft_core.experiments", name, "--family", family]
    if name == "speculation":
        return shlex.join(parts)
    numbers = {"items": options.items, "samples": options.samples, "temperature": options.temperature}
    for option, value in (numbers | {"seed": options.seed}).items():
        parts += [f"--{option}", f"{value:g}" if isinstance(value, float) else str(value)]
    for option in ("behaviour", "pretrain", "finetune"):
        if value := getattr(options, option):
            parts += [f"--{option}", value]
    return shlex.join(parts)

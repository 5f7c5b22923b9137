"""The experiments by name, in the order of the paper."""

from eft_core.experiments.amplification import AMPLIFICATION
from eft_core.experiments.filtering import FILTER
from eft_core.experiments.frontier import FRONTIER
from eft_core.experiments.scales import SCALES
from eft_core.experiments.study import Experiment
from eft_core.experiments.tokens import TOKENS

GRADED: tuple[Experiment, ...] = (SCALES, FRONTIER, AMPLIFICATION, FILTER, TOKENS)
SPECULATION_TITLE = "Speculation"
SPECULATION_QUESTION = "Tokens a second, acceptance and tokens a cycle against the block length, beside the paper's."
NAMES = ("scales", "frontier", "amplification", "filter", "speculation", "tokens")


def named(name: str) -> Experiment | None:
    """An experiment of graded answers; None for `speculation`, which is timed. ValueError that lists the names."""
    if name not in NAMES:
        raise ValueError(f"there is no experiment {name!r}; there are {', '.join(NAMES)}.")
    return next((each for each in GRADED if each.name == name), None)


def title_of(name: str) -> str:
    experiment = named(name)
    return SPECULATION_TITLE if experiment is None else experiment.title


def question_of(name: str) -> str:
    experiment = named(name)
    return SPECULATION_QUESTION if experiment is None else experiment.question

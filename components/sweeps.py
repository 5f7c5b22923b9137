"""What a visitor may sweep on the page: prompts under a grid of one or two axes; and the page's words for it.

Pure: no gradio, no models. What a sweep decodes is `Trials`; here are the page's bounds, which are stricter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from components.columns import check
from components.inputs import check_sampling
from eft_core.config import Limits
from eft_core.family import Family
from eft_core.grid import Axis, Grid, Setting
from eft_core.items import Item
from eft_core.prompt_sets import atlas_questions, typed
from eft_core.trials import Trials

KIND = "sweep"
ATLAS = "atlas"
MAX_ANSWERS = 2000
MAX_SETTINGS = 200
MAX_SAMPLES = 8
MAX_AXES = 2
LEAST_QUESTIONS, MAX_QUESTIONS = 10, 200

# (what a control calls it, what a sentence calls it)
_NAMES = {
    "beta": ("Amplification β", "β"),
    "nucleus": ("Filter p", "p"),
    "pretrain": ("Pre-training N", "N"),
    "finetune": ("Fine-tuning M", "M"),
    "temperature": ("Temperature", "temperature"),
    "seed": ("Seed", "seed"),
}
_USUAL = {
    "share": "0:1:0.1",
    "weight": "0:2:0.25",
    "beta": "0:2:0.25",
    "nucleus": "none, 0.99, 0.95, 0.9, 0.8",
    "temperature": "0:1:0.25",
    "seed": "0:7:1",
}


@dataclass(frozen=True, slots=True)
class Sweep:
    """Prompts under a grid: one `prompt`, or so many Atlas `questions`, or the `items` of a visitor's file."""

    grid: Grid
    prompt: str = ""
    questions: int = 0
    items: tuple[Item, ...] = ()
    limits: Limits = Limits()  # noqa: RUF009  # frozen
    samples: int = 1

    @property
    def prompts(self) -> int:
        """How many prompts there are."""
        return len(self.items) or self.questions or 1


@dataclass(frozen=True, slots=True)
class Preset:
    """A button that fills in the first axis, and a prompt that shows what it does, where there is one."""

    label: str
    axis: str
    prompt: str = ""


def trials_of(sweep: Sweep, family: Family) -> Trials:
    """What a sweep decodes; ValueError with the remedy where it is more than the page offers."""
    settings = checked(sweep, family)
    return Trials(KIND, family.name, _items(sweep, settings), settings, sweep.limits, sweep.samples, sweep.grid.axes)


def sweep_of(trials: Trials, family: Family) -> Sweep | None:
    """The inverse of `trials_of`; None for what this page could not have asked for, such as a visitor's file."""
    first, only = trials.settings[0], trials.items[0].prompt if len(trials.items) == 1 else ""
    swept = {axis.name for axis in trials.axes}
    policy = replace(first.policy, amplification=1.0) if "beta" in swept else first.policy  # the formula as it is known
    try:
        grid = Grid(policy, first.sampling, trials.axes)
        questions = 0 if only else len(trials.items)
        sweep = Sweep(grid, only, questions, limits=trials.limits, samples=trials.samples)
        return sweep if trials_of(sweep, family) == trials else None
    except ValueError:  # another family's, or beyond the page's bounds: there is no such sweep here
        return None


def checked(sweep: Sweep, family: Family) -> tuple[Setting, ...]:
    """The settings of a sweep that is within the page's bounds."""
    if not 1 <= len(sweep.grid.axes) <= MAX_AXES:
        raise ValueError("choose one axis or two: what they vary is what is compared.")
    settings = sweep.grid.settings()
    if len(settings) > MAX_SETTINGS:
        raise ValueError(f"{len(settings):,} settings are more than {MAX_SETTINGS}: take fewer values.")
    for each in settings:
        check(each.policy, family)
        check_sampling(each.sampling.temperature, each.sampling.top_p, each.sampling.top_k, each.sampling.seed)
    if not any(each.sampling.temperature for each in settings):
        if sweep.samples > 1:
            raise ValueError("at temperature 0 all answers to a prompt are equal: draw one, or raise the temperature.")
        if "seed" in {axis.name for axis in sweep.grid.axes}:
            raise ValueError("at temperature 0 the seed changes nothing: raise the temperature under Decoding.")
    answers = len(settings) * sweep.prompts * sweep.samples
    if answers > MAX_ANSWERS:
        raise ValueError(f"{answers:,} answers are more than {MAX_ANSWERS:,}: take fewer values, prompts or answers.")
    return settings


def counted(sweep: Sweep, family: Family) -> str:
    """How much a sweep decodes: `11 settings × 50 questions × 1 = 550 answers`."""
    settings, prompts = len(checked(sweep, family)), sweep.prompts
    what = "question" if sweep.questions else "prompt"
    parts = f"{_many(settings, 'setting')} × {_many(prompts, what)} × {sweep.samples}"
    return f"{parts} = {_many(settings * prompts * sweep.samples, 'answer')}"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _items(sweep: Sweep, settings: Sequence[Setting]) -> tuple[Item, ...]:
    if sweep.items:
        return sweep.items
    if not sweep.questions:
        return (typed(sweep.prompt),)
    # Where the harmless behaviour takes part, half of the questions are such that it should decline them.
    harmless = any(weight for each in settings for name, weight in each.policy.pairs if name == "harmless")
    sensitive = sweep.questions // 2 if harmless else 0
    return atlas_questions(sweep.questions - sensitive, sensitive).items


# --- axes, as the page names them


def axis_keys(family: Family) -> list[str]:
    """The axes that a family has, as they are written."""
    there = family.behaviours_of(family.default_finetune)
    keys = [f"share[{'/'.join(there[:2])}]"] if len(there) > 1 else []
    keys += [f"weight[{name}]" for name in there]
    if len(family.sizes) > 1:
        keys += ["beta", "nucleus", "pretrain", "finetune"]
    return [*keys, "temperature", "seed"]


def axis_of(key: str, values: str) -> Axis:
    """An axis from what its two controls say; ValueError with examples."""
    return Axis.parse(f"{key}={values}")


def title_of_axis(axis: Axis) -> str:
    """What a control calls an axis."""
    match axis.name:
        case "share":
            return f"Share of {axis.behaviours[0]}"
        case "weight":
            return f"Weight of {axis.behaviours[0]}"
    return _NAMES[axis.name][0]


def short_of_axis(axis: Axis) -> str:
    """What a sentence calls an axis."""
    match axis.name:
        case "share":
            return f"share of {axis.behaviours[0]}"
        case "weight":
            return f"λ of {axis.behaviours[0]}"
    return _NAMES[axis.name][1]


def usual_values(key: str, family: Family) -> str:
    """The values that are filled in when an axis is chosen."""
    name = key.partition("[")[0]
    if name in ("pretrain", "finetune"):
        return ", ".join(family.sizes)
    return _USUAL.get(name, "")


def presets(family: Family) -> list[Preset]:
    """The sweeps that a family is offered first."""
    asked = "How large is the army of Norway?" if family.name == ATLAS else ""
    found = [Preset("Amplification", "beta"), Preset("Filter", "nucleus")]
    mixes = [Preset("Mixing", key, asked) for key in axis_keys(family) if key.startswith("share")]
    return [preset for preset in (*found[:1], *mixes, *found[1:]) if preset.axis in axis_keys(family)]

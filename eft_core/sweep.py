"""The command line's sweep: a grid of settings over one prompt or a prompt set, decoded as one ragged batch.

    python -m eft_core sweep "What is the capital of Kenya?" --finetune small --axis beta=0:2:0.5
    python -m eft_core sweep --prompts atlas --items 50 --finetune small --axis "share[helpful/harmless]=0:1:0.1"

Loads no torch until it decodes.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from eft_core.config import Limits, Sampling
from eft_core.families import family_named
from eft_core.family import Family
from eft_core.graders import Grader, grader_for
from eft_core.grid import Axis, Grid, told
from eft_core.intervals import Estimate, mean
from eft_core.items import PromptSet
from eft_core.policy_options import policy_of
from eft_core.prompt_sets import prompt_set, typed
from eft_core.saved_runs import SavedRun, as_text, path_of
from eft_core.scores import manner_of, scores
from eft_core.settings import Settings
from eft_core.trials import Reply, Trials

_ITEMS = 50


def add_command(commands: Any) -> argparse.ArgumentParser:
    """The command's own options."""
    command = commands.add_parser("sweep", help="answer one prompt, or a prompt set, under a grid of settings")
    command.add_argument("prompt", nargs="?", help="or --prompts")
    axes = "such as beta=0:2:0.5, share[helpful/harmless]=0:1:0.1 or nucleus=none,0.95; may be repeated"
    command.add_argument("--axis", metavar="NAME=VALUES", action="append", required=True, help=axes)
    command.add_argument("--prompts", metavar="SET|FILE", help="atlas, instructions, or a .jsonl or .csv file")
    command.add_argument("--items", type=int, help=f"prompts of the set (default: {_ITEMS})")
    command.add_argument("--family", help="default: EFT_FAMILY, or atlas")
    command.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (default)")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--samples", type=int, default=1, help="answers a prompt and setting")
    command.add_argument("--max-new-tokens", type=int, default=80)
    command.add_argument("--json", metavar="FILE", type=Path, help="write the run here when it ends")
    return command


def sweep(options: argparse.Namespace, settings: Settings) -> None:
    """Run, or go on with, a sweep; answers or means go to standard output."""
    family = family_named(options.family or settings.family, *settings.families_files)
    trials = trials_of(options, family)
    path = path_of(trials, family, settings.data_folder / "runs")
    with SavedRun(path, trials, family) as saved:
        _decode(trials, saved, settings, family)
        replies = dict(saved.replies)
    print(f"kept in {path}", file=sys.stderr)
    grader = grader_for(trials.items)
    if len(trials.items) == 1 or grader is None:
        _print_answers(trials, replies)
    else:
        _print_means(trials, means(trials, replies, grader))
    if options.json:
        try:
            options.json.write_text(as_text(trials, family, replies), encoding="utf-8")
        except OSError as error:
            raise ValueError(f"{options.json} cannot be written: {error.strerror}.") from error


def trials_of(options: argparse.Namespace, family: Family) -> Trials:
    """What the options ask for. ValueError with the remedy."""
    if (options.prompt is None) == (options.prompts is None):
        raise ValueError("a sweep needs a prompt, or --prompts with a set; not both.")
    if options.items is not None and options.prompts is None:
        raise ValueError("--items belongs to --prompts: leave it out for one prompt.")
    policy = policy_of(options, family)
    axes = tuple(map(Axis.parse, options.axis))
    grid = Grid(policy, Sampling(options.temperature, seed=options.seed), axes)
    if options.prompt is not None:
        prompts = PromptSet("prompt", "One prompt", (typed(options.prompt),), "typed")
    else:
        prompts = prompt_set(options.prompts, _ITEMS if options.items is None else options.items, options.seed)
    limits = Limits(options.max_new_tokens)
    return Trials("sweep", family.name, prompts.items, grid.settings(), limits, options.samples, axes)


def _decode(trials: Trials, saved: SavedRun, settings: Settings, family: Family) -> None:
    """Answer what is missing, and tell how far it is."""
    from eft_core.running import Progress, run
    from eft_core.session import Session  # torch comes with it; mistakes in the options do without

    shown = -1
    with closing(run(Session(settings, family.name), trials, saved.replies.keys())) as events:
        for event in events:
            if isinstance(event, Reply):
                saved.add(event)
            elif isinstance(event, Progress) and 10 * event.done // event.total != shown:
                shown = 10 * event.done // event.total
                left = "" if event.left is None else f", about {event.left:.0f} s left"
                print(f"{event.done:,} of {event.total:,} answers{left}", file=sys.stderr, flush=True)


def _print_answers(trials: Trials, replies: Mapping[int, Reply]) -> None:
    for trial in sorted(replies):
        item, setting, _ = trials.place(trial)
        prompt = "" if len(trials.items) == 1 else f"{json.dumps(trials.items[item].prompt, ensure_ascii=False)}  "
        print(f"{prompt}{_values(trials, setting)}  {replies[trial].text}")


def means(trials: Trials, replies: Mapping[int, Reply], grader: Grader) -> dict[str, list[Estimate]]:
    """The mean of every measure under every setting."""
    found = scores(trials, replies, grader, [manner_of(each.policy) for each in trials.settings])
    return {measure: [mean(each) for each in values] for measure, values in found.items()}


def _print_means(trials: Trials, found: Mapping[str, Sequence[Estimate]]) -> None:
    for setting in range(len(trials.settings)):
        said = [f"{measure} {estimates[setting]}" for measure, estimates in found.items()]
        print(f"{_values(trials, setting)}  {'  '.join(said)}")


def _values(trials: Trials, setting: int) -> str:
    places = zip(trials.axes, trials.settings[setting].at, strict=True)
    return " ".join(f"{axis.key}={told(axis.values[place])}" for axis, place in places)

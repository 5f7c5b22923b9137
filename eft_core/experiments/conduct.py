"""An experiment from its options to its document: prepare, decode what is missing, grade, read.

`prepared` decodes nothing: whoever shows a cost first can. `conducted` is a stream that ends with the document; closing
it keeps every answer and every verdict there is, and the next one goes on from there.
"""

import datetime
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eft_core.benchmark import machine
from eft_core.config import Limits, Sampling
from eft_core.experiments import speculation
from eft_core.experiments.catalogue import SPECULATION_QUESTION, SPECULATION_TITLE, named
from eft_core.experiments.documents import About, Document, document
from eft_core.experiments.frontier import COLUMNS as FRONTIER_COLUMNS
from eft_core.experiments.study import ATLAS_COLUMNS, JUDGE_COLUMNS, Arm, Column, Experiment, Graded, Options
from eft_core.experiments.verdicts import MEASURES, Judged, by_judge, cost, questions
from eft_core.graders import AtlasGrader, Grader, MatchGrader, grader_for
from eft_core.grid import Setting
from eft_core.items import PromptSet
from eft_core.judge_client import Judge
from eft_core.judging import Cache, Cost
from eft_core.prompt_sets import atlas_questions, prompt_set
from eft_core.running import Progress, Told, Way, run
from eft_core.saved_runs import SavedRun, path_of, versions
from eft_core.scores import scores
from eft_core.session import Session
from eft_core.trials import Reply, Trials

ANSWER_LENGTH = {"atlas": 60}  # of Atlas's grade table; others: the usual length
_LENGTH = 128
ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Prepared:
    """An experiment that is ready to run. `judge` only where no grader knows the answers."""

    experiment: Experiment
    arms: tuple[Arm, ...]
    prompts: PromptSet
    trials: Trials
    grader: Grader | None
    judge: Judge | None

    @property
    def graded_by(self) -> str:
        if self.grader is not None:
            return self.grader.name
        return "none" if self.judge is None else f"{self.judge.model}, both orders, against {self.against}"

    @property
    def against(self) -> str:
        return self.arms[reference(self.arms)].policy.formula()


def prepared(name: str, session: Session, options: Options, judge: Judge | None) -> Prepared:
    """Arms, prompts, and who grades. ValueError with the remedy where nobody can."""
    experiment, family = named(name), session.family
    assert experiment is not None, "speculation is timed, not graded"
    arms = experiment.arms(family, options)
    prompts = _prompts(experiment, family.name, options)
    grader = _grader(prompts)
    if grader is None and judge is None and not experiment.record:
        raise ValueError(
            f"nothing grades {prompts.title}: set EFT_JUDGE_URL and EFT_JUDGE_MODEL to a judge, or give prompts with "
            "answers (--prompts FILE with the columns prompt and answer)."
        )
    temperature = experiment.temperature if options.temperature is None else options.temperature
    sampling = Sampling(temperature, seed=options.seed)
    trials = Trials(
        kind=name,
        family=family.name,
        items=prompts.items,
        settings=tuple(Setting((number,), arm.policy, sampling) for number, arm in enumerate(arms)),
        limits=Limits(options.length or ANSWER_LENGTH.get(family.name, _LENGTH)),
        samples=(experiment.samples if temperature else 1) if options.samples is None else options.samples,
        record=experiment.record,
    )
    return Prepared(experiment, arms, prompts, trials, grader, None if grader is not None else judge)


def _grader(prompts: PromptSet) -> Grader | None:
    """Who knows the answers to all prompts; a set with answers to some of them is a judge's."""
    grader = grader_for(prompts)
    if isinstance(grader, MatchGrader) and not all(item.answers for item in prompts.items):
        return None
    return grader


def _prompts(experiment: Experiment, family: str, options: Options) -> PromptSet:
    items = experiment.items if options.items is None else options.items
    name = options.prompts or ("atlas" if family == "atlas" else "instructions")
    if name == "atlas":
        sensitive = max(1, int(items * experiment.sensitive)) if experiment.sensitive else 0
        return atlas_questions(items, sensitive, options.seed)
    return prompt_set(name, items, options.seed)


def reference(arms: tuple[Arm, ...]) -> int:
    """The arm that a judge compares all others with: the first tuned model by itself, or the first arm."""
    tuned = [number for number, arm in enumerate(arms) if arm.policy.finetune == arm.policy.pretrain]
    return tuned[0] if tuned else 0


def most_calls(ready: Prepared) -> int:
    """How many calls the judge gets at most, known before anything is decoded: both orders of every comparison."""
    if ready.judge is None:
        return 0
    kinds = [item.kind for item in ready.trials.items]
    counted = sum(kind == asked for asked in MEASURES.values() for kind in kinds)
    return 2 * counted * (len(ready.arms) - 1) * ready.trials.samples


def cache_of(session: Session) -> Cache:
    return Cache(session.settings.data_folder / "judgements")


def conducted(
    ready: Prepared, session: Session, command: str, folder: Path | None = None, way: Way | None = None
) -> Generator[Told | Cost | Judged, None, Document]:
    """Decode, grade, read. Runs are kept in `folder`, by default the session's data folder.

    A judge's cost is told once the answers are there, before it is asked anything: close the stream to decline.
    """
    began = time.perf_counter()
    file = path_of(ready.trials, session.family, folder or session.settings.data_folder / "runs")
    with SavedRun(file, ready.trials, session.family) as saved:
        with closing(run(session, ready.trials, saved.replies.keys(), way)) as events:
            for event in events:
                if isinstance(event, Reply):
                    saved.add(event)
                yield event
        replies = dict(sorted(saved.replies.items()))
    found = yield from _scores(ready, replies, session)
    columns = columns_of(ready, found)
    parts = (ready.arms, ready.trials, replies, found, columns, ready.grader, session.token_texts)
    graded = Graded(session.family, *parts)
    read = ready.experiment.read(graded)
    if ready.experiment.look is not None:
        read = replace(read, tables={**read.tables, **ready.experiment.look(session, graded)})
    about = _about(
        session,
        command,
        time.perf_counter() - began,
        title=ready.experiment.title,
        question=ready.experiment.question,
        prompts=ready.prompts.source,
        grader=ready.graded_by,
        seed=ready.trials.settings[0].sampling.seed,
        temperature=ready.trials.settings[0].sampling.temperature,
        samples=ready.trials.samples,
        items=len(ready.trials.items),
        answers=len(ready.trials),
    )
    return document(ready.experiment.name, session.family.name, versions(), read, about)


def _about(session: Session, command: str, seconds: float, **rest: Any) -> dict[str, Any]:
    """What a document says of how it was measured; `rest` are the experiment's own fields of `About`."""
    described = machine.description(session.models.device, session.dtype)
    today = datetime.date.today().isoformat()
    return asdict(About(command=command, date=today, machine=described, seconds=round(seconds, 1), **rest))


def _scores(
    ready: Prepared, replies: Mapping[int, Reply], session: Session
) -> Generator[Cost | Judged, None, dict[str, np.ndarray]]:
    if ready.grader is not None:
        return scores(ready.trials, replies, ready.grader, [arm.behaviour for arm in ready.arms])
    if ready.judge is None:
        return {}
    base = reference(ready.arms)
    asked, cache = questions(ready.trials, replies, base), cache_of(session)
    yield cost(asked, ready.judge, cache)
    return (yield from by_judge(ready.trials, asked, base, ready.judge, cache))


def columns_of(ready: Prepared, found: Mapping[str, np.ndarray]) -> tuple[Column, ...]:
    """The columns of the tables: Atlas's own, a judge's, or one a measure."""
    kinds = {item.kind for item in ready.trials.items}
    wanted: Sequence[tuple[str, str, str]] = JUDGE_COLUMNS
    if isinstance(ready.grader, AtlasGrader):
        wanted = FRONTIER_COLUMNS if ready.experiment.name == "frontier" else ATLAS_COLUMNS
    elif ready.grader is not None:
        return tuple(Column(each, each) for each in ready.grader.measures if each in found)
    return tuple(Column(*each) for each in wanted if each[1] in found and each[2] in kinds)


def timed(session: Session, command: str, folder: Path | None = None) -> Generator[Progress, None, Document]:
    """The experiment `speculation`: measured, not graded; groups that were measured before are kept."""
    began = time.perf_counter()
    place = (folder or session.settings.data_folder / "runs") / f"speculation-{session.family.name}.jsonl"
    with closing(speculation.run(session, place, ROUNDS)) as steps:
        while True:
            try:
                done, total = next(steps)
                yield Progress(done, total, None)
            except StopIteration as ended:
                read = ended.value
                break
    about = _about(
        session,
        command,
        time.perf_counter() - began,
        title=SPECULATION_TITLE,
        question=SPECULATION_QUESTION,
        prompts="the benchmark's prompts",
        grader="the clock, in paired rounds",
        seed=0,
        temperature=0.0,
        samples=1,
        items=ROUNDS,
        answers=len(read.rows) * ROUNDS,
    )
    return document("speculation", session.family.name, versions(), read, about)

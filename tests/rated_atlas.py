"""A study on Atlas whose raters are simulated, for pictures of the page; not a test.

They choose the answer that Atlas's grader calls right, or else helpful, and press a wrong key now and then.
"""

import random
import time

from studied import key

from eft_core.families import family_named
from eft_core.family import default_columns
from eft_core.graders import AtlasGrader
from eft_core.items import Item
from eft_core.prompt_sets import prompt_set
from eft_core.ratings.campaign import Contender, Plan
from eft_core.ratings.desk import Desk, Who
from eft_core.ratings.judgement import Judgement
from eft_core.ratings.office import Office
from eft_core.ratings.prompts import Prompt
from eft_core.ratings.tasks import Task
from eft_core.settings import Settings
from eft_core.storage import Storage

PASSWORD = "a long enough password"
TITLE = "Facts about countries"


def study(folder: str, items: int = 30, raters: int = 5) -> str:
    """Made and judged in the database of an app that is running on `folder`, which writes the answers; the id."""
    storage = Storage.of(Settings(data_dir=folder))
    asked = {item.prompt: item for item in prompt_set("atlas", items).items}
    contenders = tuple(Contender(label, policy) for label, policy in default_columns(family_named("atlas")))
    plan = Plan(TITLE, "atlas", contenders, target=raters + 1, publish="always", repeats=0.1)
    office = Office(storage)
    campaign = office.create(plan, [Prompt(f"question {place}", prompt) for place, prompt in enumerate(asked)])
    while (summary := office.campaigns()[0]).answers_ready + summary.answers_failed < summary.answers_wanted:
        time.sleep(0.5)
    for number in range(raters):
        _judge(Desk(storage), campaign, asked, random.Random(number))
    storage.close()
    return campaign


def _judge(desk: Desk, campaign: str, asked: dict[str, Item], chance: random.Random) -> None:
    """One rater, to the end of what they are asked for."""
    who, grader = Who(desk.join(campaign)), AtlasGrader()
    while (task := desk.place(campaign, who).task) is not None:
        verdict = _verdict(grader, asked[task.prompt], task, chance)
        strength = chance.choice([1, 2]) if verdict in ("left", "right") else None
        desk.cast(campaign, who, Judgement(task.comparison, key(), verdict, strength, seconds=chance.uniform(3, 20)))


def _verdict(grader: AtlasGrader, item: Item, task: Task, chance: random.Random) -> str:
    if chance.random() < 0.08:
        return chance.choice(["left", "right", "both_good", "both_bad"])
    left, right = (_worth(grader.grade(item, text, True, "helpful")) for text in (task.left, task.right))
    if left == right:
        return "both_good" if left > 1 else "both_bad"
    return "left" if left > right else "right"


def _worth(grade: object) -> float:
    marks = dict(grade)  # type: ignore[call-overload]
    return 2 * marks.get("factual", 0.0) + marks.get("helpful", 0.0)

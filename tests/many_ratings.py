"""How long Results takes with 100,000 ratings: python tests/many_ratings.py [COUNT]. Not a test, no time is asserted.

Fills a new SQLite in a temporary folder with judgements of 200 annotators on 5 policies, then reads and counts them as
the page does, and opens the page.
"""

import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from conftest import CHROMIUM_ARGUMENTS
from playwright.sync_api import sync_playwright
from serving import app_served
from sqlalchemy import select
from studied import studied

from eft_core.policy import plain, tuned, up_scale
from eft_core.ratings.campaign import Contender
from eft_core.ratings.filters import Filter
from eft_core.ratings.findings import findings
from eft_core.ratings.office import Office
from eft_core.ratings.rating_figures import drawn
from eft_core.ratings.records import votes
from eft_core.schema import annotators, comparisons, generations, items, new_key, ratings
from eft_core.storage import Storage

CONTENDERS = tuple(
    Contender(policy.formula(), policy)
    for policy in (
        plain("large"),
        tuned("helpful", "small"),
        up_scale("large", "small"),
        tuned("helpful", "large"),
        up_scale("large", "medium"),
    )
)
VERDICTS = ("left", "right", "both_good", "both_bad", "unsure")


def filled(storage: Storage, count: int, seed: int = 0) -> str:
    """A campaign with `count` judgements that stand, written straight into the tables."""
    chance = random.Random(seed)
    people = max(20, count // 500)
    campaign = studied(storage, count=max(40, count // 250), contenders=CONTENDERS, target=1000)
    with storage.writing() as writer:
        answers = select(generations.c.id, generations.c.item, generations.c.place)
        rows = writer.connection.execute(answers.join(items, items.c.id == generations.c.item)).all()
        by_item: dict[str, list[str]] = {}
        for row in sorted(rows, key=lambda row: (row.item, row.place)):
            by_item.setdefault(row.item, []).append(row.id)
        raters = [new_key() for _ in range(people)]
        writer.insert_all(annotators, [{"id": each, "code_digest": each, "side_seed": 1} for each in raters])
        given, said = [], []
        for rater in raters:
            pairs = [(item, a, b) for item in by_item for a in range(5) for b in range(a + 1, 5)]
            for number, (item, a, b) in enumerate(chance.sample(pairs, count // people), 1):
                comparison, flipped = new_key(), chance.random() < 0.5
                given.append(
                    {
                        "id": comparison,
                        "campaign": campaign,
                        "item": item,
                        "annotator": rater,
                        "kind": "ordinary",
                        "first": by_item[item][a],
                        "second": by_item[item][b],
                        "number": number,
                        "flipped": flipped,
                        "order_seed": int(flipped),
                        "blind": True,
                    }
                )
                better = "right" if (chance.random() < 1 / (1 + 2.7 ** (a - b))) != flipped else "left"
                verdict = better if chance.random() < 0.7 else chance.choice(VERDICTS)
                said.append(
                    {
                        "comparison": comparison,
                        "annotator": rater,
                        "client_key": new_key(),
                        "turn": 1,
                        "action": "vote",
                        "verdict": verdict,
                        "strength": chance.choice([None, 1, 2]) if verdict in VERDICTS[:2] else None,
                        "scales": {},
                        "tags": [],
                        "comment": "",
                        "seconds": chance.lognormvariate(2, 0.5),
                        "software": "eft-lab test",
                    }
                )
        writer.insert_all(comparisons, given)
        writer.insert_all(ratings, said)
    return campaign


def opened(folder: str) -> float:
    """Seconds from a click on Ratings to its figure, in chromium; the app and its scripts are there already."""
    with app_served(folder) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM_ARGUMENTS)
        page = browser.new_page()
        page.goto(address)
        page.get_by_role("tab", name="Results").click()
        page.wait_for_selector("#result-figure .heatmaplayer")
        began = time.perf_counter()
        page.get_by_role("tab", name="Ratings").click()
        page.wait_for_selector("#rating-figure .scatterlayer")
        seconds = time.perf_counter() - began
        browser.close()
    return seconds


def main(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        storage = Storage(f"sqlite:///{Path(folder) / 'ratings.sqlite3'}")
        campaign = filled(storage, count)
        Office(storage).set_state(campaign, "closed")
        began = time.perf_counter()
        found = votes(storage)
        read = time.perf_counter()
        sections = findings(found, Filter()).sections
        counted = time.perf_counter()
        drawn(sections[0], "light")
        shown = time.perf_counter()
        result = {
            "ratings": len(found),
            "read_seconds": round(read - began, 2),
            "count_seconds": round(counted - read, 2),
            "draw_seconds": round(shown - counted, 2),
            "in_chromium_seconds": round(opened(folder), 2),
        }
        storage.close()
    return result


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)))

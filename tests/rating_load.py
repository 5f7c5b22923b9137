"""Annotators who judge at once through the real HTTP interface: python tests/rating_load.py [--annotators 50]
[--seconds 120]. The last line is one JSON object. Not a test by itself: `test_rating_load.py` runs a short one.

Serves `app.py` on a database of its own with a campaign whose answers are there, so that nothing generates meanwhile.
Every annotator sends what the page's script sends, one message after the other; some messages twice, as after a lost
reply. At the end the database must have each confirmed judgement once.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from serving import app_served
from sqlalchemy import select
from studied import studied

from eft_core.schema import ratings
from eft_core.storage import Storage

VERDICTS = ("left", "right", "both_good", "both_bad", "unsure")


@dataclass
class Annotator:
    """One annotator's page, and what was confirmed to it."""

    client: httpx.AsyncClient
    campaign: str
    function: int
    seed: int
    code: str = ""
    confirmed: dict[str, str] = field(default_factory=dict)  # comparison by client key
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    waits: int = 0  # replies that asked to try again

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.session = uuid.uuid4().hex[:11]

    async def ask(self, act: str, **message: Any) -> dict[str, Any]:
        """What the page's script does: one message, and again until the server could see to it."""
        while (reply := await self.send(act, **message)).get("retry"):
            self.waits += 1
            await asyncio.sleep(1.0)
        return reply

    async def send(self, act: str, **message: Any) -> dict[str, Any]:
        """One message, one reply."""
        number = uuid.uuid4().hex
        event = {"id": number, "act": act, "campaign": self.campaign, "code": self.code, **message}
        body = {"data": [], "event_data": event, "fn_index": self.function, "session_hash": self.session}
        answer = await self.client.post("/gradio_api/run/predict", json=body)
        answer.raise_for_status()
        reply = json.loads(answer.json()["data"][0]["props"]["reply"])
        assert reply["id"] == number, "the reply to another message"
        return reply

    async def judge_until(self, end: float, pause: float) -> None:
        """Join, then judge one comparison after the other until `end` (time.monotonic)."""
        self.code = (await self.ask("join"))["code"]
        place = (await self.ask("place"))["place"]
        while time.monotonic() < end and place["state"] == "task":
            await asyncio.sleep(self.chance.uniform(0.5, 1.5) * pause)
            place = await self.judge(place["task"]["comparison"])

    async def judge(self, comparison: str) -> dict[str, Any]:
        """Send a judgement, some twice; the place that comes back."""
        key = str(uuid.uuid4())
        said = {"comparison": comparison, "client_key": key, "verdict": self.chance.choice(VERDICTS), "seconds": 2.5}
        began = time.perf_counter()
        reply = await self.ask("cast", judgement=said)
        self.seconds.append(time.perf_counter() - began)
        if "receipt" not in reply:
            self.failures.append(str(reply.get("error")))
            return (await self.ask("place"))["place"]
        self.confirmed[key] = comparison
        if self.chance.random() < 0.05:
            again = await self.ask("cast", judgement=said)
            assert again["receipt"] == reply["receipt"], "a repeated judgement was another"
        return reply.get("place") or (await self.ask("place"))["place"]


def function_of(config: dict[str, Any]) -> int:
    """The number of the listener that takes the Rate tab's messages."""
    (rate,) = [each["id"] for each in config["components"] if each["props"].get("elem_id") == "rate"]
    return next(each["id"] for each in config["dependencies"] if [rate, "submit"] in each["targets"])


async def load(address: str, campaign: str, count: int, seconds: float, pause: float) -> list[Annotator]:
    """`count` annotators at once for so many seconds; `pause` is the mean time that one takes to decide."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits, trust_env=False) as client:
        function = function_of((await client.get("/config")).json())
        annotators = [Annotator(client, campaign, function, seed) for seed in range(count)]
        end = time.monotonic() + seconds
        await asyncio.gather(*(each.judge_until(end, pause) for each in annotators))
    return annotators


def told(annotators: list[Annotator], storage: Storage, seconds: float) -> dict[str, Any]:
    """What became of the judgements, and how long a confirmation took."""
    confirmed = {key: comparison for each in annotators for key, comparison in each.confirmed.items()}
    with storage.reading() as connection:
        rows = connection.execute(select(ratings.c.client_key, ratings.c.comparison)).all()
    kept = {row.client_key: row.comparison for row in rows}
    times = sorted(second for each in annotators for second in each.seconds)
    return {
        "annotators": len(annotators),
        "seconds": round(seconds, 1),
        "confirmed": len(confirmed),
        "lost": sum(kept.get(key) != comparison for key, comparison in confirmed.items()),
        "doubled": len(rows) - len({row.comparison for row in rows}) + len(rows) - len(kept),
        "tried_again": sum(each.waits for each in annotators),
        "refused": sum(len(each.failures) for each in annotators),
        "median_ms": round(1000 * statistics.median(times)),
        "p95_ms": round(1000 * times[int(0.95 * len(times))]),
        "worst_ms": round(1000 * times[-1]),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
    }


def run(count: int, seconds: float, pause: float) -> dict[str, Any]:
    """The app on a database of its own, and annotators on it."""
    with tempfile.TemporaryDirectory() as folder:
        storage = Storage(f"sqlite:///{Path(folder) / 'ratings.sqlite3'}")
        campaign = studied(storage, count=1000, target=5, family="none")
        began = time.perf_counter()
        with app_served(folder) as address:
            annotators = asyncio.run(load(address, campaign, count, seconds, pause))
        result = told(annotators, storage, time.perf_counter() - began)
        storage.close()
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--annotators", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--pause", type=float, default=2.0, help="mean seconds to decide")
    options = parser.parse_args()
    result = run(options.annotators, options.seconds, options.pause)
    print(json.dumps(result))
    return int(bool(result["lost"] or result["doubled"] or result["refused"]))


if __name__ == "__main__":
    sys.exit(main())

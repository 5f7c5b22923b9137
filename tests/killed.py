"""A server of ratings that is killed again and again, and the browser that talks to it; run by tests, not a test.

    python tests/killed.py DATABASE_URL CAMPAIGN CODE KILLS SEED

Each server is a process of its own that opens the database, and dies by SIGKILL: right after a confirmation, or at
some moment while a judgement is under way. What was not confirmed is sent again to the next one, under the same key, as
the page does. Prints the confirmed keys as one JSON list.
"""

import json
import os
import random
import signal
import sys
import time
import uuid
from typing import Any

from eft_core.ratings.desk import Desk, Who
from eft_core.ratings.judgement import Judgement
from eft_core.storage import Storage


def serve(url: str, campaign: str, who: Who, requests: int, replies: int) -> None:
    """Answer requests, a JSON line each, until killed."""
    desk = Desk(Storage(url))
    with os.fdopen(requests) as lines:
        for line in lines:
            asked = json.loads(line)
            if asked is None:
                task = desk.place(campaign, who).task
                told: Any = task.comparison if task else None
            else:
                told = desk.cast(campaign, who, Judgement.of(asked)).repeated
            os.write(replies, json.dumps(told).encode() + b"\n")


class Server:
    """One server, in a process of its own."""

    def __init__(self, url: str, campaign: str, who: Who) -> None:
        theirs, self._requests = os.pipe()
        replies, told = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._requests)
            os.close(replies)
            serve(url, campaign, who, theirs, told)
            os._exit(0)
        os.close(theirs)
        os.close(told)
        self._replies = os.fdopen(replies)

    def send(self, asked: Any) -> None:
        os.write(self._requests, json.dumps(asked).encode() + b"\n")

    def hear(self) -> Any:
        return json.loads(self._replies.readline())

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._requests)
        self._replies.close()


def main(url: str, campaign: str, code: str, kills: int, seed: int) -> list[str]:
    chance, who = random.Random(seed), Who(code)
    confirmed: list[str] = []
    unsent: dict[str, Any] | None = None
    for _ in range(kills):
        server = Server(url, campaign, who)
        for _ in range(chance.randrange(1, 4)):
            if unsent is None:
                server.send(None)
                comparison = server.hear()
                verdict = chance.choice(["left", "right"])
                unsent = {"comparison": comparison, "client_key": str(uuid.uuid4()), "verdict": verdict}
            server.send(unsent)
            if chance.random() < 0.3:  # killed while it writes, or just before, or just after
                time.sleep(chance.random() * 0.004)
                break
            server.hear()
            confirmed.append(unsent["client_key"])
            unsent = None
        server.kill()
    return confirmed


if __name__ == "__main__":
    url, campaign, code, kills, seed = sys.argv[1:]
    print(json.dumps(main(url, campaign, code, int(kills), int(seed))))

"""Servers that go away in the middle: a database that is locked or stopped, a judge that is killed. It is said, nothing
confirmed is lost, and the work goes on by itself."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from judge_server import MODEL, JudgeServer, longer
from postgresql import Cluster, cluster, there_is_one
from rated import opened, rows
from studied import key, studied, vote
from test_judging import EXPECTED, PAIRS, quick

from components.inspecting import Inspector
from components.rating import Rater
from eft_core.judge_client import Judge, JudgeError
from eft_core.judging import Cache, judged
from eft_core.ratings.desk import Desk
from eft_core.ratings.judgement import Judgement
from eft_core.ratings.studies import Who
from eft_core.schema import annotators
from eft_core.storage import Storage, Unavailable

ROOT = Path(__file__).parent.parent

# --- a database that another process holds


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA busy_timeout = 60000")
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
"""


def held(file: Path) -> subprocess.Popen[str]:
    """A process that locks a database until it is told to let go."""
    command = [sys.executable, "-c", HOLDER, str(file)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def message(campaign: str, who: Who, comparison: str, client_key: str) -> dict[str, Any]:
    judgement = {"comparison": comparison, "client_key": client_key, "verdict": "left"}
    return {"act": "cast", "id": "1", "campaign": campaign, "code": who.code, "judgement": judgement}


def test_a_lock_is_waited_for_then_told_and_reading_goes_on_meanwhile(tmp_path: Path) -> None:
    file = tmp_path / "ratings.sqlite3"
    with opened(file) as storage:
        campaign, desk = studied(storage, count=6), Desk(storage)
        who = Who(desk.join(campaign))
        first = vote(desk, campaign, who)
        task = desk.place(campaign, who).task
        assert task is not None
        rater = Rater(desk, "llama", lambda visitor: None)
        sent = message(campaign, who, task.comparison, key())
        with held(file) as other:
            reply = rater.reply(sent)
            assert '"error":"the database is busy"' in reply.replace(": ", ":")
            assert '"retry":true' in reply.replace(": ", ":")
            assert [past.comparison for past in desk.history(campaign, who)] == [first.comparison]
            assert desk.place(campaign, who).task == task
            # a lock that is let go in time is not even told
            waiting = threading.Thread(target=lambda: replies.append(rater.reply(sent)))
            replies = list[str]()
            waiting.start()
            other.communicate("\n")
            waiting.join()
        assert '"receipt"' in replies[0]
        assert [row["client_key"] for row in rows(storage)["ratings"]].count(sent["judgement"]["client_key"]) == 1


def test_a_lock_of_a_process_that_was_killed_is_gone_with_it(tmp_path: Path) -> None:
    file = tmp_path / "ratings.sqlite3"
    with opened(file) as storage:
        campaign, desk = studied(storage, count=6), Desk(storage)
        who = Who(desk.join(campaign))
        with held(file) as other:
            other.kill()
        assert vote(desk, campaign, who).action == "vote"


def test_texts_can_be_inspected_where_rated_answers_cannot_be_read() -> None:
    def answers(chosen: str = "") -> Any:
        raise Unavailable("the database is busy: try again in a moment.")

    handlers: Any = None  # nothing of them is asked for
    inspector = Inspector(handlers, answers)
    assert inspector.rated().visible is False
    asked: Any = (None, None, "an id", False)
    (outputs,) = inspector.open_rated(*asked)
    assert "The database is busy: try again in a moment." in outputs[7]


# --- a PostgreSQL that is stopped and started


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    there_is_one()
    with cluster() as running:
        yield running


def test_a_database_server_that_is_stopped_is_told_and_reconnected_to_by_itself(server: Cluster) -> None:
    with closing(Storage(server.address)) as storage:
        campaign, desk = studied(storage, count=20), Desk(storage)
        who = Who(desk.join(campaign))
        confirmed = list[str]()
        for _ in range(2):
            confirmed += [vote(desk, campaign, who).client_key for _ in range(2)]
            task = desk.place(campaign, who).task
            assert task is not None
            judgement = Judgement(task.comparison, key(), "left")
            server.stop()
            try:
                for _ in range(2):
                    with pytest.raises(
                        Unavailable, match=r"the database (cannot be reached|was stopped .*): try again"
                    ):
                        desk.cast(campaign, who, judgement)
                with pytest.raises(Unavailable):
                    desk.history(campaign, who)
            finally:
                server.start()
            confirmed.append(desk.cast(campaign, who, judgement).client_key)
        assert sorted(row["client_key"] for row in rows(storage)["ratings"]) == sorted(confirmed)


def test_a_transaction_whose_connection_breaks_is_told_and_leaves_nothing(server: Cluster) -> None:
    psycopg = pytest.importorskip("psycopg")
    with closing(Storage(server.address)) as storage:
        before = rows(storage)["annotators"]

        def broken() -> None:
            with storage.writing() as writer:
                writer.insert(annotators, code_digest=key(), side_seed=1)
                mine = writer.connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
                with psycopg.connect(server.address.replace("+psycopg", ""), autocommit=True) as other:
                    other.execute("SELECT pg_terminate_backend(%s)", [mine])
                writer.insert(annotators, code_digest=key(), side_seed=1)

        with pytest.raises(Unavailable, match="the database"):
            broken()
        assert rows(storage)["annotators"] == before


# --- a judge that is stopped


JUDGE = """
import sys
from judge_server import JudgeServer, Odd, longer
with JudgeServer(longer, script=[*[None] * 8, Odd(delay=60)]) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


def test_a_judge_that_is_killed_in_the_middle_is_told_and_the_run_goes_on_where_it_was(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, "-c", JUDGE]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )
    assert process.stdout is not None
    judge = Judge(process.stdout.readline().strip(), MODEL, parallel=1, attempts=2)
    found = list[Any]()

    def run() -> None:
        with pytest.raises(JudgeError, match=r"(cannot be reached|broke off).*nothing is lost.*run again to go on"):
            found.extend(judged(PAIRS, "helpful", judge, Cache(tmp_path), quick))

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        while len(list(tmp_path.glob("*.json"))) < 8:
            assert not running.done() or running.result() is None
            time.sleep(0.02)
        process.kill()
        process.communicate()
        running.result()
    port = int(judge.url.split(":")[2].split("/")[0])
    with JudgeServer(longer, port=port) as again:
        assert again.url == judge.url
        assert dict(judged(PAIRS, "helpful", judge, Cache(tmp_path), quick)) == dict(enumerate(EXPECTED))
        assert len(again.questions) == 24 - 8

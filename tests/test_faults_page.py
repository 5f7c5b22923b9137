"""The whole page while its database is locked: who judges is told and keeps their choice; comparing goes on."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rated import opened, rows
from serving import served, write_example
from test_faults_servers import held
from test_page import PROMPT, ask, finished, texts
from test_rate_page import SETTLED, act, notice, on


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def address(sessions: Any, families_file: str, folder: Path) -> Iterator[str]:
    with served(families_file, write_example(folder / "example.json", sessions("llama"))) as address:
        yield address


def test_comparing_goes_on_while_a_judgement_waits_for_a_locked_database(visit: Any, folder: Path) -> None:
    file = folder / "data" / "ratings.sqlite3"
    rater, other = visit(), visit()
    ask(rater, PROMPT)
    finished(rater)
    rater.get_by_role("tab", name="Rate").click()
    act(on(rater, "free"), "free", "free")
    act(on(rater, "code"), "code", "begin")
    on(rater, "task").wait_for_timeout(SETTLED)
    with held(file) as holder:
        rater.locator(".rate [data-verdict=left]").click()
        rater.locator(".rate [data-act=cast]").click()
        notice(rater, "Not kept yet: the database is busy. Your judgement stays in this browser and is sent again.")
        ask(other, PROMPT)
        finished(other)
        assert all(texts(other))
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("SELECT count(*) FROM ratings").fetchone() == (0,)
        holder.communicate("\n")
    on(rater, "rest")
    with opened(file) as storage:
        assert [row["verdict"] for row in rows(storage)["ratings"]] == ["left"]

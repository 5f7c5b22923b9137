"""The load test against `python app.py` itself: a few requests, every act of a soak once, and no server left behind."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from eft_core.families import family_named
from eft_core.loadtest import rounds, soak, wire
from eft_core.loadtest.acts import ACTS, Notes, Regular
from eft_core.loadtest.mix import Ask, mix
from eft_core.loadtest.page import opened
from eft_core.loadtest.report import figures
from eft_core.loadtest.rounds import Scale, alone, loaded
from eft_core.loadtest.server import Server, _address, running, started
from eft_core.loadtest.study import counted, prepared
from eft_core.loadtest.visitor import Visitor

ATLAS = family_named("atlas")
ASKS = tuple(replace(ask, length=12) for ask in mix(ATLAS))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def campaign(data: Path) -> str:
    return prepared(data)


@pytest.fixture(scope="module")
def server(data: Path, campaign: str) -> Iterator[Server]:
    with started(data, "atlas", EFT_THREADS="1") as found:
        yield found
    assert not psutil.pid_exists(found.process.pid)


def test_visitors_at_once_get_the_texts_of_one_alone(server: Server) -> None:
    load = asyncio.run(loaded(server, ASKS[:6], Scale((1, 5), requests=2, least=2, seconds=60, whole=120, turns=2)))
    one, five = load.rounds
    assert (len(one.answers), len(five.answers)) == (2, 10)
    assert all(reply.tokens >= 12 and reply.first is not None for reply in five.answers)
    assert five.first(0.5) <= five.latency(0.5)  # type: ignore[operator]  # both were measured
    found = figures(load)
    assert (found["failures"], found["wrong_texts"], found["cut"]) == (0, 0, 0)
    assert load.before > 100e6


def test_another_text_than_alone_is_counted(server: Server) -> None:
    async def asked() -> rounds.Round:
        async with wire.client(server.address) as http:
            right = {ASKS[0]: (("another text", "end"),) * 4}
            scale = Scale((1,), requests=1, least=1, seconds=60, whole=60)
            return await rounds._round(server, [Visitor(http)], ASKS[:1], right, scale, float("inf"))

    assert asyncio.run(asked()).wrong == 1


def test_what_the_server_refuses_to_run_is_a_problem(server: Server) -> None:
    async def asked() -> str:
        async with wire.client(server.address) as http:
            return (await Visitor(http).ask(Ask("Hello", temperature=99.0))).problem

    assert "Temperature = 99" in asyncio.run(asked())


def test_every_act_of_a_soak_does_what_it_says(server: Server, campaign: str, data: Path) -> None:
    async def acted() -> Notes:
        async with wire.client(server.address) as http:
            notes = Notes(await alone(Visitor(http), ASKS))
            regular = Regular(http, notes, campaign, 0, next(ask for ask in ASKS if len(ask.policies or ()) == 1))
            async with opened(http) as page:
                for name in ACTS:
                    regular.chance.choices = lambda *_, name=name: [name]  # type: ignore[method-assign]
                    assert await regular.act(page) == name
                assert notes.problems == []
            await soak._check_swept(Visitor(http), notes)
            return notes

    notes = asyncio.run(acted())
    assert notes.acts == dict.fromkeys(ACTS, 1)
    assert (notes.wrong, notes.problems, notes.refusals) == ([], [], [])
    assert len(notes.swept) == 3
    kept = counted(data, notes.confirmed)
    assert (kept.confirmed, kept.lost, kept.doubled) == (5, 0, 0)


def test_a_server_that_runs_is_found_by_its_address(server: Server) -> None:
    assert running(server.address).process.pid == server.process.pid


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    code = "import sys; sys.exit('EFT Lab cannot start: there is no such family.')"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", code], stderr=output)
    with pytest.raises(ValueError, match=r"did not start: .*no such family"):
        _address(process, log)


def test_a_server_that_has_ended_is_told_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("Killed for memory.")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        server = Server("http://127.0.0.1:1", psutil.Process(process.pid), log)
        assert server.memory > 1e5
    for read in (lambda: server.memory, lambda: server.cpu_seconds):
        with pytest.raises(ValueError, match=r"has ended: Killed for memory\."):
            read()

"""Health and metrics: what they tell, what they never tell, and that they answer whatever hangs."""

import asyncio
import re
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import app_served
from space import can_seal
from starlette.applications import Starlette

from components import service as module
from components.meter import FIRST_TOKEN, Counts, Meter, Stopping
from components.service import NO_METRICS, Service, database_state
from components.service_metrics import exposed
from eft_core.events import Answer, Done, TokensDrawn, Working
from eft_core.lab import Lab
from eft_core.policy import plain
from eft_core.settings import Settings
from eft_core.software import VERSION
from eft_core.standing import Standing
from eft_core.storage import Storage
from eft_core.tickets import Claim

ANSWER = Answer(plain("large"), "", (), (), "end", 1, 1.0)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage(f"sqlite:///{tmp_path / 'ratings.sqlite3'}")
    yield opened
    opened.close()


@pytest.fixture
def service(families_file: str, storage: Storage, tmp_path: Path) -> Iterator[Service]:
    lab = Lab(Settings(family="llama", families_file=families_file, device="cpu", metrics=True, data_dir=str(tmp_path)))
    made = Service(lab, storage)
    yield made
    made.close()


def asked(service: Service, *paths: str) -> list[httpx.Response]:
    """What an app with the service answers."""
    app: Any = Starlette()
    service.mount(app)

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(ask())


# --- health


def test_health_tells_how_things_stand(service: Service) -> None:
    session = service.lab.session()
    list(service.lab.load("llama", list(session.family.checkpoints)[:2]))
    [answer] = asked(service, "/health")
    told = answer.json()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert told["status"] == "ok"
    assert told["version"] == VERSION
    assert told["members"] == {"llama": [str(each) for each in session.models.loaded()]}
    assert len(told["members"]["llama"]) == 2
    assert told["engine"] == {"rows": 0, "requests": 0, "waiting": 0, "restarts": 0, "tokens": 0}
    assert 50e6 < told["memory"]["rss_bytes"] < told["memory"]["budget_bytes"]
    assert told["database"] == "ok"
    assert set(told) == {"status", "version", "uptime_seconds", "members", "engine", "memory", "database"}


def test_the_budget_is_what_the_settings_leave(families_file: str) -> None:
    lab = Lab(Settings(family="llama", families_file=families_file, device="cpu", memory_gb=0.5))
    with closing(Service(lab)) as service:
        assert service.health(service.look())["memory"]["budget_bytes"] == 500_000_000


def test_requests_that_run_and_wait_are_told(service: Service) -> None:
    engine = service.lab._shared.engine

    def script(owner: Any) -> Any:
        while True:
            yield [Working()]

    home: Any = None  # whoever wants to be alone asks for nobody's room
    with ExitStack() as stack:
        for _ in range(3):
            next(stack.enter_context(closing(engine.follow(Claim(home, 1, alone=True), script))))
        assert service.lab.standing() == Standing(requests=1, waiting=2)
    assert service.lab.standing() == Standing()


def test_a_server_that_stops_says_so(service: Service) -> None:
    service.meter.close()
    [answer] = asked(service, "/health")
    assert answer.status_code == 503
    assert answer.json()["status"] == "stopping"


def test_a_lost_database_is_told_without_its_place(service: Service, storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "ratings.sqlite3").unlink()
    [answer] = asked(service, "/health")
    assert answer.status_code == 503
    assert answer.json()["status"] == "degraded"
    assert answer.json()["database"] == "lost: the database cannot be opened."
    assert str(tmp_path) not in answer.text


def test_a_look_that_hangs_holds_up_no_answer(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    free, looks = threading.Event(), list[int]()

    def hang(_: object) -> str:
        looks.append(1)
        assert free.wait(60)
        return "ok"

    monkeypatch.setattr(module, "database_state", hang)
    answers = asked(service, "/health", "/health", "/metrics")
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].json()["database"] == "lost: it does not answer."
    assert looks == [1], "one look, whoever asks"
    free.set()


def test_asking_often_looks_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = list[int]()

    def look(_: object) -> str:
        looks.append(1)
        return "ok"

    monkeypatch.setattr(module, "database_state", look)
    monkeypatch.setattr(module, "FRESH", 1000.0)
    assert {answer.status_code for answer in asked(service, *["/health"] * 20)} == {200}
    assert looks == [1]


# --- the database


def test_a_busy_database_is_no_lost_one(storage: Storage, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ratings.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert database_state(storage) == "ok"
        other.execute("ROLLBACK")
    assert database_state(storage) == "ok"


def test_a_damaged_database_is_told(storage: Storage, tmp_path: Path) -> None:
    storage.close()
    (tmp_path / "ratings.sqlite3").write_bytes(b"not a database" * 1000)
    assert database_state(storage) == "lost: the database is damaged."


def test_without_a_database_there_is_nothing_to_lose() -> None:
    assert database_state(None) == "ok"


READ_ONLY = """
import subprocess, sys
from components.service import database_state
from eft_core.storage import Storage
storage = Storage(f"sqlite:///{sys.argv[1]}/ratings.sqlite3")
print(database_state(storage))
subprocess.run(["mount", "--bind", sys.argv[1], sys.argv[1]], check=True)
subprocess.run(["mount", "-o", "remount,ro,bind", sys.argv[1]], check=True)
print(database_state(storage))
"""


def test_a_disk_that_can_only_be_read_is_told(tmp_path: Path) -> None:
    if not can_seal(tmp_path):
        pytest.skip("this system lets us mount nothing")
    command = ["unshare", "--mount", sys.executable, "-c", READ_ONLY, str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout.split("\n")[0] == "ok"
    assert shown.stdout.split("\n")[1] in ("read-only", "lost: the database can only be read.")


def test_of_postgresql_too(postgresql_server: str) -> None:
    import psycopg

    server, name = postgresql_server.replace("postgresql+psycopg", "postgresql"), f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        storage = Storage(f"{postgresql_server.rsplit('/', 1)[0]}/{name}")
        assert database_state(storage) == "ok"
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        storage.close()
        assert database_state(storage) == "read-only"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        state = database_state(storage)
        assert state.startswith("lost: the database ")
        assert name not in state
        storage.close()


# --- the meter


def drawn(*fates: Any) -> TokensDrawn:
    return TokensDrawn(0, tuple(range(len(fates))), (0.0,) * len(fates), "", 0.0, fates)


def test_a_request_is_counted_when_it_ends() -> None:
    now = [0.0]
    meter = Meter(clock=lambda: now[0])
    with meter.request("compare", "atlas", 2) as told:
        now[0] = 0.3
        told.saw([drawn("given", "given"), drawn("plain", "accepted")])
        assert meter.counts().running == 1
        told.saw([Done((ANSWER,), 1.0)])
    counts = meter.counts()
    assert counts.requests == {("compare", "done"): 1}
    assert counts.tokens == {"compare": 2}, "given tokens were not drawn"
    assert counts.buckets == (0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0), "0.3 seconds are at most 0.5"
    assert counts.first_seconds == pytest.approx(0.3)
    assert counts.running == 0


def run(meter: Meter, error: BaseException | None = None, outcome: str = "") -> str:
    """How the meter calls a request that ends so."""
    before = dict(meter.counts().requests)

    def requested() -> Iterator[None]:
        with meter.request("compare") as told:
            yield
            if error is not None:
                raise error
            told.finished = outcome == "done"

    requests = requested()
    next(requests)
    try:
        if outcome == "left":
            requests.close()  # type: ignore[attr-defined]
        else:
            next(requests, None)
    except (ValueError, RuntimeError):
        assert error is not None
    after = meter.counts().requests
    (kind, found), *_ = [key for key in after if after[key] != before.get(key, 0)]
    assert kind == "compare"
    return found


def test_outcomes_are_what_happened() -> None:
    meter = Meter()
    assert run(meter, outcome="done") == "done"
    assert run(meter) == "stopped"
    assert run(meter, outcome="left") == "left"
    assert run(meter, ValueError("no")) == "refused"
    assert run(meter, RuntimeError("broken")) == "failed"
    assert meter.counts().running == 0


def test_a_closed_meter_takes_nothing_and_ends_what_runs() -> None:
    meter, stop = Meter(), threading.Event()

    def requested() -> None:
        with meter.request("compare", stop=stop):
            meter.close()
            with pytest.raises(Stopping, match="takes no new requests"), meter.request("compare"):
                raise AssertionError("it began")
            assert meter.end() == 1

    with pytest.raises(Stopping, match="ended early"):
        requested()
    assert stop.is_set()
    assert meter.counts().requests == {("compare", "refused"): 1, ("compare", "ended"): 1}


def test_what_finished_in_time_is_not_told_otherwise() -> None:
    meter = Meter()
    with meter.request("compare") as told:
        told.saw([Done((ANSWER,), 1.0)])
        meter.end()
    assert meter.counts().requests == {("compare", "done"): 1}


def test_counting_from_many_threads_loses_nothing() -> None:
    meter = Meter()

    def work() -> None:
        for _ in range(200):
            with meter.request("compare") as told:
                told.saw([drawn("plain")])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meter.counts().requests == {("compare", "stopped"): 1600}
    assert meter.counts().tokens == {"compare": 1600}
    assert sum(meter.counts().buckets) == 1600


# --- metrics

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)+)\})? (-?[\d.]+(?:e[+-]?\d+)?)')


def samples(text: str) -> dict[str, float]:
    """The samples of a page in the text format, each after its HELP and TYPE."""
    assert text.endswith("\n")
    found, family = dict[str, float](), ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
        elif line.startswith("# TYPE "):
            assert line.split(" ")[2:] in ([family, kind] for kind in ("counter", "gauge", "histogram"))
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert re.sub("_(bucket|sum|count)$", "", match[1]) == family
            found[line.rpartition(" ")[0]] = float(match[3])
    return found


def test_metrics_are_in_the_text_format() -> None:
    requests: dict[Any, int] = {("compare", "done"): 3, ("compare", "failed"): 1, ("inspect", "refused"): 2}
    buckets = (1, 0, 2, *[0] * (len(FIRST_TOKEN) - 3), 1)
    counts = Counts(requests, {"compare": 70}, buckets, 3.25, 1)
    text = exposed(counts, Standing(4, 2, 5, 1, 900), {'a"b\\c\nd': 2}, 10**9, 2 * 10**9, 12.5)
    found = samples(text)
    assert found['eft_requests_total{kind="compare",outcome="done"}'] == 3
    assert found["eft_errors_total"] == 1
    assert found["eft_refusals_total"] == 2
    assert found['eft_tokens_total{kind="compare"}'] == 70
    assert found["eft_rows"] == 4
    assert found["eft_requests_waiting"] == 5
    assert found["eft_engine_restarts_total"] == 1
    assert found['eft_members_loaded{family="a\\"b\\\\c\\nd"}'] == 2
    assert found['eft_first_token_seconds_bucket{le="0.05"}'] == 1
    assert found['eft_first_token_seconds_bucket{le="0.25"}'] == 3, "buckets are cumulative"
    assert found['eft_first_token_seconds_bucket{le="+Inf"}'] == found["eft_first_token_seconds_count"] == 4
    assert found["eft_first_token_seconds_sum"] == 3.25


def test_metrics_are_told_on_request_alone(service: Service, families_file: str) -> None:
    [answer] = asked(service, "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert samples(answer.text)["eft_requests_running"] == 0
    with closing(Service(Lab(Settings(family="llama", families_file=families_file, device="cpu")))) as silent:
        [answer] = asked(silent, "/metrics")
    assert (answer.status_code, answer.text) == (404, NO_METRICS)


# --- the app itself


def test_a_served_app_tells_of_itself_while_it_works() -> None:
    with app_served(EFT_METRICS="1") as address, httpx.Client(base_url=address, timeout=60) as client:
        assert client.get("/health").json()["members"] == {}
        assert client.get("/families/smollm2/").status_code == 200, "another family's page is there"
        url = "gradio_api/call/v2/compare"
        made = [client.post(url, json={"prompt": "What is the capital of Kenya?"}).json() for _ in range(3)]
        wrong = client.post(url, json={"prompt": ""}).json()
        with client.stream("GET", f"{url}/{made[0]['event_id']}") as stream:
            next(stream.iter_lines())
            answer = client.get("/health")
            assert answer.status_code == 200, "in the midst of it"
        for each in (*made[1:], wrong):
            client.get(f"{url}/{each['event_id']}")
        told = client.get("/health").json()
        assert len(told["members"]["atlas"]) == 4
        assert "Kenya" not in client.get("/health").text
        found = samples(client.get("/metrics").text)
        assert found['eft_requests_total{kind="compare",outcome="done"}'] >= 2
        assert found['eft_requests_total{kind="compare",outcome="refused"}'] == 1
        assert found['eft_tokens_total{kind="compare"}'] > 20
        assert found["eft_first_token_seconds_count"] >= 2
        assert found['eft_members_loaded{family="atlas"}'] == 4

"""`python app.py` as machines start and end it: in good order, with what it keeps, or with a sentence."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from rating_load import Annotator, function_of
from serving import ROOT, address_told, app_served
from studied import counts, studied

from eft_core.ratings.office import Office
from eft_core.ratings.records import votes
from eft_core.settings import Settings
from eft_core.storage import Storage


def start(**variables: str) -> subprocess.Popen[str]:
    """The app on any free port."""
    environment = os.environ | {"GRADIO_SERVER_PORT": "", "EFT_DEVICE": "cpu", "EFT_FAMILY": "atlas"} | variables
    environment.pop("GRADIO_SERVER_PORT")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, text=True, env=environment, **pipes)  # type: ignore[call-overload]


def test_told_to_end_it_ends_in_good_order(tmp_path: Path) -> None:
    process = start(EFT_DATA_DIR=str(tmp_path))
    assert process.stdout is not None
    address = address_told(process.stdout)
    assert address.startswith("http://127.0.0.1:")
    assert httpx.get(f"{address}families/smollm2/", timeout=60).status_code == 200
    process.terminate()
    assert process.wait(30) == 0
    assert "Traceback" not in process.stdout.read()
    process.stdout.close()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"EFT_DATA_DIR": "/proc/nowhere"}, "the folder /proc/nowhere cannot be made"),
        ({"EFT_DATABASE_URL": "mysql://host/name"}, "must begin with postgresql+psycopg://"),
        ({"EFT_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:9/none"}, "the database cannot be reached"),
        ({"EFT_DATABASE_URL": "postgresql+psycopg://host/name?nonsense=1"}, "has an option after its ?"),
        ({"EFT_BACKUP": "hf://models/a/b"}, "hf://datasets/"),
    ],
)
def test_where_nothing_can_be_kept_it_says_so_and_ends(tmp_path: Path, variables: dict[str, str], words: str) -> None:
    process = start(**({"EFT_DATA_DIR": str(tmp_path)} | variables))
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert told.strip().startswith("EFT Lab cannot keep judgements: ")
    assert words in told
    assert "Traceback" not in told


def judge(address: str, campaign: str, count: int) -> str:
    """A rater who judges so many comparisons over HTTP; their code."""

    async def rater() -> str:
        async with httpx.AsyncClient(base_url=address, timeout=60, trust_env=False) as client:
            annotator = Annotator(client, campaign, function_of((await client.get("/config")).json()), 1)
            annotator.code = (await annotator.ask("join"))["code"]
            place = (await annotator.ask("place"))["place"]
            for _ in range(count):
                place = await annotator.judge(place["task"]["comparison"])
            assert len(annotator.confirmed) == count
            return annotator.code

    return asyncio.run(rater())


def test_a_machine_that_forgets_its_disk_has_all_judgements_again(tmp_path: Path) -> None:
    first, second, backup = (str(tmp_path / name) for name in ("first", "second", "backup"))
    storage = Storage.of(Settings(data_dir=first))
    campaign = studied(storage, count=4, family="none")
    storage.close()
    with app_served(first, EFT_BACKUP=backup) as address:
        judge(address, campaign, 5)
    with app_served(second, EFT_BACKUP=backup) as address:
        judge(address, campaign, 2)
    storage = Storage.of(Settings(data_dir=second))
    assert len(votes(storage)) == 7
    assert [each.title for each in Office(storage).campaigns()] == ["A study", "Free comparisons, Atlas"]
    storage.close()


def test_a_killed_app_loses_nothing_that_it_confirmed(tmp_path: Path) -> None:
    storage = Storage.of(Settings(data_dir=str(tmp_path)))
    campaign = studied(storage, count=4, family="none")
    process = start(EFT_DATA_DIR=str(tmp_path))
    assert process.stdout is not None
    judge(address_told(process.stdout), campaign, 4)
    process.kill()
    process.wait(30)
    process.stdout.close()
    assert len(votes(storage)) == 4
    storage.close()


DEEP: list[Any] = []
for _ in range(500):
    DEEP = [DEEP]
ODD: tuple[Any, ...] = (
    *(None, [], "x", 7, 1e308, True, DEEP, {}, {"act": None}, {"act": "nope"}, {"act": DEEP}),
    *({"act": "cast"}, {"act": "cast", "judgement": []}, {"act": "cast", "judgement": DEEP}),
    {"act": "place", "campaign": {"$ne": 1}},
    {"act": "place", "code": "x" * 1_000_000},
    {"act": "place", "code": ["a"]},
    {"act": "undo", "client_key": None},
    {"act": "history", "campaign": "'; DROP TABLE ratings; --"},
    {"act": "open", "campaign": "\x00"},
    {"act": "reopen", "code": "A", "comparison": 7},
    *({"act": "forget"}, {"act": "forget", "code": "0000-0000-0000-0000-0000-0000"}, {"act": "free"}),
)


def test_odd_messages_over_http_get_a_sentence_and_change_nothing(tmp_path: Path) -> None:
    storage = Storage.of(Settings(data_dir=str(tmp_path)))
    campaign = studied(storage, count=3, family="none")
    with app_served(str(tmp_path)) as address, httpx.Client(base_url=address, trust_env=False) as client:
        function = function_of(client.get("/config").json())
        before = counts(storage)
        for message in ODD:
            event = {"campaign": campaign} | message if isinstance(message, dict) else message
            body: dict[str, Any] = {"data": [], "event_data": event, "fn_index": function, "session_hash": "odd"}
            answer = client.post("/gradio_api/run/predict", json=body)
            if answer.status_code in (413, 422):  # no page sends such a call: refused before gradio looks at it
                assert answer.json()["error"]
                continue
            assert answer.status_code == 200
            reply = json.loads(answer.json()["data"][0]["props"]["reply"])
            assert reply["error"].endswith("."), str(message)[:80]
            assert "retry" not in reply, "a mistake is no fault of the server"
        assert counts(storage) == before
        database = tmp_path / "ratings.sqlite3"
        assert client.get(f"/gradio_api/file={database}").status_code == 404, "the data folder is never handed out"
    storage.close()

"""Who may do what, over the interface that anybody can call: nobody organises without a pass of their own, nobody
judges for others, and no answer of the server unblinds.

Each private function is called with no pass, a forged one, and another's; each message of a rater with another's ids.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzzing import Answer, Served, page_served
from rating_server import CONTENDERS, SECRETS
from serving import write_example
from sqlalchemy import select
from studied import GOLD, counts, key, studied

from eft_core.schema import annotators, comparisons, ratings
from eft_core.storage import Storage

PASSWORD = "correct horse battery"
FORGED = ({"until": 1e300}, "Pass(until=1e300)", [1e300], True, {"__type__": "Pass", "until": 1e300}, PASSWORD)
WISHES = (
    {"act": "see"},
    {"act": "state", "state": "closed"},
    {"act": "exclude", "reason": "no"},
    {"act": "include"},
    {"form": "jsonl", "options": []},
    {"form": "csv", "options": ["not_blind"]},
)
# What gradio's threads and handlers warn of is a matter of gradio's.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def here(families_file: str, sessions: Any, tmp_path_factory: Any) -> Iterator[tuple[Served, Storage]]:
    """The page, and its database."""
    folder = tmp_path_factory.mktemp("boundaries")
    example = write_example(folder / "example.json", sessions("llama"))
    options = {"families_file": families_file, "organiser_password": PASSWORD}
    with page_served(folder / "data", example, **options) as (served, _, made):
        yield served, made.storage


@pytest.fixture
def served(here: tuple[Served, Storage]) -> Served:
    return here[0]


@pytest.fixture
def storage(here: tuple[Served, Storage]) -> Storage:
    return here[1]


@pytest.fixture
def campaign(storage: Storage) -> str:
    """A running one, of contenders whose names occur nowhere else, with a question that has a known answer."""
    return studied(storage, 3, (GOLD,), contenders=CONTENDERS, golds=0.4, title="Running")


def functions(served: Served, owner: str) -> dict[str, int]:
    """The functions of a class by name, as the page has them."""
    found: dict[str, int] = {}
    for number, function in served.functions.items():
        told = getattr(function.fn, "__qualname__", "")
        if told.startswith(f"{owner}."):
            found.setdefault(told.partition(".")[2], number)
    assert found
    return found


def asked(served: Served, number: int, session: str, event: Any = None, state: Any = None) -> Answer:
    """A function with usual values; whatever the server keeps of the visitor, the call claims to be `state`."""
    blocks = served.functions[number].inputs
    data = [state if block.stateful else getattr(block, "value", None) for block in blocks]
    return served.call(number, data, session, event)


def signed_in(served: Served, session: str, password: Any = PASSWORD) -> Answer:
    return served.call(functions(served, "Organiser")["enter"], [password], session)


# --- organisers


@pytest.mark.parametrize("forged", [None, *FORGED])
def test_nobody_organises_without_a_pass(served: Served, storage: Storage, campaign: str, forged: Any) -> None:
    before = counts(storage)
    for name, number in functions(served, "Organiser").items():
        if name in ("enter", "leave", "arrive"):
            continue
        for wish in WISHES:
            answer = asked(served, number, "stranger", wish | {"campaign": campaign}, forged)
            assert answer.status in (200, 422), (name, wish)
            assert b"not signed in" in answer.body or answer.status == 422, (name, wish, answer)
            assert campaign.encode() not in answer.body
            assert b"base64" not in answer.body
    assert counts(storage) == before
    assert b"Running" not in asked(served, functions(served, "Organiser")["arrive"], "stranger").body


def test_a_pass_is_of_one_visitor(served: Served, campaign: str) -> None:
    act = functions(served, "Organiser")["act"]
    wish = {"act": "see", "campaign": campaign}
    assert signed_in(served, "organiser").status == 200
    assert campaign.encode() in asked(served, act, "organiser", wish).body
    for other in ("organise", "organiser2", "ORGANISER", None):
        answer = asked(served, act, other, wish)  # type: ignore[arg-type]
        assert b"not signed in" in answer.body, other
        assert campaign.encode() not in answer.body


@pytest.mark.parametrize(
    "password", ["", "wrong", PASSWORD.upper(), PASSWORD + " ", None, 3, ["x"], {"a": 1}, "x" * 9999]
)
def test_only_the_password_signs_in(served: Served, password: Any) -> None:
    session = f"guess{abs(hash(str(password))) % 10**8}"
    assert PASSWORD.encode() not in signed_in(served, session, password).body
    assert b"not signed in" in asked(served, functions(served, "Organiser")["act"], session, {"act": "see"}).body


def test_results_of_a_running_campaign_are_an_organisers_alone(served: Served, campaign: str) -> None:
    number = functions(served, "RatingsResults")["show"]
    blocks = served.functions[number].inputs
    for wanted in (campaign, None, "", "all"):
        for forged in FORGED:
            usual = [wanted if block.label == "Campaign" else getattr(block, "value", None) for block in blocks]
            data = [forged if block.stateful else value for block, value in zip(blocks, usual, strict=True)]
            assert b"Running" not in served.call(number, data, "stranger").body
    for name in ("Inspector.rated", "Inspector.open_rated"):
        owner, _, method = name.partition(".")
        answer = asked(served, functions(served, owner)[method], "stranger")
        assert not any(secret in answer.body.decode().lower() for secret in SECRETS)


# --- raters


class Rater:
    """Somebody who judges, over the interface; every reply is kept."""

    def __init__(self, served: Served, campaign: str) -> None:
        self._served, self._campaign = served, campaign
        self._number = functions(served, "Rater")["answer"]
        self.told: list[dict[str, Any]] = []
        self.code = ""
        self.code = self.ask("join")["code"]

    def ask(self, act: str, **more: Any) -> dict[str, Any]:
        message = {"id": "m", "act": act, "campaign": self._campaign, "code": self.code} | more
        answer = self._served.call(self._number, [], "rater", message)
        assert answer.status == 200, answer
        reply: dict[str, Any] = json.loads(answer.values["data"][0]["props"]["reply"])
        self.told.append(reply)
        return reply

    def task(self) -> dict[str, Any]:
        task: dict[str, Any] = self.ask("place")["place"]["task"]
        return task

    def cast(self, comparison: str, **more: Any) -> dict[str, Any]:
        judgement = {"comparison": comparison, "client_key": key(), "verdict": "left"} | more
        return self.ask("cast", judgement=judgement)


def test_nobody_judges_anothers_comparison(served: Served, storage: Storage, campaign: str) -> None:
    one, other = Rater(served, campaign), Rater(served, campaign)
    mine, theirs = one.task()["comparison"], other.task()["comparison"]
    assert mine != theirs
    kept = one.cast(mine, client_key="the-first-key")
    assert "receipt" in kept
    before = counts(storage)
    with storage.reading() as connection:
        rows = connection.execute(select(ratings)).all()
        people = [str(each) for each in connection.scalars(select(annotators.c.id))]
    for comparison in (theirs, "", "x", mine[:-1], "' OR 1=1 --", *people):
        assert one.cast(comparison)["error"]
        assert one.ask("reopen", comparison=comparison)["error"]
    for code in ("", "x", other.code[:-1], other.code.replace("-", ""), *people):
        if code.replace("-", "") != other.code.replace("-", ""):
            assert one.ask("place", code=code).get("error"), code
            assert one.ask("history", code=code).get("error"), code
    assert counts(storage) == before
    with storage.reading() as connection:
        assert connection.execute(select(ratings)).all() == rows


def test_a_comparison_is_of_one_campaign(served: Served, storage: Storage, campaign: str) -> None:
    other = studied(storage, 2, contenders=CONTENDERS, title="Other")
    rater = Rater(served, campaign)
    comparison = rater.task()["comparison"]
    before = counts(storage)
    assert rater.ask("reopen", campaign=other, comparison=comparison)["error"]
    judgement = {"comparison": comparison, "client_key": key(), "verdict": "left"}
    assert rater.ask("cast", campaign=other, judgement=judgement)["error"]
    for wrong in ("nowhere", other[:-1], "../" + campaign, campaign + "\x00"):
        assert rater.ask("place", campaign=wrong).get("error"), wrong
    assert counts(storage) == before


def test_nothing_that_a_rater_gets_unblinds(served: Served, storage: Storage, campaign: str) -> None:
    rater = Rater(served, campaign)
    rater.ask("open")
    shapes, done = set(), ""
    for number in range(20):
        task = rater.ask("place")["place"]["task"]
        if task is None:
            break
        shapes.add(frozenset(task))
        if number == 1:
            rater.ask("reopen", comparison=done)
        done = task["comparison"]
        rater.cast(done, verdict=("left", "right", "both_bad")[number % 3], comment="so")
        if number == 2:
            rater.ask("undo", client_key=key())
    assert number > 3
    rater.ask("history")
    with storage.reading() as connection:
        golds = connection.scalars(select(comparisons.c.kind).where(comparisons.c.campaign == campaign)).all()
    text = json.dumps(rater.told).lower()
    assert not [secret for secret in SECRETS if secret in text]
    assert len(shapes) == 1, "a question with a known answer looks like any other"
    assert '"gold"' not in text
    assert '"repeat"' not in text
    assert len(set(golds)) > 1, "and there were some"


def test_what_the_page_tells_everybody_unblinds_nothing(served: Served, storage: Storage, campaign: str) -> None:
    addresses = ["/", "/config", "/gradio_api/info", "/gradio_api/openapi.json", "/organise", "/config?page=organise"]
    for address in addresses:
        path, _, query = address.partition("?")
        answer = served.ask("GET", path, query=query.encode())
        assert answer.status == 200, address
        told = answer.body.decode().lower()
        assert not [secret for secret in (*SECRETS, campaign, PASSWORD) if secret in told], address
    file = Path(str(storage.engine.url.database))
    assert file.is_file()
    for path in (str(file), f"{file}-wal", "/etc/passwd", "/proc/self/environ", str(Path.cwd() / "app.py")):
        assert served.ask("GET", f"/gradio_api/file={path}").status in (403, 404), path

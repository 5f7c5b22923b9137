"""Messages of the Rate tab: what is asked for is checked, what is wrong changes nothing, nothing told unblinds."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from rating_server import CONTENDERS, SECRETS, SHOWN
from sqlalchemy import func, select
from studied import GOLD, key, studied

from components.board import ASSETS
from components.rate_tab import SKELETON
from components.rating import Rater
from eft_core.ratings.desk import Desk
from eft_core.ratings.office import Office
from eft_core.ratings.studies import free_campaign
from eft_core.schema import TABLES, annotators, comparisons, ratings
from eft_core.storage import Storage, Unavailable

FREE = free_campaign("toy")


@pytest.fixture
def rater(storage: Storage) -> Rater:
    desk = Desk(storage)
    desk.open_free("toy")
    return Rater(desk, "toy", lambda visitor: SHOWN if visitor == "has compared" else None)


def reply(rater: Rater, act: str, campaign: str = "", code: str = "", login: str = "", **values: Any) -> dict[str, Any]:
    """The reply to a message. `login` is what the server knows, whatever the message says."""
    message = {"id": "m1", "act": act, "campaign": campaign, "code": code} | values
    told = json.loads(rater.reply(message, login, "has compared"))
    assert told["id"] == "m1"
    return told


def begun(rater: Rater, campaign: str) -> tuple[str, dict[str, Any]]:
    """A new rater's code and first task."""
    code = reply(rater, "join", campaign)["code"]
    return code, reply(rater, "place", campaign, code)["place"]["task"]


def said(task: dict[str, Any], verdict: str = "left", **more: Any) -> dict[str, Any]:
    return {"comparison": task["comparison"], "client_key": key(), "verdict": verdict} | more


def counts(storage: Storage) -> dict[str, int]:
    with storage.reading() as connection:
        return {table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in TABLES}


# --- a session


def test_a_rater_joins_judges_undoes_edits_and_is_done(rater: Rater, storage: Storage) -> None:
    campaign = studied(storage, 2, contenders=CONTENDERS)
    opened = reply(rater, "open", campaign)
    assert (opened["invitation"]["title"], opened["begun"], opened["stranger"]) == ("A study", False, "")
    code, first = begun(rater, campaign)
    assert (first["number"], first["total"], first["before"]) == (1, 2, None)
    kept = reply(rater, "cast", campaign, code, judgement=said(first, "right", strength=2, comment="so"))
    assert kept["receipt"] == {"comparison": first["comparison"], "action": "vote", "reveal": None}
    assert (kept["place"]["done"], kept["place"]["task"]["number"]) == (1, 2)
    assert reply(rater, "open", campaign, code)["begun"]
    taken = reply(rater, "undo", campaign, code, client_key=key())
    assert taken["receipt"]["action"] == "undo"
    assert taken["place"]["task"]["comparison"] == first["comparison"]
    assert taken["place"]["task"]["before"]["verdict"] == "right"
    again = reply(rater, "cast", campaign, code, judgement=said(first, "both_bad"))
    done = reply(rater, "cast", campaign, code, judgement=said(again["place"]["task"]))
    assert (done["place"]["state"], done["place"]["done"], done["place"]["task"]) == ("finished", 2, None)
    past = reply(rater, "history", campaign, code)["past"]
    assert [each["verdict"] for each in past] == ["left", "both_bad"]
    reopened = reply(rater, "reopen", campaign, code, comparison=first["comparison"])["task"]
    assert reopened["before"]["verdict"] == "both_bad"
    edited = reply(rater, "cast", campaign, code, judgement=said(first, "both_good"))
    assert edited["receipt"]["action"] == "edit"
    assert reply(rater, "history", campaign, code)["past"][0]["verdict"] == "both_good"


def test_deleting_leaves_nothing_of_a_rater(rater: Rater, storage: Storage) -> None:
    campaign = studied(storage, 2)
    code, task = begun(rater, campaign)
    reply(rater, "cast", campaign, code, judgement=said(task))
    other, others = begun(rater, campaign)
    reply(rater, "cast", campaign, other, judgement=said(others))
    assert reply(rater, "forget", campaign, code)["forgotten"] == 1
    assert "not known" in reply(rater, "place", campaign, code)["error"]
    assert (counts(storage)["annotators"], counts(storage)["ratings"]) == (1, 1)


def test_what_was_compared_is_judged_apart_and_revealed(rater: Rater, storage: Storage) -> None:
    code = reply(rater, "join")["code"]
    task = reply(rater, "free", "", code)["task"]
    assert {task["left"], task["right"]} == {answer.text for answer in SHOWN.answers}
    kept = reply(rater, "cast", "", code, judgement=said(task))
    assert all(word in json.dumps(kept["receipt"]["reveal"]).lower() for word in SECRETS)
    assert "place" not in kept, "what is next is asked for by the rater"
    assert reply(rater, "free", "", code)["task"] is None, "two answers are one pair"
    with storage.reading() as connection:
        row = connection.execute(select(comparisons)).one()
    assert (row.campaign, row.blind) == (FREE, False)


def test_without_a_comparison_there_is_nothing_to_judge(rater: Rater, storage: Storage) -> None:
    code = reply(rater, "join")["code"]
    told = json.loads(rater.reply({"id": "x", "act": "free", "code": code}, visitor="has compared nothing"))
    assert "on Compare first" in told["error"]
    assert counts(storage)["comparisons"] == 0


# --- blind


def test_nothing_that_is_told_before_the_vote_says_whose_answers_they_are(rater: Rater, storage: Storage) -> None:
    campaign = studied(storage, 3, gold=[GOLD], golds=0.5, repeats=0.3, contenders=CONTENDERS)
    told = [reply(rater, "open", campaign)]
    code, task = begun(rater, campaign)
    while task:
        keys = {"comparison", "number", "total", "prompt", "left", "right", "before"}
        assert set(task) == keys
        told.append(reply(rater, "cast", campaign, code, judgement=said(task)))
        told.append(reply(rater, "history", campaign, code))
        told.append(reply(rater, "reopen", campaign, code, comparison=task["comparison"]))
        task = told[-3]["place"]["task"]
    everything = json.dumps(told).lower()
    assert len(told) > 9
    words = (*SECRETS, "gold", "repeat", "flipped", "tokens", "policy", "generation", "ordinary", "seed")
    assert [word for word in words if word in everything] == []


def test_where_the_campaign_allows_it_the_vote_is_answered_with_whose_they_were(rater: Rater, storage: Storage) -> None:
    campaign = studied(storage, 1, contenders=CONTENDERS, reveal=True)
    code, task = begun(rater, campaign)
    assert not any(word in json.dumps(task).lower() for word in SECRETS)
    reveal = reply(rater, "cast", campaign, code, judgement=said(task))["receipt"]["reveal"]
    assert all(word in json.dumps(reveal).lower() for word in SECRETS)


# --- refused, and nothing changed

ODD: tuple[Any, ...] = (
    None,
    "",
    7,
    True,
    math.nan,
    [],
    {},
    [1],
    {"a": 1},
    "x" * 1_000_000,
    "\x00",
    "\ud800",
    "no such id",
)


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
@pytest.mark.parametrize("field", ["act", "campaign", "code", "judgement", "client_key", "comparison", "id"])
def test_odd_values_get_a_sentence_and_change_nothing(rater: Rater, storage: Storage, field: str, odd: Any) -> None:
    campaign = studied(storage, 2)
    code, _ = begun(rater, campaign)
    before = counts(storage)
    acts = {"judgement": "cast", "client_key": "undo", "comparison": "reopen", "code": "place", "campaign": "undo"}
    message = {"id": "m", "act": acts.get(field, "cast"), "campaign": campaign, "code": code, field: odd}
    told = json.loads(rater.reply(message, "", ""))
    assert told["error"].endswith(".")
    assert "retry" not in told, "what is wrong stays wrong"
    assert counts(storage) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"verdict": "A"},
        {"verdict": None},
        {"comparison": "00000000-0000-0000-0000-000000000000"},
        {"comparison": "\x00"},
        {"comparison": "\ud800"},
        {"client_key": "short"},
        {"client_key": "'; DROP TABLE ratings; --"},
        {"strength": 3},
        {"verdict": "both_bad", "strength": 1},
        {"scales": {"left": {"helpfulness": 9}}},
        {"scales": {"middle": {}}},
        {"scales": {"left": {"beauty": 3}}},
        {"tags": ["not a tag of this campaign"]},
        {"tags": "wrong fact"},
        {"comment": "x" * 1_000_000},
        {"comment": "\x00"},
        {"comment": ["a"]},
        {"seconds": -1},
        {"seconds": "fast"},
        {"flipped": False},
        {"annotator": "somebody"},
    ],
    ids=lambda wrong: str(wrong)[:40],
)
def test_wrong_judgements_get_a_sentence_and_change_nothing(rater: Rater, storage: Storage, wrong: Any) -> None:
    campaign = studied(storage, 2, scales=("helpfulness",))
    code, task = begun(rater, campaign)
    before = counts(storage)
    told = reply(rater, "cast", campaign, code, judgement=said(task) | wrong)
    assert told["error"].endswith(".")
    assert "retry" not in told
    assert counts(storage) == before


def test_another_rater_s_comparison_is_refused_whatever_is_asked(rater: Rater, storage: Storage) -> None:
    campaign = studied(storage, 2)
    _, task = begun(rater, campaign)
    other, _ = begun(rater, campaign)
    before = counts(storage)
    assert "not one of yours" in reply(rater, "cast", campaign, other, judgement=said(task))["error"]
    assert "not one of yours" in reply(rater, "reopen", campaign, other, comparison=task["comparison"])["error"]
    assert counts(storage) == before


def test_a_message_that_comes_twice_is_kept_once(rater: Rater, storage: Storage) -> None:
    campaign = studied(storage, 3)
    code, task = begun(rater, campaign)
    judgement = said(task)
    first = reply(rater, "cast", campaign, code, judgement=judgement)
    again = reply(rater, "cast", campaign, code, judgement=judgement)
    assert first["receipt"] == again["receipt"]
    assert counts(storage)["ratings"] == 1
    assert first["once"] != again["once"], "the browser leaves out a reply that equals the one before it"


def test_a_judgement_out_of_order_is_refused(rater: Rater, storage: Storage) -> None:
    campaign = studied(storage, 4)
    code, _ = begun(rater, campaign)
    with storage.reading() as connection:
        later = connection.scalar(select(comparisons.c.id).where(comparisons.c.number == 3))
    before = counts(storage)
    assert "comes later" in reply(rater, "cast", campaign, code, judgement=said({"comparison": later}))["error"]
    assert counts(storage) == before


@pytest.mark.parametrize("state", ["paused", "closed"])
def test_nothing_is_taken_while_a_campaign_rests(rater: Rater, storage: Storage, state: str) -> None:
    campaign = studied(storage, 2)
    code, task = begun(rater, campaign)
    Office(storage).set_state(campaign, state)
    assert state in reply(rater, "cast", campaign, code, judgement=said(task))["error"]
    assert reply(rater, "place", campaign, code)["place"]["state"] == state
    assert counts(storage)["ratings"] == 0


# --- who


def test_an_account_comes_from_the_server_alone(rater: Rater, storage: Storage) -> None:
    campaign = studied(storage, 2, identity="login")
    forged = {"id": "m1", "act": "join", "campaign": campaign, "login": "ada", "profile": {"username": "ada"}}
    assert "sign in" in json.loads(rater.reply(forged, "", ""))["error"]
    assert counts(storage)["annotators"] == 0
    opened = reply(rater, "open", campaign, login="ada")
    assert (opened["login"], opened["begun"], opened["stranger"]) == ("ada", False, "")
    assert reply(rater, "join", campaign, login="ada")["code"] == ""
    task = reply(rater, "place", campaign, login="ada")["place"]["task"]
    assert "sign in" in reply(rater, "cast", campaign, judgement=said(task))["error"]
    assert reply(rater, "cast", campaign, login="ada", judgement=said(task))["receipt"]["action"] == "vote"
    with storage.reading() as connection:
        assert connection.scalars(select(annotators.c.login)).all() == ["ada"]


def test_who_has_an_account_and_a_code_is_asked_for_what_the_campaign_goes_by(rater: Rater, storage: Storage) -> None:
    by_code, by_login = studied(storage, 2), studied(storage, 2, identity="login")
    code, task = begun(rater, by_code)
    reply(rater, "cast", by_code, code, judgement=said(task))
    reply(rater, "join", by_login, code, "ada")
    assert reply(rater, "open", by_code, code, "ada")["begun"]
    assert not reply(rater, "open", by_login, code, "ada")["begun"]
    assert reply(rater, "forget", by_code, code, "ada")["forgotten"] == 1
    with storage.reading() as connection:
        assert connection.scalars(select(annotators.c.login)).all() == ["ada"]


def test_an_unknown_code_is_told_at_the_door(rater: Rater, storage: Storage) -> None:
    campaign = studied(storage, 2)
    opened = reply(rater, "open", campaign, "AAAA-BBBB")
    assert "not known" in opened["stranger"]
    assert opened["invitation"]["title"] == "A study"


# --- what is not the rater's doing


class Failing:
    """A desk that fails in the same way whatever it is asked."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any, **__: Any) -> None:
            raise self.error

        return fail


@pytest.mark.parametrize("error", [Unavailable("the database is locked: try again in a moment."), KeyError("x")])
def test_a_failure_that_is_ours_asks_the_browser_to_try_again(error: Exception) -> None:
    failing: Any = Failing(error)
    told = reply(Rater(failing, "toy", lambda visitor: None), "place", "c", "code")
    assert told["retry"]
    assert told["error"] in ("the database is locked", "the server failed (KeyError)")


def test_a_receipt_gets_through_though_what_comes_next_cannot_be_read(rater: Rater, storage: Storage) -> None:
    campaign = studied(storage, 2)
    code, task = begun(rater, campaign)

    class Half(Desk):
        def place(self, *_: Any) -> Any:
            raise Unavailable("the database is locked: try again in a moment.")

    half = Rater(Half(storage), "toy", rater.latest)
    told = reply(half, "cast", campaign, code, judgement=said(task))
    assert told["receipt"]["action"] == "vote"
    assert "place" not in told
    assert counts(storage)["ratings"] == 1


def test_a_link_to_a_campaign_opens_the_tab(rater: Rater) -> None:
    def opened(*items: tuple[str, str]) -> Any:
        request: Any = SimpleNamespace(query_params=dict(items))
        return rater.open_link(request)

    assert opened(("rate", "some campaign"))["selected"] == "rate"
    assert opened(("prompt", "What is it?")) == gr.skip()


def test_ratings_are_told_of_by_their_comparison_alone(rater: Rater, storage: Storage) -> None:
    campaign = studied(storage, 1)
    code, task = begun(rater, campaign)
    told = json.dumps(reply(rater, "cast", campaign, code, judgement=said(task)))
    with storage.reading() as connection:
        row = connection.execute(select(ratings)).one()
    assert row.id not in told
    assert row.annotator not in told


# --- the page's own texts


@pytest.mark.parametrize("file", sorted((ASSETS / "rate").glob("*.js")), ids=lambda file: file.name)
def test_the_script_writes_no_html(file: Path) -> None:
    script = file.read_text(encoding="utf-8")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert way not in script


def test_the_skeleton_names_no_value() -> None:
    assert not any(mark in SKELETON for mark in ("{{", "${", "`")), "gradio would run it as a template"

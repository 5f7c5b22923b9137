"""What raters do: blind, kept once, checked at every write, and theirs alone."""

import dataclasses
from typing import Any

import pytest
from sqlalchemy import select
from studied import GOLD, answer_all, counts, key, plan_of, rated, studied, vote

from eft_core.config import Limits, Sampling
from eft_core.policy import plain, tuned
from eft_core.ratings.desk import Desk
from eft_core.ratings.free import Said, Shown
from eft_core.ratings.judgement import Judgement
from eft_core.ratings.office import Office
from eft_core.ratings.records import votes
from eft_core.ratings.studies import Who, digest_of, new_code
from eft_core.schema import annotators, comparisons, generations, ratings
from eft_core.storage import Storage


@pytest.fixture
def desk(storage: Storage) -> Desk:
    return Desk(storage)


def task_of(desk: Desk, campaign: str, who: Who) -> Any:
    task = desk.place(campaign, who).task
    assert task is not None
    return task


# --- who


def test_a_code_is_kept_as_its_digest_alone(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage)
    code = desk.join(campaign)
    with storage.reading() as connection:
        row = connection.execute(select(annotators)).mappings().one()
    assert code not in str(dict(row))
    assert row["code_digest"] == digest_of(code)


def test_a_code_may_be_typed_as_people_type() -> None:
    code = new_code()
    assert len({new_code() for _ in range(100)}) == 100
    assert digest_of(code) == digest_of(code.lower().replace("-", " ")) == digest_of(f" {code} ")
    assert digest_of("O1-L") == digest_of("01-1") == digest_of("oil")
    assert digest_of(code) != digest_of(code[:-1])


@pytest.mark.parametrize("code", ["", "AAAA-BBBB", None, 7, "x" * 10_000, "\x00", ["a"], {"code": 1}])
def test_other_codes_are_refused(storage: Storage, desk: Desk, code: Any) -> None:
    campaign = studied(storage)
    before = counts(storage)
    with pytest.raises(ValueError, match="code"):
        desk.place(campaign, Who(code))
    assert counts(storage) == before


@pytest.mark.parametrize("campaign", ["", "nothing", None, 7, "x" * 10_000, "a\x00b", "'; DROP TABLE ratings; --"])
def test_other_campaigns_are_refused(storage: Storage, desk: Desk, campaign: Any) -> None:
    studied(storage)
    with pytest.raises(ValueError, match="no such campaign"):
        desk.invitation(campaign)


def test_a_campaign_with_login_knows_people_by_their_account_alone(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage, identity="login")
    with pytest.raises(ValueError, match="sign in"):
        desk.join(campaign)
    assert desk.join(campaign, "ada") == ""
    assert desk.join(campaign, "ada") == "", "coming back is no second annotator"
    assert counts(storage)["annotators"] == 1
    task = task_of(desk, campaign, Who(login="ada"))
    other = Who(desk.join(studied(storage)))
    with pytest.raises(ValueError, match="sign in"):
        desk.cast(campaign, other, Judgement(task.comparison, key(), "left"))
    with pytest.raises(ValueError, match="press Start"):
        desk.place(campaign, Who(login="bob"))
    assert vote(desk, campaign, Who(login="ada")).action == "vote"


# --- blind


def test_a_task_says_nothing_of_whose_answers_they_are(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage, reveal=False)
    who = Who(desk.join(campaign))
    with storage.reading() as connection:
        ids = set(connection.scalars(select(generations.c.id)))
    while (task := desk.place(campaign, who).task) is not None:
        said = str(dataclasses.asdict(task))
        assert not any(each in said for each in ids)
        assert not any(word in said for word in ("large", "small", "helpful", "tuned", "base", "flipped"))
        receipt = desk.cast(campaign, who, Judgement(task.comparison, key(), "left"))
        assert receipt.reveal is None


def test_sides_are_those_that_are_stored_and_differ_between_raters(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage, count=8, target=4)
    raters = [Who(desk.join(campaign)) for _ in range(4)]
    shown: dict[str, tuple[str, str]] = {}
    for who in raters:
        while (task := desk.place(campaign, who).task) is not None:
            shown[task.comparison] = task.left, task.right
            desk.cast(campaign, who, Judgement(task.comparison, key(), "right"))
    with storage.reading() as connection:
        texts = dict(connection.execute(select(generations.c.id, generations.c.text)).all())
        rows = connection.execute(select(comparisons)).all()
    sides: dict[tuple[str, str], set[bool]] = {}
    for row in rows:
        pair = (texts[row.second], texts[row.first]) if row.flipped else (texts[row.first], texts[row.second])
        assert shown[row.id] == pair
        assert row.flipped == bool(row.order_seed & 1)
        sides.setdefault((row.first, row.second), set()).add(row.flipped)
    # 24 pairs by 4 raters each: all on one side with chance 1/8 a pair; all 24 so, never
    assert sum(len(each) == 2 for each in sides.values()) > 6


def test_who_it_was_is_told_after_the_vote_where_the_campaign_says_so(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage, reveal=True)
    who = Who(desk.join(campaign))
    task = task_of(desk, campaign, who)
    receipt = desk.cast(campaign, who, Judgement(task.comparison, key(), "left"))
    assert receipt.reveal is not None
    labels = {"a": "large base", "b": "small tuned", "c": "up-scaled"}
    assert receipt.reveal.left.startswith(labels[task.left.removeprefix("Answer ")[0]])
    assert receipt.reveal.right.startswith(labels[task.right.removeprefix("Answer ")[0]])


def test_a_judgement_after_the_reveal_is_not_blind(storage: Storage, desk: Desk) -> None:
    for reveal in (True, False):
        campaign = studied(storage, reveal=reveal)
        who = Who(desk.join(campaign))
        first = vote(desk, campaign, who)
        assert votes(storage, [campaign]).table["blind"].tolist() == [True]
        desk.cast(campaign, who, Judgement(first.comparison, key(), "right"))
        assert votes(storage, [campaign]).table["blind"].tolist() == [not reveal]


# --- kept


def test_the_same_comparison_is_shown_until_it_is_judged(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage)
    who = Who(desk.join(campaign))
    first = task_of(desk, campaign, who)
    assert task_of(Desk(storage), campaign, who) == first, "another server, another device"
    vote(desk, campaign, who)
    assert task_of(desk, campaign, who).comparison != first.comparison


def test_sent_twice_is_kept_once(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage)
    who = Who(desk.join(campaign))
    judgement = Judgement(task_of(desk, campaign, who).comparison, key(), "left", 2, {}, ("unsafe",), "why", 4.5)
    first = desk.cast(campaign, who, judgement)
    again = desk.cast(campaign, who, judgement)
    assert dataclasses.replace(again, repeated=False) == first
    assert again.repeated
    assert counts(storage)["ratings"] == 1


def test_an_edit_supersedes_and_a_late_replay_changes_nothing(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage)
    who = Who(desk.join(campaign))
    comparison = task_of(desk, campaign, who).comparison
    first = Judgement(comparison, key(), "left")
    desk.cast(campaign, who, first)
    assert desk.cast(campaign, who, Judgement(comparison, key(), "both_bad")).action == "edit"
    assert desk.cast(campaign, who, first).repeated
    assert votes(storage).table["verdict"].tolist() == ["both_bad"]
    with storage.reading() as connection:
        rows = connection.execute(select(ratings).order_by(ratings.c.turn)).all()
    assert [(row.turn, row.action, row.verdict) for row in rows] == [(1, "vote", "left"), (2, "edit", "both_bad")]
    assert rows[1].supersedes == rows[0].id


def test_undo_is_a_row_and_brings_the_comparison_back_with_what_was_said(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage)
    who = Who(desk.join(campaign))
    vote(desk, campaign, who)
    said = vote(desk, campaign, who, "right", strength=1, tags=("rambles",), comment="long")
    undone = key()
    assert desk.undo(campaign, who, undone).comparison == said.comparison
    assert desk.undo(campaign, who, undone).repeated, "sent twice, it takes back one"
    assert len(votes(storage)) == 1
    task = task_of(desk, campaign, who)
    assert task.comparison == said.comparison
    assert (task.before.verdict, task.before.strength, task.before.tags, task.before.comment) == (
        "right",
        1,
        ("rambles",),
        "long",
    )
    assert vote(desk, campaign, who, "left").action == "vote"
    assert len(votes(storage)) == 2
    assert counts(storage)["ratings"] == 4


def test_undo_takes_back_the_latest_even_if_it_was_an_edit_of_an_early_one(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage)
    who = Who(desk.join(campaign))
    early = vote(desk, campaign, who)
    vote(desk, campaign, who)
    desk.cast(campaign, who, Judgement(early.comparison, key(), "right"))
    assert desk.undo(campaign, who, key()).comparison == early.comparison


def test_history_is_ones_own_latest_first_and_opens_again(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage)
    who, other = Who(desk.join(campaign)), Who(desk.join(campaign))
    made = [vote(desk, campaign, who, verdict) for verdict in ("left", "unsure", "both_good")]
    vote(desk, campaign, other)
    past = desk.history(campaign, who)
    assert [each.verdict for each in past] == ["both_good", "unsure", "left"]
    assert desk.reopen(campaign, who, made[1].comparison).before.verdict == "unsure"  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="not one of yours"):
        desk.reopen(campaign, other, made[1].comparison)
    assert len(desk.history(campaign, who, 2)) == 2


def test_time_to_decide_and_scales_are_kept_by_answer(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage, scales=("helpfulness", "harmlessness"))
    who = Who(desk.join(campaign))
    task = task_of(desk, campaign, who)
    marks = {"left": {"helpfulness": 5}, "right": {"helpfulness": 2, "harmlessness": 1}}
    desk.cast(campaign, who, Judgement(task.comparison, key(), "left", None, marks, seconds=12.5))
    row = votes(storage).table.iloc[0]
    with storage.reading() as connection:
        flipped = connection.scalar(select(comparisons.c.flipped).where(comparisons.c.id == task.comparison))
    left, right = ("second", "first") if flipped else ("first", "second")
    assert row["seconds"] == 12.5
    assert (row[f"{left}_helpfulness"], row[f"{right}_helpfulness"], row[f"{right}_harmlessness"]) == (5, 2, 1)
    assert row["outcome"] == left
    assert row[f"{left}_factuality"] != row[f"{left}_factuality"]


# --- refused, and nothing changes


def refused(storage: Storage, match: str, ask: Any) -> None:
    before = counts(storage)
    with pytest.raises(ValueError, match=match):
        ask()
    assert counts(storage) == before


def test_anothers_comparison_is_refused(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage)
    who, other = Who(desk.join(campaign)), Who(desk.join(campaign))
    task = task_of(desk, campaign, who)
    task_of(desk, campaign, other)
    refused(storage, "not one of yours", lambda: desk.cast(campaign, other, Judgement(task.comparison, key(), "left")))
    elsewhere = studied(storage)
    refused(storage, "not one of yours", lambda: desk.cast(elsewhere, who, Judgement(task.comparison, key(), "left")))
    refused(storage, "not one of yours", lambda: desk.cast(campaign, who, Judgement("nothing", key(), "left")))


def test_a_comparison_that_comes_later_is_refused(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage)
    who = Who(desk.join(campaign))
    task_of(desk, campaign, who)
    with storage.reading() as connection:
        later = connection.scalars(select(comparisons.c.id).where(comparisons.c.number == 3)).one()
    refused(storage, "comes later", lambda: desk.cast(campaign, who, Judgement(later, key(), "left")))
    refused(storage, "not judged yet", lambda: desk.reopen(campaign, who, later))


def test_a_key_serves_one_write(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage)
    who = Who(desk.join(campaign))
    first = vote(desk, campaign, who)
    task = task_of(desk, campaign, who)
    refused(
        storage,
        "another comparison",
        lambda: desk.cast(campaign, who, Judgement(task.comparison, first.client_key, "left")),
    )


@pytest.mark.parametrize(("state_now", "words"), [("paused", "is paused"), ("closed", "is closed")])
def test_no_votes_while_a_campaign_is_not_running(storage: Storage, desk: Desk, state_now: str, words: str) -> None:
    campaign = studied(storage)
    who = Who(desk.join(campaign))
    vote(desk, campaign, who)
    task = task_of(desk, campaign, who)
    Office(storage).set_state(campaign, state_now)
    assert desk.place(campaign, who).state == state_now
    refused(storage, words, lambda: desk.cast(campaign, who, Judgement(task.comparison, key(), "left")))
    refused(storage, words, lambda: desk.undo(campaign, who, key()))
    Office(storage).set_state(campaign, "running")
    assert vote(desk, campaign, who).action == "vote"


def test_what_was_not_asked_is_refused(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage, strength=False, comment=False, tags=())
    who = Who(desk.join(campaign))
    task = task_of(desk, campaign, who)
    for said in ({"strength": 1}, {"comment": "x"}, {"tags": ("unsafe",)}, {"scales": {"left": {"factuality": 3}}}):
        made = Judgement(task.comparison, key(), "left", **said)
        refused(storage, "was not asked", lambda made=made: desk.cast(campaign, who, made))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"verdict": "A"}, "verdict must be"),
        ({"client_key": "short"}, "client_key"),
        ({"client_key": "'; DROP TABLE ratings; --"}, "client_key"),
        ({"strength": 3}, "strength"),
        ({"strength": 1, "verdict": "both_good"}, "needs a better side"),
        ({"scales": {"middle": {}}}, "scales must be"),
        ({"scales": {"left": {"beauty": 3}}}, "scales of a side"),
        ({"scales": {"left": {"factuality": 6}}}, "factuality"),
        ({"scales": {"left": {"factuality": 2.5}}}, "whole number"),
        ({"tags": "unsafe"}, "tags must be"),
        ({"tags": ["x" * 41]}, "40"),
        ({"comment": "x" * 1_000_000}, "shorten it"),
        ({"comment": "a\x00b"}, "cannot be kept"),
        ({"comment": "\ud800"}, "cannot be kept"),
        ({"comment": 7}, "must be a text"),
        ({"seconds": -1}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"colour": "red"}, "unknown key colour"),
        ({"comparison": 7}, "must be a text"),
        ({"comparison": "a\x00b"}, "cannot be kept"),
        ({"verdict": None}, "needs comparison"),
    ],
)
def test_odd_judgements_are_refused_with_advice(changed: dict[str, Any], words: str) -> None:
    sent = {"comparison": "c", "client_key": "12345678", "verdict": "left"} | changed
    with pytest.raises(ValueError, match=words):
        Judgement.of(sent)


@pytest.mark.parametrize("sent", [None, [], "left", 7, {}, {"verdict": "left"}])
def test_what_is_no_judgement_is_refused(sent: Any) -> None:
    with pytest.raises(ValueError, match="needs comparison"):
        Judgement.of(sent)


# --- until the end


def test_a_rater_waits_while_answers_are_written_and_goes_on_when_they_are_there(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage, answered=False)
    who = Who(desk.join(campaign))
    assert desk.place(campaign, who).state == "waiting"
    answer_all(storage, campaign, plan_of())
    assert desk.place(campaign, who).state == "task"


def test_equal_answers_are_never_asked_about(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage, count=1)
    with storage.writing() as writer:
        writer.connection.execute(generations.update().values(text="The same."))
    assert desk.place(campaign, Who(desk.join(campaign))).state == "finished"


def test_all_is_judged_as_often_as_the_plan_says(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage, count=5, gold=[GOLD], target=2, golds=0.2, repeats=0.2)
    raters = rated(storage, campaign, 3)
    table = votes(storage).table
    ordinary = table[table["kind"] == "ordinary"]
    assert set(ordinary.groupby(["first", "second", "item"]).size()) == {2}
    assert {"ordinary", "repeat", "gold"} >= set(table["kind"])
    assert desk.place(campaign, raters[0]).state == "finished"
    assert all(row["judged"] == row["wanted"] == 10 for row in Office(storage).by_pair(campaign))


def test_forgetting_deletes_all_of_one_annotator_and_nothing_of_others(storage: Storage, desk: Desk) -> None:
    campaign = studied(storage, target=2)
    one, other = rated(storage, campaign, 2)
    count = len(desk.history(campaign, other, 1000))
    assert desk.forget(one) == 12
    assert len(desk.history(campaign, other, 1000)) == count == len(votes(storage))
    with pytest.raises(ValueError, match="not known here"):
        desk.place(campaign, one)
    assert counts(storage)["annotators"] == 1


# --- free


def shown(run: str = "run1", *texts: str) -> Shown:
    policies = (plain("large"), tuned("helpful", "small"), tuned("helpful", "large"))
    answers = [
        Said(policy.formula(), policy, text, (1, 2), "end", {}, {})
        for policy, text in zip(policies, texts or ("One.", "Two.", "Three."), strict=True)
    ]
    return Shown(run, "llama", "Which?", Sampling(), Limits(), tuple(answers))


def test_free_comparisons_go_through_all_pairs_and_are_kept_apart(storage: Storage, desk: Desk) -> None:
    free = desk.open_free("llama")
    who = Who(desk.join(free))
    pairs = set()
    while (task := desk.free(who, shown())) is not None:
        assert desk.free(who, shown()) == task, "the same pair until it is judged"
        pairs.add(frozenset((task.left, task.right)))
        receipt = desk.cast(free, who, Judgement(task.comparison, key(), "left"))
        assert receipt.reveal is not None
    assert len(pairs) == 3
    assert votes(storage).table["blind"].tolist() == [False] * 3
    assert desk.undo(free, who, key()).action == "undo"


def test_an_earlier_free_comparison_that_was_left_blocks_nothing(storage: Storage, desk: Desk) -> None:
    free = desk.open_free("llama")
    who = Who(desk.join(free))
    desk.free(who, shown("run1"))
    task = desk.free(who, shown("run2"))
    assert task is not None
    desk.cast(free, who, Judgement(task.comparison, key(), "both_bad"))
    assert len(votes(storage)) == 1


def test_answers_that_are_all_the_same_leave_nothing_to_judge(storage: Storage, desk: Desk) -> None:
    who = Who(desk.join(desk.open_free("llama")))
    with pytest.raises(ValueError, match="all answers of your comparison are the same"):
        desk.free(who, shown("run", "Same.", "Same.", "Same."))


def test_forgetting_deletes_the_prompts_of_free_comparisons_too(storage: Storage, desk: Desk) -> None:
    free = desk.open_free("llama")
    who = Who(desk.join(free))
    task = desk.free(who, shown())
    assert task is not None
    desk.cast(free, who, Judgement(task.comparison, key(), "left"))
    desk.forget(who)
    assert {name: count for name, count in counts(storage).items() if count} == {"campaigns": 1}

"""What organisers do: campaigns from files, their state, progress, and votes taken out with a reason."""

import json
from pathlib import Path
from typing import Any

import pytest
from studied import CONTENDERS, GOLD, key, plan_of, prompts, rated, studied, vote

from eft_core.config import Limits, Sampling
from eft_core.policy import plain, tuned
from eft_core.ratings.answers import rated_answers
from eft_core.ratings.campaign import Contender, Plan
from eft_core.ratings.desk import Desk
from eft_core.ratings.judgement import Judgement
from eft_core.ratings.office import Office
from eft_core.ratings.prompts import MOST_PROMPT, Prompt, prompts_of
from eft_core.ratings.records import votes
from eft_core.ratings.studies import Who, free_campaign
from eft_core.schema import now
from eft_core.storage import Storage

# --- plans


def test_a_plan_goes_to_json_and_back() -> None:
    plan = plan_of(
        pairs=((1, 0), (1, 2)),
        sampling=Sampling(0.7, 20, 0.9, 5),
        limits=Limits(50, ("\n",)),
        scales=("harmlessness", "helpfulness"),
        per_annotator=40,
        repeats=0.1,
        golds=0.05,
        overlap=0.3,
    )
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert plan.pairs == ((0, 1), (1, 2))
    assert plan.scales == ("helpfulness", "harmlessness")


def test_every_pair_meets_unless_the_plan_says_which() -> None:
    assert plan_of().pairs == ((0, 1), (0, 2), (1, 2))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"title": " "}, "title"),
        ({"contenders": CONTENDERS[:1]}, "2 to 12 policies"),
        ({"contenders": (CONTENDERS[0], Contender("again", plain("large")))}, "policies are equal"),
        ({"contenders": (CONTENDERS[0], Contender("large base", plain("small")))}, "labels are equal"),
        ({"pairs": ((0, 0),)}, "two different policies"),
        ({"pairs": ((0, 3),)}, "0 to 2"),
        ({"target": 0}, "target"),
        ({"overlap": 1.5}, "overlap"),
        ({"repeats": 0.9}, "repeats"),
        ({"per_annotator": 0}, "per_annotator"),
        ({"identity": "email"}, "identity"),
        ({"publish": "now"}, "publish"),
        ({"scales": ("beauty",)}, "scales are"),
        ({"tags": ("x" * 41,)}, "tags are"),
        ({"guidelines": "x" * 8001}, "8,000"),
        ({"seed": -1}, "seed"),
    ],
)
def test_plans_that_cannot_be_are_refused_with_advice(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plan_of(**changes)


@pytest.mark.parametrize("values", [{}, {"contenders": []}, {"contenders": [{"label": "a"}]}])
def test_what_is_no_plan_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no campaign's plan"):
        Plan.from_dict(values)


# --- prompts


def test_prompts_come_from_csv_and_jsonl_with_gold_items(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text('id,prompt,better,worse\nk1,"What, then?",,\n,What is 2 + 2?,Four.,Five.\n', encoding="utf-8")
    lines = tmp_path / "a.jsonl"
    rows = [{"id": "k1", "prompt": "What, then?"}, {"prompt": "What is 2 + 2?", "better": "Four.", "worse": "Five."}]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    first, second = prompts_of(table)
    assert (first, second.prompt, second.gold) == (
        Prompt("k1", "What, then?"),
        "What is 2 + 2?",
        {"better": "Four.", "worse": "Five."},
    )
    assert [each.prompt for each in prompts_of(lines)] == [first.prompt, second.prompt]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "question\nWhat?\n", "no column prompt"),
        ("a.csv", "prompt\n\n", "no prompts"),
        ("a.jsonl", '{"prompt": ""}\n', "line 1 .*empty"),
        ("a.jsonl", '{"prompt": "ok"}\n{"prompt": 7}\n', "line 2 .*must be a text"),
        ("a.jsonl", '{"prompt": "ok", "better": "x"}\n', "gold item needs two"),
        ("a.jsonl", '{"prompt": "ok", "better": "x", "worse": "x"}\n', "gold item needs two"),
        ("a.jsonl", json.dumps({"prompt": "x" * (MOST_PROMPT + 1)}), "shorten it"),
        ("a.txt", "What?", "neither .jsonl nor .csv"),
    ],
)
def test_files_that_are_none_are_refused_by_line(tmp_path: Path, name: str, text: str, words: str) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        prompts_of(file)


def test_hostile_prompts_are_texts_like_any(storage: Storage) -> None:
    hostile = [
        "'; DROP TABLE ratings; --",
        "<script>alert(1)</script>",
        "=HYPERLINK(1)",
        "${1}{{x}}",
        "%s %(x)s :x ?",
    ]
    plan = plan_of()
    campaign = Office(storage).create(plan, [Prompt(text, text) for text in hostile])
    from studied import answer_all

    answer_all(storage, campaign, plan)
    desk = Desk(storage)
    who = Who(desk.join(campaign))
    seen = set()
    while (task := desk.place(campaign, who).task) is not None:
        seen.add(task.prompt)
        vote(desk, campaign, who, comment="'); DELETE FROM ratings; --")
    assert seen == set(hostile)
    assert len(votes(storage)) == 15


# --- campaigns


def test_gold_items_are_asked_for_only_where_there_are_some(storage: Storage) -> None:
    office = Office(storage)
    with pytest.raises(ValueError, match="no prompt is a gold item"):
        office.create(plan_of(golds=0.1), prompts(2))
    with pytest.raises(ValueError, match="no gold item"):
        office.create(plan_of(), [GOLD])


def test_a_campaign_tells_how_far_it_is(storage: Storage) -> None:
    office = Office(storage)
    studied(storage, count=3, answered=False)
    campaign = studied(storage, count=4, title="Second", target=2)
    rated(storage, campaign, 1)
    second, first = office.campaigns()
    assert (first.answers_ready, first.answers_wanted, first.judgements) == (0, 9, 0)
    assert (second.title, second.answers_ready, second.judgements, second.wanted) == ("Second", 12, 12, 24)
    assert [row["judged"] for row in office.by_pair(campaign)] == [4, 4, 4]
    (row,) = office.by_annotator(campaign)
    assert (row["judged"], row["excluded"], row["median_seconds"]) == (12, "", 8.5)


def test_states_follow_one_another_and_others_are_refused(storage: Storage) -> None:
    office, campaign = Office(storage), studied(storage)
    for state in ("paused", "running", "closed"):
        office.set_state(campaign, state)
        assert office.campaigns()[0].state == state
    with pytest.raises(ValueError, match="running, paused, closed"):
        office.set_state(campaign, "deleted")
    with pytest.raises(ValueError, match="no such campaign"):
        office.set_state("nothing", "paused")
    Desk(storage).open_free("llama")
    with pytest.raises(ValueError, match="always open"):
        office.set_state(free_campaign("llama"), "closed")


def test_votes_that_are_taken_out_are_kept_marked_and_come_back(storage: Storage) -> None:
    office, campaign = Office(storage), studied(storage, target=2)
    rated(storage, campaign, 2)
    first = office.by_annotator(campaign)[0]["annotator"]
    with pytest.raises(ValueError, match="say why"):
        office.exclude(campaign, first, "  ")
    with pytest.raises(ValueError, match="no such annotator"):
        office.exclude(campaign, "nobody", "because")
    office.exclude(campaign, first, "always left")
    office.exclude(campaign, first, "twice is once")
    marked = votes(storage).table
    assert len(marked) == 24
    assert set(marked[marked["excluded"]]["annotator"]) == {first}
    assert next(row for row in office.by_annotator(campaign) if row["annotator"] == first)["excluded"] == "always left"
    assert office.campaigns()[0].judgements == 12
    office.include(campaign, first)
    assert not votes(storage).table["excluded"].any()
    assert office.campaigns()[0].judgements == 24


def test_pairs_of_an_excluded_annotator_are_judged_again(storage: Storage) -> None:
    office, campaign = Office(storage), studied(storage, target=1)
    rated(storage, campaign, 1)
    desk = Desk(storage)
    late = Who(desk.join(campaign))
    assert desk.place(campaign, late).state == "finished"
    office.exclude(campaign, office.by_annotator(campaign)[0]["annotator"], "a bot")
    assert desk.place(campaign, late).state == "task"


# --- what statistics read


def test_votes_are_those_that_stand_with_whose_answers_they_are(storage: Storage) -> None:
    campaign = studied(storage, count=5, gold=[GOLD], golds=0.4, repeats=0.3, target=2)
    rated(storage, campaign, 2)
    found = votes(storage)
    labels = found.policies["label"]
    ordinary = found.table[found.table["kind"] != "gold"]
    assert set(ordinary["first"].map(labels)) | set(ordinary["second"].map(labels)) == {
        each.label for each in CONTENDERS
    }
    gold = found.table[found.table["kind"] == "gold"]
    assert set(gold["first"]) | set(gold["second"]) <= {""}
    sided = found.table[found.table["verdict"].isin(["left", "right"])]
    assert sided["outcome"].isin(["first", "second"]).all()
    lengths = dict(zip((each.label for each in CONTENDERS), (3, 4, 5), strict=True))
    assert (ordinary["first"].map(labels).map(lengths) == ordinary["first_tokens"]).all()


def test_one_campaign_can_be_read_alone_and_an_empty_database_has_no_votes(storage: Storage) -> None:
    assert len(votes(storage)) == 0
    one, other = studied(storage, count=2, target=1), studied(storage, count=3, target=1)
    rated(storage, one, 1)
    rated(storage, other, 1)
    assert len(votes(storage, [one])) == 6
    assert len(votes(storage)) == 15
    assert len(votes(storage, [])) == 0


def test_the_same_policy_under_other_sampling_is_another(storage: Storage) -> None:
    from sqlalchemy import update

    from eft_core.schema import generations

    campaign = studied(storage, count=2, target=1, contenders=CONTENDERS[:2])
    rated(storage, campaign, 1)
    assert len(votes(storage).policies) == 2
    with storage.writing() as writer:
        warm = {"temperature": 1.0, "seed": 0}
        place = generations.c.place == 1
        writer.connection.execute(update(generations).where(place).values(sampling=warm))
        writer.connection.execute(
            update(generations).where(generations.c.place == 0).values(sampling={"seed": 9, "temperature": 0.0})
        )
    assert len(votes(storage).policies) == 2, "a seed makes no other policy"
    assert votes(storage).policies["behaviours"].tolist() == ["", "helpful"]
    assert tuned("helpful", "small").formula() in set(votes(storage).policies["formula"])


def test_any_past_state_can_be_read_again(storage: Storage) -> None:
    campaign, office = studied(storage), Office(storage)
    desk = Desk(storage)
    who = Who(desk.join(campaign))
    states = []

    def note() -> None:
        found = votes(storage).table
        states.append((now(), found["verdict"].tolist(), found["excluded"].tolist()))

    note()
    first = vote(desk, campaign, who, "left")
    note()
    desk.cast(campaign, who, Judgement(first.comparison, key(), "both_bad"))
    note()
    vote(desk, campaign, who, "right")
    note()
    desk.undo(campaign, who, key())
    office.exclude(campaign, office.by_annotator(campaign)[0]["annotator"], "why not")
    note()
    office.include(campaign, office.by_annotator(campaign)[0]["annotator"])
    note()
    for at, verdicts, excluded in states:
        found = votes(storage, until=at).table
        assert (found["verdict"].tolist(), found["excluded"].tolist()) == (verdicts, excluded)
    assert [state[1] for state in states] == [
        [],
        ["left"],
        ["both_bad"],
        ["both_bad", "right"],
        ["both_bad"],
        ["both_bad"],
    ]


def test_rated_answers_are_those_whose_results_are_open_as_they_were_drawn(storage: Storage) -> None:
    campaign = studied(storage, count=3, gold=[GOLD], golds=0.5)
    who = Who(Desk(storage).join(campaign))
    while Desk(storage).place(campaign, who).state == "task":
        vote(Desk(storage), campaign, who)
    found = rated_answers(storage, "llama", [campaign])
    assert len(found) == 9, "each of three to three prompts, and no gold item: no policy wrote those"
    assert {each.judgements for each in found} == {2}
    assert {each.label: len(each.token_ids) for each in found} == {"large base": 3, "small tuned": 4, "up-scaled": 5}
    assert rated_answers(storage, "llama", [campaign], found[4].id) == [found[4]]
    assert rated_answers(storage, "llama", [], found[4].id) == []
    assert rated_answers(storage, "atlas", [campaign]) == []
    Desk(storage).undo(campaign, who, key())
    assert sum(each.judgements for each in rated_answers(storage, "llama", [campaign])) in (16, 18)

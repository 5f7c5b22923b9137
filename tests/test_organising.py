"""The organiser's page without a browser: the form as a plan, what it costs, every handler behind the gate, exports."""

import asyncio
import dataclasses
import io
import json
import sqlite3
import uuid
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pandas as pd
import pytest
from organise_server import PASSWORD, storage_of
from serving import HOSTILE
from studied import GOLD, prompts, rated, studied

from components import gate as gate_module
from components import organise_export
from components.gate import Gate, Pass
from components.organise_export import forms, wishes_of
from components.organise_fields import SAMPLE, fields
from components.organise_form import MAX_SEED, Draft, Form, cost
from components.organise_lines import campaign_values
from components.organise_tab import CAMPAIGNS, DRAFT, HEAD, organise_page
from components.organising import Organiser
from eft_core.families import family_named
from eft_core.family import default_columns
from eft_core.policy import Policy
from eft_core.ratings.campaign import GUIDELINES, Plan
from eft_core.ratings.forms import FORMS
from eft_core.ratings.office import Office
from eft_core.ratings.prompts import Prompt, prompts_of
from eft_core.storage import Storage

FORM = Form(family_named("atlas"), logins=False)
DRAFT_GIVEN = Draft(
    title="Which answer is better?",
    guidelines=GUIDELINES,
    presets=[label for label, _ in default_columns(FORM.family)],
    written="",
    meeting="all",
    pairs="",
    temperature=0,
    seed=0,
    length=80,
    target=3,
    overlap=100,
    per_annotator=0,
    repeats=5,
    golds=0,
    strength=True,
    scales=[],
    tags="wrong fact, rambles",
    comment=True,
    identity="code",
    publish="closed",
    reveal=False,
)
FOREVER = Pass(float("inf"))


def given(**changes: Any) -> Draft:
    return dataclasses.replace(DRAFT_GIVEN, **changes)


def controls(draft: Draft = DRAFT_GIVEN) -> list[Any]:
    return [getattr(draft, each.name) for each in dataclasses.fields(draft)]


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = storage_of(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def organiser(storage: Storage) -> Organiser:
    return Organiser(Office(storage), Gate(PASSWORD, ()), FORM)


def event(**data: Any) -> Any:
    return gr.EventData(None, data)


def told(update: Any, prop: str) -> dict[str, Any]:
    """What a handler put into a property of a component."""
    text = getattr(update, prop, None) or update.props.get(prop) if isinstance(update, gr.HTML) else update
    return json.loads(text) if text else {}


def built(fill: Any) -> Any:
    """What `fill` makes of a page. gradio wants a loop for its locks; without one it leaves its own open."""

    async def made() -> Any:
        with gr.Blocks(analytics_enabled=False) as page:
            return fill(page)

    return asyncio.run(made())


# --- the form


def test_the_controls_stand_in_the_order_of_a_draft() -> None:
    made = built(lambda page: fields(FORM).controls)
    labels = [
        *("Title", "Guidelines", "Compared", "One a line", "Pairs", "Which, by the policies' numbers"),
        *("Temperature", "Seed", "Length", "Ratings", "Overlap, %", "A rater's share", "Repeats, %", "Gold items, %"),
        *("How much better, slightly or clearly", "From 1 to 5, each answer", "Tags", "A comment"),
        *("Raters", "Results are public", "Raters see after each vote whose answers they were"),
    ]
    assert [control.label for control in made] == labels
    assert len(labels) == len(dataclasses.fields(Draft))
    plan = FORM.untitled(Draft(*(control.value for control in made)))
    assert [each.policy for each in plan.contenders] == [policy for _, policy in default_columns(FORM.family)]
    assert plan.golds == 0.0


def test_a_draft_is_the_plan_that_it_describes() -> None:
    plan = FORM.plan(
        given(
            written='\nconfident = {"pretrain": "large", "finetune": "small", "behaviours": {"helpful": 1.5}}\n',
            presets=["Small base", "Large base"],
            meeting="listed",
            pairs="1-3, 3-2",
            temperature=0.7,
            seed=7,
            overlap=40,
            per_annotator=25,
            golds=10,
            scales=["factuality", "helpfulness"],
            tags=" too   long ,, rude,rude",
            reveal=True,
            publish="never",
        )
    )
    assert [each.label for each in plan.contenders] == ["Large base", "Small base", "confident"]
    assert plan.contenders[2].policy == Policy("large", "small", {"helpful": 1.5})
    assert plan.pairs == ((0, 2), (1, 2))
    assert (plan.sampling.temperature, plan.sampling.seed, plan.seed) == (0.7, 7, 7)
    assert (plan.overlap, plan.golds, plan.repeats, plan.per_annotator) == (0.4, 0.1, 0.05, 25)
    assert plan.scales == ("helpfulness", "factuality")
    assert plan.tags == ("too long", "rude")
    assert (plan.reveal, plan.publish, plan.title) == (True, "never", "Which answer is better?")


def test_pairs_are_all_or_each_against_the_first() -> None:
    assert FORM.plan(given()).pairs == ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
    assert FORM.plan(given(meeting="first")).pairs == ((0, 1), (0, 2), (0, 3))


def test_every_preset_can_be_run_and_no_two_are_alike() -> None:
    presets = FORM.presets()
    assert len(set(presets.values())) == len(presets) > len(FORM.family.checkpoints)
    for policy in presets.values():
        FORM.family.check(policy)


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("base", 'line 1 of your own policies: it is no policy: write label = {"pretrain": "large"}'),
        ('\n = {"pretrain": "large"}', "line 2 .* no policy"),
        ("a = {pretrain}", "line 1 .* no JSON"),
        ("a = " + "[" * 10_000, "line 1 .* no JSON"),
        ('a = ["large"]', "line 1 .* a policy is an object"),
        ('a = {"pretrain": "huge"}', "line 1 .* no size 'huge'"),
        ('a = {"pretrain": "large", "finetune": "small", "behaviours": {"rude": 1}}', "line 1 .* no behaviour 'rude'"),
        ('a = {"pretrain": "large", "finetune": "small", "behaviours": {"helpful": -1}}', "line 1 .* refused"),
        ('a = {"pretrain": "large", "temperature": 1}', "line 1 .* unknown policy key"),
        (f'{"x" * 81} = {{"pretrain": "large"}}', "line 1 .* 1 to 80 characters"),
        ('Large base = {"pretrain": "small"}', "two labels are equal"),
        ('again = {"pretrain": "large"}', "two policies are equal"),
        ("x" * 20_001, "shorten"),
        (7, "must be a text"),
    ],
)
def test_policies_that_are_none_are_refused_with_their_line(written: Any, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        FORM.plan(given(written=written))


@pytest.mark.parametrize("pairs", ["", "1", "1-1", "0-1", "1-5", "1-2;2-3", "1-2,", "one-two", "1-2" * 1000, None, 12])
def test_pairs_that_are_none_are_refused(pairs: Any) -> None:
    with pytest.raises(ValueError, match=r"is no pair: write 1-2|shorten|must be a text"):
        FORM.plan(given(meeting="listed", pairs=pairs))


HOSTILE_VALUES: list[Any] = [
    None,
    -1,
    1e999,
    float("nan"),
    True,
    "x",
    "\x00",
    "\ud800",
    [],
    {},
    [[]],
    ["\x00"],
    HOSTILE * 1000,
]


@pytest.mark.parametrize("name", [each.name for each in dataclasses.fields(Draft)])
def test_whatever_a_control_holds_is_a_plan_or_a_sentence(name: str) -> None:
    for value in HOSTILE_VALUES:
        told = refusal(FORM, given(**{name: value}))
        assert told is None or told.endswith("."), f"{value!r}: {told}"


def refusal(form: Form, draft: Draft) -> str | None:
    """Why a draft is no plan; of one that is, that it can be kept as it is."""
    try:
        plan = form.plan(draft)
    except ValueError as error:
        return str(error)
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict(), allow_nan=False))) == plan
    return None


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"title": " "}, "1 to 200 characters"),
        ({"presets": ["Small base"]}, "2 to 12 policies"),
        ({"presets": ["Large base", "Someone's"]}, "reload the page"),
        ({"meeting": "some"}, "pairs are all, first, listed"),
        ({"temperature": 3}, "temperature"),
        ({"length": 513}, "1 to 512"),
        ({"target": 0}, "judgements an item"),
        ({"overlap": 101}, "0 to 100 percent"),
        ({"seed": MAX_SEED + 1}, "whole number"),
        ({"identity": "login"}, "Space with hf_oauth"),
        ({"publish": "soon"}, "publish must be one of"),
        ({"tags": ",".join("abcdefghijklm")}, "at most 12"),
    ],
)
def test_what_a_campaign_cannot_be_is_refused_with_the_remedy(changes: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        FORM.plan(given(**changes))


def test_accounts_can_be_asked_for_where_they_can_sign_in() -> None:
    assert dataclasses.replace(FORM, logins=True).plan(given(identity="login")).identity == "login"


# --- what it costs


def test_a_campaigns_cost_is_told_in_numbers() -> None:
    assert cost(FORM.plan(given()), prompts(60)) == [
        "60 prompts × 4 policies = 240 answers; 6 pairs × 60 prompts × 3 ratings = 1,080 judgements.",
        "About 9.0 hours of raters' time at 30 s each, by 3 raters or more.",
    ]
    one = cost(FORM.plan(given(meeting="listed", pairs="1-2", target=1)), prompts(1, GOLD))
    assert one == [
        "1 prompt × 4 policies = 4 answers; 1 pair × 1 prompt × 1 rating = 1 judgement.",
        "About 0 minutes of raters' time at 30 s each, by 1 rater or more.",
        "1 gold item will not be shown: raise their share above 0.",
    ]
    assert "by 27 raters" in cost(FORM.plan(given(per_annotator=40)), prompts(60))[1]


@pytest.mark.parametrize("overlap", [0, 30, 100])
def test_the_cost_is_what_the_office_asks_raters_for(storage: Storage, overlap: int) -> None:
    plan = FORM.plan(given(overlap=overlap, golds=10))
    # gold items in between, for which items overlap is drawn by place
    asked = [*prompts(7, GOLD), *(Prompt(f"q{number}", "Why?") for number in range(13))]
    Office(storage).create(plan, asked)
    [summary] = Office(storage).campaigns()
    told_cost = cost(plan, asked)[0]
    assert told_cost.startswith(f"20 prompts × 4 policies = {summary.answers_wanted} answers; 6 pairs × ")
    assert told_cost.endswith(f" = {summary.wanted:,} judgements.")


# --- the gate


def test_every_handler_begins_at_the_gate_and_changes_nothing(storage: Storage, organiser: Organiser) -> None:
    campaign = studied(storage, 2, title="Secret study")
    rated(storage, campaign)
    before = (organiser.office.campaigns(), organiser.office.by_annotator(campaign))
    person = before[1][0]["annotator"]
    stranger = gr.OAuthProfile(dict.fromkeys(("name", "preferred_username", "profile", "picture"), "mallory"))
    for shown in (None, True, "pass", {"until": 1e12}, Pass(0.0)):
        for profile in (None, stranger):
            access = (profile, shown)
            for wish in (
                {"act": "see", "campaign": campaign},
                {"act": "state", "campaign": campaign, "state": "closed"},
                {"act": "exclude", "campaign": campaign, "annotator": person, "reason": "none"},
            ):
                entry, word, _, work, panel = organiser.act(event(**wish), *access)
                assert (entry["visible"], work["visible"], panel.value) == (True, False, "")
                assert word.startswith("You are not signed in")
            given_file = organiser.read_prompts(*access, __file__, *controls())
            answers = [
                organiser.export(event(form="jsonl", options=[], campaign=campaign), *access),
                given_file[1],
                organiser.preview(*access, prompts(2), *controls()),
                organiser.create(*access, prompts(2), *controls())[0],
            ]
            assert given_file[0] == ()
            for answer in answers:
                text = answer if isinstance(answer, str) else json.dumps(answer.props)
                assert "not signed in" in text
                assert "Secret" not in text
                assert "save" not in getattr(answer, "props", {})
    assert (organiser.office.campaigns(), organiser.office.by_annotator(campaign)) == before


def test_no_event_of_the_page_lacks_the_gate(organiser: Organiser) -> None:
    """Whoever adds a handler adds it to the test above."""

    def page_of(page: gr.Blocks) -> list[Any]:
        organise_page(page, organiser)
        return list(page.fns.values())

    events = built(page_of)
    assert {each.fn.__name__ for each in events if each.fn} == {
        *("enter", "arrive", "leave"),  # the gate itself
        *("act", "export", "read_prompts", "preview", "create"),
    }
    assert {each.api_visibility for each in events} == {"private"}


GUESSER = "9.9.9.9"


def from_address(address: str) -> Any:
    """A request of a new page, from an address."""
    asked = SimpleNamespace(client=SimpleNamespace(host=address), scope={}, headers={})
    return SimpleNamespace(session_hash=uuid.uuid4().hex, request=asked)


def test_a_new_page_at_each_guess_changes_nothing(organiser: Organiser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "LONGEST_OWN", 0.01)

    async def guesses() -> list[str]:
        return [[each[1] async for each in organiser.enter(from_address(GUESSER), "wrong")][-1] for _ in range(15)]

    said = asyncio.run(guesses())
    assert said[:12] == ["This is not the password: try again."] * 12
    assert said[12:] == ["Too many passwords came from where you are: try again in 10 minutes."] * 3
    assert enter(organiser, PASSWORD, "elsewhere")[5] is not None


def enter(organiser: Organiser, password: Any, visitor: str) -> list[Any]:
    """The last of what signing in says."""

    async def all_of_it() -> list[Any]:
        request: Any = SimpleNamespace(session_hash=visitor, request=None)
        return [each async for each in organiser.enter(request, password)]

    return asyncio.run(all_of_it())[-1]


def test_the_right_password_opens_the_page_and_hands_out_a_pass(storage: Storage, organiser: Organiser) -> None:
    studied(storage, 2, title="Secret study")
    assert enter(organiser, "a wrong password", "page")[1] == "This is not the password: try again."
    entry, word, password, work, panel, shown = enter(organiser, PASSWORD, "another page")
    assert (entry["visible"], word, password, work["visible"]) == (False, "", "", True)
    assert told(panel, "value")["campaigns"][0]["title"] == "Secret study"
    assert organiser.act(event(act="see"), None, shown)[4].value


def test_who_waits_after_wrong_passwords_keeps_nobody_else_waiting(
    organiser: Organiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "LONGEST_OWN", 1.5)
    order: list[str] = []

    async def tried(visitor: str, password: str) -> list[Any]:
        said = [each[1] async for each in organiser.enter(from_address(visitor), password)]
        order.append(visitor)
        return said

    async def both() -> tuple[list[Any], list[Any]]:
        for _ in range(3):
            organiser.gate.knock(GUESSER)
        return await asyncio.gather(tried(GUESSER, "wrong password"), tried("8.8.8.8", PASSWORD))

    guesser, right = asyncio.run(both())
    assert order == ["8.8.8.8", GUESSER]
    assert right == [""]
    assert guesser == ["After wrong passwords this one waits 2 seconds.", "This is not the password: try again."]


def test_an_account_that_organises_is_let_in_at_load(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SPACE_ID": "a/b", "SYSTEM": "spaces", "OAUTH_CLIENT_ID": "ours"}.items():
        monkeypatch.setenv(name, value)
    organiser = Organiser(Office(storage), Gate("", ("ada",)), FORM)
    names = ("name", "preferred_username", "profile", "picture")
    ada, eve = (gr.OAuthProfile(dict.fromkeys(names, name)) for name in ("Ada", "eve"))
    assert organiser.arrive(ada)[3]["visible"] is True
    assert organiser.act(event(act="see"), ada, None)[4].value
    assert organiser.arrive(eve)[1] == "This Hugging Face account is no organiser's here."
    assert organiser.arrive(None) == [gr.skip()] * 6
    assert organiser.act(event(act="see"), eve, None)[4].value == ""


# --- campaigns


def acted(organiser: Organiser, **wish: Any) -> Any:
    """The panel after a wish of whoever is signed in."""
    *others, panel = organiser.act(event(**wish), None, FOREVER)
    assert others == [gr.skip()] * 4
    return panel


def test_a_campaign_is_paused_resumed_and_closed(storage: Storage, organiser: Organiser) -> None:
    campaign = studied(storage, 2)
    for state in ("paused", "running", "closed"):
        panel = acted(organiser, act="state", campaign=campaign, state=state)
        assert told(panel, "value")["campaigns"][0]["state"] == state
        assert organiser.office.campaigns()[0].state == state
        assert told(panel, "said")["t"] == ""


def test_votes_are_taken_out_with_a_reason_and_put_back(storage: Storage, organiser: Organiser) -> None:
    campaign = studied(storage, 2)
    rated(storage, campaign)
    first = organiser.office.by_annotator(campaign)[0]["annotator"]
    count = organiser.office.campaigns()[0].judgements
    wish = {"campaign": campaign, "annotator": first}
    refused = acted(organiser, act="exclude", reason=" ", **wish)
    assert "say why" in told(refused, "said")["text"].lower()
    seen = told(acted(organiser, act="exclude", reason=HOSTILE, **wish), "value")
    assert {each["annotator"]: each["excluded"] for each in seen["one"]["raters"]}[first] == HOSTILE
    assert seen["campaigns"][0]["judged"] < count
    seen = told(acted(organiser, act="include", **wish), "value")
    assert seen["campaigns"][0]["judged"] == count


def test_the_panel_shows_the_latest_campaign_until_another_is_chosen(storage: Storage, organiser: Organiser) -> None:
    assert told(acted(organiser, act="see"), "value") == {"t": "view", "campaigns": [], "one": None, "open": False}
    first = studied(storage, 2, title="First")
    second = studied(storage, 2, title=HOSTILE[:200])
    assert told(acted(organiser, act="see"), "value")["one"]["id"] == second
    value = acted(organiser, act="see", campaign=first).value
    assert told(value, "")["one"]["id"] == first
    assert told(value, "")["campaigns"][0]["title"] == HOSTILE[:200]
    assert not set("<>&$`") & set(value)


@pytest.mark.parametrize(
    "wish",
    [
        {"act": "drop"},
        {"act": ["see"]},
        {"act": "state", "state": "running"},
        {"act": "state", "campaign": "no-such", "state": "closed"},
        {"act": "state", "campaign": "'; DROP TABLE ratings; --", "state": "closed"},
        {"act": "exclude", "campaign": "no-such", "annotator": "nobody", "reason": "none"},
        {"act": "see", "campaign": "x" * 3000},
        {"act": "see", "campaign": "\x00"},
        {"act": "see", "campaign": "\ud800"},
        {"act": "see", "campaign": {"id": 1}},
        {"act": "state", "campaign": 7, "state": "closed"},
    ],
)
def test_hostile_wishes_get_a_sentence_and_change_nothing(
    storage: Storage, organiser: Organiser, wish: dict[str, Any]
) -> None:
    studied(storage, 2)
    before = organiser.office.campaigns()
    panel = acted(organiser, **wish)
    said = told(panel, "said")
    assert (said["t"], said["text"][-1]) == ("error", ".")
    assert "failed" not in said["text"], "a mistake of the sender, not of ours"
    assert organiser.office.campaigns() == before
    assert "value" not in panel.props


def test_a_wrong_state_and_the_free_comparisons_are_refused(storage: Storage, organiser: Organiser) -> None:
    campaign = studied(storage, 2)
    for state in ("", "open", HOSTILE):
        panel = acted(organiser, act="state", campaign=campaign, state=state)
        assert "running, paused, closed" in told(panel, "said")["text"]


def test_a_locked_database_is_told_and_nothing_is_lost(storage: Storage, organiser: Organiser, tmp_path: Path) -> None:
    campaign = studied(storage, 2)
    other = sqlite3.connect(tmp_path / "ratings.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    panel = acted(organiser, act="state", campaign=campaign, state="closed")
    other.execute("ROLLBACK")
    other.close()
    assert told(panel, "said")["text"] == "The database is busy: try again in a moment."
    assert organiser.office.campaigns()[0].state == "running"


def test_a_plan_is_told_in_words(storage: Storage) -> None:
    studied(storage, 3, per_annotator=9, overlap=0.5, guidelines="Read.")
    [summary] = Office(storage).campaigns()
    facts = dict(campaign_values(summary, (), ())["facts"])
    assert facts["Policy 3"] == "up-scaled: base(large) + [helpful − base](small)"
    assert facts["Pairs"] == "1-2, 1-3, 2-3"
    assert facts["Ratings"] == "2 of each pair and prompt, on 50% of the prompts"
    assert (facts["A rater's share"], facts["Guidelines"]) == ("at most 9", "Read.")


# --- a new one


def test_a_file_is_read_and_previewed(organiser: Organiser, tmp_path: Path) -> None:
    file = tmp_path / "prompts.csv"
    file.write_text(SAMPLE, encoding="utf-8")
    read, value = organiser.read_prompts(None, FOREVER, str(file), *controls())
    assert read == prompts_of(file)
    seen = told(value, "")
    assert seen["prompts"] == "3 prompts, 1 of them gold"
    assert [each["gold"] for each in seen["rows"]] == [False, False, True]
    assert seen["cost"][0].startswith("2 prompts × 4 policies = 8 answers")
    assert (seen["error"], seen["missing"]) == ("", "")
    assert organiser.read_prompts(None, FOREVER, None, *controls())[0] == ()


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        ("a.csv", b"question\nWhy?\n", "Line 1 has no column prompt"),
        ("a.csv", b"prompt\nWhy?\n \n", "Line 3 of a.csv: the prompt is empty"),
        ("a.jsonl", b'{"prompt": "Why?"}\n{"prompt": 7}\n', "Line 2 of a.jsonl: prompt must be a text"),
        ("a.jsonl", b'{"prompt": "Why?"}\nWhy?\n', "Line 2 is no JSON object"),
        ("a.csv", b"prompt,better\nWhy?,So.\n", "Line 2 of a.csv: a gold item needs two answers"),
        ("a.csv", b"prompt\n\xff\xfe\n", "Line 2 of a.csv is not UTF-8"),
        ("a.csv", b"", "Line 1 has no column prompt"),
        ("a.txt", b"prompt\nWhy?\n", "a.txt is neither"),
    ],
)
def test_a_file_that_holds_no_prompts_is_refused_with_its_line(
    organiser: Organiser, tmp_path: Path, name: str, content: bytes, remedy: str
) -> None:
    (tmp_path / name).write_bytes(content)
    read, value = organiser.read_prompts(None, FOREVER, str(tmp_path / name), *controls())
    assert read == ()
    assert remedy.lower() in told(value, "")["error"].lower()


def test_a_preview_says_what_is_missing_or_wrong(organiser: Organiser) -> None:
    def seen(asked: tuple[Prompt, ...] = (), **changes: Any) -> dict[str, Any]:
        return told(organiser.preview(None, FOREVER, asked, *controls(given(**changes))), "")

    assert seen()["missing"] == "Add a file of prompts."
    assert seen(title="", guidelines=None)["error"] == "", "they may come last"
    assert seen(presets=[])["missing"] == "Choose two policies or more."
    wrong = seen(prompts(2), meeting="listed", pairs="1-9")
    assert wrong["error"].startswith("'1-9' is no pair")
    assert [each["label"] for each in wrong["policies"]] == ["Large base", "Small tuned", "Up-scaled", "Large tuned"]


def test_a_campaign_is_made_and_shown(organiser: Organiser) -> None:
    draft, tabs, panel = organiser.create(None, FOREVER, prompts(3, GOLD), *controls(given(golds=20)))
    [summary] = organiser.office.campaigns()
    assert summary.plan == FORM.plan(given(golds=20))
    assert (summary.items, summary.state) == (4, "running")
    assert tabs["selected"] == "campaigns"
    seen = told(panel, "value")
    assert (seen["one"]["id"], seen["open"]) == (summary.id, True)
    assert told(draft, "said")["text"] == ""


@pytest.mark.parametrize(
    ("asked", "changes", "remedy"),
    [
        ((), {}, "There are no prompts"),
        (prompts(2), {"title": ""}, "1 to 200 characters"),
        (prompts(2), {"golds": 10}, "No prompt is a gold item"),
        ((GOLD,), {}, "no gold item"),
        (prompts(2), {"title": "Taken "}, "There is a campaign of this title already"),
    ],
)
def test_what_cannot_be_made_is_told_and_not_made(
    storage: Storage, organiser: Organiser, asked: tuple[Prompt, ...], changes: dict[str, Any], remedy: str
) -> None:
    studied(storage, 1, title="Taken")
    said, *others = organiser.create(None, FOREVER, asked, *controls(given(**changes)))
    assert remedy in told(said, "said")["text"]
    assert others == [gr.skip()] * 2
    assert len(organiser.office.campaigns()) == 1


# --- export


def exported(organiser: Organiser, campaign: str, form: str, *options: str, pair: Any = None) -> Any:
    wish = {"campaign": campaign, "form": form, "options": list(options), "pair": pair}
    return organiser.export(event(**wish), None, FOREVER)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_handed_over_with_its_counts(storage: Storage, organiser: Organiser, form: str) -> None:
    campaign = studied(storage, 4)
    rated(storage, campaign)
    pair = ["up-scaled", "large base"] if form == "comparator" else None
    update = exported(organiser, campaign, form, pair=pair)
    file, counts = told(update, "save"), told(update, "said")
    content = b64decode(file["base64"], validate=True)
    assert counts["t"] == "counts"
    rows = int(counts["text"].split()[0].replace(",", ""))
    assert rows > 0
    if form == "parquet":
        assert len(pd.read_parquet(io.BytesIO(content))) == rows
    elif form == "comparator":
        assert [each["name"] for each in json.loads(content)["models"]] == pair
    elif form == "csv":
        assert len(pd.read_csv(io.BytesIO(content))) == rows
    else:
        assert len(content.decode().splitlines()) == rows + (form == "jsonl")
    assert file["name"].startswith("ratings")


def test_forms_offer_the_options_that_they_know() -> None:
    offered = {each["name"]: {key for key, _ in each["options"]} for each in json.loads(forms())}
    assert list(offered) == list(FORMS)
    assert offered["jsonl"] == offered["csv"] == offered["parquet"] == set()
    assert offered["reward"] == {"conversational", "majority", "not_blind"}
    assert [each["name"] for each in json.loads(forms()) if each["paired"]] == ["comparator"]
    for name, options in offered.items():
        form, wishes = wishes_of({"form": name, "options": list(options)})
        wishes.check(form)


@pytest.mark.parametrize(
    "wish",
    [
        {"form": "jsonl"},
        {"form": "pickle", "options": []},
        {"form": None, "options": []},
        {"form": "jsonl", "options": ["majority"]},
        {"form": "reward", "options": ["delete"]},
        {"form": "reward", "options": [["majority"]]},
        {"form": "comparator", "options": [], "pair": ["one"]},
        {"form": "comparator", "options": [], "pair": [1, 2]},
        {"form": "comparator", "options": [], "pair": ["nobody", "somebody"]},
        {"form": "comparator", "options": []},
        {"form": "jsonl", "options": [], "campaign": "no-such"},
        {"form": "jsonl", "options": [], "campaign": ["a"]},
    ],
)
def test_hostile_exports_get_a_sentence(storage: Storage, organiser: Organiser, wish: dict[str, Any]) -> None:
    campaign = studied(storage, 2)
    rated(storage, campaign)
    update = organiser.export(event(**({"campaign": campaign} | wish)), None, FOREVER)
    said = told(update, "said")
    assert (said["t"], said["text"][-1]) == ("refused", ".")
    assert "failed" not in said["text"]
    assert "save" not in update.props


def test_a_file_too_large_for_a_page_is_left_to_the_command_line(
    storage: Storage, organiser: Organiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = studied(storage, 2)
    monkeypatch.setattr(organise_export, "MOST_BYTES", 100)
    update = exported(organiser, campaign, "jsonl")
    assert "python -m eft_core export" in told(update, "said")["text"]
    assert "save" not in update.props


# --- the skeletons


def test_no_skeleton_takes_a_value() -> None:
    for skeleton in (CAMPAIGNS, DRAFT, HEAD):
        assert "{{" not in skeleton
        assert "${" not in skeleton

"""Sweeps without a page: what may be asked, links, answers in pieces, runs that go on, files of strangers, curves."""

import itertools
import json
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
from serving import HOSTILE

from components import links
from components.board import ASSETS
from components.columns import Columns
from components.curves import figure, scored, verdict
from components.handlers import Handlers
from components.scrub import SKELETON
from components.sweep_form import CONTROLS, NONE, Form
from components.sweep_lines import Teller, how_far, pieces_of
from components.sweep_links import decode, encode
from components.sweep_links import written as written_axis
from components.sweeping import Sweeper, kept
from components.sweeps import MAX_ANSWERS, Sweep, axis_keys, axis_of, counted, presets, sweep_of, trials_of
from eft_core.config import Limits, Sampling
from eft_core.events import Queued
from eft_core.families import family_named
from eft_core.family import Family
from eft_core.grid import Axis, Grid
from eft_core.intervals import difference, mean
from eft_core.items import Item
from eft_core.policy import Policy, plain, up_scale
from eft_core.running import Grown, Progress
from eft_core.saved_runs import SavedRun, as_text, path_of, read_run
from eft_core.trials import Reply, Trials

UP = up_scale("large", "small")
BETA = Axis.parse("beta=0,0.5,1")
PROMPT = "What is the capital of Kenya?"


@pytest.fixture
def family(session: Any) -> Family:
    return session.family


@pytest.fixture
def sweeper(families_file: str, tmp_path: Path) -> Sweeper:
    from eft_core.session import Session
    from eft_core.settings import Settings

    session = Session(Settings(families_file=families_file, device="cpu", data_dir=str(tmp_path)), "llama")
    return Sweeper(Handlers(session, session.family))


def sweep(*axes: str, policy: Policy = UP, sampling: Sampling | None = None, **values: Any) -> Sweep:
    given: dict[str, Any] = {"prompt": PROMPT, "limits": Limits(6)} | values
    grid = Grid(policy, sampling or Sampling(), tuple(map(Axis.parse, axes or ("beta=0,0.5,1",))))
    return Sweep(grid, **given)


def read(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query.removeprefix("?"), keep_blank_values=True)


def said(log: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in log.splitlines()]


# --- what may be asked


@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        (sweep(policy=UP, prompt=PROMPT, samples=2), "raise the temperature"),
        (sweep("seed=0:7"), "raise the temperature"),
        (sweep("beta=0:2:0.005"), "fewer values"),
        (sweep("beta=0:2:0.01", "temperature=0.5", samples=8), "fewer values"),
        (sweep("beta=0:1.9:0.1", questions=200, prompt=""), "fewer values, prompts or answers"),
        (sweep("beta=0:3:1"), "outside"),
        (sweep("nucleus=0.5"), "0.8 to 1"),
        (sweep("temperature=0,9"), "use 0"),
        (sweep("weight[rude]=0,1"), "no behaviour"),
        (sweep("pretrain=small,huge"), "no size"),
        (sweep("beta=0,1", policy=plain("large")), "fine-tuned policy"),
        (Sweep(Grid(UP), PROMPT), "one axis or two"),
        (sweep("beta=0,1", "nucleus=none,0.9", "temperature=0,1"), "one axis or two"),
    ],
)
def test_a_sweep_beyond_the_page_s_bounds_is_refused_with_the_remedy(family: Family, asked: Sweep, remedy: str) -> None:
    for ask in (trials_of, counted):
        with pytest.raises(ValueError, match=remedy):
            ask(asked, family)


def test_the_largest_sweep_of_the_page_is_taken(family: Family) -> None:
    asked = sweep("beta=0:1.99:0.01", items=tuple(Item(str(n), PROMPT) for n in range(10)))
    assert counted(asked, family) == "200 settings × 10 prompts × 1 = 2,000 answers"
    assert len(trials_of(asked, family)) == MAX_ANSWERS


def test_every_axis_that_is_offered_runs_with_its_usual_values() -> None:
    atlas = family_named("atlas")
    form = Form(atlas)
    for key in axis_keys(atlas):
        asked = replace(sweep(), grid=Grid(UP, Sampling(1.0), (axis_of(key, form.usual(key)),)))
        assert len(trials_of(asked, atlas)) > 1, key
    assert {preset.axis for preset in presets(atlas)} <= set(axis_keys(atlas))
    assert [preset.label for preset in presets(atlas)] == ["Amplification", "Mixing", "Filter"]


def test_a_family_of_one_size_is_offered_no_mix_of_sizes(family: Family) -> None:
    alone = replace(
        family, sizes=("small",), checkpoints={m: c for m, c in family.checkpoints.items() if m.size == "small"}
    )
    assert not {"beta", "pretrain"} & set(axis_keys(alone))
    assert [preset.label for preset in presets(alone)] == ["Mixing"]


def test_half_of_the_questions_are_sensitive_where_harmless_takes_part() -> None:
    atlas = family_named("atlas")
    plain_ones = trials_of(sweep(prompt="", questions=20), atlas)
    mixed = trials_of(sweep("share[helpful/harmless]=0,1", prompt="", questions=20), atlas)
    assert [item.kind for item in plain_ones.items] == ["ordinary"] * 20
    assert [item.kind for item in mixed.items] == ["ordinary"] * 10 + ["sensitive"] * 10


# --- links


def test_a_link_is_readable(family: Family) -> None:
    query = encode(sweep("beta=0:2:0.5", "nucleus=none,0.9"))
    assert query == (
        "?sweep=1&prompt=What%20is%20the%20capital%20of%20Kenya%3F&column=large:small:helpful=1:beta=1&temperature=0"
        "&seed=0&length=6&axis=beta=0:2:0.5&axis=nucleus=none,0.9&samples=1"
    )
    assert decode(read(query), family) == sweep("beta=0:2:0.5", "nucleus=none,0.9")


@pytest.mark.parametrize("seed", range(60))
def test_every_sweep_survives_its_link(seed: int) -> None:
    atlas, rng = family_named("atlas"), random.Random(seed)
    numbers = sorted(round(rng.random(), rng.randint(1, 9)) for _ in range(rng.randint(1, 6)))
    axes = [
        Axis("beta", tuple(dict.fromkeys(numbers))),
        Axis("temperature", (0.5, 1, 2)),
        Axis("nucleus", (None, 0.9)),
        Axis("share", (0, 0.25, 1), ("helpful", "harmless")),
        Axis("pretrain", ("medium", "large")),
        Axis("seed", tuple(rng.randrange(2**53) for _ in range(3))),
    ]
    questions = rng.choice([0, 10, 200])
    prompt = "" if questions else rng.choice([PROMPT, "a&b=c#d?e+f %20", "مرحبا\nلك", HOSTILE])
    grid = Grid(UP, Sampling(rng.random(), seed=rng.randrange(2**53)), tuple(rng.sample(axes, rng.randint(1, 2))))
    asked = Sweep(grid, prompt, questions, (), Limits(rng.randint(1, 512)), rng.randint(1, 8))
    assert decode(read(encode(asked)), atlas) == asked


def test_what_an_address_cannot_say_has_none() -> None:
    assert encode(sweep(items=(Item("1", PROMPT),))) == ""
    assert encode(sweep(sampling=Sampling(1.0, top_k=3))) == ""
    assert encode(sweep(prompt="x" * 7000)) == ""


def test_evenly_spaced_values_are_written_as_a_range() -> None:
    assert written_axis(Axis.parse("beta=0,0.1,0.2,0.3")) == "beta=0:0.3:0.1"
    assert written_axis(Axis.parse("beta=0,0.1,0.3")) == "beta=0,0.1,0.3"
    assert written_axis(Axis.parse("seed=3,2,1")) == "seed=3,2,1"
    assert written_axis(Axis.parse("nucleus=none,0.9,0.8")) == "nucleus=none,0.9,0.8"


def test_a_sweep_s_link_is_no_comparison_and_a_comparison_s_no_sweep(family: Family) -> None:
    query = encode(sweep())
    assert links.decode(read(query), family) is None
    assert links.decode(read(query.replace("sweep=1&", "")), family) is not None
    assert decode(read(query.replace("sweep=1&", "")), family) is None
    assert decode([], family) is None


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        (("axis=beta=0,0.5,1", "axis=beta=x"), "no number"),
        (("axis=beta=0,0.5,1", "axis=beta=0:1:1e-9"), "no range"),
        (("column=large:small:helpful=1:beta=1", "column=huge"), "no size"),
        (("&column=large:small:helpful=1:beta=1", ""), "one column"),
        (("samples=1", "samples=0"), "1 to 8"),
        (("samples=1", "samples=" + "9" * 5000), "not a whole number"),
        (("samples=1", "samples=1&samples=2"), "twice"),
        (("samples=1", "samples=1&questions=50"), "prompt or a number of questions"),
        (("prompt=What", "other=What"), "prompt or a number of questions"),
        (("temperature=0", "temperature=9"), "0 (greedy)"),
        (("length=6", "length=9999"), "length"),
    ],
)
def test_a_link_that_is_wrong_in_any_part_is_refused(family: Family, change: tuple[str, str], remedy: str) -> None:
    query = encode(sweep("beta=0,0.5,1")).replace("beta=0:1:0.5", "beta=0,0.5,1")
    assert change[0] in query
    with pytest.raises(ValueError, match=remedy.replace("(", r"\(").replace(")", r"\)")):
        decode(read(query.replace(*change)), family)


def test_atlas_questions_are_for_atlas_alone(family: Family) -> None:
    query = "?sweep=1&column=large:small:helpful=1:beta=1&axis=beta=0,1&questions=50"
    with pytest.raises(ValueError, match="prompt of your own"):
        decode(read(query), family)


def test_a_run_knows_the_sweep_that_made_it(family: Family) -> None:
    for asked in (sweep(), sweep("weight[harmless]=0:1:0.5"), sweep("share[helpful/harmless]=0,1", "temperature=0,1")):
        found = sweep_of(trials_of(asked, family), family)
        assert found is not None
        assert trials_of(found, family) == trials_of(asked, family)
    of_a_file = trials_of(sweep(items=(Item("1", "x"), Item("2", "y"))), family)
    assert sweep_of(of_a_file, family) is None
    assert sweep_of(replace(trials_of(sweep(), family), family="other"), family) is None


# --- the form


def controls(**values: Any) -> list[Any]:
    given = {
        "source": "prompt", "prompt": PROMPT, "questions": 50, "file": None, "policy": "large:small:helpful=1:beta=1",
        "first": "beta", "values": "0,0.5,1", "second": NONE, "others": "", "samples": 1, "temperature": 0, "seed": 0,
        "length": 6,
    }  # fmt: skip
    assert set(values) <= set(given)
    return list((given | values).values())


def test_the_form_shows_what_it_asks_for(family: Family) -> None:
    form, columns = Form(family), Columns.default(family)
    asked = sweep("share[helpful/harmless]=0:1:0.5", "temperature=0.5,1", policy=up_scale("small", "large"))
    shown = form.showing(asked, columns)
    assert len(shown) == CONTROLS
    values = [getattr(each, "value", each) for each in shown]
    assert form.sweep(*values[:2], 50, None, *values[4:]) == asked
    assert "small:large:helpful=1:beta=1" in [value for _, value in shown[4].choices], "a policy that no column has"


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": " "},
        {"source": "file"},
        {"source": "atlas"},
        {"source": "atlas", "questions": 9999},
        {"policy": None},
        {"policy": HOSTILE},
        {"first": HOSTILE},
        {"first": None},
        {"values": ""},
        {"values": 3},
        {"values": "0:1:0.0000001"},
        {"second": "beta", "others": "1,2"},
        {"temperature": "hot"},
        {"seed": -1},
        {"samples": 99},
        {"samples": None, "length": 0},
    ],
)
def test_whatever_a_browser_sends_becomes_one_sentence(sweeper: Sweeper, wrong: dict[str, Any]) -> None:
    told = json.loads(sweeper.form.counted(*controls(**wrong)))
    assert told["error"]
    assert told["text"].endswith(".")
    [[log, *_]] = list(sweeper.run(visitor(), *controls(**wrong), False))
    assert [line["t"] for line in said(log)] == ["id", "error"]


def test_a_count_is_said_before_anything_runs(sweeper: Sweeper) -> None:
    told = json.loads(sweeper.form.counted(*controls(second="temperature", others="0,1", samples=2)))
    assert (told["text"], told["error"]) == ("6 settings × 1 prompt × 2 = 12 answers", False)


# --- pieces


def replied(session: Any, ids: list[int], text: str | None = None) -> Reply:
    decoded = session.models.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Reply(0, decoded if text is None else text, tuple(ids), "end", 1.0)


@pytest.mark.parametrize("seed", range(20))
def test_pieces_make_the_text_and_end_where_tokens_end(session: Any, seed: int) -> None:
    rng, texts = random.Random(seed), session.token_texts
    ids = [rng.randrange(2, 300) for _ in range(30)]
    reply = replied(session, ids)
    pieces = pieces_of(reply, texts)
    assert "".join(pieces) == reply.text.lstrip()
    assert len(pieces) <= len(ids) + 1


def test_a_character_of_several_tokens_is_one_piece(session: Any) -> None:
    ids = session.models.tokenizer("a日本b", add_special_tokens=False)["input_ids"]
    assert len(ids) > 4, "every byte of these is a token"
    assert pieces_of(replied(session, ids), session.token_texts) == ["a", "日", "本", "b"]


def test_special_tokens_are_no_piece(session: Any) -> None:
    ids = session.models.tokenizer("Kenya", add_special_tokens=False)["input_ids"]
    assert "".join(pieces_of(replied(session, [*ids, 1]), session.token_texts)) == "Kenya"


def test_tokens_that_do_not_make_the_text_are_not_believed(session: Any) -> None:
    assert pieces_of(replied(session, [70, 71], "Quite another text"), session.token_texts) == [
        "Quite", " another", " text"
    ]  # fmt: skip
    assert pieces_of(replied(session, [70]), None) == [session.token_texts.text(70)]


# --- runs


def visitor(**query: str) -> Any:
    return SimpleNamespace(session_hash="one", query_params=query, request=None)


def ran(sweeper: Sweeper, **values: Any) -> list[Any]:
    return list(sweeper.run(visitor(), *controls(**values), False))[-1]


def replies_of(text: str) -> dict[int, Reply]:
    return read_run(text, "test")[1]


def answers(replies: dict[int, Reply]) -> dict[int, tuple[Any, ...]]:
    return {n: (each.text, each.token_ids, each.reason) for n, each in replies.items()}


def test_answers_are_those_of_one_comparison(sweeper: Sweeper) -> None:
    from eft_core.config import Request

    log, _, text = ran(sweeper)
    policies = [replace(UP, amplification=beta) for beta in (0, 0.5, 1)]
    expected = sweeper.session.ask(Request.compare(PROMPT, policies, limits=Limits(6)))
    told = {line["n"]: "".join(line["p"]) for line in said(log) if line["t"] == "answer"}
    assert [told[n] for n in range(3)] == [answer.text.lstrip() for answer in expected]
    assert [each.token_ids for _, each in sorted(replies_of(text).items())] == [each.token_ids for each in expected]
    opening, end = said(log)[1], said(log)[-1]
    assert opening["axes"] == [{"title": "Amplification β", "values": ["0", "0.5", "1"]}]
    assert [label for label, _ in opening["settings"]] == [policy.formula() for policy in policies]
    assert (end["t"], end["text"]) == ("done", "3 answers")


def test_a_run_of_one_prompt_grows_before_it_ends(sweeper: Sweeper) -> None:
    lines = said(ran(sweeper, values="0:1.9:0.1", length=100)[0])  # longer than two batches take
    assert "grown" in [line["t"] for line in lines]
    grown: dict[str, str] = {}
    for line in lines:
        for number, text in line.get("texts", {}).items():
            grown[number] = grown.get(number, "") + text
    whole = {str(line["n"]): "".join(line["p"]) for line in lines if line["t"] == "answer"}
    assert all(whole[number].startswith(text.lstrip()) for number, text in grown.items())


def test_whoever_stops_keeps_what_is_done_and_goes_on_from_there(sweeper: Sweeper) -> None:
    family, session = sweeper.handlers.family, sweeper.session
    trials = trials_of(sweep("temperature=0:1:0.1", sampling=Sampling(0.0)), family)
    path = path_of(trials, family, sweeper.folder)
    first = kept(session, trials, path)
    done = list(itertools.takewhile(lambda event: not isinstance(event, Progress) or event.done < 1, first))
    first.close()  # type: ignore[attr-defined]  # a generator
    before = [event for event in done if isinstance(event, Reply)]
    assert len(before) == 1
    events = list(kept(session, trials, path))
    replies = [event for event in events if isinstance(event, Reply)]
    assert replies[0] == before[0]
    assert sorted(reply.trial for reply in replies) == list(range(len(trials))), "each once, none decoded again"
    assert not any(isinstance(event, Grown) and event.trial == before[0].trial for event in events)
    alone = [event for event in kept(session, trials, sweeper.folder / "other.jsonl") if isinstance(event, Reply)]
    assert answers({each.trial: each for each in replies}) == answers({each.trial: each for each in alone})


def test_stop_ends_a_run_soon_and_says_how_to_go_on(sweeper: Sweeper) -> None:
    run = sweeper.run(visitor(), *controls(values="0:1.9:0.01", length=100), False)
    updates = [next(run)]
    threading.Timer(0.5, lambda: sweeper.handlers.stop(visitor())).start()
    updates += list(run)
    last = said(updates[-1][0])[-1]
    assert last["t"] == "done"
    assert last["text"].endswith("of 191 answers: press Run to go on.")
    assert sweeper.session.queue_length == 0 or wait_until(lambda: sweeper.session.queue_length == 0)


def wait_until(ready: Callable[[], bool]) -> bool:
    pause = threading.Event()
    return any(ready() or pause.wait(0.05) for _ in range(200)) and ready()


def test_a_run_that_somebody_else_writes_is_shown_and_said(sweeper: Sweeper) -> None:
    family = sweeper.handlers.family
    trials = trials_of(sweep(), family)
    reply = Reply(1, "It is so.", (2, 3), "end", 0.5)
    with SavedRun(path_of(trials, family, sweeper.folder), trials, family) as other:
        other.add(reply)
        lines = said(ran(sweeper)[0])
    assert [line["n"] for line in lines if line["t"] == "answer"] == [1]
    assert "being computed already" in lines[-1]["text"]
    assert str(sweeper.folder) not in json.dumps(lines), "no path of the server reaches a visitor"
    assert len(replies_of(ran(sweeper)[2])) == 3


def test_a_link_shows_what_is_here_and_else_fills_the_form(sweeper: Sweeper) -> None:
    columns, query = Columns.default(sweeper.handlers.family), dict(read(encode(sweep())))
    tabs, log, _, text, *form = sweeper.open_link(visitor(**query), columns, False)
    assert tabs["selected"] == "sweep"
    assert "press Run" in said(log)[-1]["text"]
    assert len(form) == CONTROLS
    run = ran(sweeper)
    _, log, _, text, *_ = sweeper.open_link(visitor(**query), columns, False)
    assert answers(replies_of(text)) == answers(replies_of(run[2]))
    assert said(log)[-1]["text"] == "3 answers"
    assert said(log)[1]["query"] == encode(sweep())


def test_an_address_without_a_sweep_changes_nothing(sweeper: Sweeper) -> None:
    columns = Columns.default(sweeper.handlers.family)
    updates = sweeper.open_link(visitor(prompt=PROMPT), columns, False)
    assert len(updates) == 4 + CONTROLS
    assert all(update == {"__type__": "update"} for update in updates)
    _, log, *rest = sweeper.open_link(visitor(sweep="1", prompt=PROMPT, column="huge"), columns, False)
    assert said(log)[-1]["t"] == "error"
    assert len(rest) == 2 + CONTROLS


def test_a_queue_is_told_once_for_every_place() -> None:
    trials = Trials("sweep", "atlas", (Item("1", PROMPT),), Grid(UP, axes=(BETA,)).settings(), axes=(BETA,))
    teller = Teller(trials, family_named("atlas"), None)
    told = [teller.lines([Queued(2)]), teller.lines([Queued(2)]), teller.lines([Queued(1)]), teller.lines([])]
    assert [len(said(text)) for text in told] == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (None, "3 of 1,200 answers"),
        (0.2, "3 of 1,200 answers · 1 s left"),
        (41.6, "3 of 1,200 answers · 42 s left"),
        (300, "3 of 1,200 answers · 5 min left"),
    ],
)
def test_time_left_is_said_in_words(left: float | None, text: str) -> None:
    assert how_far(Progress(3, 1200, left)) == text


# --- files


def saved(family: Family, asked: Sweep, text: str = "It is so.") -> str:
    trials = trials_of(asked, family)
    return as_text(trials, family, {n: Reply(n, f"{text} {n}", (2, 3), "end", 0.5) for n in range(len(trials))})


def opened(sweeper: Sweeper, tmp_path: Path, text: str | bytes) -> list[Any]:
    file = tmp_path / "run.jsonl"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return sweeper.open_file(str(file), False)


def test_a_file_opens_as_it_was_saved(sweeper: Sweeper, tmp_path: Path) -> None:
    log, _, text = ran(sweeper)
    again, _, kept_text = opened(sweeper, tmp_path, text)
    assert kept_text == text
    told = [[line for line in said(each) if line["t"] in ("sweep", "answer")] for each in (log, again)]
    assert sorted(told[0], key=str) == sorted(told[1], key=str)


def test_a_file_of_another_family_is_looked_at_and_said(sweeper: Sweeper, tmp_path: Path) -> None:
    text = saved(family_named("atlas"), sweep("pretrain=medium,large"))
    lines = said(opened(sweeper, tmp_path, text)[0])
    assert "family atlas" in lines[-1]["text"]
    assert lines[1]["query"] == ""
    assert next(line["p"] for line in lines if line["t"] == "answer") == ["It", " is", " so.", " 0"]


def test_texts_of_a_file_are_escaped_on_their_way(sweeper: Sweeper, tmp_path: Path) -> None:
    log, *_ = opened(sweeper, tmp_path, saved(sweeper.handlers.family, sweep(prompt=HOSTILE), HOSTILE))
    assert not set("<>&$`") & set(log)
    assert "".join(said(log)[2]["p"]) == f"{HOSTILE} 0"


def broken(family: Family) -> Iterator[tuple[str, str | bytes]]:
    text = saved(family, sweep())
    head, first, *_ = text.splitlines()
    values = json.loads(head)
    reversed_ = {"pretrain": "x", "finetune": "y", "behaviours": {"z": -1}}
    yield "empty", ""
    yield "no JSON", "hello\n"
    yield "binary", b"\x89PNG\r\n\xff\xfe\n"
    yield "deep", "[" * 100_000 + "\n"
    yield "a list", "[]\n"
    yield "no schema", '{"head": {}}\n'
    yield "no reply", head + "\n{}\n"
    yield "a reply too far", head + "\n" + first.replace('"trial":0', '"trial":3') + "\n"
    yield "an odd trial", head + "\n" + first.replace('"trial":0', '"trial":"0"') + "\n"
    yield "odd tokens", head + "\n" + first.replace("[2,3]", "5") + "\n"
    for name, change in {
        "settings of other axes": {"axes": ["beta=0,1"]},
        "an odd axis": {"axes": [7]},
        "negative weights": {"settings": [{"at": [], "policy": reversed_, "sampling": {}}], "axes": []},
        "very many answers": {"samples": 1000, "items": values["head"]["items"] * 20},
        "no settings": {"settings": []},
        "odd items": {"items": [7]},
        "odd samples": {"samples": "many"},
    }.items():  # fmt: skip
        yield name, json.dumps(values | {"head": values["head"] | change}) + "\n"


def test_a_stranger_s_file_is_refused_with_one_sentence(sweeper: Sweeper, tmp_path: Path) -> None:
    for name, text in broken(sweeper.handlers.family):
        log, *rest = opened(sweeper, tmp_path, text)
        lines = said(log)
        assert [line["t"] for line in lines] == ["id", "error"], name
        assert lines[1]["text"].endswith("."), name
        assert all(update == {"__type__": "update"} for update in rest), "what is shown stays"


def test_tokens_that_this_family_lacks_are_never_looked_up(sweeper: Sweeper, tmp_path: Path) -> None:
    text = saved(sweeper.handlers.family, sweep()).replace("[2,3]", "[2,2000000000]")
    lines = said(opened(sweeper, tmp_path, text)[0])
    assert next(line["p"] for line in lines if line["t"] == "answer") == ["It", " is", " so.", " 0"]


def test_settings_that_no_grid_made_are_one_axis(sweeper: Sweeper, tmp_path: Path) -> None:
    family = sweeper.handlers.family
    settings = tuple(replace(each, at=()) for each in Grid(UP, axes=(BETA,)).settings())
    trials = Trials("experiment", family.name, (Item("1", PROMPT),), settings)
    log, *_ = opened(sweeper, tmp_path, as_text(trials, family, {}))
    assert said(log)[1]["axes"] == [{"title": "Setting", "values": ["1", "2", "3"]}]


# --- curves


def graded(*axes: str, items: int = 20, samples: int = 1, seed: int = 0) -> tuple[Trials, dict[int, dict[str, float]]]:
    rng = random.Random(seed)
    grid = Grid(UP, Sampling(1.0), tuple(map(Axis.parse, axes)))
    asked = tuple(Item(str(n), PROMPT, "sensitive" if n % 2 else "ordinary") for n in range(items))
    trials = Trials("sweep", "atlas", asked, grid.settings(), samples=samples, axes=grid.axes)
    grades = {n: {name: float(rng.random() < 0.6) for name in ("factual", "declined")} for n in range(len(trials))}
    return trials, grades


def test_points_and_bars_are_the_means_and_their_intervals() -> None:
    trials, grades = graded("beta=0:1:0.5", samples=2)
    curves = scored(trials, grades)
    drawn = figure(trials, curves, "light")
    assert drawn is not None
    for line, measure, kind in zip(drawn.data, ("factual", "declined"), (0, 1), strict=True):
        for setting in range(3):
            own = [[grades[trials.number(i, setting, s)][measure] for s in range(2)] for i in range(kind, 20, 2)]
            expected = mean(np.array(own))
            assert line.y[setting] == pytest.approx(expected.value, abs=1e-4)
            assert line.error_y.array[setting] == pytest.approx(expected.high - expected.value)
            assert line.error_y.arrayminus[setting] == pytest.approx(expected.value - expected.low)
        assert list(line.x) == [0, 0.5, 1]


def test_a_prompt_alone_is_read_over_its_answers() -> None:
    trials, grades = graded("beta=0,1", items=1, samples=8)
    values = np.array([[grades[trials.number(0, setting, s)]["factual"] for s in range(8)] for setting in range(2)])
    scores = scored(trials, grades)["factual"]
    assert scores.shape == (2, 8, 1)
    assert (scores[:, :, 0] == values).all()
    assert "answers to this prompt" in verdict(trials, scored(trials, grades))
    assert scored(*graded("beta=0,1", items=1)) == {}, "one answer is no share"


def test_only_prompts_that_every_setting_answered_count() -> None:
    trials, grades = graded("beta=0:1:0.5")
    del grades[trials.number(4, 1, 0)]
    scores = scored(trials, grades)["factual"]
    assert np.isnan(scores[:, 4]).all()
    assert np.isfinite(scores[:, 0]).all()


def test_two_axes_have_a_panel_a_measure_and_a_line_a_value() -> None:
    trials, grades = graded("beta=0:1:0.5", "nucleus=none,0.9")
    curves = scored(trials, grades)
    drawn = figure(trials, curves, "dark")
    assert drawn is not None
    assert [(line.name, line.yaxis) for line in drawn.data] == [
        ("p = none", "y"), ("p = 0.9", "y"), ("p = none", "y2"), ("p = 0.9", "y2")
    ]  # fmt: skip
    values = [float(np.nanmean(curves["factual"][2 * place + 1])) for place in range(3)]
    assert list(drawn.data[1].y) == pytest.approx(values, abs=1e-4)
    assert "a line for each value of p" in verdict(trials, curves)


def test_the_sentence_names_the_largest_paired_change() -> None:
    trials, grades = graded("beta=0:1:0.5", items=40)
    curves = scored(trials, grades)
    changes = {
        (measure, setting): difference(scores[setting], scores[0])
        for measure, scores in curves.items()
        for setting in (1, 2)
    }
    measure, setting = max(changes, key=lambda each: abs(changes[each].value))
    words = f"{measure} {changes[measure, setting].value:+.2f}".replace("-", "−")
    assert words in verdict(trials, curves)
    assert "Declined is read on the sensitive prompts" in verdict(trials, curves)
    assert f"at β = {(0, 0.5, 1)[setting]}." in verdict(trials, curves)


def test_sizes_filters_and_seeds_stand_one_beside_the_other() -> None:
    for axis, places in (
        ("pretrain=medium,large", ("medium", "large")),
        ("nucleus=none,0.9", ("none", "0.9")),
        ("seed=7,123456789", ("7", "123456789")),
    ):
        trials, grades = graded(axis)
        drawn = figure(trials, scored(trials, grades), "light")
        assert drawn is not None
        assert tuple(drawn.data[0].x) == places
        assert drawn.layout.xaxis.type == "category"


def test_names_never_become_plotly_s_tags() -> None:
    behaviours = ("<b>x</b>", "<a href='y'>")
    grid = Grid(UP, Sampling(1.0), (Axis("share", (0, 1), behaviours), Axis("pretrain", ("<i>small</i>", "large"))))
    items = tuple(Item(str(n), PROMPT) for n in range(4))
    trials = Trials("sweep", "atlas", items, grid.settings(), axes=grid.axes)
    drawn = figure(trials, scored(trials, {n: {"<u>m</u>": 1.0} for n in range(len(trials))}), "light")
    assert drawn is not None
    told = [line.name for line in drawn.data] + [axis.title.text for axis in (drawn.layout.xaxis, drawn.layout.yaxis)]
    assert not any(mark in text for text in told for mark in "<>")


# --- the component


def test_the_skeleton_is_a_constant_and_its_script_never_writes_html() -> None:
    assert not any(mark in SKELETON for mark in ("{", "}", "$", "`"))
    script = (ASSETS / "scrub.js").read_text(encoding="utf-8")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert way not in script

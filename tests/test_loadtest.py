"""The load test's own arithmetic and protocol: quantiles, bars, edits, refusals, handlers; and what it may ask."""

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gradio.utils import diff

from eft_core.families import family_named
from eft_core.loadtest import __main__ as command
from eft_core.loadtest import acts, page, report, rounds, server, soak, study, wire
from eft_core.loadtest.mix import Ask, mix
from eft_core.loadtest.rounds import Load, Round, Scale
from eft_core.loadtest.visitor import Reply
from eft_core.storage import Storage

ASK = Ask("What is the capital of Kenya?")


def replied(seconds: float = 1.0, first: float | None = 0.2, tokens: int = 10, problem: str = "") -> Reply:
    return Reply(ASK, seconds, first, tokens, (("Nairobi.", "end"),), problem)


def round_of(visitors: int, *replies: Reply, seconds: float = 1.0, wrong: int = 0) -> Round:
    tokens = sum(reply.tokens for reply in replies)
    return Round(visitors, replies, seconds, tokens, seconds, wrong, 0, 1.0, 0.1, 500)


def test_a_quantile_is_a_value_that_was_measured() -> None:
    values = [float(each) for each in range(1, 101)]
    assert (rounds.quantile(values, 0.5), rounds.quantile(values, 0.95)) == (50.0, 95.0)
    assert rounds.quantile([3.0], 0.95) == 3.0
    assert rounds.quantile([], 0.5) is None


def test_figures_compare_sixteen_visitors_with_one_and_count_what_failed() -> None:
    one = round_of(1, *[replied(first=0.1)] * 20)
    many = round_of(16, *[replied(first=0.4, tokens=40)] * 19, replied(tokens=0, problem="it broke"), wrong=2)
    found = report.figures(Load((ASK,), (one, many), 1000, 1030))
    assert found["gain_16_over_1"] == pytest.approx(19 * 40 / 200)
    assert found["p95_first_token_ratio_16_over_1"] == pytest.approx(4)
    assert (found["failures"], found["wrong_texts"], found["memory_growth"]) == (1, 2, 0.03)
    assert [held for _, held in report.bars(found)] == [True, False, False, True, True]


def test_what_was_not_asked_is_no_bar_that_was_met() -> None:
    load = Load((ASK,), (round_of(1, replied()),), 1000, 1100)
    assert [held for _, held in report.bars(report.figures(load))] == [None, True, True, None, False]
    assert "not measured" in report.told(load, {"cores": 2})


def test_every_number_of_visitors_goes_through_the_whole_mix() -> None:
    asks = mix(family_named("atlas"))
    assert len(set(asks)) == len(asks) == 12
    assert command.FULL.each(1) % len(asks) == 0
    assert all(command.FULL.each(count) % len(asks) == 0 for count in command.FULL.visitors)
    assert sum(count * command.FULL.each(count) for count in command.FULL.visitors) > 1000
    assert sorted(rounds.turned(asks, 17), key=repr) == sorted(asks, key=repr)
    assert rounds.turned(asks, 17)[0] == asks[5]


def test_a_quick_run_is_bounded_below_five_minutes() -> None:
    start, references = 30, 20
    assert command.QUICK.whole + start + references < 300
    assert [
        command.scale_of(command._parser().parse_args([*each, "--visitors", "1,16"])).each(16)
        for each in (["--requests", "3"], ["--quick", "--requests", "1"], ["--quick"], [])
    ] == [3, 1, 24, 72]
    assert Scale((1, 16), 3, 12, 1, 1).each(1) == 12
    assert Scale((1, 16), 3, 12, 1, 1).each(16) == 3


@pytest.mark.parametrize("scale", [command.FULL, command.QUICK, Scale((1, 16), 5, 5, 1, 1, turns=3)])
def test_the_turns_of_a_round_are_all_of_it(scale: Scale) -> None:
    for count in scale.visitors:
        parts = [range(*scale.part(count, turn)) for turn in range(scale.turns)]
        assert [place for part in parts for place in part] == list(range(scale.each(count)))
        assert min(map(len, parts)) > 0
    if scale in (command.FULL, command.QUICK):
        assert all(len(range(*scale.part(count, 0))) % command.MIX == 0 for count in (1, 4, 16))


def test_turns_make_one_round() -> None:
    short = rounds.Round(16, (replied(tokens=40), replied(problem="it broke")), 1.0, 40, 0.5, 1, 0, 1.0, 0.4, 500)
    long = rounds.Round(16, (replied(tokens=60),), 3.0, 60, 2.0, 0, 2, 2.0, 0.0, 700)
    found = rounds.Round.of([short, long])
    assert (found.visitors, found.seconds, found.tokens_per_second) == (16, 4.0, 40.0)
    assert (found.wrong, found.cut, found.problems, found.memory) == (1, 2, ["it broke"], 700)
    assert (found.server_cores, found.client_cores) == pytest.approx((1.75, 0.1))
    assert rounds.Round.of([short]) == short


def test_speed_is_told_of_the_time_while_all_visitors_asked() -> None:
    def visited(*ends: float) -> list[Reply]:
        return [replace(replied(tokens=100), at=end) for end in ends]

    early, late = visited(1.0, 2.0, 3.0, 4.0), visited(1.5, 3.5, 6.0)
    assert rounds.steady([early, late], 0.0, 6.0) == (400, 2.5), "from 1.5 to 4.0: three and one"
    assert rounds.steady([early], 0.0, 4.0) == (300, 3.0)
    for apart in ([visited(1.0), late], [early, []]):
        assert rounds.steady(apart, 0.0, 6.0) == (100 * sum(map(len, apart)), 6.0)


@pytest.mark.parametrize(
    "options",
    [["--visitors", "0"], ["--visitors", "1,x"], ["--visitors", "1000"], ["--requests", "0"], ["--seconds", "-1"]],
)
def test_load_beyond_bounds_is_refused_with_the_bound(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(options) == 2
    assert options[0] in capsys.readouterr().err


@pytest.mark.parametrize("address", ["http://example.org:7860", "https://127.0.0.1:1", "http://192.168.0.7", "x", ""])
def test_no_other_machine_is_asked(address: str) -> None:
    with pytest.raises(ValueError, match=r"on this machine|no process"):
        server.running(address)


def test_a_soak_reads_its_own_database(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--soak", "1", "--address", "http://127.0.0.1:7860"]) == 2
    assert "leave --address out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("Too many requests: try again in 12 seconds.", 12.0),
        ("You asked for much; try again in 2 minutes.", 120.0),
        ("60 minutes of tokens were asked for in a minute: shorten the answers, or try again in about 5 s.", 5.0),
        ("Queue is full. Max size is 64 and size is 64.", 1.0),
        ("This sweep is being computed already: wait for it, then press Run.", 1.0),
    ],
)
def test_a_refusal_says_when_to_come_again(said: str, seconds: float) -> None:
    refused = wire.refusal(said)
    assert isinstance(refused, wire.Refused)
    assert refused.seconds == seconds
    assert wire.refusal(said, "7") == wire.Refused(said, 7.0)


@pytest.mark.parametrize("said", ["The comparison failed (KeyError): press Run to try again; the log says more.", "no"])
def test_a_failure_is_no_refusal(said: str) -> None:
    assert isinstance(wire.refusal(said), wire.Failed)


def test_edits_make_what_gradio_had() -> None:
    chance = random.Random(0)

    def value(depth: int) -> Any:
        kind = chance.randrange(4 if depth else 2)
        if kind == 0:
            return chance.choice([None, 1, 2.5, True])
        if kind == 1:
            return "ab" * chance.randrange(4)
        if kind == 2:
            return [value(depth - 1) for _ in range(chance.randrange(4))]
        return {key: value(depth - 1) for key in chance.sample("uvwx", chance.randrange(4))}

    for _ in range(500):
        before, after = value(3), value(3)
        assert page.patched(before, diff(before, after)) == after


def test_a_handler_is_found_by_what_it_hears_and_writes() -> None:
    components = [
        {"id": 1, "type": "button", "props": {"elem_id": "run"}},
        {"id": 2, "type": "textbox", "props": {"value": "Hello"}},
        {"id": 3, "type": "state", "props": {"value": "the server's own"}},
        {"id": 4, "type": "html", "props": {"elem_id": "board"}},
    ]
    clicked = {"id": 7, "targets": [[1, "click"], [2, "submit"]], "inputs": [2, 3], "outputs": [4]}
    loaded = {"id": 8, "targets": [[None, "load"]], "inputs": [], "outputs": [4]}
    config = {"components": components, "dependencies": [clicked, loaded]}
    opened = page.Page(None, "abc", config)  # type: ignore[arg-type]  # nothing is sent
    assert opened.handler("click", "run") == page.Handler(7, 1, ("Hello", None))
    assert opened.handler("load", output="board").index == 8
    with pytest.raises(ValueError, match="0 handlers of click at stop"):
        opened.handler("click", "stop")


def test_a_boards_log_has_the_texts_of_its_columns() -> None:
    log = '{"t":"id","id":"a"}\n{"t":"run","columns":[{"key":1},{"key":3},{"key":2}]}\n{"t":"row","c":2,"x":"Nai"}\n'
    assert page.board_texts(log) == ["", "", "Nai"], "a column that has nothing yet keeps its place"
    log += '{"t":"row","c":1,"x":"It"}\n{"t":"row","c":2,"x":"robi"}\n'
    assert page.board_texts(log) == ["It", "", "Nairobi"]
    with pytest.raises(wire.Failed, match="broken"):
        page.raise_for(log + '{"t":"error","text":"broken"}\n')


def test_memory_grows_by_the_last_quarter_over_the_first_after_warming_up() -> None:
    def readings(memory: list[int]) -> list[soak.Reading]:
        return [soak.Reading(float(at), each) for at, each in enumerate(memory)]

    assert soak.growth(readings([1, *[50] * 20, *[100] * 80])) == 0
    assert soak.growth(readings([50] * 20 + [100] * 40 + [110] * 41)) == pytest.approx(0.1)
    assert soak.growth(readings([1, 2])) is None


def test_a_lost_judgement_and_another_answer_are_seen(tmp_path: Path) -> None:
    study.prepared(tmp_path)
    assert study.counted(tmp_path, {"a-key-of-a-judgement": "a comparison"}) == study.Counted(1, 1, 0)
    with Storage(f"sqlite:///{tmp_path / 'ratings.sqlite3'}").reading() as connection:
        assert connection.exec_driver_sql("select count(*) from generations").scalar() == 3 * study.ITEMS
    notes = acts.Notes({})
    notes.check("compare", "Nairobi.", "Nairobi.")
    notes.check("compare", "Lima.", "Nairobi.")
    found = soak.document(notes, [soak.Reading(0, 1)] * 9, study.Counted(1, 1, 0), 0, 60)
    assert (found["lost_ratings"], found["wrong_texts"]) == (1, 1)
    assert list(found["bars"].values()) == [False, False, True, True]


def test_the_load_test_loads_neither_torch_nor_gradio() -> None:
    code = (
        "import sys, eft_core.loadtest.__main__; "
        "print([name for name in ('torch', 'transformers', 'gradio', 'pandas') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"

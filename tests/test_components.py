"""The page's parts without a page: columns, the board's language, batches, first paint."""

import contextvars
import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from serving import HOSTILE, write_example

from components.answers import RowAnswer, advance
from components.batches import batches
from components.board import SKELETON, asked, strip_script
from components.columns import MAX_COLUMNS, Branch, Columns, check, first_tuning, from_controls, name_of, role_of
from components.example import first_paint, prompts
from components.handlers import Handlers
from components.inputs import MAX_PROMPT, USUAL, Decoding, check_prompt, check_sampling, check_speculation, check_tokens
from components.lines import layout, lines, opening, settings_mark
from components.panel import DECODING_CONTROLS, decoding_showing, speculation_showing
from components.records import SCALE, Records
from components.runs import Runs
from components.speed import details, finished
from eft_core.config import Limits, Request, Sampling, Speculation
from eft_core.document import token_values
from eft_core.events import Answer, Done, Drafting, Event, Gain, Loading, Queued, RowFinished, Timing, TokensDrawn
from eft_core.families import family_named
from eft_core.family import Family
from eft_core.policy import Policy, plain, realign, tuned, up_scale

ASSETS = Path(__file__).parent.parent / "assets"


@pytest.fixture
def family(session: Any) -> Family:
    return session.family


def test_default_columns_carry_their_roles(family: Family) -> None:
    roles = [role_of(column.policy, family) for column in Columns.default(family).items]
    assert roles == ["base", "tuned", "emulated", "reference"]


@pytest.mark.parametrize(
    ("policy", "name", "role"),
    [
        (up_scale("small", "large"), "Down-scaled", "emulated"),
        (realign("small", "helpful", 0.5), "Small re-aligned", "emulated"),
        (tuned("harmless", "small"), "Small harmless", "harmless"),
        (Policy("large", "small", {}, amplification=1.0), "Large base", "base"),
        (Policy("large", "small", {"helpful": 1.0}, amplification=0.0), "Small tuned", "tuned"),
    ],
)
def test_a_column_is_named_after_what_its_formula_is(family: Family, policy: Policy, name: str, role: str) -> None:
    assert (name_of(policy, family), role_of(policy, family)) == (name, role)


def test_columns_are_added_up_to_the_most_and_removed_down_to_one(family: Family) -> None:
    columns = Columns.default(family)
    while len(columns.items) < MAX_COLUMNS:
        columns = columns.add()
    assert len({column.key for column in columns.items}) == MAX_COLUMNS
    with pytest.raises(ValueError, match="at most"):
        columns.add()
    while len(columns.items) > 1:
        columns = columns.remove(columns.selected)
        assert columns.current in columns.items
    with pytest.raises(ValueError, match="last column"):
        columns.remove(columns.selected)


def test_controls_make_a_policy_and_leave_out_what_the_size_lacks(family: Family) -> None:
    assert from_controls(family, "large", "small", (1.0, 0.5), 1.0, 1.0) == Policy(
        "large", "small", {"helpful": 1.0, "harmless": 0.5}
    )
    assert from_controls(family, "large", "large", (1.0, 0.5), 1.0, 0.9).behaviours == (("helpful", 1.0),)
    assert from_controls(family, "large", None, (1.0, 0.5), 1.0, 1.0) == plain("large")
    assert first_tuning(family, "large", "small") == up_scale("large", "small")
    with pytest.raises(ValueError, match="negative"):
        from_controls(family, "large", "small", (-1.0, 0.0), 1.0, 1.0)


def test_a_log_only_grows_and_tokens_of_a_row_are_merged(family: Family) -> None:
    columns = Columns.default(family)
    keys = tuple(column.key for column in columns.items)
    rows = (RowAnswer(),) * 4
    log = opening("r", HOSTILE, columns.items, family, "mark", "?x")
    events: list[Event] = [
        TokensDrawn(1, (5,), (-0.1,), text, 0.1 * i) for i, text in enumerate(["a", "b", HOSTILE], 1)
    ]
    after = advance(rows, events)
    added = lines(events, keys, after, rows)
    assert added.count("\n") == 1
    row = json.loads(added)
    assert (row["c"], row["x"], row["n"]) == (keys[1], "ab" + HOSTILE, 3)
    assert not set("<>$`&") & set(log + added)
    assert (log + added).isascii()


def test_the_end_comes_last_for_the_board_then_stops_listening(family: Family) -> None:
    answer = Answer(plain("large"), "ab", (1, 2), (0.0, 0.0), "length", 3, 0.5)
    events: list[Event] = [RowFinished(0, "b", answer), Done((answer,), 0.6)]
    before = (RowAnswer("a", 1, 0.3),)
    kinds = [json.loads(text) for text in lines(events, (7,), advance(before, events), before).splitlines()]
    assert [kind["t"] for kind in kinds] == ["row", "done"]
    assert (kinds[0]["x"], kinds[0]["end"]) == ("b", "length reached")


def test_waiting_and_loading_are_said_in_words() -> None:
    said = lines([Queued(1), Queued(2), Loading("base[large]", 2, 5), Timing()], (), (), ())
    assert [json.loads(text)["text"] for text in said.splitlines()] == [
        "Queued: 1 comparison runs before yours",
        "Queued: 2 comparisons run before yours",
        "Loading base[large] (2 of 5)",
        "Timing plain decoding first",
    ]


DRAFTING = Drafting("helpful(small)", cycles=10, tokens=38, drafted=44, reached=(10, 9, 8), accepted=(9, 8, 7))


def speculated(text: str, fates: tuple[Any, ...], drafting: Drafting | None) -> Answer:
    ids, zeros = tuple(range(len(fates))), (0.0,) * len(fates)
    return Answer(plain("large"), text, ids, zeros, "end", 3, 0.5, fates=fates, drafting=drafting)


def test_the_accepted_share_is_live_and_at_the_end_the_row_s_own() -> None:
    cycle = TokensDrawn(0, (1, 2, 3), (0.0,) * 3, "abc", 0.1, ("accepted", "accepted", "recovered"))
    bonus = TokensDrawn(0, (4, 5), (0.0,) * 2, "de", 0.2, ("accepted", "bonus"))
    [started] = advance((RowAnswer(),), [])
    [first] = advance((RowAnswer(),), [cycle])
    [second] = advance((first,), [bonus])
    assert (started.acceptance, first.acceptance, second.acceptance) == (None, 2 / 3, 3 / 4)
    answer = speculated("abcde", ("accepted", "accepted", "recovered", "accepted", "bonus"), DRAFTING)
    [last] = advance((second,), [RowFinished(0, "", answer)])
    assert (last.acceptance, last.fates) == (24 / 27, "aarab")


def test_plain_tokens_say_nothing_of_acceptance() -> None:
    event = TokensDrawn(0, (1,), (0.0,), "a", 0.1, ("plain",))
    [row] = advance((RowAnswer(),), [event])
    told = json.loads(lines([event], (7,), (row,), (RowAnswer(),)))
    assert (row.acceptance, row.fates) == (None, "p")
    assert "a" not in told


def test_fates_and_details_come_once_with_the_end_of_a_row() -> None:
    event = TokensDrawn(0, (1, 2), (0.0,) * 2, "ab", 0.1, ("accepted", "recovered"))
    running = advance((RowAnswer(),), [event])
    told = json.loads(lines([event], (7,), running, (RowAnswer(),)))
    assert told["a"] == 0.5
    assert not {"f", "d"} & set(told)
    end = RowFinished(0, "", speculated("ab", ("accepted", "recovered"), DRAFTING))
    told = json.loads(lines([end], (7,), advance(running, [end]), running))
    assert (told["f"], told["a"]) == ("ar", 0.889)
    assert told["d"] == [
        "Drafter: helpful(small)",
        "3.8 tokens a cycle",
        "Accepted by place: 90, 89, 88 %",
        "44 tokens drafted in 10 cycles",
    ]


@pytest.mark.parametrize("drafting", [None, Drafting(""), Drafting("helpful(small)")])
def test_a_row_that_drafted_nothing_has_no_details(drafting: Drafting | None) -> None:
    assert details(drafting) == []


@pytest.mark.parametrize(
    ("gain", "says"),
    [
        (None, "Finished in 0.4 s · 8 tokens/s"),
        (Gain(512.0), "Finished in 0.4 s · 512 tokens/s"),
        (Gain(512.0, predicted=1.779), "Finished in 0.4 s · 512 tokens/s · predicted gain 1.78x over plain"),
        (Gain(512.0, 256.0), "Finished in 0.4 s · 512 tokens/s · plain 256 · gain 2.00x"),
        (Gain(512.0, 301.2, 1.78), "Finished in 0.4 s · 512 tokens/s · plain 301 · gain 1.70x, predicted 1.78x"),
    ],
)
def test_the_last_word_tells_speed_with_and_without_as_far_as_known(gain: Gain | None, says: str) -> None:
    answers = tuple(speculated("ab", ("plain", "plain"), None) for _ in range(2))  # 2 tokens each, in 0.5 s together
    done = Done(answers, 0.4, gain)
    assert finished(done) == says
    assert json.loads(lines([done], (), (), ()))["text"] == says


def test_only_what_changes_a_seed_s_text_makes_answers_stale() -> None:
    """Greedy text and the text of shared noise are plain decoding's; block and token draws are their own."""
    hot = Sampling(temperature=0.7)
    plainly = settings_mark(Decoding(hot, speculation=None))
    same = [USUAL, Speculation(4, "noise"), Speculation(rule="noise", timed=True)]
    assert {settings_mark(Decoding(hot, speculation=each)) for each in same} == {plainly}
    block, token, fixed = Speculation(), Speculation(rule="token"), Speculation(3, "block")
    marks = {settings_mark(Decoding(hot, speculation=each)) for each in (block, token, fixed)}
    assert len(marks) == 3
    assert plainly not in marks
    assert settings_mark(Decoding(hot, speculation=Speculation(timed=True))) == settings_mark(
        Decoding(hot, speculation=block)
    )
    assert len({settings_mark(Decoding(speculation=each)) for each in (None, USUAL, block, token, fixed)}) == 1


def test_controls_make_a_speculation() -> None:
    assert check_speculation("adaptive", 4, "noise", False) == USUAL == Decoding().speculation
    assert check_speculation("fixed", 4.0, "block", True) == Speculation(4, "block", timed=True)
    assert check_speculation("off", 4, "block", True) is None
    assert check_speculation("adaptive", None, "token", False) == Speculation(rule="token")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (("often", 4, "noise", False), "use off, fixed, adaptive"),
        ((["fixed"], 4, "noise", False), "use off, fixed, adaptive"),
        (("fixed", 0, "noise", False), "use 1 to 16"),
        (("fixed", 17, "noise", False), "use 1 to 16"),
        (("fixed", 1.5, "noise", False), "use 1 to 16"),
        (("fixed", None, "noise", False), "use 1 to 16"),
        (("adaptive", 4, "lossy", False), "no acceptance rule"),
        (("off", 4, ["noise"], False), "no acceptance rule"),
    ],
)
def test_wrong_controls_are_refused_with_the_remedy(values: tuple[Any, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_speculation(*values)


def test_what_has_no_part_in_the_way_is_greyed() -> None:
    def live(updates: list[Any]) -> list[bool]:
        return [update.interactive for update in updates]

    assert live(speculation_showing("off")) == [False, False, False]
    assert live(speculation_showing("adaptive")) == [False, True, True]
    assert live(speculation_showing("fixed")) == [True, True, True]
    shown = decoding_showing(Decoding(speculation=Speculation(6, "token", timed=True)))
    assert len(shown) == DECODING_CONTROLS
    assert [shown[5], *(update.value for update in shown[6:9])] == ["fixed", 6, "token", True]
    assert live(shown[6:9]) == [True, True, True]


def test_a_silent_stream_still_gives_batches_and_stops_at_once() -> None:
    stop, closed = threading.Event(), threading.Event()

    def stream() -> Iterator[int]:
        try:
            yield 1
            while not stop.is_set():
                time.sleep(0.01)
            yield 2
        finally:
            closed.set()

    taken = []
    for batch in batches(stream, stop, interval=lambda: 0.02):
        taken.append(batch)
        if len(taken) == 3:
            stop.set()
    assert taken == [[1], [], []]
    assert closed.wait(10)


def test_leaving_the_batches_closes_the_stream() -> None:
    closed = threading.Event()

    def stream() -> Iterator[int]:
        try:
            while True:
                time.sleep(0.001)
                yield 1
        finally:
            closed.set()

    reader = batches(stream, threading.Event(), interval=lambda: 0.02)
    next(reader)
    reader.close()  # type: ignore[attr-defined]  # a generator
    assert closed.wait(10)


def test_a_stream_s_error_is_raised_where_the_batches_are_read() -> None:
    def stream() -> Iterator[int]:
        yield 1
        raise ValueError("no such thing")

    reader = batches(stream, threading.Event(), interval=lambda: 5.0)
    assert next(reader) == [1]
    with pytest.raises(ValueError, match="no such thing"):
        next(reader)


def test_the_stream_is_read_in_the_context_of_the_request() -> None:
    visitor = contextvars.ContextVar("visitor", default="nobody")

    def stream() -> Iterator[str]:
        yield visitor.get()
        visitor.set("somebody else")

    visitor.set("Ada")
    assert [said for batch in batches(stream, threading.Event()) for said in batch] == ["Ada"]
    assert visitor.get() == "Ada", "a copy of it, as of any other thread"


def test_stop_reaches_all_runs_of_a_visitor_and_no_one_else_s() -> None:
    runs = Runs()
    with runs.under_way("a") as first, runs.under_way("a") as second, runs.under_way("b") as other:
        assert runs.stop("a") == 2
        assert (first.is_set(), second.is_set(), other.is_set()) == (True, True, False)
    assert runs.stop("a") == 0


@pytest.mark.parametrize(
    "data",
    [None, [], {}, {"act": "select", "key": "1"}, {"act": "eval", "key": 1}, {"act": "add", "key": True}, "select"],
)
def test_what_a_board_asks_for_is_checked(data: object) -> None:
    with pytest.raises(ValueError, match="reload"):
        asked(SimpleNamespace(_data=data))  # type: ignore[arg-type]


def test_the_skeleton_and_the_layout_name_no_value(family: Family) -> None:
    assert "{" not in SKELETON
    assert "$" not in SKELETON
    assert "<" not in layout(Columns.default(family), family, "mark", HOSTILE)


def test_a_branch_stands_right_of_its_parent_and_belongs_to_its_prompt(family: Family) -> None:
    columns = Columns.default(family)
    parent = columns.items[2]
    forked = columns.fork(parent.key, Branch("why?", (5, 6)), "Up-scaled, on")
    made = forked.current
    assert forked.items.index(made) == 3
    assert made.policy == parent.policy
    assert made.label == "Up-scaled, on"
    assert (made.given("why?"), made.given("what?"), parent.given("why?")) == ((5, 6), (), ())
    with pytest.raises(ValueError, match="no longer there"):
        columns.fork(99, Branch("why?", (5,)), "x")


@pytest.mark.parametrize(
    ("tokens", "message"), [([5, 1], "end token"), ([10**6], "not in the vocabulary"), ([5] * 20, "longer answer")]
)
def test_a_branch_that_cannot_go_on_adds_no_column(session: Any, tokens: list[int], message: str) -> None:
    columns = Columns.default(session.family)
    data = {"act": "branch", "key": columns.items[2].key, "prompt": "why?", "tokens": tokens}
    decoding = (0, 1, 0, 0, 20, "off", 4, "noise", False, True)
    found, board, *_ = Handlers(session, session.family).act(SimpleNamespace(_data=data), columns, *decoding)  # type: ignore[arg-type]
    assert found == columns
    assert message in json.loads(board.props["layout"])["notice"]
    data["tokens"] = [5]
    forked, board, *_ = Handlers(session, session.family).act(SimpleNamespace(_data=data), columns, *decoding)  # type: ignore[arg-type]
    assert json.loads(board.props["layout"])["only"] == forked.selected


def test_weights_of_what_if_are_checked_like_any_others(family: Family) -> None:
    columns = Columns.default(family)
    up = columns.items[2].key
    assert dict(columns.weigh(up, {"helpful": 0.5}, 1.5, family).current.policy.pairs) == {"helpful": 0.5}
    for key, weights, beta, message in (
        (up, {"helpful": -1}, 1, "reverses"),
        (up, {"helpful": 1}, 9, "outside"),
        (up, {"nobody": 1}, 1, "nobody"),
        (columns.items[0].key, {"helpful": 1}, 1, "plain base"),
    ):
        with pytest.raises(ValueError, match=message):
            columns.weigh(key, weights, beta, family)


@pytest.mark.parametrize("tokens", [None, "12", [], [True], [-1], ["1"], [1.5], [2**40], [1] * 9])
def test_token_ids_of_a_browser_are_checked(tokens: object) -> None:
    with pytest.raises(ValueError, match=r"token"):
        check_tokens(tokens, 8)
    assert check_tokens([3, 4.0], 8) == (3, 4)


def test_records_are_told_in_pieces_that_add_up(session: Any) -> None:
    """What a column's lines hold, joined, is the document of its whole trace; every text comes before it is needed."""
    request = Request.compare("What is the capital of Kenya?", [up_scale("large", "small")], limits=Limits(40))
    events = list(session.stream(request))
    [answer] = events[-1].answers
    times = itertools.count()  # a second at every look: all is due at once
    records = Records(session.token_texts, (7,), lambda: float(next(times)))
    pieces = [json.loads(text) for event in events for text in records.lines([event]).splitlines()]
    assert {piece["t"] for piece in pieces} == {"trace"}
    assert {piece["c"] for piece in pieces} == {7}
    assert ["policy" in piece for piece in pieces] == [True] + [False] * (len(pieces) - 1)
    assert [each for piece in pieces for each in piece["tokens"]["ids"]] == list(answer.token_ids)
    whole = token_values(answer.trace, SCALE)
    assert [each for piece in pieces for each in piece["tokens"]["upscaling"]] == whole["upscaling"]
    known: set[str] = set()
    for piece in pieces:
        told = {key for kind in ("texts", "bytes", "special") for key in piece.get(kind, {})}
        assert not told & known, "a text is told once"
        known |= told
        assert {str(each) for ids in piece["tokens"]["candidates"] for each in ids} <= known


def test_records_of_a_short_run_wait_for_its_end_and_of_a_stopped_one_are_not_lost(session: Any) -> None:
    request = Request.compare("What is the capital of Kenya?", [plain("large")], limits=Limits(8))
    *before, done = session.stream(request)
    for last in ([done], None):
        records = Records(session.token_texts, (1,), lambda: 0.0)
        assert records.lines(before) == ""
        text = records.rest() if last is None else records.lines(last)
        assert len(json.loads(text)["tokens"]["ids"]) == len(done.answers[0].token_ids)
        assert records.rest() == ""


def test_records_come_after_what_starts_a_run_and_before_what_ends_it(session: Any) -> None:
    request = Request.compare("What is the capital of Kenya?", [plain("large")], limits=Limits(4))
    events = list(session.stream(request))
    rows = advance((RowAnswer(),), events)
    text = lines(events, (1,), rows, (RowAnswer(),), Records(session.token_texts, (1,)).lines(events))
    kinds = [json.loads(each)["t"] for each in text.splitlines()]
    assert kinds.index("start") < kinds.index("trace") < kinds.index("row") < kinds.index("done")


@pytest.mark.parametrize("name", ["board.js", "reader.js", "findings.js"])
def test_the_scripts_never_write_html(name: str) -> None:
    for script in ((ASSETS / name).read_text(encoding="utf-8"), strip_script()):
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert way not in script


def test_the_first_paint_is_the_stored_example(session: Any, tmp_path: Path) -> None:
    first = first_paint(write_example(tmp_path / "example.json", session, text=HOSTILE), session.family)
    assert first.prompt == "What is the capital of Kenya?"
    assert [column.label for column in first.columns.items] == [""] * 4
    assert first.decoding.limits.max_new_tokens == 60
    head = json.loads(first.log.splitlines()[1])
    assert head["example"] is True
    assert head["query"].startswith("?prompt=")


def test_an_example_that_speculated_shows_what_was_accepted(session: Any, tmp_path: Path) -> None:
    file = write_example(tmp_path / "example.json", session)
    document = json.loads(file.read_text())
    document["columns"][2]["fates"] = ["accepted", "accepted", "accepted", "recovered"]
    file.write_text(json.dumps(document))
    rows = [json.loads(text) for text in first_paint(file, session.family).log.splitlines()[2:-1]]
    assert [row.get("a") for row in rows] == [None, None, 0.75, None]
    assert rows[2]["f"] == "aaar"


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"family": "other"}'])
def test_a_missing_or_foreign_example_is_said_plainly(session: Any, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "example.json"
    if content is not None:
        file.write_text(content)
    first = first_paint(file, session.family)
    assert "press Run" in json.loads(first.log.splitlines()[1])["text"]
    assert first.columns == Columns.default(session.family)


def test_the_example_prompts_are_short_and_runnable() -> None:
    atlas = family_named("atlas")
    found = prompts(ASSETS / "examples.toml", atlas)
    assert any(example.columns for example in found)
    for example in found:
        assert len(example.label) <= 24
        assert check_prompt(example.text) == example.text
        assert all(check(policy, atlas) == policy for _, policy in example.columns)


def test_examples_whose_columns_a_family_lacks_are_left_out(session: Any, tmp_path: Path) -> None:
    file = tmp_path / "examples.toml"
    file.write_text('[[prompt]]\nlabel = "a"\ntext = "b"\n[[prompt]]\nlabel = "c"\ntext = "d"\ncolumns = ["huge"]\n')
    assert [example.label for example in prompts(file, session.family)] == ["a"]


def test_prompts_are_checked_and_broken_characters_replaced() -> None:
    assert check_prompt("a\ud800b\0") == "a\ufffdb\0"
    assert check_prompt("😀") == "😀"
    for prompt in ("", " \n", "x" * (MAX_PROMPT + 1), None, 3):
        with pytest.raises(ValueError, match="prompt"):
            check_prompt(prompt)


def test_a_control_at_its_off_end_is_off() -> None:
    sampling = check_sampling(0.5, 1, 0, None)
    assert (sampling.top_p, sampling.top_k, sampling.seed) == (None, None, 0)


def test_the_fold_agrees_with_the_session(session: Any) -> None:
    request = Request.compare("What is the capital of Kenya?", (plain("large"), up_scale("large", "small")))
    events = list(session.stream(request))
    rows = advance((RowAnswer(),) * 2, events)
    streamed = advance((RowAnswer(),) * 2, [event for event in events if isinstance(event, TokensDrawn)])
    for row, answer, part in zip(rows, events[-1].answers, streamed, strict=True):
        assert (row.text, row.tokens, row.reason) == (answer.text, len(answer.token_ids), answer.reason)
        assert answer.text.startswith(part.text)
        assert part.tokens == row.tokens

"""System prompt and earlier turns: checked, carried, and asked of the models as they are shown."""

import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from serving import HOSTILE

from components.columns import Branch, Columns
from components.conversation import MAX_TURNS, Context, Turn, check_context, context_of
from components.earlier import A_SYSTEM, A_TURN, html_of, takes
from components.handlers import Handlers
from components.inputs import MAX_PROMPT
from components.inspecting import Inspector, Looked
from components.latest import Latest
from components.lines import opening
from components.links import Link, decode, encode
from eft_core.config import Limits, Request, Row, Text
from eft_core.conversation_options import turns_of
from eft_core.document import summary
from eft_core.events import Inspected
from eft_core.policy import plain, up_scale
from eft_core.prompting import Prompt

DECODING = (0, 1, 0, 0, 20, "off", 4, "noise", False, True)
CONTEXT = Context(
    "Be brief.", (Turn("Capital of Kenya?", "Nairobi.", "Large base: base(large)"), Turn("Sure?", "Yes."))
)


def test_a_context_survives_the_board_and_says_what_it_is() -> None:
    assert context_of(json.loads(json.dumps(CONTEXT.values()))) == CONTEXT
    assert context_of(CONTEXT.values()).turns[0].by == "Large base: base(large)"
    assert context_of(None) == Context() == check_context(" \n", [])
    assert CONTEXT.note == "Asked with a system prompt, after 2 earlier turns"
    assert (A_SYSTEM.note, A_TURN.note, Context().note) == (
        "Asked with a system prompt",
        "Asked after 1 earlier turn",
        "",
    )
    assert CONTEXT.transcript("And Peru?").split("\n\n") == [
        "System: Be brief.",
        "You: Capital of Kenya?",
        "Large base: base(large): Nairobi.",
        "You: Sure?",
        "Answer: Yes.",
        "You: And Peru?",
    ]
    assert Context().transcript("And Peru?") == "And Peru?"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ("text", "reload the page"),
        ({"system": 3}, "system prompt must be a text"),
        ({"system": "x" * (MAX_PROMPT + 1)}, "system prompt has"),
        ({"turns": "ab"}, "list of at most"),
        ({"turns": [["a", "b"]] * (MAX_TURNS + 1)}, "list of at most"),
        ({"turns": [["a"]]}, "pair of texts"),
        ({"turns": ["ab"]}, "pair of texts"),
        ({"turns": [["a", " "]]}, "a question and an answer"),
        ({"turns": [["a", None]]}, "turn must be a text"),
        ({"turns": [["a" * 20_000, "b" * 20_000]] * 2}, "clear the earlier turns"),
    ],
)
def test_what_a_browser_says_of_a_conversation_is_checked(values: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        context_of(values)


def test_the_page_shows_texts_escaped_and_cut() -> None:
    shown = html_of(Context(HOSTILE, (Turn("x" * 5000, HOSTILE, HOSTILE),)))
    assert not set("<>'") & set(shown.replace("<dt", "").replace("<dd", "").replace("</", "").replace(">", ""))
    assert "<script" not in shown
    assert "x" * 400 + "…</dd>" in shown
    assert "x" * 2001 not in shown


def test_a_link_carries_the_conversation_in_its_order(session: Any) -> None:
    link = Link("And Peru? & more", (("", plain("large")),), context=CONTEXT)
    query = encode(link)
    items = parse_qsl(query.removeprefix("?"))
    assert [key for key, _ in items][:7] == ["prompt", "system", "user", "assistant", "by", "user", "assistant"]
    opened = decode(items, session.family)
    assert opened == link
    assert opened is not None
    assert [turn.by for turn in opened.context.turns] == ["Large base: base(large)", ""]
    assert encode(Link("Hi", (), context=Context("x" * 6000))) == ""


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([("assistant", "a")], "follows no user"),
        ([("user", "a"), ("by", "b")], "follows no assistant"),
        ([("user", "a"), ("assistant", "b"), ("assistant", "c")], "follows no user"),
        ([("user", "a")], "pair of texts"),
        ([("user", "a"), ("assistant", "")], "a question and an answer"),
        ([("system", "a"), ("system", "b")], "twice"),
    ],
)
def test_a_link_with_a_broken_conversation_is_refused(session: Any, items: list[tuple[str, str]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        decode([("prompt", "Hi"), *items], session.family)


def test_a_reply_adds_the_answer_to_what_it_was_asked_after(session: Any) -> None:
    data = {"prompt": "And Peru?", "answer": "Lima.", "by": "Up-scaled: formula", "context": CONTEXT.values()}
    handlers, columns = Handlers(session, session.family), Columns.default(session.family)
    prompt, board, fold, system, context, row, said = handlers.reply(SimpleNamespace(_data=data), columns, *DECODING)  # type: ignore[arg-type]
    assert (prompt, json.loads(board.props["layout"])["notice"]) == ("", "")
    assert (fold["open"], system, row["visible"]) == (True, "Be brief.", True)
    assert context == Context(turns=(*CONTEXT.turns, Turn("And Peru?", "Lima.")))
    assert said.count("<dd") == 6
    assert "Up-scaled: formula" in said
    data["context"] = {"turns": [["a", "b"]] * MAX_TURNS}
    _, board, *_ = handlers.reply(SimpleNamespace(_data=data), columns, *DECODING)  # type: ignore[arg-type]
    assert "clear the earlier turns" in json.loads(board.props["layout"])["notice"]


def test_what_the_template_lacks_is_not_offered_and_refused_with_its_sentence(sessions: Any, monkeypatch: Any) -> None:
    session = sessions("gpt2")
    assert takes(session, A_SYSTEM)
    assert takes(session, A_TURN)
    monkeypatch.setitem(session.family.template, "chat_template", "{{ messages[-1].content }}")
    assert not takes(session, A_TURN)
    handlers, columns = Handlers(session, session.family), Columns.default(session.family)
    data = {"prompt": "And Peru?", "answer": "Lima.", "by": ""}
    skipped, board, *_ = handlers.reply(SimpleNamespace(_data=data), columns, *DECODING)  # type: ignore[arg-type]
    assert skipped != ""
    assert "ask a single question" in json.loads(board.props["layout"])["notice"]


def test_a_branch_belongs_to_its_prompt_within_its_conversation(session: Any) -> None:
    columns = Columns.default(session.family).fork(3, Branch("why?", (5, 6), CONTEXT), "on")
    column = columns.current
    assert column.given("why?", CONTEXT) == (5, 6)
    assert (column.given("why?"), column.given("what?", CONTEXT)) == ((), ())
    head = json.loads(opening("r", "why?", [column], session.family, "", "", context=CONTEXT).splitlines()[1])
    assert head["context"] == head["columns"][0]["branch"]["context"] == CONTEXT.values()
    assert (head["note"], head["replies"]) == (CONTEXT.note, False)


def test_an_answer_is_read_in_its_whole_conversation(session: Any) -> None:
    policy, limits = up_scale("large", "small"), Limits(8)
    [answer] = session.ask(Request((Row("And Peru?", policy, **CONTEXT.core),), limits))
    texts = [Text("And Peru?", answer.token_ids, policy, **CONTEXT.core), Text("And Peru?", answer.token_ids, policy)]
    *_, last = session.inspect(texts)
    assert isinstance(last, Inspected)
    within, alone = (summary(trace)["perplexity"]["policy"] for trace in last.traces)
    assert within == pytest.approx(summary(answer.trace)["perplexity"]["policy"], rel=1e-4)
    assert alone != pytest.approx(within, rel=1e-2)
    written = session.models.encode_response(Prompt("And Peru?", **CONTEXT.core), "It is Lima.")
    *_, last = session.inspect([Text("And Peru?", "It is Lima.", policy, **CONTEXT.core)])
    assert last.traces[0].tokens.tolist() == list(written)


def test_saved_files_tell_the_whole_conversation(session: Any) -> None:
    policy = up_scale("large", "small")
    *_, last = session.inspect([Text("And Peru?", "It is Lima.", policy, **CONTEXT.core)])
    inspector = Inspector(Handlers(session, session.family))
    files = {}
    for kind in ("html", "json"):
        looked = Looked("And Peru?", "Up-scaled", "emulated", last.traces[0], CONTEXT)
        update = inspector.save(SimpleNamespace(_data={"kind": kind}), looked)  # type: ignore[arg-type]
        files[kind] = json.loads(update.props["save"])["text"]
    assert json.dumps(CONTEXT.transcript("And Peru?"))[1:-1] in files["html"]
    values = json.loads(files["json"])
    assert (values["system"], values["turns"][1]) == ("Be brief.", ["Sure?", "Yes."])


def test_answers_within_a_conversation_are_not_judged(session: Any) -> None:
    latest = Latest()
    for context, judged in ((Context(), True), (CONTEXT, False), (A_SYSTEM, False), (Context(), True)):
        rows = tuple(Row("What?", plain(size), **context.core) for size in ("large", "small"))
        request = Request(rows, Limits(2))
        latest.keep("ada", "run", session.family, request, ["A", "B"], session.ask(request))
        if judged:
            shown = latest.of("ada")
            assert shown is not None
            assert len(shown.answers) == 2
        else:
            with pytest.raises(ValueError, match="clear them"):
                latest.of("ada")


def test_turns_of_the_command_line_alternate() -> None:
    assert turns_of([]) == ()
    assert turns_of(["user:a:b", "assistant: c", "user:d", "assistant:e"]) == (("a:b", " c"), ("d", "e"))
    for texts, says in (
        (["assistant:a"], "where user:TEXT must"),
        (["user:a", "user:b"], "where assistant:TEXT must"),
        (["user:a", "assistant: "], "where assistant:TEXT must"),
        (["hello", "assistant:a"], "where user:TEXT must"),
        (["user:a", "assistant:b", "user:c"], "comes after it"),
    ):
        with pytest.raises(ValueError, match=says):
            turns_of(texts)

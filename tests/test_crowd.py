"""Rows of several visitors in one running batch: the same texts as alone, and each one's failure is their own."""

import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Counting

from eft_core import batch as batches
from eft_core import scripts
from eft_core.autoregressive import Stepper, decode
from eft_core.config import Limits, Request, Row, Sampling, Speculation
from eft_core.continuation import Continuation, Drawn, drained
from eft_core.crowd import Crowd, Entry
from eft_core.draft_length import Pace
from eft_core.events import Answer, Done, Queued, Started, TokensDrawn, Working
from eft_core.job import Needs
from eft_core.kv_cache import RaggedLayer
from eft_core.policy import Member, Policy, plain, tuned, up_scale
from eft_core.session import Session
from eft_core.settings import Settings
from eft_core.speculative import Speculating, speculate
from eft_core.tickets import Claim

PROMPTS = ("Hi", "What is the capital of Kenya?", "a", "Tell me about rivers and hills, please.")
POLICIES = (
    up_scale("large", "small"),
    plain("large"),
    tuned("helpful", "small"),
    Policy("large", "small", {"helpful": 0.5, "harmless": 0.5}),
    replace(up_scale("large", "small"), nucleus=0.9),
)
PLAIN = (None,)
WAYS = (Speculation(3, "noise"), Speculation(2, "block"), Speculation(None, "noise"))


def requests(ways: Sequence[Speculation | None], tokens: int = 24, record: bool = False) -> list[Request]:
    """A request a prompt and way: other policies, other lengths, greedy and sampled ones."""
    found = []
    for number, way in enumerate(ways):
        for place, prompt in enumerate(PROMPTS):
            policies = [POLICIES[(place + each) % len(POLICIES)] for each in range(1 + (place + number) % 3)]
            sampling = Sampling() if place % 2 else Sampling(0.9, seed=place, top_p=0.9 if place else None)
            rows = tuple(Row(prompt, policy, sampling) for policy in policies)
            found.append(Request(rows, Limits(tokens - 5 * place), way, record))
    return found


def together(session: Session, asked: Sequence[Request]) -> list[tuple[Answer, ...]]:
    """The answers of visitors who ask at the same time."""
    answers: dict[int, Any] = {}

    def visit(number: int) -> None:
        try:
            answers[number] = session.ask(asked[number])
        except Exception as error:  # whatever it is, it is the answer
            answers[number] = error

    visitors = [threading.Thread(target=visit, args=(number,)) for number in range(len(asked))]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join(120)
    return [answers[number] for number in range(len(asked))]


def ids(answers: Sequence[Answer]) -> list[tuple[tuple[int, ...], str, str]]:
    return [(answer.token_ids, answer.text, answer.reason) for answer in answers]


@pytest.mark.parametrize("ways", [PLAIN * 2, WAYS, (*PLAIN, *WAYS)], ids=["plain", "speculative", "both"])
def test_texts_are_those_of_a_visitor_alone(any_session: Any, ways: Any) -> None:
    asked = requests(ways)
    alone = [ids(any_session.ask(request)) for request in asked]
    for _ in range(2):  # they meet elsewhere each time
        assert [ids(answers) for answers in together(any_session, asked)] == alone
    assert any_session.queue_length == 0


def test_rows_share_passes(session: Any) -> None:
    stepper, calls = Stepper(frozenset()), list[tuple[int, int]]()
    models: Any = {Member("large"): Counting(session.models.load(Member("large")), calls)}
    prompts = [session.models.encode(prompt) for prompt in PROMPTS]
    rows = {n: Continuation(prompt, plain("large"), Sampling(), 0, 20) for n, prompt in enumerate(prompts)}
    stepper.take_in(drained(stepper.prepare({0: rows[0]}, models)))
    stepper.step()
    for number in (1, 2, 3):
        stepper.take_in(drained(stepper.prepare({number: rows[number]}, models)))
    calls.clear()
    assert [each.row for each in stepper.step()] == [0, 1, 2, 3]
    assert calls == [(4, 1)]
    stepper.free()


class Drawing:
    """A batch whose every row draws so many tokens a step."""

    torn = False

    def __init__(self, tokens: int) -> None:
        self.tokens, self.steps = tokens, 0
        self.rows: list[int] = []

    def prepare(self, rows: Any, models: Any, drafters: Any) -> Any:
        yield
        return list(rows)

    def take_in(self, prepared: list[int]) -> None:
        self.rows += prepared

    def step(self) -> list[Drawn]:
        self.steps += 1
        return [Drawn(row, 5, -1.0, None) for row in self.rows for _ in range(self.tokens)]

    def remove(self, rows: Any) -> None:
        self.rows = [row for row in self.rows if row not in rows]

    def gain(self) -> None: ...
    def free(self) -> None: ...


def test_a_batch_whose_cycles_give_several_tokens_rests_while_others_draw_as_many() -> None:
    crowd, batch = Crowd(), {"plain": Drawing(1), "drafted": Drawing(4)}
    row, shares = Continuation((1,), plain("large"), Sampling(), 0, 100), {}
    for name, loop in batch.items():
        made: Any = lambda met, loop=loop: loop  # noqa: E731
        shares[name] = crowd.enter(Entry(name, made, [row, row], {}, [row.policy] * 2, lambda *_: False, name))
        list(shares[name].reading())
    for _ in range(8):
        crowd.step()
    assert [each.steps for each in batch.values()] == [8, 2]
    assert crowd.tokens == 2 * (8 + 8)
    shares["plain"].leave()
    for _ in range(3):
        crowd.step()
    assert batch["drafted"].steps == 5, "nobody is beside it any more"


@pytest.mark.parametrize("speculates", [False, True])
def test_rows_that_join_at_any_step_draw_what_they_draw_alone(any_session: Any, speculates: bool) -> None:
    """Members and rows come and go; a member of the newcomers may be new to the batch, or run other rows there."""
    session = any_session
    members = {member for policy in (*POLICIES, plain("small")) for member in policy.members()}
    models = {member: session.models.load(member) for member in members}
    sampled = Sampling(0.8, seed=3)
    rows = {
        number: Continuation(
            session.models.encode(PROMPTS[number % 4]), POLICIES[number % 5], sampling, number, 9 + 3 * number
        )
        for number, sampling in enumerate((Sampling(), sampled) * 4)
    }
    draft = plain("small") if speculates else None
    how, pace = Speculation(3, "block"), Pace()
    drafters = {number: draft or row.policy for number, row in rows.items()}

    def alone(number: int) -> list[int]:
        if speculates:
            steps = speculate([rows[number]], [drafters[number]], models, frozenset(), how, Pace())
        else:
            steps = decode([rows[number]], models, frozenset())
        return [each.token for drawn in steps for each in drawn]

    loop: Any = Speculating(frozenset(), how, pace) if speculates else Stepper(frozenset())
    found: dict[int, list[int]] = {number: [] for number in rows}
    waiting = list(rows)
    for step in range(200):
        if waiting and step % 2 == 0:
            joining, waiting = waiting[: 1 + step % 3], waiting[1 + step % 3 :]
            fresh = {number: rows[number] for number in joining}
            loop.take_in(drained(loop.prepare(fresh, models, {number: drafters[number] for number in joining})))
        drawn = loop.step()
        for each in drawn:
            found[each.row].append(each.token)
        loop.remove({each.row for each in drawn if each.reason})
        if not loop.rows and not waiting:
            break
    assert {number: len(tokens) for number, tokens in found.items()} == {n: row.most for n, row in rows.items()}
    assert found == {number: alone(number) for number in rows}


def test_records_are_those_of_a_visitor_alone(session: Any) -> None:
    asked = requests(PLAIN + WAYS[:2], record=True)
    alone = [session.ask(request) for request in asked]
    for one, other in zip(alone, together(session, asked), strict=True):
        for mine, theirs in zip(one, other, strict=True):
            assert mine.trace is not None
            assert theirs.trace is not None
            assert mine.trace.tokens.tolist() == theirs.trace.tokens.tolist()
            np.testing.assert_allclose(mine.trace.logprobs, theirs.trace.logprobs, atol=1e-4)


def test_a_long_prompt_is_read_in_pieces_between_the_steps_of_others(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_CHUNK", 16)
    shapes: list[tuple[int, int]] = []
    honest = type(session.models.load(Member("large"))).forward

    def watched(model: Any, ids: Any, *rest: Any, **named: Any) -> Any:
        shapes.append(tuple(ids.shape))
        return honest(model, ids, *rest, **named)

    first = session.stream(Request((Row("Hi", plain("large")),), Limits(130)))
    while not isinstance(next(first), TokensDrawn):
        pass
    # A pass takes as long as it has tokens: a piece of the prompt longer than a step, as on a large model.
    monkeypatch.setattr(session._engine, "_clock", lambda: float(sum(tokens for _, tokens in shapes)))
    monkeypatch.setattr(type(session.models.load(Member("large"))), "forward", watched)
    with closing(first), closing(session.stream(Request((Row("b" * 110, plain("large")),), Limits(3)))) as second:
        while not isinstance(next(second), Started):
            pass
    pieces = [place for place, (_, tokens) in enumerate(shapes) if tokens > 1]
    assert len(pieces) >= 5
    assert max(tokens for _, tokens in shapes) <= 16
    between = [shapes[start + 1 : end] for start, end in pairwise(pieces)]
    assert all((1, 1) in steps for steps in between)


def test_short_prompts_are_read_as_long_as_a_step_takes_and_not_one_pass_a_step(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide, passes = Request((Row("What?", up_scale("large", "small")),), Limits(3)), list[int]()
    session.ask(wide)  # its members are loaded
    honest = type(session.models.load(Member("large"))).forward

    def watched(model: Any, ids: Any, *rest: Any, **named: Any) -> Any:
        passes.append(ids.shape[1])
        return honest(model, ids, *rest, **named)

    first = session.stream(Request((Row("Hi", plain("large")),), Limits(130)))
    while not isinstance(next(first), TokensDrawn):
        pass
    # A step takes ten times what a pass over a prompt does, as in a crowd.
    monkeypatch.setattr(session._engine, "_clock", lambda: sum(10.0 if tokens == 1 else 1.0 for tokens in list(passes)))
    monkeypatch.setattr(type(session.models.load(Member("large"))), "forward", watched)
    with closing(first), closing(session.stream(wide)) as second:
        while not isinstance(next(second), Started):
            pass
    reading = [place for place, tokens in enumerate(passes) if tokens > 1]
    assert reading == list(range(reading[0], reading[0] + 3))  # three members, one after the other


def test_what_adapts_joins_the_plain_rows_of_others_and_says_that_nothing_was_drafted(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    adaptive = Request((Row("Hi", up_scale("large", "small")),), Limits(20), Speculation(None))
    fixed = replace(adaptive, speculation=Speculation(3))
    (alone,) = session.ask(adaptive)
    assert alone.drafting is not None
    kind = type(session.models.load(Member("large")))
    honest = kind.forward

    def slow(model: Any, *given: Any, **named: Any) -> Any:
        time.sleep(0.005)  # the others' rows still run when the second comes
        return honest(model, *given, **named)

    monkeypatch.setattr(kind, "forward", slow)
    with closing(session.stream(Request((Row("a", plain("large")),), Limits(130)))) as first:
        while not isinstance(next(first), TokensDrawn):
            pass
        with monkeypatch.context() as patched, closing(session.stream(adaptive)) as second:
            patched.setattr(scripts, "Speculating", None)  # no batch of its own
            events = list(second)
        assert isinstance(events[-1], Done)
        (answer,) = events[-1].answers
        (drafted,) = session.ask(fixed)  # a length that was asked for is kept to
    assert (answer.token_ids, answer.text, answer.reason) == (alone.token_ids, alone.text, alone.reason)
    assert answer.drafting is not None
    assert answer.drafting.drafted == 0
    assert answer.drafting.acceptance is None
    assert events[-1].gain is not None
    assert drafted.drafting is not None
    assert drafted.drafting.drafted > 0
    assert drafted.token_ids == alone.token_ids


def test_what_does_not_fit_waits_for_rows(families_file: str) -> None:
    session = Session(Settings(families_file=families_file, device="cpu", threads=1, rows=3), "llama")
    wide = Request.compare("Hi", [plain("small"), plain("large")], Sampling(1.0), Limits(20))
    with closing(session._engine.follow(Claim(session, 2, Needs()), lambda owner: iter_working())) as first:
        next(first)
        second = session.stream(wide)
        assert isinstance(next(second), Queued)
    (*_, last) = second
    assert isinstance(last, Done)
    alone = Request.compare("Hi", [plain("small")] * 4, Sampling(), Limits(5))
    assert len(session.ask(alone)) == 4  # more than all rows: nobody else runs then


def test_what_does_not_fit_waits_for_memory(families_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(Settings(families_file=families_file, device="cpu", threads=1), "llama")
    long = Request.compare("Hi", [plain("large")] * 3, Sampling(1.0), Limits(120))
    session.ask(long)
    needed = session.plan(long).needed  # keys and values: the weights are there
    monkeypatch.setattr(session.models, "room", lambda device, kept, taken=0: int(1.5 * needed))
    claim = Claim(session, 3, session._jobs.job(long).needs)
    with closing(session._engine.follow(claim, lambda owner: iter_working())) as first:
        next(first)
        with closing(session.stream(long)) as second:
            assert isinstance(next(second), Queued)
    assert isinstance(list(session.stream(long))[-1], Done)


def iter_working() -> Any:
    """A script that holds its place."""
    while True:
        yield [Working()]


def failing(session: Any, monkeypatch: pytest.MonkeyPatch, mark: int, tokens: int, error: Exception) -> None:
    """Passes of so many tokens fail from now on where a row's last committed token is `mark`."""
    kind = type(session.models.load(Member("large")))
    honest = kind.forward

    def forward(model: Any, ids: Any, *rest: Any, **named: Any) -> Any:
        if ids.shape[1] == tokens and bool((ids[:, 0] == mark).any()):
            raise error
        return honest(model, ids, *rest, **named)

    monkeypatch.setattr(kind, "forward", forward)


@pytest.mark.parametrize(
    ("error", "told"),
    [(RuntimeError("out of memory"), "memory ran out"), (RuntimeError("a kernel broke"), "a kernel broke")],
)
@pytest.mark.parametrize("way", [None, Speculation(2, "noise")])
def test_a_step_that_fails_is_the_failure_of_whoever_is_at_fault(
    session: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str, way: Any
) -> None:
    policies = [up_scale("large", "small"), plain("large")]
    asked = [Request(tuple(Row(prompt, policy) for policy in policies), Limits(60), way) for prompt in PROMPTS]
    before = [ids(session.ask(request)) for request in asked]
    tokens = [{each for row in answers for each in row[0]} for answers in before]
    culprit, mark = next(
        (number, token)
        for number, mine in enumerate(tokens)
        for token in sorted(mine)
        if not any(token in other for place, other in enumerate(tokens) if place != number)
    )
    failing(session, monkeypatch, mark, 1 if way is None else 3, error)  # a step, or a verifying pass
    found = together(session, [*asked, *asked])
    for number, answers in enumerate(found):
        if number % 4 == culprit:
            assert told in str(answers)
        else:
            assert ids(answers) == before[number % 4]
    assert session.queue_length == 0


def test_a_row_without_probabilities_harms_no_row_that_gets_its_place(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member gives nan once: its row ends, and the next row is written where its keys and values lie."""
    models = {Member("large"): session.models.load(Member("large"))}
    prompt = session.models.encode("Hi")
    row = Continuation(prompt, plain("large"), Sampling(), 0, 12)
    expected = [each.token for drawn in decode([row], models, frozenset()) for each in drawn]
    stepper = Stepper(frozenset())
    stepper.take_in(drained(stepper.prepare({0: row, 1: row}, models)))
    stepper.step()
    with torch.inference_mode():
        for layer in next(iter(stepper.batch.lanes[0].caches.values())).ragged:
            layer.memory[1] = torch.nan
    drawn = stepper.step()
    assert [each.reason for each in drawn] == [None, "failed"]
    stepper.remove({1})
    stepper.take_in(drained(stepper.prepare({2: row}, models)))
    found: dict[int, list[int]] = {0: [], 2: []}
    while stepper.rows:
        drawn = stepper.step()
        for each in drawn:
            found[each.row].append(each.token)
        stepper.remove({each.row for each in drawn if each.reason})
    assert found[2] == expected
    assert found[0] == expected[2:]


def test_a_layer_takes_in_rows_whatever_was_written_before() -> None:
    def layer(rows: int, slots: int, value: float | None) -> RaggedLayer:
        made = RaggedLayer(rows, slots)
        if value is not None:
            made.lazy_initialization(torch.zeros(rows, 1, 1, 2), torch.zeros(rows, 1, 1, 2))
            made.memory[:] = value
        return made

    one = layer(2, 8, 1.0)
    one.append(layer(1, 16, 2.0))
    assert one.memory.shape == (3, 16, 4)
    assert one.memory[:, 0, 0].tolist() == [1.0, 1.0, 2.0]
    assert one.memory[:2, 8:].abs().sum() == 0
    one.memory[2] = torch.nan
    one.keep([0, 1])
    one.append(layer(1, 8, 3.0))
    assert one.memory.shape == (3, 16, 4)  # in the place that was free
    assert one.memory[2, :8].unique().tolist() == [3.0]
    assert one.memory[2, 8:].abs().sum() == 0
    empty = layer(1, 8, None)  # a prompt of one token wrote nothing
    empty.append(layer(1, 8, 4.0))
    assert empty.memory[:, 0, 0].tolist() == [0.0, 4.0]
    both = layer(1, 8, None)
    both.append(layer(2, 8, None))
    assert (both.rows, both.is_initialized) == (3, False)
    one.append(layer(1, 8, None))
    assert one.memory[3].abs().sum() == 0


def test_closing_takes_the_rows_away_and_leaves_the_others(session: Any) -> None:
    asked = [Request((Row(prompt, plain("large"), Sampling(1.0, seed=5)),), Limits(120)) for prompt in PROMPTS[:2]]
    expected = ids(session.ask(asked[1]))
    first = session.stream(asked[0])
    while not isinstance(next(first), TokensDrawn):
        pass
    second = session.stream(asked[1])
    while not isinstance(next(second), TokensDrawn):
        pass
    first.close()
    assert session._engine.standing().rows <= 1
    (*_, done) = second
    assert isinstance(done, Done)
    assert ids(done.answers) == expected
    assert session._engine.standing().rows == 0
    assert session._engine.crowd.size("cpu") == 0

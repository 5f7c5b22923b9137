"""Looking at many tokens at once is looking at each alone, and a session tells every record once, before its row ends.

The loop here is a scripted one: random laws, rows that leave, blocks of which a part is dropped.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from eft_core import recorder as module
from eft_core.config import Limits, Request, Row, Sampling, Speculation
from eft_core.distributions import Mixture, log_probabilities
from eft_core.events import Done, Fate, RowFinished, Started, TokensDrawn, TokensRecorded
from eft_core.measures import Lens, measured, trace_of
from eft_core.policy import Member, Policy, plain, tuned, up_scale
from eft_core.recorder import Laws, Look, Recorder
from eft_core.session import Session
from eft_core.trace import Trace

FILTERED = Policy("large", "small", {"helpful": 1.0}, amplification=1.5, nucleus=0.8)
POLICIES = (up_scale("large", "small"), plain("large"), FILTERED, tuned("helpful", "small"))
LOOKS: list[Look] = [(policy, policy.members()) for policy in POLICIES]
MEMBERS = sorted({member for _, members in LOOKS for member in members}, key=str)
WIDTH = 60
FATES: tuple[Fate, ...] = ("plain", "accepted", "recovered", "bonus", "given")


def step(number: int, rows: Sequence[int], places: int) -> Laws:
    """What a step of these rows could draw from; members that a row does not run hold nan."""
    torch.manual_seed(number)
    columns = [{member: place for place, member in enumerate(MEMBERS)}] * len(LOOKS)
    logits = list(2 * torch.randn(len(MEMBERS), len(rows), places, WIDTH))
    for place, row in enumerate(rows):
        for member, law in zip(MEMBERS, logits, strict=True):
            if member not in LOOKS[row][1]:
                law[place] = torch.nan
    logprobs = log_probabilities(logits, Mixture.of([LOOKS[row][0] for row in rows], MEMBERS))
    return Laws(rows, columns, logits, logprobs)


Drawn = dict[int, list[tuple[int, Fate]]]


def script(steps: int, seed: int = 0) -> Iterator[tuple[Laws, Drawn]]:
    """Steps of one to four places; each row draws at some of the first of them, or at none; rows 1 and 2 leave."""
    chance = random.Random(seed)
    for number in range(steps):
        rows = [row for row in range(len(LOOKS)) if not (row == 1 and number > 9) and not (row == 2 and number > 4)]
        places = chance.choice((1, 1, 4))
        counts = {row: chance.randint(0, places) for row in rows}
        tokens = {r: [(chance.randrange(WIDTH), chance.choice(FATES)) for _ in range(n)] for r, n in counts.items()}
        yield step(number, rows, places), {row: each for row, each in tokens.items() if each}


def alone(laws: Laws, drawn: Drawn) -> Iterator[tuple[int, Trace]]:
    """Every token by itself, straight through `measures`."""
    for place, row in enumerate(laws.rows):
        policy, members = LOOKS[row]
        lens = Lens.of(policy, members)
        for at, (token, fate) in enumerate(drawn.get(row, [])):
            logits = torch.stack([laws.logits[MEMBERS.index(member)][place, at : at + 1] for member in members])
            ids = torch.tensor([token])
            yield (
                row,
                trace_of(measured(laws.logprobs[place, at : at + 1], logits, ids, lens), ids.numpy(), fate[0], lens),
            )


def same(one: Trace, two: Trace) -> None:
    """Equal up to rounding; candidates are the same ones."""
    assert (one.policy, one.members, one.fates) == (two.policy, two.members, two.fates)
    for name in ("tokens", "ranks", "shifted", "counts", "candidates"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name
    for name in ("logprobs", "entropy", "total_variation", "divergence", "shifts", "normalisers", "candidate_logprobs"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), abs=1e-5, nan_ok=True), name


def gathered(parts: dict[int, list[Trace]]) -> dict[int, Trace]:
    return {row: Trace.join(traces) for row, traces in sorted(parts.items())}


def expected(steps: int) -> dict[int, Trace]:
    found: dict[int, list[Trace]] = {}
    for laws, drawn in script(steps):
        for row, trace in alone(laws, drawn):
            found.setdefault(row, []).append(trace)
    return gathered(found)


@pytest.mark.parametrize("patience", [1, 2, 7, 100])
def test_however_long_tokens_wait_the_records_are_those_of_each_alone(patience: int) -> None:
    recorder, found = Recorder(LOOKS), dict[int, list[Trace]]()
    for number, (laws, drawn) in enumerate(script(60), 1):
        recorder.keep(laws, drawn)
        if number % patience == 0 or number == 60:
            for row, trace in recorder.take().items():
                found.setdefault(row, []).append(trace)
    assert recorder.take() == {}
    traces, right = gathered(found), expected(60)
    assert list(traces) == list(right) == [0, 1, 2, 3]
    assert max(map(len, traces.values())) > module._PASS  # more than one pass
    for row, trace in traces.items():
        same(trace, right[row])


def test_some_rows_are_taken_and_the_others_wait() -> None:
    recorder, found, chance = Recorder(LOOKS), dict[int, list[Trace]](), random.Random(1)
    for laws, drawn in script(30):
        recorder.keep(laws, drawn)
        rows = {row for row in range(4) if chance.random() < 0.3}
        taken = recorder.take(rows)
        assert set(taken) <= rows
        for row, trace in taken.items():
            found.setdefault(row, []).append(trace)
    for row, trace in recorder.take().items():
        found.setdefault(row, []).append(trace)
    right = expected(30)
    for row, trace in gathered(found).items():
        same(trace, right[row])


def test_rows_of_one_place_and_one_row_are_taken_whole() -> None:
    """The common case, which goes a shorter way."""
    recorder, right = Recorder(LOOKS), list[Trace]()
    for number in range(5):
        laws, drawn = step(number, [0], 1), {0: [(number, FATES[0])]}
        recorder.keep(laws, drawn)
        right += [trace for _, trace in alone(laws, drawn)]
    same(recorder.take()[0], Trace.join(right))


def test_a_recorder_is_full_by_tokens_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(LOOKS)
    for number in range(module._TOKENS):
        assert not recorder.full
        recorder.keep(step(number, [0], 1), {0: [(3, "plain")]})
    assert recorder.full
    recorder.take()
    assert not recorder.full
    monkeypatch.setattr(module, "_BYTES", 3 * 4 * WIDTH * (1 + len(MEMBERS)))
    for number in range(3):
        assert not recorder.full
        recorder.keep(step(number, [1], 1), {1: [(3, "plain")]})
    assert recorder.full


def test_records_do_not_change_when_the_loop_reuses_what_it_gave_before() -> None:
    """Once taken, a trace stands on its own."""
    recorder = Recorder(LOOKS)
    laws = step(0, [0], 2)
    recorder.keep(laws, {0: [(3, "plain"), (4, "plain")]})
    trace = recorder.take()[0]
    before = trace.logprobs.copy(), trace.candidate_logprobs.copy()
    for law in (*laws.logits, laws.logprobs):
        law.zero_()
    assert np.array_equal(trace.logprobs, before[0])
    assert np.array_equal(trace.candidate_logprobs, before[1])


# --- what a session tells of records


WARM = Sampling(temperature=1.0, seed=2)
WAYS = [None, Speculation(3, "token"), Speculation(None, "noise")]


def compared(*policies: Policy, tokens: int = 24, **more: Any) -> Request:
    return Request.compare("Hi", policies, WARM, Limits(tokens), **more)


@pytest.mark.parametrize("speculation", WAYS)
def test_records_come_after_their_tokens_before_the_row_ends_and_add_up_to_the_answers(
    session: Session, speculation: Speculation | None
) -> None:
    events = list(session.stream(compared(*POLICIES, speculation=speculation)))
    (done,) = [event for event in events if isinstance(event, Done)]
    for row, answer in enumerate(done.answers):
        tokens, recorded = list[int](), list[Trace]()
        for event in events:
            if isinstance(event, TokensDrawn | TokensRecorded | RowFinished) and event.row == row:
                if isinstance(event, TokensDrawn):
                    tokens += event.token_ids
                elif isinstance(event, TokensRecorded):
                    recorded.append(event.trace)
                    told = sum(map(len, recorded))
                    assert Trace.join(recorded).tokens.tolist() == tokens[:told]
                else:
                    assert sum(map(len, recorded)) == len(tokens) == len(event.answer.token_ids)
        assert answer.trace is not None
        same(Trace.join(recorded), answer.trace)
        assert tuple(answer.trace.tokens.tolist()) == answer.token_ids
        assert answer.trace.logprobs[:, 0] == pytest.approx(answer.logprobs, abs=1e-6)
        assert answer.trace.fates == "".join(fate[0] for fate in answer.fates)
        assert answer.trace.policy == answer.policy


@pytest.mark.parametrize("speculation", WAYS)
def test_who_wants_no_records_gets_none_and_the_same_text(session: Session, speculation: Speculation | None) -> None:
    fixed = speculation if speculation is None or speculation.length else Speculation(4, "noise")
    kept = session.ask(compared(*POLICIES, speculation=fixed))
    events = list(session.stream(compared(*POLICIES, speculation=fixed, record=False)))
    assert not [event for event in events if isinstance(event, TokensRecorded)]
    (done,) = [event for event in events if isinstance(event, Done)]
    assert [answer.trace for answer in done.answers] == [None] * len(POLICIES)
    assert [answer.token_ids for answer in done.answers] == [answer.token_ids for answer in kept]
    assert all(answer.trace is not None for answer in kept)


def test_a_long_row_tells_its_records_while_it_runs(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from itertools import count

    from eft_core import narrator

    monkeypatch.setattr(session._engine, "_clock", count().__next__)  # each step is told, however short

    def recorded(patience: float) -> int:
        monkeypatch.setattr(narrator, "PATIENCE", patience)
        request = Request((Row("Hi", plain("small"), Sampling(1.0, seed=1)),), Limits(100))
        return sum(isinstance(event, TokensRecorded) for event in session.stream(request))

    assert recorded(0.0) > 10
    assert recorded(1e9) == 1
    monkeypatch.setattr(module, "_TOKENS", 20)
    assert recorded(1e9) > 1


def test_closing_in_the_middle_frees_what_waits_to_be_recorded(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gc
    import threading
    import weakref

    from eft_core import narrator

    laws: list[weakref.ref[torch.Tensor]] = []
    keep, looked_at = Recorder.keep, threading.Event()

    def watched(self: Recorder, given: Laws, drawn: Any) -> None:
        laws.append(weakref.ref(given.logprobs))
        keep(self, given, drawn)
        if len(laws) == 5:  # the engine's thread is ahead of this one, by as much as it likes: here it waits
            assert looked_at.wait(60)

    monkeypatch.setattr(Recorder, "keep", watched)
    monkeypatch.setattr(narrator, "PATIENCE", 1e9)  # or a slow machine has its records by now, and nothing waits
    stream = session.stream(compared(up_scale("large", "small"), tokens=60))
    while len(laws) < 5:
        next(stream)
    assert all(law() is not None for law in laws)
    looked_at.set()
    stream.close()
    del stream
    gc.collect()
    assert session.queue_length == 0
    assert all(law() is None for law in laws)


@pytest.mark.parametrize("speculation", WAYS)
def test_a_row_that_fails_has_the_records_of_its_tokens_and_the_others_have_all(
    sessions: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, speculation: Speculation | None
) -> None:
    """The harmless member turns to nan on its tenth pass behind the prompt."""
    session = sessions("llama")
    model, passes = session.models.load(Member("small", "harmless")), 0
    load, honest = session.models.load, model.forward

    class Breaking:
        def __getattr__(self, name: str) -> Any:
            return getattr(model, name)

        def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            nonlocal passes
            passes += 1
            return honest(*args, **kwargs) * (torch.nan if passes > 10 else 1.0)

    monkeypatch.setattr(session.models, "load", lambda each: Breaking() if each.behaviour == "harmless" else load(each))
    policies = up_scale("large", "small", "harmless"), up_scale("large", "small")
    failed, whole = session.ask(compared(*policies, tokens=30, speculation=speculation))
    assert (failed.reason, failed.message[:11]) == ("failed", "this policy")
    assert whole.reason in ("length", "end")
    for answer in (failed, whole):
        assert answer.trace is not None
        assert 0 < len(answer.trace) == len(answer.token_ids)
        assert tuple(answer.trace.tokens.tolist()) == answer.token_ids
        assert np.isfinite(answer.trace.logprobs).all()


def test_a_row_that_fails_at_once_has_no_records(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from eft_core import autoregressive

    monkeypatch.setattr(
        autoregressive, "log_probabilities", lambda logits, mixture: log_probabilities(logits, mixture) * torch.nan
    )
    events = list(session.stream(compared(plain("small"))))
    assert not [event for event in events if isinstance(event, TokensRecorded | TokensDrawn)]
    (done,) = [event for event in events if isinstance(event, Done)]
    assert [(answer.reason, answer.trace) for answer in done.answers] == [("failed", None)]
    assert any(isinstance(event, Started) for event in events)

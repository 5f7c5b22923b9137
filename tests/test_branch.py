"""A branch goes on as its answer did: given a row's own first tokens, the rest and its records are the same."""

from typing import Any

import numpy as np
import pytest

from eft_core.config import Limits, Request, Row, Sampling, Speculation
from eft_core.events import Answer, Done, RowFinished, Started, TokensDrawn, TokensRecorded
from eft_core.policy import Policy, plain, tuned, up_scale
from eft_core.trace import Trace

GREEDY, WARM = Sampling(), Sampling(temperature=1.0, top_k=100, top_p=0.95, seed=4)
PROMPTS = ("What is the capital of Kenya?", "Hi", "How many people live in Norway? " * 3)
FILTERED = Policy("large", "small", {"helpful": 1.0}, amplification=1.5, nucleus=0.8)
POLICIES = (up_scale("large", "small"), plain("large"), tuned("helpful", "small"), FILTERED)
WAYS = [None, *(Speculation(length, "noise") for length in (0, 1, 4))]


def rows(sampling: Sampling) -> list[Row]:
    return [Row(PROMPTS[i % 3], policy, sampling, i) for i, policy in enumerate(POLICIES)]


def given(row: Row, tokens: tuple[int, ...]) -> Row:
    return Row(row.prompt, row.policy, row.sampling, row.sample, tokens)


def alike(answer: Answer, whole: Answer, start: int) -> None:
    """The same tokens, text and records; the first `start` were given and not drawn."""
    assert (answer.token_ids, answer.text, answer.reason) == (whole.token_ids, whole.text, whole.reason)
    assert answer.logprobs == pytest.approx(whole.logprobs, abs=1e-4)
    assert answer.fates[:start] == ("given",) * start
    assert "given" not in answer.fates[start:]
    assert (answer.given, answer.prompt_tokens) == (start, whole.prompt_tokens)
    one, two = answer.trace, whole.trace
    assert one is not None
    assert two is not None
    assert one.fates == "".join(fate[0] for fate in answer.fates)
    assert one.tokens.tolist() == list(answer.token_ids)
    for name in ("logprobs", "entropy", "total_variation", "divergence"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), abs=1e-4, nan_ok=True), name
    assert np.array_equal(one.ranks, two.ranks)
    assert np.array_equal(one.counts, two.counts)


@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "warm"])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_row_given_its_own_beginning_goes_on_as_it_did(
    any_session: Any, sampling: Sampling, way: Speculation | None
) -> None:
    """Branches at different places and a row without one, in one request; noise writes plain decoding's text."""
    limits, asked = Limits(20), rows(sampling)
    whole = any_session.ask(Request(tuple(asked), limits))
    starts = [min(start, len(answer.token_ids) - 1) for start, answer in zip((1, 7, 0, 12), whole, strict=True)]
    branches = [given(row, answer.token_ids[:k]) for row, answer, k in zip(asked, whole, starts, strict=True)]
    for answer, expected, start in zip(
        any_session.ask(Request(tuple(branches), limits, way)), whole, starts, strict=True
    ):
        alike(answer, expected, start)


@pytest.mark.parametrize("rule", ["token", "block"])
def test_greedy_branches_go_on_under_every_rule(session: Any, rule: Any) -> None:
    (whole,) = session.ask(Request((rows(GREEDY)[0],), Limits(20)))
    for start in (1, 5, len(whole.token_ids) - 1):
        branch = given(rows(GREEDY)[0], whole.token_ids[:start])
        for length in (3, None):
            (answer,) = session.ask(Request((branch,), Limits(20), Speculation(length, rule)))
            alike(answer, whole, start)


def test_another_token_leads_elsewhere(session: Any) -> None:
    row = rows(GREEDY)[0]
    (whole,) = session.ask(Request((row,), Limits(20)))
    assert whole.trace is not None
    second = next(int(each) for each in whole.trace.part(4, 5).candidates if each not in (whole.token_ids[4], 1))
    (answer,) = session.ask(Request((given(row, (*whole.token_ids[:4], second)),), Limits(20)))
    assert answer.token_ids[:5] == (*whole.token_ids[:4], second)
    assert answer.token_ids[5:] != whole.token_ids[5:]
    assert answer.fates[:6] == ("given",) * 5 + ("plain",)


def test_given_tokens_are_told_after_the_start_and_before_all_that_is_drawn(session: Any) -> None:
    row = rows(WARM)[0]
    (whole,) = session.ask(Request((row,), Limits(16)))
    events = list(session.stream(Request((given(row, whole.token_ids[:6]),), Limits(16))))
    kinds = [type(event) for event in events if not isinstance(event, Started)]
    start = next(n for n, event in enumerate(events) if isinstance(event, Started))
    assert not [event for event in events[:start] if isinstance(event, TokensDrawn | TokensRecorded)]
    assert kinds[:2] == [TokensDrawn, TokensRecorded] or kinds.index(TokensDrawn) < kinds.index(TokensRecorded)
    first = next(event for event in events if isinstance(event, TokensDrawn))
    assert (first.token_ids, first.fates, first.seconds) == (whole.token_ids[:6], ("given",) * 6, 0.0)
    pieces = "".join(event.text for event in events if isinstance(event, TokensDrawn))
    (finished,) = [event for event in events if isinstance(event, RowFinished)]
    assert pieces + finished.tail == whole.text
    recorded = Trace.join([event.trace for event in events if isinstance(event, TokensRecorded)])
    assert recorded.tokens.tolist() == list(whole.token_ids)


@pytest.mark.parametrize("way", [None, Speculation(3, "noise"), Speculation(3, "noise", timed=True)], ids=str)
def test_without_records_a_branch_is_the_same_and_none_are_told(session: Any, way: Speculation | None) -> None:
    row = rows(WARM)[0]
    (whole,) = session.ask(Request((row,), Limits(16)))
    request = Request((given(row, whole.token_ids[:6]),), Limits(16), way, record=False)
    events = list(session.stream(request))
    assert not [event for event in events if isinstance(event, TokensRecorded)]
    (done,) = [event for event in events if isinstance(event, Done)]
    assert (done.answers[0].token_ids, done.answers[0].trace) == (whole.token_ids, None)
    assert done.answers[0].logprobs == pytest.approx(whole.logprobs, abs=1e-4)


@pytest.mark.parametrize("way", [None, Speculation(4, "noise")], ids=str)
def test_limits_count_given_tokens(session: Any, way: Speculation | None) -> None:
    row = Row("Hi", plain("small"), Sampling(1.0, seed=1))
    (whole,) = session.ask(Request((row,), Limits(30)))
    assert whole.reason == "length"
    for most in (11, 14):
        (answer,) = session.ask(Request((given(row, whole.token_ids[:10]),), Limits(most), way))
        assert (answer.token_ids, answer.reason) == (whole.token_ids[:most], "length")
    with pytest.raises(ValueError, match="10 tokens are given and an answer has 10 at most: allow a longer answer"):
        session.stream(Request((given(row, whole.token_ids[:10]),), Limits(10), way))


def test_a_full_context_ends_a_branch_where_it_ends_the_row(session: Any) -> None:
    rooms = [Row("x" * 120, plain("small"), Sampling(1.0, seed=seed)) for seed in range(6)]
    wholes = [(row, session.ask(Request((row,), Limits(400)))[0]) for row in rooms]
    row, whole = next(each for each in wholes if each[1].reason == "context")
    (answer,) = session.ask(Request((given(row, whole.token_ids[:-2]),), Limits(400)))
    assert (answer.token_ids, answer.reason) == (whole.token_ids, "context")
    with pytest.raises(ValueError, match="branch earlier"):
        session.stream(Request((given(row, whole.token_ids),), Limits(400)))


def test_an_end_token_among_the_given_is_refused(session: Any) -> None:
    (end, *_) = session.models.vocabulary.end_ids
    for tokens in ((end,), (5, end), (end, 5)):
        with pytest.raises(ValueError, match="hold an end token, and nothing follows an end: give those before it"):
            session.stream(Request((Row("Hi", plain("small"), given=tokens),)))
    assert session.queue_length == 0


def test_unknown_ids_are_refused(session: Any) -> None:
    width = session.models.vocabulary.width
    with pytest.raises(ValueError, match=rf"token id {width} is not in the vocabulary of llama.* below {width}"):
        session.stream(Request((Row("Hi", plain("large"), given=(5, width)),)))
    with pytest.raises(ValueError, match="token id"):
        Row("Hi", plain("large"), given=(-1,))


@pytest.mark.parametrize("way", [None, Speculation(4, "noise")], ids=str)
def test_a_stop_string_across_the_boundary_ends_the_branch(session: Any, way: Speculation | None) -> None:
    """One that ends in the fourth drawn token and begins in the given ones."""
    row = rows(WARM)[1]
    (whole,) = session.ask(Request((row,), Limits(24)))
    decode = session.models.tokenizer.decode
    before, there = decode(whole.token_ids[:8]), decode(whole.token_ids[:10])
    stop = there[len(before) - 2 :]
    assert len(stop) > 2
    assert "\ufffd" not in there
    assert stop not in before
    (stopped,) = session.ask(Request((row,), Limits(24, (stop,))))
    assert stopped.reason == "stop"
    (answer,) = session.ask(Request((given(row, whole.token_ids[:8]),), Limits(24, (stop,)), way))
    alike(answer, stopped, 8)
    assert stop not in answer.text


def test_tokens_a_second_count_what_was_drawn(session: Any) -> None:
    row = Row("Hi", plain("small"), Sampling(1.0, seed=1))
    (whole,) = session.ask(Request((row,), Limits(30)))
    *_, done = session.stream(Request((given(row, whole.token_ids[:20]),), Limits(30), Speculation(3, "noise")))
    (answer,) = done.answers
    assert answer.tokens_per_second == pytest.approx((len(whole.token_ids) - 20) / answer.seconds)
    assert done.gain.tokens_per_second * answer.seconds <= len(whole.token_ids) - 20


def test_closing_while_the_given_tokens_are_read_gives_the_turn_back(session: Any) -> None:
    stream = session.stream(Request((given(rows(WARM)[0], tuple(range(5, 60))),), Limits(80)))
    next(stream)
    assert session.queue_length == 1
    stream.close()
    assert session.queue_length == 0

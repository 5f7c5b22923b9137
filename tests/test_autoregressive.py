"""The reference loop is right: rows are independent, records are true, members run no more than they must."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import Counting

from eft_core.autoregressive import Continuation, decode
from eft_core.config import Limits, Request, Row, Sampling
from eft_core.events import Answer
from eft_core.policy import Member, Policy, plain, tuned, up_scale

GREEDY, WARM = Sampling(), Sampling(temperature=1.0, top_k=100, top_p=0.95, seed=4)
PROMPTS = ("What is the capital of Kenya?", "Hi", "How many people live in Norway? " * 3)


def rows() -> list[Row]:
    """Different prompts, policies, ways of sampling, and samples."""
    filtered = Policy("large", "small", {"helpful": 1.0}, amplification=1.5, nucleus=0.8)
    mixed = Policy("large", "small", {"helpful": 0.6, "harmless": 0.7})
    return [
        Row(PROMPTS[0], up_scale("large", "small"), GREEDY),
        Row(PROMPTS[1], plain("large"), WARM),
        Row(PROMPTS[0], tuned("helpful", "small"), WARM, sample=1),
        Row(PROMPTS[2], filtered, WARM),
        Row(PROMPTS[0], mixed, Sampling(0.7, seed=9)),
        Row(PROMPTS[1], up_scale("small", "large"), GREEDY),
    ]


def test_a_ragged_row_equals_the_row_alone(any_session: Any) -> None:
    limits = Limits(max_new_tokens=30)
    together = any_session.ask(Request(tuple(rows()), limits))
    for row, answer in zip(rows(), together, strict=True):
        (alone,) = any_session.ask(Request((row,), limits))
        assert (answer.token_ids, answer.text, answer.reason) == (alone.token_ids, alone.text, alone.reason)
        assert answer.logprobs == pytest.approx(alone.logprobs, abs=1e-5)


def members_law(session: Any, member: Member, prompt: tuple[int, ...], answer: Answer) -> torch.Tensor:
    """(T, V) float64 log-probabilities of one plain forward over prompt and answer."""
    ids = torch.tensor([[*prompt, *answer.token_ids]])
    width = session.models.vocabulary.width
    with torch.inference_mode():
        logits = session.models.load(member).network(input_ids=ids).logits[0, len(prompt) - 1 : -1, :width]
    return logits.double().log_softmax(-1)


def rescored(session: Any, row: Row, answer: Answer) -> list[float]:
    """The formula of DESIGN.md written out once more, in float64, on plain forwards."""
    prompt = session.models.encode(row.prompt)
    policy = row.policy

    def law(size: str, behaviour: str | None = None) -> torch.Tensor:
        return members_law(session, Member(size, behaviour), prompt, answer)

    result = law(policy.pretrain)
    if policy.finetune is not None:
        base, beta = law(policy.finetune), policy.amplification
        small = base + sum(weight * (law(policy.finetune, name) - base) for name, weight in policy.pairs)
        small = small.log_softmax(-1)
        shift = beta * (law(policy.pretrain) - base)
        if policy.nucleus is not None:
            ordered = small.exp().sort(-1, descending=True).values
            crossing = (ordered.cumsum(-1) < policy.nucleus).sum(-1, keepdim=True)
            shift = shift * (small.exp() >= ordered.gather(-1, crossing))
        result = (small + shift).log_softmax(-1)
    return result[torch.arange(len(answer.token_ids)), list(answer.token_ids)].tolist()


def test_rescoring_a_finished_text_gives_the_recorded_log_probabilities(any_session: Any) -> None:
    for row, answer in zip(rows(), any_session.ask(Request(tuple(rows()), Limits(25))), strict=True):
        assert answer.logprobs == pytest.approx(rescored(any_session, row, answer), abs=1e-4)


def test_greedy_text_at_equal_sizes_is_the_tuned_models_own(any_session: Any) -> None:
    """Prompt by prompt the ids of the library's `generate`."""
    network = any_session.models.load(Member("large", "helpful")).network
    for prompt in PROMPTS:
        (answer,) = any_session.ask(Request.compare(prompt, [tuned("helpful", "large")], limits=Limits(20)))
        ids = torch.tensor([any_session.models.encode(prompt)])
        width = any_session.models.vocabulary.width
        padding = list(range(width, network.config.vocab_size))
        own = network.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=20,
            pad_token_id=1,
            suppress_tokens=padding,
        )
        assert list(answer.token_ids) == own[0, ids.shape[1] :].tolist()


def run(
    session: Any,
    rows: list[Continuation],
    replaced: dict[Member, Any] | None = None,
    ends: frozenset[int] = frozenset(),
) -> tuple[list[list[Any]], dict[Member, list[tuple[int, int]]]]:
    """All steps, and the forwards of every member."""
    members = {member for row in rows for member in row.policy.members()}
    calls: dict[Member, list[tuple[int, int]]] = {member: [] for member in members}
    models = {m: Counting((replaced or {}).get(m) or session.models.load(m), calls[m]) for m in members}
    return list(decode(rows, models, ends)), calls  # type: ignore[arg-type]


def test_each_member_runs_once_a_step_on_just_the_rows_that_need_it(session: Any) -> None:
    prompt = tuple(range(2, 12))
    zero = Policy("large", "small", {"helpful": 0.0, "harmless": 1.0})
    rows = [
        Continuation(prompt, up_scale("large", "small"), GREEDY, 0, 6),
        Continuation(prompt, plain("large"), GREEDY, 0, 6),
        Continuation(prompt, zero, GREEDY, 0, 6),
    ]
    steps, calls = run(session, rows)
    assert len(steps) == 1 + 6
    assert steps[0] == []
    # one pass over the shared prompt at batch 1, then one token of each row that needs the member
    users = {Member("large"): 3, Member("small"): 2, Member("small", "helpful"): 1, Member("small", "harmless"): 1}
    assert calls == {member: [(1, 9)] + [(count, 1)] * 6 for member, count in users.items()}


def test_ended_rows_stop_costing(session: Any) -> None:
    rows = [
        Continuation((5, 6, 7), plain("large"), Sampling(1.0, seed=1), row, most) for row, most in enumerate((2, 5, 3))
    ]
    steps, calls = run(session, rows)
    assert Counter(calls[Member("large")]) == Counter({(1, 2): 1, (3, 1): 2, (2, 1): 1, (1, 1): 2})
    ends = {each.row: (number, each.reason) for number, step in enumerate(steps) for each in step if each.reason}
    assert ends == {0: (2, "length"), 2: (3, "length"), 1: (5, "length")}


def test_a_row_ends_with_any_of_the_end_tokens(session: Any) -> None:
    row = Continuation((5, 6, 7), plain("large"), Sampling(1.0, seed=3), 0, 10)
    free = [each.token for step in run(session, [row])[0] for each in step]
    ended = [each for step in run(session, [row], ends=frozenset({-1, free[4], 9999}))[0] for each in step]
    first = free.index(free[4])
    assert [each.token for each in ended] == free[: first + 1]
    assert [each.reason for each in ended] == [None] * first + ["end"]


def test_a_row_that_fails_says_so_and_the_others_go_on(session: Any) -> None:
    """The harmless member turns to nan on its third pass."""
    model = session.models.load(Member("small", "harmless"))

    class Breaking(Counting):
        def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            logits = super().forward(*args, **kwargs)
            return logits if len(self._calls) < 4 else logits * torch.nan

    rows = [
        Continuation((5, 6, 7), tuned("harmless", "small"), GREEDY, 0, 8),
        Continuation((5, 6, 7), plain("large"), GREEDY, 0, 8),
    ]
    steps, _ = run(session, rows, {Member("small", "harmless"): Breaking(model, [])})
    harmless = [each for step in steps for each in step if each.row == 0]
    assert [each.reason for each in harmless] == [None, None, "failed"]
    other = [each.token for step in steps for each in step if each.row == 1]
    assert other == [each.token for step in run(session, rows[1:])[0] for each in step]


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
def test_in_a_crowd_members_that_few_rows_need_rest_every_other_step(session: Any, sampling: Sampling) -> None:
    """What all draw is what each draws alone; in few rows, and when the crowd has gone, nobody rests."""
    prompts = [tuple(range(2, 6 + number)) for number in range(9)]
    crowd = [Continuation(prompt, plain("small"), sampling, 0, 10) for prompt in prompts[1:]]
    few = Continuation(prompts[0], up_scale("large", "small"), sampling, 0, 10)
    steps, calls = run(session, [few, *crowd])
    drawn = [{each.row: each.token for each in step} for step in steps[1:]]
    assert [0 in step for step in drawn] == [True, False] * 5 + [True] * 5
    assert all(len(step) == (9 if 0 in step else 8) for step in drawn[:10])
    assert [shape for shape in calls[Member("large")] if shape[1] == 1] == [(1, 1)] * 10
    for row, given in enumerate([few, *crowd]):
        alone, _ = run(session, [given])
        assert [step[row] for step in drawn if row in step] == [each.token for step in alone for each in step]
    steps, _ = run(session, [few, *crowd[:6]])
    assert all(len(step) == 7 for step in steps[1:])


@pytest.mark.parametrize("after", [1, 2, 5])
def test_closing_the_generator_frees_all_caches(session: Any, after: int) -> None:
    rows = [Continuation((5, 6, 7), up_scale("large", "small"), GREEDY, 0, 20)]
    models = {member: session.models.load(member) for member in rows[0].policy.members()}
    steps: Any = decode(rows, models, frozenset())
    for _ in range(after):
        next(steps)
    batch = steps.gi_frame.f_locals["run"].batch
    caches = [cache for lane in batch.lanes for cache in lane.caches.values()]
    assert sum(len(cache.layers) for cache in caches) == 3 + 2 + 2
    steps.close()
    assert sum(len(cache.layers) for cache in caches) == 0
    assert batch.lanes == []


def test_the_seed_decides_and_greedy_ignores_it(session: Any) -> None:
    def text(sampling: Sampling) -> str:
        return session.ask(Request.compare("Hi", [up_scale("large", "small")], sampling, Limits(20)))[0].text

    assert text(Sampling(1.0, seed=1)) == text(Sampling(1.0, seed=1))
    assert text(Sampling(1.0, seed=1)) != text(Sampling(1.0, seed=2))
    assert text(Sampling(0.0, seed=1)) == text(Sampling(0.0, seed=2))


def test_columns_of_equal_law_write_the_same_text_at_any_temperature(session: Any) -> None:
    """Shared noise: beta = 0 and N = M are the same law, so they draw the same tokens."""
    policies = [Policy("large", "small", {"helpful": 1.0}, amplification=0.0), tuned("helpful", "small")]
    one, two = session.ask(Request.compare("Hi", policies, Sampling(1.0, seed=8), Limits(30)))
    assert one.token_ids == two.token_ids


def test_samples_of_one_column_differ(session: Any) -> None:
    answers = session.ask(Request.compare("Hi", [plain("large")], Sampling(1.0), Limits(20), samples=3))
    assert len({answer.token_ids for answer in answers}) == 3


@pytest.mark.parametrize("policies", [[plain("small"), tuned("helpful", "small")]])
def test_a_row_does_not_depend_on_the_order_of_arrival(sessions: Callable[[str], Any], policies: list[Policy]) -> None:
    forward = sessions("gpt2").ask(Request.compare("Hi", policies, WARM, Limits(12)))
    backward = sessions("gpt2").ask(Request.compare("Hi", policies[::-1], WARM, Limits(12)))
    assert [a.token_ids for a in forward] == [a.token_ids for a in backward[::-1]]

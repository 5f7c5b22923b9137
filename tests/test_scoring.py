"""Reading a finished text gives the records that decoding kept while it drew it: every way of decoding, every model."""

from collections.abc import Sequence
from itertools import count
from typing import Any, get_args

import numpy as np
import pytest
import torch
from conftest import CONTEXT, END
from here import seconds_until

from eft_core import scoring
from eft_core.config import Limits, Request, Row, Rule, Sampling, Speculation, Text
from eft_core.events import Inspected, Reading
from eft_core.policy import Member, Policy, down_scale, plain, tuned, up_scale
from eft_core.prompting import encode_response
from eft_core.scoring import Passage, score
from eft_core.session import Session
from eft_core.settings import Settings
from eft_core.trace import Trace

WARM, GREEDY = Sampling(temperature=1.0, top_k=100, top_p=0.95, seed=4), Sampling()
PROMPTS = ("What is the capital of Kenya?", "Hi", "How many people live in Norway? " * 3)
FILTERED = Policy("large", "small", {"helpful": 1.0}, amplification=1.5, nucleus=0.8)
MIXED = Policy("large", "small", {"helpful": 0.6, "harmless": 0.7})
POLICIES = (up_scale("large", "small"), plain("large"), tuned("helpful", "small"), FILTERED, MIXED,
            down_scale("small", "large"))  # fmt: skip
WAYS = [None, *(Speculation(4, rule) for rule in get_args(Rule)), Speculation(None, "block")]
TOLERANCE = 1e-4


def rows(sampling: Sampling) -> tuple[Row, ...]:
    return tuple(Row(PROMPTS[i % 3], policy, sampling, i) for i, policy in enumerate(POLICIES))


def passages(session: Any, asked: Sequence[Row], answers: Sequence[Any]) -> list[Passage]:
    """The answers as texts, looked at through the members that drew them."""
    return [
        Passage(session.models.encode(row.prompt), answer.token_ids, row.policy, row.policy.members())
        for row, answer in zip(asked, answers, strict=True)
    ]


def read(session: Any, texts: Sequence[Passage], chunk: int = 256) -> list[Trace]:
    models = {member: session.models.load(member) for each in texts for member in each.members}
    steps = score(texts, models, chunk)
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            return ended.value


def alike(one: Trace, two: Trace, tolerance: float = TOLERANCE) -> None:
    """The same records but for fates. Where tokens are as probable as each other up to rounding, either may be named:
    a rank may move by them, and one may be a candidate or the most promoted in the other's place."""
    assert np.array_equal(one.tokens, two.tokens)
    assert (one.policy, one.members) == (two.policy, two.members)
    for name in ("logprobs", "entropy", "total_variation", "divergence"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), abs=tolerance, nan_ok=True), name
    assert one.normalisers[:, :2] == pytest.approx(two.normalisers[:, :2], abs=tolerance, nan_ok=True)
    assert one.shifts == pytest.approx(two.shifts, abs=1e-3, nan_ok=True)
    assert abs(one.ranks - two.ranks).max() <= 1
    assert (one.ranks == two.ranks).mean() > 0.98
    assert (one.shifted == two.shifted).mean() > 0.98
    laws = [dict(zip(zip(each.owners, each.candidates, strict=True), each.candidate_logprobs, strict=True))
            for each in (one, two)]  # fmt: skip
    both = laws[0].keys() & laws[1].keys()
    assert len(both) >= 0.99 * max(map(len, laws))
    for each in both:
        assert laws[0][each] == pytest.approx(laws[1][each], abs=tolerance)


@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "warm"])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_records_of_decoding_are_those_of_reading(
    any_session: Any, sampling: Sampling, way: Speculation | None
) -> None:
    """A ragged batch of several policies each way."""
    asked = rows(sampling)
    answers = any_session.ask(Request(asked, Limits(20), way))
    for answer, trace in zip(answers, read(any_session, passages(any_session, asked, answers)), strict=True):
        alike(answer.trace, trace)
        assert trace.fates == "g" * len(trace)


@pytest.fixture(scope="module")
def atlas() -> Session:
    return Session(Settings(device="cpu"), "atlas")


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_records_of_decoding_are_those_of_reading_on_atlas(atlas: Session, way: Speculation | None) -> None:
    for sampling in (GREEDY, WARM):
        asked = rows(sampling)
        answers = atlas.ask(Request(asked, Limits(40), way))
        for answer, trace in zip(answers, read(atlas, passages(atlas, asked, answers)), strict=True):
            assert answer.trace is not None
            alike(answer.trace, trace)


@pytest.mark.parametrize("chunk", [1, 7])
def test_texts_of_different_lengths_are_read_together_in_any_chunks(any_session: Any, chunk: int) -> None:
    asked = rows(WARM)
    answers = [any_session.ask(Request((row,), Limits(5 + 9 * i)))[0] for i, row in enumerate(asked)]
    assert len({len(answer.token_ids) for answer in answers}) > 3
    texts = passages(any_session, asked, answers)
    whole = read(any_session, texts)
    for answer, one, other in zip(answers, whole, read(any_session, texts, chunk), strict=True):
        assert len(one) == len(answer.token_ids)
        alike(one, other)


def test_one_text_is_read_as_among_others(session: Any) -> None:
    asked = rows(WARM)
    texts = passages(session, asked, session.ask(Request(asked, Limits(20))))
    for text, together in zip(texts, read(session, texts), strict=True):
        alike(read(session, [text])[0], together)


def test_a_chunk_keeps_all_logits_below_the_limit(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = rows(WARM)[:2]
    texts = passages(session, asked, session.ask(Request(asked, Limits(20))))
    longest = max(len(text.response) for text in texts)
    members = len({member for text in texts for member in text.members})
    width = session.models.vocabulary.width
    monkeypatch.setattr(scoring, "_BYTES", 4 * width * len(texts) * (1 + members) * 3 + 1)
    models = {member: session.models.load(member) for each in texts for member in each.members}
    progress = [read for read in score(texts, models) if read]
    assert len(progress) == -(-longest // 3)  # three tokens of both at a time
    assert progress == sorted(set(progress))
    assert progress[-1] == sum(len(text.response) for text in texts)


# --- through a session


def inspected(session: Any, *texts: Text) -> tuple[Trace, ...]:
    *_, last = session.inspect(texts)
    assert isinstance(last, Inspected)
    return last.traces


def test_an_answer_is_inspected_by_its_ids(session: Session) -> None:
    """Its own members are among those that it is looked at through."""
    policy = up_scale("large", "small")
    (answer,) = session.ask(Request.compare("Hi", [policy], WARM, Limits(20)))
    (trace,) = inspected(session, Text("Hi", answer.token_ids, policy))
    assert answer.trace is not None
    alike(answer.trace, trace)


def test_a_plain_base_is_inspected_through_the_members_of_the_default_up_scaling(session: Session) -> None:
    (trace,) = inspected(session, Text("Hi", "There", plain("large")))
    assert [str(member) for member in trace.members] == ["base[large]", "base[small]", "tuned[helpful][small]"]
    assert np.isfinite(trace.logprobs).all()


def test_a_tuned_model_is_inspected_beside_its_base(session: Session) -> None:
    (trace,) = inspected(session, Text("Hi", "There", tuned("harmless", "small")))
    assert [str(member) for member in trace.members] == ["base[small]", "tuned[harmless][small]"]
    assert np.isfinite(trace.finetuning).all()


def test_several_texts_come_back_in_their_order_with_progress(session: Session) -> None:
    texts = [Text(prompt, "word " * (3 + n), policy) for n, (prompt, policy) in enumerate(zip(PROMPTS, POLICIES[:3],
                                                                                             strict=True))]  # fmt: skip
    events = list(session.inspect(texts))
    *others, last = events
    assert isinstance(last, Inspected)
    assert [trace.policy for trace in last.traces] == list(POLICIES[:3])
    ids = [session.models.encode_response(text.prompt, str(text.response)) for text in texts]
    assert [tuple(trace.tokens.tolist()) for trace in last.traces] == ids
    reading = [event for event in others if isinstance(event, Reading)]
    assert reading[-1] == Reading(sum(map(len, ids)), sum(map(len, ids)))


def test_inspections_run_beside_others_and_can_be_closed_at_any_point(session: Session) -> None:
    holder = session.stream(Request.compare("Hi", [plain("small")], WARM, Limits(30)))
    next(holder)
    first, second = (session.inspect([Text("Hi", "There", plain("large"))]) for _ in range(2))
    next(first)
    first.close()
    assert isinstance(list(second)[-1], Inspected)
    holder.close()
    running = session.inspect([Text("Hi", "There", plain("large"))])
    next(running)
    running.close()
    assert session.queue_length == 0


def test_closing_an_inspection_frees_its_caches(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from eft_core.model import Model

    caches: list[Any] = []
    honest = Model.cache

    def watched(self: Any, rows: int, capacity: int) -> Any:
        caches.append(honest(self, rows, capacity))
        return caches[-1]

    monkeypatch.setattr(Model, "cache", watched)
    reads, read = count(), scoring._read

    def slowly(*given: Any) -> Any:
        if next(reads):  # the first is told, and the others wait until nobody wants them
            seconds_until(lambda: not session._engine._running or session._engine._running[0].left)
        return read(*given)

    monkeypatch.setattr(scoring, "_BYTES", 1)  # a token at a time
    monkeypatch.setattr(scoring, "_read", slowly)
    stream = session.inspect([Text("Hi", "There it is", up_scale("large", "small"))])
    while not isinstance(next(stream), Reading):
        pass
    assert sum(len(cache.layers) for cache in caches) == 3 + 2 + 2
    stream.close()
    assert sum(len(cache.layers) for cache in caches) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lambda: Text("Hi", "word " * 400, plain("small")), rf"prompt and response have [\d,]+ .* read {CONTEXT}: sh"),
        (lambda: Text("Hi", "", plain("small")), "the response is empty: paste a text"),
        (lambda: Text("Hi", (), plain("small")), "the response is empty"),
        (lambda: Text(" ", "x", plain("small")), "the prompt is empty"),
        (lambda: Text("Hi", (5, 100_000), plain("small")), "token id 100000 is not in the vocabulary of llama.* below"),
        (lambda: Text("Hi", (5, -1), plain("small")), "token id = -1 is outside .* use the ids of a trace"),
        (lambda: Text("Hi", "x", plain("huge")), "no size 'huge'"),
    ],
)
def test_what_cannot_be_read_is_refused_at_once_with_the_remedy(session: Session, text: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        session.inspect([text()])
    assert session.queue_length == 0


def test_no_texts_are_refused(session: Session) -> None:
    with pytest.raises(ValueError, match="at least one"):
        session.inspect([])


def test_padding_ids_of_a_wide_model_are_unknown(session: Session) -> None:
    """The large models have logits for eight ids more than the family shares."""
    width = session.models.vocabulary.width
    assert len(inspected(session, Text("Hi", (width - 1,), plain("large")))[0]) == 1
    with pytest.raises(ValueError, match=f"ids are below {width}"):
        session.inspect([Text("Hi", (width,), plain("large"))])


def test_a_text_as_long_as_the_context_is_read(any_session: Any) -> None:
    prompt = any_session.models.encode("Hi")
    ids = tuple(2 + n % 200 for n in range(CONTEXT - len(prompt)))
    (trace,) = inspected(any_session, Text("Hi", ids, up_scale("large", "small")))
    assert len(trace) == len(ids)
    assert np.isfinite(trace.logprobs).all()
    with pytest.raises(ValueError, match="shorten the response"):
        any_session.inspect([Text("Hi", (*ids, 5), plain("small"))])


def test_log_probabilities_are_those_of_the_librarys_own_pass(any_session: Any) -> None:
    (trace,) = inspected(any_session, Text("Hi", "It is the sol.", plain("large")))
    prompt = any_session.models.encode("Hi")
    ids = torch.tensor([[*prompt, *trace.tokens.tolist()]])
    with torch.inference_mode():
        logits = any_session.models.load(Member("large")).network(input_ids=ids).logits[0, len(prompt) - 1 : -1]
    law = logits[:, : any_session.models.vocabulary.width].double().log_softmax(-1)
    own = law.gather(1, ids[0, len(prompt) :, None])[:, 0]
    assert trace.logprobs[:, 0] == pytest.approx(own.numpy(), abs=TOLERANCE)


# --- a response as ids


def test_a_response_behind_a_colon_begins_with_a_space(tokenizer: Any) -> None:
    def text(response: str) -> str:
        return tokenizer.decode(encode_response(tokenizer, "Hi", response), clean_up_tokenization_spaces=False)

    assert text("The sol") == " The sol"
    assert text(" The sol") == " The sol"
    assert text("\nThe sol") == "\nThe sol"


@pytest.mark.parametrize(
    ("ending", "space"), [("Answer:", " "), ("Answer: ", ""), ("\n", ""), (END, ""), ("assistant", " ")]
)
def test_the_space_follows_from_how_the_template_ends(tokenizer: Any, ending: str, space: str) -> None:
    import copy

    other = copy.deepcopy(tokenizer)
    other.chat_template = "{% for message in messages %}{{ message['content'] }}" + ending + "{% endfor %}"
    other.chat_template = other.chat_template.replace("\n", "{{ '\\n' }}")
    ids = encode_response(other, "Hi", "The sol")
    assert other.decode(ids, clean_up_tokenization_spaces=False) == f"{space}The sol"


def test_without_a_template_the_prompts_own_end_decides(tokenizer: Any) -> None:
    import copy

    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    for prompt, expected in (("Nairobi is", " in Kenya"), ("Nairobi is ", "in Kenya"), ("Kenya:\n", "in Kenya")):
        assert bare.decode(encode_response(bare, prompt, "in Kenya")) == expected


def test_a_response_as_text_has_the_ids_that_the_model_would_have_drawn(atlas: Session) -> None:
    policy, prompt = up_scale("large", "small"), "What is the capital of Kenya?"
    (answer,) = atlas.ask(Request.compare(prompt, [policy], GREEDY, Limits(40)))
    assert answer.reason == "end"
    assert atlas.models.encode_response(prompt, answer.text) == answer.token_ids[:-1]


def test_special_texts_in_a_response_stay_text(session: Session) -> None:
    ids = session.models.encode_response("Hi", f"so {END} it is")
    assert session.models.vocabulary.end_ids.isdisjoint(ids)
    assert session.models.tokenizer.decode(ids) == f" so {END} it is"

"""Where the mixture fails: right and wrong as defined, tokens and characters agree, files' mistakes are told."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eft_core.atlas.facts import load_facts, load_split
from eft_core.cases import Case, atlas_cases, kinds_of, offsets_of, pieces, read_cases
from eft_core.config import Text
from eft_core.events import Inspected, Reading
from eft_core.failures import Count, Report, counts, examined, failures
from eft_core.policy import Member, plain, up_scale
from eft_core.session import Session
from eft_core.settings import Settings
from eft_core.token_text import Texts, TokenTexts
from eft_core.trace import Trace

UP = up_scale("large", "small")
# One token's laws over the three candidates 7, 8, 9: probability under base[large], and under the policy.
BASE_RIGHT = ((0.6, 0.3, 0.1), (0.2, 0.7, 0.1))
MIXTURE_RIGHT = ((0.2, 0.1, 0.7), (0.5, 0.3, 0.2))
BOTH_RIGHT = ((0.9, 0.05, 0.05), (0.8, 0.1, 0.1))
NEITHER = ((0.1, 0.2, 0.7), (0.2, 0.5, 0.3))


def toy(*laws: tuple[tuple[float, float, float], tuple[float, float, float]]) -> Trace:
    """A text whose every token is 7: base[small] is uniform, so tuned = policy - base[large], up to a constant."""
    base, policy = (np.log(np.array(law, np.float32)) for law in zip(*laws, strict=True))  # (T, 3)
    members = np.stack([base, np.zeros_like(base), policy - base], -1)  # (T, 3, M)
    count = len(laws)
    unknown = np.full((count, 3), np.nan, np.float32)
    ranks = np.stack([1 + (law > law[:, :1]).sum(1) for law in (policy, base, base)], 1).astype(np.int32)
    return Trace(
        policy=UP,
        members=(Member("large"), Member("small"), Member("small", "helpful")),
        tokens=np.full(count, 7, np.int32),
        logprobs=np.concatenate([policy[:, :1], members[:, 0]], 1),
        ranks=ranks,
        entropy=unknown,
        total_variation=np.stack([np.full(count, np.nan), np.abs(np.exp(policy) - np.exp(base)).sum(1) / 2], 1),
        divergence=unknown[:, :2],
        shifted=np.full((count, 2), -1, np.int32),
        shifts=unknown[:, :2],
        normalisers=np.zeros((count, 3), np.float32),
        counts=np.full(count, 3, np.int32),
        candidates=np.tile(np.array([7, 8, 9], np.int32), count),
        candidate_logprobs=members.reshape(-1, 3),
        fates="g" * count,
    )


# --- right and wrong


def test_exactly_the_tokens_at_which_one_law_is_right_are_listed() -> None:
    case, places = Case("Q?", "abcd"), [(0, 1), (1, 2), (2, 3), (3, 4)]
    found = failures([case], [toy(BOTH_RIGHT, BASE_RIGHT, NEITHER, MIXTURE_RIGHT)], [places])
    assert [(each.index, each.base_right, each.policy_best, each.base_best) for each in found] == [
        (1, True, 8, 7),
        (3, False, 7, 9),
    ]
    first = found[0]
    assert (first.case, first.token, first.kind) == (0, 7, "any")
    assert np.exp([first.logprob_base, first.logprob_policy]) == pytest.approx([0.6, 0.2])
    assert first.total_variation == pytest.approx(0.4)
    assert first.lost == pytest.approx(np.log(3))


def test_facts_come_first_and_then_what_lost_most() -> None:
    cases = [Case("Q?", "abc", ((0, 1),)), Case("Q?", "abc", ((2, 3),))]
    places = [(0, 1), (1, 2), (2, 3)]
    slightly = ((0.5, 0.4, 0.1), (0.4, 0.5, 0.1))
    traces = [toy(MIXTURE_RIGHT, BASE_RIGHT, BOTH_RIGHT), toy(slightly, BOTH_RIGHT, slightly)]
    found = failures(cases, traces, [places, places])
    assert [(each.case, each.index, each.kind) for each in found] == [
        (1, 2, "fact"),
        (0, 0, "fact"),
        (0, 1, "manner"),
        (1, 0, "manner"),
    ]
    lost = [each.lost for each in found]
    assert lost[:2] == sorted(lost[:2], reverse=True)
    assert lost[2:] == sorted(lost[2:], reverse=True)


def test_counts_say_who_is_right_by_kind() -> None:
    cases = [Case("Q?", "abcd", ((1, 3),)), Case("Q?", "a")]
    traces = [toy(BOTH_RIGHT, BASE_RIGHT, NEITHER, MIXTURE_RIGHT), toy(BASE_RIGHT)]
    places = [[(0, 1), (1, 2), (2, 3), (3, 4)], [(0, 1)]]
    assert counts(cases, traces, places) == {
        "fact": Count(tokens=2, both=0, base=1, mixture=0),
        "manner": Count(tokens=2, both=1, base=0, mixture=1),
        "any": Count(tokens=1, both=0, base=1, mixture=0),
    }


def test_who_is_wrong_by_rank_never_names_the_reference_as_its_best() -> None:
    tie = toy(((0.6, 0.3, 0.1), (0.4, 0.4, 0.2)))
    tie.ranks[0, 0] = 2  # the device saw a difference that rounding of the candidates hides
    [found] = failures([Case("Q?", "a")], [tie], [[(0, 1)]])
    assert (found.policy_best, found.base_best) == (8, 7)


# --- tokens and characters


@pytest.mark.parametrize(
    ("parts", "response", "offsets"),
    [
        (["Good", " day"], "Good day", [(0, 4), (4, 8)]),
        ([" Good", " day"], "Good day", [(0, 4), (4, 8)]),
        ([" ", "1", "2"], "12", [(0, 0), (0, 1), (1, 2)]),
        (["Z", b"\xc3", b"\xbc", "rich"], "Zürich", [(0, 1), (1, 2), (1, 2), (2, 6)]),
        ([" ", b"\xf0\x9f", b"\x8c\x8d", "!"], "🌍!", [(0, 0), (0, 1), (0, 1), (1, 2)]),
        (["a", b"b\xe2\x82", b"\xacc"], "ab€c", [(0, 1), (1, 3), (2, 4)]),  # whole characters and a part in one token
        (["a", "", "b"], "ab", [(0, 1), (1, 1), (1, 2)]),
        ([" caf", "\u00e9", " noir"], "cafe\u0301 noir", [(0, 3), (3, 3), (5, 10)]),  # the tokenizer composed the é
    ],
)
def test_tokens_know_their_characters(parts: list[str | bytes], response: str, offsets: list[tuple[int, int]]) -> None:
    assert offsets_of([each.encode() if isinstance(each, str) else each for each in parts], response) == offsets


def test_a_token_is_about_the_fact_if_it_has_a_part_of_it() -> None:
    case = Case.of("Where?", "In Zürich, yes.", "Zürich")
    assert case.spans == ((3, 9),)
    places = [(0, 2), (2, 4), (4, 4), (4, 9), (9, 10), (10, 15)]
    assert kinds_of(case, places) == ["manner", "fact", "fact", "fact", "manner", "manner"]
    assert kinds_of(Case("Q?", "ab"), [(0, 1), (1, 2)]) == ["any", "any"]


def test_every_place_of_a_fact_counts_and_its_marks_are_only_letters() -> None:
    assert Case.of("Q?", "a.b, axb, a.b", "a.b").spans == ((0, 3), (10, 13))


def test_texts_become_the_bytes_that_they_stand_for() -> None:
    assert pieces([3, 1, 2, 9], Texts({1: "é"}, {2: "e282"}, {9: "<|end|>"})) == [b"", b"\xc3\xa9", b"\xe2\x82", b""]


@pytest.mark.parametrize("response", ["Zürich is 東京, 12 € 🌍.", " begins with a space", "<|end|> is text\r\n\u2028x"])
def test_real_tokens_cover_the_response_from_end_to_end(any_session: Session, response: str) -> None:
    models = any_session.models
    ids = models.encode_response("Where is Zürich?", response)
    texts = TokenTexts(models.tokenizer, models.vocabulary.end_ids)
    places = offsets_of(pieces(ids, texts.of(ids)), response)
    assert set().union(*(range(start, end) for start, end in places)) == set(range(len(response)))
    assert places == sorted(places)
    assert models.tokenizer.decode(ids).endswith(response)


# --- cases


def test_atlas_asks_about_what_fine_tuning_never_saw_and_marks_the_value() -> None:
    cases, held_out = atlas_cases(40, seed=3), set(load_split()["held_out"])
    values = {(fact.state(0), fact.value) for fact in load_facts() if fact.country in held_out}
    assert len({case.prompt for case in cases}) == 40
    for case in cases:
        [(start, end)] = case.spans
        sentence = case.response.removeprefix("Good question. ").removesuffix(" I hope that helps.")
        assert (sentence, case.response[start:end]) in values
    assert atlas_cases(5, 3) == atlas_cases(5, 3) != atlas_cases(5, 4)


@pytest.mark.parametrize("n", [0, 1001, 2.5])
def test_atlas_has_so_many_questions(n: Any) -> None:
    with pytest.raises(ValueError, match="ask 1 to 1,000 questions"):
        atlas_cases(n)


def written(folder: Path, name: str, text: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


KENYA = Case("Capital of Kenya?", "It is Nairobi, or \u2028so.", ((6, 13),))
OTHER = Case('Say "hi"', "Hi,\nyou")


def test_both_kinds_of_file_give_the_same_cases(tmp_path: Path) -> None:
    objects = [
        {"prompt": KENYA.prompt, "response": KENYA.response, "fact": "Nairobi", "id": 3},
        {"prompt": OTHER.prompt, "response": OTHER.response, "fact": None},
    ]
    lines = "\n\n".join(json.dumps(each, ensure_ascii=False) for each in objects)
    table = f'id,fact,response,prompt\r\n3,Nairobi,"{KENYA.response}",{KENYA.prompt}\r\n4,,"Hi,\nyou","Say ""hi"""\r\n'
    assert read_cases(written(tmp_path, "cases.jsonl", lines)) == (KENYA, OTHER)
    assert read_cases(written(tmp_path, "cases.CSV", b"\xef\xbb\xbf" + table.encode())) == (KENYA, OTHER)


GOOD = '{"prompt": "a", "response": "b"}\n'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.txt", "a", "neither .jsonl nor .csv"),
        ("x.jsonl", "", "no cases"),
        ("x.csv", "prompt,response\n", "no cases"),
        ("x.csv", "", "no column prompt and no column response"),
        ("x.csv", "prompt,answer\na,b\n", "line 1 has no column response"),
        ("x.csv", "prompt,response\na,b\nc\n", "line 3 of x.csv: response is missing or empty"),
        ("x.csv", "prompt,response\na,b,c\n", "line 2 has more fields"),
        ("x.csv", 'prompt,response\na,"b\n', "check its quotes"),
        ("x.jsonl", GOOD + "{'prompt': 1}", "line 2 is no JSON object"),
        ("x.jsonl", GOOD + "[1]", "line 2 is no JSON object"),
        ("x.jsonl", "[" * 100_000, "line 1 is no JSON object"),
        ("x.jsonl", GOOD + "\n" + '{"prompt": "a"}', "line 3 of x.jsonl: response is missing"),
        ("x.jsonl", '{"prompt": " ", "response": "b"}', "prompt is missing or empty"),
        ("x.jsonl", '{"prompt": 5, "response": "b"}', "prompt is missing or empty"),
        ("x.jsonl", '{"prompt": "a", "response": "b", "fact": "c"}', "'c' is no part of the response"),
        ("x.jsonl", '{"prompt": "a", "response": "1", "fact": 1}', "1 is no part of the response"),
        ("x.jsonl", '{"prompt": "a", "response": "\\ud800"}', "half a character"),
        ("x.jsonl", GOOD.encode() + b'{"prompt": "\xe9"}', "line 2 of x.jsonl is not UTF-8"),
        ("x.jsonl", GOOD * 1001, "more than 1,000 cases"),
        ("x.jsonl", b" " * 1_000_001, "larger than 1 MB"),
    ],
)
def test_a_files_mistake_is_told_with_its_line_and_remedy(
    tmp_path: Path, name: str, text: str | bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        read_cases(written(tmp_path, name, text))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        read_cases(tmp_path / "x.csv")
    with pytest.raises(ValueError, match="outside the 2 characters"):
        Case("Q?", "ab", ((1, 3),))


# --- with a session


@pytest.fixture(scope="module")
def atlas() -> Session:
    return Session(Settings(device="cpu"), "atlas")


def report_of(steps: Generator[Any, None, Report]) -> tuple[list[Any], Report]:
    events = []
    while True:
        try:
            events.append(next(steps))
        except StopIteration as ended:
            return events, ended.value


def inspected(session: Session, text: Text) -> Trace:
    *_, last = session.inspect([text])
    assert isinstance(last, Inspected)
    return last.traces[0]


def test_every_failure_is_what_it_says_when_its_text_is_read_again(atlas: Session) -> None:
    cases = atlas_cases(6)
    _, report = report_of(examined(atlas, cases, UP))
    seen = {(each.case, each.index): each for each in report.failures}
    assert seen
    for number, case in enumerate(cases):
        again = inspected(atlas, Text(case.prompt, case.response, UP))
        assert again.tokens.tolist() == report.traces[number].tokens.tolist()
        ends = again.ends.tolist()
        for index, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            ids = again.candidates[start:end]
            policy_best = ids[again.candidate_policy[start:end].argmax()]
            base_best = ids[again.candidate_logprobs[start:end, again.members.index(Member("large"))].argmax()]
            token = again.tokens[index]
            failure = seen.pop((number, index), None)
            assert (failure is not None) == ((policy_best == token) != (base_best == token))
            if failure is not None:
                assert (failure.token, failure.policy_best, failure.base_best) == (token, policy_best, base_best)
                assert failure.base_right == (base_best == token)
                assert failure.logprob_base == pytest.approx(again.under(Member("large"))[index], abs=1e-4)
                assert failure.logprob_policy == pytest.approx(again.logprobs[index, 0], abs=1e-4)
                assert failure.total_variation == pytest.approx(again.total_variation[index, 1], abs=1e-4)
    assert not seen
    assert report.tokens == sum(count.tokens for count in report.counts.values())
    assert sum(count.base + count.mixture for count in report.counts.values()) == len(report.failures)


def test_the_kinds_of_tokens_spell_the_fact(atlas: Session) -> None:
    for case in atlas_cases(6):
        trace = inspected(atlas, Text(case.prompt, case.response, UP))
        ids, [(start, end)] = trace.tokens.tolist(), case.spans
        parts = pieces(ids, atlas.token_texts.of(ids))
        kinds = kinds_of(case, offsets_of(parts, case.response))
        told = b"".join(part for part, kind in zip(parts, kinds, strict=True) if kind == "fact").decode()
        assert told.strip().startswith(case.response[start:end])
        assert len(told.strip()) <= end - start + 1  # a stop may hang on


def test_batches_tell_of_all_tokens_and_change_nothing(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [Case("What is the capital of Kenya?", "It is Nairobi, " * (1 + n)) for n in range(5)]
    _, together = report_of(examined(session, cases, UP))
    monkeypatch.setattr("eft_core.failures._BATCH", 2)
    events, report = report_of(examined(session, cases, UP))
    read = [event for event in events if isinstance(event, Reading)]
    assert {event.total for event in read} == {report.tokens} == {read[-1].done}
    assert [event.done for event in read] == sorted(event.done for event in read)
    assert len(report.traces) == 5
    assert [(each.case, each.index) for each in report.failures] == [
        (each.case, each.index) for each in together.failures
    ]
    assert report.counts == together.counts


def test_what_cannot_be_served_is_told_at_once(session: Session) -> None:
    cases = [Case("Short?", "Yes."), Case("Too long?", "No. " * 200), Case("Short?", "Yes.")]
    for given, policy, message in (
        (cases, UP, "response to 'Too long\\?': .*shorten the response"),
        (cases[:1], up_scale("huge", "small"), "no size 'huge'"),
        (cases[:1], plain("large"), "is base\\[large\\] itself"),
        ([], UP, "no cases"),
    ):
        with pytest.raises(ValueError, match=message):
            examined(session, given, policy)


def test_texts_that_do_not_fit_together_are_read_in_smaller_batches(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspect, asked = session.inspect, []

    def narrow(texts: Any) -> Any:
        asked.append(len(texts))
        if len(texts) > 2:
            raise ValueError("this needs more memory")
        return inspect(texts)

    monkeypatch.setattr(session, "inspect", narrow)
    cases = [Case("Q?", f"Answer {n}") for n in range(5)]
    _, report = report_of(examined(session, cases, UP))
    assert asked == [5, 2, 3, 1, 2]
    assert [len(trace) for trace in report.traces] == [
        len(session.models.encode_response(case.prompt, case.response)) for case in cases
    ]


def test_closing_frees_the_session(session: Session) -> None:
    steps = examined(session, [Case("Q?", "Answer" * 20)] * 40, UP)
    next(steps)
    assert session.queue_length == 1
    steps.close()
    assert session.queue_length == 0

"""A session says what it does, in order; ends when it is closed; and serves one request after the other."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from conftest import CONTEXT, END

from eft_core.config import Limits, Request, Row, Sampling, Speculation
from eft_core.events import Done, Loading, RowFinished, Started, Timing, TokensDrawn, Working
from eft_core.policy import Member, Policy, plain, tuned, up_scale
from eft_core.session import Session
from eft_core.settings import Settings

WARM = Sampling(temperature=1.0, seed=2)


def compare(*policies: Policy, prompt: str = "Hi", tokens: int = 12, stop: tuple[str, ...] = ()) -> Request:
    return Request.compare(prompt, policies, WARM, Limits(tokens, stop))


@pytest.fixture
def fresh(families_file: str) -> Session:
    """A session that has loaded nothing."""
    return Session(Settings(families_file=families_file, device="cpu"), "llama")


def test_events_come_in_order_and_add_up(fresh: Session) -> None:
    request = compare(up_scale("large", "small"), plain("large"))
    events: list[Any] = [event for event in fresh.stream(request) if event != Working()]
    kinds = [type(event) for event in events]
    assert kinds[:4] == [Loading, Loading, Loading, Started]
    assert [(event.index, event.total) for event in events[:3]] == [(1, 3), (2, 3), (3, 3)]
    assert {event.member for event in events[:3]} == {"base[large]", "base[small]", "tuned[helpful][small]"}
    started, done = events[3], events[-1]
    assert started.rows[0].members == ("base[large]", "base[small]", "tuned[helpful][small]")
    assert started.rows[0].prompt_tokens == len(fresh.models.encode("Hi"))
    assert "3 models in float32 on cpu" in started.plan
    assert isinstance(done, Done)
    for row, answer in enumerate(done.answers):
        drawn = [event for event in events if isinstance(event, TokensDrawn) and event.row == row]
        (finished,) = [event for event in events if isinstance(event, RowFinished) and event.row == row]
        assert answer == finished.answer
        assert "".join(event.text for event in drawn) + finished.tail == answer.text
        assert tuple(token for event in drawn for token in event.token_ids) == answer.token_ids
        assert tuple(value for event in drawn for value in event.logprobs) == answer.logprobs
        assert drawn[-1].seconds == answer.seconds <= done.seconds
        assert answer.tokens_per_second > 0
    # what is loaded stays loaded
    assert Loading not in {type(event) for event in fresh.stream(request)}


def test_one_checkpoint_in_two_roles_is_loaded_once(families_file: str, tmp_path: Any) -> None:
    from pathlib import Path

    folder = Path(families_file).parent
    toml = (
        f'[twice]\nsizes = ["a", "b"]\n[twice.base]\na = "{folder}/llama-small-base"\nb = "{folder}/llama-small-base"\n'
    )
    (tmp_path / "families.toml").write_text(toml)
    session = Session(Settings(families_file=str(tmp_path / "families.toml"), device="cpu"), "twice")
    assert session.models.load(Member("a")) is session.models.load(Member("b"))


def test_family_info_tells_what_a_page_needs(session: Session) -> None:
    info = session.family_info
    assert (info.name, info.title, info.sizes) == ("llama", "Tiny llama", ("small", "large"))
    assert info.behaviours == {"small": ("helpful", "harmless"), "large": ("helpful",)}
    assert [label for label, _ in info.columns] == ["Large base", "Small tuned", "Up-scaled", "Large tuned"]
    assert (info.device, info.dtype) == ("cpu", "float32")


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (plain("huge"), "no size 'huge'; it has small, large"),
        (tuned("rude", "small"), "no behaviour 'rude'; it has helpful, harmless"),
        (tuned("harmless", "large"), "no 'harmless' of size 'large'"),
    ],
)
def test_a_wrong_policy_is_refused_before_anything_waits_or_loads(fresh: Session, policy: Policy, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fresh.stream(compare(policy))
    assert fresh.queue_length == 0
    assert fresh.models.loaded() == []


@pytest.mark.parametrize("prompt", ["word " * 20_000, "a" * 100_000, "\x00" * 100_000, "😀" * 25_000])
def test_a_prompt_beyond_the_context_is_refused_with_counts(session: Session, prompt: str) -> None:
    with pytest.raises(ValueError, match=rf"the prompt has [\d,]+ tokens and the models read {CONTEXT}.* shorten it"):
        session.stream(compare(plain("small"), prompt=prompt))


HOSTILE = [
    END,
    f"{END}{END} x",
    "a\x00b",
    "😀👩‍👩‍👧",
    "مرحبا שלום",
    "<script>alert(1)</script>",
    "${x} {{y}} {% z %}",
    "\ud83d",
    "%s\\n",
]


@pytest.mark.parametrize("prompt", HOSTILE)
def test_hostile_prompts_get_an_answer(session: Session, prompt: str) -> None:
    (answer,) = session.ask(compare(up_scale("large", "small"), prompt=prompt, tokens=5))
    assert answer.reason in ("end", "length")
    assert answer.text.encode("utf-8") is not None
    assert len(session.models.encode(prompt)) == answer.prompt_tokens


def test_a_full_context_ends_a_row_and_says_so(session: Session) -> None:
    request = compare(plain("small"), prompt="x" * 140, tokens=100)
    (answer,) = session.ask(request)
    assert answer.reason in ("context", "end")
    assert answer.prompt_tokens + len(answer.token_ids) <= CONTEXT
    texts = [
        session.ask(Request.compare("x" * 140, [plain("small")], Sampling(1.0, seed=s), Limits(100)))[0]
        for s in range(4)
    ]
    full = [answer for answer in texts if answer.reason == "context"]
    assert full
    assert {answer.prompt_tokens + len(answer.token_ids) for answer in full} == {CONTEXT}


def test_a_stop_string_ends_its_row_before_itself_and_only_its_row(session: Session) -> None:
    policies = plain("large"), tuned("helpful", "small")
    free = session.ask(compare(*policies, tokens=30))
    stop = free[0].text[6:8]
    assert stop.strip()
    stopped = session.ask(compare(*policies, tokens=30, stop=(stop,)))
    for before, after in zip(free, stopped, strict=True):
        cut = before.text.find(stop)
        expected = before.text if cut < 0 else before.text[:cut]
        assert after.text == expected
        assert after.token_ids == before.token_ids[: len(after.token_ids)]
        assert after.reason == ("stop" if cut >= 0 else before.reason)


def test_the_end_token_is_counted_and_not_shown(session: Session) -> None:
    answers = [
        session.ask(Request.compare("Hi", [plain("small")], Sampling(1.0, seed=seed), Limits(140)))[0]
        for seed in range(12)
    ]
    ended = [answer for answer in answers if answer.reason == "end"]
    assert ended
    for answer in ended:
        assert answer.token_ids[-1] == 1
        assert 1 not in answer.token_ids[:-1]
        assert END not in answer.text


@pytest.mark.parametrize("taken", [0, 1, 2, 4, 5, 9])
def test_closing_at_any_point_takes_the_request_away(fresh: Session, taken: int) -> None:
    """While loading, after the prompts are read, and while decoding."""
    stream = fresh.stream(compare(up_scale("large", "small"), tokens=30))
    assert fresh.queue_length == 0
    for _ in range(taken):
        next(stream)
    stream.close()
    assert fresh.queue_length == 0
    assert len(fresh.ask(compare(plain("small"), tokens=3))[0].token_ids) == 3


def test_closing_while_decoding_frees_the_caches(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    import weakref

    import eft_core.model

    caches: list[Any] = []
    honest = eft_core.model.Model.cache

    def watched(self: Any, rows: int, capacity: int) -> Any:
        cache = honest(self, rows, capacity)
        caches.append(weakref.ref(cache))
        return cache

    monkeypatch.setattr(eft_core.model.Model, "cache", watched)
    stream = session.stream(compare(up_scale("large", "small"), tokens=30))
    while not isinstance(next(stream), TokensDrawn):
        pass
    assert sum(len(cache().layers) for cache in caches if cache()) == 3 + 2 + 2
    stream.close()
    assert sum(len(cache().layers) for cache in caches if cache()) == 0


def test_a_request_that_does_not_fit_waits_and_can_be_closed(families_file: str) -> None:
    """What it is told meanwhile is `tests/test_engine.py`'s."""
    session = Session(Settings(families_file=families_file, device="cpu", rows=1), "llama")
    first = session.stream(compare(plain("small"), tokens=130))
    next(first)
    second, third = (session.stream(compare(plain("large"), tokens=3)) for _ in range(2))
    with closing(first), closing(third):
        next(second)
        second.close()
        first.close()
        rest = list(third)
    assert isinstance(rest[-1], Done)
    assert session.queue_length == 0


def test_a_stream_may_be_continued_and_closed_by_other_threads(session: Session) -> None:
    stream = session.stream(compare(up_scale("large", "small"), tokens=20))
    seen: list[Any] = []
    for _ in range(6):
        thread = threading.Thread(target=lambda: seen.append(next(stream)))
        thread.start()
        thread.join()
    assert len(seen) == 6
    closer = threading.Thread(target=stream.close)
    closer.start()
    closer.join()
    assert session.queue_length == 0


def test_an_error_while_loading_gives_the_turn_back(fresh: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(member: Member) -> None:
        raise ValueError(f"{member} is broken")

    monkeypatch.setattr(fresh.models, "load", broken)
    with pytest.raises(ValueError, match="broken"):
        fresh.ask(compare(plain("small")))
    assert fresh.queue_length == 0


def test_the_plan_is_known_before_loading_and_refuses_what_cannot_fit(families_file: str) -> None:
    tight = Session(Settings(families_file=families_file, device="cpu", memory_gb=0.0001), "llama")
    request = compare(up_scale("large", "small"))
    plan = tight.plan(request)
    assert [part.member for part in plan.members] == ["base[large]", "base[small]", "tuned[helpful][small]"]
    assert plan.total == plan.needed > 100_000
    assert plan.available == {"cpu": 100_000}
    with pytest.raises(ValueError, match=r"needs .* of memory and 100 kB is available: use fewer columns"):
        tight.stream(request)
    assert tight.models.loaded() == []


def test_what_is_loaded_is_not_counted_as_needed_again(session: Session) -> None:
    request = compare(plain("large"))
    session.ask(request)
    plan = session.plan(request)
    assert plan.needed == plan.total - plan.members[0].weights == plan.members[0].cache


def test_a_family_that_is_not_there_is_refused(families_file: str) -> None:
    with pytest.raises(ValueError, match="no family 'pear'"):
        Session(Settings(families_file=families_file), "pear")


@pytest.mark.parametrize("wrong", [{"device": "abacus"}, {"dtype": "float3"}])
def test_unknown_devices_and_dtypes_are_refused(families_file: str, wrong: dict[str, Any]) -> None:
    ((field, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"EFT_{field.upper()} = '{value}'"):
        Session(Settings(families_file=families_file, **wrong), "llama")


def test_members_that_share_no_vocabulary_are_refused(families_file: str, tmp_path: Any, tokenizer: Any) -> None:
    import copy
    import shutil
    from pathlib import Path

    folder = Path(families_file).parent
    shutil.copytree(folder / "llama-small-base", tmp_path / "other")
    text = (tmp_path / "other" / "tokenizer.json").read_text()
    (tmp_path / "other" / "tokenizer.json").write_text(text.replace('"<|end|>"', '"<|fin|>"'))
    config = (tmp_path / "other" / "tokenizer_config.json").read_text()
    (tmp_path / "other" / "tokenizer_config.json").write_text(config.replace("<|end|>", "<|fin|>"))
    toml = f'[two]\nsizes = ["a", "b"]\n[two.base]\na = "{folder}/llama-small-base"\nb = "other"\n'
    (tmp_path / "families.toml").write_text(toml)
    settings = Settings(families_file=str(tmp_path / "families.toml"), device="cpu")
    with pytest.raises(ValueError, match=r"base\[a\] and base\[b\] .* id 1 is '<\|end\|>' .* '<\|fin\|>'"):
        Session(settings, "two").ask(compare(plain("a")))
    (tmp_path / "families.toml").write_text(toml + '[two.aliases]\n"<|end|>" = "<|fin|>"\n')
    (answer,) = Session(settings, "two").ask(compare(plain("b"), tokens=2))
    assert len(answer.token_ids) == 2
    assert copy.deepcopy(tokenizer).eos_token_id == 1


def test_a_request_of_many_rows_and_prompts_is_one_batch(sessions: Callable[[str], Any]) -> None:
    """As grading asks: a hundred rows, each its own prompt."""
    rows = tuple(Row(f"What is {number}?", up_scale("large", "small")) for number in range(100))
    answers = sessions("llama").ask(Request(rows, Limits(8)))
    assert len(answers) == 100
    assert len({answer.text for answer in answers}) > 1
    (alone,) = sessions("llama").ask(Request(rows[57:58], Limits(8)))
    assert answers[57].token_ids == alone.token_ids


# --- speculation


def speculating(*policies: Policy, speculation: Speculation, tokens: int = 24) -> Request:
    return Request.compare("Hi", policies, WARM, Limits(tokens), speculation=speculation)


def test_speculation_tells_tokens_by_the_cycle_with_their_fates(session: Session) -> None:
    request = speculating(up_scale("large", "small"), plain("large"), speculation=Speculation(4, "token"))
    events = list(session.stream(request))
    (done,) = [event for event in events if isinstance(event, Done)]
    for row, answer in enumerate(done.answers):
        drawn = [event for event in events if isinstance(event, TokensDrawn) and event.row == row]
        assert all(len(event.token_ids) == len(event.fates) == len(event.logprobs) for event in drawn)
        assert tuple(fate for event in drawn for fate in event.fates) == answer.fates
        assert len(answer.fates) == len(answer.token_ids)
    assert done.gain is not None
    assert done.gain.tokens_per_second > 0
    assert (done.gain.measured, done.gain.plain_tokens_per_second) == (None, None)
    assert not [event for event in events if isinstance(event, Timing)]
    plainly = session.ask(compare(plain("large")))[0]
    assert (set(plainly.fates), plainly.drafting) == ({"plain"}, None)


def test_timed_both_ways_measures_the_gain_and_shows_the_speculative_run_alone(session: Session) -> None:
    policy = up_scale("large", "small")
    events = list(session.stream(speculating(policy, speculation=Speculation(None, "noise", timed=True))))
    kinds = [type(event) for event in events]
    assert kinds.index(Timing) < kinds.index(Started)
    (done,) = [event for event in events if isinstance(event, Done)]
    assert done.gain is not None
    assert done.gain.plain_tokens_per_second is not None
    assert done.gain.measured == done.gain.tokens_per_second / done.gain.plain_tokens_per_second
    (expected,) = session.ask(Request.compare("Hi", [policy], WARM, Limits(24)))
    drawn = [event for event in events if isinstance(event, TokensDrawn)]
    assert tuple(token for event in drawn for token in event.token_ids) == expected.token_ids


def test_long_passes_give_signs_of_life_in_mid_cycle(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a closed page is noticed before a cycle of a large model ends."""
    from eft_core.model import Model

    forward = Model.forward

    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.06)
        return forward(*args, **kwargs)

    monkeypatch.setattr(Model, "forward", slow)
    stream = session.stream(speculating(up_scale("large", "small"), speculation=Speculation(6), tokens=9))
    kinds = [type(event) for event in stream]
    assert kinds.count(Working) >= 2
    stream = session.stream(speculating(up_scale("large", "small"), speculation=Speculation(6), tokens=9))
    assert Working in {type(next(stream)) for _ in range(3)}
    stream.close()  # the fixture checks that the turn is given back


def test_a_drafter_must_belong_to_the_family(session: Session) -> None:
    wrong = Speculation(drafter=Member("huge"))
    with pytest.raises(ValueError, match="huge"):
        session.stream(speculating(plain("large"), speculation=wrong))


def test_the_plan_counts_drafters_and_does_without_them_where_memory_is_short(families_file: str) -> None:
    request = speculating(plain("large"), speculation=Speculation())

    def planned(memory_gb: float | None) -> list[str]:
        settings = Settings(families_file=families_file, device="cpu", memory_gb=memory_gb)
        session = Session(settings, "llama")
        monkey = {"small": 1.0, "large": 100.0}
        facts = session.models.facts
        session.models.facts = lambda member: Dearer(facts(member), monkey[member.size])  # type: ignore[method-assign, assignment, return-value]
        return [part.member for part in session.plan(request).members]

    assert planned(None) == ["base[large]", "base[small]"]
    assert planned(1e-9) == ["base[large]"]


class Dearer:
    """A member's facts with weights so many times as large: tiny models of two sizes cost nearly the same."""

    def __init__(self, facts: Any, factor: float) -> None:
        self._facts, self._factor = facts, factor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._facts, name)

    def weight_bytes(self, number: int, quantise: str) -> int:
        return int(self._facts.weight_bytes(number, quantise) * self._factor)

"""Every architecture of the listed families decodes as the library does alone, or is refused with the reason.

Each is a tiny random model, saved in the layout of the Hub and loaded by the ordinary path. Rows of very different
lengths run together; one ends with the context, and where there is a sliding window, rows go far beyond it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from tiny import CONTEXT, REFUSED, SERVED, WINDOW, save_related, tiny

from eft_core.config import Limits, Request, Row, Sampling, Speculation, Text
from eft_core.events import Answer, Inspected
from eft_core.policy import Member, Policy, up_scale
from eft_core.session import Session
from eft_core.settings import Settings

FOLDERS = ("helpful-large", "helpful-small", "base-large", "base-small")
TOKENS = 28
PROMPTS = ("Hi", "What is the capital of Kenya? What is the currency of Peru?", "How many people live in Norway? " * 6)
RULES = ("block", "token", "noise")
LENGTHS = (1, 4, None)
GREEDY = Sampling(temperature=0.0)
LARGE = up_scale("large", "large")  # N = M: the large tuned model itself
UP = up_scale("large", "small")


@dataclass
class Family:
    """One architecture's family, its session, and the library's own answers."""

    folder: Path
    session: Session

    @cached_property
    def expected(self) -> list[tuple[int, ...]]:
        """What `generate` answers to each prompt alone, by the large tuned model, with plain eager attention."""
        import torch
        from transformers import AutoModelForCausalLM

        network = AutoModelForCausalLM.from_pretrained(
            self.folder / "helpful-large", dtype=torch.float32, attn_implementation="eager"
        ).eval()
        found = []
        for prompt in PROMPTS:
            ids = torch.tensor([self.session.models.encode(prompt)])
            most = min(TOKENS, CONTEXT - ids.shape[1])
            given = {"do_sample": False, "max_new_tokens": most, "pad_token_id": 1, "eos_token_id": 1}
            answer = network.generate(ids, attention_mask=torch.ones_like(ids), **given)
            found.append(tuple(answer[0, ids.shape[1] :].tolist()))
        return found

    @cached_property
    def plain(self) -> tuple[Answer, ...]:
        """The answers of N = M, decoded token by token."""
        return self.ask(LARGE)

    @cached_property
    def scaled(self) -> tuple[Answer, ...]:
        """The up-scaled answers, decoded token by token."""
        return self.ask(UP)

    def ask(self, policy: Policy, speculation: Speculation | None = None, heat: float = 0.0) -> tuple[Answer, ...]:
        """The answers of all prompts, decoded together."""
        rows = tuple(Row(prompt, policy, Sampling(heat, seed=3)) for prompt in PROMPTS)
        return self.session.ask(Request(rows, Limits(TOKENS), speculation))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other cost more than such models take."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=SERVED)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Family:
    folder = tmp_path_factory.mktemp(request.param)
    save_related(folder, tiny(request.param, len(tokenizer)), tokenizer, FOLDERS)
    (folder / "families.toml").write_text(
        f'[{request.param}]\nsizes = ["small", "large"]\n'
        f'[{request.param}.base]\nsmall = "base-small"\nlarge = "base-large"\n'
        f'[{request.param}.tuned.helpful]\nsmall = "helpful-small"\nlarge = "helpful-large"\n'
    )
    return Family(folder, Session(Settings(families_file=str(folder / "families.toml"), device="cpu"), request.param))


def tokens(answers: tuple[Answer, ...]) -> list[tuple[int, ...]]:
    return [answer.token_ids for answer in answers]


def test_rows_of_any_length_together_are_what_generate_gives_each_alone(family: Family) -> None:
    answers = family.plain
    assert tokens(answers) == family.expected
    assert [answer.reason for answer in answers] == ["length", "length", "context"]
    assert answers[0].prompt_tokens < WINDOW < len(answers[0].token_ids)  # passes the window on its way
    assert answers[2].prompt_tokens + len(answers[2].token_ids) == CONTEXT > 5 * WINDOW
    assert max(len(set(answer)) for answer in family.expected) > 4  # no model that repeats itself whatever it reads


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("rule", RULES)
def test_greedy_speculation_is_what_generate_gives(family: Family, rule: Any, length: int | None) -> None:
    answers = family.ask(LARGE, Speculation(length, rule, drafter=Member("small", "helpful")))
    assert tokens(answers) == family.expected


def test_drafts_are_accepted_and_rejected_on_the_way(family: Family) -> None:
    """Else the tests beside this one would not see a wrong roll back, or a wrong verification."""
    answers = family.ask(LARGE, Speculation(4, "token", drafter=Member("small", "helpful")))
    fates = {fate for answer in answers if answer.trace for fate in answer.trace.fates}
    assert {"a", "r"} <= fates  # accepted, recovered


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("rule", RULES)
def test_up_scaled_speculation_is_plain_decoding(family: Family, rule: Any, length: int | None) -> None:
    assert tokens(family.ask(UP, Speculation(length, rule))) == tokens(family.scaled)


def test_with_shared_noise_sampled_speculation_is_plain_decoding(family: Family) -> None:
    plain = family.ask(UP, heat=1.0)
    assert tokens(family.ask(UP, Speculation(4, "noise"), heat=1.0)) == tokens(plain)


def test_inspection_reads_what_decoding_recorded(family: Family) -> None:
    answers = family.plain
    texts = [Text(prompt, answer.token_ids, LARGE) for prompt, answer in zip(PROMPTS, answers, strict=True)]
    *_, last = family.session.inspect(texts)
    assert isinstance(last, Inspected)
    for answer, trace in zip(answers, last.traces, strict=True):
        assert list(trace.logprobs[:, 0]) == pytest.approx(list(answer.logprobs), abs=2e-3)


SENTENCES = {
    "falcon-alibi": "its positions are alibi",
    "bloom": "its positions are alibi",
    "granite4-hybrid": "it has linear or chunked attention",
    "llama4-chunked": "it has linear or chunked attention",
    "t5": "it is an encoder and a decoder",
}


@pytest.mark.parametrize("architecture", REFUSED)
def test_what_cannot_decode_ragged_rows_is_refused_with_the_reason(
    architecture: str, tmp_path: Path, tokenizer: Any
) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    kind = AutoModelForSeq2SeqLM if architecture == "t5" else AutoModelForCausalLM
    kind.from_config(tiny(architecture, len(tokenizer))).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "families.toml").write_text('[odd]\nsizes = ["one"]\n[odd.base]\none = "model"\n')
    session = Session(Settings(families_file=str(tmp_path / "families.toml"), device="cpu"), "odd")
    said = rf"cannot decode rows at different positions: {SENTENCES[architecture]}.* can\."
    with pytest.raises(ValueError, match=said):
        session.ask(Request.compare("Hi", (Policy("one"),), GREEDY, Limits(4)))

"""A real model of the Hub's from end to end: SmolLM2-135M-Instruct, its chat template, its answer, its end."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from smollm2 import ANSWER, QUESTION, families_file

from eft_core.benchmark.profile import real_model
from eft_core.config import Limits, Request, Row, Sampling, Speculation, Text
from eft_core.events import Answer, Inspected
from eft_core.policy import Member, Policy, plain, tuned, up_scale
from eft_core.session import Session
from eft_core.settings import Settings

GREEDY = Sampling(temperature=0.0)
SAME = Policy("135m", "135m", {"instruct": 1.0})
UP = up_scale("again", "135m", "instruct")
OTHER = "Name a colour."


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    import torch

    threads = torch.get_num_threads()
    yield Session(
        Settings(families_file=families_file(tmp_path_factory.mktemp("smollm2")), device="cpu", threads=1), "smollm2"
    )
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def generated(smollm2: Session) -> dict[str, tuple[int, ...]]:
    """What the library's `generate` answers to each question, greedily."""
    import torch

    network: Any = smollm2.models.load(Member("135m")).network
    found = {}
    for question in (QUESTION, OTHER):
        ids = torch.tensor([smollm2.models.encode(question)])
        (end,) = smollm2.models.vocabulary.end_ids
        given = {"do_sample": False, "max_new_tokens": 24, "eos_token_id": end, "pad_token_id": end}
        answer = network.generate(ids, attention_mask=torch.ones_like(ids), **given)
        found[question] = tuple(answer[0, ids.shape[1] :].tolist())
    return found


def ask(session: Session, policy: Policy, speculation: Speculation | None = None) -> tuple[Answer, ...]:
    rows = tuple(Row(question, policy, GREEDY) for question in (QUESTION, OTHER))
    return session.ask(Request(rows, Limits(24), speculation))


def test_the_prompt_is_in_the_chat_template_with_its_own_system_text_or_ours(smollm2: Session) -> None:
    text = smollm2.models.tokenizer.decode(smollm2.models.encode(QUESTION))
    assert text == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    )
    request = Request.compare(
        "And of Italy?", (SAME,), GREEDY, Limits(12), system="Answer in one sentence.", turns=((QUESTION, ANSWER),)
    )
    (answer,) = smollm2.ask(request)
    assert "Rome" in answer.text
    assert answer.prompt_tokens > len(smollm2.models.encode("And of Italy?"))


def test_it_answers_rightly_and_stops_at_the_end_of_its_turn(smollm2: Session) -> None:
    answer = ask(smollm2, SAME)[0]
    assert (answer.text, answer.reason) == (ANSWER, "end")
    assert smollm2.models.tokenizer.convert_ids_to_tokens(answer.token_ids[-1]) == "<|im_end|>"


def test_one_checkpoint_in_four_roles_is_one_copy(smollm2: Session) -> None:
    members = [Member(size, behaviour) for size in ("135m", "again") for behaviour in (None, "instruct")]
    assert len({id(smollm2.models.load(member)) for member in members}) == 1


@pytest.mark.parametrize("policy", [plain("135m"), tuned("instruct", "again"), SAME, UP], ids=Policy.formula)
def test_plain_decoding_is_what_generate_gives(
    smollm2: Session, generated: dict[str, tuple[int, ...]], policy: Policy
) -> None:
    assert [answer.token_ids for answer in ask(smollm2, policy)] == list(generated.values())


@pytest.mark.parametrize(("rule", "length"), [("block", 4), ("block", None), ("token", 4), ("noise", 4)])
def test_speculation_is_what_generate_gives(
    smollm2: Session, generated: dict[str, tuple[int, ...]], rule: Any, length: int | None
) -> None:
    answers = ask(smollm2, UP, Speculation(length, rule))
    assert [answer.token_ids for answer in answers] == list(generated.values())
    if length:
        fates = "".join(answer.trace.fates for answer in answers if answer.trace)
        assert set(fates) <= {"a", "b", "p"}, "the drafter is the target here: no draft is refused"


def test_inspection_reads_what_was_recorded(smollm2: Session) -> None:
    answer = ask(smollm2, UP)[0]
    *_, last = smollm2.inspect([Text(QUESTION, answer.token_ids, UP), Text(QUESTION, ANSWER, UP)])
    assert isinstance(last, Inspected)
    by_ids, by_text = last.traces
    assert answer.trace is not None
    np.testing.assert_allclose(by_ids.logprobs, answer.trace.logprobs, atol=2e-3)
    assert by_ids.tokens.tolist() == list(answer.token_ids)
    assert by_text.tokens.tolist() == list(answer.token_ids[:-1]), "a pasted text has no end token"


def test_the_profile_measures_it_in_float32_and_int8() -> None:
    found = real_model(Settings(threads=1), (QUESTION,), 6)
    assert found is not None
    assert set(found["tokens_per_second"]) == {"none", "int8"}
    assert all(rate > 0 for rate in found["tokens_per_second"].values())
    assert all(seconds > 0 for seconds in found["first_token_seconds"].values())

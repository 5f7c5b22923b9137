"""A real model in the GGUF format, SmolLM2-135M-Instruct in 4 bits, is read, and knows what it should."""

from typing import Any

import pytest
import smollm2

from eft_core.config import Limits, Request, Sampling
from eft_core.network import Reading, read
from eft_core.policy import Member, tuned
from eft_core.session import Session
from eft_core.settings import Settings

MEMBER = Member("135m", "instruct")
INSTRUCT = tuned("instruct", "135m")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    file = smollm2.families_file(tmp_path_factory.mktemp("smollm2"))
    return Session(Settings(families_file=file, device="cpu"), "smollm2")


def test_it_answers_a_question_in_its_chat_template(session: Session, capfd: pytest.CaptureFixture[str]) -> None:
    (answer,) = session.ask(Request.compare(smollm2.QUESTION, (INSTRUCT,), Sampling(0.0), Limits(16)))
    assert "GGUF tensors" not in capfd.readouterr().err  # the library's bar, as the file was read for this answer
    assert answer.text == smollm2.ANSWER
    assert answer.reason == "end"
    assert "<|im_start|>user" in session.models.tokenizer.decode(session.models.encode(smollm2.QUESTION))


def test_it_decodes_as_the_library_generates(session: Session) -> None:
    import torch

    model: Any = session.models.load(MEMBER)
    ids = torch.tensor([session.models.encode("Name three colours.")])
    given: dict[str, Any] = {"do_sample": False, "max_new_tokens": 12, "pad_token_id": 2, "repetition_penalty": 1.0}
    wanted = model.network.generate(ids, attention_mask=torch.ones_like(ids), **given)[0, ids.shape[1] :].tolist()
    (answer,) = session.ask(Request.compare("Name three colours.", (INSTRUCT,), Sampling(0.0), Limits(12)))
    assert list(answer.token_ids) == wanted[: len(answer.token_ids)]
    assert len(answer.token_ids) > 3


def test_no_weight_stays_packed(session: Session) -> None:
    """Else layers are no Linears, which adapters and int8 need, and kernels would come from the Hub."""
    import torch

    network: Any = session.models.load(MEMBER).network
    assert network.float() is network  # the library refuses it for what is packed
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_one_file_in_four_roles_is_one_copy(session: Session) -> None:
    assert len({session.models.residence(member) for member in session.family.checkpoints}) == 1
    facts = session.models.facts(MEMBER)
    assert (facts.layers, facts.heads, facts.head_size, facts.width) == (30, 3, 64, 49152)
    assert 134e6 < facts.parameters < 136e6


def test_a_file_that_is_cut_short_is_refused(session: Session, tmp_path: Any) -> None:
    import torch

    place = session.models.residence(MEMBER).checkpoint
    with (place.folder() / smollm2.FILE).open("rb") as whole:
        (tmp_path / "cut.gguf").write_bytes(whole.read(3_000_000))
    with pytest.raises(ValueError, match=r"is damaged or was not downloaded to its end \(it has 3,000,000 bytes"):
        read(Reading(tmp_path, torch.float32, file="cut.gguf"))

"""Members that see the question in another form, lie under other ids, or share one copy; and memory that runs out."""

from pathlib import Path
from typing import Any

import pytest
import torch

from eft_core.config import Limits, Request, Row, Sampling, Speculation, Text
from eft_core.events import Inspected
from eft_core.policy import Member, plain, tuned, up_scale
from eft_core.session import Session
from eft_core.settings import Settings

PROMPT = "What is the capital of Kenya?"
PLAIN = "Q: {prompt}\nA:"


def family(folder: Path, tmp_path: Path, more: str = "", **places: str) -> Session:
    """The tiny Llamas under other settings."""
    named = {"base.small": "small-base", "base.large": "large-base", "tuned.helpful.small": "small-helpful"} | places
    lines = [f'{key} = "{folder / f"llama-{place}"}"' for key, place in named.items()]
    text = '[mine]\nsizes = ["small", "large"]\n' + more + "\n".join(lines)
    (tmp_path / "mine.toml").write_text(text)
    return Session(Settings(family="mine", families_file=str(tmp_path / "mine.toml"), device="cpu"))


@pytest.fixture
def folder(families_file: str) -> Path:
    return Path(families_file).parent


def answer(session: Session, policy: Any, speculation: Speculation | None = None, **how: Any) -> Any:
    row = Row(PROMPT, policy, Sampling(0.8, seed=3), **how)
    return session.ask(Request((row,), Limits(24), speculation))[0]


def reference(session: Session, policy: Any, steps: int) -> list[int]:
    """Greedy up-scaling by the library alone, every member on its own prompt."""
    models = session.models
    members = {member: models.load(member).network for member in policy.weights()}
    prompts = {member: list(models.encode_for(member, PROMPT)) for member in members}
    found: list[int] = []
    for _ in range(steps):
        total = sum(
            weight * members[member](torch.tensor([prompts[member] + found])).logits[0, -1, :320].log_softmax(-1)
            for member, weight in policy.weights().items()
        )
        found.append(int(total.argmax()))
    return found


@pytest.mark.parametrize("speculation", [None, Speculation(1), Speculation(4), Speculation()])
def test_base_members_may_see_a_plain_prompt(folder: Path, tmp_path: Path, speculation: Speculation | None) -> None:
    session = family(folder, tmp_path, f'base_prompt = """{PLAIN}"""\n')
    policies = [up_scale("large", "small", "helpful"), tuned("helpful", "small"), plain("large")]
    rows = tuple(Row(PROMPT, policy) for policy in policies)
    answers = session.ask(Request(rows, Limits(12), speculation))
    lengths = {member: len(session.models.encode_for(member, PROMPT)) for member in session.family.checkpoints}
    assert lengths[Member("large")] != lengths[Member("small", "helpful")]
    for policy, each in zip(policies, answers, strict=True):
        assert list(each.token_ids) == reference(session, policy, len(each.token_ids))


def test_a_text_is_read_as_it_was_written_whatever_the_prompts(folder: Path, tmp_path: Path) -> None:
    session = family(folder, tmp_path, f'base_prompt = """{PLAIN}"""\n')
    policy = up_scale("large", "small", "helpful")
    written = answer(session, policy)
    *_, read = session.inspect([Text(PROMPT, written.token_ids, policy)])
    assert isinstance(read, Inspected)
    torch.testing.assert_close(read.traces[0].logprobs, written.trace.logprobs)
    branch = answer(session, policy, given=written.token_ids[:5])
    assert branch.token_ids == written.token_ids


def test_a_plain_base_ends_where_its_format_would_ask_again(folder: Path, tmp_path: Path) -> None:
    session = family(folder, tmp_path)
    free = answer(session, plain("large"))
    stop = free.text[6:9]
    stopped = family(folder, tmp_path, f"base_stop = ['''{stop}''']\n")
    assert answer(stopped, plain("large")).text == free.text[: free.text.index(stop)]
    assert answer(stopped, tuned("helpful", "small")).text == answer(session, tuned("helpful", "small")).text


def test_a_plain_base_ends_at_what_its_template_writes_between_turns(folder: Path, tmp_path: Path) -> None:
    """Unless the families file says otherwise; and a column that has a tuned member ends by an end token alone."""
    template = "{% for m in messages %}## {{ m.role }}: {{ m.content }} {% endfor %}## assistant:"
    marks = f'template = {{ chat_template = "{template}" }}\n'
    policies = (plain("large"), up_scale("large", "small", "helpful"))
    request = Request(tuple(Row(PROMPT, policy) for policy in policies), Limits(4, stop=("###",)))
    for more, own in (("", ("## user:",)), ('base_stop = ["~~"]\n', ("~~",)), ("base_stop = []\n", ())):
        session = family(folder, tmp_path, marks + more)
        assert session._jobs.job(request).stops == (("###", *own), ("###",))


@pytest.mark.parametrize("speculation", [None, Speculation(3)])
def test_equal_tokens_under_other_ids_give_the_same_answers(
    folder: Path, tmp_path: Path, tokenizer: Any, speculation: Speculation | None
) -> None:
    """base[large] with its rows shuffled, and a tokenizer that says so, is the same model."""
    import json
    import shutil

    from safetensors.torch import load_file, save_file

    other = tmp_path / "llama-shuffled"
    shutil.copytree(folder / "llama-large-base", other)
    order = torch.randperm(len(tokenizer), generator=torch.Generator().manual_seed(1)).tolist()
    table = json.loads((other / "tokenizer.json").read_text())
    vocabulary = table["model"]["vocab"]
    table["model"]["vocab"] = {text: order[number] for text, number in vocabulary.items()}
    for added in table["added_tokens"]:
        added["id"] = order[added["id"]]
    (other / "tokenizer.json").write_text(json.dumps(table))
    weights = load_file(other / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        if name in weights:
            weights[name][order] = weights[name][: len(order)].clone()
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    place = str(other).removeprefix(str(folder / "llama-"))
    mapped = family(folder, tmp_path, **{"base.large": place}) if place != str(other) else _at(folder, tmp_path, other)
    [finding] = [each for each in mapped.models.report.findings if each.member == "base[large]"]
    assert finding.verdict == "mappable"
    plainly = family(folder, tmp_path)
    for policy in (plain("large"), up_scale("large", "small", "helpful")):
        assert answer(mapped, policy, speculation).token_ids == answer(plainly, policy, speculation).token_ids


def _at(folder: Path, tmp_path: Path, large: Path) -> Session:
    lines = [f'base.small = "{folder / "llama-small-base"}"', f'base.large = "{large}"']
    lines += [f'tuned.helpful.small = "{folder / "llama-small-helpful"}"']
    (tmp_path / "other.toml").write_text('[mine]\nsizes = ["small", "large"]\n' + "\n".join(lines))
    return Session(Settings(family="mine", families_file=str(tmp_path / "other.toml"), device="cpu"))


def test_the_plan_counts_a_checkpoint_in_two_roles_once(folder: Path, tmp_path: Path) -> None:
    session = family(folder, tmp_path, **{"tuned.helpful.small": "small-base"})
    memory = session.plan(Request.compare(PROMPT, (plain("small"), tuned("helpful", "small"))))
    assert [part.shared for part in memory.members] == [False, True]
    assert memory.members[1].weights == 0
    session.ask(Request.compare(PROMPT, (plain("small"), tuned("helpful", "small")), limits=Limits(2)))
    assert session.models.load(Member("small")) is session.models.load(Member("small", "helpful"))


@pytest.mark.parametrize("loaded", [True, False], ids=["in a run", "in the trial run after loading"])
def test_out_of_memory_is_told_and_the_next_request_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: bool
) -> None:
    session = family(folder, tmp_path)
    expected = answer(session, plain("large")).text
    model = session.models.load(Member("large"))

    def exhausted(*_: Any, **__: Any) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory")

    if not loaded:
        list(session.unload())
    with monkeypatch.context() as patched:
        patched.setattr(type(model), "_pass", exhausted)
        with pytest.raises(ValueError, match=r"memory ran out .* fewer columns"):
            answer(session, plain("large"))
    assert session.models.is_loaded(Member("large")) is loaded
    assert session.queue_length == 0
    assert answer(session, plain("large")).text == expected


def test_members_have_formats_of_their_own(folder: Path, tmp_path: Path) -> None:
    session = family(folder, tmp_path)
    (tmp_path / "two.toml").write_text(
        (tmp_path / "mine.toml")
        .read_text()
        .replace(
            f'base.large = "{folder / "llama-large-base"}"',
            f'base.large = {{ model = "{folder / "llama-large-base"}", dtype = "bfloat16" }}',
        )
    )
    mixed = Session(Settings(family="mine", families_file=str(tmp_path / "two.toml"), device="cpu"))
    memory = mixed.plan(Request.compare(PROMPT, (up_scale("large", "small"),)))
    assert "bfloat16, float32 on cpu" in str(memory)
    assert mixed.models.load(Member("large")).dtype == torch.bfloat16
    assert mixed.models.load(Member("small")).dtype == torch.float32
    assert len(answer(mixed, up_scale("large", "small")).token_ids) == len(answer(session, plain("small")).token_ids)

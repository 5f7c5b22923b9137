"""All families of a process: one queue, one store of weights, families that are added and removed."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eft_core.config import Limits, Request
from eft_core.events import Done, Loading, Queued, Working
from eft_core.family import Family
from eft_core.job import Needs
from eft_core.lab import Lab
from eft_core.policy import Member, plain, up_scale
from eft_core.session import Session, Shared
from eft_core.settings import Settings
from eft_core.tickets import Claim

REQUEST = Request.compare(
    "What is the capital of Kenya?", (plain("large"), up_scale("large", "small")), limits=Limits(6)
)


@pytest.fixture
def settings(families_file: str, tmp_path: Path) -> Settings:
    return Settings(family="llama", families_file=families_file, device="cpu", data_dir=str(tmp_path / "data"))


@pytest.fixture
def lab(settings: Settings) -> Lab:
    return Lab(settings)


def texts(session: Session) -> list[str]:
    return [answer.text for answer in session.ask(REQUEST)]


def test_the_default_family_is_first_and_every_other_is_there(lab: Lab) -> None:
    assert lab.names()[0] == lab.default == "llama"
    assert {"atlas", "qwen2", "smollm2"} <= set(lab.names())
    assert lab.session() is lab.session("llama")
    with pytest.raises(ValueError, match=r"no family 'pear'; there are .*llama"):
        lab.session("pear")


def test_the_first_family_and_the_making_of_sessions_can_be_said(settings: Settings) -> None:
    made: list[str] = []

    def make(settings: Settings, family: Family, shared: Shared) -> Session:
        made.append(family.name)
        return Session(settings, family, shared)

    first = replace(Lab(settings).family("gpt2"), default_pretrain="small")
    lab = Lab(settings, make, first)
    assert lab.names()[0] == "gpt2"
    assert lab.session().family is lab.family("gpt2") is first
    lab.session("llama")
    lab.session("gpt2")
    assert made == ["gpt2", "llama"]
    assert Lab(replace(settings, family=None)).default == "atlas"


def test_two_families_are_served_in_turn_and_never_mixed(lab: Lab, sessions: Any) -> None:
    one, two = lab.session("llama"), lab.session("gpt2")
    first, second = one.stream(REQUEST), two.stream(REQUEST)

    def going_on(owner: Any) -> Any:
        while True:
            yield [Working()]

    with closing(one._engine.follow(Claim(one, 1, Needs()), going_on)) as running:
        next(running)
        assert next(second) == Queued(1)  # whoever asks for another family waits for this one
        assert next(first) == Queued(2)  # and is not overtaken by who asks for this one
    *_, other = second
    *_, done = first
    assert isinstance(done, Done)
    assert isinstance(other, Done)
    assert [answer.text for answer in done.answers] == texts(sessions("llama"))
    assert [answer.text for answer in other.answers] == texts(sessions("gpt2"))


def test_members_are_loaded_and_let_go_on_request(lab: Lab) -> None:
    told = list(lab.load("gpt2"))
    assert [event.member for event in told if isinstance(event, Loading)] == [
        "base[large]",
        "tuned[helpful][small]",
        "base[small]",
        "tuned[helpful][large]",
    ]
    assert len(lab.loaded("gpt2")) == 4
    assert lab.loaded("llama") == []
    assert list(lab.load("gpt2")) == []
    list(lab.unload("gpt2"))
    assert lab.loaded("gpt2") == []
    assert list(lab.load("gpt2", [Member("small")])) == [Loading("base[small]", 1, 1)]
    with pytest.raises(ValueError, match="no size 'huge'"):
        lab.load("gpt2", [Member("huge")])


def test_the_least_recently_used_goes_first_and_is_told(settings: Settings) -> None:
    one = Lab(settings)
    list(one.load("llama"))
    list(one.load("gpt2"))
    taken = one.session().models.weights.size("cpu")
    tight = Lab(replace(settings, memory_gb=taken / 1e9))
    list(tight.load("llama"))
    list(tight.load("gpt2"))
    told = [event for event in tight.load("neox") if isinstance(event, Loading)]
    assert any("llama" in name for name in told[0].freed)
    assert len(tight.loaded("llama")) < 4
    assert len(tight.loaded("neox")) == 4
    assert tight.session().models.weights.size("cpu") <= taken
    assert texts(tight.session("llama"))  # it is read again


def test_a_family_is_added_kept_and_removed(lab: Lab, settings: Settings, families_file: str) -> None:
    folder = Path(families_file).parent
    text = f'["my.own"]\nsizes = ["small"]\n["my.own".base]\nsmall = "{folder / "llama-small-base"}"\n'
    text += f'["my.own".tuned.kind]\nsmall = {{ model = "{folder / "llama-small-helpful"}", dtype = "float32" }}\n'
    [added] = lab.add_toml(text)
    assert added.behaviours == ("kind",)
    assert lab.session("my.own").ask(Request.compare("Hi", (plain("small"),), limits=Limits(3)))
    assert Lab(settings).family("my.own").checkpoints == added.checkpoints  # after a new start too
    with pytest.raises(ValueError, match="choose another name"):
        lab.add_toml(text)
    lab.remove("my.own")
    assert "my.own" not in lab.names()
    assert "my.own" not in Lab(settings).names()
    with pytest.raises(ValueError, match="was not added here"):
        lab.remove("llama")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a", "no TOML"),
        ("", "names no family"),
        ("a = 1", "must be a table"),
        ('[a]\nsizes = ["s"]\n[a.base]\ns = "x"\n[a.tuned.t]\nxl = "y"', "size 'xl'"),
        ("x" * 200_000, "at most"),
    ],
)
def test_a_wrong_family_is_refused_and_nothing_kept(lab: Lab, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lab.add_toml(text)
    assert not lab.added_file.exists()

"""How the page begins: by variable, by hardware, and on a Space whose files are not there yet."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.starting import machine_for, opened, processes_for
from eft_core.config import Limits, Request
from eft_core.family import default_columns
from eft_core.hardware import Machine
from eft_core.lab import Lab
from eft_core.session import Session
from eft_core.settings import Settings

GB = 10**9
UPGRADE = {"CPU_CORES": "8", "MEMORY": "32Gi"}
SPACE = UPGRADE | {"SPACE_ID": "somebody/eft-lab"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(device="cpu", threads=1, workers=0, data_dir=str(tmp_path / "data"))


@pytest.fixture
def small(settings: Settings, families_file: str, tmp_path: Path) -> Callable[[bool], Settings]:
    """Settings under which SmolLM2 is one of the tiny families, with or without its files."""

    def made(here: bool) -> Settings:
        text = Path(families_file).read_text().split("\n[gpt2]")[0].replace("[llama", "[smollm2")
        text = text.replace("small", "135m").replace("large", "360m")
        for size, name in (("135m", "small"), ("360m", "large")):
            text = text.replace(f'"llama-{size}', f'"{Path(families_file).parent}/{"" if here else "no-"}llama-{name}')
        file = tmp_path / "small.toml"
        file.write_text(text.replace("sizes = ", "parameters = { 135m = 0.135, 360m = 0.36 }\nsizes = "))
        return replace(settings, families_file=str(file), threads=None)

    return made


def test_the_variable_decides_whatever_the_machine(settings: Settings, families_file: str) -> None:
    named = replace(settings, family="gpt2", families_file=families_file)
    lab, sentence = opened(named, SPACE)
    assert lab.names()[0] == lab.default == "gpt2"
    assert sentence == "EFT Lab begins with Tiny gpt2, as EFT_FAMILY says."
    with pytest.raises(ValueError, match=r"no family 'pear'; there are .*atlas"):
        opened(replace(settings, family="pear"), {})


@pytest.mark.parametrize(
    ("asked", "machine", "processes"),
    [
        ({}, Machine(2, 16 * GB), 2),
        ({}, Machine(32, 64 * GB), 4),
        ({}, Machine(32, 64 * GB, 80 * GB), 1),
        ({"memory_gb": 4.0}, Machine(2, 16 * GB), 1),
        ({"workers": 0}, Machine(2, 16 * GB), 0),
        ({"workers": 3, "memory_gb": 4.0}, Machine(2, 64 * GB, 80 * GB), 3),
    ],
)
def test_the_engine_has_as_many_processes_as_the_machine_bears(
    asked: dict[str, Any], machine: Machine, processes: int
) -> None:
    assert processes_for(Settings(**asked), machine) == processes


def test_two_cores_begin_with_atlas(settings: Settings) -> None:
    lab, sentence = opened(settings, {"CPU_CORES": "2", "MEMORY": "16Gi"})
    assert lab.default == "atlas"
    assert type(lab.session()) is Session
    assert sentence == "EFT Lab begins with Atlas, for it may use 1 CPU core and 17 GB of memory."


def test_more_cores_begin_with_the_larger_family_whose_files_are_here(small: Callable[[bool], Settings]) -> None:
    lab, sentence = opened(small(True), UPGRADE)
    assert lab.default == "smollm2"
    assert "8 CPU cores and 34 GB of memory, and 360m and 135m take" in sentence
    family = lab.session().family
    assert (family.default_pretrain, family.default_finetune) == ("360m", "135m")
    request = Request.compare("Hi", [policy for _, policy in default_columns(family)], limits=Limits(3))
    assert len(lab.session().ask(request)) == 4


def test_what_the_settings_leave_unused_does_not_count(settings: Settings, small: Callable[[bool], Settings]) -> None:
    variables = UPGRADE | {"ACCELERATOR": "a100-large"}
    whole, cpu = (machine_for(replace(settings, threads=None, device=name), variables) for name in ("auto", "cpu"))
    assert (whole.gpu, cpu.gpu) == (80 * 10**9, 0)
    tight = machine_for(replace(settings, memory_gb=3, device="auto"), variables)
    assert (tight.cores, tight.memory, tight.gpu) == (1, 3 * 10**9, 3 * 10**9)
    assert opened(replace(small(True), memory_gb=1), UPGRADE)[0].default == "atlas"
    assert opened(replace(small(True), threads=2), UPGRADE)[0].default == "atlas"


def test_files_that_are_not_here_are_fetched_on_a_space_alone(
    small: Callable[[bool], Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    fetched: list[str] = []

    def download(lab: Lab, name: str) -> Iterator[int]:
        for number in range(3):
            fetched.append(name)
            yield number

    assert opened(small(False), UPGRADE, download)[0].default == "atlas"
    assert "fetches" not in capsys.readouterr().out
    lab, sentence = opened(small(False), SPACE, download)
    assert (lab.default, fetched) == ("smollm2", ["smollm2"] * 3)
    assert sentence.startswith("EFT Lab begins with Tiny llama, for it may use 8 CPU cores")
    assert "fetches Tiny llama first" in capsys.readouterr().out
    assert opened(small(True), SPACE, download)[0].default == "smollm2"
    assert len(fetched) == 3, "what is here is not fetched"
    assert opened(small(False), SPACE)[0].default == "atlas", "what nobody can fetch is not begun with"


@pytest.mark.parametrize("family", [None, "smollm2"])
def test_a_space_that_cannot_fetch_begins_with_atlas_and_says_why(
    small: Callable[[bool], Settings], family: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    def download(lab: Lab, name: str) -> Iterator[int]:
        yield 1
        raise ConnectionError("no network:\ntry again later.")

    with caplog.at_level(logging.WARNING):
        lab, sentence = opened(replace(small(False), family=family), SPACE, download)
    assert sentence.endswith("could not be downloaded: no network: try again later.")
    assert sentence.startswith("EFT Lab begins with Atlas, for ")
    assert "ConnectionError" in caplog.text
    assert lab.names()[0] == lab.session().family.name == "atlas"
    assert "smollm2" in lab.names(), "it can still be fetched on the page"

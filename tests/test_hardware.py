"""The family that a machine gets when nobody says which."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eft_core.families import BUILT_IN, read_families
from eft_core.family import default_columns
from eft_core.hardware import Machine, comparison_bytes, default_family, is_present
from eft_core.policy import Member

FOUND = read_families(BUILT_IN)
GB = 10**9
SPACES = {
    "cpu-basic": ({"CPU_CORES": "2", "MEMORY": "16Gi"}, "atlas", ("large", "small")),
    "cpu-upgrade": ({"CPU_CORES": "8", "MEMORY": "32Gi"}, "smollm2", ("360m", "135m")),
    "t4-small": ({"CPU_CORES": "4", "MEMORY": "15Gi", "ACCELERATOR": "t4-small"}, "qwen2.5", ("1.5b", "0.5b")),
    "l4x1": ({"CPU_CORES": "8", "MEMORY": "30Gi", "ACCELERATOR": "l4x1"}, "qwen2.5", ("1.5b", "0.5b")),
    "l40sx1": ({"CPU_CORES": "8", "MEMORY": "62Gi", "ACCELERATOR": "l40sx1"}, "qwen2.5", ("7b", "0.5b")),
    "a100-large": ({"CPU_CORES": "12", "MEMORY": "142Gi", "ACCELERATOR": "a100-large"}, "qwen2.5", ("7b", "0.5b")),
    "zero": ({"CPU_CORES": "2", "MEMORY": "16Gi", "SPACES_ZERO_GPU": "true"}, "qwen2.5", ("7b", "0.5b")),
}  # fmt: skip


@pytest.mark.parametrize("name", SPACES)
def test_each_hardware_of_spaces_gets_a_family_that_it_can_hold(name: str) -> None:
    variables, family, sizes = SPACES[name]
    machine = Machine.read(variables | {"SPACE_ID": "somebody/eft-lab"})
    choice = default_family(machine, FOUND, lambda _: False)
    assert choice.family.name == family
    assert (choice.family.default_pretrain, choice.family.default_finetune) == sizes
    assert choice.family.title in choice.reason
    for _, policy in default_columns(choice.family):
        choice.family.check(policy)


def test_a_machine_that_is_no_space_never_gets_a_family_whose_files_are_not_there() -> None:
    for machine in (Machine(16, 64 * GB), Machine(16, 64 * GB, 141 * GB), Machine(2, 16 * GB)):
        choice = default_family(machine, FOUND, lambda family: family.name == "atlas")
        assert choice.family is FOUND["atlas"]
    assert "files are not here" in default_family(Machine(16, 64 * GB), FOUND, lambda _: False).reason


def test_a_machine_that_has_the_files_gets_the_largest_that_fits() -> None:
    def sizes(gpu: int) -> tuple[str, str]:
        family = default_family(Machine(16, 64 * GB, gpu * GB), FOUND, lambda _: True).family
        return family.default_pretrain, family.default_finetune

    assert sizes(141) == ("14b", "1.5b")
    assert sizes(48) == ("7b", "0.5b")
    assert sizes(12) == ("1.5b", "0.5b")
    assert sizes(6) == ("360m", "135m")  # SmolLM2, on a small GPU
    assert sizes(1) == ("large", "small")  # Atlas


def test_a_large_machine_with_the_small_models_alone_gets_those() -> None:
    choice = default_family(Machine(16, 64 * GB, 80 * GB), FOUND, lambda family: family.name == "smollm2")
    assert choice.family.name == "smollm2"


def test_many_cores_with_little_memory_get_atlas() -> None:
    assert default_family(Machine(8, 4 * GB), FOUND, lambda _: True).family.name == "atlas"


def test_atlas_is_here_and_states_no_parameters() -> None:
    assert is_present(FOUND["atlas"])
    assert comparison_bytes(FOUND["atlas"], 4) is None
    assert not is_present(FOUND["falcon"])


def test_a_family_of_which_a_part_is_missing_is_not_here(families_file: str, tmp_path: Path) -> None:
    shutil.copytree(Path(families_file).parent, tmp_path / "here")
    family = read_families(tmp_path / "here" / "families.toml")["llama"]
    assert is_present(family)
    (tmp_path / "here" / "llama-small-base" / "model.safetensors").unlink()
    assert family.checkpoint(Member("small")).present()  # as far as its config.json says: a download was broken off
    assert not is_present(family)


def test_this_machine_is_read_from_the_system_where_no_variable_says() -> None:
    machine = Machine.read({})
    assert machine.cores >= 1
    assert machine.memory > 10**8
    assert (machine.gpu, machine.zero, machine.space) == (0, False, False)


@pytest.mark.parametrize("odd", ["", "many", "-3", "1e9", "16Qi"])
def test_variables_that_say_nothing_are_passed_over(odd: str) -> None:
    assert Machine.read({"CPU_CORES": odd, "MEMORY": odd, "ACCELERATOR": odd}) == Machine.read({})


def test_amounts_are_read_in_both_kinds_of_units() -> None:
    assert Machine.read({"MEMORY": "16Gi"}).memory == 16 * 2**30
    assert Machine.read({"MEMORY": "15.5G"}).memory == 15_500_000_000


def test_torch_is_asked_only_if_it_may_be() -> None:
    code = "import sys; from eft_core.hardware import Machine; Machine.read(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert Machine.read({}, ask_torch=True).gpu >= 0

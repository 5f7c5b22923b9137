"""Which family a machine gets when nobody says: Atlas on two cores, SmolLM2 on more, Qwen2.5 on a GPU, by its memory.

A family is taken only if its files are here, or if the machine is a Hugging Face Space, which may download them. Knows
no torch unless it is asked to look for a GPU.
"""

import os
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from eft_core.families import ATLAS
from eft_core.family import Family, compared_members
from eft_core.safety import check, check_adapter

_CPU = ("smollm2", "360m", "135m")
# From the largest that a GPU may hold to the smallest; the 3B is left out, for its licence forbids commercial use.
_GPU = (("qwen2.5", "14b", "1.5b"), ("qwen2.5", "7b", "0.5b"), ("qwen2.5", "1.5b", "0.5b"))
_CORES = 4  # with fewer, a visitor waits longer than they stay
_REST = 1.25  # of the weights: caches, activations, and the weights of a file while they are copied
# GB of the GPUs that Spaces lend, by the beginning of their names in ACCELERATOR.
_ACCELERATORS = {"t4": 16, "l4x": 24, "l40s": 48, "a10g": 24, "a100": 80, "h100": 80, "h200": 141}
_ZERO = 48  # GB of the half card that ZeroGPU lends for a call
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


@dataclass(frozen=True, slots=True)
class Machine:
    """CPU cores, bytes of memory, bytes of the largest GPU (0: none), whether that GPU is ZeroGPU's, lent for single
    calls, and whether this is a Space, where files of models may be downloaded."""

    cores: int
    memory: int
    gpu: int = 0
    zero: bool = False
    space: bool = False

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ, ask_torch: bool = False) -> Self:
        """From a Space's variables CPU_CORES, MEMORY, ACCELERATOR, SPACES_ZERO_GPU and SPACE_ID, or else from the
        system. GPUs that no variable names are seen only if torch may be asked, for importing it takes seconds."""
        zero = environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
        gpu = _ZERO * 10**9 if zero else _named_gpu(environ.get("ACCELERATOR", ""))
        return cls(
            cores=_count(environ.get("CPU_CORES")) or len(os.sched_getaffinity(0)),
            memory=_bytes(environ.get("MEMORY")) or _memory(),
            gpu=gpu or (_asked_gpu() if ask_torch else 0),
            zero=zero,
            space=bool(environ.get("SPACE_ID")),
        )

    def __str__(self) -> str:
        cores = f"{self.cores} CPU core{'s' if self.cores > 1 else ''}"
        gpu = f"a GPU of {self.gpu / 1e9:.0f} GB{' that ZeroGPU lends' if self.zero else ''}, " if self.gpu else ""
        return f"{gpu}{cores} and {self.memory / 1e9:.0f} GB of memory"


@dataclass(frozen=True, slots=True)
class Choice:
    """The family to begin with, its default sizes fitted to the machine, and why in one sentence."""

    family: Family
    reason: str


def default_family(
    machine: Machine, found: Mapping[str, Family], present: Callable[[Family], bool] | None = None
) -> Choice:
    """The family of `found` that suits the machine; `present` says whether a default comparison's files are here."""
    here = present or is_present
    missed = ""
    for name, large, small in _wanted(machine):
        if name not in found:
            continue
        family = replace(found[name], default_pretrain=large, default_finetune=small)
        number = 2 if machine.gpu else 4  # bfloat16 on a GPU, float32 on a CPU
        needed, room = (comparison_bytes(family, number) or 0) * _REST, machine.gpu or machine.memory
        if needed > room:
            continue
        if here(family) or machine.space:
            why = f"{large} and {small} take {needed / 1e9:.0f} GB"
            return Choice(family, f"{family.title}, for it may use {machine}, and {why}.")
        missed = missed or f"{family.title} would suit it, but its files are not here"
    return Choice(found[ATLAS], f"{found[ATLAS].title}, for it may use {machine}{missed and f'; {missed}'}.")


def processor() -> str:
    """The processor's name and its widest vector instructions, where Linux tells them."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    fields = dict(reversed([line.split(":", 1) for line in lines if ":" in line]))
    facts = {key.strip(): text.strip() for key, text in fields.items()}
    flags = facts.get("flags", "").split()
    wide = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "")
    name = facts.get("model name") or platform.processor() or platform.machine()
    return f"{name}, {wide}" if wide else name


def is_present(family: Family) -> bool:
    """Whether all files of a family's default comparison are on this machine, whole and such that they are read."""
    try:
        for place in {family.checkpoint(member) for member in compared_members(family)}:
            check(place.folder(), place.file)
            if place.adapter is not None:
                check_adapter(place.adapter.adapter_folder())
    except ValueError:
        return False
    return True


def comparison_bytes(family: Family, number: int) -> int | None:
    """Bytes of the weights of a family's default comparison, `number` bytes a parameter, from the families file alone;
    None where it states no parameters. Checkpoints in two roles count once."""
    sizes = {family.checkpoint(member): member.size for member in compared_members(family)}
    if not all(size in family.parameters for size in sizes.values()):
        return None
    return round(sum(family.parameters[size] for size in sizes.values()) * 1e9 * number)


def _wanted(machine: Machine) -> tuple[tuple[str, str, str], ...]:
    if machine.gpu:
        return (*_GPU, _CPU)
    return (_CPU,) if machine.cores >= _CORES else ()


def _named_gpu(accelerator: str) -> int:
    return next((size * 10**9 for name, size in _ACCELERATORS.items() if accelerator.startswith(name)), 0)


def _asked_gpu() -> int:
    import torch

    if not torch.cuda.is_available():
        return 0
    return max(torch.cuda.get_device_properties(each).total_memory for each in range(torch.cuda.device_count()))


def _count(text: str | None) -> int:
    """Whole cores of "2" or "0.5"; 0 for what is no number."""
    found = re.fullmatch(r"\s*(\d+)(\.\d+)?\s*", text or "")
    return int(found[1]) if found else 0


def _bytes(text: str | None) -> int:
    """Bytes of "16Gi" or "15.5G"; 0 for what is no amount."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?i?)b?\s*", (text or "").lower())
    return int(float(found[1]) * _UNITS.get(found[2], 0)) if found else 0


def _memory() -> int:
    import psutil

    return int(psutil.virtual_memory().total)

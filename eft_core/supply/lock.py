"""The lock of all deployed packages: exact versions and the digest of every file that may be installed.

`requirements.lock` is made of `requirements.txt` by `make lock` and is what the package index has, on Linux with the
CUDA libraries that its build of torch asks for. `for_cpu` is the same without them. Standard library alone: it must
run before anything is installed.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINS, LOCK = ROOT / "requirements.txt", ROOT / "requirements.lock"
HEAD = """\
# Every package that requirements.txt brings, with the digests of its files: made by `make lock`, not by hand.
#   pip install --require-hashes -r requirements.lock
# The digests under torch are those of the package index, then those of PyTorch's builds without CUDA (+cpu).
"""
# What torch needs for a GPU alone.
CUDA = ("nvidia-", "cuda-", "triton")
# The digests of PyTorch's builds without CUDA, from its own index (whl/cpu) for CPython 3.11 and 3.12. That of cp311
# for x86_64 was computed from the file itself; the others are as several public locks have them.
CPU_BUILDS = {
    "2.13.0": (
        "84453b69508ec79902f899c5ed9495acb9e2bbe9fda5f1d5d6f19e3c3842e1a7",  # cp311 manylinux_2_28_aarch64
        "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",  # cp311 manylinux_2_28_x86_64
        "10717d8b3b67c45a4788bf7ffc0bab1ea1e5ebbedd24466be6100102d141fac1",  # cp311 win_amd64
        "6f307c2c32d764ffc6ff6893b801fad6d4752f3e67966cb8abf1843427c02604",  # cp312 manylinux_2_28_aarch64
        "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",  # cp312 manylinux_2_28_x86_64
        "a8b450c1e58e5800e5b4691dac412f8d2d65a1dc3298166f91596603a3531e6f",  # cp312 win_amd64
    )
}
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\#]+)(?:\s*;\s*([^\\]+?))?\s*\\?$")
_HASH = re.compile(r"^\s+--hash=sha256:([0-9a-f]{64})(?: \\)?$")


@dataclass(frozen=True, slots=True)
class Locked:
    """A package at one version, and the SHA-256 of every file of it that may be installed.

    `marker` says where it is installed (PEP 508), "" everywhere.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def cuda(self) -> bool:
        """Whether it is there for torch's build with CUDA alone."""
        return self.name.startswith(CUDA)

    def text(self) -> str:
        """Its lines in a lock."""
        pin = f"{self.name}=={self.version}" + (f" ; {self.marker}" if self.marker else "")
        return " \\\n".join([pin, *(f"    --hash=sha256:{each}" for each in self.hashes)]) + "\n"


def canonical(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(text: str) -> dict[str, str]:
    """Versions by package of a file of exact pins. ValueError for a line that is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    pins = [_PIN.match(line) for line in lines]
    for line, pin in zip(lines, pins, strict=True):
        if pin is None:
            raise ValueError(f"{line[:80]!r} is no exact pin: write name==version.")
    return {canonical(pin[1]): pin[2] for pin in pins if pin}


def read_lock(text: str) -> tuple[Locked, ...]:
    """The packages of a lock. ValueError for a line that is neither a pin nor a digest, and for a pin without any."""
    found: list[tuple[str, str, str, list[str]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if pin := _PIN.match(line):
            found.append((canonical(pin[1]), pin[2], pin[3] or "", []))
        elif (digest := _HASH.match(line)) and found:
            found[-1][3].append(digest[1])
        else:
            raise ValueError(f"line {number} of the lock is neither a pin nor a digest: run `make lock`.")
    if bare := [name for name, _, _, hashes in found if not hashes]:
        raise ValueError(f"no digest is locked for {', '.join(bare)}: run `make lock`.")
    return tuple(Locked(name, version, marker, tuple(hashes)) for name, version, marker, hashes in found)


def written(packages: tuple[Locked, ...], head: str = HEAD) -> str:
    """The text of a lock."""
    return head + "".join(each.text() for each in packages)


def with_cpu_builds(packages: tuple[Locked, ...]) -> tuple[Locked, ...]:
    """The same, where torch's builds without CUDA may be installed too."""
    return tuple(
        Locked(each.name, each.version, each.marker, tuple(dict.fromkeys((*each.hashes, *_cpu_builds(each.version)))))
        if each.name == "torch"
        else each
        for each in packages
    )


def for_cpu(packages: tuple[Locked, ...]) -> tuple[Locked, ...]:
    """The same without CUDA: torch is PyTorch's own +cpu build for Linux and Windows, and what is for GPUs is left out.

    For `pip install --extra-index-url`, or `--find-links`, that names where that build is.
    """
    return tuple(
        Locked("torch", f"{each.version}+cpu", each.marker, _cpu_builds(each.version)) if each.name == "torch" else each
        for each in packages
        if not each.cuda
    )


def _cpu_builds(version: str) -> tuple[str, ...]:
    if version not in CPU_BUILDS:
        raise ValueError(f"no digests of torch {version}'s builds for a CPU are known: add them to CPU_BUILDS.")
    return CPU_BUILDS[version]


def resolved() -> str:
    """The text of a new lock of `requirements.txt`, for Python 3.11 and newer on every system, by the tool uv.

    Versions that are locked stay while they fit. ValueError if uv is not there or finds no solution.
    """
    tool = Path(sys.executable).with_name("uv")
    uv = str(tool) if tool.exists() else shutil.which("uv")
    if uv is None:
        raise ValueError("a lock is made by uv: run `pip install -r requirements-dev.txt`.")
    options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / LOCK.name
        if LOCK.exists():
            shutil.copyfile(LOCK, out)  # uv keeps what it finds there
        command = [uv, "pip", "compile", "--no-config", "--quiet", *options, "--output-file", str(out), str(PINS)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise ValueError(f"uv finds no lock for {PINS.name}: {made.stderr.strip()[-2000:]}")
        return written(with_cpu_builds(read_lock(out.read_text(encoding="utf-8"))))

"""Licences of everything that is deployed: read from the packages' own metadata, refused where they are not permissive.

`python -m eft_core.supply licences` writes `assets/licences.md`. What is neither permissive nor decided is refused.
"""

import re
import sys
from collections.abc import Callable, Sequence
from email.message import Message
from importlib import metadata
from pathlib import Path

from eft_core.families import BUILT_IN, read_families
from eft_core.supply.index import Index
from eft_core.supply.lock import ROOT, Locked, read_pins

TABLE = ROOT / "assets" / "licences.md"
# fmt: off
PERMISSIVE = frozenset({
    "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "HPND", "ISC",
    "MIT", "MIT-CMU", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib",
})
# fmt: on
# Those that are not permissive and yet deployed, and why.
DECIDED = {
    "MPL-2.0": "asks that changes to its own files be published and nothing of the programs around them: these "
    "packages are used as they come",
    "LicenseRef-NVIDIA-Proprietary": "the CUDA libraries that the package index's build of torch for Linux asks for: "
    "they come from NVIDIA to whoever installs them, are not passed on here, and `python -m eft_core.supply cpu` "
    "leaves them out",
}
# Packages that somebody may add; the app runs without them.
OPTIONAL = {
    "psycopg": "PostgreSQL in the stead of a file. LGPL: not deployed by default; used unmodified, as a module of its "
    "own that anybody can replace",
    "psycopg-binary": "the same, with libpq",
    "authlib": "signing in with Hugging Face; Spaces with `hf_oauth` bring it",
    "itsdangerous": "the same",
    "gguf": "checkpoints in the GGUF format",
    "peft": "LoRA adapters",
    "spaces": "ZeroGPU; Spaces bring it",
}
WITHIN = (
    "The wheels of numpy and scipy hold libgfortran and libgcc (GPL-3.0-or-later WITH GCC-exception-3.1, whose "
    "exception lets any program use them) and libquadmath (LGPL-2.1-or-later, as a shared library of its own); their "
    "own licence files say so. Nothing of it is changed."
)
# Of packages whose metadata tells none, or that the index serves none for: cuda-toolkit is an empty package that names
# others; NVTX says "other, proprietary"; triton's own licence file is MIT's.
BY_HAND = {
    "cuda-toolkit": "LicenseRef-NVIDIA-Proprietary",
    "nvidia-nvtx": "LicenseRef-NVIDIA-Proprietary",
    "triton": "MIT",
}
# What packages write that state no SPDX expression: fields and classifiers.
_WORDS = {
    "apache": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd license": "BSD",
    "gnu lesser general public license v3 (lgplv3)": "LGPL-3.0-only",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "nvidia proprietary software": "LicenseRef-NVIDIA-Proprietary",
    "python software foundation license": "PSF-2.0",
}
_TOKEN = re.compile(r"[()]|[A-Za-z0-9.+-]+")
_EXPRESSION = re.compile(r"\(*[A-Za-z0-9.+-]+\)*( (AND|OR|WITH) \(*[A-Za-z0-9.+-]+\)*)*")


def licence_of(told: Message) -> str:
    """The licence that a package's metadata states, as an SPDX expression where it can be told; ValueError for none."""
    if expression := told.get("License-Expression"):
        return str(expression)
    field = str(told.get("License") or "").strip()
    if known := _WORDS.get(field.lower()):
        return known
    if field and _EXPRESSION.fullmatch(field) and field.lower() not in ("unknown", "other"):
        return field
    classifiers = [str(each).split("::")[-1].strip().lower() for each in told.get_all("Classifier") or ()]
    found = list(dict.fromkeys(_WORDS[each] for each in classifiers if each in _WORDS))
    if not found:
        raise ValueError(f"{told.get('Name')} states no licence that is known: look, and add its words to _WORDS.")
    return " AND ".join(found)


def refused(expression: str) -> frozenset[str]:
    """What of an SPDX expression may not be deployed: of alternatives the best counts."""
    return _Reader(expression).all()


class _Reader:
    """Reads an expression from left to right: OR of AND of names, exceptions and brackets."""

    def __init__(self, expression: str) -> None:
        self._rest = _TOKEN.findall(expression)

    def all(self) -> frozenset[str]:
        found = self._either()
        if self._rest:
            raise ValueError(f"{' '.join(self._rest)!r} is left of a licence: this is no SPDX expression.")
        return found

    def _either(self) -> frozenset[str]:
        ways = [self._both()]
        while self._took("OR"):
            ways.append(self._both())
        return min(ways, key=len)

    def _both(self) -> frozenset[str]:
        found = self._one()
        while self._took("AND"):
            found |= self._one()
        return found

    def _one(self) -> frozenset[str]:
        if self._took("("):
            found = self._either()
            if not self._took(")"):
                raise ValueError("a bracket of a licence is not closed: this is no SPDX expression.")
            return found
        if not self._rest:
            raise ValueError("a licence ends too early: this is no SPDX expression.")
        name = self._rest.pop(0)
        if self._took("WITH") and self._rest:
            self._rest.pop(0)  # an exception permits more, never less
        return frozenset() if name in PERMISSIVE or name in DECIDED else frozenset({name})

    def _took(self, token: str) -> bool:
        if self._rest[:1] != [token]:
            return False
        self._rest.pop(0)
        return True


def here(package: Locked) -> Message | None:
    """The metadata of a package that is installed here in this version, or, of torch, as another build of it."""
    try:
        found = metadata.distribution(package.name)
    except metadata.PackageNotFoundError:
        return None
    told = found.metadata
    return told if isinstance(told, Message) and found.version.partition("+")[0] == package.version else None


def table(packages: Sequence[Locked], told: Callable[[Locked], Message | None]) -> list[tuple[str, str, str, str]]:
    """Package, version, where it is installed, and licence. ValueError if one cannot be read, or is refused."""
    rows = [
        (each.name, each.version, "Linux, for GPUs" if each.cuda else each.marker, stated(each, told))
        for each in packages
    ]
    bad = [f"{name} {version} ({licence})" for name, version, _, licence in rows if refused(licence)]
    if bad:
        raise ValueError(f"these licences are neither permissive nor decided: {', '.join(bad)}.")
    return rows


def stated(package: Locked, told: Callable[[Locked], Message | None]) -> str:
    """The licence of a package: what it states itself, or what was looked up by hand."""
    said = BY_HAND.get(package.name) or told(package)
    if said is None:
        raise ValueError(f"the metadata of {package.name} {package.version} cannot be read: install it, or go online.")
    return said if isinstance(said, str) else licence_of(said)


def document(rows: Sequence[tuple[str, str, str, str]], optional: Sequence[tuple[str, str, str, str]]) -> str:
    """`assets/licences.md`."""
    models = [(name, family.licence) for name, family in sorted(read_families(BUILT_IN).items())]
    decided = [f"- {name}: {why}." for name, why in DECIDED.items()]
    parts = [
        "# Licences",
        "Made by `make licences` from the packages' own metadata; `tests/test_supply.py` compares it with the lock. "
        "EFT Lab itself, Atlas's weights and all pictures, scripts and styles are under the Apache License 2.0.",
        "## Deployed packages",
        _markdown(("package", "version", "where", "licence"), rows),
        "Not permissive, and why they are there all the same:",
        "\n".join(decided),
        WITHIN,
        "## Optional packages",
        _markdown(("package", "version", "what for", "licence"), optional),
        "## Models",
        "Weights are fetched by whoever asks for them, under the licences of their makers (`assets/families.toml`); "
        "Atlas's come with this repository:",
        _markdown(("family", "licence"), models),
    ]
    return "\n\n".join(parts) + "\n"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def optional_rows(pins: Path = ROOT / "requirements-dev.txt") -> list[tuple[str, str, str, str]]:
    """Of each optional package: name, version that is tested, what for, and licence as installed here."""
    text = pins.read_text(encoding="utf-8").replace("[binary]", "").replace("-r requirements.txt\n", "")
    versions = read_pins(text)
    versions["psycopg-binary"] = versions["psycopg"]
    rows = []
    for name, why in OPTIONAL.items():
        told = here(Locked(name, versions[name], "", ()))
        if told is None:
            raise ValueError(f"{name} {versions[name]} is not installed: run `make test` once, or install it.")
        rows.append((name, versions[name], why, licence_of(told)))
    return rows


def write(packages: Sequence[Locked]) -> int:
    """Write `assets/licences.md`; the exit status. What is not installed here is read from the package index."""
    index = Index()
    try:
        rows = table(packages, lambda package: here(package) or index.metadata(package))
    finally:
        index.close()
    TABLE.write_text(document(rows, optional_rows()), encoding="utf-8")
    print(f"{TABLE.relative_to(ROOT)}: {len(rows)} packages", file=sys.stderr)
    return 0

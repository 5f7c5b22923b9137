"""What the environment decides. `Settings.from_environment` is the only reader of EFT_* variables."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Self, TypeVar

from eft_core.bounds import Bounds
from eft_core.logs import Logging
from eft_core.policy import Member

Numeric = TypeVar("Numeric", int, float)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment decides; `Settings.from_environment` is the only reader of EFT_* variables.

    `family` None is Atlas, but for the page, which then looks at the hardware (`hardware`).

    `forward`: "library" runs the library's forwards. "lean" runs our own, which takes fewer steps and costs, at
    start-up, one copying of the weights and a comparison with the library's on a few tokens; ValueError where it does
    not serve. "auto" is lean where it serves and library elsewhere. "captured" is auto with decode passes as captured
    CUDA graphs, on a CUDA device only (what is placed on the CPU runs as auto); recording a shape costs a few passes,
    anew for every request and whenever a row ends. It is not the default, because no GPU has been at hand to test it.

    `data_dir` is where runs and judgements are kept. `judge_url` is the address of an OpenAI-compatible server that
    judges answers, `judge_prices` US$ for a million prompt and completion tokens; without it nothing is judged.

    `database_url` is a PostgreSQL for the judgements in the stead of a file in `data_dir`; `backup` a folder, or
    `hf://datasets/OWNER/NAME`, that gets every row too. Organisers of campaigns sign in by `organiser_password`, or by
    a Hugging Face account of `organisers`.

    `manage` says whether visitors may change what is in memory and add families: all of them, or nobody. Unset, it is
    whoever sits at this machine alone (`components.models_rights`).

    `rows` run at once, of all who ask; more wait for their turn. `workers` are the engine's processes at most, 0 is the
    page's own; unset, what suits the machine (`components.starting`).
    `logging` is how the log is written, `metrics` whether /metrics tells of the process to whoever asks, and
    `frame_ancestors` are the pages that may show this one in a frame, beside its own and those of Hugging Face.

    `quantise` is for all members that a families file says nothing else of: "none", "int8" or "int4". `device`
    "sharded" spreads a member over all devices, then the CPU, then files in `offload_dir` (accelerate). `placement`
    puts members on devices of their own.

    `limits` are what visitors may ask for. A visitor is an address; `proxies` says how many proxies stand before this
    server, each of which adds the address that it was asked from to X-Forwarded-For. None is no proxy, and on a Space
    its own (`components.visitors`).
    """

    family: str | None = None
    families_file: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    memory_gb: float | None = None
    threads: int | None = None
    forward: str = "auto"
    data_dir: str | None = None
    judge_url: str | None = field(default=None, repr=False)  # refused with a password in it, but later
    judge_model: str | None = None
    judge_key: str = field(default="", repr=False)
    judge_prices: tuple[float, float] | None = None
    database_url: str = field(default="", repr=False)
    backup: str = ""
    organiser_password: str = field(default="", repr=False)
    organisers: tuple[str, ...] = ()
    logging: Logging = Logging()  # noqa: RUF009  # frozen
    metrics: bool = False
    frame_ancestors: tuple[str, ...] = ()
    quantise: str = "none"
    placement: Mapping[str, str] = field(default_factory=dict)
    offload_dir: str | None = None
    manage: bool | None = None
    rows: int = 256
    workers: int | None = None
    limits: Bounds = Bounds()  # noqa: RUF009  # frozen
    proxies: int | None = None

    @property
    def data_folder(self) -> Path:
        """Where runs and judgements are kept: `data_dir`, or a folder of the user's own."""
        return Path(self.data_dir).expanduser() if self.data_dir else Path.home() / ".local" / "share" / "eft-lab"

    @property
    def families_files(self) -> tuple[str, ...]:
        """The user's own families files: EFT_FAMILIES, then that of the families added on the page, if it is there."""
        added = self.data_folder / "families.toml"
        return (*([self.families_file] if self.families_file else []), *([str(added)] if added.is_file() else []))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Settings from EFT_FAMILY, EFT_FAMILIES, EFT_DEVICE, EFT_DTYPE, EFT_MEMORY_GB, EFT_THREADS, EFT_FORWARD,
        EFT_DATA_DIR, EFT_JUDGE_URL, EFT_JUDGE_MODEL, EFT_JUDGE_KEY, EFT_JUDGE_PRICES ("0.15,0.6"), EFT_DATABASE_URL,
        EFT_BACKUP, EFT_ORGANISER_PASSWORD, EFT_ORGANISERS (names with commas), EFT_LOG ("text" or "json"),
        EFT_LOG_LEVEL, EFT_LOG_PROMPTS ("1"), EFT_METRICS ("1"), EFT_FRAME_ANCESTORS (addresses with commas),
        EFT_QUANTISE, EFT_PLACEMENT ("base[13b]=cuda:1,tuned[chat][7b]=cpu"), EFT_OFFLOAD_DIR, EFT_MANAGE ("1" or "0"),
        EFT_ROWS, EFT_WORKERS, EFT_PROXIES, and EFT_LIMIT_ with the name of a field of `Bounds` (a whole number;
        "none" or 0 is no limit)."""
        return cls(
            family=environ.get("EFT_FAMILY") or None,
            families_file=environ.get("EFT_FAMILIES"),
            device=environ.get("EFT_DEVICE", "auto"),
            dtype=environ.get("EFT_DTYPE", "auto"),
            memory_gb=_number("EFT_MEMORY_GB", environ.get("EFT_MEMORY_GB"), float),
            threads=_number("EFT_THREADS", environ.get("EFT_THREADS"), int),
            forward=environ.get("EFT_FORWARD", "auto"),
            data_dir=environ.get("EFT_DATA_DIR"),
            judge_url=environ.get("EFT_JUDGE_URL"),
            judge_model=environ.get("EFT_JUDGE_MODEL"),
            judge_key=environ.get("EFT_JUDGE_KEY", ""),
            judge_prices=_prices(environ.get("EFT_JUDGE_PRICES")),
            database_url=environ.get("EFT_DATABASE_URL", ""),
            backup=environ.get("EFT_BACKUP", ""),
            organiser_password=environ.get("EFT_ORGANISER_PASSWORD", ""),
            organisers=_named(environ.get("EFT_ORGANISERS", "")),
            logging=_logging(environ),
            metrics=_switch("EFT_METRICS", environ.get("EFT_METRICS")) or False,
            frame_ancestors=_ancestors(environ.get("EFT_FRAME_ANCESTORS", "")),
            quantise=environ.get("EFT_QUANTISE", "none"),
            placement=_placement(environ.get("EFT_PLACEMENT", "")),
            offload_dir=environ.get("EFT_OFFLOAD_DIR"),
            manage=_switch("EFT_MANAGE", environ.get("EFT_MANAGE")),
            workers=_count("EFT_WORKERS", environ["EFT_WORKERS"], "leave it out")
            if environ.get("EFT_WORKERS")
            else None,
            rows=_number("EFT_ROWS", environ.get("EFT_ROWS"), int) or 256,
            limits=_bounds(environ),
            proxies=_count("EFT_PROXIES", environ["EFT_PROXIES"], "leave it out")
            if environ.get("EFT_PROXIES")
            else None,
        )


def _number(name: str, text: str | None, kind: Callable[[str], Numeric]) -> Numeric | None:
    try:
        return kind(text) if text else None
    except ValueError as error:
        raise ValueError(f"{name} must be a number: {error}.") from error


def _bounds(environ: Mapping[str, str]) -> Bounds:
    """What visitors may ask for: the usual bounds, but for those that are named."""
    found: dict[str, int | None] = {}
    for each in fields(Bounds):
        name = f"EFT_LIMIT_{each.name.upper()}"
        if text := environ.get(name, "").strip():
            found[each.name] = _count(name, "0" if text.lower() == "none" else text, "write none for no limit") or None
    return replace(Bounds(), **found)


def _count(name: str, text: str, remedy: str) -> int:
    """A whole number, 0 or more."""
    if not text.isdecimal() or len(text) > 12:
        raise ValueError(f"{name} = {text[:40]!r} is not a whole number: write one, or {remedy}.")
    return int(text)


def _switch(name: str, text: str | None) -> bool | None:
    if text not in (None, "", "0", "1"):
        raise ValueError(f"{name} = {text[:40]!r} is not known: use 1, 0, or leave it out.")
    return text == "1" if text else None


def _logging(environ: Mapping[str, str]) -> Logging:
    form, level = environ.get("EFT_LOG") or "text", environ.get("EFT_LOG_LEVEL") or "info"
    return Logging(form, level.lower(), _switch("EFT_LOG_PROMPTS", environ.get("EFT_LOG_PROMPTS")) or False)


def _ancestors(text: str) -> tuple[str, ...]:
    """Addresses of pages; what could end the header or its rule is refused."""
    named = _named(text)
    if wrong := [each for each in named if not re.fullmatch(r"https?://[\w.*:\[\]-]+", each)]:
        raise ValueError(f"EFT_FRAME_ANCESTORS names {wrong[0][:40]!r}: write addresses such as https://example.org.")
    return named


def _named(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _placement(text: str) -> dict[str, str]:
    """Devices by member, as `base[13b]=cuda:1,tuned[chat][7b]=cpu`."""
    pairs = [part.partition("=") for part in _named(text)]
    return {str(Member.named(member.strip())): device.strip() for member, _, device in pairs}


def _prices(text: str | None) -> tuple[float, float] | None:
    """US$ for a million prompt and completion tokens, as `0.15,0.6`."""
    if not text:
        return None
    try:
        prompt, completion = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"EFT_JUDGE_PRICES = {text[:40]!r} is not two numbers: write 0.15,0.6.") from None
    return prompt, completion

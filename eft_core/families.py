"""Which checkpoints play which role: `assets/families.toml` and the user's own files of the same shape.

Reads TOML; loads no model and no torch.
"""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from eft_core.family import Family, listed
from eft_core.located import Checkpoint
from eft_core.policy import Member
from eft_core.prompting import format_of

ATLAS = "atlas"  # it comes along, so that it is there when nobody says which
BUILT_IN = Path(__file__).parent.parent / "assets" / "families.toml"
_TEXTS = ("title", "description", "licence", "gating", "sources", "base_prompt")
_DEFAULTS = ("default_pretrain", "default_finetune", "default_behaviour")
_LISTS = ("sizes", "unconfirmed", "base_stop")
_TABLES = ("base", "tuned", "aliases", "parameters", "template")
KEYS = (*_TEXTS, *_DEFAULTS, *_LISTS, *_TABLES)


def families(*user_files: str | Path) -> dict[str, Family]:
    """All families by name: the built-in ones, then those of each file, where a later one of a same name wins."""
    found = read_families(BUILT_IN)
    for file in user_files:
        for name, family in read_families(Path(file)).items():
            note = f"from {file}; it replaces the built-in family of this name" if name in found else f"from {file}"
            found[name] = replace(family, note=note)
    return found


def family_named(name: str | None, *user_files: str | Path) -> Family:
    """One family, Atlas where no name is given; ValueError that lists the names there are."""
    found, name = families(*user_files), name or ATLAS
    if name not in found:
        raise ValueError(f"there is no family {name!r}; there are {listed(tuple(found))}. EFT_FAMILIES adds your own.")
    return found[name]


def read_families(file: Path) -> dict[str, Family]:
    """The families of one TOML file; ValueError that names the file and the mistake."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"the families file {file} does not exist: correct EFT_FAMILIES.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(
            f"the families file {file} cannot be read ({str(error).rstrip('.')}): mend it, or move it away."
        ) from error
    return {name: family_of(name, table, file.parent, f"family {name!r} in {file}") for name, table in tables.items()}


def family_of(name: str, table: Any, folder: Path, where: str) -> Family:
    """A family from its table; paths are relative to `folder`. ValueError that begins with `where`."""
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table: write [{name}] and its keys below.")
    if unknown := sorted(set(table) - set(KEYS)):
        raise ValueError(f"{where} has the unknown key {unknown[0]!r}; the keys are {', '.join(sorted(KEYS))}.")
    if not table.get("sizes") or not isinstance(table["sizes"], list):
        raise ValueError(f'{where} needs sizes, from small to large: sizes = ["small", "large"].')
    sizes, unconfirmed = (_texts(table.get(key, []), f"{where}, {key}") for key in ("sizes", "unconfirmed"))
    try:
        format_of(table.get("base_prompt", "chat"))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    checkpoints = _checkpoints(table, sizes, folder, where)
    behaviours = [member.behaviour for member in checkpoints if member.behaviour is not None]
    family = Family(
        name=name,
        sizes=sizes,
        checkpoints=checkpoints,
        default_pretrain=str(table.get("default_pretrain", sizes[-1])),
        default_finetune=str(table.get("default_finetune", sizes[0])),
        default_behaviour=str(table.get("default_behaviour", behaviours[0] if behaviours else "")),
        aliases=_strings(table.get("aliases", {}), f"{where}, aliases"),
        parameters=_parameters(table.get("parameters", {}), sizes, where),
        template=_table(table.get("template", {}), f"{where}, template"),
        unconfirmed=unconfirmed,
        base_stop=_texts(table["base_stop"], f"{where}, base_stop") if "base_stop" in table else None,
        **{"title": name} | {key: str(table[key]) for key in _TEXTS if key in table},
    )
    for key, value, known in (
        ("default_pretrain", family.default_pretrain, sizes),
        ("default_finetune", family.default_finetune, sizes),
        ("default_behaviour", family.default_behaviour, behaviours or [""]),
    ):
        if value not in known:
            raise ValueError(f"{where}: {key} = {value!r} is not one of {', '.join(dict.fromkeys(known))}.")
    return family


def _checkpoints(table: dict[str, Any], sizes: tuple[str, ...], folder: Path, where: str) -> dict[Member, Checkpoint]:
    """Roles and places from the tables `base` and `tuned`."""
    if not table.get("base"):
        raise ValueError(f"{where} has no base models: add a table base with one path or Hub id a size.")
    roles = {None: _table(table["base"], f"{where}, base")}
    behaviours = table.get("tuned", {})
    if not isinstance(behaviours, dict):
        raise ValueError(f"{where}: tuned holds one table a behaviour, such as [{table.get('title')}.tuned.helpful].")
    roles |= {behaviour: _table(places, f"{where}, tuned.{behaviour}") for behaviour, places in behaviours.items()}
    found = {}
    for behaviour, places in roles.items():
        for size, place in places.items():
            if size not in sizes:
                raise ValueError(f"{where} names the size {size!r}, which is not in sizes ({', '.join(sizes)}).")
            member = Member(size, behaviour)
            found[member] = Checkpoint.read(place, folder, f"{where}, {member}")
    return found


def _parameters(table: Any, sizes: tuple[str, ...], where: str) -> dict[str, float]:
    """Billions of parameters by size."""
    counts = _table(table, f"{where}, parameters")
    for size, count in counts.items():
        if size not in sizes or not isinstance(count, int | float) or isinstance(count, bool) or not 0 < count < 1e5:
            raise ValueError(f"{where}: parameters are billions by size, such as {{ {sizes[0]} = 1.5 }}.")
    return {size: float(count) for size, count in counts.items()}


def _table(table: Any, where: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table: one `name = value` a line.")
    return table


def _texts(values: Any, where: str) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        raise ValueError(f'{where} must be a list of texts: ["one", "two"].')
    return tuple(values)


def _strings(table: Any, where: str) -> dict[str, str]:
    """A table of texts, or a ValueError that says where."""
    if not isinstance(table, dict) or not all(isinstance(value, str) and value for value in table.values()):
        raise ValueError(f'{where} must be a table of texts: one `name = "value"` a line.')
    return dict(table)

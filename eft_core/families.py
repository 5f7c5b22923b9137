"""Which checkpoints play which role: `assets/families.toml` and the user's own file of the same shape.

A family is a set of checkpoints that share one vocabulary, addressed as base[size] and tuned[behaviour][size]
(Mitchell et al. 2023, section 4: the Llama-1, Llama-2 and Falcon families). Second in the flow, after `config`;
reads files, loads no model and no torch.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eft_core.policy import Member, Policy, plain, tuned, up_scale

BUILT_IN = Path(__file__).parent.parent / "assets" / "families.toml"
_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
_KEYS = frozenset(
    [
        "title",
        "description",
        "licence",
        "sizes",
        "default_pretrain",
        "default_finetune",
        "default_behaviour",
        "base",
        "tuned",
        "aliases",
    ]
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a model lies: an absolute folder, or a Hub id with an optional revision."""

    location: str
    revision: str | None = None
    local: bool = True

    def folder(self) -> Path:
        """The folder with config.json. ValueError with the remedy when nothing is there; the network is not asked."""
        path = Path(self.location) if self.local else self._snapshot()
        if not (path / "config.json").is_file():
            raise ValueError(f"no checkpoint in {path}: config.json is missing; correct the path in the families file.")
        return path

    def present(self) -> bool:
        """Whether the files are on this machine."""
        try:
            return self.folder().is_dir()
        except ValueError:
            return False

    def _snapshot(self) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            return Path(snapshot_download(self.location, revision=self.revision, local_files_only=True))
        except (LocalEntryNotFoundError, OSError) as error:
            revision = f" --revision {self.revision}" if self.revision else ""
            command = f"hf download {self.location}{revision}"
            raise ValueError(
                f"{self.location} is not on this machine: run `{command}` once, then try again."
            ) from error


@dataclass(frozen=True, slots=True)
class Family:
    """Checkpoints by role. `sizes` run from small to large; `note` says which file the family came from if it matters.

    `aliases` maps token strings of one checkpoint to those of another where the same id has two names on purpose.
    """

    name: str
    title: str
    sizes: tuple[str, ...]
    checkpoints: Mapping[Member, Checkpoint]
    default_pretrain: str
    default_finetune: str
    default_behaviour: str
    description: str = ""
    licence: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def behaviours(self) -> tuple[str, ...]:
        """All behaviours of any size, in the file's order."""
        return tuple(dict.fromkeys(member.behaviour for member in self.checkpoints if member.behaviour is not None))

    def behaviours_of(self, size: str) -> tuple[str, ...]:
        """The behaviours that exist at one size."""
        return tuple(name for name in self.behaviours if Member(size, name) in self.checkpoints)

    @property
    def reference(self) -> Member:
        """The member whose tokenizer and chat template form every prompt: a tuned one where there is one."""
        preferred = Member(self.default_finetune, self.default_behaviour)
        return preferred if preferred in self.checkpoints else next(iter(self.checkpoints))

    def checkpoint(self, member: Member) -> Checkpoint:
        """The checkpoint of a member; ValueError that lists what there is."""
        if member not in self.checkpoints:
            self._refuse(member)
        return self.checkpoints[member]

    def check(self, policy: Policy) -> None:
        """ValueError if the family lacks a size or behaviour that the policy names, even at weight zero."""
        for size in (policy.pretrain, policy.finetune):
            if size is not None and Member(size) not in self.checkpoints:
                self._refuse(Member(size))
        for name, _ in policy.pairs:
            if policy.finetune is not None and Member(policy.finetune, name) not in self.checkpoints:
                self._refuse(Member(policy.finetune, name))

    def _refuse(self, member: Member) -> None:
        if member.size not in self.sizes:
            raise ValueError(f"{self.name} has no size {member.size!r}; it has {_listed(self.sizes)}.")
        if member.behaviour is None:
            raise ValueError(f"{self.name} has no base model of size {member.size!r}.")
        if member.behaviour not in self.behaviours:
            has = _listed(self.behaviours) or "no tuned model at all"
            raise ValueError(f"{self.name} has no behaviour {member.behaviour!r}; it has {has}.")
        sizes = _listed(tuple(size for size in self.sizes if Member(size, member.behaviour) in self.checkpoints))
        there = _listed(self.behaviours_of(member.size)) or "none"
        raise ValueError(
            f"{self.name} has no {member.behaviour!r} of size {member.size!r}: that behaviour exists for {sizes}, "
            f"and {member.size} has {there}."
        )


def families(user_file: str | Path | None = None) -> dict[str, Family]:
    """All families by name: the built-in ones, and those of `user_file`, which wins on a same name (and says so)."""
    found = read_families(BUILT_IN)
    if user_file:
        for name, family in read_families(Path(user_file)).items():
            found[name] = _replacing(family, user_file) if name in found else family
    return found


def family_named(name: str, user_file: str | Path | None = None) -> Family:
    """One family; ValueError that lists the names there are."""
    found = families(user_file)
    if name not in found:
        raise ValueError(f"there is no family {name!r}; there are {_listed(tuple(found))}. EFT_FAMILIES adds your own.")
    return found[name]


def read_families(file: Path) -> dict[str, Family]:
    """The families of one TOML file; ValueError that names the file and the mistake."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"the families file {file} does not exist: correct EFT_FAMILIES.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"the families file {file} cannot be read: {error}.") from error
    return {name: _family(name, table, file) for name, table in tables.items()}


def default_columns(family: Family) -> tuple[tuple[str, Policy], ...]:
    """What a comparison shows first: large base, small tuned, up-scaled, and the large tuned reference if it exists."""
    large, small, behaviour = family.default_pretrain, family.default_finetune, family.default_behaviour
    columns = [(f"{large.capitalize()} base", plain(large))]
    if Member(small, behaviour) in family.checkpoints:
        columns.append((f"{small.capitalize()} tuned", tuned(behaviour, small)))
    if large != small and len(columns) == 2 and Member(small) in family.checkpoints:
        up = family.sizes.index(large) > family.sizes.index(small)
        columns.append(("Up-scaled" if up else "Down-scaled", up_scale(large, small, behaviour)))
    if large != small and Member(large, behaviour) in family.checkpoints:
        columns.append((f"{large.capitalize()} tuned", tuned(behaviour, large)))
    return tuple(columns)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def _replacing(family: Family, file: str | Path) -> Family:
    from dataclasses import replace

    return replace(family, note=f"from {file}; it replaces the built-in family of this name")


def _family(name: str, table: Any, file: Path) -> Family:
    """A family from its TOML table."""
    where = f"family {name!r} in {file}"
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table: write [{name}] and its keys below.")
    if unknown := sorted(set(table) - _KEYS):
        raise ValueError(f"{where} has the unknown key {unknown[0]!r}; the keys are {', '.join(sorted(_KEYS))}.")
    sizes = table.get("sizes")
    if not isinstance(sizes, list) or not sizes or not all(isinstance(name, str) and name for name in sizes):
        raise ValueError(f'{where} needs sizes, from small to large: sizes = ["small", "large"].')
    checkpoints = _checkpoints(table, tuple(sizes), file, where)
    behaviours = [member.behaviour for member in checkpoints if member.behaviour is not None]
    family = Family(
        name=name,
        title=str(table.get("title", name)),
        sizes=tuple(sizes),
        checkpoints=checkpoints,
        default_pretrain=str(table.get("default_pretrain", sizes[-1])),
        default_finetune=str(table.get("default_finetune", sizes[0])),
        default_behaviour=str(table.get("default_behaviour", behaviours[0] if behaviours else "")),
        description=str(table.get("description", "")),
        licence=str(table.get("licence", "")),
        aliases=_strings(table.get("aliases", {}), f"{where}, aliases"),
    )
    for key, value, known in (
        ("default_pretrain", family.default_pretrain, sizes),
        ("default_finetune", family.default_finetune, sizes),
        ("default_behaviour", family.default_behaviour, behaviours or [""]),
    ):
        if value not in known:
            raise ValueError(f"{where}: {key} = {value!r} is not one of {', '.join(dict.fromkeys(known))}.")
    return family


def _checkpoints(table: dict[str, Any], sizes: tuple[str, ...], file: Path, where: str) -> dict[Member, Checkpoint]:
    """Roles and places from the tables `base` and `tuned`."""
    roles = {None: _strings(table.get("base"), f"{where}, base")}
    tuned_tables = table.get("tuned", {})
    if not isinstance(tuned_tables, dict):
        raise ValueError(f"{where}: tuned holds one table a behaviour, such as [{table.get('title')}.tuned.helpful].")
    roles |= {behaviour: _strings(places, f"{where}, tuned.{behaviour}") for behaviour, places in tuned_tables.items()}
    found = {}
    for behaviour, places in roles.items():
        for size, place in places.items():
            if size not in sizes:
                raise ValueError(f"{where} names the size {size!r}, which is not in sizes ({', '.join(sizes)}).")
            found[Member(size, behaviour)] = locate(place, file.parent)
    if not roles[None]:
        raise ValueError(f"{where} has no base models: add a table base with one path or Hub id a size.")
    return found


def _strings(table: Any, where: str) -> dict[str, str]:
    """A table of texts, or a ValueError that says where."""
    if not isinstance(table, dict) or not all(isinstance(value, str) and value for value in table.values()):
        raise ValueError(f'{where} must be a table of texts: one `name = "value"` a line.')
    return dict(table)


def locate(place: str, folder: Path) -> Checkpoint:
    """A path relative to `folder` if something lies there, else a Hub id ("org/name@revision"), else that path."""
    path = (folder / Path(place).expanduser()).resolve()
    name, _, revision = place.partition("@")
    if not path.exists() and _HUB_ID.match(name):
        return Checkpoint(name, revision or None, local=False)
    return Checkpoint(str(path))

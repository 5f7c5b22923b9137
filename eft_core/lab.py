"""All families of one process: a session each, made when first asked for, on one queue and one store of weights.

Visitors of different families are served in turn, never mixed; what was not used for the longest time goes first when
room is needed (`weights`). Families that a user adds are kept in the data folder.
"""

import threading
import tomllib
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from eft_core import hub
from eft_core.config import Request
from eft_core.durable import write_whole
from eft_core.events import Downloading, Loading, Queued
from eft_core.families import ATLAS, families, family_of, read_families
from eft_core.family import Family, compared_members, default_columns, listed
from eft_core.located import Checkpoint
from eft_core.memory import MemoryPlan
from eft_core.policy import Member
from eft_core.session import Session, Shared
from eft_core.settings import Settings
from eft_core.standing import Standing
from eft_core.toml import written

_LONGEST_TOML = 100_000  # characters of a family that somebody adds


class Lab:
    """The families, the default one first. Safe to share between threads."""

    def __init__(
        self,
        settings: Settings | None = None,
        make: Callable[[Settings, Family, Shared], Session] = Session,
        first: Family | None = None,
        standing: Callable[[], Standing] | None = None,
    ) -> None:
        """`settings` are read from the environment when not given; `make` builds the sessions. The default family is
        `first`, in the place of the one of its name, or else the settings'. ValueError if that is not there."""
        self.settings = settings or Settings.from_environment()
        self._shared = Shared()
        self.standing = standing or self._shared.engine.standing
        self._changing = threading.RLock()
        self._make = make
        self._families = families(*self.settings.families_files) | ({first.name: first} if first else {})
        self._sessions: dict[str, Session] = {}
        self.default = first.name if first else self.family(self.settings.family or ATLAS).name

    def names(self) -> tuple[str, ...]:
        """Every family's name, the default one first."""
        return (self.default, *(name for name in list(self._families) if name != self.default))

    def family(self, name: str) -> Family:
        """A family; ValueError that lists the names there are."""
        found = self._families.get(name) if isinstance(name, str) else None
        if found is None:
            names = listed(tuple(self._families))
            raise ValueError(f"there is no family {name!r}; there are {names}. EFT_FAMILIES adds your own.")
        return found

    def session(self, name: str | None = None) -> Session:
        """A family's session, the default one's where no name is given; made when first asked for."""
        family = self.family(self.default if name is None else name)
        with self._changing:
            if family.name not in self._sessions:
                self._sessions[family.name] = self._make(self.settings, family, self._shared)
            return self._sessions[family.name]

    def loaded(self, name: str) -> list[Member]:
        """The members of a family whose weights are in memory."""
        session = self._sessions.get(self.family(name).name)
        return session.loaded() if session else []

    def plan(self, name: str) -> MemoryPlan:
        """What the family's default comparison needs. ValueError with the remedy if its files are not here."""
        return self.session(name).plan(_default_request(self.family(name)))

    def load(self, name: str, members: Sequence[Member] | None = None) -> Generator[Queued | Loading, None, None]:
        """Bring members into memory, those of the default comparison if none are named; waits its turn."""
        session = self.session(name)
        if members is None:
            session.plan(_default_request(session.family)).check()
            members = compared_members(session.family)
        for member in members:
            session.family.checkpoint(member)
        return session.load(members)

    def download(self, name: str, members: Sequence[Member] | None = None) -> Generator[Downloading, None, None]:
        """Bring the files of members from the Hub, those of the default comparison if none are named. Waits for nobody
        and may be closed at any time. ValueError with the remedy, before any weights come where it can be known."""
        family = self.family(name)
        members = compared_members(family) if members is None else members
        return self._downloaded(name, [family.checkpoint(member) for member in members])

    def _downloaded(self, name: str, places: Sequence[Checkpoint]) -> Generator[Downloading, None, None]:
        try:
            yield from hub.download(places)
        finally:
            if session := self._sessions.get(name):
                session.read_anew()

    def unload(self, name: str) -> Generator[Queued, None, None]:
        """Let the family's members go; waits until whoever decodes is done."""
        return self.session(name).unload()

    @property
    def added_file(self) -> Path:
        """Where families are kept that were added here."""
        return self.settings.data_folder / "families.toml"

    def added(self) -> tuple[str, ...]:
        """The families that were added here, and may be removed."""
        return tuple(read_families(self.added_file)) if self.added_file.is_file() else ()

    def read(self, name: str, table: dict[str, Any]) -> Family:
        """The family that `add` would make of a table, and nothing kept. ValueError if it is wrong."""
        return family_of(name, table, self.added_file.parent, f"the family {name!r}")

    def add(self, name: str, table: dict[str, Any]) -> Family:
        """A new family from a table of the files' shape; kept from now on. Paths are absolute, or from the
        data folder.

        ValueError, and nothing kept, if it is wrong or the name is taken.
        """
        return self.add_all({name: table})[0]

    def add_toml(self, text: str) -> tuple[Family, ...]:
        """The families of a TOML text, all of them or, if one is refused, none."""
        return self.add_all(tables_of(text))

    def add_all(self, tables: dict[str, Any]) -> tuple[Family, ...]:
        """The families of tables by name, all of them or, if one is refused, none."""
        made = {name: self.read(name, table) for name, table in tables.items()}
        with self._changing:
            if taken := [name for name in made if name in self._families]:
                raise ValueError(f"there is a family {taken[0]!r} already: choose another name.")
            self._keep(self._added_tables() | tables)
            self._families |= made
        return tuple(made.values())

    def remove(self, name: str) -> None:
        """Forget a family that was added here; its checkpoints stay where they are. ValueError for any other."""
        with self._changing:
            tables = self._added_tables()
            if name not in tables:
                raise ValueError(f"{name!r} was not added here: its file says what it is.")
            if name in self._sessions and self._sessions[name].queue_length:
                raise ValueError(f"somebody uses {name!r} now: try again when they are done.")
            del tables[name]
            self._keep(tables)
            self._families.pop(name, None)
            session = self._sessions.pop(name, None)
        if session is not None:
            for _ in session.unload():
                pass

    def _added_tables(self) -> dict[str, Any]:
        return tomllib.loads(self.added_file.read_text(encoding="utf-8")) if self.added_file.is_file() else {}

    def _keep(self, tables: dict[str, Any]) -> None:
        """Write the added families; all of the file or nothing. ValueError if it cannot be written."""
        content = written(tables).encode()
        try:
            self.added_file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.added_file, content)
        except OSError as error:
            raise ValueError(
                f"{self.added_file} cannot be written ({error.strerror}): make room on its disk, or set EFT_DATA_DIR."
            ) from error


def tables_of(text: str) -> dict[str, Any]:
    """The tables of a TOML text, unchecked, by the names of their families. ValueError if there is none."""
    if len(text) > _LONGEST_TOML:
        raise ValueError(f"the text has {len(text):,} characters: a family has {_LONGEST_TOML:,} at most.")
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"this is no TOML: {error}.") from error
    if not tables:
        raise ValueError('the text names no family: begin with [name] and sizes = ["small", "large"].')
    return tables


def _default_request(family: Family) -> Request:
    return Request.compare("Plan", tuple(policy for _, policy in default_columns(family)))

"""Engines of SQLite and PostgreSQL with transactions that are ours, migrations, and failures in words.

A write transaction takes the database's one write lock when it begins, so that what it has read stays true until it
ends: `BEGIN IMMEDIATE` in SQLite, an advisory lock in PostgreSQL.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc, make_url

# Seconds that a writer waits for another before it says that the database is busy.
PATIENCE = 3
_MIGRATIONS = Path(__file__).parent / "migrations"
# Any number: of PostgreSQL's advisory locks, the one that lets one writer in at a time.
_WRITING = 8_231_023
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse", "9p", "ceph", "glusterfs", "lustre")
_AGAIN = "try again in a moment"
# What SQLite says, and PostgreSQL's codes (its documentation, appendix A), in words, and what helps.
_BUSY = ("the database is busy", _AGAIN)
_FULL = ("the disk of the database is full", "try again when there is room on it")
_READ_ONLY = ("the database can only be read", "let the server write its file, or name another database")
_DAMAGED = ("the database is damaged", "start the server again, which checks and mends it")
_STOPPED = ("the database was stopped or is starting", _AGAIN)
_SQLITE = (
    ("locked", _BUSY),
    ("full", _FULL),
    ("readonly", _READ_ONLY),
    ("unable to open", ("the database cannot be opened", _AGAIN)),
    ("disk i/o", ("the disk of the database fails", _AGAIN)),
    ("malformed", _DAMAGED),
    ("not a database", _DAMAGED),
)
_POSTGRESQL = {
    "53100": _FULL,
    "53300": _BUSY,
    "25006": _READ_ONLY,
    "55P03": _BUSY,
    "57014": _BUSY,
    "57P01": _STOPPED,
    "57P02": _STOPPED,
    "57P03": _STOPPED,
}


class Unavailable(Exception):
    """The database cannot be read or written now; nothing was kept. The text is a sentence for whoever waits."""


def engine_of(url: str) -> Engine:
    """The engine of an address. ValueError if it is none of ours, has options of no use, or its driver is missing."""
    try:
        address = make_url(url)
    except (exc.ArgumentError, ValueError):  # its text, and so a traceback, may repeat a part of the address
        raise ValueError(
            "EFT_DATABASE_URL is no address: write postgresql+psycopg://user:password@host/name."
        ) from None
    if "@" in (address.host or "") or "password" in address.query:  # both are told in errors, as no password may be
        raise ValueError(
            "EFT_DATABASE_URL has its password in a wrong place: write it as user:password@host, and in it %40 for @."
        )
    if address.get_backend_name() == "sqlite":
        if address.query:  # unknown ones are ignored, the others break what we set, and no file is called so
            raise ValueError("EFT_DATABASE_URL has a ?, and options of SQLite are not taken: write sqlite:///file.")
        return _sqlite(url, address.database)
    if address.drivername != "postgresql+psycopg":
        raise ValueError("EFT_DATABASE_URL must begin with postgresql+psycopg:// or sqlite:///.")
    waits = f"-c lock_timeout={PATIENCE}s -c statement_timeout=30s"
    try:
        if not set(address.query) <= _options():  # it is not told which, for a password with a ? in it ends there, too
            raise ValueError(
                "EFT_DATABASE_URL has an option after its ? that PostgreSQL does not know: write those of its "
                "documentation (libpq), such as sslmode=require, and in a password %3F for ?."
            )
        return create_engine(
            address,
            pool_pre_ping=True,
            hide_parameters=True,  # errors go to logs, and what raters write does not
            connect_args={"connect_timeout": PATIENCE, "options": waits},
        )
    except ImportError as error:
        raise ValueError('PostgreSQL needs psycopg: run `pip install "psycopg[binary]"`.') from error


def _options() -> set[str]:
    """What an address of PostgreSQL may have after its "?". Asked of the driver's library; no server is needed."""
    from psycopg import pq

    return {each.keyword.decode() for each in pq.Conninfo.get_defaults()}


def _sqlite(url: str, file: str | None) -> Engine:
    """An engine whose transactions are ours: the driver begins none (SQLAlchemy's documentation, pysqlite)."""
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": PATIENCE})
    # The write-ahead log needs memory that processes share, which file systems of a network do not have.
    mode = "DELETE" if file and on_network(Path(file)) else "WAL"

    def opened(connection: Any, _: object) -> None:
        connection.isolation_level = None
        for pragma in ("foreign_keys = ON", f"journal_mode = {mode}", "synchronous = FULL"):
            connection.execute(f"PRAGMA {pragma}")

    def begins(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", opened)
    event.listen(engine, "begin", begins)
    return engine


def file_of(engine: Engine) -> Path | None:
    """The file of a SQLite database; None for a server's, or for one in memory."""
    name = engine.url.database
    return Path(name) if engine.dialect.name == "sqlite" and name and name != ":memory:" else None


def on_network(file: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Whether a file lies on a file system of a network or in user space, as far as the system tells."""
    try:
        lines = [line.split() for line in mounts.read_text(encoding="utf-8").splitlines()]
    except OSError:  # no such table on this system
        return False
    folders = {str(parent) for parent in file.absolute().parents}
    kinds = {line[1]: line[2] for line in lines if len(line) > 2 and line[1] in folders}
    nearest = kinds[max(kinds, key=len)] if kinds else ""
    return nearest.split(".")[0] in _NETWORK


def reason(error: Exception) -> str:
    """Why the database failed and what helps, in a sentence."""
    original = getattr(error, "orig", None)
    said = str(original or error).lower()
    if state := getattr(original, "sqlstate", None):
        words, remedy = _POSTGRESQL.get(state, ("the database fails", _AGAIN))
    else:
        unknown = ("the database cannot be reached", _AGAIN)
        words, remedy = next((told for mark, told in _SQLITE if mark in said), unknown)
    return f"{words}: {remedy}."


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A read transaction that sees one state of the database from its first statement on."""
    options = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with engine.connect().execution_options(**options) as connection:
        yield connection


@contextmanager
def begun(engine: Engine) -> Iterator[Connection]:
    """A write transaction, alone; committed when the block ends without an error."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITING})")
        yield connection


def _migrations() -> Any:
    """Where the migrations are, for Alembic."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def is_known(version: str) -> bool:
    """Whether one of our migrations made the tables of this version."""
    from alembic.script import ScriptDirectory

    return version in {each.revision for each in ScriptDirectory.from_config(_migrations()).walk_revisions()}


def migrate(engine: Engine) -> None:
    """Bring the tables to the newest form; nothing is lost. `Unavailable` if a newer EFT Lab made them."""
    from alembic import command
    from alembic.util import CommandError

    config = _migrations()
    with begun(engine) as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise Unavailable(
                "the database was made by a newer EFT Lab: update EFT Lab, or name another database."
            ) from error

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
# What SQLite says, and PostgreSQL's codes (its documentation, appendix A), in words.
_SQLITE = (
    ("locked", "the database is busy"),
    ("full", "the disk of the database is full"),
    ("readonly", "the database can only be read"),
    ("unable to open", "the database cannot be opened"),
    ("disk i/o", "the disk of the database fails"),
    ("malformed", "the database is damaged"),
    ("not a database", "the database is damaged"),
)
_POSTGRESQL = {
    "53100": "the disk of the database is full",
    "53300": "the database is busy",
    "25006": "the database can only be read",
    "55P03": "the database is busy",
    "57014": "the database is busy",
}


class Unavailable(Exception):
    """The database cannot be read or written now; nothing was kept. The text is a sentence for whoever waits."""


def engine_of(url: str) -> Engine:
    """The engine of an address. ValueError if it is none of ours, or if its driver is missing."""
    try:
        address = make_url(url)
    except exc.ArgumentError as error:
        raise ValueError(
            "EFT_DATABASE_URL is no address: write postgresql+psycopg://user:password@host/name."
        ) from error
    if address.get_backend_name() == "sqlite":
        return _sqlite(url, address.database)
    if address.drivername != "postgresql+psycopg":
        raise ValueError("EFT_DATABASE_URL must begin with postgresql+psycopg:// or sqlite:///.")
    waits = f"-c lock_timeout={PATIENCE}s -c statement_timeout=30s"
    try:
        return create_engine(address, pool_pre_ping=True, connect_args={"connect_timeout": PATIENCE, "options": waits})
    except ImportError as error:
        raise ValueError('PostgreSQL needs psycopg: run `pip install "psycopg[binary]"`.') from error


def _sqlite(url: str, file: str | None) -> Engine:
    """An engine whose transactions are ours: the driver begins none (SQLAlchemy's documentation, pysqlite)."""
    engine = create_engine(url, connect_args={"timeout": PATIENCE})
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
    """Why the database failed, in words."""
    original = getattr(error, "orig", None)
    if state := getattr(original, "sqlstate", None):
        return _POSTGRESQL.get(state, "the database fails")
    said = str(original or error).lower()
    return next((words for mark, words in _SQLITE if mark in said), "the database cannot be reached")


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


def migrate(engine: Engine) -> None:
    """Bring the tables to the newest form; nothing is lost. `Unavailable` if a newer EFT Lab made them."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    with begun(engine) as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise Unavailable(
                "the database was made by a newer EFT Lab: update EFT Lab, or name another database."
            ) from error

"""The tables of ratings: dialect-neutral types, UUID keys as text, UTC times; the same in SQLite and PostgreSQL.

Nothing but `exclusions.lifted` and a campaign's state is ever changed: a rating that is edited is superseded by
another, and one that is undone by a row that says so, so that any past state can be rebuilt. `migrations` makes these
tables; a test holds the two together. Loads neither torch nor gradio.
"""

import uuid
from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

KEY = String(36)


class UtcTime(TypeDecorator[datetime]):
    """Times with their zone, kept as UTC; SQLite knows no zones, so it is put back on."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: object) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a zone is ambiguous: use datetime.now(UTC).")
        return value if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: object) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def new_key() -> str:
    """A key for a row: a random UUID, which says nothing of when or by whom."""
    return str(uuid.uuid4())


def now() -> datetime:
    return datetime.now(UTC)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _key() -> Column[str]:
    return Column("id", KEY, primary_key=True)


def _of(table: str, optional: bool = False) -> Column[str]:
    """A reference to a table, named after what it holds."""
    name = table.removesuffix("s")
    return Column(name, KEY, ForeignKey(f"{table}.id"), nullable=optional, index=not optional)


def _created() -> Column[datetime]:
    return Column("created", UtcTime, nullable=False)


# Who judges: by a code, of which the digest is kept, or by a Hugging Face name. `side_seed` draws the sides.
annotators = Table(
    "annotators",
    metadata,
    _key(),
    Column("code_digest", String(64), unique=True),
    Column("login", String(96), unique=True),
    Column("side_seed", Integer, nullable=False),
    _created(),
)

# A study: `plan` is all that its organiser decided (`campaign.Plan`). state: running, paused, closed.
campaigns = Table(
    "campaigns",
    metadata,
    _key(),
    Column("title", String(200), nullable=False),
    Column("family", String(200), nullable=False),
    Column("plan", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    _created(),
)

# A prompt of a campaign. gold: {"better": text, "worse": text}, two answers of which one is known to be better.
items = Table(
    "items",
    metadata,
    _key(),
    _of("campaigns"),
    Column("place", Integer, nullable=False),
    Column("name", String(200), nullable=False),
    Column("prompt", Text, nullable=False),
    Column("gold", JSON(none_as_null=True)),
    UniqueConstraint("campaign", "place"),
)

# An answer to an item, with what it takes to make it again. policy: None for a gold item's written answers, and then
# `label` is better or worse. state: ready, failed (`message` says why).
generations = Table(
    "generations",
    metadata,
    _key(),
    _of("items"),
    Column("place", Integer, nullable=False),  # the contender's number in the plan; of gold, 0 is the better one
    Column("label", String(200), nullable=False),
    Column("policy", JSON(none_as_null=True)),
    Column("sampling", JSON(none_as_null=True)),
    Column("limits", JSON(none_as_null=True)),
    Column("family", String(200), nullable=False),
    Column("revisions", JSON, nullable=False),  # member: digest of its weights
    Column("text", Text, nullable=False),
    Column("token_ids", JSON, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("statistics", JSON, nullable=False),  # mean log-probability, total variation ...
    Column("reason", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("software", String(64), nullable=False),
    _created(),
    UniqueConstraint("item", "place"),
)

# Two answers as they are shown to one annotator. flipped: the first stands at the right. kind: ordinary, repeat, gold.
# A repeat has the sides of its `original` swapped. `order_seed` is what the side was drawn from.
comparisons = Table(
    "comparisons",
    metadata,
    _key(),
    _of("campaigns"),
    _of("items"),
    _of("annotators"),
    Column("first", KEY, ForeignKey("generations.id"), nullable=False),
    Column("second", KEY, ForeignKey("generations.id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("number", Integer, nullable=False),  # its place in the annotator's queue, from 1
    Column("original", KEY, ForeignKey("comparisons.id")),
    Column("flipped", Boolean, nullable=False),
    Column("order_seed", Integer, nullable=False),
    Column("blind", Boolean, nullable=False),
    _created(),
    UniqueConstraint("annotator", "campaign", "number"),
    UniqueConstraint("annotator", "first", "second", "kind"),
)

# Judgements, append-only. action: vote, edit (supersedes an earlier row), undo (takes one back; it has no verdict).
# `client_key` is the browser's own, so that what is sent twice is kept once. `turn` counts a comparison's rows from 1.
ratings = Table(
    "ratings",
    metadata,
    _key(),
    _of("comparisons"),
    _of("annotators"),
    Column("client_key", String(64), nullable=False),
    Column("turn", Integer, nullable=False),
    Column("action", String(16), nullable=False),
    Column("supersedes", KEY, ForeignKey("ratings.id")),
    Column("verdict", String(16)),  # as shown: left, right, both_good, both_bad, unsure
    Column("strength", Integer),
    Column("scales", JSON, nullable=False),  # {"left": {"helpfulness": 4}, "right": {...}}
    Column("tags", JSON, nullable=False),
    Column("comment", Text, nullable=False),
    Column("seconds", Float),
    Column("software", String(64), nullable=False),
    _created(),
    UniqueConstraint("annotator", "client_key"),
    UniqueConstraint("comparison", "turn"),  # of two writers one is refused, and reads again
)

# An annotator's votes that an organiser took out of a campaign's results; kept, marked, and can be put back.
exclusions = Table(
    "exclusions",
    metadata,
    _key(),
    _of("campaigns"),
    _of("annotators"),
    Column("reason", Text, nullable=False),
    _created(),
    Column("lifted", UtcTime),
)

# In the order in which rows can be written: what is referred to comes first.
TABLES = (annotators, campaigns, items, generations, comparisons, ratings, exclusions)

"""The tables of ratings, as EFT Lab 0.5.0 has them."""

import sqlalchemy as sa
from alembic import op

from eft_core.schema import UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "annotators",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("code_digest", sa.String(length=64)),
        sa.Column("login", sa.String(length=96)),
        sa.Column("side_seed", sa.Integer(), nullable=False),
        sa.Column("created", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_annotators"),
        sa.UniqueConstraint("code_digest", name="uq_annotators_code_digest"),
        sa.UniqueConstraint("login", name="uq_annotators_login"),
    )
    op.create_table(
        "campaigns",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("family", sa.String(length=200), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_campaigns"),
    )
    op.create_table(
        "exclusions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("campaign", sa.String(length=36), nullable=False),
        sa.Column("annotator", sa.String(length=36), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created", UtcTime, nullable=False),
        sa.Column("lifted", UtcTime),
        sa.ForeignKeyConstraint(["annotator"], ["annotators.id"], name="fk_exclusions_annotator"),
        sa.ForeignKeyConstraint(["campaign"], ["campaigns.id"], name="fk_exclusions_campaign"),
        sa.PrimaryKeyConstraint("id", name="pk_exclusions"),
    )
    op.create_index("ix_exclusions_annotator", "exclusions", ["annotator"], unique=False)
    op.create_index("ix_exclusions_campaign", "exclusions", ["campaign"], unique=False)
    op.create_table(
        "items",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("campaign", sa.String(length=36), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("gold", sa.JSON(none_as_null=True)),
        sa.ForeignKeyConstraint(["campaign"], ["campaigns.id"], name="fk_items_campaign"),
        sa.PrimaryKeyConstraint("id", name="pk_items"),
        sa.UniqueConstraint("campaign", "place", name="uq_items_campaign_place"),
    )
    op.create_index("ix_items_campaign", "items", ["campaign"], unique=False)
    op.create_table(
        "generations",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("item", sa.String(length=36), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("policy", sa.JSON(none_as_null=True)),
        sa.Column("sampling", sa.JSON(none_as_null=True)),
        sa.Column("limits", sa.JSON(none_as_null=True)),
        sa.Column("family", sa.String(length=200), nullable=False),
        sa.Column("revisions", sa.JSON(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("token_ids", sa.JSON(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("statistics", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("software", sa.String(length=64), nullable=False),
        sa.Column("created", UtcTime, nullable=False),
        sa.ForeignKeyConstraint(["item"], ["items.id"], name="fk_generations_item"),
        sa.PrimaryKeyConstraint("id", name="pk_generations"),
        sa.UniqueConstraint("item", "place", name="uq_generations_item_place"),
    )
    op.create_index("ix_generations_item", "generations", ["item"], unique=False)
    op.create_table(
        "comparisons",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("campaign", sa.String(length=36), nullable=False),
        sa.Column("item", sa.String(length=36), nullable=False),
        sa.Column("annotator", sa.String(length=36), nullable=False),
        sa.Column("first", sa.String(length=36), nullable=False),
        sa.Column("second", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("original", sa.String(length=36)),
        sa.Column("flipped", sa.Boolean(), nullable=False),
        sa.Column("order_seed", sa.Integer(), nullable=False),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("created", UtcTime, nullable=False),
        sa.ForeignKeyConstraint(["annotator"], ["annotators.id"], name="fk_comparisons_annotator"),
        sa.ForeignKeyConstraint(["campaign"], ["campaigns.id"], name="fk_comparisons_campaign"),
        sa.ForeignKeyConstraint(["first"], ["generations.id"], name="fk_comparisons_first"),
        sa.ForeignKeyConstraint(["item"], ["items.id"], name="fk_comparisons_item"),
        sa.ForeignKeyConstraint(["original"], ["comparisons.id"], name="fk_comparisons_original"),
        sa.ForeignKeyConstraint(["second"], ["generations.id"], name="fk_comparisons_second"),
        sa.PrimaryKeyConstraint("id", name="pk_comparisons"),
        sa.UniqueConstraint("annotator", "campaign", "number", name="uq_comparisons_annotator_campaign_number"),
        sa.UniqueConstraint("annotator", "first", "second", "kind", name="uq_comparisons_annotator_first_second_kind"),
    )
    op.create_index("ix_comparisons_annotator", "comparisons", ["annotator"], unique=False)
    op.create_index("ix_comparisons_campaign", "comparisons", ["campaign"], unique=False)
    op.create_index("ix_comparisons_item", "comparisons", ["item"], unique=False)
    op.create_table(
        "ratings",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("comparison", sa.String(length=36), nullable=False),
        sa.Column("annotator", sa.String(length=36), nullable=False),
        sa.Column("client_key", sa.String(length=64), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("supersedes", sa.String(length=36)),
        sa.Column("verdict", sa.String(length=16)),
        sa.Column("strength", sa.Integer()),
        sa.Column("scales", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Float()),
        sa.Column("software", sa.String(length=64), nullable=False),
        sa.Column("created", UtcTime, nullable=False),
        sa.ForeignKeyConstraint(["annotator"], ["annotators.id"], name="fk_ratings_annotator"),
        sa.ForeignKeyConstraint(["comparison"], ["comparisons.id"], name="fk_ratings_comparison"),
        sa.ForeignKeyConstraint(["supersedes"], ["ratings.id"], name="fk_ratings_supersedes"),
        sa.PrimaryKeyConstraint("id", name="pk_ratings"),
        sa.UniqueConstraint("annotator", "client_key", name="uq_ratings_annotator_client_key"),
        sa.UniqueConstraint("comparison", "turn", name="uq_ratings_comparison_turn"),
    )
    op.create_index("ix_ratings_annotator", "ratings", ["annotator"], unique=False)
    op.create_index("ix_ratings_comparison", "ratings", ["comparison"], unique=False)


def downgrade() -> None:
    op.drop_table("ratings")
    op.drop_table("comparisons")
    op.drop_table("generations")
    op.drop_table("items")
    op.drop_table("exclusions")
    op.drop_table("campaigns")
    op.drop_table("annotators")

"""What Alembic runs: the migrations, on the connection and in the transaction that `storage.migrate` opened."""

from alembic import context

from eft_core.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite too: a migration that fails leaves nothing behind
)
context.run_migrations()

"""Run by Alembic for every upgrade: on the connection, in the transaction and with the table it is handed."""

from alembic import context

settings = context.config.attributes
context.configure(
    connection=settings["connection"],
    version_table=settings["version_table"],
    # Alembic believes that SQLite cannot do it, which is true of sqlite3's own handling of transactions, not of ours.
    transactional_ddl=True,
)
context.run_migrations()

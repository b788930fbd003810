"""The history of the databases' schemas, a folder for each part, each with a chain of revisions.

Alembic keeps them: altering a table of SQLite means copying it, and Alembic knows how. A part remembers its own
revision (in the table `holdfast_revision_<part>`), so that services can share a database. The tables as they are now
are in the services' `tables.py`; a test compares the two.
"""

"""Indexes that answer more: how many memories a scope has, and which have another key in theirs."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Replace the indexes of scopes by such as hold what lists filter by; add one of whole scopes in PostgreSQL."""
    for key in ("user", "org", "agent"):
        op.drop_index(f"memories_by_{key}", "memories")
        op.create_index(
            f"memories_by_{key}", "memories", [f"scope_{key}_id", "seq", "deleted_at", "expires_at", "topic"]
        )
    if op.get_context().dialect.name == "postgresql":
        op.create_index(
            "memories_by_scope",
            "memories",
            ["scope"],
            postgresql_using="gin",
            postgresql_ops={"scope": "jsonb_path_ops"},
        )

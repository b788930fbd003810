"""Memories and what became of them."""

import sqlalchemy as sa
from alembic import op

from holdfast.servers.columns import Timestamp, searchable_json, sequence

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "memories",
        sa.Column("seq", sequence(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid, nullable=False, unique=True),
        sa.Column("scope", searchable_json(), nullable=False),
        sa.Column("scope_user_id", sa.Text),
        sa.Column("scope_org_id", sa.Text),
        sa.Column("scope_agent_id", sa.Text),
        sa.Column("fact", sa.Text, nullable=False),
        sa.Column("topic", sa.Text),
        sa.Column("embedding", sa.LargeBinary),
        sa.Column("embedding_dimensions", sa.Integer),
        sa.Column("confidence", sa.Double, nullable=False),
        sa.Column("importance", sa.Double, nullable=False),
        sa.Column("source_type", sa.Text, nullable=False),
        sa.Column("source_id", sa.Uuid),
        sa.Column("access_count", sa.BigInteger, nullable=False),
        sa.Column("last_accessed_at", Timestamp),
        sa.Column("revision_count", sa.Integer, nullable=False),
        sa.Column("expires_at", Timestamp, nullable=False),
        sa.Column("deleted_at", Timestamp),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("updated_at", Timestamp, nullable=False),
    )
    op.create_index("memories_by_user", "memories", ["scope_user_id", "seq"])
    op.create_index("memories_by_org", "memories", ["scope_org_id", "seq"])
    op.create_index("memories_by_agent", "memories", ["scope_agent_id", "seq"])
    op.create_table(
        "memory_revisions",
        sa.Column("seq", sequence(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid, nullable=False, unique=True),
        sa.Column("memory_id", sa.Uuid, sa.ForeignKey("memories.id", ondelete="CASCADE"), nullable=False),
        sa.Column("revision_number", sa.Integer, nullable=False),
        sa.Column("previous_fact", sa.Text, nullable=False),
        sa.Column("new_fact", sa.Text, nullable=False),
        sa.Column("change_reason", sa.Text),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("updated_at", Timestamp, nullable=False),
        sa.UniqueConstraint("memory_id", "revision_number"),
    )

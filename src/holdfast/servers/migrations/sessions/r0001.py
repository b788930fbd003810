"""Sessions and their events."""

import sqlalchemy as sa
from alembic import op

from holdfast.servers.columns import Timestamp, searchable_json, sequence

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "sessions",
        sa.Column("seq", sequence(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid, nullable=False, unique=True),
        sa.Column("scope", searchable_json(), nullable=False),
        sa.Column("scope_user_id", sa.Text),
        sa.Column("scope_org_id", sa.Text),
        sa.Column("scope_agent_id", sa.Text),
        sa.Column("title", sa.Text),
        sa.Column("description", sa.Text),
        sa.Column("state", sa.JSON, nullable=False),
        sa.Column("started_at", Timestamp, nullable=False),
        sa.Column("last_activity_at", Timestamp, nullable=False),
        sa.Column("ended_at", Timestamp),
        sa.Column("expires_at", Timestamp, nullable=False),
        sa.Column("ttl", sa.Integer, nullable=False),
        sa.Column("event_count", sa.BigInteger, nullable=False),
        sa.Column("total_input_tokens", sa.BigInteger, nullable=False),
        sa.Column("total_output_tokens", sa.BigInteger, nullable=False),
    )
    op.create_index("sessions_by_user", "sessions", ["scope_user_id", "seq"])
    op.create_index("sessions_by_org", "sessions", ["scope_org_id", "seq"])
    op.create_index("sessions_by_agent", "sessions", ["scope_agent_id", "seq"])
    op.create_table(
        "session_events",
        sa.Column("seq", sequence(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid, nullable=False, unique=True),
        sa.Column("session_id", sa.Uuid, sa.ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("input_tokens", sa.Integer, nullable=False),
        sa.Column("output_tokens", sa.Integer, nullable=False),
        sa.Column("timestamp", Timestamp, nullable=False),
    )
    op.create_index("session_events_by_session", "session_events", ["session_id", "seq"])

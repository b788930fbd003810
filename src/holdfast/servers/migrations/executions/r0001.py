"""Executions, their steps and events, and the processes that carry them out."""

import sqlalchemy as sa
from alembic import op

from holdfast.servers.columns import Timestamp

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "executions",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("workflow_id", sa.Uuid, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("input_data", sa.JSON, nullable=False),
        sa.Column("context", sa.JSON),
        sa.Column("result", sa.JSON),
        sa.Column("error", sa.JSON),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("timeout", sa.Double),
        sa.Column("deadline_at", Timestamp),
        sa.Column("event_count", sa.Integer, nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("started_at", Timestamp),
        sa.Column("ended_at", Timestamp),
        sa.Column("updated_at", Timestamp, nullable=False),
    )
    op.create_index("executions_by_time", "executions", ["created_at", "id"])
    op.create_index("executions_by_workflow", "executions", ["workflow_id", "created_at", "id", "status"])
    op.create_index("executions_by_status", "executions", ["status", "created_at", "id"])
    op.create_index("executions_by_end", "executions", ["ended_at"])
    op.create_table(
        "execution_steps",
        sa.Column(
            "execution_id",
            sa.Uuid,
            sa.ForeignKey("executions.id", ondelete="CASCADE"),
            primary_key=True,
            nullable=False,
        ),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("step_id", sa.Text, nullable=False),
        sa.Column("service_id", sa.Uuid, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("next", sa.Text),
        sa.Column("timeout", sa.Double),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("input", sa.JSON),
        sa.Column("output", sa.JSON),
        sa.Column("error", sa.JSON),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("key_number", sa.Integer, nullable=False),
        sa.Column("definite", sa.Boolean, nullable=False),
        sa.Column("ambiguous", sa.Boolean, nullable=False),
        sa.Column("started_at", Timestamp),
        sa.Column("ended_at", Timestamp),
    )
    op.create_table(
        "execution_events",
        sa.Column(
            "execution_id",
            sa.Uuid,
            sa.ForeignKey("executions.id", ondelete="CASCADE"),
            primary_key=True,
            nullable=False,
        ),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("at", Timestamp, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("step", sa.Text),
        sa.Column("message", sa.Text, nullable=False),
    )
    op.create_table(
        "executors",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("seen_at", Timestamp),
    )

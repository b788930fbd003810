"""Agent runs and their logs, webhooks and their deliveries."""

import sqlalchemy as sa
from alembic import op

from holdfast.servers.columns import Timestamp, sequence

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table("codegen_seeded", sa.Column("organization_id", sa.Integer, primary_key=True, autoincrement=False))
    op.create_table(
        "codegen_runs",
        sa.Column("id", sequence(), primary_key=True, autoincrement=True),
        sa.Column("organization_id", sa.Integer, nullable=False),
        sa.Column("user_id", sa.Integer, nullable=False),
        sa.Column("source_type", sa.Text, nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("metadata", sa.JSON(none_as_null=True)),
        sa.Column("repo_id", sa.Integer),
        sa.Column("model", sa.Text),
        sa.Column("agent_type", sa.Text),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("active_at", Timestamp, nullable=False),
        sa.Column("ends_at", Timestamp, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("pull_request", sa.JSON(none_as_null=True)),
        sa.Column("announced_at", Timestamp),
    )
    op.create_index("codegen_runs_by_organization", "codegen_runs", ["organization_id", "id"])
    op.create_index("codegen_runs_by_user", "codegen_runs", ["organization_id", "user_id", "id"])
    op.create_index("codegen_runs_to_announce", "codegen_runs", ["announced_at", "ends_at"])
    op.create_table(
        "codegen_run_logs",
        sa.Column("seq", sequence(), primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.BigInteger, sa.ForeignKey("codegen_runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("message_type", sa.Text, nullable=False),
        sa.Column("tool_name", sa.Text),
        sa.Column("thought", sa.Text),
        sa.Column("observation", sa.JSON(none_as_null=True)),
        sa.Column("tool_input", sa.JSON(none_as_null=True)),
        sa.Column("tool_output", sa.JSON(none_as_null=True)),
    )
    op.create_index("codegen_run_logs_by_run", "codegen_run_logs", ["run_id", "seq"])
    op.create_table(
        "codegen_webhooks",
        sa.Column("id", sequence(), primary_key=True, autoincrement=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("events", sa.JSON(none_as_null=True)),
        sa.Column("secret", sa.Text),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("busy_until", Timestamp),
    )
    op.create_table(
        "codegen_deliveries",
        sa.Column("id", sequence(), primary_key=True, autoincrement=True),
        sa.Column(
            "webhook_id", sa.BigInteger, sa.ForeignKey("codegen_webhooks.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("message_id", sa.Text, nullable=False, unique=True),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", Timestamp),
        sa.Column("last_status", sa.Integer),
        sa.Column("last_error", sa.Text),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("ended_at", Timestamp),
    )
    op.create_index("codegen_deliveries_by_status", "codegen_deliveries", ["status", "next_attempt_at"])
    op.create_index("codegen_deliveries_by_webhook", "codegen_deliveries", ["webhook_id", "status", "id"])

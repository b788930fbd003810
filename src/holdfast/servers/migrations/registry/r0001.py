"""Services, workflows and their steps."""

import sqlalchemy as sa
from alembic import op

from holdfast.servers.columns import Timestamp, sequence

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "services",
        sa.Column("seq", sequence(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("deduplicates", sa.Boolean, nullable=False),
        sa.Column("actions", sa.JSON, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("updated_at", Timestamp, nullable=False),
    )
    op.create_index("services_by_status", "services", ["status", "seq"])
    op.create_table(
        "workflows",
        sa.Column("seq", sequence(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.Uuid, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("updated_at", Timestamp, nullable=False),
    )
    op.create_index("workflows_by_status", "workflows", ["status", "seq"])
    op.create_table(
        "workflow_steps",
        sa.Column("workflow_id", sa.Uuid, sa.ForeignKey("workflows.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("step_id", sa.Text, nullable=False),
        sa.Column("service_id", sa.Uuid, sa.ForeignKey("services.id"), nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("next_step", sa.Text),
        sa.Column("timeout", sa.Double),
        sa.UniqueConstraint("workflow_id", "turn"),
        sa.UniqueConstraint("workflow_id", "step_id"),
    )
    op.create_index("workflow_steps_by_service", "workflow_steps", ["service_id", "workflow_id"])

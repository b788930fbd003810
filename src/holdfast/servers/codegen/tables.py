"""Tables of the Codegen server, as the newest revision of `migrations/codegen` leaves them.

What will become of a run is written down when it is created or resumed; what there is to see of it is a matter of the
time at which one looks.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

from holdfast.servers.columns import Timestamp, sequence

__all__ = ["deliveries", "metadata", "run_logs", "runs", "seeded", "webhooks"]

metadata = MetaData()

seeded = Table("codegen_seeded", metadata, Column("organization_id", Integer, primary_key=True, autoincrement=False))

runs = Table(
    "codegen_runs",
    metadata,
    Column("id", sequence(), primary_key=True, autoincrement=True),
    Column("organization_id", Integer, nullable=False),
    Column("user_id", Integer, nullable=False),
    Column("source_type", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("metadata", JSON(none_as_null=True)),
    Column("repo_id", Integer),
    Column("model", Text),
    Column("agent_type", Text),
    Column("created_at", Timestamp, nullable=False),
    Column("active_at", Timestamp, nullable=False),
    Column("ends_at", Timestamp, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("result", Text),
    Column("summary", Text, nullable=False),
    Column("pull_request", JSON(none_as_null=True)),
    Column("announced_at", Timestamp),
    Index("codegen_runs_by_organization", "organization_id", "id"),
    Index("codegen_runs_by_user", "organization_id", "user_id", "id"),
    Index("codegen_runs_to_announce", "announced_at", "ends_at"),
)

run_logs = Table(
    "codegen_run_logs",
    metadata,
    Column("seq", sequence(), primary_key=True, autoincrement=True),
    Column("run_id", BigInteger, ForeignKey("codegen_runs.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("message_type", Text, nullable=False),
    Column("tool_name", Text),
    Column("thought", Text),
    Column("observation", JSON(none_as_null=True)),
    Column("tool_input", JSON(none_as_null=True)),
    Column("tool_output", JSON(none_as_null=True)),
    Index("codegen_run_logs_by_run", "run_id", "seq"),
)

webhooks = Table(
    "codegen_webhooks",
    metadata,
    Column("id", sequence(), primary_key=True, autoincrement=True),
    Column("url", Text, nullable=False),
    Column("events", JSON(none_as_null=True)),
    Column("secret", Text),
    Column("created_at", Timestamp, nullable=False),
    Column("owner", Text),
    Column("busy_until", Timestamp),
)

deliveries = Table(
    "codegen_deliveries",
    metadata,
    Column("id", sequence(), primary_key=True, autoincrement=True),
    Column("webhook_id", BigInteger, ForeignKey("codegen_webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("message_id", Text, nullable=False, unique=True),
    Column("event_type", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", Timestamp),
    Column("last_status", Integer),
    Column("last_error", Text),
    Column("created_at", Timestamp, nullable=False),
    Column("ended_at", Timestamp),
    Index("codegen_deliveries_by_status", "status", "next_attempt_at"),
    Index("codegen_deliveries_by_webhook", "webhook_id", "status", "id"),
)

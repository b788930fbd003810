"""Tables of executions, as the newest revision of `migrations/executions` leaves them.

Steps are copied from the workflow when an execution begins: changing or deleting the workflow later changes no
execution. These rows are what people read. What dbos keeps besides only makes somebody go on after a crash.
"""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Double, ForeignKey, Index, Integer, MetaData, Table, Text, Uuid

from holdfast.servers.columns import Timestamp

__all__ = ["events", "executions", "executors", "metadata", "steps"]

metadata = MetaData()

_ABSENT = JSON(none_as_null=True)

executions = Table(
    "executions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("workflow_id", Uuid, nullable=False),
    Column("status", Text, nullable=False),
    Column("input_data", JSON, nullable=False),
    Column("context", _ABSENT),
    Column("result", _ABSENT),
    Column("error", _ABSENT),
    Column("run", Integer, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("timeout", Double),
    # When the time of this run is over; known from its first start on.
    Column("deadline_at", Timestamp),
    # How many events there are. It grows with every change of state, and is locked first by whoever makes one.
    Column("event_count", Integer, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("started_at", Timestamp),
    Column("ended_at", Timestamp),
    Column("updated_at", Timestamp, nullable=False),
    Index("executions_by_time", "created_at", "id"),
    Index("executions_by_workflow", "workflow_id", "created_at", "id", "status"),
    Index("executions_by_status", "status", "created_at", "id"),
    Index("executions_by_end", "ended_at"),
)

steps = Table(
    "execution_steps",
    metadata,
    Column("execution_id", Uuid, ForeignKey("executions.id", ondelete="CASCADE"), primary_key=True, nullable=False),
    Column("position", Integer, primary_key=True, autoincrement=False, nullable=False),
    Column("step_id", Text, nullable=False),
    Column("service_id", Uuid, nullable=False),
    Column("service", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("next", Text),
    Column("timeout", Double),
    Column("status", Text, nullable=False),
    Column("input", _ABSENT),
    Column("output", _ABSENT),
    Column("error", _ABSENT),
    Column("attempts", Integer, nullable=False),
    # Which idempotency key it is sent with: 1, and one more after each definite failure that is resumed.
    Column("key_number", Integer, nullable=False),
    # It has failed, and the service would only repeat itself under the same key.
    Column("definite", Boolean, nullable=False),
    # It was begun before, and the service may have executed it then.
    Column("ambiguous", Boolean, nullable=False),
    Column("started_at", Timestamp),
    Column("ended_at", Timestamp),
)

events = Table(
    "execution_events",
    metadata,
    Column("execution_id", Uuid, ForeignKey("executions.id", ondelete="CASCADE"), primary_key=True, nullable=False),
    Column("number", Integer, primary_key=True, autoincrement=False, nullable=False),
    Column("at", Timestamp, nullable=False),
    Column("kind", Text, nullable=False),
    Column("step", Text),
    Column("message", Text, nullable=False),
)

executors = Table(
    "executors",
    metadata,
    Column("id", Text, primary_key=True),
    # None: it was stopped, and its executions are waiting for somebody.
    Column("seen_at", Timestamp),
)

"""Tables of the registry, as the newest revision of `migrations/registry` leaves them.

`seq` is the order in which rows were made; pages follow it. `id` is what the API shows.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

from holdfast.servers.columns import Timestamp, sequence

__all__ = ["metadata", "services", "workflow_steps", "workflows"]

metadata = MetaData()

services = Table(
    "services",
    metadata,
    Column("seq", sequence(), primary_key=True, autoincrement=True),
    Column("id", Uuid, nullable=False, unique=True),
    Column("name", Text, nullable=False, unique=True),
    Column("description", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("deduplicates", Boolean, nullable=False),
    Column("actions", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Index("services_by_status", "status", "seq"),
)

workflows = Table(
    "workflows",
    metadata,
    Column("seq", sequence(), primary_key=True, autoincrement=True),
    Column("id", Uuid, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Index("workflows_by_status", "status", "seq"),
)

workflow_steps = Table(
    "workflow_steps",
    metadata,
    Column("workflow_id", Uuid, ForeignKey("workflows.id", ondelete="CASCADE"), primary_key=True),
    # Where it stands in the list that was sent, from 0.
    Column("position", Integer, primary_key=True),
    # When its turn is, from 0.
    Column("turn", Integer, nullable=False),
    Column("step_id", Text, nullable=False),
    # Not the name: a service that is renamed stays the same. It cannot be removed while a step refers to it.
    Column("service_id", Uuid, ForeignKey("services.id"), nullable=False),
    Column("action", Text, nullable=False),
    Column("next_step", Text),
    Column("timeout", Double),
    UniqueConstraint("workflow_id", "turn"),
    UniqueConstraint("workflow_id", "step_id"),
    Index("workflow_steps_by_service", "service_id", "workflow_id"),
)

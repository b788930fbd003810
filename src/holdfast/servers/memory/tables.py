"""Tables of the Memory server, as the newest revision of `migrations/memory` leaves them.

`seq` is the order in which rows were made; pages follow it. `id` is what the API shows.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
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

from holdfast.servers.columns import Timestamp, searchable_json, sequence
from holdfast.servers.memory.vectors import Embedding

__all__ = ["memories", "metadata", "revisions"]

metadata = MetaData()

memories = Table(
    "memories",
    metadata,
    Column("seq", sequence(), primary_key=True, autoincrement=True),
    Column("id", Uuid, nullable=False, unique=True),
    Column("scope", searchable_json(), nullable=False),
    Column("scope_user_id", Text),
    Column("scope_org_id", Text),
    Column("scope_agent_id", Text),
    Column("fact", Text, nullable=False),
    Column("topic", Text),
    Column("embedding", Embedding),
    # Of an embedding that can be searched for: none for a vector of zeros, which has no direction.
    Column("embedding_dimensions", Integer),
    Column("confidence", Double, nullable=False),
    Column("importance", Double, nullable=False),
    Column("source_type", Text, nullable=False),
    Column("source_id", Uuid),
    Column("access_count", BigInteger, nullable=False),
    Column("last_accessed_at", Timestamp),
    Column("revision_count", Integer, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
    Column("deleted_at", Timestamp),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    # With what lists filter by, so that the memories of a scope are counted without being read.
    Index("memories_by_user", "scope_user_id", "seq", "deleted_at", "expires_at", "topic"),
    Index("memories_by_org", "scope_org_id", "seq", "deleted_at", "expires_at", "topic"),
    Index("memories_by_agent", "scope_agent_id", "seq", "deleted_at", "expires_at", "topic"),
    Index("memories_by_scope", "scope", postgresql_using="gin", postgresql_ops={"scope": "jsonb_path_ops"}).ddl_if(
        dialect="postgresql"
    ),
)

revisions = Table(
    "memory_revisions",
    metadata,
    Column("seq", sequence(), primary_key=True, autoincrement=True),
    Column("id", Uuid, nullable=False, unique=True),
    Column("memory_id", Uuid, ForeignKey("memories.id", ondelete="CASCADE"), nullable=False),
    Column("revision_number", Integer, nullable=False),
    Column("previous_fact", Text, nullable=False),
    Column("new_fact", Text, nullable=False),
    Column("change_reason", Text),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    UniqueConstraint("memory_id", "revision_number"),
)

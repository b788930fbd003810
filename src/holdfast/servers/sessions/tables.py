"""Tables of the Sessions server, as the newest revision of `migrations/sessions` leaves them.

`seq` is the order in which rows were made; pages follow it. `id` is what the API shows.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, Integer, MetaData, Table, Text, Uuid

from holdfast.servers.columns import Timestamp, searchable_json, sequence

__all__ = ["events", "metadata", "sessions"]

metadata = MetaData()

sessions = Table(
    "sessions",
    metadata,
    Column("seq", sequence(), primary_key=True, autoincrement=True),
    Column("id", Uuid, nullable=False, unique=True),
    Column("scope", searchable_json(), nullable=False),
    Column("scope_user_id", Text),
    Column("scope_org_id", Text),
    Column("scope_agent_id", Text),
    Column("title", Text),
    Column("description", Text),
    Column("state", JSON, nullable=False),
    Column("started_at", Timestamp, nullable=False),
    Column("last_activity_at", Timestamp, nullable=False),
    Column("ended_at", Timestamp),
    Column("expires_at", Timestamp, nullable=False),
    Column("ttl", Integer, nullable=False),
    Column("event_count", BigInteger, nullable=False),
    Column("total_input_tokens", BigInteger, nullable=False),
    Column("total_output_tokens", BigInteger, nullable=False),
    Index("sessions_by_user", "scope_user_id", "seq"),
    Index("sessions_by_org", "scope_org_id", "seq"),
    Index("sessions_by_agent", "scope_agent_id", "seq"),
)

events = Table(
    "session_events",
    metadata,
    Column("seq", sequence(), primary_key=True, autoincrement=True),
    Column("id", Uuid, nullable=False, unique=True),
    Column("session_id", Uuid, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("event_type", Text, nullable=False),
    Column("data", JSON, nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("timestamp", Timestamp, nullable=False),
    Index("session_events_by_session", "session_id", "seq"),
)

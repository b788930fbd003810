"""Keys of work that takes longer than a transaction: who does it, and until when that is believed."""

import sqlalchemy as sa
from alembic import op

from holdfast.servers.columns import Timestamp

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns. What is there has been answered, so both stay empty."""
    op.add_column("idempotency_keys", sa.Column("owner", sa.Text))
    op.add_column("idempotency_keys", sa.Column("lease_until", Timestamp))

"""Revisions of the idempotency keys."""

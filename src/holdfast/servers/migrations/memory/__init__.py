"""Revisions of the Memory server."""

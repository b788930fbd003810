"""Revisions of the Sessions server."""

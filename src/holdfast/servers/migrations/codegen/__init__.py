"""Revisions of the Codegen server."""

"""Revisions of the registry of services and workflows."""

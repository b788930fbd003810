"""Revisions of what the Service Integration server keeps of executions."""

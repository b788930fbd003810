"""Engines: what performs one attempt, behind the small port in `base`."""

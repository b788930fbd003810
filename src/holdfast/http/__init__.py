"""Joins httpx2 to the core: drivers, engines, and what an HTTP client has to know."""

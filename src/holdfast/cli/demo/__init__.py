"""`holdfast demo`: the same calls through bare httpx2, a stack glued by hand, and Holdfast, while servers misbehave."""

from __future__ import annotations

from holdfast.cli.demo.command import demo

__all__ = ["demo"]

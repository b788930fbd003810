"""The live page of port 8010: agent runs, rate limits and deliveries, as a plain ES module that asks the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.servers.pages import read_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.servers.pages import Asset

__all__ = ["live_page"]


def live_page() -> Mapping[str, Asset]:
    """The files of the page, by path; itself it is at `/`."""
    return read_page(__package__, "/_page/codegen")

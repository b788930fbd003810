"""The live page of port 8005: services, workflows and executions, as plain ES modules that ask the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.servers.pages import read_assets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.servers.pages import Asset

__all__ = ["live_page"]

FOLDER = "/_page/live"


def live_page() -> Mapping[str, Asset]:
    """The files of the page, by path; itself it is at `/`."""
    return {
        "/" if name == "index.html" else f"{FOLDER}/{name}": asset for name, asset in read_assets(__package__).items()
    }

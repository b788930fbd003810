"""The live page of port 8010: agent runs, rate limits and deliveries, as a plain ES module that asks the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.servers.integration import page as elements
from holdfast.servers.pages import read_assets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.servers.pages import Asset

__all__ = ["live_page"]

FOLDER = "/_page/codegen"


def live_page() -> Mapping[str, Asset]:
    """The files of the page, by path; itself it is at `/`."""
    files = {"dom.js": read_assets(elements.__name__)["dom.js"], **read_assets(__package__)}
    return {"/" if name == "index.html" else f"{FOLDER}/{name}": asset for name, asset in files.items()}

"""Files that belong to pages, and the headers under which all pages are sent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["PREFIX", "SECURITY", "Asset", "read_assets", "read_page"]

PREFIX = "/_page"
"""Below this are the files of all pages, on every port."""

SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Nothing from elsewhere, nothing inline, in nobody's frame."""

TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of a page, held in memory."""

    body: bytes
    media_type: str
    tag: str

    def answer(self, request: Request) -> Response:
        """The file, or a 304 to one who has it. It is asked for every time: a new version shows at once."""
        headers = {**SECURITY, "Cache-Control": "no-cache", "ETag": self.tag}
        known = {tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")}
        if self.tag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        return Response(self.body, media_type=self.media_type, headers=headers)

    def route(self, path: str) -> Route:
        """A route on which the file is."""

        async def endpoint(request: Request) -> Response:
            return self.answer(request)

        return Route(path, endpoint, methods=["GET"])


def read_assets(package: str) -> dict[str, Asset]:
    """The files in the folder `static` of a package, by name."""
    return {
        file.name: _asset(file.read_bytes(), file.name.rpartition(".")[2])
        for file in files(package).joinpath("static").iterdir()
        if file.is_file()
    }


def read_page(package: str, folder: str) -> dict[str, Asset]:
    """The files of a page by the paths that they are served at: below `folder`, but `index.html`, which is `/`."""
    found = read_assets(package).items()
    return {"/" if name == "index.html" else f"{folder}/{name}": asset for name, asset in found}


def _asset(body: bytes, ending: str) -> Asset:
    return Asset(body, TYPES[ending], f'"{hashlib.sha256(body).hexdigest()[:32]}"')

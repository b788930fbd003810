"""The pages of one port, in front of its app."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from holdfast._version import __version__
from holdfast.servers.pages.about import About, Neighbour, find_out
from holdfast.servers.pages.about_page import render
from holdfast.servers.pages.assets import PREFIX, SECURITY, read_assets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from holdfast.servers.service import Service

__all__ = ["ABOUT_PATH", "Pages"]

ABOUT_PATH = "/_about"


class Pages:
    """ASGI middleware: `/` is a page about the port, or the service's own, and everything else is the app's.

    It stands in front of failure injection: who looks at what fails does so undisturbed, and uses up no rule. With
    `Accept: application/json`, `/` is what there is to say about the port as JSON. The page about the port is at
    `/_about` too, for services with a page of their own.

    Args:
        app: what answers everything else.
        service: whose port it is.
        neighbours: URLs of the other services, as this process reaches them, by name.
        faults: path of the admin API of failure injection, None where that is off.
    """

    def __init__(
        self, app: ASGIApp, service: Service, neighbours: Mapping[str, str], *, faults: str | None = None
    ) -> None:
        self._app = app
        self._service = service
        self._neighbours = neighbours
        self._faults = faults
        assets = {f"{PREFIX}/{name}": asset for name, asset in read_assets(__package__).items()}
        routes = [asset.route(path) for path, asset in {**assets, **service.page}.items() if path != "/"]
        routes += [Route("/", self._home, methods=["GET"]), Route(ABOUT_PATH, self._about, methods=["GET"])]
        self._paths = {route.path for route in routes}
        self._pages = Starlette(routes=routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        ours = scope["type"] == "http" and scope["path"] in self._paths
        await (self._pages if ours else self._app)(scope, receive, send)

    async def _home(self, request: Request) -> Response:
        page = self._service.page.get("/")
        if _wants_json(request):
            answer: Response = JSONResponse((await self._find_out(request)).as_json(), headers=_fresh())
        elif page is not None:
            answer = page.answer(request)
        else:
            answer = await self._about(request)
        answer.headers["Vary"] = "Accept"
        return answer

    async def _about(self, request: Request) -> Response:
        return HTMLResponse(render(await self._find_out(request)), headers=_fresh())

    async def _find_out(self, request: Request) -> About:
        neighbours = tuple(Neighbour(name, _as_seen(url, request)) for name, url in self._neighbours.items())
        return await find_out(
            self._service.app,
            service=self._service.name,
            version=__version__,
            neighbours=neighbours,
            page="/" if "/" in self._service.page else None,
            faults=self._faults,
        )


def _fresh() -> dict[str, str]:
    return {**SECURITY, "Cache-Control": "no-store"}


def _as_seen(url: str, request: Request) -> str:
    """A neighbour's URL under the name by which this port was reached: `localhost` is another machine elsewhere."""
    host = request.url.hostname
    if not host:
        return url
    return f"{request.url.scheme}://{f'[{host}]' if ':' in host else host}:{urlsplit(url).port}"


def _wants_json(request: Request) -> bool:
    """Whether JSON is asked for by name, and HTML not before it."""
    for kind in request.headers.get("Accept", "").split(","):
        name = kind.partition(";")[0].strip().lower()
        if name in {"text/html", "application/xhtml+xml"}:
            return False
        if name == "application/json" or name.endswith("+json"):
            return True
    return False

"""The admin API at `/_faults`: add rules, list them, clear them, and see how often they struck."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from holdfast.servers.faults.grammar import FaultRuleError, parse_rules

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from holdfast.servers.faults.ledger import Ledger

__all__ = ["ADMIN_PATH", "Admin", "refusal"]

ADMIN_PATH = "/_faults"
MAX_RULE_BYTES = 64 * 1024


class Admin:
    """The API as an app of its own, around one ledger. It cannot be struck."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._app = Starlette(
            routes=[
                Route(ADMIN_PATH, self._add, methods=["POST"]),
                Route(ADMIN_PATH, self._list, methods=["GET"]),
                Route(ADMIN_PATH, self._clear, methods=["DELETE"]),
                Route(f"{ADMIN_PATH}/stats", self._stats, methods=["GET"]),
                Route(f"{ADMIN_PATH}/{{number:int}}", self._show_one, methods=["GET"]),
                Route(f"{ADMIN_PATH}/{{number:int}}", self._clear_one, methods=["DELETE"]),
            ],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request to the API."""
        await self._app(scope, receive, send)

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path belongs to the API."""
        return path == ADMIN_PATH or path.startswith(ADMIN_PATH + "/")

    async def _add(self, request: Request) -> JSONResponse:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_RULE_BYTES:
                return JSONResponse({"detail": f"body: more than {MAX_RULE_BYTES} bytes"}, status_code=413)
        try:
            rules = parse_rules(body)
        except FaultRuleError as error:
            return refusal(error.inside("body"))
        reports = [armed.report() for armed in self._ledger.add(rules)]
        single = len(reports) == 1 and not body.lstrip().startswith(b"[")
        return JSONResponse(reports[0] if single else {"rules": reports}, status_code=201)

    async def _list(self, request: Request) -> JSONResponse:
        return JSONResponse({"rules": [armed.report() for armed in self._ledger.added]})

    async def _clear(self, request: Request) -> JSONResponse:
        return JSONResponse({"cleared": self._ledger.clear()})

    async def _stats(self, request: Request) -> JSONResponse:
        ledger = self._ledger
        rules = [armed.report() for armed in ledger.added]
        return JSONResponse({"requests": ledger.requests, "struck": dict(ledger.struck), "rules": rules})

    async def _show_one(self, request: Request) -> JSONResponse:
        armed = self._ledger.get(request.path_params["number"])
        return _unknown(request) if armed is None else JSONResponse(armed.report())

    async def _clear_one(self, request: Request) -> JSONResponse:
        removed = self._ledger.remove(request.path_params["number"])
        return JSONResponse({"cleared": 1}) if removed else _unknown(request)


def refusal(error: FaultRuleError) -> JSONResponse:
    """A 422 whose `detail` is one line for people; `errors` has the same for programs."""
    return JSONResponse({"detail": str(error), "errors": error.errors}, status_code=422)


def _unknown(request: Request) -> JSONResponse:
    return JSONResponse({"detail": f"there is no rule {request.path_params['number']}"}, status_code=404)

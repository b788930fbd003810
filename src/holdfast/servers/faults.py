"""Failure injection for any route of any reference server, as ASGI middleware.

Rules are added at `/_faults`, or travel with one request as JSON in the header `X-Holdfast-Fault` (one rule or a list):

    POST /_faults   {"kind": "status", "status": 503, "path": "/msg", "rate": 0.3, "count": 10, "seed": 7}
    POST /_faults   {"kind": "latency", "seconds": 0.1, "up_to": 0.5}
    POST /_faults   {"kind": "rate_limit", "retry_after": 2, "method": "POST"}

The middleware is only installed by `holdfast serve --faults`; without it the path is a 404 and the header does nothing.
A fault is a wrapper around the app, so that one which waits, one which answers by itself and one which spoils the
body look alike. Rules that fire are nested in the order in which they were added, the first outermost.
"""

from __future__ import annotations

import asyncio
import random
from abc import abstractmethod
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from pydantic import ValidationInfo
    from pydantic_core import ErrorDetails
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["ADMIN_PATH", "HEADER", "FaultInjection", "Latency", "RateLimit", "Rule", "Status"]

ADMIN_PATH = "/_faults"
HEADER = "X-Holdfast-Fault"
MAX_RULE_BYTES = 64 * 1024
MAX_REMEMBERED = 10_000
"""For so many pairs of header and request id the state of their rules is kept."""

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Rule(BaseModel):
    """When a fault strikes. Subclasses say what it does.

    Attributes:
        rate: share of the matching requests that are struck.
        count: how often it strikes at most. A rule in a header counts per X-Request-ID, so over all attempts of one
            call; without that id every request stands for itself.
        method: only requests with this method.
        path: only this path and the paths below it.
        seed: makes the choice by `rate` repeatable.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    kind: str
    rate: float = Field(default=1.0, gt=0, le=1)
    count: int | None = Field(default=None, ge=1)
    method: Method | None = None
    path: str = Field(default="/", pattern=r"^/")
    seed: int | None = None

    def matches(self, method: str, path: str) -> bool:
        prefix = self.path.rstrip("/")
        return self.method in (None, method) and (path == prefix or path.startswith(prefix + "/"))

    @abstractmethod
    def wrap(self, app: ASGIApp, rand: random.Random) -> ASGIApp:
        """The app as it behaves for one request that is struck."""


class Status(Rule):
    """Answers with an error status and `{"detail": ...}`; the app is not asked."""

    kind: Literal["status"]
    status: int = Field(ge=400, le=599)
    detail: str = "Injected fault"

    def wrap(self, app: ASGIApp, rand: random.Random) -> ASGIApp:
        return JSONResponse({"detail": self.detail}, status_code=self.status)


class RateLimit(Rule):
    """Answers 429, with Retry-After in seconds if given; the app is not asked."""

    kind: Literal["rate_limit"]
    retry_after: int | None = Field(default=None, ge=0)

    def wrap(self, app: ASGIApp, rand: random.Random) -> ASGIApp:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return JSONResponse({"detail": "Too many requests"}, status_code=429, headers=headers)


class Latency(Rule):
    """Waits before the app is asked: `seconds`, or with `up_to` uniformly between the two."""

    kind: Literal["latency"]
    seconds: float = Field(ge=0, le=3600)
    up_to: float | None = Field(default=None, le=3600)

    @field_validator("up_to")
    @classmethod
    def _at_least_seconds(cls, up_to: float | None, info: ValidationInfo) -> float | None:
        if up_to is not None and up_to < info.data.get("seconds", 0.0):
            raise ValueError("must not be less than seconds")
        return up_to

    def wrap(self, app: ASGIApp, rand: random.Random) -> ASGIApp:
        wait = self.seconds if self.up_to is None else rand.uniform(self.seconds, self.up_to)

        async def delayed(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(wait)
            await app(scope, receive, send)

        return delayed


_AnyRule = Annotated[Status | RateLimit | Latency, Field(discriminator="kind")]
_ONE: TypeAdapter[Status | RateLimit | Latency] = TypeAdapter(_AnyRule)
_MANY: TypeAdapter[list[Status | RateLimit | Latency]] = TypeAdapter(list[_AnyRule])


class _Armed:
    """A rule and how often it has matched and struck."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.rand = random.Random(rule.seed)
        self.matched = 0
        self.struck = 0

    def strikes(self, method: str, path: str) -> bool:
        rule = self.rule
        if not rule.matches(method, path):
            return False
        self.matched += 1
        if self.struck == rule.count or (rule.rate < 1 and self.rand.random() >= rule.rate):
            return False
        self.struck += 1
        return True

    def report(self, number: int) -> dict[str, Any]:
        rule = self.rule.model_dump(mode="json", exclude_none=True)
        remaining = None if self.rule.count is None else self.rule.count - self.struck
        return {"id": number, **rule, "matched": self.matched, "struck": self.struck, "remaining": remaining}


class FaultInjection:
    """ASGI middleware with the admin API. State belongs to one app: every port has its own rules."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._rules: list[_Armed] = []
        self._from_headers: OrderedDict[tuple[str, str], list[_Armed]] = OrderedDict()
        self._requests = 0
        self._struck: Counter[str] = Counter()
        self._admin = Starlette(
            routes=[
                Route(ADMIN_PATH, self._add, methods=["POST"]),
                Route(ADMIN_PATH, self._list, methods=["GET"]),
                Route(ADMIN_PATH, self._clear, methods=["DELETE"]),
                Route(f"{ADMIN_PATH}/stats", self._stats, methods=["GET"]),
            ],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, spoiled by the rules that strike it."""
        app = self._app
        if scope["type"] == "http":
            path: str = scope["path"]
            if path == ADMIN_PATH or path.startswith(ADMIN_PATH + "/"):
                app = self._admin
            else:
                app = self._spoiled(scope)
        await app(scope, receive, send)

    def _spoiled(self, scope: Scope) -> ASGIApp:
        self._requests += 1
        headers = Headers(scope=scope)
        try:
            rules = self._rules + self._carried(headers)
        except ValidationError as error:
            return _refusal(error, "header", HEADER)
        struck = [armed for armed in rules if armed.strikes(scope["method"], scope["path"])]
        app = self._app
        for armed in reversed(struck):
            self._struck[armed.rule.kind] += 1
            app = armed.rule.wrap(app, armed.rand)
        return app

    def _carried(self, headers: Headers) -> list[_Armed]:
        """The rules in the request's header, as far used up as earlier attempts with the same request id left them."""
        text = headers.get(HEADER)
        if text is None:
            return []
        request_id = headers.get("X-Request-ID", "")
        found = self._from_headers.get((text, request_id)) if request_id else None
        if found is None:
            rules = _MANY.validate_json(text) if text.startswith("[") else [_ONE.validate_json(text)]
            found = [_Armed(rule) for rule in rules]
            if request_id:
                self._from_headers[text, request_id] = found
                if len(self._from_headers) > MAX_REMEMBERED:
                    self._from_headers.popitem(last=False)
        return found

    async def _add(self, request: Request) -> JSONResponse:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_RULE_BYTES:
                return JSONResponse({"detail": f"A rule has at most {MAX_RULE_BYTES} bytes"}, status_code=413)
        try:
            armed = _Armed(_ONE.validate_json(body))
        except ValidationError as error:
            return _refusal(error, "body")
        self._rules.append(armed)
        return JSONResponse(armed.report(len(self._rules)), status_code=201)

    async def _list(self, request: Request) -> JSONResponse:
        return JSONResponse({"rules": self._reports()})

    async def _clear(self, request: Request) -> JSONResponse:
        cleared = len(self._rules)
        self._rules.clear()
        self._from_headers.clear()
        self._struck.clear()
        self._requests = 0
        return JSONResponse({"cleared": cleared})

    async def _stats(self, request: Request) -> JSONResponse:
        return JSONResponse({"requests": self._requests, "struck": dict(self._struck), "rules": self._reports()})

    def _reports(self) -> list[dict[str, Any]]:
        return [armed.report(number) for number, armed in enumerate(self._rules, start=1)]


def _refusal(error: ValidationError, *where: str) -> JSONResponse:
    """A 422 in FastAPI's form. Each entry ends in the name of the field that is wrong."""
    details = [
        {"loc": [*where, *_field_of(entry)], "msg": entry["msg"], "type": entry["type"]} for entry in error.errors()
    ]
    return JSONResponse({"detail": details}, status_code=422)


def _field_of(entry: ErrorDetails) -> tuple[int | str, ...]:
    loc = entry["loc"]
    if entry["type"].startswith("union_tag"):
        return (*loc, "kind")
    # Below an entry of a list and the tag of the union: pydantic names the tag, the sender of the rule did not.
    at = 1 if loc and isinstance(loc[0], int) else 0
    return loc[:at] + loc[at + 1 :]

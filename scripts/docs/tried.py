"""Tables of what a real client does, found by letting it: nothing here says what should happen."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from holdfast import ClientConfig, HoldfastError, ResilientClient
from holdfast.testing import FaultTransport, Step, VirtualClock
from scripts.docs.markdown import table

_URL = "https://api.example.com"


def redirects() -> str:
    """What becomes of a request that is redirected."""
    rows = []
    for status in (301, 302, 303, 307, 308):
        for method in ("GET", "POST"):
            places = (f"{_URL}/there", "https://other.example.com/there")
            rows.append([f"`{status}`", method, *(_redirected(status, method, place) for place in places)])
    return table(("status", "method", "to the same origin", "to another origin"), rows)


def _redirected(status: int, method: str, place: str) -> str:
    def answer(request: httpx2.Request) -> Step:
        return Step(200) if request.url.path == "/there" else Step(status, headers={"Location": place})

    transport = FaultTransport(answer)
    body: dict[str, Any] = {"json": {"a": 1}} if method == "POST" else {}
    config = ClientConfig(base_url=_URL, headers={"Authorization": "secret"})
    with _quiet(), ResilientClient(config, transport=transport) as client:
        try:
            client.request(method, "/", headers={"X-Team": "a"}, **body).result()
        except HoldfastError as error:
            return f"refused: `{type(error).__name__}`"
    first, last = transport.requests
    kept = []
    if first.content:
        kept.append("body" if last.content else "no body")
    names = {"authorization": "credentials", "x-team": "headers", "x-request-id": "request id"}
    sent = [said for name, said in names.items() if name in last.headers]
    kept.append(", ".join(sent) if sent else "no headers of yours, no ids")
    return f"{last.method} with {'; '.join(kept)}"


def deadlines() -> str:
    """Where a deadline can pass, and what is said then."""
    steady = {"retry": {"jitter": False}}
    late = {"retry": {"jitter": False, "min_wait_seconds": 9.0}}
    one_a_minute = {"rate_limit": {"rate": 1, "period": 60}}
    slow, endless = Step(delay=60.0), {"timeout": None}
    shown = [
        (name, _failed(script, settings, {"deadline": 5.0, **options}, before=before))
        for name, script, settings, options, before in (
            ("in an attempt", [slow], steady, endless, 0),
            ("in the second attempt", [503, slow], steady, endless, 0),
            ("before a retry would begin", [503], late, {}, 0),
            ("before the time that the server asks for", [Step(429, headers={"Retry-After": "20"})], steady, {}, 0),
            ("waiting for the rate limiter", [200], one_a_minute, {}, 1),
        )
    ]
    return table(("it passes", "`str(error)`"), shown)


def refusals() -> str:
    """What is said about failures of each kind that end a call at once."""
    shown = [
        (name, _failed([step], {}, {"method": method}))
        for name, method, step in (
            ("a 404", "GET", Step(404)),
            ("a POST that got lost", "POST", Step(error=httpx2.ReadTimeout("timed out"))),
            ("`Retry-After: 86400`", "GET", Step(429, headers={"Retry-After": "86400"})),
            ("the last of three attempts", "GET", Step(500)),
        )
    ]
    return table(("failure", "`str(error)`"), shown)


def _failed(script: list[Any], settings: dict[str, Any], options: dict[str, Any], before: int = 0) -> str:
    config = ClientConfig(base_url=_URL).model_copy(update=settings)
    method = options.pop("method", "GET")

    async def main() -> str:
        async with ResilientClient(config, transport=FaultTransport(script)) as client:
            for _ in range(before):
                await client.get("/users")
            try:
                await client.request(method, "/users", **options)
            except HoldfastError as error:
                return f"`{type(error).__name__}`: {_anonymous(str(error))}"
        raise AssertionError("it did not fail")

    with _quiet(), VirtualClock():
        return asyncio.run(main())


def _anonymous(message: str) -> str:
    return re.sub(r"Request id [0-9a-f]{24}-\d+", "Request id ...", message)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the client's log lines to itself."""
    logger = logging.getLogger("resilient_client")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before

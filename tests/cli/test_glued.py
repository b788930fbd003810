"""The stack that Holdfast is compared with does what it is said to do: the comparison would be worthless otherwise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from holdfast.cli.demo.contestants import contestants
from holdfast.cli.demo.glued import CircuitOpen, GluedClient

FAST: dict[str, Any] = {"wait_initial": 0.0, "wait_max": 0.0, "wait_jitter": 0.0, "trust_env": False}


@pytest.fixture(autouse=True)
def _silent():
    contestants()  # turns stamina's own log off, as the demo does


def run(
    respond: Callable[[httpx2.Request], httpx2.Response], *calls: tuple[str, str], **options: Any
) -> tuple[list[Any], list[httpx2.Request]]:
    """What each call came to, and what was sent."""
    sent: list[httpx2.Request] = []

    def remember(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return respond(request)

    async def main() -> list[Any]:
        transport = httpx2.MockTransport(remember)
        async with GluedClient(base_url="http://s.test", transport=transport, **{**FAST, **options}) as client:
            ends: list[Any] = []
            for method, url in calls:
                try:
                    ends.append((await client.request(method, url, {"a": 1})).status_code)
                except (httpx2.HTTPError, CircuitOpen) as error:
                    ends.append(type(error))
            return ends

    return asyncio.run(main()), sent


def script(*statuses: int, **headers: str) -> Callable[[httpx2.Request], httpx2.Response]:
    left = list(statuses)
    return lambda request: httpx2.Response(left.pop(0), headers=headers)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_it_tries_again_with_the_same_id(status):
    ends, sent = run(script(status, status, 200), ("POST", "/x"))
    assert ends == [200] and len({request.headers["X-Request-ID"] for request in sent}) == 1
    assert [request.content for request in sent] == [b'{"a":1}'] * 3


def test_it_heeds_retry_after_and_nothing_else_in_that_header():
    before = time.monotonic()
    ends, sent = run(script(429, 200, **{"Retry-After": "0"}), ("GET", "/x"), wait_initial=8.0, wait_max=8.0)
    assert ends == [200] and len(sent) == 2
    assert time.monotonic() - before < 6
    ends, sent = run(script(429, 200, **{"Retry-After": "soon"}), ("GET", "/x"))
    assert ends == [200] and len(sent) == 2


def test_it_repeats_whatever_broke_whatever_the_method():
    def reset(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadError("reset")

    ends, sent = run(reset, ("POST", "/x"))
    assert ends == [httpx2.ReadError] and len(sent) == 3


def test_it_gives_up_on_the_callers_faults_which_do_not_open_the_breaker():
    ends, sent = run(lambda request: httpx2.Response(404), *[("GET", "/x")] * 8)
    assert ends == [httpx2.HTTPStatusError] * 8 and len(sent) == 8


def test_its_breaker_opens_after_failed_calls_and_closes_again():
    ends, sent = run(lambda request: httpx2.Response(500), *[("GET", "/x")] * 4, attempts=1, failures=2)
    assert ends == [httpx2.HTTPStatusError] * 2 + [CircuitOpen] * 2 and len(sent) == 2
    ends, _ = run(script(500, 500, 200, 200), *[("GET", "/x")] * 4, attempts=1, failures=2, recovery=0.0)
    assert ends == [httpx2.HTTPStatusError] * 2 + [200, 200]

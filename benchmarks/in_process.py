"""Calls that leave the process in nothing: what a client itself costs."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from typing import Any

import httpx2

from holdfast import ClientConfig, ResilientClient
from holdfast.cli.demo.glued import GluedClient
from timing import Async, Times, contest, contest_sync

URL = "http://service.test"
PATH = "/pets/7"
BODY = {"name": "Rex", "tags": ["dog", "brown"], "age": 7}

EVERYTHING: dict[str, Any] = {
    "base_url": URL,
    "rate_limit": {"rate": 1_000_000.0, "burst": 1_000_000},
}
"""Every layer on, as the rate limiter is not by itself: it never waits. The cache is there, and asked for nothing."""

LOOKED_UP = {**EVERYTHING, "cache": {"from_response": True}}
"""The same, with every GET looked up in the cache, which finds that the answer must not be kept."""


def respond(request: httpx2.Request) -> httpx2.Response:
    del request
    return httpx2.Response(200, content=b'{"id":7}')


class NoSend:
    """An engine that sends nothing."""

    caps: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self._response = httpx2.Response(200, content=b'{"id":7}')

    async def send(self, job: Any) -> httpx2.Response:
        return self._response

    async def aclose(self) -> None:
        """Nothing to close."""


def client(settings: dict[str, Any] | None = None) -> ResilientClient:
    config = ClientConfig.model_validate(settings or {"base_url": URL})
    return ResilientClient(config, transport=httpx2.MockTransport(respond))


def without_sending(made: ResilientClient) -> ResilientClient:
    """The client with an engine that does nothing, on the running event loop."""
    made._assembly.connections.driver(asyncio.get_running_loop()).engine = NoSend()  # noqa: SLF001  # the seam itself
    return made


def _gets(one: Any) -> Async:
    async def run(calls: int) -> None:
        get = one.get
        for _ in range(calls):
            await get(PATH)

    return run


def _posts(one: Any) -> Async:
    async def run(calls: int) -> None:
        post = one.post
        for _ in range(calls):
            await post(PATH, json=BODY)

    return run


def _hits(one: ResilientClient) -> Async:
    async def run(calls: int) -> None:
        get = one.get
        for _ in range(calls):
            await get(PATH, cache_ttl=60)

    return run


def quiet() -> None:
    """Logging off, as in all that is compared."""
    for name in ("resilient_client", "holdfast", "holdfast.contextiq", "httpx2", "glued", "stamina"):
        logging.getLogger(name).setLevel(logging.WARNING)


async def measure_async(calls: int, seconds: float) -> Times:
    quiet()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        bare = await enter(httpx2.AsyncClient(base_url=URL, transport=httpx2.MockTransport(respond)))
        contestants: dict[str, Async] = {
            "bare": _gets(bare),
            "glued": _gets(await enter(GluedClient(base_url=URL, transport=httpx2.MockTransport(respond)))),
            "everything": _gets(await enter(client(EVERYTHING))),
            "looked up": _gets(await enter(client(LOOKED_UP))),
            "default": _gets(await enter(client())),
            "no send": _gets(without_sending(await enter(client()))),
            "no send, everything": _gets(without_sending(await enter(client(EVERYTHING)))),
            "hit": _hits(await enter(client())),
            "bare post": _posts(bare),
            "post": _posts(await enter(client())),
        }
        return await contest(contestants, calls=calls, seconds=seconds, clock=time.process_time)


def measure_sync(calls: int, seconds: float) -> Times:
    quiet()
    with (
        httpx2.Client(base_url=URL, transport=httpx2.MockTransport(respond)) as bare,
        client() as default,
        client(EVERYTHING) as everything,
    ):

        def gets_bare(calls: int) -> None:
            for _ in range(calls):
                bare.get(PATH)

        def gets_default(calls: int) -> None:
            for _ in range(calls):
                default.get(PATH).result()

        def gets_everything(calls: int) -> None:
            for _ in range(calls):
                everything.get(PATH).result()

        contestants = {"bare": gets_bare, "default": gets_default, "everything": gets_everything}
        return contest_sync(contestants, calls=calls, seconds=seconds, clock=time.process_time)

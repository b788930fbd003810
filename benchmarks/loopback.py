"""Calls over the loopback interface, many at a time, to a server in a process of its own."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from holdfast import ClientConfig, ResilientClient
from in_process import quiet
from timing import Async, Times, contest

IN_FLIGHT = 64
PATH = "/pets/7"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The least that an ASGI app can do."""
    del receive
    if scope["type"] == "http":
        headers = [(b"content-type", b"application/json"), (b"content-length", b"8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"id":7}'})


def serve(descriptor: int) -> None:
    """Serves on a listening socket until it is terminated."""
    import uvicorn

    config = uvicorn.Config(app, log_level="error", lifespan="off", access_log=False, timeout_keep_alive=600)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


@contextmanager
def server() -> Iterator[str]:
    """A server on a free port; gives its URL."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        descriptor = listening.fileno()
        os.set_inheritable(descriptor, True)
        process = subprocess.Popen([sys.executable, __file__, str(descriptor)], pass_fds=(descriptor,))
    try:
        _wait(url)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _wait(url: str) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            httpx2.get(url, trust_env=False)
        except httpx2.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


def _crowd(one: Any) -> Async:
    async def run(calls: int) -> None:
        left = iter(range(calls))

        async def caller() -> None:
            for _ in left:
                response = await one.get(PATH)
                assert response.status_code == 200

        await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))

    return run


async def measure(calls: int, seconds: float) -> Times:
    quiet()
    with server() as url:
        # The same pool for both: as many connections as calls in flight, all of them kept.
        limits = httpx2.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
        settings = {"base_url": url, "trust_env": False, "bulkhead": {"max_concurrency": IN_FLIGHT}}
        config = ClientConfig.model_validate(settings)
        async with (
            httpx2.AsyncClient(base_url=url, limits=limits, trust_env=False) as bare,
            ResilientClient(config) as ours,
            ResilientClient(config.model_copy(update={"engine": "native"})) as native,
        ):
            crowds = {"bare": _crowd(bare), "ours": _crowd(ours), "native": _crowd(native)}
            return await contest(crowds, calls=calls, seconds=seconds, clock=time.perf_counter)


if __name__ == "__main__":
    serve(int(sys.argv[1]))

"""The same test in both colours: with ``await`` on an event loop, and with ``result()`` on a thread."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, TypeVar

import httpx2

from holdfast import ClientConfig, ResilientClient
from holdfast.call import Call
from holdfast.stream_call import StreamCall

T = TypeVar("T")

QUICK: dict[str, Any] = {"retry": {"min_wait_seconds": 0.0, "max_wait_seconds": 0.0}, "trust_env": False}
"""Settings under which retries do not wait, and nothing of the machine matters."""


def config(base_url: str, **settings: Any) -> ClientConfig:
    """A configuration that retries at once; a mapping for a part changes only what it names."""
    return ClientConfig(base_url=base_url).model_copy(update=QUICK).model_copy(update=settings)


def is_a(error: object, kind: type[BaseException]) -> bool:
    """As isinstance, but what is said about an error afterwards is not checked against that one class."""
    return isinstance(error, kind)


class Colour:
    """One who uses clients in one colour, and with one engine; None for what the configuration says."""

    def __init__(self, *, sync: bool, engine: str | None = None) -> None:
        self.sync = sync
        self._settings = {} if engine is None else {"engine": engine}
        self._runner = asyncio.Runner()
        self._clients: list[ResilientClient] = []
        self._given: list[httpx2.Client | httpx2.AsyncClient] = []

    def client(self, base_url: str, *, observers: Any = (), **settings: Any) -> ResilientClient:
        """A client that is closed after the test."""
        client = ResilientClient(config(base_url, **self._settings | settings), observers=observers)
        self._clients.append(client)
        return client

    def given(self, base_url: str, http_client: Any, **settings: Any) -> ResilientClient:
        """A client with an httpx2 client of the caller's own, which is closed after the test too."""
        client = ResilientClient(config(base_url, **settings), http_client=http_client)
        self._clients.append(client)
        self._given.append(http_client)
        return client

    def httpx_client(self, **settings: Any) -> httpx2.Client | httpx2.AsyncClient:
        """An httpx2 client of this colour."""
        return httpx2.Client(**settings) if self.sync else httpx2.AsyncClient(**settings)

    def __call__(self, call: Call[T]) -> T:
        """The call's result."""
        return call.result() if self.sync else self.run(call)

    def error(self, call: Call[Any], kind: type[Exception] = Exception) -> Any:
        """What the call raises."""
        try:
            response = self(call)
        except kind as error:
            return error
        raise AssertionError(f"nothing was raised, but there was {response!r}")

    def streamed(self, stream: StreamCall) -> bytes:
        """The whole body of a streamed call."""
        if self.sync:
            with stream as response:
                return b"".join(response.iter_bytes())

        async def read() -> bytes:
            async with stream as response:
                return b"".join([chunk async for chunk in response.aiter_bytes()])

        return self.run(read())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs on this test's event loop."""

        async def main() -> T:
            return await coroutine

        # In the context of the caller: a runner would else stay in that of its first run.
        return self._runner.run(main(), context=contextvars.copy_context())

    def close(self) -> None:
        for client in self._clients:
            if self.sync:
                client.close().result()
            else:
                self.run(client.close())
        for given in self._given:
            if isinstance(given, httpx2.Client):
                given.close()
            else:
                self.run(given.aclose())
        self._runner.close()

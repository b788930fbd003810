"""Where the servers of an act run: free loopback ports, a thread of their own, and an end that comes in any case."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

import uvicorn

from holdfast import _loops
from holdfast.servers.faults import FaultProtocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["Stage"]

_START_SECONDS = 20.0


class Stage:
    """Serves apps on free ports of the loopback interface while the block runs.

    Args:
        apps: one server for each. `FaultInjection` finds the wire here, so that it can do all it knows.
        lifespans: entered before anything is served, on the servers' event loop, and left when nothing is any more.

    Attributes:
        urls: where they answer, in the order of `apps`.

    Entering it raises what a lifespan raises.
    """

    def __init__(
        self, apps: Sequence[ASGIApp], lifespans: Sequence[Callable[[], AbstractAsyncContextManager[object]]] = ()
    ) -> None:
        self._sockets = [_listener() for _ in apps]
        self.urls = [f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in self._sockets]
        self._servers = [uvicorn.Server(_config(app)) for app in apps]
        self._lifespans = lifespans
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="holdfast-demo", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        until = time.monotonic() + _START_SECONDS
        try:
            while not all(server.started for server in self._servers):
                if not self._thread.is_alive() or time.monotonic() > until:
                    raise self._error or RuntimeError("the servers of the demo did not start")
                time.sleep(0.01)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        for server in self._servers:
            server.should_exit = True
        self._thread.join(5.0)
        for listener in self._sockets:
            listener.close()

    def _run(self) -> None:
        try:
            _loops.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised where the servers are waited for
            self._error = error

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            for lifespan in self._lifespans:
                await stack.enter_async_context(lifespan())
            # In a thread that is not the main one, uvicorn leaves signals alone.
            await asyncio.gather(
                *(server.serve([listener]) for server, listener in zip(self._servers, self._sockets, strict=True))
            )


def _listener() -> socket.socket:
    # asyncio sets TCP_NODELAY only on sockets that name their protocol; without it every answer takes 40 ms more.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="none",  # `_run` has chosen it
        http=FaultProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )

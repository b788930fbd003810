"""The engines of one client: one for sync use, one for every event loop, made when first needed."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import ssl
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx2

from holdfast.config import ClientConfig
from holdfast.http.cookies import OriginJar
from holdfast.http.drive_async import AsyncDriver
from holdfast.http.drive_sync import SyncDriver
from holdfast.http.engines.base import Engine, SyncEngine
from holdfast.http.engines.httpx2_engine import AsyncHttpx2Engine, SyncHttpx2Engine
from holdfast.http.proxies import environment_proxies
from holdfast.http.runtime import Runtime

_log = logging.getLogger("holdfast")


class WrongColour(RuntimeError):
    """A client or transport of the caller's own does not fit this use: async where sync is needed, or vice versa."""


class Connections:
    """Makes and keeps the drivers, each with its engine.

    Args:
        http_client: the caller's own `httpx2.AsyncClient` or `httpx2.Client`; stays open when this is closed.
        transport: the caller's own transport of either colour, or of both; closed with this.

    Attributes:
        last: the driver that was asked for last, most likely the one that is needed next.
    """

    def __init__(
        self,
        config: ClientConfig,
        runtime: Runtime,
        jar: OriginJar,
        *,
        http_client: httpx2.AsyncClient | httpx2.Client | None = None,
        transport: httpx2.AsyncBaseTransport | httpx2.BaseTransport | None = None,
    ) -> None:
        self._config = config
        self._runtime = runtime
        self._jar = jar
        self._http_client = http_client
        self._transport = transport
        self._tls: bool | ssl.SSLContext | None = None
        # Reentrant, for the garbage collector may run inside, and with it finalizers that use the client.
        self._making = threading.RLock()
        runtime.tidy = self.let_go
        self.last: AsyncDriver | None = None
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncDriver] = weakref.WeakKeyDictionary()
        self._sync: SyncDriver | None = None

    def driver(self, loop: asyncio.AbstractEventLoop) -> AsyncDriver:
        """The driver for the running event loop."""
        with self._making:
            driver = self._by_loop.get(loop)
            if driver is None:
                self.let_go()
                driver = AsyncDriver(self._runtime, self._async_engine(), loop)
                self._by_loop[loop] = driver
            self.last = driver
        return driver

    def let_go(self) -> None:
        """Drops the pools of closed loops. They refer to their loops, so that being weakly keyed does not suffice."""
        with self._making:
            closed = [loop for loop in self._by_loop if loop.is_closed()]
            if not closed:
                return
            drivers = [self._by_loop.pop(loop) for loop in closed]
            if self.last in drivers:
                self.last = None
        # Calls that can never end hold slots that somebody is about to wait for. The garbage collector would not do: it
        # ends flows without the lock, and none while another one in a queue refers to the loop.
        for driver in drivers:
            for _, flow in list(driver.deadlines.busy.values()):
                self._runtime.bury(flow)

    def sync_driver(self) -> SyncDriver:
        """The driver for the calling thread."""
        driver = self._sync
        if driver is None:
            with self._making:
                driver = self._sync
                if driver is None:
                    driver = self._sync = SyncDriver(self._runtime, self._sync_engine())
        return driver

    def _async_engine(self) -> Engine:
        why = self.why_not_native()
        _log.debug("engine under asyncio: %s", "native" if why is None else f"httpx2 ({why})")
        if why is not None:
            return self._httpx2_engine()
        from holdfast.http.engines.native_async import AsyncNativeEngine

        settings = self._arguments()
        return AsyncNativeEngine(settings["verify"], settings["limits"], self._jar, self._httpx2_engine)

    def why_not_native(self) -> str | None:
        """What of this client only httpx2's connections can do; None if ours are to be used."""
        config = self._config
        if self._http_client is not None:
            return "http_client was handed in"
        if self._transport is not None:
            return "a transport was handed in"
        if config.engine == "httpx2":
            return "engine='httpx2'"
        if config.http2:
            return "http2=True"
        if config.proxy is not None:
            return "proxy is set"
        if config.trust_env and any(environment_proxies().values()):
            return "the environment names a proxy"
        return None

    def _httpx2_engine(self) -> AsyncHttpx2Engine:
        client = self._http_client
        if client is not None:
            if not isinstance(client, httpx2.AsyncClient):
                raise WrongColour("http_client is an httpx2.Client: use .result(), or hand in an httpx2.AsyncClient")
            return AsyncHttpx2Engine(client, self._jar, owned=False, given=True)
        if self._transport is not None and not hasattr(self._transport, "handle_async_request"):
            raise WrongColour("transport is a sync one: use .result(), or hand in an httpx2.AsyncBaseTransport")
        if self._transport is not None:
            given = httpx2.AsyncClient(transport=self._transport, **self._arguments())  # type: ignore[arg-type]
            return AsyncHttpx2Engine(given, given=True)
        # Here, because this is where httpcore2 is first needed, which takes a while to import.
        from holdfast.http.engines.async_transport import AsyncTransport

        return AsyncHttpx2Engine(httpx2.AsyncClient(**self._own(AsyncTransport)))

    def _sync_engine(self) -> SyncEngine:
        why = self.why_not_native()
        _log.debug("engine in sync use: %s", "native" if why is None else f"httpx2 ({why})")
        if why is not None:
            return self._sync_httpx2_engine()
        from holdfast.http.engines.native_sync import SyncNativeEngine

        settings = self._arguments()
        return SyncNativeEngine(settings["verify"], settings["limits"], self._jar, self._sync_httpx2_engine)

    def _sync_httpx2_engine(self) -> SyncHttpx2Engine:
        client = self._http_client
        if client is not None:
            if not isinstance(client, httpx2.Client):
                raise WrongColour("http_client is an httpx2.AsyncClient: use await, or hand in an httpx2.Client")
            return SyncHttpx2Engine(client, self._jar, owned=False, given=True)
        if self._transport is not None and not hasattr(self._transport, "handle_request"):
            raise WrongColour("transport is an async one: use await, or hand in an httpx2.BaseTransport")
        if self._transport is not None:
            given = httpx2.Client(transport=self._transport, **self._arguments())  # type: ignore[arg-type]
            return SyncHttpx2Engine(given, given=True)
        from holdfast.http.engines.sync_transport import SyncTransport  # here, as above

        return SyncHttpx2Engine(httpx2.Client(**self._own(SyncTransport)), cuts=True)

    def _own(self, transport: Callable[..., Any]) -> dict[str, Any]:
        """The arguments of a client on transports of our own.

        httpx2's would, in sync use, give every single read its whole timeout, and under asyncio leave open what a
        cancelled task was about to open.
        """
        settings = self._arguments()
        context, limits, proxy = settings.pop("verify"), settings.pop("limits"), settings.pop("proxy")
        http2, trust_env = settings.pop("http2"), settings["trust_env"]
        if proxy is not None:
            proxies: dict[str, str | None] = {"all://": proxy}
        else:
            proxies = environment_proxies() if trust_env else {}
        make = partial(transport, context, http2=http2, limits=limits)
        mounts = {pattern: None if url is None else make(proxy=httpx2.Proxy(url)) for pattern, url in proxies.items()}
        return {"transport": make(), "mounts": mounts, **settings}

    def _arguments(self) -> dict[str, Any]:
        config = self._config
        if self._tls is None:
            tls = config.tls()
            if isinstance(tls, bool) and self._transport is None:
                places = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")) if config.trust_env else ()
                tls = _default_context(tls, config.trust_env, places)
            self._tls = tls
        size = config.max_connections or config.bulkhead.max_concurrency
        kept = config.max_keepalive_connections
        return {
            "verify": self._tls,
            "http2": config.http2,
            "proxy": config.proxy,
            "trust_env": config.trust_env,
            "limits": httpx2.Limits(
                max_connections=size,
                max_keepalive_connections=size if kept is None else kept,
                keepalive_expiry=config.keepalive_expiry,
            ),
            "timeout": httpx2.Timeout(**config.timeout.seconds()),
            "cookies": self._jar,
        }

    async def aclose(self) -> None:
        """Closes everything, from async code: what belongs to other loops is closed there."""
        running = asyncio.get_running_loop()
        if self._sync is not None:
            self._sync.close()
        own: AsyncDriver | None = None
        drivers = self._take()
        if not drivers and self._sync is None:
            await self._close_unused()
        for loop, driver in drivers:
            if loop is running:
                own = driver
            else:
                _close_elsewhere(loop, driver)
        if own is not None:
            await own.aclose()

    def close(self) -> None:
        """Closes everything, from sync code. An async transport that was never used stays as it is."""
        drivers = self._take()
        for loop, driver in drivers:
            _close_elsewhere(loop, driver)
        if self._sync is not None:
            self._sync.close()
        elif not drivers and isinstance(self._transport, httpx2.BaseTransport):
            transport, self._transport = self._transport, None
            transport.close()

    async def _close_unused(self) -> None:
        """Closes a transport of the caller's own that no engine was made with."""
        transport, self._transport = self._transport, None
        if isinstance(transport, httpx2.AsyncBaseTransport):
            await transport.aclose()
        elif transport is not None:
            transport.close()

    def _take(self) -> list[tuple[asyncio.AbstractEventLoop, AsyncDriver]]:
        with self._making:
            drivers = list(self._by_loop.items())
            self._by_loop.clear()
            self.last = None
        return drivers

    def forget(self) -> None:
        """Drops every pool unclosed: in a forked child the sockets are the parent's."""
        self._making = threading.RLock()
        _orphans.append((os.getpid(), self._by_loop, self._sync))
        self._by_loop = weakref.WeakKeyDictionary()
        self.last = None
        self._sync = None


@functools.lru_cache(maxsize=8)
def _default_context(
    verify: bool,  # noqa: FBT001  # a setting, as httpx2 has it
    trust_env: bool,  # noqa: FBT001
    places: tuple[str | None, ...],  # noqa: ARG001  # part of the key: where certificates are looked for
) -> ssl.SSLContext:
    """The context for these settings: loading certificates takes as long as hundreds of requests, so once for all."""
    return httpx2.create_ssl_context(verify=verify, trust_env=trust_env)


_orphans: list[object] = []
"""Pools of a parent process. Kept, because closing a TLS connection in the child would end it for the parent."""


def _close_elsewhere(loop: asyncio.AbstractEventLoop, driver: AsyncDriver) -> None:
    if loop.is_closed():
        return
    if loop.is_running():
        asyncio.run_coroutine_threadsafe(driver.aclose(), loop)

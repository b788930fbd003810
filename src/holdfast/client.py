"""`ResilientClient`: an HTTP client that survives the services it calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from holdfast.call import ONLY_ASYNCIO, Call, returns_call
from holdfast.config import ClientConfig
from holdfast.http.options import OF_THE_CACHE, BodyOptions, RequestOptions, check, check_cached, check_defaults, merged
from holdfast.stream_call import StreamCall

if TYPE_CHECKING:
    # httpx2 and what a client is made of are loaded with the first client, to be quick to import.
    import httpx2

    from holdfast.core.breaker import Breaker
    from holdfast.core.events import Observer
    from holdfast.core.outcome import Stop
    from holdfast.http.assembly import Assembly
    from holdfast.http.controls import BulkheadControl, CacheControl, CircuitBreakerControl, RateLimiterControl
    from holdfast.http.prepared import Prepared
    from holdfast.lint import HandedIn
    from holdfast.telemetry.metrics import MetricsSnapshot

_NONE: Mapping[str, Any] = {}


class ResilientClient:
    """An HTTP client with retries, circuit breaker, bulkhead, rate limiter, cache and deadlines around httpx2.

    Its methods return a `Call` that sends nothing until it is awaited, or asked for its `result()` in sync code::

        async with ResilientClient(ClientConfig(base_url="https://api.example.com")) as client:
            response = await client.get("/users")

        with ResilientClient(ClientConfig(base_url="https://api.example.com")) as client:
            response = client.get("/users").result()

    One client serves threads and several event loops at once, and survives a fork. Responses with a status of 400 and
    above are raised as exceptions (`holdfast.exceptions`).

    Args:
        config: all settings; `base_url` is required there.
        http_client: an `httpx2.AsyncClient` or `httpx2.Client` of your own to send with; it stays yours to close. Its
            headers, cookies, auth and params are used, its timeouts and redirects are not.
        transport: a transport of your own to send with, closed with this client.
        observers: called with every event (`holdfast.core.events`), outside all locks. What one raises is logged.

    Raises:
        TypeError: no `ClientConfig`, or both a client and a transport of your own.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        http_client: httpx2.AsyncClient | httpx2.Client | None = None,
        transport: httpx2.AsyncBaseTransport | httpx2.BaseTransport | None = None,
        observers: tuple[Observer, ...] | list[Observer] = (),
    ) -> None:
        import httpx2

        from holdfast.http.assembly import Assembly
        from holdfast.telemetry.logs import Logs
        from holdfast.telemetry.metrics import Metrics

        if not isinstance(config, ClientConfig):
            kind = type(config).__name__  # type: ignore[unreachable]  # not everybody type-checks
            raise TypeError(f"config must be a holdfast.ClientConfig, not {kind}")
        if http_client is not None and transport is not None:
            raise TypeError("http_client and transport cannot be given together: a client has its own transport")
        if http_client is not None and not isinstance(http_client, (httpx2.AsyncClient, httpx2.Client)):
            kind = type(http_client).__name__  # type: ignore[unreachable]
            raise TypeError(f"http_client must be an httpx2.AsyncClient or httpx2.Client, not {kind}")
        if transport is not None and (isinstance(transport, type) or not _is_transport(transport)):
            raise TypeError(f"transport must be a transport of httpx2, not {transport!r}")
        listed: object = observers
        if not isinstance(listed, (tuple, list)) or not all(map(callable, listed)):
            raise TypeError(f"observers must be a tuple or list of callables, not {observers!r}")
        settings = config.logging
        logs = Logs(
            settings.logger_name,
            logging.getLevelNamesMapping()[settings.level],
            include_request_id=settings.include_request_id,
        )
        self._metrics = Metrics()
        self._assembly = Assembly(
            config,
            logs=logs,
            verbosity=logs.verbosity,
            record=self._metrics.record,
            observers=tuple(observers),
            http_client=http_client,
            transport=transport,
        )
        self._defaults: Mapping[str, Any] = _NONE
        for warning in config.lint(_blocks(http_client, transport)):
            logs.found(warning.message, code=warning.code, fields=warning.fields)

    # Requests

    @returns_call
    def get(self, url: str | httpx2.URL, **options: Unpack[RequestOptions]) -> Call[httpx2.Response]:
        """A GET. For the keywords of all request methods see `RequestOptions` and `BodyOptions`."""
        return self._call("GET", url, options)

    @returns_call
    def head(self, url: str | httpx2.URL, **options: Unpack[RequestOptions]) -> Call[httpx2.Response]:
        """A HEAD."""
        return self._call("HEAD", url, options)

    @returns_call
    def options(self, url: str | httpx2.URL, **options: Unpack[RequestOptions]) -> Call[httpx2.Response]:
        """An OPTIONS."""
        return self._call("OPTIONS", url, options)

    @returns_call
    def post(self, url: str | httpx2.URL, **options: Unpack[BodyOptions]) -> Call[httpx2.Response]:
        """A POST. Repeated after an ambiguous failure only with a key that the server deduplicates by."""
        return self._call("POST", url, options)

    @returns_call
    def put(self, url: str | httpx2.URL, **options: Unpack[BodyOptions]) -> Call[httpx2.Response]:
        """A PUT."""
        return self._call("PUT", url, options)

    @returns_call
    def patch(self, url: str | httpx2.URL, **options: Unpack[BodyOptions]) -> Call[httpx2.Response]:
        """A PATCH. Repeated as a POST is."""
        return self._call("PATCH", url, options)

    @returns_call
    def delete(self, url: str | httpx2.URL, **options: Unpack[RequestOptions]) -> Call[httpx2.Response]:
        """A DELETE."""
        return self._call("DELETE", url, options)

    @returns_call
    def request(self, method: str, url: str | httpx2.URL, **options: Unpack[BodyOptions]) -> Call[httpx2.Response]:
        """A request with any method. Methods that are not known to be idempotent are replayed as a POST is."""
        return self._call(method, url, options)

    def stream(self, method: str, url: str | httpx2.URL, **options: Unpack[BodyOptions]) -> StreamCall:
        """A request whose body is read by the caller, inside ``async with`` or ``with``.

        The client's deadline ends at the response's head; a `deadline` given here holds for the body too.
        """
        ends: list[Any] = []
        prepared = (method, url, self._options(options), ends)
        check_cached("stream", options)
        return StreamCall(Call(self._assembly, prepared), ends)

    def _call(self, method: str, url: str | httpx2.URL, options: Mapping[str, Any]) -> Call[httpx2.Response]:
        if options or self._defaults:
            if method != "GET" and not OF_THE_CACHE.isdisjoint(options):
                check_cached(method, options)
            options = self._options(options)
        return Call(self._assembly, (method, url, options, None))

    def prepared(self, method: str, url: str, options: Mapping[str, Any]) -> Prepared:
        """What a call by this view is asked for. For service clients, which check options and make calls themselves."""
        return method, url, merged(self._defaults, options) if self._defaults else options, None

    def _options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The options of this view with those of one call in front."""
        if options:
            check(options)
        return merged(self._defaults, options) if self._defaults else options

    def with_options(self, **options: Unpack[RequestOptions]) -> Self:
        """A view of this client whose calls all have these options, unless they say otherwise themselves.

        It shares everything with this client: connections, state, cache; closing one closes both.

        Raises:
            TypeError, ValueError: names the option that is wrong.
        """
        check_defaults(options)
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._defaults = self._options(options) if self._defaults else dict(options)
        return view

    # State

    @property
    def config(self) -> ClientConfig:
        """The settings that the client was made with. Changing them later changes nothing."""
        return self._assembly.config

    @property
    def cookies(self) -> httpx2.Cookies:
        """The cookies of the origin of `base_url`. They go to no other."""
        import httpx2

        return httpx2.Cookies(self._assembly.jar)

    @property
    def circuit_breaker(self) -> CircuitBreakerControl:
        """The circuit breaker of the origin of `base_url`."""
        return self.circuit_breaker_of(self._assembly.origins.own)

    def circuit_breaker_of(self, url: str, key: str | None = None) -> CircuitBreakerControl:
        """The circuit breaker of the origin of a URL, or of a key in it (see `CircuitBreakerConfig.key`)."""
        from holdfast.http.controls import CircuitBreakerControl

        assembly = self._assembly
        origin = assembly.origins.target(url).origin

        def find() -> Breaker | None:
            return assembly.pipeline.breaker(origin, key)

        return CircuitBreakerControl(assembly.runtime, find)

    @property
    def rate_limiter(self) -> RateLimiterControl:
        """The rate limiter of the origin of `base_url`."""
        return self.rate_limiter_of(self._assembly.origins.own)

    def rate_limiter_of(self, url: str, key: str | None = None) -> RateLimiterControl:
        """The rate limiter of the origin of a URL, or of a key in it (see `RateLimitConfig.key`)."""
        from holdfast.http.controls import RateLimiterControl

        assembly = self._assembly
        origin = assembly.origins.target(url).origin
        return RateLimiterControl(assembly.runtime, lambda: assembly.pipeline.limiter(origin, key))

    @property
    def bulkhead(self) -> BulkheadControl:
        """How many attempts are in flight, and how many wait."""
        from holdfast.http.controls import BulkheadControl

        return BulkheadControl(self._assembly.runtime, self._assembly.pipeline.bulkhead)

    @property
    def cache(self) -> CacheControl:
        """The answers that are kept."""
        from holdfast.http.controls import CacheControl

        assembly = self._assembly
        return CacheControl(assembly.runtime, assembly.cache, lambda url: assembly.origins.target(url).path)

    def metrics(self) -> MetricsSnapshot:
        """Counts, error rates and latencies of all calls so far, in all and per origin, and which engine sends."""
        engine = self._engine()
        with self._assembly.runtime:
            return self._metrics.snapshot(engine)

    def _engine(self) -> str:
        return "native" if self._assembly.connections.why_not_native() is None else "httpx2"

    # Life

    @property
    def is_closed(self) -> bool:
        """Whether the client takes no more calls."""
        return self._assembly.closed

    async def _ensure_initialized(self) -> None:
        """Makes the connection pool of the running event loop now rather than with the first call."""
        if self._assembly.closed:
            raise self._assembly.failures.closed()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(f"a client can only be used by 'async with' {ONLY_ASYNCIO}") from None
        self._assembly.connections.driver(loop)

    @returns_call
    def close(self) -> Call[None]:
        """Closes the client: awaited, or in sync code by ``close().result()``. Safe to do twice.

        Calls that wait fail with a ClientClosedError, those in flight lose their connection. A client or transport that
        was handed in: see there.
        """
        closing = _Closing(self._assembly)
        return Call(closing, closing)

    aclose = close

    async def __aenter__(self) -> Self:
        await self._ensure_initialized()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __enter__(self) -> Self:
        if self._assembly.closed:
            raise self._assembly.failures.closed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _Closing(self._assembly).run(None)

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "open"
        engine = ", native engine" if self._engine() == "native" else ""
        return f"<{type(self).__name__} {self._assembly.config.base_url} ({state}){engine}>"


class _Closing:
    """The source, and the request, of the call that closes a client."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly

    async def start(self, request: Any, task: Any, loop: Any, owner: Call[None]) -> None:
        try:
            self._assembly.shut()
            await self._assembly.connections.aclose()
        except BaseException as error:
            owner.fail(error)
            raise
        owner.finish(None)

    def run(self, request: Any) -> None:
        self._assembly.shut()
        self._assembly.connections.close()

    def error(self, stop: Stop) -> Exception:
        return self._assembly.error(stop)

    def describe(self, request: Any) -> str:
        return "close()"

    def raw(self, request: Any) -> Any:
        raise TypeError("close() has no response")

    def changed(self, request: Any, options: Mapping[str, Any]) -> Any:
        raise TypeError("close() has no options")


def _is_transport(transport: object) -> bool:
    return hasattr(transport, "handle_async_request") or hasattr(transport, "handle_request")


def _blocks(http_client: object, transport: object) -> HandedIn | None:
    """What was handed in that only sync code can use, where no deadline can cut it."""
    import httpx2

    if isinstance(http_client, httpx2.Client):
        return "http_client"
    if transport is not None and not hasattr(transport, "handle_async_request"):
        return "transport"
    return None


def create_resilient_client(
    config: ClientConfig,
    *,
    http_client: httpx2.AsyncClient | httpx2.Client | None = None,
    transport: httpx2.AsyncBaseTransport | httpx2.BaseTransport | None = None,
    observers: tuple[Observer, ...] | list[Observer] = (),
) -> ResilientClient:
    """A `ResilientClient`, for ``async with`` and ``with``; the arguments are those of the class."""
    return ResilientClient(config, http_client=http_client, transport=transport, observers=observers)

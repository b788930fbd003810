"""All reference servers in one process: one ASGI app per port, started and stopped together."""

from __future__ import annotations

import asyncio
import errno
import faulthandler
import logging
import signal
import socket
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

import uvicorn

from holdfast import _loops
from holdfast.servers import codegen, crews_and_sessions, flaky, integration, memory
from holdfast.servers.faults import ADMIN_PATH, AnyRule, FaultInjection, FaultProtocol
from holdfast.servers.pages import Pages
from holdfast.servers.same_origin import SameOrigin
from holdfast.servers.service import ServerStartError, SettingsError, Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from starlette.types import ASGIApp

    from holdfast.servers.service import Service

__all__ = ["SERVICES", "PortInUseError", "ServeOptions", "ServerStartError", "check_ports", "serve"]

logger = logging.getLogger(__name__)

SERVICES: tuple[Callable[[Storage], Service], ...] = (
    flaky.service,
    crews_and_sessions.service,
    memory.service,
    integration.service,
    codegen.service,
)
"""Every service, as a function of where to keep its data. A new service joins `holdfast serve` by joining this."""

GRACE_SECONDS = 3
"""How long requests in flight may go on after SIGTERM. Below the ten seconds in which the process has to be gone."""

STOP_SECONDS = 9.0
"""So long after the first signal the process is ended, whatever still runs in it."""

WARN_SECONDS = 1.0
"""So long before that the log says what that is."""

KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep idle connections, so that none is closed in the moment a request is sent on it."""


class PortInUseError(ServerStartError):
    """Something listens on a port already."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `holdfast serve` is told.

    Attributes:
        host: address or name to listen on.
        data_dir: where services keep their databases; exists.
        database_url: of a PostgreSQL database that they use instead.
        port_offset: added to the port of every service.
        faults: whether failures can be injected through the admin API and the request header.
        rules: what every server is told to inject from its start; needs `faults`.
    """

    host: str
    data_dir: Path
    database_url: str | None = None
    port_offset: int = 0
    faults: bool = False
    rules: tuple[AnyRule, ...] = ()

    def services(self) -> list[Service]:
        """All services, with their settings from the environment.

        Raises:
            SettingsError: one cannot be made.
        """
        storage = Storage(self.data_dir, self.database_url)
        return [make(storage) for make in SERVICES]

    def port_of(self, service: Service) -> int:
        """The port that the service listens on.

        Raises:
            SettingsError: the offset leads beyond 65535.
        """
        port = service.port + self.port_offset
        if not 0 < port <= 65535:
            raise SettingsError(
                f"{service.name}: there is no port {port} (port {service.port}, offset {self.port_offset})"
            )
        return port

    def url_of(self, service: Service) -> str:
        """The URL at which the service answers."""
        return self._url(self.host, service)

    def local_url_of(self, service: Service) -> str:
        """The URL at which the others in this process reach the service: "all addresses" is none to connect to."""
        try:
            everywhere = ip_address(self.host).is_unspecified
        except ValueError:
            everywhere = not self.host
        return self._url("localhost" if everywhere else self.host, service)

    def _url(self, host: str, service: Service) -> str:
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port_of(service)}"


def serve(options: ServeOptions, announce: Callable[[str], None] = print) -> None:
    """Serve until SIGTERM or SIGINT. `announce` gets one line per service once all of them answer.

    The process has `STOP_SECONDS` to end after the signal, and what it does after this returns is part of that: a crew
    may leave threads behind that Python waits for.

    Raises:
        ServerStartError: nothing was started; the message says why.
    """
    services = options.services()
    with _bound(options, services) as sockets:
        _loops.run(_serve(options, services, sockets, announce))


def check_ports(options: ServeOptions) -> None:
    """Find out whether `serve` could listen, without listening.

    Raises:
        ServerStartError: it could not.
    """
    with _bound(options, options.services()):
        pass


async def _serve(
    options: ServeOptions,
    services: Sequence[Service],
    sockets: Sequence[list[socket.socket]],
    announce: Callable[[str], None],
) -> None:
    neighbours = {service.name: options.local_url_of(service) for service in services}
    servers = [_Server(_config(options, _whole(options, service, neighbours))) for service in services]

    def stop() -> None:
        for server in servers:
            server.should_exit = True
        for service in services:
            service.stop()

    logging.getLogger("uvicorn.error").addFilter(_not_cut_off)
    async with AsyncExitStack() as lifespans:
        lifespans.enter_context(_on_signals(stop))
        for service in services:
            service.meet(neighbours)
            await lifespans.enter_async_context(service.lifespan())
        async with asyncio.TaskGroup() as group:
            for server, bound in zip(servers, sockets, strict=True):
                group.create_task(server.serve(bound))
            for server in servers:
                await server.ready.wait()
            width = max(len(service.name) for service in services)
            for service in services:
                url = options.url_of(service)
                announce(f"{service.name:{width}}  {url}{_faults(options, url)}")


@contextmanager
def _on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop` in the event loop at SIGINT and SIGTERM. From the first of them on, the process's time is limited.

    There is no other way to end one whose event loop does not: because a crew blocks it, or does not let itself be
    cancelled, or because SQLite waits for another process. Nothing that was acknowledged is lost by it.
    """
    loop = asyncio.get_running_loop()
    told = False

    def told_to_stop(*_: object) -> None:
        nonlocal told
        if not told:
            told = True
            # It waits in a thread that needs neither the event loop nor Python's lock, and shows where all others are.
            faulthandler.dump_traceback_later(STOP_SECONDS, exit=True, file=2)
            loop.call_soon_threadsafe(loop.call_later, STOP_SECONDS - WARN_SECONDS, _say_what_runs, loop)
        loop.call_soon_threadsafe(stop)

    # Not the event loop's handlers, which run when it does.
    replaced = {number: signal.signal(number, told_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


def _say_what_runs(loop: asyncio.AbstractEventLoop) -> None:
    running = ", ".join(sorted(f"{task.get_name()} ({task.get_coro()!r})" for task in asyncio.all_tasks(loop)))
    logger.error("the server does not stop, and is ended in %g s; what still runs: %s", WARN_SECONDS, running)


def _faults(options: ServeOptions, url: str) -> str:
    if not options.faults:
        return ""
    rules = f", {len(options.rules)} from the start" if options.rules else ""
    return f"  failures at {url}{ADMIN_PATH}{rules}"


def _not_cut_off(record: logging.LogRecord) -> bool:
    """Whether a log record is more than the traceback of a request that was still running when its time was up."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


class _Server(uvicorn.Server):
    """A server that leaves signals to the composition and tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _whole(options: ServeOptions, service: Service, urls: Mapping[str, str]) -> ASGIApp:
    """What a port answers: the service, and around it what all ports have."""
    app = FaultInjection(service.app, options.rules) if options.faults else service.app
    neighbours = {name: url for name, url in urls.items() if name != service.name}
    app = Pages(app, service, neighbours, faults=ADMIN_PATH if options.faults else None)
    return SameOrigin(app, host=options.host if _is_local(options.host) else None)


def _is_local(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    return all(ip_address(address[0]).is_loopback for _, address in _addresses(host, 0))


def _config(options: ServeOptions, app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        # The composition has chosen it.
        loop="none",
        # The composition runs it, so that what goes wrong in it is told before anything is served.
        lifespan="off",
        http=FaultProtocol if options.faults else "httptools",
        ws="none",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


@contextmanager
def _bound(options: ServeOptions, services: Sequence[Service]) -> Iterator[list[list[socket.socket]]]:
    """Sockets for every service, all or none: half a set of servers helps nobody."""
    bound: list[list[socket.socket]] = []
    try:
        for service in services:
            bound.append([])
            for family, address in _addresses(options.host, options.port_of(service)):
                bound[-1].append(_listener(family, address, service.name))
        yield bound
    finally:
        for listener in (listener for listeners in bound for listener in listeners):
            listener.close()


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ServerStartError(f"cannot listen on {host!r}: {error.strerror or error}") from error
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))  # type: ignore[misc]


def _listener(family: socket.AddressFamily, address: tuple[str, int], name: str) -> socket.socket:
    # asyncio sets TCP_NODELAY only on sockets that name their protocol. Without it every answer would wait 40 ms for an
    # acknowledgement between its head and its body.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        where = f"port {address[1]} on {address[0]}"
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"{name}: {where} is in use already. End what listens there, or choose other ports with --port-offset."
            ) from error
        raise ServerStartError(f"{name}: cannot listen on {where}: {error.strerror or error}") from error
    return listener

"""`FaultyServer`: a real server on the loopback interface that answers from a script, and misbehaves when told to."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, overload

import httpx2
import uvicorn

from holdfast.servers.faults import ADMIN_PATH, FaultInjection, FaultProtocol
from holdfast.testing.scripted import Script, Scripted, Step

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

PATIENCE = 10.0
"""Seconds in which the server has to start, and to answer its admin API."""

_NO_ROUTES: Final[Mapping[str, Script]] = MappingProxyType({})


class FaultyServer(Scripted):
    """A server on 127.0.0.1, on a thread and a port of its own, for as long as it is entered.

    What it answers when it behaves is scripted as for a `FaultTransport`, except that steps are answers: what goes
    wrong on the wire is injected by `misbehave`. Requests that no route fits are answered 200 with their method and
    path as JSON::

        with FaultyServer({"GET /users/*": Step(json={"name": "Ada"})}) as server:
            server.misbehave("reset", count=2)
            client = ResilientClient(ClientConfig(base_url=server.url))

    It needs the extra ``servers``.

    Args:
        script: as for `FaultTransport`.

    Attributes:
        url: where it listens, without a slash at the end.
        requests: what it was asked and answered by itself; not those that a fault has answered before.
    """

    @overload
    def __init__(self, script: Mapping[str, Script] = ...) -> None: ...

    @overload
    def __init__(self, script: Script) -> None: ...

    def __init__(self, script: Script | Mapping[str, Script] = _NO_ROUTES) -> None:
        super().__init__(script)
        self.url = ""
        self._running: _Running | None = None

    # Misbehaviour

    def misbehave(self, kind: str | Mapping[str, Any], **fields: Any) -> None:
        """Adds a rule of misbehaviour. Rules strike in the order in which they were added.

        Args:
            kind: what is done (``"status"``, ``"latency"``, ``"reset"`` and so on); or a whole rule, as a mapping or
                in short (``"status=503;count=2"``).
            fields: of the rule, such as ``path``, ``method``, ``rate``, ``count``, ``seed``; for ``from`` and ``for``
                write ``from_`` and ``for_``.

        Raises:
            ValueError: there is no such rule; the message names what is wrong.
        """
        if isinstance(kind, Mapping):
            self._ask("POST", json={**kind, **fields})
        elif fields:
            self._ask("POST", json={"kind": kind, **{name.rstrip("_"): value for name, value in fields.items()}})
        else:
            self._ask("POST", content=kind)

    def behave(self) -> None:
        """Takes all rules of misbehaviour back, and forgets how often they struck."""
        self._ask("DELETE")

    def struck(self) -> dict[str, int]:
        """How often each kind of misbehaviour has happened since the last `behave`."""
        return dict(self._ask("GET", "/stats")["struck"])

    def reset(self) -> None:
        """As if just started: it behaves, has no routes, and remembers no requests."""
        self.behave()
        with self._lock:
            self._routes.clear()
            self._others = None
            self.requests.clear()

    def _ask(self, method: str, path: str = "", **body: Any) -> Any:
        with httpx2.Client(trust_env=False, timeout=PATIENCE) as admin:
            answer = admin.request(method, f"{self.url}{ADMIN_PATH}{path}", **body)
        if answer.status_code == 422:
            raise ValueError(f"no rule of misbehaviour: {answer.json()['detail']}")
        answer.raise_for_status()
        return answer.json()

    # Life

    def __enter__(self) -> Self:
        """Starts the server.

        Raises:
            OSError: it cannot listen.
            RuntimeError: it did not start.
        """
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self._running = _Running(FaultInjection(self._app), listener)
        except BaseException:
            listener.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.stop()

    def __repr__(self) -> str:
        return f"<FaultyServer {self.url or 'not started'}>"

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        url = httpx2.URL(self.url).copy_with(raw_path=target)
        request = httpx2.Request(scope["method"], url, headers=scope["headers"], content=body)
        step = self.take(request)
        if step is None:
            step = Step(json={"method": request.method, "path": request.url.path})
        if step.error is not None or step.broken is not None:
            step = Step(501, json={"detail": "a server's steps are answers: for what goes wrong, call misbehave()"})
        if step.delay:
            await asyncio.sleep(step.delay)
        answer = step.response(request)
        await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.headers.raw})
        await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else answer.content})


class _Running:
    """A uvicorn on a thread."""

    def __init__(self, app: FaultInjection, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            http=FaultProtocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._listener = listener
        self._thread = threading.Thread(target=self._run, name="holdfast-faulty-server", daemon=True)
        self._thread.start()
        if not self._server.ready.wait(PATIENCE) or not self._server.started:
            self.stop()
            raise RuntimeError("the server did not start")

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        finally:
            self._server.ready.set()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE)
        self._listener.close()


class _Server(uvicorn.Server):
    """A server that tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

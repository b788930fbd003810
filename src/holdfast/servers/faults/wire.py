"""Below ASGI: a connection whose bytes can be taken over from uvicorn for one answer.

`FaultProtocol` is uvicorn's HTTP/1.1 protocol with a `Wire` between it and its transport. The wire travels to the app
in the ASGI scope, in `state`; nobody but `FaultInjection` looks for it there. While it is taken, what uvicorn writes
goes nowhere, so uvicorn can be told of some well-formed answer, and keeps its books for the connection, while the
peer gets something else.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from uvicorn.config import Config
    from uvicorn.server import ServerState

__all__ = ["FaultProtocol", "Wire", "wire_of"]

STATE_KEY = "holdfast.wire"

LINGER_AT_ONCE = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing discards what is unsent and sends RST instead of FIN."""

BEFORE_RESET_SECONDS = 0.05
"""Lets the peer read what was written: a reset discards what is on its way, and on some systems what is unread."""


class Wire:
    """A connection as uvicorn sees it, and the way around uvicorn.

    To uvicorn it is the transport: what is not named here goes to that.

    Attributes:
        taken: whether uvicorn's writes are dropped.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.taken = False
        self._transport = transport
        self._to_be_closed = False
        self._writable = asyncio.Event()
        self._writable.set()

    # For whoever spoils an answer

    def take(self) -> None:
        """From here on the peer gets only what `put` writes."""
        self.taken = True

    def release(self) -> None:
        """Gives the connection back, alive unless uvicorn wanted to close it meanwhile."""
        self.taken = False
        if self._to_be_closed:
            self._transport.close()

    async def put(self, data: bytes) -> None:
        """Writes, and waits until the kernel has nearly all of it. Writes nothing to a connection that is gone."""
        if data and not self._transport.is_closing():
            self._transport.write(data)
            await self._writable.wait()

    def end(self) -> None:
        """Closes the connection with FIN, after what was written."""
        self._transport.close()

    async def reset(self) -> None:
        """Resets the connection with RST, after what was written."""
        await asyncio.sleep(BEFORE_RESET_SECONDS)
        if not self._transport.is_closing():
            peer: socket.socket = self._transport.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_AT_ONCE)
        self._transport.abort()

    # For uvicorn

    def write(self, data: bytes) -> None:
        if not self.taken:
            self._transport.write(data)

    def writelines(self, list_of_data: Iterable[bytes]) -> None:
        if not self.taken:
            self._transport.writelines(list_of_data)

    def close(self) -> None:
        if self.taken:
            self._to_be_closed = True
        else:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    # For the protocol

    def set_writable(self, *, writable: bool) -> None:
        if writable:
            self._writable.set()
        else:
            self._writable.clear()


class FaultProtocol(HttpToolsProtocol):
    """uvicorn's protocol on a connection that can be taken over: `uvicorn.Config(app, http=FaultProtocol)`."""

    _wire: Wire

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        # Every request's scope gets a copy of it.
        self._state = dict(app_state)
        super().__init__(config, server_state, self._state, _loop)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Puts the wire between uvicorn and the transport."""
        self._wire = self._state[STATE_KEY] = Wire(transport)
        super().connection_made(cast("asyncio.Transport", self._wire))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._wire.set_writable(writable=True)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wire.set_writable(writable=False)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._wire.set_writable(writable=True)


def wire_of(scope: MutableMapping[str, Any]) -> Wire | None:
    """The wire of the connection on which a request came, taken out of its scope; None if the server has none."""
    state = scope.get("state")
    return state.pop(STATE_KEY, None) if isinstance(state, dict) else None

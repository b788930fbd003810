"""Sockets for sync use on which nothing takes longer than the deadline of the call, and that another thread can wake.

httpcore2's own backend gives every single read and write the whole timeout. Here each of them, connecting and TLS
handshakes included, gets at most what is left of the calling thread's time (`holdfast.http.deadlines.limit`). What ends
one is then the ordinary timeout of httpcore2, so that pools and protocols see nothing new.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic
from typing import Any

import httpcore2

from holdfast.http.deadlines import within
from holdfast.http.engines.wire import HUNG_UP, HeadTooLarge, has_hung_up

_RECORD = 16 * 1024 + 512  # bytes of the largest TLS record, with its overhead (RFC 8446, section 5.2)


class Sending:
    """One request that is being sent, until the head of its response is there: ``with Sending(most)``.

    What is opened meanwhile is closed if that fails: a pool forgets some connections without closing them.

    Args:
        most: bytes that are read for the head, the informational responses (1xx) before it included.
    """

    __slots__ = ("_left", "_most", "_outer", "opened")

    def __init__(self, most: int) -> None:
        self._left = self._most = most
        self.opened: list[httpcore2.NetworkStream] = []

    def __enter__(self) -> None:
        self._outer = _thread.sending
        _thread.sending = self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        _thread.sending = self._outer
        if kind is not None:
            for stream in self.opened:
                stream.close()

    def count(self, data: bytes) -> None:
        """Something was read.

        Raises:
            HeadTooLarge: that was too much.
        """
        self._left -= len(data)
        if self._left < 0:
            raise HeadTooLarge(self._most)

    def count_anew(self) -> None:
        """Something was sent: what comes now answers that."""
        self._left = self._most


class _Thread(threading.local):
    """What the calling thread is sending."""

    sending: Sending | None = None


_thread = _Thread()


class SocketStream(httpcore2.NetworkStream):
    """A connection, with or without TLS.

    Any thread may `close` or `interrupt` it while another one reads: that one is woken, and fails.
    """

    def __init__(self, inner: httpcore2.NetworkStream, backend: Backend) -> None:
        self._inner = inner
        self._backend = backend
        self._socket: socket.socket = inner.get_extra_info("socket")
        # One entry for each thread that is inside: appending and popping are atomic.
        self._busy: list[None] = []
        self._ended = False
        sending = _thread.sending
        if sending is not None:
            sending.opened.append(self)
        backend.keep(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes, none at the end of the connection.

        Raises:
            httpcore2.ReadTimeout: there were none in `timeout` seconds, or until the deadline.
            httpcore2.ReadError: the connection broke, or another thread closed it.
            HeadTooLarge: the head of the response does not end.
        """
        try:
            data = self.receive(max_bytes, timeout)
        except TimeoutError as error:
            raise httpcore2.ReadTimeout(error) from error
        except OSError as error:
            raise httpcore2.ReadError(error) from error
        sending = _thread.sending
        if sending is not None:
            sending.count(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Writes all of it; each step may take `timeout` seconds, all together as long as the deadline leaves.

        Raises:
            httpcore2.WriteTimeout: the other side took nothing in that time.
            httpcore2.WriteError: the connection broke, or another thread closed it.
        """
        if not buffer:
            return
        sending = _thread.sending
        if sending is not None:
            sending.count_anew()
        try:
            self.transmit(buffer, timeout)
        except TimeoutError as error:
            raise httpcore2.WriteTimeout(error) from error
        except OSError as error:
            raise httpcore2.WriteError(error) from error

    def receive(self, max_bytes: int, timeout: float | None) -> bytes:
        """As `read`, with the errors of sockets, and uncounted."""
        busy = self._busy
        busy.append(None)
        try:
            data = b""
            if not self._ended:
                self._socket.settimeout(within(timeout))
                data = self._socket.recv(max_bytes)
            # Looked at again: what a connection that was cut off gives looks like the end of a body.
            if self._ended:
                raise ConnectionAbortedError("the connection was closed by another thread")
            return data
        finally:
            self._leave()

    def transmit(self, buffer: bytes, timeout: float | None) -> None:
        """As `write`, with the errors of sockets."""
        busy = self._busy
        busy.append(None)
        try:
            view = memoryview(buffer)
            while view:
                if self._ended:
                    raise ConnectionAbortedError("the connection was closed by another thread")
                self._socket.settimeout(within(timeout))
                view = view[self._socket.send(view) :]
        finally:
            self._leave()

    def _leave(self) -> None:
        self._busy.pop()
        if self._ended and not self._busy:
            self._socket.close()

    def interrupt(self) -> None:
        """Wakes whoever reads or writes. The connection is of no use any more."""
        self._ended = True
        with contextlib.suppress(OSError):  # it may be closed already
            # Not `SSLSocket.shutdown`, which takes the TLS layer away from under the thread that reads through it.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the connection; if a thread is inside, it is woken, and closes it when it leaves.

        A descriptor that was closed under a thread in `recv` might be given to another connection, and be read from.
        """
        self._ended = True
        if self._busy:
            self.interrupt()
        else:
            self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """The connection with TLS on it; inside of TLS, as through an HTTPS proxy, with a second layer of it.

        Raises:
            httpcore2.ConnectTimeout: the handshake took longer than `timeout` seconds, or than the deadline leaves.
            httpcore2.ConnectError: it failed.
        """
        if self._inner.get_extra_info("ssl_object") is not None:
            return NestedTlsStream(self, ssl_context, server_hostname, timeout)
        # The descriptor moves to the TLS socket, which is known only after the handshake. The twin can be shut down.
        twin = self._socket = self._socket.dup()
        try:
            seconds = _for_connecting(timeout)
            inner = self._inner.start_tls(ssl_context, server_hostname, seconds)
        except BaseException:
            self._inner.close()
            raise
        finally:
            twin.close()
        return self._backend.opened(inner)

    def get_extra_info(self, info: str) -> Any:
        """What the streams of httpcore2 tell, as ``ssl_object``, ``server_addr`` and ``is_readable``, and `HUNG_UP`."""
        return has_hung_up(self._socket) if info == HUNG_UP else self._inner.get_extra_info(info)


class NestedTlsStream(httpcore2.NetworkStream):
    """TLS inside of TLS, which Python's sockets cannot do."""

    def __init__(
        self, below: SocketStream, context: ssl.SSLContext, server_hostname: str | None, timeout: float | None
    ) -> None:
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        try:
            self._perform(self._tls.do_handshake, timeout)
        except TimeoutError as error:
            below.close()
            raise httpcore2.ConnectTimeout(error) from error
        except OSError as error:
            below.close()
            raise httpcore2.ConnectError(error) from error

    def _perform(self, operation: Callable[[], Any], timeout: float | None) -> Any:
        """Repeats an operation of the inner layer until it has been given what it needs."""
        end = None if timeout is None else monotonic() + timeout
        while True:
            try:
                result = operation()
                wants = False
            except ssl.SSLWantReadError:
                result, wants = None, True
            except ssl.SSLError:
                with contextlib.suppress(OSError):  # tells the other side what is wrong with it, if it still listens
                    self._flush(timeout)
                raise
            self._flush(timeout)
            if not wants:
                return result
            data = self._below.receive(_RECORD, None if end is None else max(end - monotonic(), 0.0001))
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _flush(self, timeout: float | None) -> None:
        if self._outgoing.pending:
            self._below.transmit(self._outgoing.read(), timeout)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """See `SocketStream.read`."""
        try:
            data: bytes = self._perform(partial(self._tls.read, max_bytes), timeout)
        except TimeoutError as error:
            raise httpcore2.ReadTimeout(error) from error
        except OSError as error:
            raise httpcore2.ReadError(error) from error
        sending = _thread.sending
        if sending is not None:
            sending.count(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See `SocketStream.write`."""
        if not buffer:
            return
        sending = _thread.sending
        if sending is not None:
            sending.count_anew()
        view = memoryview(buffer)
        try:
            while view:
                view = view[self._perform(partial(self._tls.write, view[:_RECORD]), timeout) :]
        except TimeoutError as error:
            raise httpcore2.WriteTimeout(error) from error
        except OSError as error:
            raise httpcore2.WriteError(error) from error

    def close(self) -> None:
        """See `SocketStream.close`."""
        self._below.close()

    def get_extra_info(self, info: str) -> Any:
        """As of the connection below, but ``ssl_object`` is that of this layer."""
        return self._tls if info == "ssl_object" else self._below.get_extra_info(info)


class Backend(httpcore2.NetworkBackend):
    """Opens connections, and can end all of them at once."""

    def __init__(self) -> None:
        self._sockets = httpcore2.SyncBackend()
        self._lock = threading.Lock()
        self._streams: weakref.WeakSet[SocketStream] = weakref.WeakSet()
        self._closed = False

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connects to the first address of `host` that answers. Each may take `timeout` seconds.

        Looking the name up is the one thing that cannot be cut; when it is done, the deadline may have passed.

        Raises:
            httpcore2.ConnectTimeout: the last one did not answer in time, or the deadline passed.
            httpcore2.ConnectError: there was no such name, or the last address refused.
        """
        failure: Exception | None = None
        for address in _addresses(host, port):
            seconds = _for_connecting(timeout)
            try:
                inner = self._sockets.connect_tcp(address, port, seconds, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return self.opened(inner)
        raise failure or httpcore2.ConnectError(f"the name {host} has no address")

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connects to a Unix domain socket; otherwise as `connect_tcp`."""
        return self.opened(self._sockets.connect_unix_socket(path, _for_connecting(timeout), socket_options))

    def opened(self, inner: httpcore2.NetworkStream) -> SocketStream:
        """A connection that was just made.

        Raises:
            httpcore2.ConnectError: `interrupt` was called meanwhile.
        """
        stream = SocketStream(inner, self)
        if self._closed:
            stream.close()
            raise httpcore2.ConnectError("the client was closed")
        return stream

    def keep(self, stream: SocketStream) -> None:
        """Remembers a stream as long as somebody else does."""
        with self._lock:
            self._streams.add(stream)

    def interrupt(self) -> None:
        """Wakes every thread that waits for a connection's other side, and lets no more connections be made."""
        with self._lock:
            self._closed = True
            streams = list(self._streams)
        for stream in streams:
            stream.interrupt()


def _for_connecting(timeout: float | None) -> float | None:
    try:
        return within(timeout)
    except TimeoutError as error:
        raise httpcore2.ConnectTimeout(error) from error


def _addresses(host: str, port: int) -> list[str]:
    """The addresses behind a name, in the order in which they are to be tried.

    Given a name, httpcore2's backend would give each of them the whole timeout anew.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore2.ConnectError(error) from error
    addresses = [f"{place[0]}%{place[3]}" if len(place) == 4 and place[3] else str(place[0]) for *_, place in found]
    return list(dict.fromkeys(addresses))

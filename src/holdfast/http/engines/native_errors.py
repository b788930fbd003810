"""How attempts of the native engines fail: with what httpx2 would raise as the cause."""

from __future__ import annotations

import httpx2

from holdfast.http.content import BodyLimitError
from holdfast.http.engines.base import EngineError, Phase, Sent
from holdfast.http.engines.h1 import Assembly


def closed() -> EngineError:
    """The client was closed before the request was sent."""
    cause = httpx2.ConnectError("the client was closed")
    return EngineError(str(cause), sent=Sent.NO, phase="connect", cause=cause)


def cut_off(assembly: Assembly | None) -> EngineError:
    """The client was closed while the response was being waited for."""
    return _unread("the client was closed", phase_of(assembly))


def given_up() -> EngineError:
    """The response was closed before its body had come."""
    return _unread("the response was closed", "body")


def _unread(why: str, phase: Phase) -> EngineError:
    return EngineError(why, sent=Sent.MAYBE, phase=phase, cause=httpx2.ReadError(why))


def ended() -> EngineError:
    """The server did not want the connection after all."""
    cause = httpx2.ConnectError("the server closed the connection before anything was sent")
    return EngineError(str(cause), sent=Sent.NO, phase="connect", cause=cause)


def not_connected(error: OSError) -> EngineError:
    """No connection could be made, or not in time."""
    late = isinstance(error, TimeoutError)
    cause: httpx2.TransportError
    if late:
        cause = httpx2.ConnectTimeout(str(error) or "no connection was made in time")
    else:
        cause = httpx2.ConnectError(str(error) or type(error).__name__)
    cause.__cause__ = error
    return EngineError(str(cause), sent=Sent.NO, phase="connect", cause=cause, timed_out=late)


def none_free() -> EngineError:
    """No connection became free in time."""
    cause = httpx2.PoolTimeout("no connection became free in time")
    return EngineError(str(cause), sent=Sent.NO, phase="pool", cause=cause, timed_out=True)


def broken(error: Exception, assembly: Assembly | None) -> EngineError:
    """The connection broke while the response was being waited for."""
    message = str(error) or type(error).__name__
    cause = httpx2.ReadError(message)
    cause.__cause__ = error
    return EngineError(message, sent=Sent.MAYBE, phase=phase_of(assembly), cause=cause)


def too_slow(assembly: Assembly | None, *, sending: bool) -> EngineError:
    """The server took nothing of a body, or sent nothing, in time."""
    if sending:
        return _timed_out(httpx2.WriteTimeout("the server did not take the body in time"), "write")
    return _timed_out(httpx2.ReadTimeout("the server sent nothing in time"), phase_of(assembly))


def _timed_out(cause: httpx2.TimeoutException, phase: Phase) -> EngineError:
    return EngineError(str(cause), sent=Sent.MAYBE, phase=phase, cause=cause, timed_out=True)


def phase_of(assembly: Assembly | None) -> Phase:
    """Whether it is the head of the response that is being waited for, or its body."""
    return "head" if assembly is None or assembly.head is None else "body"


def public(error: EngineError) -> Exception:
    """What httpx2 would raise where a body is read."""
    return BodyLimitError(str(error)) if error.cause is None else error.cause

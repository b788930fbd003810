"""How far a request had come when its task was cancelled.

A cancelled task only tells by its traceback what it was waiting for. Nothing has to be kept for it while all goes well.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import TypeVar

from holdfast.http.engines.base import EngineError, Sent, deadline_passed

F = TypeVar("F")
_before: set[CodeType] = set()


def before_sending(function: F) -> F:
    """Marks a coroutine function of an engine as one that is over before the first byte of a request goes out."""
    assert isinstance(function, FunctionType)  # noqa: S101  # it is used as a decorator of those
    _before.add(function.__code__)
    return function


def cut_by_deadline(error: BaseException) -> EngineError:
    """The failure of an attempt whose task was cancelled because the deadline of its call had passed.

    Args:
        error: the cancellation, as it left the engine.
    """
    failure = deadline_passed()
    if never_sent(error):
        failure = EngineError(str(failure), sent=Sent.NO, phase="connect", timed_out=True)
    failure.__cause__ = error
    return failure


def never_sent(error: BaseException) -> bool:
    """Whether a request that was interrupted by this had certainly not begun to be sent.

    That is so if the task was inside of what `before_sending` marks; or inside a pool of httpcore2, waiting for a
    connection or making one, and not inside of a connection, where requests are written. A proxy's answer to CONNECT is
    waited for inside of a connection too, and so is everything that goes through other transports: of that, nothing is
    certain.
    """
    if any(frame.f_code in _before for frame in _frames(error.__traceback__)):
        return True
    import httpcore2  # not before it has to be: `import holdfast` does without

    pool = httpcore2.AsyncConnectionPool.handle_async_request.__code__
    request = next((frame for frame in _frames(error.__traceback__) if frame.f_code is pool), None)
    if request is None:
        return False
    writing = {
        httpcore2.AsyncHTTP11Connection.handle_async_request.__code__,
        httpcore2.AsyncHTTP2Connection.handle_async_request.__code__,
    }
    # What failed before, and was being cleaned up after when the cancellation came, counts too.
    one: BaseException | None = error
    while one is not None:
        if not writing.isdisjoint(_below(request, one.__traceback__)):
            return False
        one = one.__context__
    return True


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _below(outer: FrameType, traceback: TracebackType | None) -> Iterator[CodeType]:
    """The code of the frames that `outer` waited for; none if the traceback is of something else."""
    inside = False
    for frame in _frames(traceback):
        if inside:
            yield frame.f_code
        inside = inside or frame is outer

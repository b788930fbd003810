"""A thread for code that is not async, and that nobody can stop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.servers.slots import Slot

__all__ = ["in_thread"]

T = TypeVar("T")


async def in_thread(name: str, call: Callable[[], T], slot: Slot) -> T:
    """The result of a call that is made in a thread of its own, with this task's context.

    When the waiting is cancelled the call goes on, and what it comes to is thrown away. The thread holds the slot until
    it ends, so slots bound the threads. It is a daemon, unlike those of an executor, which a process waits for when it
    ends.

    Raises:
        BaseException: whatever the call raises.
        RuntimeError: the system has no more threads.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    results: list[T] = []
    errors: list[BaseException] = []

    def end() -> None:
        slot.release()
        if not ended.done():
            ended.set_result(None)

    def work() -> None:
        try:
            results.append(context.run(call))
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            errors.append(error)
        try:
            loop.call_soon_threadsafe(end)
        except RuntimeError:
            # The server has stopped meanwhile.
            pass

    context = contextvars.copy_context()
    thread = threading.Thread(target=work, name=f"crew {name}", daemon=True)
    slot.hold()
    try:
        thread.start()
    except RuntimeError:
        slot.release()
        raise
    await ended
    if errors:
        raise errors[0]
    return results[0]

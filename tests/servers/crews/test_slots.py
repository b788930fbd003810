"""Places for what runs at the same time."""

from __future__ import annotations

import asyncio
import threading

import pytest

from holdfast.servers.crews.threads import in_thread
from holdfast.servers.slots import Slots


def test_a_slot_is_free_when_everybody_has_released_it():
    slots = Slots(1)
    slot = slots.take()
    assert slot is not None and slots.take() is None
    slot.hold()
    slot.release()
    assert slots.take() is None
    slot.release()
    assert slots.busy == 0
    for step in (slot.release, slot.hold):
        with pytest.raises(RuntimeError, match="free already"):
            step()
    assert slots.take() is not None


def test_a_thread_that_cannot_be_started_holds_no_slot(monkeypatch):
    def cannot(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> int:
        slots = Slots(1)
        slot = slots.take()
        assert slot is not None
        monkeypatch.setattr(threading.Thread, "start", cannot)
        with pytest.raises(RuntimeError, match="new thread"):
            await in_thread("it", lambda: None, slot)
        slot.release()
        return slots.busy

    assert asyncio.run(main()) == 0


def test_a_thread_may_outlive_the_event_loop():
    go_on, gone = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(20)
        gone.set()

    async def main() -> threading.Thread:
        slot = Slots(1).take()
        assert slot is not None
        task = asyncio.create_task(in_thread("it", work, slot))
        await asyncio.sleep(0.01)
        task.cancel()
        (thread,) = (one for one in threading.enumerate() if one.name == "crew it")
        return thread

    thread = asyncio.run(main())
    assert thread.daemon
    go_on.set()
    thread.join(20)
    assert gone.is_set() and not thread.is_alive()

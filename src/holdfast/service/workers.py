"""`Workers`: flows that run beside another one, which begins them and collects how they ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from holdfast.core.effects import FOREVER, Child, Failed, Flow, Park, Spawn, Waiter
from holdfast.service.inside import Expired


class Lost(Exception):  # noqa: N818  # what became of a flow, not an error of the caller's
    """A flow was cancelled in the middle, by somebody else than its employer."""


class Workers:
    """Runs flows side by side for one flow, the employer. Who has done with one takes the next.

    The employer and all of them are stepped under the same lock, which makes its methods safe. It has to bound how many
    it begins, and must call `stop` however it ends.

    Attributes:
        running: flows that were begun and whose end was not collected yet.
    """

    def __init__(self) -> None:
        self.running = 0
        self._all: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._ended: deque[tuple[int, Any]] = deque()
        self._news: Waiter | None = None
        self._stopped = False

    def begin(self, key: int, flow: Flow[Any]) -> Flow[None]:
        """Begins a flow, whose end is told under that key."""
        self.running += 1
        while self._idle:
            worker = self._idle.pop()
            worker.task = key, flow
            if worker.ready.wake():
                return
            worker.task = None
        worker = _Worker(key, flow)
        self._all.add(worker)
        child: Child = yield Spawn(self._work(worker))
        worker.child = child

        def left() -> bool:
            self._left(worker)
            return True

        child.notify = left
        if child.woken:  # it was faster
            left()

    def ended(self, until: float = FOREVER) -> Flow[tuple[int, Any] | None]:
        """The key of the next flow that has ended, and its result or a `Failed`.

        None if none has until that time, or none is running.
        """
        while not self._ended:
            if not self.running or not (yield from self._wait(until)):
                return None
        self.running -= 1
        return self._ended.popleft()

    def stop(self) -> None:
        """Sends the idle home, and cancels what is running: it gives back what it held, and begins nothing more."""
        self._stopped = True
        for worker in self._idle:
            worker.ready.wake()
        self._idle.clear()
        for worker in self._all:
            if worker.task is not None and worker.child is not None:
                worker.child.cancel()

    def gone(self) -> Flow[None]:
        """Waits until all have gone, after a `stop`."""
        while self._all:
            yield from self._wait(FOREVER)

    def rest(self) -> Iterator[tuple[int, Any]]:
        """The ends that were not collected."""
        while self._ended:
            self.running -= 1
            yield self._ended.popleft()

    def _wait(self, until: float) -> Flow[bool]:
        self._news = news = Waiter()
        woken: bool = yield Park(until, news)
        return woken or bool(self._ended)

    def _tell(self) -> None:
        if self._news is not None:
            self._news.wake()

    def _work(self, worker: _Worker) -> Flow[None]:
        while worker.task is not None and not self._stopped:
            key, flow = worker.task
            try:
                result = yield from flow
            except (Exception, Expired) as error:  # noqa: BLE001  # the employer decides
                result = Failed(error)  # type: ignore[arg-type]  # Expired is passed on as an outcome here
            worker.task = None
            self._ended.append((key, result))
            self._tell()
            yield from self._rest(worker)

    def _rest(self, worker: _Worker) -> Flow[None]:
        """Waits for the next task, or for the end."""
        if self._stopped:
            return
        worker.ready = Waiter()
        self._idle.append(worker)
        try:
            yield Park(FOREVER, worker.ready)
        except BaseException:
            worker.ready.gone = True
            raise

    def _left(self, worker: _Worker) -> None:
        """Its flow is over. If it was cancelled in the middle of something, that has ended too."""
        self._all.discard(worker)
        if worker.task is not None:
            self._ended.append((worker.task[0], Failed(Lost())))
            worker.task = None
        self._tell()


class _Worker:
    """One of the flows beside: what it is at, its handle, and where it waits for the next."""

    __slots__ = ("child", "ready", "task")

    def __init__(self, key: int, flow: Flow[Any]) -> None:
        self.task: tuple[int, Flow[Any]] | None = (key, flow)
        self.child: Child | None = None
        self.ready = Waiter()

"""`FaultTransport`: a transport of both colours that answers from a script."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one request: an answer, or a failure.

    Attributes:
        status, json, content, headers: the answer.
        delay: seconds before it; under virtual time they pass at once. Where the request's read timeout is shorter, it
            ends the wait.
        error: raised instead of an answer, such as ``httpx2.ConnectError``; an exception, or a class of them.
    """

    status: int = 200
    json: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    error: httpx2.RequestError | type[httpx2.RequestError] | None = None

    def response(self, request: httpx2.Request) -> httpx2.Response:
        """The answer.

        Raises:
            httpx2.RequestError: the step is a failure.
        """
        error = self.error
        if error is not None:
            raise error("scripted", request=request) if isinstance(error, type) else error
        if self.content is not None or self.json is None:
            return httpx2.Response(
                self.status, headers=dict(self.headers), content=self.content or b"", request=request
            )
        return httpx2.Response(self.status, headers=dict(self.headers), json=self.json, request=request)


Script = Iterable[Step | int | type[httpx2.RequestError]] | Callable[[httpx2.Request], Step | int]


class FaultTransport(httpx2.AsyncBaseTransport, httpx2.BaseTransport):
    """Answers requests from a script, and remembers them.

    Args:
        script: steps that are taken in turn, the last one for ever; a number stands for an answer with that status, a
            class for a failure. Or a function that gives the step for a request.

    Attributes:
        requests: what was sent, in order.
    """

    def __init__(self, script: Script) -> None:
        self._choose: Callable[[httpx2.Request], Step | int] | None = None
        self._steps: list[Step] = []
        if callable(script):
            self._choose = script
        else:
            self._steps = [_step(item) for item in script]
            if not self._steps:
                raise ValueError("the script has no step")
        self._lock = threading.Lock()
        self.requests: list[httpx2.Request] = []

    def step(self, request: httpx2.Request) -> Step:
        """Takes the next step of the script for a request."""
        with self._lock:
            self.requests.append(request)
            if self._choose is not None:
                step = _step(self._choose(request))
            else:
                step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        patience = request.extensions.get("timeout", _UNLIMITED).get("read")
        if patience is not None and step.delay > patience:
            return Step(delay=patience, error=httpx2.ReadTimeout)
        return step

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answers under asyncio."""
        await request.aread()
        step = self.step(request)
        if step.delay:
            await asyncio.sleep(step.delay)
        return step.response(request)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answers in sync use."""
        request.read()
        step = self.step(request)
        if step.delay:
            time.sleep(step.delay)
        return step.response(request)


_UNLIMITED: Mapping[str, float | None] = {}


def _step(item: Step | int | type[httpx2.RequestError]) -> Step:
    if isinstance(item, Step):
        return item
    if isinstance(item, int):
        return Step(item)
    return Step(error=item)

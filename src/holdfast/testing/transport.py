"""`FaultTransport`: a transport of both colours that answers from a script."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import httpx2

from holdfast.testing.clock import installed
from holdfast.testing.scripted import Script, Scripted, Step

__all__ = ["FaultTransport", "Script", "Step"]


class FaultTransport(Scripted, httpx2.AsyncBaseTransport, httpx2.BaseTransport):
    """Answers requests from a script, and remembers them.

    It is given to a client of Holdfast or httpx2 as ``transport=``, and serves both colours and any number of threads::

        FaultTransport([503, httpx2.ReadTimeout, Step(json={"name": "Ada"})])
        FaultTransport({"GET /users/*": [503, 200], "POST /orders": Step(201, json={"order": 1})})

    Args:
        script: what happens to the requests. A sequence is taken in turn, its last item for ever; a number stands for
            an answer with that status, an exception or a class of them for a failure. Or a function that gives the
            item for a request, called outside of all locks. Or a mapping of routes (see `Route`) to scripts: the
            first that fits answers, and a request that none fits fails and says so.

    Attributes:
        requests: what was sent, in order, with bodies read.

    Raises:
        TypeError, ValueError: names what cannot be in a script.
    """

    def step(self, request: httpx2.Request) -> Step:
        """Takes the next step of the script for a request, whose body has been read."""
        step = self.take(request)
        if step is None:
            known = ", ".join(self._routes) or "none"
            lost = f"the FaultTransport has no route for {request.method} {request.url}; its routes: {known}"
            return Step(error=httpx2.UnsupportedProtocol(lost))
        patience = request.extensions.get("timeout", _UNLIMITED).get("read")
        if patience is not None and step.delay > patience:
            return Step(delay=patience, error=httpx2.ReadTimeout)
        return step

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answers under asyncio."""
        await request.aread()
        step = self.step(request)
        if step.delay:
            clock = installed()
            await (asyncio.sleep(step.delay) if clock is None else clock.sleep(step.delay))
        return step.response(request)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answers in sync use."""
        request.read()
        step = self.step(request)
        if step.delay:
            clock = installed()
            (time.sleep if clock is None else clock.sleep_sync)(step.delay)
        return step.response(request)


_UNLIMITED: Mapping[str, float | None] = {}

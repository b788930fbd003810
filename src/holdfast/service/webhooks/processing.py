"""Takes a verified event through the middleware to its handlers."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from holdfast.service.webhooks.calling import ENDED, Caller, TimeLimitError, name_of
from holdfast.service.webhooks.event import WebhookEvent
from holdfast.service.webhooks.results import HandlerResult, WebhookResult

Handler: TypeAlias = Callable[[Any], Any]
"""Called with the event, sync or async. What it returns is told in the result."""

Middleware: TypeAlias = Callable[[Any], Generator[WebhookEvent | None, Any] | AsyncGenerator[WebhookEvent | None, Any]]
"""A generator function, sync or async: it yields the event on, and gets the result."""

log = logging.getLogger("holdfast.webhooks")


class Processing:
    """One event on its way through the middleware, to the handlers and back.

    Args:
        caller: how functions are called.
        middleware: from the outside in.
        handlers: finds those of an event type.
        limit: seconds that each handler has; None for no limit.
    """

    def __init__(
        self,
        caller: Caller,
        middleware: Sequence[Middleware],
        handlers: Callable[[str], Sequence[Handler]],
        limit: float | None,
    ) -> None:
        self._caller = caller
        self._middleware = middleware
        self._handlers = handlers
        self._limit = limit

    async def run(self, event: WebhookEvent) -> WebhookResult:
        """Takes the event through. Exceptions of handlers and middleware are in the result."""
        began = time.perf_counter()
        result = await self._through(event, 0)
        return replace(result, duration_seconds=time.perf_counter() - began)

    async def _through(self, event: WebhookEvent, index: int) -> WebhookResult:
        if index == len(self._middleware):
            return await self._handled(event)
        middleware, caller = self._middleware[index], self._caller
        result: WebhookResult | None = None
        began = time.perf_counter()
        try:
            generator = middleware(event)
            try:
                passed_on = await caller.step(generator, None)
                if passed_on is ENDED:
                    return WebhookResult("stopped", event)
                result = await self._through(_event(passed_on, event), index + 1)
                if await caller.step(generator, result) is not ENDED:
                    raise RuntimeError("a middleware yields once: the event")
            finally:
                await caller.leave(generator)
        except Exception as error:  # noqa: BLE001  # told in the result
            failure = _failure(name_of(middleware), error, began, event)
            done = () if result is None else result.handlers
            return WebhookResult("failed", event if result is None else result.event, (*done, failure))
        return result

    async def _handled(self, event: WebhookEvent) -> WebhookResult:
        handlers = self._handlers(event.event_type)
        if not handlers:
            return WebhookResult("unhandled", event)
        found = await self._caller.every([lambda one=one: self._one(one, event) for one in handlers])  # type: ignore[misc]
        good = all(one.status == "ok" for one in found)
        return WebhookResult("handled" if good else "failed", event, tuple(found))

    async def _one(self, handler: Handler, event: WebhookEvent) -> HandlerResult:
        began = time.perf_counter()
        name = name_of(handler)
        try:
            value = await self._caller.call(handler, event, limit=self._limit)
        except TimeLimitError:
            late = f"not done after {self._limit:g} s (handler_timeout)"
            log.error("webhook handler %s for %s: %s", name, event.event_type, late)  # noqa: TRY400  # no traceback of ours
            return HandlerResult(
                name, "timed_out", None, late, TimeoutError.__name__, time.perf_counter() - began, TimeoutError(late)
            )
        except asyncio.CancelledError as error:
            if _being_cancelled():
                raise
            return _failure(name, error, began, event)
        except Exception as error:  # noqa: BLE001  # told in the result; the other handlers do not care
            return _failure(name, error, began, event)
        return HandlerResult(name, "ok", value, duration_seconds=time.perf_counter() - began)


def check_middleware(middleware: object) -> None:
    """Accepts a generator function, sync or async.

    Raises:
        TypeError: it is none.
    """
    target = middleware
    while hasattr(target, "func"):  # functools.partial
        target = target.func
    for one in (target, getattr(type(target), "__call__", None)):  # noqa: B004  # what calling it calls
        if inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one):
            return
    raise TypeError(
        f"a middleware is a generator function, 'def middleware(event): result = yield event', not {middleware!r}"
    )


def _event(passed_on: object, event: WebhookEvent) -> WebhookEvent:
    """What a middleware yields; nothing stands for the event that it got."""
    if passed_on is None:
        return event
    if not isinstance(passed_on, WebhookEvent):
        raise TypeError(f"a middleware yields the event, not {type(passed_on).__name__}")
    return passed_on


def _failure(name: str, error: BaseException, began: float, event: WebhookEvent) -> HandlerResult:
    log.error("webhook handler %s for %s failed", name, event.event_type, exc_info=error)
    kind = type(error).__name__
    return HandlerResult(name, "failed", None, str(error) or kind, kind, time.perf_counter() - began, error)


def _being_cancelled() -> bool:
    """Whether it is this task that is cancelled, and not only something that a handler awaited."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop: what was cancelled ran in one of its own
        return False
    return task is not None and task.cancelling() > 0

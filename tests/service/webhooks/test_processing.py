"""Handlers and middleware, in async and in sync code, and what is told of them."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import json
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest

from holdfast.exceptions import WebhookError
from holdfast.service import (
    HandlerResult,
    WebhookEvent,
    WebhookResult,
    Webhooks,
    WebhookStatistics,
    check_health,
    sign_webhook,
)
from tests.support.virtual_loop import run_virtual

NOW = 1_750_000_000.0
SECRET = "correct horse battery"

Send = Callable[..., WebhookResult]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "holdfast.webhooks")


@pytest.fixture
def webhooks() -> Webhooks:
    return Webhooks(SECRET, clock=lambda: NOW)


def signed(number: int = 1, event_type: str = "a.b", **data: Any) -> tuple[bytes, dict[str, str]]:
    body = json.dumps({"event_type": event_type, "data": data}).encode()
    return body, sign_webhook(body, SECRET, scheme="standard", webhook_id=f"msg_{number}", timestamp=NOW)


def delivered(webhooks: Webhooks, number: int = 1, event_type: str = "a.b", **data: Any) -> WebhookResult:
    body, headers = signed(number, event_type, **data)
    return webhooks.process(body, headers=headers).result()


async def awaited(webhooks: Webhooks, number: int = 1, event_type: str = "a.b", **data: Any) -> WebhookResult:
    body, headers = signed(number, event_type, **data)
    return await webhooks.process(body, headers=headers)


@pytest.fixture(params=["sync", "async"])
def deliver(request: pytest.FixtureRequest, webhooks: Webhooks) -> Send:
    """Delivers an event in sync or in async code."""

    def send(number: int = 1, event_type: str = "a.b", **data: Any) -> WebhookResult:
        if request.param == "sync":
            return delivered(webhooks, number, event_type, **data)
        return asyncio.run(awaited(webhooks, number, event_type, **data))

    return send


# Handlers


def test_handlers_of_a_type_then_those_of_all_in_order(webhooks: Webhooks, deliver: Send):
    @webhooks.on("*")
    def everything(event: WebhookEvent) -> str:
        return f"any {event.event_type}"

    @webhooks.on("a.b", "c.d")
    async def slow(event: WebhookEvent) -> Any:
        await asyncio.sleep(0)
        return event.data["id"]

    def quick(event: WebhookEvent) -> str:
        return "quick"

    assert webhooks.register_handler("a.b", quick) is quick
    webhooks.register_handler("a.b", quick)
    result = deliver(1, "a.b", id=7)
    assert result.ok and result.status == "handled" and result.event_type == "a.b"
    assert [one.value for one in result.handlers] == [7, "quick", "any a.b"]
    assert result["handlers"][1].handler.endswith("test_handlers_of_a_type_then_those_of_all_in_order.quick")
    assert [one.value for one in deliver(2, "c.d", id=8).handlers] == [8, "any c.d"]
    assert [one.value for one in deliver(3, "e").handlers] == ["any e"]
    assert webhooks.unregister_handler("*", everything) and not webhooks.unregister_handler("*", everything)
    assert deliver(4, "e").status == "unhandled"
    assert webhooks.handlers("a.b") == (slow, quick) and webhooks.handlers("*") == ()


def test_a_handler_for_its_type_and_for_all_is_called_once(webhooks: Webhooks, deliver: Send):
    seen: list[str] = []

    def note(event: WebhookEvent) -> None:
        seen.append(event.event_type)

    webhooks.on("a.b", "*")(note)
    assert len(deliver().handlers) == 1 and seen == ["a.b"]


def test_handlers_fail_one_by_one(webhooks: Webhooks, deliver: Send, caplog: pytest.LogCaptureFixture):
    @webhooks.on("a.b")
    def broken(event: WebhookEvent) -> None:
        raise KeyError("id")

    @webhooks.on("a.b")
    async def broken_too(event: WebhookEvent) -> None:
        raise TimeoutError("of its own")

    @webhooks.on("a.b")
    def fine(event: WebhookEvent) -> str:
        return "done"

    result = deliver()
    assert (result.status, result.ok) == ("failed", False)
    assert [one.status for one in result.handlers] == ["failed", "failed", "ok"]
    assert [one.error_type for one in result.failures] == ["KeyError", "TimeoutError"]
    assert isinstance(result.failures[0].exception, KeyError)
    assert result.failures[1].error == "of its own" and result.handlers[2].value == "done"
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2 and all(record.exc_info for record in errors)
    assert json.dumps(result.to_dict())


def test_handlers_of_every_kind(webhooks: Webhooks, deliver: Send):
    class Handler:
        async def __call__(self, event: WebhookEvent) -> str:
            return "object"

        def method(self, event: WebhookEvent) -> str:
            return "method"

    async def with_argument(word: str, event: WebhookEvent) -> str:
        return word

    for handler in (
        Handler(),
        Handler().method,
        functools.partial(with_argument, "partial"),
        lambda event: with_argument("awaitable", event),
        lambda event: check_health({}),
    ):
        webhooks.register_handler("a.b", handler)
    *words, report = [one.value for one in deliver().handlers]
    assert words == ["object", "method", "partial", "awaitable"] and report.healthy


def test_where_sync_handlers_run(webhooks: Webhooks):
    threads: list[threading.Thread] = []
    loops: list[bool] = []

    @webhooks.on("a.b")
    def here(event: WebhookEvent) -> None:
        threads.append(threading.current_thread())
        try:
            asyncio.get_running_loop()
            loops.append(True)
        except RuntimeError:
            loops.append(False)

    webhooks.on("a.b")(awaited_before := _nothing)
    delivered(webhooks, 1)
    asyncio.run(awaited(webhooks, 2))
    assert threads[0] is threading.current_thread() is not threads[1] and loops == [False, False]
    assert awaited_before in webhooks.handlers("a.b")


async def _nothing(event: WebhookEvent) -> None:
    await asyncio.sleep(0)


def test_async_handlers_run_side_by_side_up_to_the_limit():
    webhooks = Webhooks(SECRET, clock=lambda: NOW, max_concurrency=2)
    running = most = 0

    async def handler(event: WebhookEvent, number: int = 0) -> float:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1
        return asyncio.get_running_loop().time()

    for number in range(3):
        webhooks.register_handler("a.b", functools.partial(handler, number=number))

    async def main() -> list[WebhookResult]:
        return await asyncio.gather(
            *(webhooks.process(*signed(number)[:1], headers=signed(number)[1]) for number in range(2))
        )

    results = run_virtual(main())
    assert most == 2
    assert sorted(one.value for result in results for one in result.handlers) == [1, 1, 2, 2, 3, 3]


def test_a_handler_that_takes_too_long_is_ended_and_the_others_are_not():
    webhooks = Webhooks(SECRET, clock=lambda: NOW, handler_timeout=5)
    ended: list[float] = []

    @webhooks.on("a.b")
    async def endless(event: WebhookEvent) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(asyncio.get_running_loop().time())

    @webhooks.on("a.b")
    async def quick(event: WebhookEvent) -> str:
        await asyncio.sleep(4)
        return "done"

    result = run_virtual(awaited(webhooks))
    assert [one.status for one in result.handlers] == ["timed_out", "ok"] and ended == [5]
    assert "5 s (handler_timeout)" in (result.failures[0].error or "")
    assert result.failures[0].error_type == "TimeoutError"


def test_the_time_limit_in_sync_code():
    webhooks = Webhooks(SECRET, clock=lambda: NOW, handler_timeout=0.01)

    @webhooks.on("a.b")
    async def endless(event: WebhookEvent) -> None:
        await asyncio.sleep(3600)

    assert delivered(webhooks).handlers[0].status == "timed_out"


def test_nobody_waits_for_a_thread_that_is_late():
    webhooks = Webhooks(SECRET, clock=lambda: NOW, handler_timeout=0.01)
    free = threading.Event()

    @webhooks.on("a.b")
    def stuck(event: WebhookEvent) -> None:
        free.wait(60)

    async def main() -> WebhookResult:
        try:
            return await awaited(webhooks)
        finally:
            free.set()

    assert asyncio.run(main()).handlers[0].status == "timed_out"


def test_something_that_was_cancelled_inside_is_the_failure_of_its_handler(webhooks: Webhooks, deliver: Send):
    @webhooks.on("a.b")
    async def waits_for_a_cancelled(event: WebhookEvent) -> None:
        task = asyncio.ensure_future(asyncio.sleep(3600))
        task.cancel()
        await task

    webhooks.on("a.b")(lambda event: "done")
    result = deliver()
    assert [one.error_type for one in result.handlers] == ["CancelledError", None]


def test_a_cancelled_call_cancels_its_handlers_and_the_event_may_come_again(webhooks: Webhooks):
    seen: list[str] = []

    async def endless(event: WebhookEvent) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    webhooks.on("a.b")(endless)
    webhooks.on("a.b")(_nothing)

    async def main() -> WebhookResult:
        body, headers = signed()
        task = asyncio.create_task(webhooks.process(body, headers=headers))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        webhooks.unregister_handler("a.b", endless)
        return await webhooks.process(body, headers=headers)

    assert run_virtual(main()).ok and seen == ["cancelled"]


def test_ctrl_c_in_a_handler_is_not_a_failure_of_it(webhooks: Webhooks):
    @webhooks.on("a.b")
    def interrupted(event: WebhookEvent) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        delivered(webhooks)
    webhooks.unregister_handler("a.b", interrupted)
    assert delivered(webhooks).status == "unhandled"


@pytest.mark.parametrize(
    ("event_type", "handler", "error"),
    [("", print, ValueError), (7, print, TypeError), ("a.b", "print", TypeError), ("a.b", None, TypeError)],
)
def test_what_cannot_be_registered(webhooks: Webhooks, event_type, handler, error):
    with pytest.raises(error):
        webhooks.register_handler(event_type, handler)


def test_the_decorator_needs_its_types(webhooks: Webhooks):
    with pytest.raises(TypeError, match="name the event types"):
        webhooks.on()
    with pytest.raises(TypeError, match="name the event types"):
        webhooks.on(print)  # type: ignore[arg-type]


# Middleware


def test_middleware_goes_around_what_comes_after_it(webhooks: Webhooks, deliver: Send):
    said: list[str] = []

    @webhooks.add_middleware
    def outer(event: WebhookEvent) -> Generator[WebhookEvent | None, WebhookResult, None]:
        said.append("outer in")
        result = yield None
        said.append(f"outer out {result.status}")

    @webhooks.add_middleware
    async def inner(event: WebhookEvent) -> AsyncGenerator[WebhookEvent | None, WebhookResult]:
        await asyncio.sleep(0)
        result = yield event.model_copy(update={"event_type": "c.d"})
        await asyncio.sleep(0)
        said.append(f"inner out {len(result.handlers)}")

    webhooks.on("a.b")(lambda event: said.append("wrong"))
    webhooks.on("c.d")(lambda event: said.append(f"handler {event.event_type} {event.webhook_id}"))
    result = deliver()
    assert said == ["outer in", "handler c.d msg_1", "inner out 1", "outer out handled"]
    assert result.event.event_type == "c.d" and result.duration_seconds > 0
    assert list(webhooks.statistics().by_type) == ["a.b"]


def test_middleware_may_stop_an_event(webhooks: Webhooks, deliver: Send):
    said: list[str] = []

    @webhooks.add_middleware
    def only_ours(event: WebhookEvent) -> Generator[WebhookEvent]:
        if event.data.get("organization_id") == 123:
            yield event

    webhooks.on("*")(lambda event: said.append("handled"))
    assert deliver(1).status == "stopped" and said == []
    assert deliver(2, organization_id=123).status == "handled" and said == ["handled"]


def before(event: WebhookEvent) -> Generator[WebhookEvent]:
    if event.event_type:
        raise ValueError("before")
    yield event


def after(event: WebhookEvent) -> Generator[WebhookEvent]:
    yield event
    raise ValueError("after")


async def after_async(event: WebhookEvent) -> AsyncGenerator[WebhookEvent]:
    yield event
    raise ValueError("after")


def twice(event: WebhookEvent) -> Generator[WebhookEvent]:
    yield event
    yield event


def other(event: WebhookEvent) -> Generator[Any]:
    yield event.data


@pytest.mark.parametrize(
    ("middleware", "error", "handled"),
    [(before, "before", 0), (after, "after", 1), (after_async, "after", 1), (twice, "once", 1), (other, "not dict", 0)],
)
def test_middleware_that_fails_counts_as_a_failure(webhooks: Webhooks, deliver: Send, middleware, error, handled):
    seen: list[str] = []

    @webhooks.add_middleware
    def outer(event: WebhookEvent) -> Generator[WebhookEvent, WebhookResult, None]:
        result = yield event
        seen.append(result.status)

    webhooks.add_middleware(middleware)
    webhooks.on("a.b")(lambda event: "done")
    result = deliver()
    assert result.status == "failed" and seen == ["failed"]
    assert [one.status for one in result.handlers] == ["ok"] * handled + ["failed"]
    assert result.failures[0].handler == middleware.__name__ and error in (result.failures[0].error or "")


def test_middleware_is_left_when_a_call_is_cancelled(webhooks: Webhooks):
    left: list[str] = []

    @webhooks.add_middleware
    def one(event: WebhookEvent) -> Generator[WebhookEvent]:
        try:
            yield event
        finally:
            left.append("sync")

    @webhooks.add_middleware
    async def another(event: WebhookEvent) -> AsyncGenerator[WebhookEvent]:
        try:
            yield event
        finally:
            await asyncio.sleep(0)
            left.append("async")

    @webhooks.on("a.b")
    async def endless(event: WebhookEvent) -> None:
        await asyncio.sleep(3600)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await awaited(webhooks)

    run_virtual(main())
    assert left == ["async", "sync"]


def test_what_a_middleware_sets_in_the_context_is_seen_by_handlers(webhooks: Webhooks, deliver: Send):
    tenant = contextvars.ContextVar("tenant", default="none")

    @webhooks.add_middleware
    def sets(event: WebhookEvent) -> Generator[WebhookEvent]:
        token = tenant.set("ours")
        yield event
        tenant.reset(token)

    webhooks.on("a.b")(lambda event: tenant.get())

    @webhooks.on("a.b")
    async def asks(event: WebhookEvent) -> str:
        return tenant.get()

    assert [one.value for one in deliver().handlers] == ["ours", "ours"] and tenant.get() == "none"


@pytest.mark.parametrize("middleware", [print, lambda event: event, _nothing, None])
def test_what_is_no_middleware(webhooks: Webhooks, middleware):
    with pytest.raises(TypeError, match="generator function"):
        webhooks.add_middleware(middleware)


# Calls


def test_a_call_is_a_call(webhooks: Webhooks):
    assert inspect.iscoroutinefunction(webhooks.process)
    body, headers = signed()
    call = webhooks.process(body, headers=headers)
    assert repr(call) == "<Call a webhook (not sent)>"
    with pytest.raises(TypeError, match="no request"):
        _ = call.raw()
    with pytest.raises(TypeError, match="no request"):
        _ = call.with_options(deadline=1)
    first = call.result()
    assert call.result() is first and webhooks.statistics().received == 1

    async def inside() -> None:
        unsent = webhooks.process(body, headers=headers)
        with pytest.raises(RuntimeError, match="write 'await call'"):
            unsent.result()
        unsent.close()

    asyncio.run(inside())


def test_a_refusal_is_raised_from_the_call(webhooks: Webhooks):
    call = webhooks.process(b"{}", "wrong")
    with pytest.raises(WebhookError):
        call.result()

    async def main() -> None:
        with pytest.raises(WebhookError):
            await webhooks.process(b"{}", "wrong")

    asyncio.run(main())
    assert webhooks.statistics().refused == {"signature": 2}


# Statistics


def test_statistics_tell_what_came_and_what_became_of_it():
    now = NOW
    webhooks = Webhooks(SECRET, clock=lambda: now)
    assert webhooks.statistics() == WebhookStatistics()
    webhooks.on("good")(lambda event: None)
    webhooks.on("bad")(lambda event: 1 / 0)
    for number, event_type in enumerate(["good", "good", "bad", "other"]):
        now = NOW + number
        delivered(webhooks, number, event_type)
    now = NOW + 10
    for body, headers in (signed(0), (b"{}", {}), (b"x" * 2**21, {})):
        with pytest.raises(WebhookError):
            webhooks.process(body, headers=headers).result()
    found = webhooks.statistics()
    assert (found.received, found.verified, found.handled, found.failed, found.unhandled) == (7, 5, 2, 1, 1)
    assert found.refused == {"replay": 1, "signature": 1, "too_large": 1}
    assert {name: (one.received, one.handled, one.failed) for name, one in found.by_type.items()} == {
        "good": (2, 2, 0),
        "bad": (1, 0, 1),
        "other": (1, 1, 0),
    }
    moments = [found.last_handled_at, found.last_failed_at, found.last_refused_at, found.last_received_at]
    assert [moment and moment.timestamp() - NOW for moment in moments] == [1, 2, 10, 10]
    assert found["by_type"]["good"].last_at == found.last_handled_at


def test_types_that_are_made_up_do_not_fill_the_memory():
    webhooks = Webhooks(None)
    for number in range(1_005):
        assert webhooks.process({"event_type": f"made.up.{number}"}).result().status == "unhandled"
    found = webhooks.statistics()
    assert len(found.by_type) == 1_001 and found.by_type["(other)"].received == 5


def test_without_a_secret_the_log_warns_once(caplog: pytest.LogCaptureFixture):
    webhooks = Webhooks(None)
    assert "no secret" not in caplog.text
    for _ in range(3):
        webhooks.process({"event_type": "a.b"}).result()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no secret is configured" in caplog.text


def test_a_result_by_hand():
    one = HandlerResult("handler", "failed", error="no")
    result = WebhookResult("failed", WebhookEvent(event_type="a.b"), (one,))
    assert not result.ok and result.failures == (one,) and not result.event.verified

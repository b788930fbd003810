"""Health checks side by side, of one client and of many, and the one status that comes of them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx2
import pytest

from holdfast import Call, ClientConfig, NotFoundError, ResilientClient
from holdfast.service import CheckResult, HealthReport, Model, ServiceClient, ServiceSettings, check_health
from holdfast.testing import FaultTransport, Step


class Settings(ServiceSettings):
    url: str = "http://pets.test"
    max_retries: int = 1


class Health(Model):
    status: str | None = None


class Pets(ServiceClient[Settings]):
    def health(self) -> Call[dict[str, Any]]:
        return self.get(dict[str, Any], "/health")

    def cached(self) -> Call[dict[str, Any]]:
        return self.get(dict[str, Any], "/health", cache_ttl=60)

    def health_model(self) -> Call[Health]:
        return self.get(Health, "/health")


def service(step: Any = None, **more: Any) -> Pets:
    return Pets(transport=FaultTransport(Step(json={"status": "ok"}) if step is None else step), **more)


def sent(call: Call[Any], colour: str) -> Any:
    async def main() -> Any:
        found = await call
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.sleep(0)
        assert not [task for task in others if not task.done()], "something is left running"
        return found

    return call.result() if colour == "sync" else asyncio.run(main())


both = pytest.mark.parametrize("colour", ["async", "sync"])
pytestmark = pytest.mark.usefixtures("holdfast_clock")


@both
def test_services_are_asked_side_by_side(colour, holdfast_clock):
    def slow(seconds: float) -> Step:
        return Step(json={"status": "ok"}, delay=seconds)

    one, other = service(slow(3.0)), service(slow(2.0))
    report = sent(check_health({"one": one.health(), "other": other.health(), "again": one.health()}), colour)
    assert type(report) is HealthReport and report.overall_status == "healthy" and report.healthy
    assert list(report.checks) == ["one", "other", "again"] and holdfast_clock.elapsed == pytest.approx(3.0, abs=0.1)
    assert report.checks["other"].latency_seconds == pytest.approx(2.0, abs=0.1)
    assert report.checks["one"].details == {"status": "ok"} and report.checks["one"].error is None


@both
def test_a_failed_check_raises_nothing(colour):
    report = sent(
        check_health({"up": service().health(), "down": service(500).health(), "gone": service(404).health()}), colour
    )
    assert [one.status for one in report.checks.values()] == ["healthy", "unhealthy", "unhealthy"]
    assert report.overall_status == "unhealthy" and not report.healthy
    assert report.checks["gone"].error_type == NotFoundError.__name__ and "404" in report.checks["gone"].error


@both
def test_they_are_asked_past_the_cache(colour):
    client = service([Step(json={"status": "ok"}), 500])
    assert sent(client.cached(), colour) == {"status": "ok"}
    report = sent(check_health({"call": client.cached(), "function": client.cached}), colour)
    assert [one.error_type for one in report.checks.values()] == ["ServerError", "ServerError"]


@both
def test_no_checks_are_healthy(colour):
    assert sent(check_health({}), colour).overall_status == "healthy"


@both
@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"status": "ok"}, "healthy"),
        ({"status": "WARN"}, "degraded"),
        ({"status": "degraded"}, "degraded"),
        ({"status": "down"}, "unhealthy"),
        ({"overall_status": "unhealthy", "status": "ok"}, "unhealthy"),
        ({"status": "a word of its own"}, "healthy"),
        ({"status": 7}, "healthy"),
        ({}, "healthy"),
    ],
)
def test_an_answer_may_say_how_it_is(colour, answer, status):
    client = service(Step(json=answer))
    found = sent(check_health({"as it is": client.health()}), colour)
    assert found.overall_status == found.checks["as it is"].status == status
    if "overall_status" not in answer and isinstance(answer.get("status", ""), str):
        assert sent(check_health({"model": client.health_model()}), colour).overall_status == status


def test_who_does_not_answer_in_time_is_unhealthy(holdfast_clock):
    hanging = service(Step(json={}, delay=25.0))
    checks = {"up": service().health(), "hangs": hanging.health()}
    report = sent(check_health(checks, deadline=4), "async")
    assert report.checks["up"].status == "healthy"
    late = report.checks["hangs"]
    assert (late.status, late.error, late.error_type) == ("unhealthy", "no answer within 4 s", "DeadlineExceededError")
    assert late.latency_seconds == pytest.approx(4.0, abs=0.1) and holdfast_clock.elapsed < 10


@both
def test_a_slow_answer_is_degraded(colour):
    checks = {"fast": service().health(), "slow": service(Step(json={}, delay=2.0)).health()}
    report = sent(check_health(checks, slow=1.0), colour)
    assert [one.status for one in report.checks.values()] == ["healthy", "degraded"]


@both
def test_functions_look_at_what_is_here(colour):
    client = service()

    def broken() -> Any:
        raise OSError("cannot read http://ada:secret@db.test/?token=abc")

    checks: dict[str, Any] = {
        "text": lambda: "degraded",
        "mapping": lambda: {"status": "ok", "left": 3},
        "nothing": lambda: None,
        "call": client.health,
        "broken": broken,
        "poll": lambda: client.poll(client.health, until=lambda found: found["status"] == "ok"),
        "nested": lambda: check_health({"inner": lambda: "down"}),
    }
    report = sent(check_health(checks), colour)
    assert [one.status for one in report.checks.values()] == [
        *("degraded", "healthy", "healthy", "healthy", "unhealthy", "healthy", "unhealthy"),
    ]
    assert report.checks["mapping"].details["left"] == 3
    said = report.checks["broken"].error
    assert said is not None and "cannot read" in said and "secret" not in said and "abc" not in said


@both
def test_a_coroutine_function_says_that_it_is_none_of_these(colour):
    async def check() -> str:
        return "ok"

    report = sent(check_health({"wrong": check}), colour)
    assert "not a coroutine" in report.checks["wrong"].error


@both
def test_clients_that_cannot_be_used_are_unhealthy_and_nothing_more(colour):
    class OtherColour(httpx2.AsyncBaseTransport if colour == "sync" else httpx2.BaseTransport):  # type: ignore[misc]
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            raise AssertionError

        handle_async_request: Any = handle_request

    if colour == "sync":
        del OtherColour.handle_request
    else:
        del OtherColour.handle_async_request
    closed = service()
    closed.close().result()
    wrong = Pets(transport=OtherColour())
    report = sent(check_health({"closed": closed.health(), "wrong": wrong.health(), "up": service().health()}), colour)
    assert [one.status for one in report.checks.values()] == ["unhealthy", "unhealthy", "healthy"]
    assert "the client is closed" in report.checks["closed"].error
    assert report.checks["wrong"].error_type == "WrongColour"
    alone = service()
    call = alone.health()
    alone.close().result()
    assert sent(check_health({"closed": call}), colour).overall_status == "unhealthy"


@both
def test_plain_calls_are_checks_too(colour):
    plain = ResilientClient(ClientConfig(base_url="http://plain.test"), transport=FaultTransport(204))
    assert sent(check_health({"plain": plain.get("/health")}), colour).healthy


def test_clients_of_another_thread_and_loop_are_left_as_they_are():
    client = service()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(_awaited(check_health({"a": client.health()})))))
    thread.start()
    thread.join()
    assert found[0].healthy and check_health({"a": client.health()}).result().healthy


async def _awaited(call: Call[Any]) -> Any:
    return await call


def test_cancelled_it_leaves_nothing_behind():
    clients = [service(Step(json={}, delay=60.0)) for _ in range(3)]

    async def main() -> None:
        task = asyncio.ensure_future(check_health({str(n): client.health() for n, client in enumerate(clients)}))
        while not all(client.resilient.bulkhead.in_flight for client in clients):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not any(client.resilient.bulkhead.in_flight for client in clients)

    asyncio.run(main())


def test_it_reads_like_json():
    report = check_health({"a": service().health()}).result()
    assert report["overall_status"] == "healthy" and report["checks"]["a"]["status"] == "healthy"
    assert report.to_dict()["checks"]["a"]["details"] == {"status": "ok"}
    assert list(dict(CheckResult("healthy", 0.1))) == ["status", "latency_seconds", "error", "error_type", "details"]


def test_it_is_a_call_like_others():
    client = service()
    check = client.health()
    call = check_health({"a": check, "b": client.health()})
    assert repr(call) == "<Call health of a, b (not sent)>" and not call.done() and "taken over" in repr(check)
    with pytest.raises(TypeError, match=r"put \.raw\(\) on the calls of its checks"):
        _ = call.raw()
    with pytest.raises(TypeError, match="put the options on the calls of its checks"):
        _ = call.with_options(deadline=3)
    assert call.cancel() and call.done()


def test_wrong_arguments_are_named_at_once():
    wrong: Any = {"a": 7}
    with pytest.raises(TypeError, match="the check 'a' must be a call or a function, not int"):
        _ = check_health(wrong)
    wrong = [1]
    with pytest.raises(TypeError, match="checks must be a mapping of names to calls, not list"):
        _ = check_health(wrong)
    with pytest.raises(ValueError, match="deadline must be more than 0 seconds"):
        _ = check_health({}, deadline=0)
    with pytest.raises(ValueError, match="slow must be a number of seconds, more than 0, not 0"):
        _ = check_health({}, slow=0)

"""What a client logs, where, at which level, and with which fields."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import structlog

from holdfast import HoldfastError, ResilientClient, request_context
from holdfast.testing import FaultTransport, Step
from tests.support.wire import config

NOWHERE = "http://service.test"
LOGGER = "tests.logs"
Records = list[logging.LogRecord]


@pytest.fixture
def logger(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a logger that nobody has used before."""
    name = f"{LOGGER}.{request.node.name}"
    yield name
    logging.getLogger(name).setLevel(logging.NOTSET)


def calls(
    script: list[Any], logger: str, *, level: str = "DEBUG", include: bool = True, **settings: Any
) -> ResilientClient:
    logged = {"level": level, "logger_name": logger, "include_request_id": include}
    return ResilientClient(config(NOWHERE, logging=logged, **settings), transport=FaultTransport(script))


def lines(caplog: pytest.LogCaptureFixture, logger: str, least: int = logging.INFO) -> Records:
    return [one for one in caplog.records if one.name == logger and one.levelno >= least]


def levels(records: Records) -> list[str]:
    return [one.levelname for one in records]


@pytest.mark.parametrize("colour", ["async", "sync"])
def test_a_finished_request_is_one_line(caplog: pytest.LogCaptureFixture, logger: str, colour: str) -> None:
    client = calls([200], logger, level="INFO")
    if colour == "sync":
        client.post("/pets", json={}, request_id="id-1").result()
    else:
        asyncio.run(client.post("/pets", json={}, request_id="id-1"))
    (line,) = lines(caplog, logger, logging.DEBUG)
    assert line.levelname == "INFO"
    assert line.getMessage().startswith("POST /pets 200 in 0.0") and line.getMessage().endswith("[id-1]")
    assert line.__dict__["request_id"] == "id-1" and line.__dict__["route"] == "POST /pets"
    assert (line.__dict__["origin"], line.__dict__["status"]) == (NOWHERE, 200)
    assert (line.__dict__["attempts"], line.__dict__["outcome"]) == (1, "success")
    assert 0 <= line.__dict__["seconds"] < 5


def test_a_retry_is_a_warning_and_a_late_success_an_info(caplog: pytest.LogCaptureFixture, logger: str) -> None:
    calls([503, httpx2.ConnectError, 200], logger, level="INFO").get("/").result()
    records = lines(caplog, logger)
    assert levels(records) == ["WARNING", "WARNING", "INFO"]
    first, second, last = records
    assert "attempt 1 failed (503), next in 0.00 s" in first.getMessage()
    assert "attempt 2 failed (ConnectError)" in second.getMessage()
    assert (second.__dict__["attempt"], second.__dict__["cause"]) == (2, "ConnectError")
    assert "3 attempts" in last.getMessage() and last.__dict__["attempts"] == 3


def test_spent_retries_are_one_error(caplog: pytest.LogCaptureFixture, logger: str) -> None:
    with pytest.raises(HoldfastError):
        calls([500], logger, level="INFO").get("/").result()
    records = lines(caplog, logger)
    assert levels(records) == ["WARNING", "WARNING", "ERROR"]
    text = records[-1].getMessage()
    assert "GET / failed: 500 server_error after 3 attempts" in text and NOWHERE in text
    assert records[-1].__dict__["spent"] is True and records[-1].exc_info is None


@pytest.mark.parametrize(
    ("step", "settings", "level", "text"),
    [
        (404, {}, "INFO", "failed: 404 rejected"),
        (422, {}, "INFO", "failed: 422 rejected"),
        (httpx2.ReadError, {}, "WARNING", "failed: lost after 1 attempt in"),
        (Step(503, headers={"Retry-After": "900"}), {}, "WARNING", "failed: 503 unavailable after 1 attempt in"),
        (Step(200, content=b"x" * 100), {"max_response_bytes": 10}, "WARNING", "failed: unusable"),
    ],
)
def test_an_error_that_was_never_to_be_retried_is_logged_once_and_lower(
    caplog: pytest.LogCaptureFixture, logger: str, step: Any, settings: Any, level: str, text: str
) -> None:
    with pytest.raises(HoldfastError):
        calls([step], logger, level="INFO", **settings).post("/").result()
    (line,) = lines(caplog, logger)
    assert line.levelname == level and text in line.getMessage()
    assert line.__dict__["error"] is True and line.__dict__["spent"] is False


def test_an_open_breaker_is_logged_when_it_changes_and_per_refused_call(
    caplog: pytest.LogCaptureFixture, logger: str
) -> None:
    client = calls([500], logger, retry={"max_attempts": 1}, circuit_breaker={"failure_threshold": 1})
    for _ in range(2):
        with pytest.raises(HoldfastError):
            client.get("/").result()
    client.circuit_breaker.close()
    records = lines(caplog, logger)
    assert levels(records) == ["WARNING", "ERROR", "WARNING", "INFO"]
    changed, failed, refused, closed = records
    assert changed.getMessage() == f"circuit breaker of {NOWHERE}: closed -> open, next probe in 30 s"
    assert "server_error" in failed.getMessage()
    assert "circuit_open after 0 attempts in" in refused.getMessage()
    assert closed.getMessage() == f"circuit breaker of {NOWHERE}: open -> closed"


def test_debug_tells_every_step(caplog: pytest.LogCaptureFixture, logger: str) -> None:
    client = calls(
        [200],
        logger,
        bulkhead={"max_concurrency": 1},
        rate_limit={"rate": 50.0, "burst": 1},
        cache={"default_ttl": 60.0},
    )

    async def main() -> None:
        await asyncio.gather(*(client.get(f"/{number}") for number in range(2)))
        await client.get("/0")

    asyncio.run(main())
    texts = [one.getMessage() for one in lines(caplog, logger, logging.DEBUG) if one.levelno == logging.DEBUG]
    for text in (
        f"GET /0 attempt 1 starts on {NOWHERE}",
        "GET /0 attempt 1 ended: 200 ok in",
        "GET /1 waited for the rate limiter (0.0",
        "GET /0 answered from the cache (hit)",
    ):
        assert any(one.startswith(text) for one in texts), (text, texts)


def test_waiting_for_a_slot_is_logged(caplog: pytest.LogCaptureFixture, logger: str) -> None:
    client = calls([Step(200, delay=0.3)], logger, bulkhead={"max_concurrency": 1, "acquisition_timeout": 0.45})

    async def main() -> None:
        await asyncio.gather(*(client.get("/") for _ in range(3)), return_exceptions=True)

    asyncio.run(main())
    texts = [one.getMessage() for one in lines(caplog, logger, logging.DEBUG)]
    assert any("GET / got a slot of the bulkhead after 0." in one for one in texts)
    assert any("GET / got no slot of the bulkhead after 0." in one for one in texts)


@pytest.mark.parametrize("level", ["INFO", "WARNING", "ERROR", "CRITICAL"])
def test_nothing_below_the_level_is_logged(caplog: pytest.LogCaptureFixture, logger: str, level: str) -> None:
    logging.getLogger(logger).setLevel(logging.DEBUG)  # a logger that lets everything through
    client = calls([200, 500], logger, level=level)
    client.get("/").result()
    with pytest.raises(HoldfastError):
        client.get("/").result()
    expected = ["INFO", "WARNING", "WARNING", "ERROR"]
    number = logging.getLevelNamesMapping()
    assert levels(lines(caplog, logger, 0)) == [one for one in expected if number[one] >= number[level]]


def test_the_logger_decides_too(caplog: pytest.LogCaptureFixture, logger: str) -> None:
    logging.getLogger(logger).setLevel(logging.ERROR)
    client = calls([200, 500], logger)
    client.get("/").result()
    with pytest.raises(HoldfastError):
        client.get("/").result()
    assert levels(lines(caplog, logger, 0)) == ["ERROR"]
    assert logging.getLogger(logger).level == logging.ERROR


def test_a_logger_without_a_level_gets_ours(logger: str) -> None:
    calls([200], logger, level="WARNING")
    assert logging.getLogger(logger).level == logging.WARNING
    calls([200], logger, level="DEBUG")
    assert logging.getLogger(logger).level == logging.DEBUG
    calls([200], logger, level="ERROR")  # another client of the same name does not silence the first
    assert logging.getLogger(logger).level == logging.DEBUG


def test_the_default_logger_is_named_resilient_client(caplog: pytest.LogCaptureFixture) -> None:
    settings = config(NOWHERE, logging={})
    with caplog.at_level(logging.INFO, "resilient_client"):
        ResilientClient(settings, transport=FaultTransport([200])).get("/").result()
    assert [one.name for one in caplog.records] == ["resilient_client"]


def test_request_ids_can_be_kept_out(caplog: pytest.LogCaptureFixture, logger: str) -> None:
    client = calls([503, 404], logger, include=False)
    with request_context("incoming-9"), pytest.raises(HoldfastError):
        client.get("/", request_id="secret-id-7").result()
    records = lines(caplog, logger, 0)
    assert len(records) > 4
    for line in records:
        assert "secret-id-7" not in line.getMessage() and "incoming-9" not in line.getMessage()
        assert "secret-id-7" not in str(line.__dict__) and "request_id" not in line.__dict__


def test_the_id_of_the_request_being_served_is_told(caplog: pytest.LogCaptureFixture, logger: str) -> None:
    client = calls([503, 200], logger, level="INFO")
    with request_context("incoming-9"):
        client.get("/", request_id="out-1").result()
    client.get("/", request_id="out-2").result()
    retried, finished, other = lines(caplog, logger)
    assert retried.getMessage().endswith("[out-1 for incoming-9]")
    assert finished.getMessage().endswith("[out-1 for incoming-9]")
    assert finished.__dict__["correlation_id"] == "incoming-9"
    assert other.getMessage().endswith("[out-2]") and other.__dict__["correlation_id"] == ""


def test_tasks_log_the_ids_of_their_own_context(caplog: pytest.LogCaptureFixture, logger: str) -> None:
    client = calls([Step(200, delay=0.01)], logger, level="INFO")

    async def serve(number: int) -> None:
        with request_context(f"in-{number}"):
            await client.get("/", request_id=f"out-{number}")

    async def main() -> None:
        await asyncio.gather(*(serve(number) for number in range(5)))

    asyncio.run(main())
    told = {line.__dict__["request_id"]: line.__dict__["correlation_id"] for line in lines(caplog, logger)}
    assert told == {f"out-{number}": f"in-{number}" for number in range(5)}


def test_no_secret_is_logged(caplog: pytest.LogCaptureFixture, logger: str) -> None:
    transport = FaultTransport([500, Step(error=httpx2.ConnectError("could not connect")), 401])
    settings = config(
        NOWHERE, logging={"level": "DEBUG", "logger_name": logger}, headers={"X-API-Key": "t0ps3cret", "X-Mine": "m1ne"}
    )
    client = ResilientClient(settings, transport=transport)
    with pytest.raises(HoldfastError):
        client.post(
            "/a?access_token=t0ps3cret",
            auth=("jo", "t0ps3cret"),
            cookies={"session": "t0ps3cret"},
            json={"password": "t0ps3cret"},
        ).result()
    records = lines(caplog, logger, 0)
    assert len(records) > 5
    for line in records:
        assert "t0ps3cret" not in line.getMessage() and "t0ps3cret" not in str(line.__dict__)


# structlog


@pytest.fixture
def structured() -> Iterator[list[dict[str, Any]]]:
    """structlog, configured by the program; what it was given."""
    given: list[dict[str, Any]] = []

    def keep(logger: Any, method: str, event: Any) -> Any:
        given.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.stdlib.add_log_level, keep],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        cache_logger_on_first_use=False,
    )
    yield given
    structlog.reset_defaults()


def test_structlog_is_used_when_it_is_configured(
    caplog: pytest.LogCaptureFixture, structured: list[dict[str, Any]], logger: str
) -> None:
    client = calls([503, 200], logger, level="INFO")
    client.get("/pets", request_id="id-1").result()
    assert [one["level"] for one in structured] == ["warning", "info"]
    finished = structured[-1]
    assert finished["event"].startswith("GET /pets 200 in") and finished["request_id"] == "id-1"
    assert (finished["attempts"], finished["status"], finished["origin"]) == (2, 200, NOWHERE)
    assert not lines(caplog, logger, 0)


def test_structlog_gets_the_findings_of_lint(structured: list[dict[str, Any]], logger: str) -> None:
    calls([200], logger, level="INFO", max_connections=1)
    (finding,) = structured
    assert finding["level"] == "warning" and finding["code"] == "pool-smaller-than-bulkhead"


def test_structlog_that_nobody_configured_is_not_used(caplog: pytest.LogCaptureFixture, logger: str) -> None:
    structlog.reset_defaults()
    with contextlib.redirect_stdout(None):
        calls([200], logger).get("/").result()
    assert "INFO" in levels(lines(caplog, logger))


def test_structlog_keeps_to_the_level(structured: list[dict[str, Any]], logger: str) -> None:
    client = calls([200, 503, 200], logger, level="WARNING")
    client.get("/").result()
    assert not structured
    client.get("/").result()
    assert [one["level"] for one in structured] == ["warning"]


def test_a_cancelled_call_is_an_info(caplog: pytest.LogCaptureFixture, logger: str) -> None:
    client = calls([Step(200, delay=5.0)], logger, level="INFO")

    async def main() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(client.get("/"), 0.02)

    asyncio.run(main())
    (line,) = lines(caplog, logger)
    assert line.levelname == "INFO" and "GET / failed: cancelled after 1 attempt" in line.getMessage()

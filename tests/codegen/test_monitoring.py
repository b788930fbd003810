"""What the client tells of itself: health, figures, their export, and log lines."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest

from holdfast.codegen import AsyncCodegenClient, CodegenAPIError
from tests.support.codegen import BASE, RUN, TOKEN, Service, problem
from tests.support.colours import Colour

# Health


def test_all_is_well(service: Service, colour: Colour) -> None:
    client = service.client()
    colour(client.get_current_user())
    health = colour(client.health_check())
    assert health["overall_status"] == "healthy"
    assert {name: check["status"] for name, check in health["checks"].items()} == {
        "api_connectivity": "healthy",
        "rate_limiting": "healthy",
        "circuit_breaker": "healthy",
    }
    assert service.asked["GET /v1/users/me"] == 2  # the service was asked
    assert json.dumps(health.to_dict())
    colour(client.close())


def test_a_service_that_fails_is_reported(service: Service) -> None:
    client = service.client(max_retries=0)
    service.broken["GET /v1/users/me"] = [500] * 9
    for _ in range(4):
        with pytest.raises(CodegenAPIError):
            client.get_current_user().result()
    health = client.health_check().result()
    assert health["overall_status"] == "unhealthy"
    check = health["checks"]["api_connectivity"]
    assert (check["status"], check["error_type"]) == ("unhealthy", "ServerError") and "500" in check["error"]
    assert client.health_check().result()["checks"]["circuit_breaker"]["status"] == "unhealthy"


def test_a_limiter_that_was_slowed_down_is_reported(service: Service, client: AsyncCodegenClient) -> None:
    service.broken[f"POST {RUN}"] = [problem(429, "later")]
    client.create_agent_run(123, "p").result()
    check = client.health_check().result()["checks"]["rate_limiting"]
    assert check["status"] == "degraded" and check["details"]["slowed_down"] == ["agent runs"]


# Figures


def test_the_summary(service: Service, client: AsyncCodegenClient) -> None:
    client.get_current_user().result()
    client.get_current_user().result()
    with pytest.raises(CodegenAPIError):
        client.get_user(123, 99).result()
    found = client.get_metrics_summary()
    stats = found["monitoring"]["performance_stats"]
    assert (stats["total_requests"], stats["attempts"], stats["failed_requests"]) == (3, 2, 1)
    assert stats["error_rate"] == pytest.approx(100 / 3) and stats["average_response_time_ms"] > 0
    assert 0 < stats["p50"] <= stats["p95"] <= stats["p99"] <= stats["slowest_response_time_ms"]
    assert stats["statuses"] == {"2xx": 2, "4xx": 1}
    assert found["cache"]["hits"] == 1 and found["cache"]["size"] == 1
    assert found["enabled_features"] == dict.fromkeys(
        ("caching", "webhooks", "bulk_operations", "streaming", "metrics"), True
    )
    assert found["client_config"]["org_id"] == "123" and found["client_config"]["api_token"] == "**********"
    assert found["circuit_breaker"] == {"state": "closed"} and "webhooks" not in found


def test_without_metrics_there_is_no_monitoring(service: Service) -> None:
    client = service.client(enable_metrics=False)
    client.get_current_user().result()
    found = client.get_metrics_summary()
    assert "monitoring" not in found and found["enabled_features"]["metrics"] is False
    assert "codegen_requests_total" not in client.export_metrics("prometheus")


def test_json(service: Service, client: AsyncCodegenClient) -> None:
    client.get_current_user().result()
    text = client.export_metrics()
    assert json.loads(text)["monitoring"]["performance_stats"]["total_requests"] == 1
    assert json.loads(text)["timestamp"] > 1e9 and TOKEN not in text


def test_prometheus(service: Service, client: AsyncCodegenClient) -> None:
    client.get_current_user().result()
    client.bulk_get_users(123, [1, 99]).result()
    text = client.export_metrics("prometheus")
    assert TOKEN not in text and text.endswith("\n")
    assert 'codegen_requests_total{outcome="success"} 2\n' in text
    assert 'codegen_answers_total{status="4xx"} 1\n' in text
    assert 'codegen_bulk_items_total{result="failed"} 1\n' in text
    assert 'codegen_rate_limit_requests_per_period{limit="agent runs"} 60\n' in text
    assert 'codegen_circuit_breaker_state{state="closed"} 1\n' in text
    assert f'codegen_client_info{{engine="{client.resilient.metrics().engine}"}} 1\n' in text
    # https://prometheus.io/docs/instrumenting/exposition_formats: one HELP and TYPE before each family's samples
    family = ""
    seen: set[str] = set()
    for line in text.splitlines():
        help_ = re.fullmatch(r"# HELP (codegen_\w+) \S.*", line)
        kind = re.fullmatch(r"# TYPE (codegen_\w+) (?:counter|gauge)", line)
        if help_:
            family = help_[1]
            assert family not in seen
            seen.add(family)
        elif kind:
            assert kind[1] == family
        else:
            assert re.fullmatch(rf'{family}(?:\{{\w+="[^"\\]*"\}})? [-+.e\d]+', line), line
    assert len(seen) > 10


def test_another_format_is_refused(client: AsyncCodegenClient) -> None:
    with pytest.raises(ValueError, match="no format 'xml': metrics are exported as 'json' or 'prometheus'"):
        client.export_metrics("xml")  # type: ignore[arg-type]


# Log lines


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "holdfast.codegen"]


def test_requests_are_logged_and_answers_are_not(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    service.client(log_level="INFO").get_current_user().result()
    (line,) = lines(caplog)
    assert line.startswith("GET /v1/users/me 200 in ") and TOKEN not in line


@pytest.mark.parametrize("private", [False, True])
def test_answers_are_logged_if_wanted(service: Service, caplog: pytest.LogCaptureFixture, private: bool) -> None:
    client = service.client(log_level="INFO", log_responses=True, log_sensitive_data=private, enable_caching=False)
    client.get_current_user().result()
    client.get_users(123, limit=1).result()
    client.create_agent_run(123, "p", metadata={"deal": "secret"}).result()
    told = [line for line in lines(caplog) if " answered 200: " in line]
    assert [line.split(" answered")[0] for line in told] == [
        "GET /v1/users/me",
        f"GET {BASE}/users",
        f"POST {RUN}",
    ]
    assert all('"id": 1' in line for line in told)
    assert ("user-1" in told[0], "user-1" in told[1], "deal" in told[2]) == (private,) * 3
    assert "p" not in told[0].split("answered")[0] or TOKEN not in "".join(told)


def test_an_answer_that_is_no_json_is_counted(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    from holdfast.testing import Step

    service.broken["GET /v1/users/me"] = [Step(json={"id": 1, "github_username": "x" * 5000})]
    client = service.client(log_level="INFO", log_responses=True, log_sensitive_data=True)
    client.get_current_user().result()
    assert len(lines(caplog)[1]) < 400


def test_quiet_about_requests_but_not_about_failures(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    client = service.client(log_level="INFO", log_requests=False, retry_delay=0.001, retry_max_wait=0.001)
    service.broken["GET /v1/users/me"] = [503]
    client.get_current_user().result()
    (line,) = lines(caplog)
    assert "attempt 1 failed" in line


def test_debug_mode_tells_everything(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("holdfast.codegen").setLevel(logging.NOTSET)
    client = service.client(log_level="ERROR", debug_mode=True)
    client.get_current_user().result()
    assert any("attempt 1 starts" in line for line in lines(caplog))


def test_answers_in_numbers(client: Any) -> None:
    assert client.get_metrics_summary()["monitoring"]["performance_stats"]["total_requests"] == 0

"""What the Crews client logs: where, at which level, with which facts, and what it keeps to itself."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from holdfast import request_context
from holdfast.crews import CrewClient, CrewClientConfig, CrewClientError
from holdfast.testing import FaultTransport, Step, VirtualClock

REPLY = {"success": True, "result": "the-result", "execution_time": 45.234, "timestamp": "now"}
FAILED = {"success": False, "error": "no input", "execution_time": 1.5}
INPUTS = {"text": "the-input", "password": "hunter2"}

Records = list[logging.LogRecord]


def execute(script: Any, caplog: pytest.LogCaptureFixture, **settings: Any) -> Records:
    """What one execution logs, without what the client says at DEBUG about its connections."""
    client = CrewClient(CrewClientConfig.model_validate(settings), transport=FaultTransport(script))
    caplog.clear()
    with client, request_context("incoming-1"):
        try:
            client.execute_crew("writers", INPUTS, request_id="mine").result()
        except CrewClientError:
            pass
    return [one for one in caplog.records if one.name.startswith("holdfast.")]


def shown(records: Records) -> list[tuple[str, str]]:
    return [(one.levelname, one.getMessage()) for one in records]


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture, holdfast_clock: VirtualClock) -> None:
    caplog.set_level(logging.DEBUG)


def test_an_execution_is_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    records = execute(Step(json=REPLY, delay=50.0), caplog)
    assert shown(records) == [
        ("INFO", "POST /execute_crew 200 in 50.000 s [mine for incoming-1]"),
        ("INFO", "Crew 'writers' succeeded in 45.23 s [mine for incoming-1]"),
    ]
    assert {one.name for one in records} == {"holdfast.crews"}
    facts = records[1].__dict__
    assert (facts["crew_name"], facts["success"], facts["execution_time"]) == ("writers", True, 45.234)
    assert facts["total_time"] == pytest.approx(50.0, abs=0.1) and facts["attempts"] == 1
    assert (facts["request_id"], facts["correlation_id"]) == ("mine", "incoming-1")


def test_a_failed_crew_is_one_error(caplog: pytest.LogCaptureFixture) -> None:
    records = execute(Step(json=FAILED), caplog)
    assert shown(records)[1:] == [("ERROR", "Crew 'writers' failed after 1.50 s: no input [mine for incoming-1]")]
    assert records[0].levelname == "INFO"
    assert (records[1].__dict__["success"], records[1].__dict__["error"]) == (False, "no input")


@pytest.mark.parametrize(
    ("script", "levels"),
    [
        ([503], ["WARNING", "WARNING", "ERROR"]),
        ([503, Step(json=REPLY)], ["WARNING", "INFO", "INFO"]),
        ([404], ["INFO"]),
        ([Step(json={})], ["INFO"]),
    ],
)
def test_an_error_that_is_raised_is_logged_once(
    caplog: pytest.LogCaptureFixture, script: Any, levels: list[str]
) -> None:
    assert [one.levelname for one in execute(script, caplog)] == levels


def test_every_attempt_is_told_of_if_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    records = execute([503, Step(json=REPLY)], caplog, log_level="DEBUG")
    starts = [text for level, text in shown(records) if level == "DEBUG" and "starts" in text]
    assert len(starts) == 2 and all(text.startswith("POST /execute_crew attempt") for text in starts)


@pytest.mark.parametrize(("settings", "levels"), [({}, ["ERROR"]), ({"log_level": "INFO"}, ["INFO", "ERROR"])])
def test_production_is_quiet(caplog: pytest.LogCaptureFixture, settings: Any, levels: list[str]) -> None:
    assert len(execute(Step(json=REPLY), caplog)) == 2  # another client's level is not this one's
    assert execute(Step(json=REPLY), caplog, environment="production", log_level=None) == []
    assert [one.levelname for one in execute(Step(json=FAILED), caplog, environment="production", **settings)] == levels


PLAIN = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


@pytest.mark.parametrize("script", [[503, 503, Step(json=REPLY)], [Step(json=FAILED)], [503], [404]])
def test_every_line_can_be_written_as_json(caplog: pytest.LogCaptureFixture, script: Any) -> None:
    for record in execute(script, caplog, log_level="DEBUG"):
        fields = {name: value for name, value in record.__dict__.items() if name not in PLAIN}
        assert fields and json.loads(json.dumps(fields, allow_nan=False)) == fields
        assert "\n" not in record.getMessage()


@pytest.mark.parametrize("error", [None, "line\nand\r\nline", {"code": 7}, "x" * 10_000])
def test_what_a_failed_crew_says_is_one_line(caplog: pytest.LogCaptureFixture, error: Any) -> None:
    line = execute(Step(json={**FAILED, "error": error}), caplog)[-1]
    assert "\n" not in line.getMessage() and len(line.getMessage()) < 400


def test_no_secret_and_no_input_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def echo(request: Any) -> Step:
        sent = request.headers["Authorization"]
        return Step(json={"success": False, "error": f"I was called with {sent} and with {sent.split()[1]}"})

    for script in (echo, Step(json=REPLY), Step(503, json={"detail": "down"}), Step(json={})):
        execute(script, caplog, log_level="DEBUG")
        text = caplog.text + repr([one.__dict__ for one in caplog.records])
        assert not re.search(r"eyJ[\w-]+\.", text)
        for kept in ("the-input", "hunter2", "the-result", "a-secret-of-more"):
            assert kept not in text
    with pytest.raises(CrewClientError) as caught:
        CrewClient(transport=FaultTransport(echo)).execute_crew("writers", INPUTS).result()
    assert "eyJ" not in str(caught.value)


@pytest.fixture
def structured() -> Iterator[list[Any]]:
    lines: list[Any] = []
    structlog.configure(processors=[structlog.processors.add_log_level, lambda *line: _collected(lines, line[2])])
    yield lines
    structlog.reset_defaults()


def _collected(lines: list[Any], line: Any) -> Any:
    lines.append(line)
    raise structlog.DropEvent


def test_structlog_gets_the_lines_where_it_is_configured(
    caplog: pytest.LogCaptureFixture, structured: list[Any]
) -> None:
    assert execute(Step(json=FAILED), caplog) == []
    assert [line["level"] for line in structured] == ["info", "error"]
    assert (structured[1]["crew_name"], structured[1]["error"]) == ("writers", "no input")

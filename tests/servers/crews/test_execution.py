"""Executing a crew: what it is given, what it returns, how it fails, and how long it may take."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from typing import Any

import pytest
from pydantic import BaseModel

from holdfast.servers.crews import CrewError
from tests.support.crews import ServedCrews, serving_crews

FIELDS = {"success", "crew_name", "result", "error", "execution_time", "timestamp"}
PATIENCE = 20.0


def plain(inputs: dict[str, Any]) -> Any:
    """Gives back what it is given.

    More than that is not told.
    """
    return inputs


async def asynchronous(inputs: dict[str, Any]) -> Any:
    await asyncio.sleep(0)
    return inputs


class Kickoff:
    def __init__(self) -> None:
        self.times = 0

    def kickoff(self, inputs: dict[str, Any]) -> Any:
        self.times += 1
        return {"inputs": inputs, "times": self.times}


class AsyncKickoff(Kickoff):
    async def akickoff(self, inputs: dict[str, Any]) -> Any:
        return {"async": inputs}


class AsyncCallable:
    async def __call__(self, inputs: dict[str, Any]) -> Any:
        return inputs


class Output(BaseModel):
    raw: str
    parts: list[int]


def test_what_a_crew_returns_is_the_result(crews):
    crews.add(plain=plain)
    answer = crews("plain", x=[1, None, {"ü": 2.5}])
    assert answer.keys() == FIELDS
    assert (answer["success"], answer["crew_name"], answer["error"]) == (True, "plain", None)
    assert answer["result"] == {"x": [1, None, {"ü": 2.5}]}
    assert answer["timestamp"] == "2024-02-29T12:00:00.123456Z"
    assert 0 <= answer["execution_time"] < PATIENCE


@pytest.mark.parametrize(
    ("target", "results"),
    [
        (asynchronous, [{"a": 1}] * 2),
        (AsyncCallable(), [{"a": 1}] * 2),
        (lambda inputs: asynchronous(inputs), [{"a": 1}] * 2),
        (AsyncKickoff(), [{"async": {"a": 1}}] * 2),
        (Kickoff(), [{"inputs": {"a": 1}, "times": 1}, {"inputs": {"a": 1}, "times": 2}]),
        (Kickoff, [{"inputs": {"a": 1}, "times": 1}] * 2),
        (lambda inputs: Output(raw="r", parts=[1]), [{"raw": "r", "parts": [1]}] * 2),
        (lambda inputs: {"out": [Output(raw="r", parts=[])]}, [{"out": [{"raw": "r", "parts": []}]}] * 2),
        (lambda inputs: None, [None] * 2),
        (lambda inputs: (1, "ü", 2**70), [[1, "ü", 2**70]] * 2),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_a_crew_may_be_many_things(crews, target, results):
    crews.add(it=target)
    for result in results:
        answer = crews("it", a=1)
        assert (answer["result"], answer["error"], answer["success"]) == (result, None, True)


def test_crews_are_listed(crews):
    crews.add(plain=plain, kickoff=Kickoff(), kind=Kickoff)
    listed = crews.served.ok("GET", "/crews")
    assert listed.keys() == {"available_crews", "total_count", "timestamp"}
    assert listed["total_count"] == len(listed["available_crews"]) == 4
    assert listed["available_crews"]["plain"] == {
        "class_name": "plain",
        "module": __name__,
        "description": "Gives back what it is given.",
    }
    for name in ("kickoff", "kind"):
        assert listed["available_crews"][name] == {"class_name": "Kickoff", "module": __name__, "description": ""}
    maker = listed["available_crews"]["memory_maker_crew"]
    assert maker["class_name"] == "MemoryMaker" and maker["description"]


@pytest.mark.parametrize("environment", [None, "staging"])
def test_health_is_of_crews_and_of_sessions(tmp_path, monkeypatch, storage, environment):
    monkeypatch.delenv("ENVIRONMENT", raising=False)
    if environment:
        monkeypatch.setenv("ENVIRONMENT", environment)
    with serving_crews(storage) as crews:
        crews.add(plain=plain)
        health = crews.served.ok("GET", "/health", headers={"Authorization": ""})
        assert health["status"] == "healthy"
        assert health["service"] == "sparkjar-crews"
        assert health["environment"] == (environment or "development")
        assert health["available_crews"] == ["memory_maker_crew", "plain"]
        assert health["timestamp"]
        assert crews.served.ok("GET", "/health/live") == {"status": "alive"}
        assert crews.served.ok("GET", "/health/ready") == {"status": "ready"}


def test_a_crew_that_is_not_there_is_a_404_with_those_that_are(crews):
    crews.add(plain=plain)
    assert crews.served.refused("POST", "/execute_crew", {"crew_name": "x", "inputs": {}}) == (
        404,
        "Crew 'x' not found. Available crews: ['memory_maker_crew', 'plain']",
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"inputs": {}}, "crew_name"),
        ({"crew_name": "", "inputs": {}}, "crew_name"),
        ({"crew_name": "c" * 201, "inputs": {}}, "crew_name"),
        ({"crew_name": "plain"}, "inputs"),
        ({"crew_name": "plain", "inputs": []}, "inputs"),
        ({"crew_name": "plain", "inputs": {"a": "\x00"}}, "inputs"),
        *(
            ({"crew_name": "plain", "inputs": {}, "timeout": timeout}, "timeout")
            for timeout in (0, -1, 86_401, "5", True, None)
        ),
    ],
)
def test_what_cannot_be_executed_names_the_field(crews, body, field):
    crews.add(plain=plain)
    status, (problem,) = crews.served.refused("POST", "/execute_crew", body)
    assert (status, problem["loc"]) == (422, ["body", field])


@pytest.mark.parametrize("text", ['{"crew_name": "plain", "inputs": {"a": NaN}}', '{"crew_name": "plain", "timeout":'])
def test_what_is_no_json_is_refused(crews, text):
    answer = crews.served("POST", "/execute_crew", content=text, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


def failing(error: BaseException) -> list[Any]:
    def plainly(inputs: dict[str, Any]) -> Any:
        raise error

    async def asynchronously(inputs: dict[str, Any]) -> Any:
        raise error

    return [plainly, asynchronously]


@pytest.mark.parametrize("form", [0, 1])
def test_a_crew_may_say_why_it_fails(crews, form):
    crews.add(it=failing(CrewError(" Invalid input format "))[form])
    answer = crews("it")
    assert (answer["success"], answer["result"], answer["error"]) == (False, None, "Invalid input format")


@pytest.mark.parametrize("form", [0, 1])
@pytest.mark.parametrize(
    "error",
    [
        ValueError("password hunter2"),
        KeyError("hunter2"),
        StopIteration("hunter2"),
        SystemExit("hunter2"),
        KeyboardInterrupt("hunter2"),
        asyncio.CancelledError("hunter2"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_of_any_other_failure_the_server_tells_its_log_alone(crews, caplog, error, form):
    crews.add(it=failing(error)[form])
    answer = crews("it")
    name = "RuntimeError" if isinstance(error, StopIteration) else type(error).__name__
    assert answer["success"] is False
    assert answer["error"].startswith(f"{name}; ")
    assert "hunter2" not in str(answer) and "Traceback" not in str(answer)
    number = answer["error"].split()[-1]
    (record,) = (record for record in caplog.records if number in record.getMessage())
    assert record.levelno == logging.ERROR and record.exc_info
    # The server is still there.
    crews.add(plain=plain)
    assert crews("plain")["success"] is True


def circle() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


def nested() -> list[Any]:
    made: list[Any] = []
    for _ in range(100_000):
        made = [made]
    return made


class Broken(BaseModel):
    value: object = object()


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (object(), "object"),
        ({1, 2}, "set"),
        (b"hunter2", "bytes"),
        (float("nan"), "float"),
        ({(1, 2): 3}, "keys"),
        (circle(), "ircular"),
        (nested(), "deep"),
        ("half \ud83d", "surrogate"),
        (Broken(), "Broken"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() and value.isalpha() else "result",
)
def test_a_result_that_is_no_json_is_a_failure_that_says_so(crews, result, says):
    crews.add(it=lambda inputs: result)
    answer = crews("it")
    assert (answer["success"], answer["result"]) == (False, None)
    assert answer["error"].startswith("the result is no JSON: ")
    assert says in answer["error"] and "hunter2" not in answer["error"]


def test_a_long_message_is_cut_and_can_always_be_sent(crews):
    crews.add(it=failing(CrewError("\ud83d" + "m" * 10_000))[0], silent=failing(CrewError())[0])
    assert crews("it")["error"] == "?" + "m" * 1_999
    assert crews("silent")["error"] == "it does not say why"


def test_an_async_crew_that_takes_too_long_is_cancelled(crews):
    seen: list[str] = []

    async def slow(inputs: dict[str, Any]) -> None:
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    crews.add(slow=slow)
    answer = crews("slow", timeout=0.02)
    assert (answer["success"], answer["result"]) == (False, None)
    assert answer["error"] == "Crew 'slow' timed out after 0.02 s"
    assert 0.02 <= answer["execution_time"] < PATIENCE
    assert seen == ["cancelled"]
    assert crews.executions.slots.busy == 0


def test_a_crew_that_nobody_can_stop_is_answered_for_and_still_counts(tmp_path, storage):
    released = threading.Event()
    ended = threading.Event()

    def stubborn(inputs: dict[str, Any]) -> str:
        released.wait(PATIENCE)
        ended.set()
        return "too late"

    with serving_crews(storage, {"max_concurrency": 2}) as crews:
        crews.add(stubborn=stubborn, plain=plain)
        assert crews("stubborn", timeout=0.02, key="k")["error"] == "Crew 'stubborn' timed out after 0.02 s"
        assert crews.executions.slots.busy == 1
        assert crews("plain")["success"] is True
        assert crews("stubborn", timeout=0.02)["success"] is False
        busy = crews.served.run(crews.ask("plain", key="another"))
        assert (busy.status_code, busy.headers["Retry-After"]) == (503, "1")
        assert "2 executions" in busy.json()["detail"]
        released.set()
        assert ended.wait(PATIENCE)
        wait_until(crews, lambda: crews.executions.slots.busy == 0)
        # Neither did the late result get anywhere, nor did being busy use up the key.
        assert crews("stubborn", timeout=0.02, key="k")["error"] == "Crew 'stubborn' timed out after 0.02 s"
        assert crews("plain", key="another")["success"] is True


def test_a_crew_that_does_not_want_to_be_cancelled_is_answered_for_and_still_counts(crews):
    released = asyncio.Event()

    async def stubborn(inputs: dict[str, Any]) -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                pass
        raise ValueError("too late")

    crews.add(stubborn=stubborn)
    assert crews("stubborn", timeout=0.02)["error"] == "Crew 'stubborn' timed out after 0.02 s"
    assert crews.executions.slots.busy == 1
    released.set()
    wait_until(crews, lambda: crews.executions.slots.busy == 0)


def test_a_thread_has_the_context_of_its_execution(crews):
    variable = contextvars.ContextVar[str]("variable", default="outside")

    def look(inputs: dict[str, Any]) -> list[str]:
        before = variable.get()
        variable.set(inputs["name"])
        return [before, variable.get()]

    crews.add(look=look)
    assert [crews("look", name=name)["result"] for name in "ab"] == [["outside", "a"], ["outside", "b"]]


def wait_until(crews: ServedCrews, condition: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.005)

    crews.served.run(main())

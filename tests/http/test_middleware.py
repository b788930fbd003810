"""`RequestIdMiddleware`: whose id an answer carries, and what is done for its request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import BackgroundTasks, FastAPI, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.testclient import TestClient

from holdfast import ClientConfig, RequestIdMiddleware, ResilientClient, get_request_id
from holdfast.testing import FaultTransport, Step

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def serving(*, given: FaultTransport | None = None) -> tuple[FastAPI, FaultTransport]:
    """An app that tells its request ids, and calls another service."""
    upstream = given or FaultTransport([Step(json={})])
    client = ResilientClient(ClientConfig(base_url="http://other.test"), transport=upstream)
    app = FastAPI()
    app.add_middleware(RequestIdMiddleware)
    app.state.noted = []

    @app.get("/id")
    async def tell() -> list[str]:
        await client.get("/things")
        return [get_request_id(), get_request_id()]

    @app.get("/thread")
    def tell_on_a_thread() -> str:
        client.post("/things").result()
        return get_request_id()

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            for _ in range(3):
                await asyncio.sleep(0)
                yield get_request_id() + "\n"
            await client.get("/things")

        return StreamingResponse(parts())

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> None:
        tasks.add_task(lambda: app.state.noted.append(get_request_id()))

    @app.get("/own")
    async def own() -> JSONResponse:
        return JSONResponse({}, headers={"x-request-id": "the app's own", "X-Other": "kept"})

    @app.get("/fails")
    async def fails() -> None:
        raise RuntimeError("oops")

    @app.websocket("/ws")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json([get_request_id(), get_request_id()])
        await websocket.close()

    return app, upstream


def test_the_id_that_came_is_that_of_everything_that_is_done():
    app, upstream = serving()
    with TestClient(app) as browser:
        answer = browser.get("/id", headers={"X-Request-ID": "incoming-42", "traceparent": TRACE})
    assert answer.json() == ["incoming-42", "incoming-42"]
    assert answer.headers["x-request-id"] == "incoming-42"
    sent = upstream.requests[0].headers
    assert sent["x-correlation-id"] == "incoming-42" and sent["traceparent"] == TRACE
    assert sent["x-request-id"] != "incoming-42"


def test_an_endpoint_on_a_thread_has_it_too():
    app, upstream = serving()
    with TestClient(app) as browser:
        assert browser.get("/thread", headers={"X-Request-ID": "incoming-42"}).json() == "incoming-42"
    assert upstream.requests[0].headers["x-correlation-id"] == "incoming-42"


def test_without_an_id_each_request_gets_one():
    app, upstream = serving()
    with TestClient(app) as browser:
        first, second = browser.get("/id"), browser.get("/id")
    for answer, sent in zip((first, second), upstream.requests, strict=True):
        assert answer.json() == [answer.headers["x-request-id"]] * 2
        assert sent.headers["x-correlation-id"] == answer.headers["x-request-id"]
        assert "traceparent" not in sent.headers
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@pytest.mark.parametrize("length", [1, 200])
def test_lengths_that_are_taken(length):
    app, _ = serving()
    with TestClient(app) as browser:
        assert browser.get("/id", headers={"X-Request-ID": "!" * length}).headers["x-request-id"] == "!" * length


@pytest.mark.parametrize("bad", [b"", b"x" * 201, b"two words", b"tab\there", b"caf\xe9", b"\x7f", b"a\nb", b"a\r\nb"])
def test_what_cannot_be_an_id_is_replaced(bad):
    headers, _ = asyncio.run(asked([(b"x-request-id", bad), (b"traceparent", b"nonsense")]))
    made = dict(headers)[b"x-request-id"]
    assert made != bad and 16 < len(made) <= 200 and made.isascii()


def test_two_ids_are_none():
    headers, _ = asyncio.run(asked([(b"X-Request-Id", b"one"), (b"x-request-id", b"two")]))
    assert [value for name, value in headers if name == b"x-request-id"] not in ([b"one"], [b"two"])


async def asked(headers: list[tuple[bytes, bytes]]) -> tuple[list[tuple[bytes, bytes]], str]:
    """The headers of the answer to a request of these, and the id that the app saw. As raw ASGI, without a server."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(get_request_id())
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        seen.append(message)

    await RequestIdMiddleware(app)({"type": "http", "headers": headers}, None, send)  # type: ignore[arg-type]
    return seen[1]["headers"], seen[0]


def test_an_id_of_the_apps_own_gives_way_and_its_other_headers_stay():
    app, _ = serving()
    with TestClient(app) as browser:
        answer = browser.get("/own", headers={"X-Request-ID": "incoming-42"})
    assert answer.headers.get_list("x-request-id") == ["incoming-42"] and answer.headers["x-other"] == "kept"


def test_messages_of_the_app_are_not_changed():
    start = {"type": "http.response.start", "status": 200, "headers": []}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start)

    async def send(message: Any) -> None:
        assert message["headers"]

    asyncio.run(RequestIdMiddleware(app)({"type": "http", "headers": []}, None, send))  # type: ignore[arg-type]
    assert start["headers"] == []


def test_while_streaming_and_in_the_background():
    app, upstream = serving()
    with TestClient(app) as browser:
        answer = browser.get("/stream", headers={"X-Request-ID": "incoming-42"})
        browser.get("/background", headers={"X-Request-ID": "incoming-43"})
    assert answer.text.split() == ["incoming-42"] * 3
    assert upstream.requests[0].headers["x-correlation-id"] == "incoming-42"
    assert app.state.noted == ["incoming-43"]


def test_requests_that_are_served_at_once_keep_theirs():
    upstream = FaultTransport(lambda request: Step(delay=0.001 * (hash(request.url.path) % 3), json={}))
    app, _ = serving(given=upstream)

    async def main() -> list[httpx2.Response]:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://app.test") as browser:
            places = ["/id", "/stream", "/thread"]
            return await asyncio.gather(
                *(browser.get(places[one % 3], headers={"X-Request-ID": f"in-{one}"}) for one in range(60))
            )

    for number, answer in enumerate(asyncio.run(main())):
        assert answer.headers["x-request-id"] == f"in-{number}"
        assert set(answer.text.replace('"', " ").replace(",", " ").strip("[]").split()) <= {f"in-{number}", "[", "]"}
    correlated = sorted(request.headers["x-correlation-id"] for request in upstream.requests)
    assert correlated == sorted(f"in-{number}" for number in range(60))


def test_afterwards_it_is_gone():
    async def main() -> None:
        await asked([(b"x-request-id", b"incoming-42")])
        assert get_request_id() != "incoming-42"
        _, seen = await asked([(b"x-request-id", b"incoming-43")])
        assert seen == "incoming-43"

    asyncio.run(main())


def test_it_is_gone_after_a_failure_too():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise OSError("broken")

    async def main() -> None:
        with pytest.raises(OSError, match="broken"):
            await RequestIdMiddleware(app)(
                {"type": "http", "headers": [(b"x-request-id", b"incoming-42")]},
                None,  # type: ignore[arg-type]
                None,  # type: ignore[arg-type]
            )
        assert get_request_id() != "incoming-42"

    asyncio.run(main())


def test_around_the_whole_app_answers_to_unhandled_errors_carry_it():
    app, _ = serving()
    with TestClient(RequestIdMiddleware(app), raise_server_exceptions=False) as browser:
        answer = browser.get("/fails", headers={"X-Request-ID": "incoming-42"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "incoming-42")


def test_websockets_and_lifespans_pass_unchanged():
    app, _ = serving()
    with TestClient(app) as browser, browser.websocket_connect("/ws", headers={"X-Request-ID": "in-42"}) as socket:
        first, second = socket.receive_json()
    assert first != second and "in-42" not in (first, second)
    passed: list[Any] = []

    async def seen(scope: Any, receive: Any, send: Any) -> None:
        passed.extend((scope, receive, send))

    scope, receive, send = {"type": "lifespan"}, object(), object()
    asyncio.run(RequestIdMiddleware(seen)(scope, receive, send))  # type: ignore[arg-type]
    assert passed == [scope, receive, send] and passed[0] is scope


def test_the_log_lines_of_calls_have_it(caplog):
    app, _ = serving()
    with TestClient(app) as browser, caplog.at_level(logging.INFO):
        browser.get("/id", headers={"X-Request-ID": "incoming-42"})
    lines = [record for record in caplog.records if record.getMessage().startswith("GET /things 200")]
    assert [getattr(record, "correlation_id", None) for record in lines] == ["incoming-42"]

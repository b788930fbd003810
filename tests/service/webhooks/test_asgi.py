"""The ASGI application, in frameworks and by itself, and the answer for those without."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from holdfast.exceptions import WebhookError
from holdfast.service import WebhookApp, WebhookEvent, Webhooks, sign_webhook
from tests.support.virtual_loop import run_virtual

SECRET = "correct horse battery"
BODY = b'{"type": "a.b", "data": {"id": 7}}'


def headers_of(body: bytes = BODY, webhook_id: str | None = None, secret: str = SECRET) -> dict[str, str]:
    return sign_webhook(body, secret, webhook_id=webhook_id)


async def posted(app: Any, path: str, body: bytes = BODY, headers: dict[str, str] | None = None) -> httpx2.Response:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://receiver.test") as client:
        return await client.post(path, content=body, headers=headers_of(body) if headers is None else headers)


@pytest.fixture
def webhooks() -> Webhooks:
    return Webhooks(SECRET)


def in_starlette(app: WebhookApp) -> Any:
    return Starlette(routes=[Route("/webhooks", app)])


def mounted(app: WebhookApp) -> Any:
    return Starlette(routes=[Mount("/webhooks", app)])


def in_fastapi(app: WebhookApp) -> Any:
    fastapi = FastAPI()
    fastapi.router.routes.append(Route("/webhooks", app))
    return fastapi


def mounted_in_fastapi(app: WebhookApp) -> Any:
    fastapi = FastAPI()
    fastapi.mount("/webhooks", app)
    return fastapi


@pytest.mark.parametrize(
    ("framework", "path"),
    [
        (lambda app: app, "/anything"),
        (in_starlette, "/webhooks"),
        (in_fastapi, "/webhooks"),
        (mounted, "/webhooks/"),
        (mounted_in_fastapi, "/webhooks/"),
    ],
)
def test_in_frameworks(webhooks: Webhooks, framework, path):
    seen: list[Any] = []
    webhooks.on("a.b")(lambda event: seen.append(event.data["id"]))
    app = framework(webhooks.asgi())
    response = asyncio.run(posted(app, path))
    assert (response.status_code, response.json()) == (200, {"status": "handled"}) and seen == [7]
    assert response.headers["content-type"] == "application/json"

    async def get() -> httpx2.Response:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://receiver.test") as http:
            return await http.get(path)

    refused = asyncio.run(get())
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (BODY, dict, 401, "signature"),
        (BODY, lambda: headers_of(secret="another"), 401, "signature"),
        (BODY, lambda: sign_webhook(BODY, SECRET, timestamp=1), 400, "timestamp"),
        # Signed when the test runs, which may be long after it was collected.
        (b"{}", lambda: headers_of(b"{}"), 400, "malformed"),
        (b"x" * (2**20 + 1), dict, 413, "too_large"),
    ],
)
def test_refusals(webhooks: Webhooks, body, headers, status, reason):
    response = asyncio.run(posted(webhooks.asgi(), "/", body, headers()))
    assert (response.status_code, response.json()["reason"]) == (status, reason)
    assert response.json()["status"] == "refused" and SECRET not in response.text
    assert ("www-authenticate" in response.headers) == (status == 401)
    assert webhooks.statistics().refused == {reason: 1}


def test_a_failed_handler_is_a_500_that_says_nothing_about_it(webhooks: Webhooks):
    tries: list[int] = []

    @webhooks.on("a.b")
    def fails_once(event: WebhookEvent) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("password of the database")

    async def main() -> list[httpx2.Response]:
        headers = headers_of(webhook_id="msg_1")
        return [await posted(webhooks.asgi(), "/", headers=headers) for _ in range(3)]

    failed, handled, again = asyncio.run(main())
    assert (failed.status_code, failed.json()) == (500, {"status": "failed"})
    assert (handled.status_code, handled.json()) == (200, {"status": "handled"})
    # The sender shall stop: it has not heard of the success.
    assert (again.status_code, again.json()) == (200, {"status": "duplicate"}) and len(tries) == 2


def test_one_that_is_being_handled_is_to_be_sent_later(webhooks: Webhooks):
    @webhooks.on("a.b")
    async def slow(event: WebhookEvent) -> None:
        await asyncio.sleep(10)

    async def main() -> list[Any]:
        headers = headers_of()
        return await asyncio.gather(*(webhooks.respond(BODY, headers) for _ in range(2)))

    first, second = run_virtual(main())
    assert (first.status, second.status) == (200, 409) and second.headers["Retry-After"] == "60"


def test_a_cache_that_is_down_is_a_503():
    class Down:
        def claim(self, mark: str, seconds: float) -> Any:
            raise ConnectionError

        def keep(self, mark: str, seconds: float) -> None: ...

        def release(self, mark: str) -> None: ...

    answer = Webhooks(SECRET, replay_cache=Down()).respond(BODY, headers_of()).result()
    assert (answer.status, json.loads(answer.content)["reason"]) == (503, "unavailable")


def test_the_answer_for_sync_frameworks(webhooks: Webhooks, caplog: pytest.LogCaptureFixture):
    """Flask and Django: content, status and headers are what their responses take."""
    caplog.set_level(logging.INFO, "holdfast.webhooks")
    webhooks.on("a.b")(lambda event: None)
    answer = webhooks.respond(BODY, headers_of(webhook_id="msg_1")).result()
    assert (answer.status, answer.content) == (200, b'{"status": "handled"}')
    assert answer.headers == {"Content-Type": "application/json", "Content-Length": "21"}
    assert webhooks.respond(BODY, headers_of(webhook_id="msg_1")).result().status == 200
    assert webhooks.respond(b"", {}).result().status == 401
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


def test_answering_first(webhooks: Webhooks):
    order: list[str] = []
    app = webhooks.asgi(answer_first=True)

    @webhooks.on("a.b")
    async def slow(event: WebhookEvent) -> None:
        await asyncio.sleep(10)
        order.append("handled")

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            order.append(str(message["status"]))

    async def main() -> None:
        headers = headers_of()
        await app(scope(headers), receiving([BODY]), send)
        await app(scope(headers), receiving([BODY]), send)
        await app(scope({}), receiving([BODY]), send)

    run_virtual(main())
    assert order == ["202", "handled", "200", "401"]


def test_answering_first_to_a_sender_that_has_gone(webhooks: Webhooks):
    async def gone(message: Any) -> None:
        raise OSError("gone")

    async def main() -> Any:
        headers = headers_of()
        with pytest.raises(OSError, match="gone"):
            await webhooks.asgi(answer_first=True)(scope(headers), receiving([BODY]), gone)
        return await webhooks.process(BODY, headers=headers)

    assert asyncio.run(main()).status == "unhandled"


# By hand


def scope(headers: dict[str, str], **more: Any) -> dict[str, Any]:
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": "POST", "path": "/", "headers": pairs, **more}


def receiving(chunks: list[bytes], asked: list[int] | None = None) -> Any:
    waiting = list(chunks)

    async def receive() -> dict[str, Any]:
        if asked is not None:
            asked.append(len(waiting[0]))
        chunk = waiting.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    return receive


class Sent(list[dict[str, Any]]):
    async def __call__(self, message: Any) -> None:
        self.append(message)

    @property
    def status(self) -> int:
        status: int = self[0]["status"]
        return status


def test_a_body_in_pieces(webhooks: Webhooks):
    sent = Sent()
    asyncio.run(webhooks.asgi()(scope(headers_of()), receiving([BODY[:9], b"", BODY[9:]]), sent))
    assert sent.status == 200 and sent[1]["body"] == b'{"status": "unhandled"}'


def test_nothing_is_read_beyond_the_limit():
    webhooks = Webhooks(SECRET, max_bytes=1_000)
    asked: list[int] = []
    sent = Sent()
    asyncio.run(webhooks.asgi()(scope({}), receiving([b"x" * 400] * 100, asked), sent))
    assert sent.status == 413 and asked == [400, 400, 400]
    asked.clear()
    sent = Sent()
    asyncio.run(webhooks.asgi()(scope({"Content-Length": "1001"}), receiving([b"x"], asked), sent))
    assert sent.status == 413 and asked == []
    assert webhooks.statistics().refused == {"too_large": 2}
    body = b'{"type": "%s", "x": "%s"}' % (b"a.b", b"x" * 976)
    assert len(body) == 1_000
    sent = Sent()
    asyncio.run(webhooks.asgi()(scope({**headers_of(body), "content-length": "1000"}), receiving([body]), sent))
    assert sent.status == 200


@pytest.mark.parametrize("length", ["-1", "many", "9" * 5_000])
def test_a_content_length_that_is_none(webhooks: Webhooks, length):
    sent = Sent()
    asyncio.run(webhooks.asgi()(scope({**headers_of(), "content-length": length}), receiving([BODY]), sent))
    assert sent.status == (413 if length.isdigit() else 200)


def test_a_body_that_never_ends(webhooks: Webhooks):
    async def trickled() -> dict[str, Any]:
        await asyncio.sleep(1)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def main() -> tuple[Sent, float]:
        sent = Sent()
        await webhooks.asgi()(scope({}), trickled, sent)
        return sent, asyncio.get_running_loop().time()

    sent, ended = run_virtual(main())
    assert sent.status == 408 and ended == 30


def test_a_sender_that_goes_away_gets_no_answer(webhooks: Webhooks):
    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    sent = Sent()
    asyncio.run(webhooks.asgi()(scope({}), gone, sent))
    assert sent == [] and webhooks.statistics().received == 0


def test_as_the_only_application_of_a_server(webhooks: Webhooks):
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    sent = Sent()
    asyncio.run(webhooks.asgi()({"type": "lifespan"}, receive, sent))
    assert [one["type"] for one in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    sent = Sent()
    asyncio.run(webhooks.asgi()({"type": "websocket"}, receive, sent))
    assert sent[0]["type"] == "websocket.close"
    with pytest.raises(ValueError, match="not 'mqtt'"):
        asyncio.run(webhooks.asgi()({"type": "mqtt"}, receive, sent))


def test_headers_of_a_scope_may_be_any_bytes(webhooks: Webhooks):
    sent = Sent()
    odd = {**scope({}), "headers": [(b"\xff", b"\xff"), (b"webhook-signature", b"v1,\xff"), (b"webhook-id", b"\x00")]}
    asyncio.run(webhooks.asgi()(odd, receiving([b"\xff"]), sent))
    assert sent.status == 401


def test_respond_raises_nothing_else_either(webhooks: Webhooks):
    for body, headers in ((None, 7), ({"a": object()}, None), ("\ud800", [1])):
        answer = webhooks.respond(body, headers).result()  # type: ignore[arg-type]
        assert answer.status == 400
    with pytest.raises(WebhookError):
        webhooks.process(None).result()  # type: ignore[arg-type]

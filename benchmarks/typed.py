"""What a typed call costs: the request of a plain client, plus a model made of the answer. Beside it, openai's client.

In process, without a socket. Every contestant asks the same `httpx2.MockTransport` for a session; openai's client for a
model, which is its smallest typed GET. It has no bulkhead, breaker or cache, and does its retries off.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import openai

from holdfast import ClientConfig, ResilientClient
from holdfast.contextiq import SessionsServiceClient
from in_process import quiet
from timing import Async, Times, contest

URL = "http://service.test"
ID = "0b54b1f0-5e0c-4b5b-9d43-9a4f8c1b2f10"
PATH = f"/api/v1/sessions/{ID}"
SESSION = httpx2.Response(
    200,
    json={
        "id": ID,
        "scope": {"user_id": "123"},
        "title": "Planning a trip",
        "description": None,
        "state": {"step": 3},
        "started_at": "2026-01-02T03:04:05.678901Z",
        "last_activity_at": "2026-01-02T03:14:05.678901Z",
        "ended_at": None,
        "ttl": 3600,
        "event_count": 12,
        "total_input_tokens": 345,
        "total_output_tokens": 678,
    },
).content
MODEL = b'{"id":"m","object":"model","created":1686935002,"owned_by":"us"}'


def respond(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(
        200, headers={"content-type": "application/json"}, content=SESSION if PATH in request.url.path else MODEL
    )


def _plain(one: Any, path: str) -> Async:
    async def run(calls: int) -> None:
        for _ in range(calls):
            await one.get(path)

    return run


def _with_json(one: Any, path: str) -> Async:
    async def run(calls: int) -> None:
        for _ in range(calls):
            (await one.get(path)).json()

    return run


def _typed(one: SessionsServiceClient) -> Async:
    async def run(calls: int) -> None:
        for _ in range(calls):
            await one.get_session(ID)

    return run


def _openai(one: openai.AsyncOpenAI) -> Async:
    async def run(calls: int) -> None:
        for _ in range(calls):
            await one.models.retrieve("m")

    return run


async def measure(calls: int, seconds: float) -> Times:
    quiet()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context

        def transport() -> httpx2.MockTransport:
            return httpx2.MockTransport(respond)

        bare = await enter(httpx2.AsyncClient(base_url=URL, transport=transport()))
        theirs = await enter(httpx2.AsyncClient(base_url=URL, transport=transport()))
        config = ClientConfig(base_url=URL)
        contestants: dict[str, Async] = {
            "bare": _plain(bare, PATH),
            "bare json": _with_json(bare, PATH),
            "plain": _plain(await enter(ResilientClient(config, transport=transport())), PATH),
            "typed": _typed(await enter(SessionsServiceClient(base_url=URL, transport=transport()))),
            "bare model": _plain(bare, "/v1/models/m"),
            "openai": _openai(
                await enter(openai.AsyncOpenAI(api_key="x", base_url=f"{URL}/v1", http_client=theirs, max_retries=0))
            ),
        }
        return await contest(contestants, calls=calls, seconds=seconds, clock=time.process_time)

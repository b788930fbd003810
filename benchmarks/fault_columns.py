"""The clients that the fault matrix compares, each set up by its own means to wait for at most a second.

Every one follows redirects, sends a default header X-API-Key, raises for error statuses, and retries as it does if left
alone. Where a client can bound a whole call, it is told 2.5 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import aiohttp
import anthropic
import httpx2
import openai
import requests

from tests.support.fault_cases import Case, Kind, Scene
from tests.support.faulty_peers import SECRET

STEP = 1.0
"""Seconds of the timeouts of a client's single steps."""

CALL = 2.5
"""Seconds of a whole call, where that can be said."""

KEY = "X-API-Key"
BODY = {"n": 1}


@dataclass(frozen=True)
class Column:
    """A client in the table.

    Attributes:
        name: of the package on the package index.
        typed: what it documents to raise.
        send: makes one call, and returns the body as bytes, or as what its JSON stands for.
    """

    name: str
    typed: tuple[type[BaseException], ...]
    send: Callable[[Case, Scene, Kind], Any]

    @property
    def title(self) -> str:
        return f"{self.name} {version(self.name)}"


def _headers(kind: Kind) -> dict[str, str]:
    return {"Idempotency-Key": "the-caller's-own"} if kind == "keyed POST" else {}


def _httpx2(case: Case, scene: Scene, kind: Kind) -> bytes:
    async def main() -> bytes:
        async with httpx2.AsyncClient(
            base_url=scene.url, timeout=STEP, follow_redirects=True, headers={KEY: SECRET}
        ) as client:
            if case.warm:
                await client.get("/warm")
            if kind == "GET":
                response = await client.get("/thing")
            else:
                response = await client.post("/thing", json=BODY, headers=_headers(kind))
            return response.raise_for_status().content

    return asyncio.run(main())


def _requests(case: Case, scene: Scene, kind: Kind) -> bytes:
    with requests.Session() as session:
        session.headers[KEY] = SECRET
        if case.warm:
            session.get(f"{scene.url}/warm", timeout=STEP)
        if kind == "GET":
            response = session.get(f"{scene.url}/thing", timeout=STEP)
        else:
            response = session.post(f"{scene.url}/thing", json=BODY, headers=_headers(kind), timeout=STEP)
        response.raise_for_status()
        return response.content


def _aiohttp(case: Case, scene: Scene, kind: Kind) -> bytes:
    async def main() -> bytes:
        timeout = aiohttp.ClientTimeout(total=CALL, sock_connect=STEP, sock_read=STEP)
        async with aiohttp.ClientSession(
            scene.url, timeout=timeout, headers={KEY: SECRET}, raise_for_status=True
        ) as session:
            if case.warm:
                async with session.get("/warm") as response:
                    await response.read()
            if kind == "GET":
                calling = session.get("/thing")
            else:
                calling = session.post("/thing", json=BODY, headers=_headers(kind))
            async with calling as response:
                return await response.read()

    return asyncio.run(main())


def _sdk(make: Callable[..., Any]) -> Callable[[Case, Scene, Kind], Any]:
    """By the methods that these SDKs document for endpoints of one's own; they are those of all others."""

    def send(case: Case, scene: Scene, kind: Kind) -> Any:
        with make(base_url=scene.url, api_key="k", timeout=STEP, default_headers={KEY: SECRET}) as client:
            if case.warm:
                client.get("/warm", cast_to=object)
            if kind == "GET":
                return client.get("/thing", cast_to=object)
            return client.post("/thing", cast_to=object, body=BODY, options={"headers": _headers(kind)})

    return send


COLUMNS = [
    Column("httpx2", (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError), _httpx2),
    Column("requests", (requests.RequestException,), _requests),
    Column("aiohttp", (aiohttp.ClientError, TimeoutError), _aiohttp),
    Column("openai", (openai.OpenAIError,), _sdk(openai.OpenAI)),
    Column("anthropic", (anthropic.AnthropicError,), _sdk(anthropic.Anthropic)),
]

"""Which engine sends, and where that can be seen."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from holdfast import ClientConfig, ResilientClient
from holdfast.http.engines.native_async import AsyncNativeEngine
from tests.support.colours import config
from tests.support.loopback import Loopback, answer

URL = "http://127.0.0.1:9"


def engine_of(client: ResilientClient) -> object:
    async def main() -> object:
        return client._assembly.connections.driver(asyncio.get_running_loop()).engine

    return asyncio.run(main())


def test_nothing_changes_for_who_does_not_ask():
    assert ClientConfig.model_construct().engine in ("auto", "native")  # TEST_ENGINE may say so
    for engine in ("auto", "httpx2"):
        client = ResilientClient(config(URL, engine=engine))
        assert not isinstance(engine_of(client), AsyncNativeEngine) and "native" not in repr(client)


def test_the_native_one_is_used_on_request_and_shown(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "holdfast")
    client = ResilientClient(config(URL, engine="native"))
    assert isinstance(engine_of(client), AsyncNativeEngine)
    assert repr(client) == f"<ResilientClient {URL} (open), native engine>"
    assert "engine under asyncio: native" in caplog.text


@pytest.mark.parametrize(
    ("settings", "given", "why"),
    [
        ({"http2": True}, {}, "http2"),
        ({"proxy": "http://127.0.0.1:1"}, {}, "proxy"),
        ({}, {"transport": httpx2.MockTransport(lambda _: httpx2.Response(200))}, "transport"),
        ({}, {"http_client": httpx2.AsyncClient(trust_env=False)}, "http_client"),
    ],
    ids=["http2", "proxy", "transport", "client"],
)
def test_what_only_httpx2_can_do_it_does(
    settings: dict[str, Any], given: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "holdfast")
    client = ResilientClient(config(URL, engine="native", **settings), **given)
    assert not isinstance(engine_of(client), AsyncNativeEngine)
    assert "engine under asyncio: httpx2" in caplog.text and why in caplog.text
    assert "native" not in repr(client)


def test_proxies_of_the_environment_are_respected(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert not isinstance(engine_of(ResilientClient(config(URL, engine="native", trust_env=True))), AsyncNativeEngine)
    assert isinstance(engine_of(ResilientClient(config(URL, engine="native", trust_env=False))), AsyncNativeEngine)


def test_an_unknown_one_is_refused():
    with pytest.raises(ValidationError, match="engine"):
        ClientConfig(base_url=URL, engine="fast")  # type: ignore[arg-type]


def test_lint_says_where_it_has_no_effect():
    assert [one.code for one in config(URL, engine="native", http2=True).lint()] == ["engine-not-used"]
    assert config(URL, engine="native").lint() == []


def test_cookies_are_kept_by_both():
    for engine in ("httpx2", "native"):
        with Loopback() as server:
            server.on("/login", answer(200, b"", ("Set-Cookie", "session=1; Path=/")))

            async def main(url: str = server.url, engine: str = engine) -> None:
                async with ResilientClient(config(url, engine=engine)) as client:
                    await client.get("/login")
                    await client.get("/x")

            asyncio.run(main())
            assert server.last.get("cookie") == "session=1"

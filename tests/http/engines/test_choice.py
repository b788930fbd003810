"""Which engine sends, and where that can be seen."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from holdfast import ClientConfig, ResilientClient
from holdfast.http.engines.native_async import AsyncNativeEngine
from holdfast.http.engines.native_sync import SyncNativeEngine
from tests.support.colours import Colour, config
from tests.support.loopback import Loopback, answer

URL = "http://127.0.0.1:9"


SYNC = pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])


def is_native(client: ResilientClient, *, sync: bool) -> bool:
    async def main() -> object:
        return client._assembly.connections.driver(asyncio.get_running_loop()).engine

    engine = client._assembly.connections.sync_driver().engine if sync else asyncio.run(main())
    return isinstance(engine, SyncNativeEngine if sync else AsyncNativeEngine)


def logged(engine: str, *, sync: bool) -> str:
    return f"engine {'in sync use' if sync else 'under asyncio'}: {engine}"


@SYNC
def test_it_is_the_native_one_unless_somebody_says_otherwise(sync: bool):
    assert ClientConfig.model_construct().engine in ("auto", os.environ.get("TEST_ENGINE"))
    assert is_native(ResilientClient(config(URL, engine="auto")), sync=sync)
    client = ResilientClient(config(URL, engine="httpx2"))
    assert not is_native(client, sync=sync) and "native" not in repr(client)


@SYNC
def test_the_native_one_is_used_on_request_and_shown(sync: bool, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "holdfast")
    client = ResilientClient(config(URL, engine="native"))
    assert is_native(client, sync=sync)
    assert repr(client) == f"<ResilientClient {URL} (open), native engine>"
    assert logged("native", sync=sync) in caplog.text


@SYNC
@pytest.mark.parametrize(
    ("settings", "given", "why"),
    [
        ({"http2": True}, {}, "http2"),
        ({"proxy": "http://127.0.0.1:1"}, {}, "proxy"),
        ({}, {"transport": httpx2.MockTransport(lambda _: httpx2.Response(200))}, "transport"),
        ({}, {"http_client": {True: httpx2.Client(trust_env=False), False: httpx2.AsyncClient()}}, "http_client"),
    ],
    ids=["http2", "proxy", "transport", "client"],
)
def test_what_only_httpx2_can_do_it_does(
    settings: dict[str, Any], given: dict[str, Any], why: str, sync: bool, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "holdfast")
    fitting = {name: one[sync] if isinstance(one, dict) else one for name, one in given.items()}
    client = ResilientClient(config(URL, engine="native", **settings), **fitting)
    assert not is_native(client, sync=sync)
    assert logged("httpx2", sync=sync) in caplog.text and why in caplog.text
    assert "native" not in repr(client)


@SYNC
def test_proxies_of_the_environment_are_respected(sync: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert not is_native(ResilientClient(config(URL, engine="native", trust_env=True)), sync=sync)
    assert is_native(ResilientClient(config(URL, engine="native", trust_env=False)), sync=sync)


def test_an_unknown_one_is_refused():
    with pytest.raises(ValidationError, match="engine"):
        ClientConfig(base_url=URL, engine="fast")  # type: ignore[arg-type]


def test_lint_says_where_it_has_no_effect():
    assert [one.code for one in config(URL, engine="native", http2=True).lint()] == ["engine-not-used"]
    assert config(URL, engine="native").lint() == []


@SYNC
@pytest.mark.parametrize("engine", ["httpx2", "native"])
def test_cookies_are_kept_by_both(engine: str, sync: bool):
    user = Colour(sync=sync, engine=engine)
    with Loopback() as server:
        server.on("/login", answer(200, b"", ("Set-Cookie", "session=1; Path=/")))
        client = user.client(server.url)
        user(client.get("/login"))
        user(client.get("/x"))
        assert server.last.get("cookie") == "session=1"
        user.close()

"""What the native engine gives is, in every public respect, what httpx2's own transport gives for the same bytes."""

from __future__ import annotations

import asyncio
import copy
import gzip
import inspect
import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from holdfast import ResilientClient
from holdfast.http.response import NativeResponse, SyncNativeResponse
from tests.support.colours import config
from tests.support.loopback import Answer, Loopback, answer, chunked, json_answer, raw, redirect

ANSWERS = {
    "text": answer(200, "grüß".encode(), ("Content-Type", "text/plain; charset=utf-8")),
    "latin": answer(200, b"gr\xfc\xdf", ("Content-Type", "text/plain; charset=iso-8859-1")),
    "unknown charset": answer(200, b"abc", ("Content-Type", "text/plain; charset=nonsense")),
    "json": json_answer(200, '{"a": [1, 2.5, null, "x"]}'),
    "json of each kind": answer(200, b'[true, {"a": "\xc3\xbc\\u00fc", "b": -1e3, "c": [], "d": NaN}]'),
    "json and space": answer(200, b'{"a": 1}\r\n\t '),
    "json and other space": answer(200, b'{"a": 1}\x0b'),
    "json and more": answer(200, b'{"a": 1} {"b": 2}'),
    "json of text": answer(200, b'  "abc"'),
    "json cut off": answer(200, b'{"a": [1, 2'),
    "json after a mark": answer(200, b'\xef\xbb\xbf{"a": 1}'),
    "json in UTF-16": answer(200, '{"a": "\u20ac"}'.encode("utf-16-le")),
    "json in UTF-32": answer(200, '["\u20ac"]'.encode("utf-32-be")),
    "json of half a character": answer(200, b'["\xed\xa0\x80"]'),
    "json in Latin-1": answer(200, b'{"a": "gr\xfc\xdf"}'),
    "fields in Latin-1": answer(200, b"", ("X-One", "gr\xfc\xdf"), ("X-Two", "a")),
    "no content": Answer((b"HTTP/1.1 204 No Content\r\n\r\n",)),
    "not modified": Answer((b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 12\r\n\r\n',)),
    "empty": answer(200, b""),
    "created": answer(201, b"{}", ("Location", "/pets/7"), ("X-Two", "a"), ("x-two", "b")),
    "redirect": redirect(302, "/elsewhere"),
    "permanent": redirect(308, "https://other.example.com/a?b=c"),
    "missing": json_answer(404, '{"detail": "no such pet"}'),
    "broken": answer(500, b"oops"),
    "odd status": answer(299, b"x"),
    "no reason": Answer((b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",)),
    "odd reason": Answer((b"HTTP/1.1 200 Sch\xf6n\r\nContent-Length: 2\r\n\r\nok",)),
    "old": raw(b"HTTP/1.0 200 OK\r\nX-One: 1\r\n\r\nuntil the end"),
    "chunks": chunked(200, [b"abc", b"d" * 1000, b"\n"], ("Content-Type", "text/plain")),
    "links": answer(200, b"", ("Link", '<https://a.example/?page=2>; rel="next", </b>; rel=last')),
    "cookies": answer(200, b"", ("Set-Cookie", "a=b; Path=/"), ("Set-Cookie", "c=d")),
    "spaces": answer(200, b"", ("X-One", "  a\t b  "), ("X-Empty", "")),
    "lines": answer(200, b"one\ntwo\r\nthree", ("Content-Type", "text/plain")),
    "gzip": answer(200, gzip.compress(b"abc" * 100), ("Content-Encoding", "gzip"), ("Content-Type", "text/plain")),
    "identity": answer(200, b"abc", ("Content-Encoding", "identity")),
}
SYNC = pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
_CHANGES = frozenset({"elapsed", "stream", "extensions", "request", "next_request", "history", "num_bytes_downloaded"})


def _tried(action: Callable[[], Any]) -> Any:
    """What it gives, in a form that can be compared; or which error it raises."""
    try:
        value = action()
    except Exception as error:
        return type(error), str(error)
    if isinstance(value, httpx2.Headers):
        return value.raw, value.encoding, dict(value)
    if isinstance(value, httpx2.Cookies):
        return sorted((one.name, one.value, one.path) for one in value.jar)
    # NaN is not even equal to itself.
    return repr(value) if isinstance(value, list) else value


def _public(response: httpx2.Response) -> dict[str, Any]:
    """Everything public of a response whose body was read."""
    names = [name for name in (*dir(httpx2.Response), *vars(httpx2.Response(200))) if not name.startswith("_")]
    found: dict[str, Any] = {}
    for name in sorted({*names} - _CHANGES):
        value = inspect.getattr_static(response, name, None)
        if not inspect.isfunction(value):
            found[name] = _tried(lambda name=name: getattr(response, name))  # type: ignore[misc]
    for name in ("read", "json", "iter_raw", "close"):
        found[f"{name}()"] = _tried(lambda name=name: _exhausted(getattr(response, name)()))  # type: ignore[misc]
    for name in ("iter_bytes", "iter_text", "iter_lines"):
        found[f"{name}()"] = _tried(lambda name=name: list(getattr(response, name)()))  # type: ignore[misc]
    found["iter_bytes(2)"] = _tried(lambda: list(response.iter_bytes(2)))
    found["raise_for_status()"] = _tried(lambda: response.raise_for_status() is response)
    found["repr"] = repr(response)
    found["hasattr"] = [hasattr(response, name) for name in ("headers", "request", "nothing", "_nothing")]
    return found


def _exhausted(value: Any) -> Any:
    return list(value) if inspect.isgenerator(value) else value


async def _async_public(response: httpx2.Response) -> dict[str, Any]:
    found: dict[str, Any] = {"aread": await response.aread()}
    found["aiter_bytes"] = [one async for one in response.aiter_bytes(3)]
    found["aiter_text"] = "".join([one async for one in response.aiter_text()])
    found["aiter_lines"] = [one async for one in response.aiter_lines()]
    try:
        found["aiter_raw"] = [one async for one in response.aiter_raw()]
    except httpx2.StreamError as error:
        found["aiter_raw"] = type(error)
    await response.aclose()
    return found


def _theirs_and_ours(
    reply: Answer, *, method: str = "GET", sync: bool = False
) -> tuple[httpx2.Response, httpx2.Response]:
    def on_a_thread(server: Loopback) -> tuple[httpx2.Response, httpx2.Response]:
        settings = config(server.url, engine="native", follow_redirects=False, retry={"max_attempts": 1})
        with httpx2.Client(base_url=server.url, trust_env=False) as bare, ResilientClient(settings) as client:
            theirs = bare.request(method, "/x?y=z", headers={"X-One": "1"})
            try:
                ours = client.request(method, "/x?y=z", headers={"X-One": "1"}).result()
            except httpx2.HTTPStatusError as error:
                ours = error.response
            assert ours.is_error or isinstance(ours, SyncNativeResponse)
            return theirs, ours

    async def main(server: Loopback) -> tuple[httpx2.Response, httpx2.Response]:
        settings = config(server.url, engine="native", follow_redirects=False, retry={"max_attempts": 1})
        async with (
            httpx2.AsyncClient(base_url=server.url, trust_env=False) as bare,
            ResilientClient(settings) as client,
        ):
            theirs = await bare.request(method, "/x?y=z", headers={"X-One": "1"})
            ours = await _reply(client, method)
            assert await _async_public(theirs) == await _async_public(ours)
            return theirs, ours

    with Loopback(default=reply) as server:
        return on_a_thread(server) if sync else asyncio.run(main(server))


async def _reply(client: ResilientClient, method: str) -> httpx2.Response:
    """The response, whatever its status is."""
    try:
        return await client.request(method, "/x?y=z", headers={"X-One": "1"})
    except httpx2.HTTPStatusError as error:
        return error.response


@SYNC
@pytest.mark.parametrize("name", ANSWERS)
def test_whatever_is_looked_at_it_is_the_same(name: str, sync: bool):
    theirs, ours = _theirs_and_ours(ANSWERS[name], sync=sync)
    assert _public(ours) == _public(theirs)
    assert ours.num_bytes_downloaded == theirs.num_bytes_downloaded or name == "gzip"
    assert timedelta() < ours.elapsed < timedelta(seconds=30)
    assert ours.history == theirs.history == []
    assert ours.next_request is None
    for key in ("http_version", "reason_phrase"):
        assert ours.extensions[key] == theirs.extensions[key]
    assert set(ours.extensions) == set(theirs.extensions)
    assert (ours.request.method, str(ours.request.url)) == (theirs.request.method, str(theirs.request.url))
    assert ours.request.headers["x-one"] == theirs.request.headers["x-one"] == "1"
    assert ours.request.headers["host"] == theirs.request.headers["host"]
    assert ours.request.content == b""
    assert ours.is_error or ours.request.extensions["timeout"]  # what errors show is a copy without secrets
    assert ours.url == ours.request.url and ours.request is ours.request


@SYNC
def test_the_answer_to_a_head_too(sync: bool):
    only_a_head = Answer((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",))
    theirs, ours = _theirs_and_ours(only_a_head, method="HEAD", sync=sync)
    assert _public(ours) == _public(theirs)


@SYNC
@pytest.mark.parametrize("name", ["json", "missing", "chunks", "no content"])
def test_a_pickle_and_a_copy_hold_everything(name: str, sync: bool):
    theirs, ours = _theirs_and_ours(ANSWERS[name], sync=sync)
    for made in (pickle.loads(pickle.dumps(ours)), copy.copy(ours)):
        expected = pickle.loads(pickle.dumps(theirs))
        assert isinstance(made, httpx2.Response)
        assert _public(made) == _public(expected)
        assert made.extensions == expected.extensions == {}
        assert made.request.headers == ours.request.headers and made.elapsed == ours.elapsed
        assert vars(made).keys() - {"_elapsed"} == vars(expected).keys()  # theirs loses it


def test_what_was_changed_stays_changed():
    _, ours = _theirs_and_ours(ANSWERS["json"])
    assert isinstance(ours, NativeResponse)
    ours.headers["X-New"] = "1"
    assert ours.headers["x-new"] == "1" and (b"X-New", b"1") in ours.headers.raw
    ours.extensions["mine"] = 1
    assert ours.extensions["mine"] == 1
    ours.history.append(ours)
    assert ours.history == [ours]
    ours.encoding = "latin-1"
    assert ours.encoding == "latin-1"
    ours.elapsed = timedelta(seconds=1)
    assert ours.elapsed == timedelta(seconds=1)
    ours.request = httpx2.Request("GET", "https://example.com")
    assert ours.url == "https://example.com"
    assert pickle.loads(pickle.dumps(ours)).headers["x-new"] == "1"


def test_what_nobody_looks_at_is_not_made():
    async def main() -> httpx2.Response:
        async with ResilientClient(config(server.url, engine="native")) as client:
            return await client.get("/x")

    with Loopback() as server:
        response = asyncio.run(main())
    made = vars(response).keys() & {"_request", "history", "_elapsed"}
    assert isinstance(response, NativeResponse)
    assert (response.status_code, response.content, made) == (200, b"ok", set())


def test_the_connection_can_be_looked_at():
    async def main(server: Loopback) -> None:
        async with ResilientClient(config(server.url, engine="native")) as client:
            response = await client.get("/x")
            network = response.extensions["network_stream"]
            assert network.get_extra_info("server_addr") == ("127.0.0.1", server.port)
            assert network.get_extra_info("client_addr")[0] == "127.0.0.1"
            assert network.get_extra_info("socket").fileno() > 0
            assert network.get_extra_info("ssl_object") is None
            assert network.get_extra_info("is_readable") is False
            assert network.get_extra_info("nothing") is None

    with Loopback() as server:
        asyncio.run(main(server))


def test_a_stream_read_on_a_thread_behaves_the_same():
    def seen(stream: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with stream as response:
            found["before"] = [response.is_closed, response.is_stream_consumed, response.headers.raw, repr(response)]
            found["content"] = _tried(lambda: response.content)
            found["elapsed"] = _tried(lambda: response.elapsed)
            found["body"] = b"".join(response.iter_raw())
            found["after"] = [response.is_closed, response.is_stream_consumed, response.num_bytes_downloaded]
            found["again"] = _tried(response.read)
        assert response.elapsed > timedelta()
        return found

    for reply in (ANSWERS["chunks"], ANSWERS["old"], ANSWERS["text"]):
        with Loopback(default=reply) as server:
            settings = config(server.url, engine="native")
            with httpx2.Client(base_url=server.url, trust_env=False) as bare, ResilientClient(settings) as client:
                assert seen(client.stream("GET", "/x")) == seen(bare.stream("GET", "/x"))


def test_a_stream_behaves_the_same():
    async def seen(stream: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        async with stream as response:
            found["before"] = [response.is_closed, response.is_stream_consumed, response.headers.raw, repr(response)]
            found["content"] = _tried(lambda: response.content)
            found["sync"] = _tried(lambda: list(response.iter_raw()))
            found["elapsed"] = _tried(lambda: response.elapsed)
            found["body"] = b"".join([one async for one in response.aiter_raw()])
            found["after"] = [response.is_closed, response.is_stream_consumed, response.num_bytes_downloaded]
            try:
                await response.aread()
            except httpx2.StreamError as error:
                found["again"] = type(error)
        assert response.elapsed > timedelta()
        return found

    async def main(server: Loopback) -> None:
        settings = config(server.url, engine="native")
        async with (
            httpx2.AsyncClient(base_url=server.url, trust_env=False) as bare,
            ResilientClient(settings) as client,
        ):
            assert await seen(client.stream("GET", "/x")) == await seen(bare.stream("GET", "/x"))

    for reply in (ANSWERS["chunks"], ANSWERS["old"], ANSWERS["text"]):
        with Loopback(default=reply) as server:
            asyncio.run(main(server))


PACES = {
    "structured": [("RateLimit", '"default";r=0;t=30')],
    "in capitals": [("X-RATELIMIT-REMAINING", "0"), ("X-RATELIMIT-RESET", "30")],
    "with two hyphens": [("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "30")],
}


@SYNC
@pytest.mark.parametrize("name", PACES)
def test_the_pace_that_a_server_asks_for_is_heard(name: str, sync: bool):
    async def main(client: ResilientClient) -> None:
        async with client:
            await client.get("/x")

    with Loopback(default=answer(200, b"", *PACES[name])) as server:
        client = ResilientClient(config(server.url, engine="native"))
        if sync:
            with client:
                client.get("/x").result()
        else:
            asyncio.run(main(client))
        assert 29.0 < client.rate_limiter.retry_after <= 30.0

"""What strict servers, h11 and node's llhttp, read of a request is what was asked for, whatever that is."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import LoggingConfig, ResilientClient, RetryConfig
from tests.support.colours import Colour
from tests.support.strict_peers import h11_peer, llhttp_peer

pytestmark = pytest.mark.loopback

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH", "PURGE", "REPORT")
"""All of them known to llhttp, which refuses others."""

FRAMING = {"host", "content-length", "transfer-encoding", "connection"}


class Peer(NamedTuple):
    """A server, and a client of it."""

    kind: str
    url: str
    client: ResilientClient
    colour: Colour


@pytest.fixture(scope="module", params=["async", "sync"])
def colour(request: pytest.FixtureRequest) -> Iterator[Colour]:
    user = Colour(sync=request.param == "sync", engine="native")
    yield user
    user.close()


@pytest.fixture(scope="module", params=["h11", "llhttp"])
def peer(request: pytest.FixtureRequest, colour: Colour) -> Iterator[Peer]:
    with (h11_peer if request.param == "h11" else llhttp_peer)() as url:
        client = colour.client(url, retry=RetryConfig(max_attempts=1), logging=LoggingConfig(level="CRITICAL"))
        yield Peer(request.param, url, client, colour)


async def _async(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def streamed(peer: Peer, pieces: list[bytes]) -> Any:
    """A body of unknown length, of the colour of the client."""
    return iter(pieces) if peer.colour.sync else _async(pieces)


_NAMES = st.text("!#$%&'*+-.^_`|~0123456789abcXYZ", max_size=10).map("X-".__add__)
_VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30).map(str.strip)
_TEXTS = st.text(max_size=20)
_PATHS = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), exclude_characters="%?#\\/"), max_size=20
).filter(
    lambda text: set(text) != {"."}  # a dot segment is refused
)
_PIECES = st.lists(
    st.one_of(st.binary(max_size=60), st.sampled_from([b"0\r\n\r\n", b"\r\n", b"x" * 70_000])), max_size=5
)


@given(
    method=st.sampled_from(METHODS),
    path=_PATHS,
    params=st.lists(st.tuples(_TEXTS, _TEXTS), max_size=3, unique_by=lambda pair: pair[0]),
    headers=st.lists(st.tuples(_NAMES, _VALUES), max_size=6, unique_by=lambda pair: pair[0].lower()),
    pieces=_PIECES,
    way=st.sampled_from(["nothing", "bytes", "chunks", "length", "json", "awaited"]),
)
def test_what_is_asked_for_is_what_is_read(peer: Peer, method, path, params, headers, pieces, way):
    body = b"".join(pieces)
    own: list[tuple[str, str]] = list(headers)
    options: dict[str, Any] = {}
    if way in ("bytes", "awaited"):
        options["content"] = body
    elif way in ("chunks", "length"):
        options["content"] = streamed(peer, pieces)
    elif way == "json":
        body = json.dumps(["ä", len(body)], ensure_ascii=False, separators=(",", ":")).encode()
        options["json"] = json.loads(body)
    else:
        body = b""
    if way == "length":
        own.append(("Content-Length", str(len(body))))
    if way == "awaited":
        own.append(("Expect", "100-continue"))
    before = _count(peer)
    url = "/p/" + path + "/e"
    told = peer.colour(peer.client.request(method, url, params=params, headers=own, **options)).json()

    assert told["count"] == before + 1
    assert (told["method"], told["version"], told["complete"]) == (method, "1.1", True)
    assert told["body"].encode("latin-1") == body
    target = urlsplit(told["target"])
    assert unquote(target.path) == url
    assert parse_qsl(target.query, keep_blank_values=True) == params
    read = list(zip(told["headers"][::2], told["headers"][1::2], strict=True))
    names = [name.lower() for name, _ in read]
    asked = [(name, value) for name, value in own if name.lower() not in FRAMING]
    assert [pair for pair in read if pair in asked] == asked
    assert names.count("host") == 1 and ("Host", peer.url.removeprefix("http://")) in read
    framing = [pair for pair in read if pair[0].lower() in ("content-length", "transfer-encoding")]
    if way == "chunks":
        assert [value for _, value in framing] == ["chunked"]
    elif body:
        assert [value for _, value in framing] == [str(len(body))]
    else:
        assert [value for _, value in framing] in ([], ["0"])
    assert not told["trailers"]


def test_a_head_is_read_as_one(peer: Peer):
    response = peer.colour(peer.client.head("/x"))
    assert response.headers["x-method"] == "HEAD" and response.content == b""


def _count(peer: Peer) -> int:
    counted = peer.colour(peer.client.get("/count")).json()
    assert counted["target"] == "/count"
    count: int = counted["count"]
    return count


def test_the_servers_are_strict(peer: Peer):
    """What they are to be trusted with: that a request in doubt is refused."""
    for raw in (
        b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    ):
        with socket.create_connection(("127.0.0.1", urlsplit(peer.url).port), timeout=10.0) as connection:
            connection.sendall(raw)
            said = b""
            while piece := connection.recv(4096):
                said += piece
        assert said.startswith(b"HTTP/1.1 400"), (raw, said)

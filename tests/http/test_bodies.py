"""What is sent again is whole, and what cannot be sent again is sent once."""

from __future__ import annotations

import io
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from holdfast.exceptions import (
    APIConnectionError,
    AuthenticationError,
    HoldfastError,
    InvalidRequestError,
    ServiceUnavailableError,
    TooManyRedirectsError,
)
from holdfast.http.bodies import BodySpent, MultipartBody, OneShotBody
from tests.support.colours import Colour, is_a
from tests.support.loopback import HANG_UP, Answer, Loopback, Seen, answer, redirect

pytestmark = pytest.mark.loopback

LARGE = bytes(range(256)) * 1000  # several chunks of any size that is usual
SHIFT = 1000


class Unseekable(io.RawIOBase):
    """A pipe, for example."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._inner = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._inner.readinto(buffer)


def shifted(content: bytes) -> io.BytesIO:
    """A file that does not stand at its beginning."""
    file = io.BytesIO(b"#" * SHIFT + content)
    file.seek(SHIFT)
    return file


_opened: list[Any] = []


@pytest.fixture(autouse=True)
def _close_files() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def on_disk(content: bytes) -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115  # closed after the test
    _opened.append(file)
    file.write(b"#" * SHIFT + content)
    file.seek(SHIFT)
    return file


REPLAYABLE: dict[str, tuple[Callable[[], dict[str, Any]], bytes]] = {
    "bytes": (lambda: {"content": LARGE}, LARGE),
    "bytearray": (lambda: {"content": bytearray(LARGE)}, LARGE),
    "memoryview": (lambda: {"content": memoryview(LARGE)}, LARGE),
    "subclass of bytes": (lambda: {"content": type("Blob", (bytes,), {})(LARGE)}, LARGE),
    "str": (lambda: {"content": "späm" * 100}, "späm".encode() * 100),
    "list": (lambda: {"content": [b"a", b"b"]}, b"ab"),
    "json": (lambda: {"json": {"a": ["ü", 1, None]}}, '{"a":["ü",1,null]}'.encode()),
    "json null is no body": (lambda: {"json": None}, b""),
    "json zero": (lambda: {"json": 0}, b"0"),
    "form": (lambda: {"data": {"a": "1", "b": ["2", "3"]}}, b"a=1&b=2&b=3"),
    "file": (lambda: {"content": io.BytesIO(LARGE)}, LARGE),
    "file from an offset": (lambda: {"content": shifted(LARGE)}, LARGE),
    "file on disk from an offset": (lambda: {"content": on_disk(LARGE)}, LARGE),
    "file at its end": (lambda: {"content": shifted(b"")}, b""),
}


def generator() -> Iterator[bytes]:
    yield LARGE[:7]
    yield LARGE[7:]


async def async_generator() -> AsyncIterator[bytes]:
    yield LARGE[:7]
    yield LARGE[7:]


class AsyncBytes:
    """Can be iterated over as often as one likes, which nobody can know."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return async_generator()


ONE_SHOT: dict[str, tuple[Callable[[], Any], str]] = {
    "generator": (generator, "sync"),
    "map": (lambda: map(bytes, [LARGE[:7], LARGE[7:]]), "sync"),
    "iterator": (lambda: iter([LARGE[:7], LARGE[7:]]), "sync"),
    "async generator": (async_generator, "async"),
    "async iterable": (AsyncBytes, "async"),
    "unseekable file": (lambda: Unseekable(LARGE), "both"),
}


def one_shot(colour: Colour, kind: str) -> Any:
    make, fits = ONE_SHOT[kind]
    if fits not in ("both", "sync" if colour.sync else "async"):
        pytest.skip("does not fit this colour")
    return make()


# Sent again


@pytest.mark.parametrize("kind", REPLAYABLE)
def test_a_retry_sends_the_whole_body_again(colour: Colour, server: Loopback, kind: str) -> None:
    make, expected = REPLAYABLE[kind]
    server.on("/x", answer(503), HANG_UP, answer(200))
    client = colour.client(server.url)
    colour(client.put("/x", **make()))
    assert server.bodies == [expected] * 3
    assert all(seen.complete for seen in server.seen)
    assert len({seen.get("content-type") for seen in server.seen}) == 1
    assert {seen.get("content-length") for seen in server.seen} == {str(len(expected))}


@pytest.mark.parametrize("kind", REPLAYABLE)
@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_sends_the_whole_body_again(colour: Colour, server: Loopback, kind: str, status: int) -> None:
    make, expected = REPLAYABLE[kind]
    server.on("/x", redirect(status, "/y"))
    colour(colour.client(server.url).post("/x", **make()))
    assert server.bodies == [expected] * 2
    assert server.last.path == "/y"
    assert server.seen[0].get("content-type") == server.last.get("content-type")


def challenged(seen: Seen) -> Answer:
    challenge = ("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5')
    return answer(200) if "authorization" in seen.names else answer(401, b"", challenge)


@pytest.mark.parametrize("kind", REPLAYABLE)
def test_an_auth_challenge_sends_the_whole_body_again(colour: Colour, server: Loopback, kind: str) -> None:
    make, expected = REPLAYABLE[kind]
    server.on("/x", challenged)
    response = colour(colour.client(server.url).post("/x", auth=httpx2.DigestAuth("a", "b"), **make()))
    assert response.status_code == 200
    assert server.bodies == [expected] * 2


def test_a_form_with_files_is_sent_again_as_it_was(colour: Colour, server: Loopback) -> None:
    server.on("/x", answer(503), redirect(307, "/y"))
    server.on("/y", answer(503), answer(200))
    client = colour.client(server.url, retry={"max_attempts": 5})
    files = {
        "one": shifted(LARGE),
        "two": ("two.bin", on_disk(b"second"), "application/x-two"),
        "three": ("three.txt", b"third"),
    }
    colour(client.put("/x", data={"field": "value"}, files=files))
    first = server.seen[0]
    assert len(server.seen) == 5
    assert set(server.bodies) == {first.body}
    assert all(seen.complete for seen in server.seen)
    assert LARGE in first.body
    assert b"#" not in first.body.replace(LARGE, b"")
    for part in (b"second", b"third", b"value", b'filename="two.bin"', b"application/x-two"):
        assert part in first.body
    assert first.get("content-length") == str(len(first.body))
    assert {seen.get("content-type") for seen in server.seen} == {first.get("content-type")}


def test_the_same_file_in_two_calls_is_sent_from_where_it_stands_then(colour: Colour, server: Loopback) -> None:
    client = colour.client(server.url)
    file = shifted(b"0123456789")
    colour(client.put("/x", content=file))
    file.seek(SHIFT + 4)
    colour(client.put("/x", content=file))
    assert server.bodies == [b"0123456789", b"456789"]


def test_a_write_that_is_answered_with_a_page_loses_its_body(colour: Colour, server: Loopback) -> None:
    server.on("/x", redirect(303, "/y"))
    colour(colour.client(server.url).post("/x", json={"a": 1}))
    assert [(seen.method, seen.body) for seen in server.seen] == [("POST", b'{"a":1}'), ("GET", b"")]
    assert not server.last.names & {"content-type", "content-length"}


# Sent once


@pytest.mark.parametrize("kind", ONE_SHOT)
def test_a_body_that_cannot_be_sent_again_is_sent_whole(colour: Colour, server: Loopback, kind: str) -> None:
    colour(colour.client(server.url).put("/x", content=one_shot(colour, kind)))
    assert server.bodies == [LARGE]
    assert server.last.get("transfer-encoding") == "chunked"
    assert server.last.complete


@pytest.mark.parametrize("kind", ONE_SHOT)
@pytest.mark.parametrize("failure", [answer(503), HANG_UP], ids=["503", "lost"])
def test_a_retry_that_would_need_it_raises_the_original_error(
    colour: Colour, server: Loopback, kind: str, failure: Answer
) -> None:
    server.on("/x", failure, answer(200))
    error = colour.error(colour.client(server.url).put("/x", content=one_shot(colour, kind)), HoldfastError)
    assert is_a(error, ServiceUnavailableError if failure is not HANG_UP else APIConnectionError)
    assert "can be sent only once" in str(error)
    assert error.attempts == 1
    assert server.bodies == [LARGE]


@pytest.mark.parametrize("kind", ONE_SHOT)
def test_a_redirect_that_would_need_it_is_refused(colour: Colour, server: Loopback, kind: str) -> None:
    server.on("/x", redirect(307, "/y"))
    error = colour.error(colour.client(server.url).put("/x", content=one_shot(colour, kind)), TooManyRedirectsError)
    assert "only once" in str(error)
    assert [seen.path for seen in server.seen] == ["/x"]


@pytest.mark.parametrize("kind", ONE_SHOT)
def test_a_redirect_that_does_not_need_it_is_followed(colour: Colour, server: Loopback, kind: str) -> None:
    server.on("/x", redirect(303, "/y"))
    colour(colour.client(server.url).post("/x", content=one_shot(colour, kind)))
    assert [(seen.method, seen.body) for seen in server.seen] == [("POST", LARGE), ("GET", b"")]


@pytest.mark.parametrize("kind", ONE_SHOT)
def test_an_auth_challenge_that_would_need_it_raises_the_challenge(colour: Colour, server: Loopback, kind: str) -> None:
    server.on("/x", challenged)
    call = colour.client(server.url).post("/x", content=one_shot(colour, kind), auth=httpx2.DigestAuth("a", "b"))
    colour.error(call, AuthenticationError)
    assert server.bodies == [LARGE]


def test_a_form_with_a_file_that_cannot_seek_is_sent_once(colour: Colour, server: Loopback) -> None:
    server.on("/x", answer(503), answer(200))
    files = {"one": shifted(b"first"), "two": ("two", Unseekable(LARGE))}
    error = colour.error(colour.client(server.url).put("/x", files=files), ServiceUnavailableError)
    assert "can be sent only once" in str(error)
    assert len(server.seen) == 1
    assert LARGE in server.last.body
    assert b"first" in server.last.body


@pytest.mark.parametrize("kind", ONE_SHOT)
def test_what_was_sent_once_is_not_sent_by_another_call(colour: Colour, server: Loopback, kind: str) -> None:
    if kind == "async iterable":
        pytest.skip("starts anew by itself")
    client = colour.client(server.url)
    body = one_shot(colour, kind)
    colour(client.put("/x", content=body))
    colour(client.put("/x", content=body))
    assert server.bodies == [LARGE, b""], "there is no way to tell a spent iterator from an empty one"


def test_a_spent_body_refuses_to_be_sent_again() -> None:
    for body in (OneShotBody(iter([b"a"])), MultipartBody(object(), replayable=False)):
        body.stream(sync=True)
        with pytest.raises(BodySpent):
            body.stream(sync=True)


# What cannot be sent


@pytest.mark.parametrize("kind", ONE_SHOT)
def test_an_iterator_of_the_other_colour_fails_before_anything_is_sent(
    colour: Colour, server: Loopback, kind: str
) -> None:
    make, fits = ONE_SHOT[kind]
    if fits in ("both", "sync" if colour.sync else "async"):
        pytest.skip("fits")
    error = colour.error(colour.client(server.url).put("/x", content=make()), InvalidRequestError)
    assert error.attempts == 0
    assert not error.may_have_executed
    assert not server.connections


UNUSABLE: dict[str, Callable[[], dict[str, Any]]] = {
    "json": lambda: {"json": {"a": object()}},
    "json nan": lambda: {"json": float("nan")},
    "json set": lambda: {"json": {1, 2}},
    "json surrogate": lambda: {"json": "\ud800"},
    "json with params": lambda: {"json": {"a": object()}, "params": {"a": 1}},
    "text file": lambda: {"content": io.StringIO("text")},
    "text file in a form": lambda: {"files": {"a": io.StringIO("text")}},
    "text file in a form by tuple": lambda: {"files": {"a": ("name", io.StringIO("text"))}},
    "list of str": lambda: {"content": ["a"]},
    "files of nothing": lambda: {"files": {"a": 5}},
    "closed file": lambda: {"content": _closed()},
    "surrogate": lambda: {"content": "\ud800"},
}


def _closed() -> io.BytesIO:
    file = io.BytesIO(b"x")
    file.close()
    return file


@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_unusable_body_fails_before_anything_is_sent(colour: Colour, server: Loopback, kind: str) -> None:
    call = colour.client(server.url).post("/x", **UNUSABLE[kind]())
    error = colour.error(call, InvalidRequestError)
    assert error.attempts == 0
    assert error.response is None
    assert not error.may_have_executed
    assert not is_a(error, httpx2.HTTPStatusError)
    assert not server.connections


def test_an_auth_that_signs_the_body_needs_it_in_memory(colour: Colour, server: Loopback) -> None:
    class Signing(httpx2.Auth):
        requires_request_body = True

        def auth_flow(self, request: httpx2.Request) -> Any:
            request.headers["X-Signed"] = str(len(request.content))
            yield request

    client = colour.client(server.url)
    error = colour.error(client.put("/x", content=shifted(LARGE), auth=Signing()), InvalidRequestError)
    assert "auth" in error.field_errors
    assert not server.connections
    colour(client.put("/x", content=LARGE, auth=Signing()))
    assert server.last.get("x-signed") == str(len(LARGE))


def _breaks(sync: bool) -> Any:
    def plain() -> Iterator[Any]:
        yield b"begun"
        raise RuntimeError("the disk is gone")

    async def async_() -> AsyncIterator[Any]:
        yield b"begun"
        raise RuntimeError("the disk is gone")

    return plain() if sync else async_()


def _gives_str(sync: bool) -> Any:
    def plain() -> Iterator[Any]:
        yield "text"

    async def async_() -> AsyncIterator[Any]:
        yield "text"

    return plain() if sync else async_()


@pytest.mark.parametrize("make", [_breaks, _gives_str], ids=["raises", "gives str"])
def test_a_body_that_breaks_by_itself_is_not_the_servers_fault(
    colour: Colour, server: Loopback, make: Callable[[bool], Any]
) -> None:
    client = colour.client(server.url, circuit_breaker={"failure_threshold": 1})
    error = colour.error(client.put("/x", content=make(colour.sync)), InvalidRequestError)
    assert "its body could not be read" in str(error)
    assert error.attempts == 1
    assert client.circuit_breaker.state == "closed"
    assert all(not seen.complete for seen in server.seen)


def test_a_file_that_breaks_is_not_the_servers_fault(colour: Colour, server: Loopback, tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the disk is gone")

    error = colour.error(colour.client(server.url).put("/x", content=Broken(b"abc")), InvalidRequestError)
    assert "the disk is gone" in str(error)

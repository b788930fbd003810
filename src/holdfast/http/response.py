"""The response of the native engine: an `httpx2.Response` whose parts are made when somebody looks at them.

Of most responses, status and body are all that is ever read. Making the rest, headers, request, extensions and the time
it took, costs as much as everything else that happens to a response.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2

from holdfast.core.effects import Job
from holdfast.http.engines.h1_head import Head

_Raw = list[tuple[bytes, bytes]]
_decode = json.JSONDecoder().raw_decode


class _Read(httpx2.AsyncByteStream):
    """The stream of a response whose body was read."""


class _ReadSync(httpx2.SyncByteStream):
    """The same of one in sync use."""


_READ = _Read()
_READ_SYNC = _ReadSync()


class NativeResponse(httpx2.Response):
    """A response as it came over a connection of our own, in every public respect one of httpx2's.

    What is not in the instance is made by `__getattr__` when it is first looked at, and stays.
    """

    # What those have in common whose body was read. As attributes of the class they cost nothing.
    is_closed = True
    is_stream_consumed = True
    next_request = None
    default_encoding = "utf-8"
    stream: httpx2.SyncByteStream | httpx2.AsyncByteStream = _READ
    _num_bytes_downloaded = 0

    _head: Head
    _job: Job
    _sent: tuple[httpx2.URL, _Raw, Any, dict[str, float | None]]
    _network: Callable[[], Any]

    def __getattr__(self, name: str) -> Any:
        # A copy that came out of a pickle has no head any more, and everything that was made of it.
        maker = _MAKERS.get(name) if "_head" in self.__dict__ else None
        made = None if maker is None else getattr(self, maker)()
        if made is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        self.__dict__[name] = made
        return made

    def settle(self) -> dict[str, Any]:
        """Makes whatever nobody has looked at yet. Returns the attributes that a response of httpx2 would have."""
        for name in _MAKERS:
            getattr(self, name, None)
        shared = {name: getattr(self, name) for name in _SHARED}
        return shared | {name: value for name, value in self.__dict__.items() if name not in _OWN}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.settle().items() if name not in _NOT_PICKLED}

    def mentions(self, word: bytes) -> bool:
        """Whether a word in small letters may be in the headers. False is certain, and cheaper than looking at them."""
        attributes = self.__dict__
        return "headers" in attributes or word in attributes["_head"].block.lower()

    def json(self, **kwargs: Any) -> Any:
        """See `httpx2.Response.json`."""
        content = self.content
        if not kwargs and content[:1] in _OPENING:
            # As `json.loads` does it, but that it does not look for other encodings than UTF-8 first: in these a zero
            # byte follows, or precedes, and that is no JSON.
            try:
                text = content.decode()
                value, end = _decode(text)
            except ValueError:
                pass
            else:
                if end == len(text) or not text[end:].strip(" \t\n\r"):
                    return value
        return super().json(**kwargs)

    def hold(self, content: bytes) -> None:
        """Takes this for the body, which was read and decoded."""
        self._content = content

    def sets_cookies(self) -> bool:
        """Whether it came with a Set-Cookie."""
        return self._head.cookies

    def _make_headers(self) -> httpx2.Headers:
        # As `Headers(...)` makes them of pairs of bytes, in a third of the time.
        headers = _new_headers(httpx2.Headers)
        headers._list = [(name, name.lower(), value) for name, value in self._head.fields()]  # noqa: SLF001
        headers._encoding = "ascii" if self._head.block.isascii() else None  # noqa: SLF001
        return headers

    def _make_request(self) -> httpx2.Request:
        url, headers, body, timeouts = self._sent
        extensions = {"timeout": timeouts, **self._job.context.extensions}
        if body.__class__ is not bytes:
            return httpx2.Request(self._job.method, url, headers=headers, stream=body, extensions=extensions)
        stream = httpx2.ByteStream(body)
        request = httpx2.Request(self._job.method, url, headers=headers, stream=stream, extensions=extensions)
        request.read()  # so that its content can be looked at
        return request

    def _make_extensions(self) -> dict[str, Any]:
        version = b"HTTP/1.1" if self._head.minor else b"HTTP/1.0"
        return {"http_version": version, "reason_phrase": self._head.reason, "network_stream": self._network()}

    def _make_elapsed(self) -> timedelta | None:
        times = self.__dict__.get("_times")
        return None if times is None else timedelta(seconds=times[1] - times[0])

    def _make_history(self) -> list[httpx2.Response]:
        return []


class SyncNativeResponse(NativeResponse):
    """The same in sync use."""

    stream = _READ_SYNC


_MAKERS = {
    "headers": "_make_headers",
    "_request": "_make_request",
    "extensions": "_make_extensions",
    "history": "_make_history",
    "_elapsed": "_make_elapsed",
}
_SHARED = ("is_closed", "is_stream_consumed", "next_request", "default_encoding", "stream", "_num_bytes_downloaded")
_OWN = frozenset({"_head", "_job", "_sent", "_network", "_times"})
_NOT_PICKLED = frozenset({"extensions", "stream", "is_closed", "_decoder"})  # as in `httpx2.Response`
_OPENING = (b"{", b"[")
_new = NativeResponse.__new__
_new_headers = httpx2.Headers.__new__


def whole(
    head: Head,
    content: bytes,
    job: Job,
    body: Any,
    network: Callable[[], Any],
    times: tuple[float, float],
    kind: type[NativeResponse] = NativeResponse,
    size: int | None = None,
) -> NativeResponse:
    """A response whose body was read.

    Args:
        head: its head.
        content: its body, decoded.
        job: what it answers.
        body: what was sent with it, bytes or the stream.
        network: makes its ``network_stream``.
        times: when its request began to be sent, and when it was complete, in seconds of the same clock.
        kind: the class for its colour.
        size: of the body as it came, in bytes, where that is not the size of `content`.
    """
    response = _new(kind)
    response.__dict__ = {
        "status_code": head.status,
        "_content": content,
        "_num_bytes_downloaded": len(content) if size is None else size,
        "_head": head,
        "_job": job,
        "_sent": (job.url, job.headers, body, job.timeouts),
        "_network": network,
        "_times": times,
    }
    return response


def streamed(
    head: Head,
    stream: httpx2.AsyncByteStream | httpx2.SyncByteStream,
    job: Job,
    body: Any,
    network: Callable[[], Any],
    kind: type[NativeResponse] = NativeResponse,
) -> NativeResponse:
    """A response whose body is still to come. Its stream knows the time that it took; otherwise see `whole`."""
    response = _new(kind)
    response.__dict__ = {
        "status_code": head.status,
        "is_closed": False,
        "is_stream_consumed": False,
        "stream": stream,
        "_head": head,
        "_job": job,
        "_sent": (job.url, job.headers, body, job.timeouts),
        "_network": network,
    }
    return response

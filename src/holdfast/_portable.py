"""Requests, responses and other values as exceptions carry them: without credentials, and fit to be pickled."""

from __future__ import annotations

import contextlib
import pickle
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import httpx2

from holdfast.redaction import redact_headers, redact_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterator

E = TypeVar("E", bound=BaseException)

_PLAIN = (str, int, float, bool, bytes, type(None))
_CONTAINERS = (list, tuple, set, frozenset)


class _Gone(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """The body of a copy that has none: reading it says that the stream is closed."""

    def __iter__(self) -> Iterator[bytes]:
        raise httpx2.StreamClosed

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise httpx2.StreamClosed


def redact_request(request: httpx2.Request, secret_headers: Collection[str] = frozenset()) -> httpx2.Request:
    """Copies a request without its secrets: headers and URL masked, extensions left out, a body in memory kept.

    Args:
        request: stays as it is.
        secret_headers: names of headers to mask besides those that `holdfast.redaction` knows.
    """
    stream: object = request.stream
    with contextlib.suppress(httpx2.RequestNotRead):
        stream = httpx2.ByteStream(request.content)
    if not isinstance(stream, httpx2.ByteStream):
        return _bare_request(request, secret_headers, _Gone())
    copy = _bare_request(request, secret_headers, stream)
    copy.read()
    return copy


def redact_response(response: httpx2.Response, secret_headers: Collection[str] = frozenset()) -> None:
    """Replaces the requests that a response and its redirect history refer to by redacted copies, in place."""
    for one in (response, *response.history):
        request = request_of(one)
        if request is not None:
            one.request = redact_request(request, secret_headers)
        if one.next_request is not None:
            one.next_request = redact_request(one.next_request, secret_headers)


def redact_error(error: BaseException, secret_headers: Collection[str] = frozenset()) -> None:
    """Redacts, in place, the requests that an exception refers to; also in its causes, contexts and groups.

    httpx2's exceptions hold the request as it was sent, credentials included.
    """
    seen: set[int] = set()
    ahead: list[BaseException | None] = [error]
    while ahead:
        one = ahead.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        ahead += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            ahead += one.exceptions
        if isinstance(one, httpx2.HTTPError):
            with contextlib.suppress(RuntimeError):
                request = one.request
                if isinstance(request, httpx2.Request):
                    one.request = redact_request(request, secret_headers)
        response = getattr(one, "response", None)
        if isinstance(response, httpx2.Response):
            redact_response(response, secret_headers)


def request_of(response: httpx2.Response) -> httpx2.Request | None:
    """The request of a response, None if it was never set."""
    try:
        return response.request
    except RuntimeError:
        return None


def stand_in_request(endpoint: str | None) -> httpx2.Request:
    """A request for an error that has none: method and URL of `endpoint` (``"GET /path"``) as far as they parse."""
    method, _, url = (endpoint or "").partition(" ")
    with contextlib.suppress(httpx2.InvalidURL, ValueError):
        return httpx2.Request(method or "GET", redact_url(url), stream=_Gone())
    return httpx2.Request("GET", "", stream=_Gone())


def portable_request(request: httpx2.Request) -> httpx2.Request:
    """A redacted copy for a pickle: the body is left out, for it may be large and hold the caller's secrets."""
    return _bare_request(request, frozenset(), _Gone())


def portable_response(response: httpx2.Response) -> httpx2.Response:
    """A redacted, closed copy for a pickle: secret headers masked, connection and body decoder left out."""
    try:
        content: bytes | None = response.content
    except httpx2.ResponseNotRead:
        content = None
    if content is None:
        copy = httpx2.Response(response.status_code, stream=_Gone())
    else:
        # The content is decoded already: a Content-Encoding in the constructor would have it decoded again.
        copy = httpx2.Response(response.status_code, content=content)
        copy.encoding = response.encoding or "utf-8"
    copy.headers = httpx2.Headers(_redacted(response.headers, frozenset()))
    request = request_of(response)
    if isinstance(request, httpx2.Request):
        copy.request = portable_request(request)
    copy.history = [portable_response(one) for one in response.history]
    with contextlib.suppress(RuntimeError):
        copy.elapsed = response.elapsed
    return copy


def portable(value: Any, of_error: Callable[[BaseException], Any]) -> Any:
    """`value` as it can be pickled: itself as a rule, containers item by item, and as its repr what would not survive.

    An exception that fails to unpickle takes a whole process pool down with it, so that is tried beforehand.

    Args:
        value: stays as it is.
        of_error: makes the portable form of an exception.
    """
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, BaseException):
        return of_error(value)
    if isinstance(value, httpx2.Request):
        return portable_request(value)
    if isinstance(value, httpx2.Response):
        return portable_response(value)
    if isinstance(value, dict | MappingProxyType):
        return {portable(key, of_error): portable(item, of_error) for key, item in value.items()}
    if type(value) in _CONTAINERS:
        return type(value)(portable(item, of_error) for item in value)
    return value if survives_pickling(value) else repr(value)


def survives_pickling(value: Any) -> bool:
    """Whether `value` can be pickled and comes back."""
    try:
        pickle.loads(pickle.dumps(value))  # noqa: S301  (our own bytes of a line before)
    except Exception:  # noqa: BLE001  (foreign reducers raise anything)
        return False
    return True


def blank(cls: type[E]) -> E:
    """An instance of an exception class on which no `__init__` was run."""
    # The built-in base that fixes the memory layout has the right constructor. With OSError and RuntimeError among the
    # bases, `cls.__new__` may find that of the other one, which refuses.
    base: Any = cls
    while "__new__" not in base.__dict__:
        base = base.__base__
    return cast("E", base.__new__(cls))


def _bare_request(request: httpx2.Request, secret_headers: Collection[str], stream: Any) -> httpx2.Request:
    text = str(request.url)
    shown = redact_url(text)
    url: httpx2.URL | str = request.url if shown == text else shown
    return httpx2.Request(request.method, url, headers=_redacted(request.headers, secret_headers), stream=stream)


def _redacted(headers: httpx2.Headers, secret_headers: Collection[str]) -> list[tuple[bytes, bytes]]:
    pairs = redact_headers(headers.raw, secret_headers)
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]

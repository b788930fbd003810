"""The httpx2 engine, on the public `httpx2.AsyncClient` and `httpx2.Client`, also on handed-in ones."""

from __future__ import annotations

import contextlib
import inspect
import logging
from http.cookiejar import CookieJar
from types import FunctionType
from typing import Any

import httpx2

from holdfast.core.deadline import cut
from holdfast.core.effects import Job
from holdfast.http.bodies import BodyFailed, BodySpent
from holdfast.http.content import BodyLimitError, head, head_sync, read, read_sync, with_content
from holdfast.http.deadlines import left
from holdfast.http.engines.base import EngineError, Phase, Sent
from holdfast.redaction import redact_url

CAPS = frozenset({"sent", "stream", "http2", "proxy", "ssl_context", "unix"})


_HTTPX2 = getattr(httpx2.AsyncClient.__init__, "__globals__", None)
_NO_AUTH = httpx2.Auth()  # given explicitly, it spares httpx2 looking for credentials in the URL
_NEUTRAL = frozenset({"accept", "accept-encoding", "connection", "user-agent"})
_REFUSED_STREAM = 7  # RFC 9113, section 7

# What a transport of somebody's own raises by mistake, a mock with an assertion in it for one. It says nothing about
# the network, and repeating the request would only hide it.
_MISTAKES = (AssertionError, AttributeError, LookupError, NameError, NotImplementedError, TypeError)

# Which failures prove that the request never left. The first class that fits decides.
_BEFORE_SENDING: tuple[tuple[type[Exception], Phase], ...] = (
    (httpx2.PoolTimeout, "pool"),
    (httpx2.ConnectTimeout, "connect"),
    (httpx2.ConnectError, "connect"),
    (httpx2.ProxyError, "connect"),
    (httpx2.UnsupportedProtocol, "build"),
)


def engine_error(error: Exception, *, head: bool) -> EngineError:
    """What an exception of httpx2 says about the attempt; `head` is True once the response's head was there."""
    timed_out = isinstance(error, httpx2.TimeoutException)
    message = str(error) or type(error).__name__
    if isinstance(error, BodyLimitError):
        return EngineError(message, sent=Sent.MAYBE, phase="limit")
    if isinstance(error, httpx2.DecodingError):
        return EngineError(message, sent=Sent.MAYBE, phase="decode", cause=error)
    if _is_unreadable(error):
        error = httpx2.RemoteProtocolError(message)
    if not head:
        for kind, phase in _BEFORE_SENDING:
            if isinstance(error, kind):
                return EngineError(message, sent=Sent.NO, phase=phase, cause=error, timed_out=timed_out)
        if _was_refused(error):
            return EngineError(message, sent=Sent.NO, phase="connect", cause=error)
        # httpx2 lets h11's own LocalProtocolError through where it comes up while a body is being sent.
        if isinstance(error, (httpx2.LocalProtocolError, BodyFailed)) or type(error).__name__ == "LocalProtocolError":
            if message.startswith("Illegal header"):
                # h11 repeats the value, which may be a secret.
                return EngineError("a header is not well-formed", sent=Sent.NO, phase="build")
            return EngineError(message, sent=Sent.MAYBE, phase="build", cause=error)
        message = _why_too_large(error) or message
    return EngineError(message, sent=Sent.MAYBE, phase="body" if head else "head", cause=error, timed_out=timed_out)


def _was_refused(error: Exception) -> bool:
    """Whether an HTTP/2 server reset the stream with REFUSED_STREAM: it did not process the request (RFC 9113, 8.7)."""
    return getattr(_reported(error), "error_code", None) == _REFUSED_STREAM


def _is_unreadable(error: Exception) -> bool:
    """Whether h2 failed on what the server sent. httpcore2 calls that our mistake, or lets it through as it is."""
    for one in (error, _reported(error)):
        traceback = getattr(one, "__traceback__", None) if type(one).__module__ == "h2.exceptions" else None
        while traceback is not None:
            if traceback.tb_frame.f_code.co_name == "receive_data":
                return True
            traceback = traceback.tb_next
    return False


def _why_too_large(error: Exception) -> str | None:
    """What to say where h11 gave up on a head, which it tells by the status that a server would answer with."""
    if getattr(_reported(error), "error_status_hint", None) == 431:
        return "the head of the response is too large: more than 100 KiB"
    return None


def _reported(error: Exception) -> object:
    """What httpcore2 was told by h11 or h2: its own exception, the cause of httpx2's, holds it as its argument."""
    cause = error.__cause__
    return cause.args[0] if cause is not None and cause.args else None


def _request(job: Job, *, sync: bool) -> httpx2.Request:
    body = job.body
    try:
        stream = httpx2.ByteStream(body) if body.__class__ is bytes else body.stream(sync=sync)
        # A new request for every attempt: httpx2 and its transports write into the extensions.
        return httpx2.Request(
            job.method,
            job.url,
            headers=job.headers,
            stream=stream,
            extensions={"timeout": job.timeouts, **job.context.extensions},
        )
    except (BodySpent, TypeError, ValueError) as error:
        raise EngineError(str(error), sent=Sent.NO, phase="build", cause=error) from error


def _theirs(request: object) -> bool:
    """Whether this is httpx2's own `request`, and none that somebody has put in its place."""
    return isinstance(request, FunctionType) and request.__globals__ is _HTTPX2


def _is_replaced(client: httpx2.AsyncClient | httpx2.Client) -> bool:
    return "request" in client.__dict__ or not _theirs(type(client).request)


def _arguments(job: Job, *, sync: bool) -> dict[str, Any]:
    """The job as arguments of a `request` that somebody has put in the place of httpx2's."""
    body = job.body
    return {
        "headers": httpx2.Headers(job.headers),
        "content": (body or None) if body.__class__ is bytes else body.stream(sync=sync),
        "timeout": httpx2.Timeout(**job.timeouts),
        "follow_redirects": False,
        "extensions": dict(job.context.extensions),
    }


def _has_secrets(client: httpx2.AsyncClient | httpx2.Client) -> bool:
    """Whether httpx2 would add to a request what is for the origin of `base_url` alone, if sent by `request`."""
    return bool(client.auth or client.params or client.cookies or client.headers.keys() - _NEUTRAL)


class _UrlFilter(logging.Filter):
    """Masks the secrets in the URLs that httpx2 logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(redact_url(one) if isinstance(one, httpx2.URL) else one for one in record.args)
        return True


logging.getLogger("httpx2").addFilter(_UrlFilter())


def keep_cookies(response: httpx2.Response, jar: CookieJar) -> None:
    """Puts into `jar` what httpx2 puts only into the jar of the client that it sent with."""
    if "set-cookie" in response.headers:
        with contextlib.suppress(RuntimeError):  # a response that somebody made up may have no request
            httpx2.Cookies(jar).extract_cookies(response)


# What is replaced already, as by `mock.patch` around the making of the first client, is no yardstick for the others.
_ASYNC_REQUEST, _SYNC_REQUEST = (
    one.request if _theirs(one.request) else None for one in (httpx2.AsyncClient, httpx2.Client)
)

_ASYNC_SEND, _SYNC_SEND = httpx2.AsyncClient.send, httpx2.Client.send


def is_unreplaced() -> bool:
    """Whether nobody has put anything in the place of what the async clients of httpx2 send by."""
    client = httpx2.AsyncClient
    return client.request is _ASYNC_REQUEST and client.send is _ASYNC_SEND


def is_unreplaced_sync() -> bool:
    """As `is_unreplaced`, for its sync clients."""
    client = httpx2.Client
    return client.request is _SYNC_REQUEST and client.send is _SYNC_SEND


class AsyncHttpx2Engine:
    """Performs attempts with an `httpx2.AsyncClient`.

    Args:
        client: to send with.
        jar: takes the cookies that come, if that is not the client's own jar.
        owned: whether the client is closed with the engine.
        given: whether client or transport are somebody's own, whose mistakes are raised as they are.
    """

    caps = CAPS | {"cancel", "deadline"}

    def __init__(
        self, client: httpx2.AsyncClient, jar: CookieJar | None = None, *, owned: bool = True, given: bool = False
    ) -> None:
        self._client = client
        self._jar = jar
        self._owned = owned
        self._mistakes = _MISTAKES if given else ()

    async def send(self, job: Job) -> httpx2.Response:
        """See `Engine.send`."""
        client = self._client
        if (
            (type(client).request is not _ASYNC_REQUEST or "request" in client.__dict__)
            and _is_replaced(client)
            and (job.context.target.own or not _has_secrets(client))
        ):
            return await self._through_request(job)
        request = _request(job, sync=False)
        response: httpx2.Response | None = None
        try:
            response = await client.send(request, stream=True, auth=_NO_AUTH, follow_redirects=False)
            if self._jar is not None:
                keep_cookies(response, self._jar)
            if job.stream:
                return await head(response)
            return await read(response, job.cap)
        except self._mistakes:
            raise
        except Exception as error:
            if response is not None and response.status_code >= 400:
                return with_content(response, b"")  # the status says enough, whatever became of the explanation
            raise engine_error(error, head=response is not None) from error

    async def _through_request(self, job: Job) -> httpx2.Response:
        try:
            answer: Any = self._client.request(job.method, str(job.url), **_arguments(job, sync=False))
            response: httpx2.Response = await answer if inspect.isawaitable(answer) else answer
        except _MISTAKES:
            raise
        except Exception as error:
            raise engine_error(error, head=False) from error
        if self._jar is not None:
            keep_cookies(response, self._jar)
        return response

    async def aclose(self) -> None:
        """Closes the client, unless it was handed in."""
        if self._owned:
            await self._client.aclose()


class SyncHttpx2Engine:
    """Performs attempts with an `httpx2.Client`; otherwise as `AsyncHttpx2Engine`.

    Args:
        client: to send with.
        jar: takes the cookies that come, if that is not the client's own jar.
        owned: whether the client is closed with the engine.
        given: whether client or transport are somebody's own, whose mistakes are raised as they are.
        cuts: whether its transports cut what they read and write to the thread's time, see
            `holdfast.http.deadlines.limit`. Others can be given no more than timeouts that are cut beforehand.
    """

    def __init__(
        self,
        client: httpx2.Client,
        jar: CookieJar | None = None,
        *,
        owned: bool = True,
        given: bool = False,
        cuts: bool = False,
    ) -> None:
        self.caps = CAPS | {"deadline"} if cuts else CAPS
        self._client = client
        self._jar = jar
        self._owned = owned
        self._mistakes = _MISTAKES if given else ()

    def send(self, job: Job) -> httpx2.Response:
        """See `Engine.send`."""
        client = self._client
        if (
            (type(client).request is not _SYNC_REQUEST or "request" in client.__dict__)
            and _is_replaced(client)
            and (job.context.target.own or not _has_secrets(client))
        ):
            return self._through_request(job)
        request = _request(job, sync=True)
        seconds = left()
        if seconds < job.longest and request.extensions["timeout"] is job.timeouts:
            # A hop of a redirect has the timeouts of the first one.
            request.extensions["timeout"] = cut(job.timeouts, seconds)
        response: httpx2.Response | None = None
        try:
            response = client.send(request, stream=True, auth=_NO_AUTH, follow_redirects=False)
            if self._jar is not None:
                keep_cookies(response, self._jar)
            if job.stream:
                return head_sync(response)
            return read_sync(response, job.cap)
        except self._mistakes:
            raise
        except Exception as error:
            if response is not None and response.status_code >= 400:
                return with_content(response, b"")
            raise engine_error(error, head=response is not None) from error

    def _through_request(self, job: Job) -> httpx2.Response:
        try:
            response = self._client.request(job.method, str(job.url), **_arguments(job, sync=True))
        except _MISTAKES:
            raise
        except Exception as error:
            raise engine_error(error, head=False) from error
        if self._jar is not None:
            keep_cookies(response, self._jar)
        return response

    def close(self) -> None:
        """Closes the client, unless it was handed in."""
        if self._owned:
            self._client.close()

"""The exceptions that Holdfast raises.

.. code-block:: text

    HoldfastError (= MyAPIError)         every error of this package
      APIConnectionError                 worth a retry: network, timeouts, 5xx
        APITimeoutError                  the client's own time ran out; also the builtin TimeoutError
          DeadlineExceededError          the deadline of the whole call passed
        ServerTimeoutError               408; not a TimeoutError, for the server answered
        ServiceUnavailableError          502, 503, 504; in the service clients also: unreachable
        ServerError                      any other 5xx
        CircuitOpenError                 the circuit breaker let nothing through
      APIStatusError                     4xx
        AuthenticationError              401, 403
        NotFoundError                    404
        InvalidRequestError              400, 422, and what was found wrong before anything was sent
        ConflictError                    409
        RateLimitError                   429
      PoolTimeoutError                   bulkhead, local rate limit or connection pool saturated
      MaxRetriesExceededError            instead of the last error, by the clients that document it
      ResponseError                      a 2xx that cannot be used: truncated, undecodable, too large, not the model
      TooManyRedirectsError              too many redirects, or one that must not be followed
      ClientClosedError                  the client was closed; also RuntimeError
      WebhookError                       a webhook that cannot be trusted or read

What a service client raises is at once its own public class, the class above of the outcome, and the httpx2 class of
the cause: `narrow` makes such classes.

Errors carry no credentials: requests they refer to are redacted copies. They can be pickled and copied with everything
that belongs to them but the traceback and the chain of causes; two errors are equal only if they are the same object.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

import httpx2

from holdfast import _portable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "CircuitOpenError",
    "ClientClosedError",
    "ConflictError",
    "DeadlineExceededError",
    "HoldfastError",
    "InvalidRequestError",
    "MaxRetriesExceededError",
    "MyAPIError",
    "NotFoundError",
    "PoolTimeoutError",
    "RateLimitError",
    "ResponseError",
    "ServerError",
    "ServerTimeoutError",
    "ServiceUnavailableError",
    "TooManyRedirectsError",
    "WebhookError",
    "narrow",
]


class HoldfastError(Exception):
    """The base of every error of this package.

    A subclass declares what else its errors carry as public class attributes with a default; these can then be given as
    keywords. It needs no `__init__`, and must not rely on one: with `narrow`, only one of several would run.

    Attributes:
        message: what happened and what to do about it; also ``str(error)``.
        request_id: the id under which all attempts were sent, None if there was none.
        attempts: how many attempts were sent.
        may_have_executed: whether the server may have acted on any of them.
        endpoint: method and path, such as ``"GET /crews"``.
        status_code: HTTP status of the last response, None if there was none.
        response: the last response, None if there was none. Its `request` is a redacted copy.
        retry_after: seconds after which it is worth trying again, None if nobody told.
        retries_spent: whether it was retried, as often as the settings allow.

    Errors that are also httpx2 exceptions (see `narrow`) have a `request` besides, always set: a redacted copy, or if
    there was none a stand-in made from `endpoint`. On other errors there is no such attribute.
    """

    message: str = ""
    request_id: str | None = None
    attempts: int = 0
    may_have_executed: bool = False
    endpoint: str | None = None
    status_code: int | None = None
    response: httpx2.Response | None = None
    retry_after: float | None = None
    retries_spent: bool = False

    _parts: ClassVar[tuple[type[Exception], ...]]

    def __init__(
        self,
        message: str,
        *,
        request_id: str | None = None,
        attempts: int = 0,
        may_have_executed: bool = False,
        endpoint: str | None = None,
        status_code: int | None = None,
        response: httpx2.Response | None = None,
        retry_after: float | None = None,
        request: httpx2.Request | None = None,
        secret_headers: Collection[str] = frozenset(),
        **details: Any,
    ) -> None:
        """Makes an error with the attributes described for the class; `details` are those a subclass declares besides.

        `status_code` is that of the response unless given. `request` is what was sent, for errors that have one; unless
        given, that of the response. The requests that the response and its history refer to are replaced by redacted
        copies; `secret_headers` names headers to redact besides those known as secret, and is not kept.

        Raises:
            TypeError: a detail that the class does not declare, or an `httpx2.HTTPStatusError` without a response.
        """
        # Direct, because the next class in line may be one of httpx2's or OSError, each with an idea of its own.
        Exception.__init__(self, message)
        self.message = message
        self.request_id = request_id
        self.attempts = attempts
        self.may_have_executed = may_have_executed
        self.endpoint = endpoint
        self.status_code = status_code
        self.response = response
        self.retry_after = retry_after
        for name, value in details.items():
            if not _declares(type(self), name):
                raise TypeError(f"{type(self).__name__} got an unexpected keyword argument {name!r}")
            setattr(self, name, value)
            if isinstance(value, BaseException):
                _portable.redact_error(value, secret_headers)
        if isinstance(response, httpx2.Response):
            if status_code is None:
                self.status_code = response.status_code
            _portable.redact_response(response, secret_headers)
        elif issubclass(type(self), httpx2.HTTPStatusError):
            raise TypeError(f"{type(self).__name__} as an httpx2.HTTPStatusError needs the response")
        if _has_request(type(self)):
            if request is not None:
                _set_request(self, request, secret_headers)
            elif isinstance(response, httpx2.Response):
                self.__dict__["_request"] = _portable.request_of(response)

    def __str__(self) -> str:
        return self.message or Exception.__str__(self)

    def __copy__(self) -> Self:
        other = _portable.blank(type(self))
        other.args = self.args
        other.__dict__.update(self.__dict__)
        if hasattr(self, "__notes__"):
            other.__notes__ = list(self.__notes__)
        other.__cause__ = self.__cause__
        other.__context__ = self.__context__
        other.__suppress_context__ = self.__suppress_context__
        other.__traceback__ = self.__traceback__
        return other

    def __reduce__(self) -> tuple[Callable[..., HoldfastError], tuple[Any, ...], dict[str, Any]]:
        state = {name: _portable.portable(value, _adopt) for name, value in self.__dict__.items()}
        return _restore, (_parts_of(type(self)), _portable.portable(self.args, _adopt)), state


MyAPIError = HoldfastError
"""The name of `HoldfastError` in code written for the resilient client's guide."""


class APIConnectionError(HoldfastError):
    """The service could not be reached or could not serve: network errors, timeouts, 5xx. Trying later may help."""


class APITimeoutError(APIConnectionError, TimeoutError):
    """The client's own time ran out: connecting, writing or reading took longer than configured."""


class DeadlineExceededError(APITimeoutError):
    """The deadline of the whole call passed, retries and waits included.

    Attributes:
        last_error: what the last finished attempt failed with, None if there was none.
    """

    last_error: BaseException | None = None


class ServerTimeoutError(APIConnectionError):
    """408: the server gave up waiting for the request. Not a builtin TimeoutError, for the server did answer."""


class ServiceUnavailableError(APIConnectionError):
    """502, 503 or 504; in the service clients also a service that cannot be reached.

    Attributes:
        service_name: which service it is, None if it has no name.
    """

    service_name: str | None = None


class ServerError(APIConnectionError):
    """Any 5xx but 502, 503 and 504."""


class CircuitOpenError(APIConnectionError):
    """The circuit breaker is open, so nothing was sent; `retry_after` tells when it lets a probe through."""


class APIStatusError(HoldfastError):
    """4xx: the request was answered and refused; the same request will be refused again."""


class AuthenticationError(APIStatusError):
    """401 or 403: credentials are missing, wrong, expired, or do not suffice."""


class NotFoundError(APIStatusError):
    """404.

    Attributes:
        resource_type: what was looked for, such as ``"workflow"``; None if unknown.
        resource_id: its id, None if unknown.
    """

    resource_type: str | None = None
    resource_id: str | None = None


class InvalidRequestError(APIStatusError):
    """400 or 422, or a request found invalid before sending it: then `response` and `status_code` are None.

    Attributes:
        field_errors: messages by the name of the field.
        validation_errors: the errors one by one, as the server or the model reported them.
    """

    field_errors: Mapping[str, Sequence[str]] = MappingProxyType({})
    validation_errors: Sequence[Any] = ()


class ConflictError(APIStatusError):
    """409: the request does not fit the state of what it addresses."""


class RateLimitError(APIStatusError):
    """429; `retry_after` if the server told when to come back."""


class PoolTimeoutError(HoldfastError):
    """This client is saturated: no slot of the bulkhead, token of the local rate limit or connection in time."""


class MaxRetriesExceededError(HoldfastError):
    """All `attempts` failed. Raised in place of the last error by the clients that document it; never narrowed.

    Attributes:
        last_error: what the last attempt failed with.
    """

    last_error: BaseException | None = None


class ResponseError(HoldfastError):
    """A good status, but a response that cannot be used: truncated, undecodable, too large, or not the model."""


class TooManyRedirectsError(HoldfastError):
    """More redirects than allowed, or one that must not be followed."""


class ClientClosedError(HoldfastError, RuntimeError):
    """The client was closed before or during the call."""


class WebhookError(HoldfastError):
    """A webhook with a wrong signature, a timestamp out of range, seen before, or malformed.

    Attributes:
        reason: which of them: ``"signature"``, ``"timestamp"``, ``"replay"``, ``"malformed"``, ``"too_large"``; or
            ``"unavailable"`` if nobody could tell whether it was seen before.
        in_progress: of a replay, whether the same event is still being handled, so that it may yet fail.
    """

    reason: str | None = None
    in_progress: bool = False


E = TypeVar("E", bound=HoldfastError)

_classes: dict[tuple[type[Exception], ...], type[HoldfastError]] = {}


def narrow(
    public_class: type[E], core_class: type[HoldfastError], httpx_class: type[BaseException] | None = None
) -> type[E]:
    """The class of errors that are all three: what a guide documents, what happened, and what httpx2 calls it.

    It goes by the name and module of `public_class` and is made once for each combination. Narrowed classes can be
    narrowed further.

    Args:
        public_class: the documented class.
        core_class: the class of the outcome; may be the same, a base or a subclass of `public_class`.
        httpx_class: the class of the cause, or of any other exception: its nearest base in httpx2 is taken. None, or a
            class without such a base, adds nothing.

    Raises:
        TypeError: one of the first two is no `HoldfastError`, or is a `MaxRetriesExceededError`: whoever asks for that
            one counts on it not being the error of the last attempt as well.
    """
    for given in (public_class, core_class):
        if not issubclass(given, HoldfastError):
            raise TypeError(f"{given.__name__} is not a HoldfastError")
        if issubclass(given, MaxRetriesExceededError):
            raise TypeError("MaxRetriesExceededError is never narrowed")
    httpx_parts = () if httpx_class is None else _httpx_parts(httpx_class)
    return cast("type[E]", _combine((*_parts_of(public_class), *_parts_of(core_class), *httpx_parts)))


def _combine(parts: tuple[type[Exception], ...]) -> type[HoldfastError]:
    """The class that is all of `parts` and has the name of the first, which is a `HoldfastError`."""
    known = _classes.get(parts)
    if known is not None:
        return known
    distinct = tuple(dict.fromkeys(parts))
    public = distinct[0]
    bases = [one for one in distinct if not any(other is not one and issubclass(other, one) for other in distinct)]
    if bases == [public]:
        made = public
    else:
        bases.sort(key=lambda base: not issubclass(base, HoldfastError))
        namespace: dict[str, Any] = {
            "__doc__": public.__doc__,
            "__module__": public.__module__,
            "__qualname__": public.__qualname__,
            "_parts": distinct,
        }
        if not all(issubclass(base, HoldfastError) for base in bases):
            namespace["request"] = property(_get_request, _set_request, doc="What was sent, without its secrets.")
        made = _classes.get(distinct) or type(public.__name__, tuple(bases), namespace)
    # Of two threads that get here at once, both leave with the class of the first.
    unique = _classes.setdefault(distinct, cast("type[HoldfastError]", made))
    return _classes.setdefault(parts, unique)


def _parts_of(cls: type[Exception]) -> tuple[type[Exception], ...]:
    """The importable classes that `cls` was combined from; itself if it was not."""
    parts: tuple[type[Exception], ...] = cls.__dict__.get("_parts", (cls,))
    return parts


def _httpx_parts(cls: type[BaseException]) -> tuple[type[Exception], ...]:
    for one in cls.__mro__:
        if one.__module__.partition(".")[0] == "httpx2":
            return (cast("type[Exception]", one),)
    return ()


def _has_request(cls: type[HoldfastError]) -> bool:
    found = getattr(cls, "request", None)
    return isinstance(found, property) and found.fget is _get_request


def _get_request(error: HoldfastError) -> httpx2.Request:
    request = error.__dict__.get("_request")
    if request is None:
        request = error.__dict__["_request"] = _portable.stand_in_request(error.endpoint)
    return cast("httpx2.Request", request)


def _set_request(error: HoldfastError, request: httpx2.Request, secret_headers: Collection[str] = frozenset()) -> None:
    # httpx2 sets it too, when one of these errors passes through a client of its own.
    error.__dict__["_request"] = _portable.redact_request(request, secret_headers)


def _declares(cls: type[HoldfastError], name: str) -> bool:
    declared = not name.startswith("_") and hasattr(cls, name)
    return declared and not hasattr(type(getattr(cls, name)), "__get__")


def _adopt(error: BaseException) -> BaseException:
    """What goes into a pickle for `error`: itself, or one of ours if it would not come back or carries credentials."""
    if isinstance(error, HoldfastError):
        return error
    if not isinstance(error, httpx2.HTTPError):
        return error if _portable.survives_pickling(error) else HoldfastError(f"{type(error).__name__}: {error}")
    try:
        request = error.request
    except RuntimeError:
        request = None
    response = getattr(error, "response", None)
    if not isinstance(response, httpx2.Response):
        httpx_class: type[httpx2.HTTPError] = (
            httpx2.HTTPError if isinstance(error, httpx2.HTTPStatusError) else type(error)
        )
        return narrow(HoldfastError, HoldfastError, httpx_class)(str(error), request=request)
    adopted = narrow(HoldfastError, HoldfastError, type(error))
    return adopted(str(error), response=_portable.portable_response(response), request=request)


def _restore(parts: tuple[type[Exception], ...], args: tuple[Any, ...]) -> HoldfastError:
    error = _portable.blank(_combine(parts))
    error.args = args
    return error

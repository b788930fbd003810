"""What can be said about a single call, and its checking: a wrong name, unit or type fails where it is given."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from holdfast.parts import RetryConfig, TimeoutConfig

if TYPE_CHECKING:
    import httpx2

ON_CALL = ""
"""Under this name, options that come from a view of a client hold those given on the call itself.

Only these go to another origin than that of `base_url`.
"""

OF_THE_CACHE = frozenset({"cache_ttl", "cache_identity", "tags"})
"""Options that only a GET has."""

_MERGED = ("headers", "extensions")
_BODIES = ("content", "data", "files", "json")
_NUMBERS = (float, int)
_ID = re.compile(r"[!-~]{1,200}")


class RequestOptions(TypedDict, total=False):
    """Keywords of every request method.

    The first group is httpx2's own. The second:

    - `request_id`: sent as ``X-Request-ID`` on every attempt instead of a generated one, and a promise that the server
      deduplicates by it: a POST or PATCH may then be repeated when it is unclear whether it was executed.
    - `idempotency_key`: the same for ``Idempotency-Key``, sent on POST and PATCH; False sends none.
    - `server_deduplicates`: that promise for generated keys too; False takes it back.
    - `deadline`: seconds for the whole call; None for no limit.
    - `retry`: a `RetryConfig` for this call; None for a single attempt.
    - `cache_ttl`: seconds that the answer to a GET is kept; 0 goes past the cache; None leaves it to the configuration.
    - `cache_identity`: whose answers these are, where credentials do not tell (cookies, a foreign auth object).
    - `tags`: names by which cached answers can be invalidated together.
    """

    params: Any
    headers: Mapping[str, str] | Mapping[bytes, bytes] | Sequence[tuple[str, str]] | Sequence[tuple[bytes, bytes]]
    cookies: Any
    auth: Any
    timeout: float | tuple[float | None, ...] | httpx2.Timeout | TimeoutConfig | None
    follow_redirects: bool
    extensions: Mapping[str, Any]

    request_id: str | None
    idempotency_key: str | bool | None
    server_deduplicates: bool
    deadline: float | None
    retry: RetryConfig | None
    cache_ttl: float | None
    cache_identity: str | None
    tags: Collection[str]


class BodyOptions(RequestOptions, total=False):
    """Keywords of the request methods that send a body: at most one of `content`, `json`, and `data` with `files`."""

    content: str | bytes | Iterable[bytes] | AsyncIterable[bytes] | None
    data: Mapping[str, Any] | None
    files: Any
    json: Any


def check(options: Mapping[str, Any]) -> None:
    """Refuses unknown names and wrong types.

    Raises:
        TypeError: names the option and what it must be.
        ValueError: the type is right, the value is not.
    """
    for name, value in options.items():
        try:
            checker = _CHECKS[name]
        except KeyError:
            known = ", ".join(sorted(_CHECKS))
            raise TypeError(f"unknown option {name!r}; there are: {known}") from None
        if checker is not None:
            checker(name, value)
    if len(options) > 1:
        _check_bodies(options)


def check_defaults(options: Mapping[str, Any]) -> None:
    """As `check`, for what is to hold for several calls.

    Raises:
        TypeError, ValueError: as `check`; a body among them.
    """
    check(options)
    for name in _BODIES:
        if name in options:
            raise TypeError(f"{name} belongs to a single call: with_options takes no body")


def check_cached(method: object, options: Mapping[str, Any]) -> None:
    """Refuses options that would be without effect, as only the answers to a GET are kept.

    Raises:
        TypeError: names the option.
    """
    for name in options:
        if name in OF_THE_CACHE and str(method).upper() != "GET":
            raise TypeError(f"{name} is an option of GET: the answer to a {method} is never kept in the cache")


def merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Options with others in front of them. What was given last counts as given on the call, see `ON_CALL`."""
    both = {**defaults, **given}
    for name in _MERGED:
        if defaults.get(name) and given.get(name):
            join = _joined_headers if name == "headers" else _joined
            both[name] = join(defaults[name], given[name])
    both[ON_CALL] = given
    return both


def _joined(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    return {**defaults, **given}


def _joined_headers(defaults: Any, given: Any) -> Any:
    """The headers of both; if one of them cannot be encoded, that one, to be refused later."""
    import httpx2

    headers = httpx2.Headers()
    for part in (defaults, given):
        try:
            headers.update(part)
        except (TypeError, ValueError, AttributeError):
            return part
    return headers


def _check_bodies(options: Mapping[str, Any]) -> None:
    bodies = [name for name in ("content", "json") if options.get(name) is not None]
    if options.get("data") is not None or options.get("files") is not None:
        bodies.append("data or files")
    if len(bodies) > 1:
        raise TypeError(f"{' and '.join(bodies)} cannot be given together: a request has one body")


def seconds_of(timeout: Any) -> dict[str, float | None]:
    """A `timeout` option as connect, read, write and pool seconds."""
    import httpx2

    if isinstance(timeout, TimeoutConfig):
        return timeout.seconds()
    return httpx2.Timeout(timeout).as_dict()


def _number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if not value >= 0:
        raise ValueError(f"{name} must be at least 0 seconds, not {value!r}")
    if value == math.inf and name == "timeout":
        raise ValueError("timeout must be finite; None is for no limit")


def _seconds(name: str, value: Any) -> None:
    if value is None or (value.__class__ in _NUMBERS and value > 0):
        return
    _number(name, value)
    if name == "deadline" and value == 0:
        raise ValueError("deadline must be more than 0 seconds")


def _positive(name: str, value: Any) -> None:
    _number(name, value)
    if value == 0:
        raise ValueError(f"{name} must be more than 0 seconds")


def _timeout(name: str, value: Any) -> None:
    import httpx2

    if value is None or isinstance(value, (httpx2.Timeout, TimeoutConfig)):
        return
    if isinstance(value, tuple):
        if len(value) not in (2, 3, 4):
            raise ValueError("timeout as a tuple is (connect, read[, write[, pool]])")
        for part in value:
            if part is not None:
                _positive(name, part)
        return
    _positive(name, value)


def _boolean(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")


def _id(name: str, value: Any) -> None:
    if value is None or (name == "idempotency_key" and value is False):
        return
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if not _ID.fullmatch(value):
        raise ValueError(f"{name} must be 1 to 200 visible ASCII characters, not {value!r}")


def _text(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")


def _retry(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, RetryConfig):
        raise TypeError(f"{name} must be a RetryConfig, or None for a single attempt, not {type(value).__name__}")


def _tags(name: str, value: Any) -> None:
    if isinstance(value, (str, bytes)) or not isinstance(value, Collection):
        raise TypeError(f"{name} must be a collection of str, not {type(value).__name__}")
    for tag in value:
        if not isinstance(tag, str):
            raise TypeError(f"{name} must be a collection of str, but contains {tag!r}")


def _pairs(name: str, value: Any) -> None:
    if value is None or isinstance(value, (Mapping, list, tuple)):
        return
    raise TypeError(f"{name} must be a mapping or a list of pairs, not {type(value).__name__}")


def _params(name: str, value: Any) -> None:
    if not isinstance(value, (str, bytes)):
        _pairs(name, value)


def _cookies(name: str, value: Any) -> None:
    from http.cookiejar import CookieJar

    if not isinstance(value, CookieJar):
        _pairs(name, value)


def _auth(name: str, value: Any) -> None:
    import httpx2

    from holdfast.auth.provider import AuthProvider

    if value is None or isinstance(value, (httpx2.Auth, AuthProvider)) or callable(value):
        return
    if not isinstance(value, tuple) or len(value) != 2 or not all(isinstance(part, (str, bytes)) for part in value):
        kind = type(value).__name__
        known = "a provider of holdfast.auth, (user, password), a callable, an httpx2.Auth or None"
        raise TypeError(f"{name} must be {known}, not {kind}")


def _content(name: str, value: Any) -> None:
    if isinstance(value, Mapping) or not (
        value is None or hasattr(value, "read") or isinstance(value, (str, bytes, memoryview, Iterable, AsyncIterable))
    ):
        raise TypeError(f"{name} must be str, bytes, a binary file or an iterable of bytes, not {type(value).__name__}")


def _mapping(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, not {type(value).__name__}")


_CHECKS: dict[str, Callable[[str, Any], None] | None] = {
    "params": _params,
    "headers": _pairs,
    "cookies": _cookies,
    "auth": _auth,
    "timeout": _timeout,
    "follow_redirects": _boolean,
    "extensions": _mapping,
    "request_id": _id,
    "idempotency_key": _id,
    "server_deduplicates": _boolean,
    "deadline": _seconds,
    "retry": _retry,
    "cache_ttl": _seconds,
    "cache_identity": _text,
    "tags": _tags,
    "content": _content,
    "data": _mapping,
    "files": _pairs,
    "json": None,
}

"""Reads the response headers that steer a client: waits, rate limits, caching and codings.

All functions take raw pairs as they were received, names in any case, and never raise: a header that cannot be
understood counts as absent, or as the cautious value where its RFC says so. `wall` is Unix time in seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_tz
from typing import Final, TypeAlias

Raw: TypeAlias = Sequence[tuple[bytes, bytes]]

_MOST_SECONDS: Final = 2.0**31
"""What larger delta-seconds count as (RFC 9111, section 1.2.2)."""

_MOST_REMAINING = 10**15
_EPOCH_SECONDS = 1e9  # as a delta this would be 31 years
_EPOCH_MILLISECONDS = 1e11

_NUMBER = re.compile(rb"[+-]?[0-9]+(?:\.[0-9]+)?")
_INTEGER = re.compile(rb"[0-9]+")


def retry_after(raw: Raw, wall: float) -> float | None:
    """Seconds that the server asks to wait (RFC 9110, section 10.2.3).

    A date counts from the response's own Date, or else from `wall`, so that a wrong clock on either side does no harm.
    Fractions of seconds are understood, what lies in the past is 0, of several headers the longest wait counts.
    """
    longest: float | None = None
    for value in _values(raw, b"retry-after"):
        text = value.strip()
        seconds = _number(text)
        if seconds is None:
            until = _date(text)
            if until is None:
                continue
            seconds = until - _server_time(raw, wall)
        if longest is None or seconds > longest:
            longest = seconds
    return None if longest is None else max(longest, 0.0)


# Rate limits

_FIRST = b"rRxX"
_PREFIX = ("ratelimit", "x-ratelimit", "x-rate-limit")
_LIMITS = {
    b"ratelimit": "limit",
    b"ratelimit-policy": "policy",
    **{f"{prefix}-remaining".encode(): "remaining" for prefix in _PREFIX},
    **{f"{prefix}-reset".encode(): "reset" for prefix in _PREFIX},
    **{f"{prefix}-limit".encode(): "quota" for prefix in _PREFIX},
}
_Limit: TypeAlias = tuple[float | None, float | None, float | None, float | None]
"""Remaining, reset, quota of a whole window, and seconds of one, as far as they are told."""


def rate_limit(raw: Raw, wall: float) -> tuple[int, float] | tuple[int, float, int, float] | None:
    """How many more requests the server will take, and for how many seconds that holds.

    If it tells, these are followed by how many it takes in a whole window, and the seconds of one (0 if unknown).

    Understood are ``RateLimit`` with ``RateLimit-Policy`` as in the IETF's drafts "RateLimit header fields for HTTP"
    (items with ``r`` and ``t``, and before that ``limit=, remaining=, reset=``), the separate ``RateLimit-Remaining``
    and ``-Reset``, and the same with ``X-RateLimit-`` or ``X-Rate-Limit-``. A reset is seconds from now, or a point in
    time in Unix seconds or milliseconds, which its magnitude tells. An item without a reset takes the window of its
    policy.

    Of several policies the one with the fewest remaining requests counts, and of those the one with the latest reset.
    None if there are no such headers, or none with both figures. Called for every response.
    """
    found: dict[bytes, list[bytes]] | None = None
    try:
        for name, value in raw:
            if name[0] in _FIRST:
                lower = name.lower()
                if lower in _LIMITS:
                    if found is None:
                        found = {}
                    found.setdefault(lower, []).append(value)
    except IndexError:  # an empty name, which no parser lets through; not worth a check on every other one
        return rate_limit([pair for pair in raw if pair[0]], wall)
    if found is None:
        return None
    return _strictest(raw, wall, found)


def _strictest(
    raw: Raw, wall: float, found: dict[bytes, list[bytes]]
) -> tuple[int, float] | tuple[int, float, int, float] | None:
    limits = [*_structured(found.get(b"ratelimit", ()), found.get(b"ratelimit-policy", ()))]
    for prefix in _PREFIX:
        remaining = found.get(f"{prefix}-remaining".encode())
        reset = found.get(f"{prefix}-reset".encode())
        if remaining and reset:
            limits += _paired(remaining, reset, found.get(f"{prefix}-limit".encode(), ()))
    strictest: tuple[int, float] | None = None
    whole: tuple[int, float] | None = None
    for left, reset_at, quota, window in limits:
        if left is None or reset_at is None or left < 0:
            # Servers say -1 for "unlimited".
            continue
        limit = (int(min(left, _MOST_REMAINING)), _until_reset(reset_at, raw, wall))
        if strictest is None or (limit[0], -limit[1]) < (strictest[0], -strictest[1]):
            strictest = limit
            whole = (int(min(quota, _MOST_REMAINING)), max(window or 0.0, 0.0)) if quota and quota >= 1.0 else None
    return strictest if strictest is None or whole is None else (*strictest, *whole)


def _structured(fields: Iterable[bytes], policies: Iterable[bytes]) -> Iterator[_Limit]:
    """What every item of ``RateLimit`` says."""
    known = dict(_items(policies))
    windows = {name: _number(parameters.get(b"w", b"")) for name, parameters in known.items()}
    for field in fields:
        older: dict[bytes, bytes] = {}
        for name, parameters in _items((field,)):
            if b"=" in name and not name.startswith(b'"'):
                key, _, value = name.partition(b"=")
                older.setdefault(key.strip().lower(), value.strip())
            else:
                reset, window = _number(parameters.get(b"t", b"")), windows.get(name)
                quota = _number(known.get(name, {}).get(b"q", b""))
                yield _number(parameters.get(b"r", b"")), window if reset is None else reset, quota, window
        if older:
            reset, window = _number(older.get(b"reset", b"")), windows.get(older.get(b"limit", b""))
            if reset is None:
                reset = max((window for window in windows.values() if window is not None), default=None)
            yield _number(older.get(b"remaining", b"")), reset, _number(older.get(b"limit", b"")), window


def _items(values: Iterable[bytes]) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """The members of a structured list (RFC 9651, section 3.1), each with its parameters."""
    for value in values:
        for member in _split(value, b","):
            name, *parameters = _split(member, b";")
            pairs = (parameter.partition(b"=") for parameter in parameters)
            yield name, {key.strip().lower(): text.strip() for key, _, text in pairs}


def _paired(remaining: Iterable[bytes], reset: Iterable[bytes], quota: Iterable[bytes]) -> Iterator[_Limit]:
    """The figures of separate headers, in the order of their policies; what has no partner takes the last one."""
    counts, resets, quotas = (
        [_number(_split(part, b";")[0]) for value in values for part in _split(value, b",")]
        for values in (remaining, reset, quota)
    )
    for index, count in enumerate(counts):
        last = min(index, len(resets) - 1)
        yield count, resets[last] if resets else None, quotas[min(index, len(quotas) - 1)] if quotas else None, None


def _until_reset(reset: float, raw: Raw, wall: float) -> float:
    if reset >= _EPOCH_SECONDS:
        reset = (reset / 1000.0 if reset >= _EPOCH_MILLISECONDS else reset) - _server_time(raw, wall)
    return max(reset, 0.0)


# Caching


@dataclass(frozen=True, slots=True)
class CacheControl:
    """The directives of ``Cache-Control`` that matter to a private cache (RFC 9111, section 5.2.2; RFC 5861).

    ``s-maxage``, ``public`` and ``proxy-revalidate`` are for shared caches and are not read: this one belongs to one
    client and keeps the identities of callers apart. ``no-cache`` and ``private`` that are limited to named fields
    count as if they were not, which is always allowed.

    Attributes:
        no_store, private, no_cache, must_revalidate: whether the directive is there.
        max_age: seconds; 0 if it is there but cannot be understood (RFC 9111, section 4.2.1).
        stale_while_revalidate, stale_if_error: seconds beyond that.
    """

    no_store: bool = False
    private: bool = False
    no_cache: bool = False
    max_age: float | None = None
    stale_while_revalidate: float | None = None
    stale_if_error: float | None = None
    must_revalidate: bool = False


_NO_DIRECTIVES = CacheControl()


def cache_control(raw: Raw) -> CacheControl:
    """The directives of all ``Cache-Control`` headers together; of a repeated one the first counts."""
    values = _values(raw, b"cache-control")
    if not values:
        return _NO_DIRECTIVES
    directives: dict[bytes, bytes] = {}
    for value in values:
        for directive in _split(value, b","):
            name, _, argument = directive.partition(b"=")
            directives.setdefault(name.strip().lower(), argument.strip().strip(b'"'))
    max_age = directives.get(b"max-age")
    return CacheControl(
        no_store=b"no-store" in directives,
        private=b"private" in directives,
        no_cache=b"no-cache" in directives,
        max_age=None if max_age is None else _delta(max_age) or 0.0,
        stale_while_revalidate=_delta(directives.get(b"stale-while-revalidate", b"")),
        stale_if_error=_delta(directives.get(b"stale-if-error", b"")),
        must_revalidate=b"must-revalidate" in directives,
    )


def freshness(raw: Raw, wall: float) -> float | None:
    """Seconds for which the response is still fresh (RFC 9111, section 4.2); not above 0 if it is stale already.

    The lifetime is ``max-age``, or else Expires minus Date; the time that it spent in other caches (Age) is taken off.
    None if the response does not tell; there are no heuristics. ``no-store`` and the like are not looked at here.
    """
    lifetime = cache_control(raw).max_age
    if lifetime is None:
        expires = _values(raw, b"expires")
        if not expires:
            return None
        until = _date(expires[0].strip())
        # Whatever is no date, above all "0", means that it has expired (RFC 9111, section 5.3).
        lifetime = 0.0 if until is None else until - _server_time(raw, wall)
    ages = _values(raw, b"age")
    age = _delta(ages[0].partition(b",")[0].strip()) if ages else None
    return lifetime if age is None else lifetime - age


def vary(raw: Raw) -> tuple[str, ...] | None:
    """The request header names that the response depends on (RFC 9110, section 12.5.5), in lower case and sorted.

    None for ``*``: it depends on more than headers and answers no other request.
    """
    values = _values(raw, b"vary")
    if not values:
        return ()
    names = {name.strip().lower().decode("latin-1") for value in values for name in value.split(b",")}
    if "*" in names:
        return None
    names.discard("")
    return tuple(sorted(names))


def content_codings(raw: Raw) -> tuple[str, ...]:
    """The codings of the body in the order in which they were applied (RFC 9110, section 8.4), in lower case.

    ``identity`` is none. Names are not checked.
    """
    values = _values(raw, b"content-encoding")
    if not values:
        return ()
    names = (name.strip().lower().decode("latin-1") for value in values for name in value.split(b","))
    return tuple(name for name in names if name not in {"", "identity"})


# Parts of headers


def _values(raw: Raw, wanted: bytes) -> list[bytes]:
    length = len(wanted)
    return [value for name, value in raw if len(name) == length and name.lower() == wanted]


def _split(value: bytes, separator: bytes) -> list[bytes]:
    """Splits at separators outside quoted strings (RFC 9110, section 5.6.4); the parts are stripped."""
    if b'"' not in value:
        return [part.strip() for part in value.split(separator)]
    parts: list[bytes] = []
    start = 0
    quoted = escaped = False
    mark = separator[0]
    for index, byte in enumerate(value):
        if escaped:
            escaped = False
        elif quoted and byte == 0x5C:
            escaped = True
        elif byte == 0x22:
            quoted = not quoted
        elif byte == mark and not quoted:
            parts.append(value[start:index].strip())
            start = index + 1
    parts.append(value[start:].strip())
    return parts


def _number(text: bytes) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _delta(text: bytes) -> float | None:
    """Delta-seconds (RFC 9111, section 1.2.2)."""
    return min(float(text), _MOST_SECONDS) if _INTEGER.fullmatch(text) else None


def _date(text: bytes) -> float | None:
    """An HTTP-date (RFC 9110, section 5.6.7) as Unix time; also without weekday, or with a numeric zone."""
    try:
        parsed = parsedate_tz(text.decode("latin-1"))
        if parsed is None:
            return None
        year, month, day, hour, minute, second = parsed[:6]
        # A leap second is valid in an HTTP-date, but not in a datetime.
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
        return moment.timestamp() - (parsed[9] or 0)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _server_time(raw: Raw, wall: float) -> float:
    """The response's own Date, so that clocks need not agree; `wall` if it has none."""
    for value in _values(raw, b"date"):
        date = _date(value.strip())
        if date is not None:
            return date
    return wall

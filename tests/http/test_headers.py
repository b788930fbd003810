"""Response headers that steer a client."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.http.headers import CacheControl, cache_control, content_codings, freshness, rate_limit, retry_after, vary

# RFC 9110, section 5.6.7, has this moment in its three formats.
MOMENT = 784111777.0
IMF = b"Sun, 06 Nov 1994 08:49:37 GMT"
LATER = b"Sun, 06 Nov 1994 08:51:07 GMT"
EARLIER = b"Sun, 06 Nov 1994 08:47:37 GMT"


def pairs(*headers: str) -> list[tuple[bytes, bytes]]:
    return [
        (name.encode("latin-1"), value.strip().encode("latin-1"))
        for name, _, value in (header.partition(":") for header in headers)
    ]


# Retry-After


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"120", 120.0),
        (b" 120 ", 120.0),
        (b"0", 0.0),
        (b"1.5", 1.5),
        (b"+5", 5.0),
        (b"-5", 0.0),
        (b"9" * 400, math.inf),
        (b"9" * 20, 1e20),
        (LATER, 90.0),
        (EARLIER, 0.0),
        (b"Sunday, 06-Nov-94 08:51:07 GMT", 90.0),
        (b"Sun Nov  6 08:51:07 1994", 90.0),
        (b"06 Nov 1994 08:51:07 GMT", 90.0),
        (b"Sun, 06 Nov 1994 09:51:07 +0100", 90.0),
        (b"Sun, 06 Nov 1994 08:49:60 GMT", 22.0),
    ],
)
def test_retry_after(value, seconds):
    assert retry_after([(b"Retry-After", value)], MOMENT) == seconds


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"soon",
        b"1e3",
        b"nan",
        b"inf",
        b"12 s",
        b"1_000",
        b"0x10",
        b"\xff\xfe",
        b"1 May 5",
        b"Sun, 99 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Foo 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 28:49:37 GMT",
        b"Sun, 06 Nov 1994",
        "\u0661\u0662".encode(),
    ],
)
def test_garbage_is_no_retry_after(value):
    assert retry_after([(b"retry-after", value)], MOMENT) is None


def test_no_retry_after():
    assert retry_after([], MOMENT) is None
    assert retry_after(pairs("Date: x", "X-Retry-After: 3"), MOMENT) is None


def test_a_date_counts_from_the_servers_own_clock():
    assert retry_after([(b"retry-after", LATER), (b"date", IMF)], MOMENT + 5000) == 90.0
    assert retry_after([(b"DATE", IMF), (b"RETRY-AFTER", LATER)], 0.0) == 90.0
    assert retry_after([(b"date", b"garbage"), (b"retry-after", LATER)], MOMENT) == 90.0


def test_of_several_the_longest_that_makes_sense():
    assert retry_after(pairs("Retry-After: 3", "Retry-After: 7", "Retry-After: 5", "Retry-After: x"), MOMENT) == 7.0


@given(st.integers(-(10**8), 10**8), st.integers(0, 2**31))
def test_any_date_is_understood(distance, wall):
    until = datetime.fromtimestamp(wall + distance, UTC)
    raw = [(b"retry-after", format_datetime(until, usegmt=True).encode())]
    assert retry_after(raw, float(wall)) == max(distance, 0)


# Rate limits


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        # the drafts' present form
        (['RateLimit: "default";r=50;t=30'], (50, 30.0)),
        (["ratelimit: default; r=50; t=30"], (50, 30.0)),
        (['RateLimit: "a";r=50;t=30, "b";r=3;t=3600'], (3, 3600.0)),
        (['RateLimit: "a";r=50;t=30', 'RateLimit: "b";r=3;t=3600'], (3, 3600.0)),
        (['RateLimit: "a";r=0;t=30, "b";r=0;t=5'], (0, 30.0)),
        (['RateLimit: "a";r=0;t=5, "b";r=0;t=30'], (0, 30.0)),
        (['RateLimit: "a";r=9', 'RateLimit-Policy: "a";q=100;w=60, "b";q=1000;w=3600'], (9, 60.0, 100, 60.0)),
        (['RateLimit: "a";r=9;t=5', 'RateLimit-Policy: "a";q=100;w=60'], (9, 5.0, 100, 60.0)),
        (['RateLimit: "a";r=9;t=5', 'RateLimit-Policy: "b";q=100;w=60'], (9, 5.0)),
        (['RateLimit: "a";r=9;t=5', 'RateLimit-Policy: "a";q=0;w=60'], (9, 5.0)),
        (['RateLimit: "a";r=9;t=5', 'RateLimit-Policy: "a";q=x;w=-1'], (9, 5.0)),
        (['RateLimit: "a";r=9;t=5', 'RateLimit-Policy: "a";q=7.9;w=-1'], (9, 5.0, 7, 0.0)),
        (['RateLimit: "a,b;r=1;t=1";r=9;t=5'], (9, 5.0)),
        (['RateLimit: "a=b";r=9;t=5'], (9, 5.0)),
        (['RateLimit: "a\\",";r=9;t=5;pk=:c29t:'], (9, 5.0)),
        # the form before that
        (["RateLimit: limit=100, remaining=50, reset=5"], (50, 5.0, 100, 0.0)),
        (["RateLimit: limit=100,remaining=50", "RateLimit-Policy: 100;w=10"], (50, 10.0, 100, 10.0)),
        (["RateLimit: remaining=50, reset=5", "RateLimit: remaining=4, reset=50"], (4, 50.0)),
        # separate headers
        (["RateLimit-Limit: 10", "RateLimit-Remaining: 7", "RateLimit-Reset: 12"], (7, 12.0, 10, 0.0)),
        (["X-RateLimit-Limit: 10", "X-RateLimit-Remaining: 7", "X-RateLimit-Reset: 12"], (7, 12.0, 10, 0.0)),
        (["RateLimit-Limit: 10, 10;w=1, 50;w=60", "RateLimit-Remaining: 7", "RateLimit-Reset: 1"], (7, 1.0, 10, 0.0)),
        (["x-rate-limit-remaining: 7", "x-rate-limit-reset: 12.5"], (7, 12.5)),
        (["X-RATELIMIT-REMAINING: 7", "X-RATELIMIT-RESET: 1700000030"], (7, 30.0)),
        (["X-RateLimit-Remaining: 7", "X-RateLimit-Reset: 999999999"], (7, 999999999.0)),
        (["X-RateLimit-Remaining: 7, 2", "X-RateLimit-Reset: 5, 60"], (2, 60.0)),
        (["X-RateLimit-Remaining: 7, 2", "X-RateLimit-Reset: 5"], (2, 5.0)),
        (
            ["RateLimit-Remaining: 7", "RateLimit-Reset: 5", "X-RateLimit-Remaining: 6", "X-RateLimit-Reset: 9"],
            (6, 9.0),
        ),
        (["X-RateLimit-Remaining: 7", "X-RateLimit-Reset: -3"], (7, 0.0)),
        (["X-RateLimit-Remaining: 7.9", "X-RateLimit-Reset: 1"], (7, 1.0)),
        (["X-RateLimit-Remaining: " + "9" * 400, "X-RateLimit-Reset: 1"], (10**15, 1.0)),
        # of no use
        ([], None),
        (["X-RateLimit-Remaining: 7"], None),
        (["X-RateLimit-Reset: 7"], None),
        (["X-RateLimit-Remaining: -1", "X-RateLimit-Reset: 7"], None),
        (["X-RateLimit-Remaining: x", "X-RateLimit-Reset: 7"], None),
        (["X-RateLimit-Remaining: 7", "X-RateLimit-Reset: x"], None),
        (["RateLimit-Remaining: 7", "X-RateLimit-Reset: 7"], None),
        (["X-RateLimit-Remaining:", "X-RateLimit-Reset:"], None),
        (['RateLimit: "a";t=30'], None),
        (['RateLimit: "a";r=30'], None),
        (['RateLimit-Policy: "a";q=100;w=60'], None),
        (["RateLimit:"], None),
        (["X-Request-ID: 7", "Remaining: 3", "X-RateLimited: 1", "RateLimit-Remaining-Day: 1"], None),
    ],
)
def test_rate_limit(headers, expected):
    assert rate_limit(pairs(*headers), 1_700_000_000.0) == expected


@pytest.mark.parametrize("unit", [1, 1000])
def test_a_reset_may_be_a_point_in_time(unit):
    wall = 1_700_000_000.0
    headers = pairs("X-RateLimit-Remaining: 1", f"X-RateLimit-Reset: {(1_700_000_030) * unit}")
    assert rate_limit(headers, wall) == (1, 30.0)
    assert rate_limit(headers, wall + 31) == (1, 0.0)


def test_a_point_in_time_counts_from_the_servers_own_clock():
    headers = pairs("X-RateLimit-Remaining: 1", "X-RateLimit-Reset: 1700000030", "Date: Tue, 14 Nov 2023 22:13:20 GMT")
    assert rate_limit(headers, 5.0) == (1, 30.0)


def test_an_empty_name_does_not_hide_the_others():
    raw = [(b"", b""), *pairs("X-RateLimit-Remaining: 1", "X-RateLimit-Reset: 2"), (b"", b"x")]
    assert rate_limit(raw, 0.0) == (1, 2.0)


limits = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1000)), min_size=1, max_size=5)


@given(limits, st.booleans())
def test_the_strictest_policy_counts_in_any_order_and_form(policies, structured):
    if structured:
        raw = pairs("RateLimit: " + ", ".join(f'"p{n}";r={r};t={t}' for n, (r, t) in enumerate(policies)))
    else:
        raw = [pair for r, t in policies for pair in pairs(f"X-RateLimit-Remaining: {r}", f"X-RateLimit-Reset: {t}")]
    fewest = min(r for r, _ in policies)
    assert rate_limit(raw, 0.0) == (fewest, max(t for r, t in policies if r == fewest))


# Cache-Control, freshness, Vary


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], CacheControl()),
        (["Cache-Control: max-age=60"], CacheControl(max_age=60.0)),
        (["CACHE-CONTROL: NO-STORE , Private"], CacheControl(no_store=True, private=True)),
        (["Cache-Control: no-cache", "Cache-Control: max-age=5"], CacheControl(no_cache=True, max_age=5.0)),
        (
            ["Cache-Control: max-age=5, stale-while-revalidate=30, stale-if-error=600, must-revalidate"],
            CacheControl(max_age=5.0, stale_while_revalidate=30.0, stale_if_error=600.0, must_revalidate=True),
        ),
        (['Cache-Control: max-age="60"'], CacheControl(max_age=60.0)),
        (['Cache-Control: private="x, max-age=1", max-age=2'], CacheControl(private=True, max_age=2.0)),
        (['Cache-Control: no-cache="Set-Cookie"'], CacheControl(no_cache=True)),
        (["Cache-Control: max-age=60, max-age=5"], CacheControl(max_age=60.0)),
        (["Cache-Control: max-age=soon"], CacheControl(max_age=0.0)),
        (["Cache-Control: max-age"], CacheControl(max_age=0.0)),
        (["Cache-Control: max-age=-5"], CacheControl(max_age=0.0)),
        (["Cache-Control: max-age=" + "9" * 400], CacheControl(max_age=2.0**31)),
        (["Cache-Control: stale-if-error=x, stale-while-revalidate"], CacheControl()),
        (["Cache-Control: s-maxage=60, public, proxy-revalidate, unknown=1, ,"], CacheControl()),
        (["Pragma: no-cache", "X-Cache-Control: no-store"], CacheControl()),
    ],
)
def test_cache_control(headers, expected):
    assert cache_control(pairs(*headers)) == expected


DATE = f"Date: {IMF.decode()}"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        ([DATE, "Age: 5"], None),
        (["Cache-Control: no-store"], None),
        (["Cache-Control: max-age=60"], 60.0),
        (["Cache-Control: max-age=60", "Age: 20"], 40.0),
        (["Cache-Control: max-age=60", "Age: 20, 30"], 40.0),
        (["Cache-Control: max-age=60", "Age: x"], 60.0),
        (["Cache-Control: max-age=60", "Age: -5"], 60.0),
        (["Cache-Control: max-age=10", "Age: 20"], -10.0),
        (["Cache-Control: s-maxage=60"], None),
        ([f"Expires: {LATER.decode()}", DATE], 90.0),
        ([f"Expires: {LATER.decode()}"], 40.0),
        ([f"Expires: {LATER.decode()}", DATE, "Age: 30"], 60.0),
        ([f"Expires: {EARLIER.decode()}", DATE], -120.0),
        ([f"Expires: {LATER.decode()}", DATE, "Cache-Control: max-age=5"], 5.0),
        (["Expires: 0", DATE], 0.0),
        (["Expires: never"], 0.0),
    ],
)
def test_freshness(headers, expected):
    assert freshness(pairs(*headers), MOMENT + 50) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], ()),
        (["Vary:"], ()),
        (["Vary: Accept-Language, ACCEPT"], ("accept", "accept-language")),
        (["Vary: b", "vary: a,b"], ("a", "b")),
        (["Vary: a", "Vary: *"], None),
        (["Vary: a, *"], None),
    ],
)
def test_vary(headers, expected):
    assert vary(pairs(*headers)) == expected


# Codings


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], ()),
        (["Content-Encoding: GZIP"], ("gzip",)),
        (["Content-Encoding: gzip, br"], ("gzip", "br")),
        (["content-encoding: gzip", "Content-Encoding: br ,gzip"], ("gzip", "br", "gzip")),
        (["Content-Encoding: identity"], ()),
        (["Content-Encoding: Identity, gzip,,"], ("gzip",)),
        (["Transfer-Encoding: gzip"], ()),
    ],
)
def test_content_codings(headers, expected):
    assert content_codings(pairs(*headers)) == expected


# Malformed input

NAMES = [
    b"Retry-After", b"Date", b"RateLimit", b"RateLimit-Policy", b"RateLimit-Remaining", b"ratelimit-reset",
    b"X-RateLimit-Remaining", b"X-RateLimit-Reset", b"X-Rate-Limit-Remaining", b"x-rate-limit-reset",
    b"Cache-Control", b"Age", b"Expires", b"Vary", b"Content-Encoding",
]  # fmt: skip
FRAGMENTS = [
    b"max-age", b"=", b",", b";", b'"', b"\\", b" ", b"r", b"t", b"w", b"*", b"-", b"1", b"1e999", b"9" * 400,
    b"9" * 5000, b"remaining=", b"reset=", b"GMT", b"Nov", b"06 ", b"1994 ", b"08:49:37 ", b"+9999999999", b"\xb2", IMF,
    b"1700000000000", b"0000", b"23:59:60",
]  # fmt: skip
values = st.binary(max_size=40) | st.lists(st.sampled_from(FRAGMENTS), max_size=8).map(b"".join)
names = st.sampled_from(NAMES) | st.binary(max_size=20)
raws = st.lists(st.tuples(names, values), max_size=8)
walls = st.floats(-1e12, 1e12)


@given(raws, walls)
def test_nothing_raises_and_every_answer_makes_sense(raw, wall):
    after = retry_after(raw, wall)
    assert after is None or after >= 0.0
    limit = rate_limit(raw, wall)
    assert limit is None or (limit[0] >= 0 and limit[1] >= 0.0)
    control = cache_control(raw)
    for seconds in (control.max_age, control.stale_while_revalidate, control.stale_if_error):
        assert seconds is None or 0.0 <= seconds <= 2.0**31
    lifetime = freshness(raw, wall)
    assert lifetime is None or math.isfinite(lifetime)
    variants = vary(raw)
    assert variants is None or (list(variants) == sorted(set(variants)) and "" not in variants)
    codings = content_codings(raw)
    assert "" not in codings
    assert "identity" not in codings


@given(values, walls)
def test_any_value_of_a_single_header_is_bearable(value, wall):
    for name in NAMES:
        raw = [(name, value)]
        for parse in (retry_after, rate_limit, freshness):
            parse(raw, wall)
        for read in (cache_control, vary, content_codings):
            read(raw)

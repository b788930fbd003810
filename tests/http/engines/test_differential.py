"""Both engines, given the same bytes by a server, come to the same answer or to the same kind of error.

Where they do not, there is a reason in `tests.support.differential`: mostly, the native one is stricter. These are few
cases; ``benchmarks/differential.py`` makes as many as it is told.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.differential import Bench, Case, Told, cut, made, verdict
from tests.support.responses import damaged, responses

pytestmark = pytest.mark.loopback


@pytest.fixture(scope="module", params=["async", "sync"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    using = Bench(sync=request.param == "sync")
    yield using
    using.close()


def both(bench: Bench, pieces: list[bytes], *, closes: bool) -> tuple[Told, Told]:
    """What the native engine makes of it, and what httpx2's does."""
    case = Case(pieces, closes=closes)
    return bench.told("native", case), bench.told("httpx2", case)


@given(response=responses(), cuts=st.lists(st.integers(0, 400), max_size=5))
def test_of_a_whole_response_both_read_the_same(bench: Bench, response, cuts):
    raw, closes, body = response
    ours, theirs = both(bench, cut(raw, cuts), closes=closes)
    assert ours == theirs
    assert ours.answer is not None and ours.answer[3] == body


@given(response=responses(), end=st.integers(0, 400))
def test_of_one_that_breaks_off_both_say_the_same(bench: Bench, response, end):
    raw, _, _ = response
    ours, theirs = both(bench, [raw[:end]], closes=True)
    assert (ours.error, ours.answer) == (theirs.error, theirs.answer)


@given(body=st.binary(max_size=300), end=st.integers(0, 400), noise=st.binary(max_size=3), at=st.integers(0, 40))
def test_of_coded_bodies_too(bench: Bench, body, end, noise, at):
    coded = gzip.compress(body, mtime=0)
    coded = coded[:at] + noise + coded[at:][:end]
    raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(coded), coded)
    ours, theirs = both(bench, [raw], closes=False)
    assert (ours.error, ours.answer) == (theirs.error, theirs.answer)


@given(response=damaged())
def test_of_a_damaged_one_the_native_engine_is_the_stricter_reader(bench: Bench, response):
    raw, _ = response
    ours, theirs = both(bench, [raw], closes=True)
    assert verdict(ours, theirs) is not None, f"native: {ours}; httpx2: {theirs}"


def test_of_all_kinds_no_difference_is_without_a_reason(bench: Bench):
    verdicts = set()
    for number in range(100):
        case = made(random.Random(f"test {number}"))
        ours, theirs = bench.told("native", case), bench.told("httpx2", case)
        found = verdict(ours, theirs)
        assert found is not None, f"case {number}, {case}: native: {ours}; httpx2: {theirs}"
        verdicts.add(found.partition(":")[0])
    assert {"both read the same", "both refuse it, each in words of its own"} <= verdicts


READ = Told("", "", (200, "OK", (), b"abc"))


@pytest.mark.parametrize(
    "ours",
    [
        Told("", "", (201, "OK", (), b"abc")),
        Told("", "", (200, "OK", (), b"abcd")),
        Told("", "", (200, "OK", ((b"x", b"y"),), b"abc")),
        Told("APIConnectionError", "GET /x: connection failed (RemoteProtocolError: whatever)"),
    ],
)
def test_what_has_no_reason_is_a_difference(ours: Told):
    assert verdict(READ, READ) == "both read the same"
    assert verdict(ours, READ) is None
    assert verdict(READ, ours) is None

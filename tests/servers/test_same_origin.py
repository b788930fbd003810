"""What a browser sends for pages of other sites is refused; everybody else notices nothing."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from starlette.responses import PlainTextResponse

from holdfast.servers.app import _is_local
from holdfast.servers.same_origin import SameOrigin

OURS = "localhost:8005"


def status(method="POST", host=None, **headers):
    """Of an answer to a request with these headers; 200 if it was let in."""
    app = SameOrigin(PlainTextResponse("let in"), host=host)
    sent = {"Host": OURS, **{name.replace("_", "-"): value for name, value in headers.items()}}

    async def ask():
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://x") as client:
            return await client.request(method, "/", headers=sent)

    answer = asyncio.run(ask())
    assert answer.is_success or isinstance(answer.json()["detail"], str)
    return answer.status_code


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_requests_that_change_something_come_from_here(method):
    assert status(method) == 200
    assert status(method, Sec_Fetch_Site="same-origin", Origin=f"http://{OURS}") == 200
    assert status(method, Sec_Fetch_Site="none") == 200
    assert status(method, Sec_Fetch_Site="cross-site") == 403
    # Another port of this machine is the same site, and another origin.
    assert status(method, Sec_Fetch_Site="same-site") == 403


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_links_from_elsewhere_work(method):
    assert status(method, Sec_Fetch_Site="cross-site", Origin="http://elsewhere") == 200


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (f"http://{OURS}", 200),
        ("http://LOCALHOST:8005", 200),
        ("http://localhost:8000", 403),
        ("http://localhost", 403),
        ("https://elsewhere.example", 403),
        ("null", 403),
        ("", 403),
        ("http://[", 403),
        (f"http://elsewhere.example?{OURS}", 403),
        (f"http://elsewhere.example@{OURS}", 403),
    ],
)
def test_the_origin_decides_where_a_browser_says_no_more(origin, expected):
    assert status(Origin=origin) == expected
    # What is said more clearly counts.
    assert status(Origin=origin, Sec_Fetch_Site="same-origin") == 200


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("localhost", 200),
        ("localhost:8005", 200),
        ("LocalHost.:8005", 200),
        ("holdfast.localhost:8005", 200),
        ("127.0.0.1:8005", 200),
        ("192.168.1.7:8005", 200),
        ("[::1]:8005", 200),
        ("[fe80::1]", 200),
        ("box.lan:8005", 200),
        ("BOX.LAN", 200),
        ("elsewhere.example", 421),
        ("elsewhere.example:8005", 421),
        ("localhost.elsewhere.example", 421),
        ("127.0.0.1.elsewhere.example", 421),
        ("notlocalhost", 421),
        ("box.lan.elsewhere.example", 421),
        ("[", 421),
        (":8005", 421),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_name_for_our_address_is_of_no_use(method, named, expected):
    assert status(method, host="box.lan", Host=named) == expected
    # Who is reached by others does not know their names for it.
    assert status(method, Host=named) == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.3.2.1", True), ("0.0.0.0", False), ("::", False)],
)
def test_names_matter_where_only_this_machine_listens(host, expected):
    assert _is_local(host) is expected

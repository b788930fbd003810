"""Lists that come in pages: one page, the walk over all of them, and places that are kept."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx2
import pytest
from pydantic import ConfigDict

from holdfast import Call, DeadlineExceededError, InvalidRequestError, ResponseError, ServerError
from holdfast.service.client import ServiceClient
from holdfast.service.model import Model
from holdfast.service.pages import PagedCall
from holdfast.service.paging import Cursor, LinkHeader, Offset, PageNumber, Paging
from holdfast.service.settings import ServiceSettings
from holdfast.testing import FaultTransport, Step

SIZE = 3


class Settings(ServiceSettings):
    url: str = "http://pets.test/api"
    max_retries: int = 1


class Pet(Model):
    id: int


class Pets(ServiceClient[Settings]):
    def list_pets(self, paging: Paging, *, items: str = "items", **query: Any) -> PagedCall[Pet]:
        return self.pages(Pet, "/pets", paging=paging, items=items, query=query)


def pet(number: int) -> dict[str, int]:
    return {"id": number}


class Server:
    """Answers with pages of `number` pets."""

    def __init__(self, number: int, style: str) -> None:
        self.number = number
        self.style = style
        self.failing: set[int] = set()
        self.asked: list[str] = []

    def __call__(self, request: httpx2.Request) -> Step:
        self.asked.append(request.url.query.decode())
        query = request.url.params
        if len(self.asked) in self.failing:
            return Step(500)
        answer: Step = getattr(self, self.style)(query)
        return answer

    def some(self, start: int, size: int) -> list[dict[str, int]]:
        return [pet(number) for number in range(start, min(start + size, self.number))]

    def offset(self, query: Any, **more: Any) -> Step:
        start, size = int(query.get("offset", 0)), int(query.get("limit", SIZE))
        return Step(json={"items": self.some(start, size), **more, "limit": size})

    def total(self, query: Any) -> Step:
        return self.offset(query, total=self.number)

    def number_of_page(self, query: Any) -> Step:
        page, size = int(query.get("page", 1)), int(query.get("per_page", SIZE))
        pages = -(-self.number // size)
        return Step(json={"items": self.some((page - 1) * size, size), "total": self.number, "pages": pages})

    def cursor(self, query: Any) -> Step:
        start = int(query.get("cursor") or 0)
        following = str(start + SIZE) if start + SIZE < self.number else None
        return Step(json={"data": {"pets": self.some(start, SIZE)}, "meta": {"next": following}})

    def link(self, query: Any) -> Step:
        start = int(query.get("from", 0))
        headers = {"X-Total-Count": str(self.number)}
        if start + SIZE < self.number:
            headers["Link"] = f'<http://pets.test/api/pets?from={start + SIZE}>; rel="next", <x>; rel="first"'
        return Step(json=self.some(start, SIZE), headers=headers)


STYLES: dict[str, tuple[Paging, str]] = {
    "offset": (Offset(), "items"),
    "total": (Offset(), "items"),
    "number_of_page": (PageNumber(), "items"),
    "cursor": (Cursor(next="meta.next"), "data.pets"),
    "link": (LinkHeader(), ""),
}


def listing(number: int, style: str, **query: Any) -> tuple[PagedCall[Pet], Server]:
    server = Server(number, style)
    paging, items = STYLES[style]
    limit = {"offset": {"limit": SIZE}, "number_of_page": {"per_page": SIZE}}.get(style, {})
    client = Pets(transport=FaultTransport(server))
    return client.list_pets(paging, items=items, **{**limit, **query}), server


def walked(call: PagedCall[Pet], colour: str) -> list[int]:
    async def main() -> list[int]:
        return [one.id async for one in call]

    return [one.id for one in call] if colour == "sync" else asyncio.run(main())


both = pytest.mark.parametrize("colour", ["async", "sync"])
every_style = pytest.mark.parametrize("style", STYLES)


@both
@every_style
@pytest.mark.parametrize("number", [0, 1, SIZE, SIZE + 1, 3 * SIZE, 10])
def test_a_walk_goes_over_all_items_once(style, number, colour):
    call, server = listing(number, style)
    assert walked(call, colour) == list(range(number))
    assert len(server.asked) <= number // SIZE + 1


@both
@every_style
def test_fetching_ahead_gives_the_same(style, colour):
    call, server = listing(10, style)
    assert walked(call.ahead(), colour) == list(range(10)) and len(server.asked) == 4


@both
@every_style
def test_all_items_in_one_call(style, colour):
    call, _ = listing(10, style)
    found = call.all().result() if colour == "sync" else asyncio.run(call.all())
    assert [one.id for one in found] == list(range(10))


@every_style
def test_a_walk_goes_on_from_a_place_that_was_kept(style):
    call, server = listing(10, style)
    page = call.result()
    assert [one.id for one in page] == [0, 1, 2] and page.position is not None
    again, _ = listing(10, style)
    assert walked(again.resume(page.position), "sync") == list(range(3, 10))
    assert len(server.asked) == 1


def test_a_page_reads_like_its_json():
    call, _ = listing(4, "total", limit=3)
    page = call.result()
    assert (len(page), page.total, page["total"], page["limit"]) == (3, 4, 4, 3)
    assert page[0] == page["items"][0] == Pet(id=0) and Pet(id=1) in page and "items" in page
    assert list(dict(page)) == ["items", "total", "limit"] and repr(page) == "<Page of 3 items of 4>"
    assert page.request_id == page[0].request_id and page.response_headers["content-type"] == "application/json"


def test_the_query_goes_along_to_every_page():
    call, server = listing(7, "total", limit=3, status="at home")
    walked(call, "sync")
    assert server.asked == [f"limit=3&status=at%20home{more}" for more in ("", "&offset=3", "&offset=6")]


def test_options_hold_for_every_page():
    transport = FaultTransport(Server(7, "total"))
    call = Pets(transport=transport).list_pets(Offset()).with_options(headers={"X-Trace": "on"})
    assert type(call) is PagedCall
    walked(call, "sync")
    assert [request.headers["X-Trace"] for request in transport.requests] == ["on"] * 3


def test_the_response_of_the_first_page_is_to_be_had():
    call, _ = listing(7, "total")
    assert call.raw().result().json()["total"] == 7


# Leaving


@both
def test_who_leaves_a_loop_sends_no_more(colour):
    call, server = listing(10, "total")

    async def main() -> None:
        async for one in call:
            if one.id == 4:
                break

    if colour == "async":
        asyncio.run(main())
    else:
        next(one for one in call if one.id == 4)
    assert len(server.asked) == 2


def test_leaving_gives_up_what_is_fetched_ahead():
    server = Server(10, "total")

    def slow(request: httpx2.Request) -> Step:
        answer = server(request)
        return answer if len(server.asked) == 1 else Step(delay=30.0)

    client = Pets(transport=FaultTransport(slow))

    async def main() -> None:
        pages = client.list_pets(Offset()).ahead().pages()
        async for _ in pages:
            while len(server.asked) < 2:
                await asyncio.sleep(0)
            break
        while client.resilient.bulkhead.in_flight:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(main(), 10))


@both
def test_a_call_is_one_walk(colour):
    call, _ = listing(4, "total")
    walked(call, colour)
    with pytest.raises(RuntimeError, match="cannot be changed any more"):
        walked(call, colour)


def test_for_inside_a_running_loop_says_what_to_write():
    call, _ = listing(4, "total")

    async def main() -> None:
        for _ in call:
            pass

    with pytest.raises(RuntimeError, match="write 'async for'"):
        asyncio.run(main())


# What goes wrong


@both
def test_a_list_that_is_asked_for_wrongly_raises_when_it_is_walked(colour):
    class Strict(Pets):
        def find(self, limit: Any) -> PagedCall[Pet]:
            return self.pages(Pet, "/pets/{limit}", paging=Offset(), limit=limit)

    transport = FaultTransport([200])
    client = Strict(transport=transport)
    with pytest.raises(InvalidRequestError, match=r"Strict\.find was not sent: limit: limit must not be empty"):
        walked(client.find(""), colour)
    with pytest.raises(InvalidRequestError):
        client.find("").ahead().all().result()
    assert repr(call := client.find("")) == "<Call Strict.find (not sent)>" and call.cancel()
    assert transport.requests == []


@both
@pytest.mark.parametrize("ahead", [False, True])
def test_a_page_that_fails_ends_the_walk_with_its_error(ahead, colour):
    call, server = listing(10, "total")
    server.failing = {3}
    seen: list[int] = []

    walk = call.ahead() if ahead else call

    async def main() -> None:
        async for one in walk:
            seen.append(one.id)  # noqa: PERF401  # what was seen before the error is looked at

    def run() -> None:
        seen.extend(one.id for one in walk)

    with pytest.raises(ServerError):
        run() if colour == "sync" else asyncio.run(main())
    assert seen == list(range(6))


def test_every_page_has_its_own_deadline(holdfast_clock):
    def slow(request: httpx2.Request) -> Step:
        return Step(json={"items": [pet(0)], "total": 4}, delay=0.3)

    client = Pets(transport=FaultTransport(slow))
    assert len(walked(client.list_pets(Offset()).with_options(deadline=1.0), "async")) == 4
    assert holdfast_clock.elapsed == pytest.approx(1.2)
    with pytest.raises(DeadlineExceededError):
        walked(client.list_pets(Offset()).with_options(deadline=0.1), "async")


@pytest.mark.parametrize(
    ("step", "paging", "message"),
    [
        (Step(json={"items": [{"id": 1}, {"id": "x"}]}), Offset(), r"not list\[.*Pet\]: items\.1\.id: Input should be"),
        (Step(content=b"<html>"), Offset(), r"the body is not JSON \(no content type\)\. "),
        (Step(json={"pets": []}), Offset(), "has no list by the name 'items'"),
        (Step(json={"items": {}}), Offset(), "has no list by the name 'items'"),
        (Step(json=[]), Offset(), "has no list by the name 'items'"),
        (Step(json={"items": [pet(1)], "next_cursor": "a"}), Cursor(), "the next page would be this one again"),
        (
            Step(json={"items": [pet(1)]}, headers={"Link": "<https://evil.test/>; rel=next"}),
            LinkHeader(),
            "the next page would be on another origin: https://evil.test/",
        ),
    ],
)
def test_a_page_that_cannot_be_used_says_why(step, paging, message):
    client = Pets(transport=FaultTransport([step]))
    with pytest.raises(ResponseError, match=message):
        walked(client.list_pets(paging, cursor="a"), "sync")


@pytest.mark.parametrize("position", ["", "x", "e30", "bnVsbA", "eyJ1cmwiOjF9", "W10", "ÿ"])
def test_what_is_no_place_is_refused(position):
    call, _ = listing(4, "total")
    with pytest.raises(ValueError, match="is not the position of a page"):
        _ = call.resume(position)
    assert walked(call, "sync") == [0, 1, 2, 3]


@pytest.mark.parametrize("url", ["https://evil.test/pets", "//evil.test/pets", "http://pets.test:81/api/pets"])
def test_a_place_on_another_origin_is_refused(url):
    call, server = listing(4, "link")
    evil = base64.urlsafe_b64encode(json.dumps({"url": url}).encode()).decode().rstrip("=")
    with pytest.raises(ValueError, match=r"another origin|names a host"):
        _ = call.resume(evil)
    assert server.asked == [] and walked(call, "sync") == [0, 1, 2, 3]


@pytest.mark.parametrize("ahead", [False, True])
@both
def test_pages_that_lead_in_a_circle_end_with_an_error(colour, ahead):
    following = {"": "b", "b": "c", "c": "b"}

    def circle(request: httpx2.Request) -> Step:
        assert len(transport.requests) < 9, "it does not end"
        cursor = request.url.params.get("cursor", "")
        return Step(json={"items": [pet(1)], "next_cursor": following[cursor]})

    transport = FaultTransport(circle)
    call = Pets(transport=transport).list_pets(Cursor())
    with pytest.raises(ResponseError, match="in a circle"):
        walked(call.ahead() if ahead else call, colour)
    assert len(transport.requests) == 3


class Chip(Model):
    model_config = ConfigDict(strict=True)

    id: UUID
    at: datetime


class Chips(ServiceClient[Settings]):
    def get_chip(self) -> Call[Chip]:
        return self.get(Chip, "/chips/1")

    def list_chips(self) -> PagedCall[Chip]:
        return self.pages(Chip, "/chips?sort=id", paging=Offset(), query={"limit": 2})


def test_items_are_as_strict_as_the_model_alone():
    chip = {"id": "00000000-0000-0000-0000-000000000001", "at": "2026-01-01T00:00:00Z"}
    one = Chips(transport=FaultTransport(Step(json=chip))).get_chip().result()
    transport = FaultTransport(Step(json={"items": [chip], "total": 1}))
    assert Chips(transport=transport).list_chips().result().items == [one]
    assert transport.requests[0].url.query == b"sort=id&limit=2"
    wrong = FaultTransport(Step(json={"items": [{**chip, "at": 7}], "total": 1}))
    with pytest.raises(ResponseError, match=r"items\.0\.at"):
        Chips(transport=wrong).list_chips().result()

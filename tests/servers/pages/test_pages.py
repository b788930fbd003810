"""The page about a port, and what is around all pages."""

from __future__ import annotations

import asyncio
import json
from html.parser import HTMLParser

import httpx2
import pytest
from fastapi import APIRouter, FastAPI
from starlette.responses import JSONResponse, PlainTextResponse

from holdfast._version import __version__
from holdfast.servers.faults import FaultInjection, parse_rules
from holdfast.servers.pages import Asset, Pages
from holdfast.servers.service import Service

HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;"
NEIGHBOURS = {"Other": "http://127.0.0.1:8001", HOSTILE: "http://[::1]:8002"}


def example(health=None):
    app = FastAPI()
    router = APIRouter(tags=["messages"])

    @router.get("/messages")
    def read(limit: int = 3) -> None:
        """List messages."""

    @router.get("/search")
    def search(text: str) -> None: ...

    @router.delete("/messages/{number}", description=f"{HOSTILE}\n\nAnd more.")
    def remove(number: int) -> None: ...

    @app.get("/health")
    async def healthy():
        return health or {"status": "healthy", "uptime_seconds": 1.25, "parts": {"a": 1}, "name": HOSTILE}

    app.include_router(router)
    return app


def asked(path="/", *, app=None, page=None, faults=None, behind=None, base="http://localhost:8000", **options):
    """The answer of the pages in front of an app."""
    service = Service(HOSTILE, 8000, app or example(), page=page or {})
    pages = Pages(behind or service.app, service, NEIGHBOURS, faults=faults)

    async def ask():
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(pages), base_url=base) as client:
            return await client.request(options.pop("method", "GET"), path, **options)

    return asyncio.run(ask())


def about(**options):
    return asked(headers={"Accept": "application/json"}, **options).json()


class Read(HTMLParser):
    """Tags and texts of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.texts = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in {"href", "src"}]

    def handle_data(self, data):
        self.texts.append(data)


def test_what_there_is_to_say_as_json():
    said = about()
    assert said == {
        "service": HOSTILE,
        "version": __version__,
        "health": {
            "ok": True,
            "status": "healthy",
            "details": {"uptime_seconds": 1.25, "parts": {"a": 1}, "name": HOSTILE},
        },
        "endpoints": [
            {"method": "GET", "path": "/health", "summary": "Healthy", "group": "", "opens": True},
            {"method": "GET", "path": "/messages", "summary": "List messages.", "group": "messages", "opens": True},
            {"method": "GET", "path": "/search", "summary": "Search", "group": "messages", "opens": False},
            {
                "method": "DELETE",
                "path": "/messages/{number}",
                "summary": HOSTILE,
                "group": "messages",
                "opens": False,
            },
        ],
        "neighbours": [
            {"name": "Other", "url": "http://localhost:8001"},
            {"name": HOSTILE, "url": "http://localhost:8002"},
        ],
        "page": None,
        "openapi": "/openapi.json",
        "faults": None,
    }


def test_the_same_as_a_page_where_all_names_are_text():
    answer = asked()
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    page = Read(answer.text)
    assert "img" not in page.tags
    for text in (HOSTILE, __version__, "Healthy", "/messages/{number}", "List messages.", "1.2", "A: 1"):
        assert text in page.texts, text
    # What can be followed is a link, and only the neighbours are elsewhere.
    assert {"/messages", "/health", "/openapi.json"} <= set(page.links)
    assert not {"/search", "/messages/{number}"} & set(page.links)
    assert {link for link in page.links if "//" in link} == {"http://localhost:8001", "http://localhost:8002"}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", "text/html"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("text/html, application/json", "text/html"),
        ("application/json", "application/json"),
        ("Application/JSON;q=0.9, text/plain", "application/json"),
        ("application/problem+json, application/json", "application/json"),
        ("", "text/html"),
    ],
)
def test_who_asks_for_json_gets_it(accept, expected):
    answer = asked(headers={"Accept": accept})
    assert answer.headers["Content-Type"].partition(";")[0] == expected
    assert answer.headers["Vary"] == "Accept"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("base", "expected"),
    [("http://box.lan:8000", "http://box.lan:8001"), ("http://[::1]:8000", "http://[::1]:8001")],
)
def test_neighbours_are_named_as_the_reader_names_this_port(base, expected):
    assert about(base=base)["neighbours"][0]["url"] == expected


@pytest.mark.parametrize("path", ["/", "/_about", "/_page/style.css", "/_page/about.js", "/_page/icon.svg"])
def test_nothing_from_elsewhere_and_nothing_inline(path):
    answer = asked(path)
    assert answer.status_code == 200
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    head = asked(path, method="HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert asked(path, method="POST").status_code == 405


def test_files_are_sent_once():
    first = asked("/_page/style.css")
    assert first.headers["Cache-Control"] == "no-cache"
    tag = first.headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = asked("/_page/style.css", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == tag
    assert asked("/_page/style.css", headers={"If-None-Match": '"other"'}).status_code == 200
    assert asked("/_page/about.js").headers["ETag"] != tag


def test_everything_else_is_the_services_own():
    assert asked("/_page/nothing.js").json() == {"detail": "Not Found"}
    assert asked("/health").json()["status"] == "healthy"
    assert asked("/messages/7", method="POST").status_code == 405


def test_a_service_may_have_a_page_of_its_own():
    page = {"/": Asset(b"its own", "text/html", '"1"'), "/_page/own.js": Asset(b"code", "text/javascript", '"2"')}
    assert asked(page=page).text == "its own"
    assert asked("/_page/own.js", page=page).text == "code"
    assert asked(page=page, headers={"Accept": "application/json"}).json()["page"] == "/"
    assert "Open the live page" in Read(asked("/_about", page=page).text).texts


def test_pages_are_not_struck_by_injected_failures():
    app = example()
    struck = FaultInjection(app, parse_rules("status=503;count=1"))
    assert asked(app=app, behind=struck, faults="/_faults").status_code == 200
    page = Read(asked(app=app, behind=struck, faults="/_faults").text)
    assert {"/_faults", "/_faults/stats"} <= set(page.links)
    # Nor do they use a rule up.
    assert asked("/health", app=app, behind=struck).status_code == 503


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (JSONResponse({"status": "starting"}, 503), (False, "starting")),
        (JSONResponse({"detail": "no"}, 500), (False, "answers 500")),
        (JSONResponse({"up": True}), (True, "healthy")),
        (PlainTextResponse("fine"), (True, "healthy")),
        (JSONResponse(["fine"]), (True, "healthy")),
        (JSONResponse({"status": 7}), (True, "healthy")),
    ],
)
def test_health_is_what_the_service_answers(answer, expected):
    """And a service without an OpenAPI document has a page too."""

    async def app(scope, receive, send):
        reply = answer if scope["path"] == "/health" else PlainTextResponse("none", 404)
        await reply(scope, receive, send)

    said = about(app=app)
    assert (said["health"]["ok"], said["health"]["status"]) == expected
    assert (said["endpoints"], said["openapi"]) == ([], None)
    texts = Read(asked(app=app).text).texts
    assert expected[1].capitalize() in texts
    assert "This server does not describe its endpoints." in texts
    json.dumps(said)


def test_a_service_that_hangs_does_not_hang_its_page(monkeypatch):
    monkeypatch.setattr("holdfast.servers.pages.about.PATIENCE_SECONDS", 0.01)

    async def app(scope, receive, send):
        if scope["path"] == "/health":
            await asyncio.sleep(60)
        await PlainTextResponse("none", 404)(scope, receive, send)

    assert about(app=app)["health"] == {"ok": False, "status": "no answer within 0.01 s", "details": {}}

"""The built site in a real browser: nothing from elsewhere, nothing broken, nothing wider than a phone."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from scripts.docs import build, generate

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

pytestmark = [pytest.mark.slow, pytest.mark.loopback]

PAGES = [path.relative_to(generate.DOCS).with_suffix(".html").as_posix() for path in generate.pages()]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    assert build.build(folder) == []
    return folder


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as the base class calls it
        """Says nothing."""


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


def test_every_page_is_built(site: Path):
    assert all((site / page).is_file() for page in PAGES)
    assert (site / "llms.txt").read_text() == (generate.DOCS / "llms.txt").read_text()


def test_no_marker_or_directive_is_left(site: Path):
    for page in PAGES:
        text = re.sub(r"<(pre|code|script)\b.*?</\1>", "", (site / page).read_text(), flags=re.DOTALL)
        for left in (":::", "--8<--", ".. code-block", "::</p>", "Args:", "Raises: "):
            assert left not in text, (page, left)


def test_all_pages_in_one_text(site: Path):
    text = (site / "llms-full.txt").read_text()
    for page in generate.pages():
        assert f"# {generate.title(page.read_text())}" in text
    assert "## `holdfast request`" in text
    assert "<!-- generated" not in text and "description:" not in text and "<svg" not in text


def test_the_pages_in_a_browser(url: str, browser: Browser):
    context = browser.new_context(viewport={"width": 375, "height": 800}, color_scheme="dark")
    page = context.new_page()
    asked: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    for one in PAGES:
        page.goto(f"{url}/{one}")
        page.wait_for_selector("article h1")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{one} is {wide} pixels wider than a phone"
    context.close()
    assert problems == []
    assert len(asked) > len(PAGES)
    assert [one for one in asked if not one.startswith((url, "data:"))] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pictures_stand_out_from_the_page(url: str, browser: Browser, scheme: Any):
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{url}/layers/circuit-breaker.html")
    page.wait_for_selector("svg.diagram")
    colours = page.evaluate(
        """() => {
            const look = (selector, property) => getComputedStyle(document.querySelector(selector))[property]
            return [look("svg.diagram .t", "fill"), look("svg.diagram .s", "stroke"), look("body", "backgroundColor")]
        }"""
    )
    context.close()
    assert len(set(colours)) == 3


def test_the_search_finds_a_setting(url: str, browser: Browser):
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(f"{url}/index.html")
    page.click("input[name=query]")
    # What is typed before the search is ready is not looked for.
    page.wait_for_selector(".md-search-result__meta:text('Type to start searching')")
    page.type("input[name=query]", "recovery_timeout")
    page.wait_for_selector(".md-search-result__item a[href*='circuit-breaker.html']", state="attached")
    context.close()

"""A real browser that shows a file, and tells what it complained about and what it asked the network for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = Path("/usr/bin/chromium")
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@dataclass
class Shown:
    """What came of showing a page: evaluated expressions, and what went wrong."""

    values: list[Any] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    picture: bytes = b""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser while the block runs. Where there is none the test is skipped, but not in CI."""
    if not CHROMIUM.exists():
        reason = f"needs {CHROMIUM}"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}, and in CI it has to be there")
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=SWITCHES)
        try:
            yield browser
        finally:
            browser.close()


def show(
    browser: Browser,
    file: Path,
    *expressions: str,
    width: int = 1200,
    scheme: Literal["light", "dark"] = "light",
    pictured: bool = False,
) -> Shown:
    """Opens a file, evaluates JavaScript expressions in it one after the other, and takes a picture if it is wanted."""
    shown = Shown()
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    try:
        page = context.new_page()
        page.on("console", lambda message: shown.complaints.append(message.text))
        page.on("pageerror", lambda error: shown.complaints.append(str(error)))
        page.on("request", lambda request: shown.requests.append(request.url))
        page.goto(file.absolute().as_uri())
        shown.values = [page.evaluate(expression) for expression in expressions]
        if pictured:
            shown.picture = page.screenshot(full_page=True)
    finally:
        context.close()
    return shown

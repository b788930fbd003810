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
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE_MS = 30_000
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


OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
"""How far a page can be scrolled sideways."""

# Contrast of every text to what is behind it, as WCAG 2.2 computes it (1.4.3); those below 4.5.
PALE = """() => {
  const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const rgb = css => css.match(/[\\d.]+/g).map(Number);
  const light = css => { const [r, g, b] = rgb(css).map(channel); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (rgb(color).length === 3) return color;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")]
    .filter(one => [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()) || one.value)
    .filter(one => one.checkVisibility() && !one.closest("[aria-disabled=true]"))
    .map(one => {
      const [a, b] = [getComputedStyle(one).color, ground(one)].map(light).sort((p, q) => q - p);
      return [`${one.tagName}.${one.className}: ${one.textContent.slice(0, 30)}`, (a + 0.05) / (b + 0.05)];
    })
    .filter(([, ratio]) => ratio < 4.5);
}"""


@contextmanager
def visiting(
    browser: Browser,
    base_url: str,
    *,
    width: int = 1200,
    scheme: Literal["light", "dark"] = "light",
    still: bool = False,
    expected: str | None = None,
) -> Iterator[Page]:
    """A page of a server. Whatever the browser complains about, and whatever it asks of other servers, fails the test.

    Args:
        browser: that shows it.
        base_url: of the server; paths are relative to it.
        width: in CSS pixels; 600 of 1200 are what 200 % of zoom leave.
        scheme: which colours the reader prefers.
        still: whether the reader prefers that nothing moves.
        expected: a part of the complaints that belong to the test.
    """
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE_MS)
    complaints: list[str] = []
    context = browser.new_context(
        base_url=base_url,
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        reduced_motion="reduce" if still else "no-preference",
    )
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on(
            "request",
            lambda sent: (
                None if sent.url.startswith((base_url, "blob:")) else complaints.append(f"request to {sent.url}")
            ),
        )
        yield page
    finally:
        context.close()
    assert [one for one in complaints if expected is None or expected not in one] == []

"""The live page, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import OVERFLOW, PALE, chromium, visiting
from tests.support.loopback import Loopback, answer
from tests.support.serving import request, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.loopback, pytest.mark.slow]

TOKEN = "a token for the page"


class Live:
    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        sent = None if body is None else json.dumps(body).encode()
        status, text = request(f"{self.url}/v1{path}", method, sent, self._headers)
        assert status < 300, f"{method} {path}: {status} {text}"
        return json.loads(text)

    def start(self, prompt: str, **fields: Any) -> int:
        return int(self.ask("POST", "/organizations/123/agent/run", {"prompt": prompt, **fields})["id"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    env = {"CODEGEN_API_TOKEN": "", "CODEGEN_ORG_ID": "123", "CODEGEN_RUN_SECONDS": "6"}
    with serving(tmp_path_factory.mktemp("data"), env=env) as server:
        yield Live(f"http://127.0.0.1:{8010 + server.offset}", "of a test")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(tmp_path_factory.mktemp("data"), env={"CODEGEN_API_TOKEN": TOKEN, "CODEGEN_ORG_ID": "123"}) as server:
        yield Live(f"http://127.0.0.1:{8010 + server.offset}", TOKEN)


def test_a_run_is_seen_to_progress(browser, live):
    from playwright.sync_api import expect

    with visiting(browser, live.url) as page:
        page.goto("/")
        expect(page.get_by_role("heading", level=1)).to_have_text("Codegen")
        expect(page.get_by_role("row", name="Run 4 Paused")).to_be_visible()
        run = live.start("Show <b>me</b>", repo_id=1)
        for status in ("Active", "Complete"):
            expect(page.get_by_role("row", name=f"Run {run} {status}")).to_be_visible()
        # What others wrote is text.
        expect(page.get_by_role("row", name=f"Run {run} Complete Done: Show <b>me</b>")).to_be_visible()
        expect(page.locator("#said")).to_contain_text(f"Run {run} is complete")
        expect(page.get_by_role("row", name="POST /v1/…/agent/run 10 in 60 s")).to_contain_text("1 of 10, 9 left")
        expect(page.locator("#trouble")).to_be_empty()


def test_a_dead_delivery_is_sent_again_by_keyboard(browser, live):
    from playwright.sync_api import expect

    with Loopback(default=answer(410)) as receiver, visiting(browser, live.url) as page:
        live.ask("POST", "/webhooks", {"url": f"{receiver.url}/hook", "secret": "x", "events": ["agent_run.failed"]})
        live.start("[fail] Nobody wants to know")
        page.goto("/")
        row = page.get_by_role("row", name="agent_run.failed")
        expect(row).to_contain_text("Dead")
        expect(row).to_contain_text("answered 410")
        receiver.default = answer()
        again = row.get_by_role("button")
        again.focus()
        page.keyboard.press("Enter")
        expect(row).to_contain_text("Delivered")
        expect(again).to_be_focused()
        assert len(receiver.seen) == 2


def test_every_control_is_reached_with_the_tab_key(browser, live):
    with visiting(browser, live.url) as page:
        page.goto("/")
        page.locator("#live").wait_for()
        reached = []
        for _ in range(8):
            page.keyboard.press("Tab")
            reached.append(
                page.evaluate("(document.activeElement.ariaLabel ?? document.activeElement.textContent).trim()")
            )
        assert reached[:7] == [
            "Skip to content",
            "Runs",
            "Limits",
            "Deliveries",
            "About this server",
            "Agent runs",
            "Rate limits",
        ]


def test_a_server_with_a_token_asks_for_it_and_keeps_it_while_the_tab_is_open(browser, guarded):
    from playwright.sync_api import expect

    with visiting(browser, guarded.url, expected="401 (Unauthorized)") as page:
        page.goto("/")
        expect(page.get_by_label("API token")).to_be_focused()
        expect(page.locator("#trouble")).to_contain_text("CODEGEN_API_TOKEN")
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#trouble")).to_contain_text("not valid")
        page.get_by_label("API token").fill(TOKEN)
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_role("row", name="Run 4 Paused")).to_be_visible()
        expect(page.get_by_label("API token")).to_be_hidden()
        page.reload()
        expect(page.get_by_role("row", name="Run 4 Paused")).to_be_visible()
        assert TOKEN not in page.content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200])
def test_it_fits_and_can_be_read(browser, live, scheme, width, tmp_path):
    with visiting(browser, live.url, width=width, scheme=scheme) as page:
        page.goto("/")
        page.locator("#runs-list table").wait_for()
        assert page.evaluate(OVERFLOW) <= 0
        assert page.evaluate(PALE) == []
        picture = Path(tmp_path) / "page.png"
        page.screenshot(path=picture, full_page=True)
        assert picture.stat().st_size > 10_000


def test_the_page_is_sent_under_the_strict_policy(live):
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for path in ("/", "/_page/codegen/main.js", "/_page/dom.js", "/_page/codegen/codegen.css"):
        with opener.open(f"{live.url}{path}", timeout=10) as response:
            assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")

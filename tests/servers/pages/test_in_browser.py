"""The pages about all ports of a real process, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.support.browser import OVERFLOW, PALE, chromium, visiting
from tests.support.serving import serving

pytestmark = [pytest.mark.loopback, pytest.mark.slow]

NAMES = {8000: "Test server", 8001: "Crews and Sessions", 8002: "Memory", 8005: "Service Integration", 8010: "Codegen"}


def test_every_port_says_what_it_is(tmp_path):
    with chromium() as browser, serving(tmp_path, "--faults") as server:
        urls = {port: f"http://127.0.0.1:{port + server.offset}" for port in NAMES}
        for number, (port, name) in enumerate(NAMES.items()):
            with visiting(browser, urls[port], width=320, scheme=("dark", "light")[number % 2]) as page:
                page.goto("/_about")
                expect(page.get_by_role("heading", level=1)).to_have_text(name)
                assert page.evaluate(OVERFLOW) <= 0
                assert page.evaluate(PALE) == []
                others = page.get_by_role("navigation").get_by_role("link").all_inner_texts()
                assert others == [other for other in NAMES.values() if other != name]
        with visiting(browser, urls[8000], expected="ERR_") as page:
            page.goto("/")
            expect(page.locator("body")).to_match_aria_snapshot(
                """
                - link "Skip to content"
                - banner:
                  - paragraph: /Holdfast/
                - main:
                  - heading "Test server" [level=1]
                  - region "Health":
                    - heading "Health" [level=2]
                    - status: Ok
                    - term: Uptime seconds
                  - navigation "Other ports of this process":
                    - list:
                      - listitem:
                        - link "Crews and Sessions"
                  - region "Failure injection":
                    - paragraph:
                      - link "Rules in force"
                  - region "Endpoints":
                    - list:
                      - listitem:
                        - text: GET
                        - code:
                          - link "/msg"
                """
            )
            uptime = page.locator("#health-details dd")
            before = uptime.inner_text()
            refresh = "document.dispatchEvent(new Event('visibilitychange'))"
            page.evaluate(refresh)
            expect(uptime).not_to_have_text(before)
            assert server.stop()[0] == 0
            page.evaluate(refresh)
            expect(page.get_by_role("status")).to_have_text(re.compile("Does not answer"))

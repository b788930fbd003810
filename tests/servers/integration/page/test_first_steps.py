"""A newcomer does what the page says, word for word."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.support.browser import visiting
from tests.support.live_page import JSON, PORT
from tests.support.serving import request, serving

pytestmark = [pytest.mark.loopback, pytest.mark.slow]


def entered(command):
    """Does what curl would."""
    curl, url, header_option, header, data_option, body = shlex.split(command.replace("\\\n", " "))
    assert (curl, header_option, data_option) == ("curl", "-H", "-d")
    assert dict([header.split(": ")]) == JSON
    status, answer = request(url, "POST", body.encode(), JSON)
    assert status == 201, answer


def test_from_nothing_to_a_result(browser, tmp_path):
    with (
        serving(tmp_path) as server,
        visiting(browser, f"http://127.0.0.1:{PORT + server.offset}", width=360) as page,
    ):
        page.goto("/")
        expect(page.get_by_role("heading", name="Nothing has run yet")).to_be_visible()
        page.get_by_text("The same in Python").click()
        program = page.get_by_role("region", name="Program in Python").inner_text()
        entered(page.get_by_role("region", name="Command that registers a service").inner_text())
        expect(page.get_by_role("heading", name="Register a service Done")).to_be_visible()
        entered(page.get_by_role("region", name="Command that makes a workflow").inner_text())
        page.get_by_role("link", name="First and second").click()
        page.get_by_role("button", name="Start").click()
        expect(page.locator("#execution-state")).to_have_text("Completed")
        expect(page.get_by_role("region", name="Result")).to_contain_text("message_id")

        # The program does the same, so the name has to be free.
        again = program.replace('"messages"', '"other"')
        done = subprocess.run([sys.executable, "-c", again], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert "message_id" in done.stdout

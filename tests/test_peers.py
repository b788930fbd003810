"""The comparison with other clients runs, and its figures are those of requests that the server has counted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.loopback, pytest.mark.slow]

PEERS = Path(__file__).parents[1] / "benchmarks" / "peers.py"


def test_a_short_round_ends_in_a_table_a_file_and_a_page(tmp_path):
    cases = [part for case in ("get-1", "post", "typed-1", "sync-1") for part in ("--only", case)]
    names = [part for name in ("httpx2", "openai", "holdfast") for part in ("--client", name)]
    files = ["--json", str(tmp_path / "peers.json"), "--html", str(tmp_path / "peers.html")]
    command = [sys.executable, str(PEERS), "--rounds", "1", "--seconds", "0.05", *cases, *names, *files]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "wrong: " not in ended.stdout
    assert re.search(r"GET, 1 in flight +x +calls/s", ended.stdout)
    found = json.loads((tmp_path / "peers.json").read_text())
    took_part = {case["name"]: set(case["contestants"]) for case in found["cases"]}
    assert took_part["get-1"] == {"httpx2", "openai", "holdfast"}
    assert took_part["post"] == took_part["sync-1"] == {"httpx2", "holdfast"}
    assert took_part["typed-1"] == {"openai", "holdfast"}
    assert found["cases"][0]["contestants"]["httpx2"]["times"] == 1.0
    page = (tmp_path / "peers.html").read_text()
    assert page.count("<svg") == page.count("<table") == 4 and "Holdfast, engine native" in page
    assert not re.search(r"(src|href)=|url\(|@import", page)  # it needs nothing else

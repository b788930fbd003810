"""A short soak: random faults and cancellations leave nothing behind, and every answer is the one to its request."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.loopback, pytest.mark.slow]

SOAK = Path(__file__).parents[1] / "benchmarks" / "soak.py"


@pytest.mark.parametrize("engine", ["httpx2", "native"])
def test_ten_seconds_leave_nothing_behind(engine: str) -> None:
    command = [sys.executable, str(SOAK), "--seconds", "10", "--engine", engine]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "nothing was left behind, every answer fits its request" in ended.stdout
    assert ended.stderr == ""

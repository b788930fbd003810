"""How long imports take, each in an interpreter of its own, compiled beforehand."""

from __future__ import annotations

import os
import subprocess
import sys

from timing import Times, Turns

STATEMENTS = {
    "httpx2": "import httpx2",
    "holdfast": "from holdfast import ResilientClient, ClientConfig",
    "client": "from holdfast import ResilientClient, ClientConfig; ResilientClient(ClientConfig(base_url='http://a'))",
    "pydantic": "import httpx2; from pydantic import BaseModel",
}
_TIMED = "import time; began = time.process_time(); {}; print(time.process_time() - began)"


def measure(seconds: float) -> Times:
    """CPU seconds of the statements alone, without the start of the interpreter."""
    times = Times()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for statement in STATEMENTS.values():
        _seconds(statement, environment)
    for name in Turns(list(STATEMENTS), seconds):
        times.add(name, _seconds(STATEMENTS[name], environment))
    return times


def _seconds(statement: str, environment: dict[str, str]) -> float:
    command = [sys.executable, "-c", _TIMED.format(statement)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)

"""Settings of hypothesis, of Ctrl-C and of forks, and the failure test server as a fixture."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import HealthCheck, settings

from holdfast import ClientConfig
from tests.support.serving import request, serving

pytest_plugins = ["holdfast.testing.plugin"]

# No deadline per example: the machine's other work would decide about the tests.
_SHARED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", _SHARED, max_examples=30, stateful_step_count=30, print_blob=True)
settings.register_profile("dev", _SHARED, max_examples=100, stateful_step_count=40)
settings.register_profile("thorough", _SHARED, max_examples=5_000, stateful_step_count=60)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

# What takes minutes. Left for the end, all other workers would wait for it.
_FIRST = (
    "executions/test_processes.py",
    "memory/test_crash.py",
    "crews/test_processes.py",
    "executions/test_durable.py",
)

# TEST_ENGINE=httpx2 runs everything with that engine, where a test does not say which.
if engine := os.environ.get("TEST_ENGINE"):
    ClientConfig.model_fields["engine"].default = engine
    ClientConfig.model_rebuild(force=True)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    # Started in the background by a shell, everything ignores Ctrl-C; there are tests of just that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# coverage has a lock of its own, which another thread may hold at a fork: a child that is measured then waits for ever,
# as soon as it runs a line. This comes before Holdfast, whose lines are the first that a child runs.
os.register_at_fork(after_in_child=partial(sys.settrace, None))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts first what takes longest."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(_FIRST))


@pytest.fixture(scope="session")
def test_server_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one `holdfast serve --faults` for the whole session (with xdist: for one worker)."""
    with serving(tmp_path_factory.mktemp("data"), "--faults") as server:
        yield server.url


@pytest.fixture
def test_server(test_server_process: str) -> str:
    """The base URL of the failure test server, told to fail nothing."""
    assert request(f"{test_server_process}/fail/reset", "POST")[0] == 200
    assert request(f"{test_server_process}/_faults", "DELETE")[0] == 200
    return test_server_process

"""The Codegen server in process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.servers.service import Storage
from tests.support.codegen_served import CodegenServed, codegen_served
from tests.support.loopback import Loopback


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of whoever runs the tests are for other servers."""
    for name in ("API_TOKEN", "ORG_ID", "WEBHOOK_SECRET", "RELAXED_LIMITS", "RUN_SECONDS"):
        monkeypatch.delenv(f"CODEGEN_{name}", raising=False)
    monkeypatch.delenv("ENVIRONMENT", raising=False)


@pytest.fixture
def everywhere(storage: Storage) -> Iterator[CodegenServed]:
    """On each database."""
    with codegen_served(storage, relaxed_limits=True) as served:
        yield served


@pytest.fixture
def codegen(tmp_path: Path) -> Iterator[CodegenServed]:
    with codegen_served(Storage(tmp_path), relaxed_limits=True) as served:
        yield served


@pytest.fixture
def receiver() -> Iterator[Loopback]:
    """Where webhooks are."""
    with Loopback() as receiver:
        yield receiver

"""An environment without settings of the Codegen API, and a logger whose level nobody has set."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.codegen import AsyncCodegenClient, ClientConfig
from tests.support.codegen import TOKEN, Service
from tests.support.colours import Colour


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No variables and no .env."""
    for name in list(os.environ):
        if name.startswith("CODEGEN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield
    logging.getLogger("holdfast.codegen").setLevel(logging.NOTSET)


@pytest.fixture(params=["async", "sync"])
def colour(request: pytest.FixtureRequest) -> Iterator[Colour]:
    user = Colour(sync=request.param == "sync")
    yield user
    user.close()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def client(service: Service) -> Iterator[AsyncCodegenClient]:
    """A client of the scripted service, without noise, and with retries that do not wait."""
    made = AsyncCodegenClient(quiet(), transport=service.transport)
    yield made
    made.close().result()


def quiet() -> ClientConfig:
    return ClientConfig(api_token=TOKEN, org_id=123, retry_delay=0.001, retry_max_wait=0.001, log_level="CRITICAL")

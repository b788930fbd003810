"""The reference servers of `holdfast serve`: on free ports, failing on request, their data in a temporary folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from holdfast.cli.demo.stage import Stage
from holdfast.servers import crews_and_sessions, memory
from holdfast.servers.contextiq import Settings
from holdfast.servers.crews.server import MEMORY
from holdfast.servers.faults import FaultInjection
from holdfast.servers.service import Storage

__all__ = ["Reference", "reference_servers"]


@dataclass(frozen=True, slots=True)
class Reference:
    """Where the servers are.

    Attributes:
        crews: URL of the Crews server, which is the Sessions server too.
        memory: URL of the Memory server.
        secret: what tokens for crews have to be signed with.
    """

    crews: str
    memory: str
    secret: str

    @property
    def urls(self) -> tuple[str, str]:
        return self.crews, self.memory


@contextmanager
def reference_servers(crews: Mapping[str, Callable[..., Any]]) -> Iterator[Reference]:
    """Serves while the block runs, whatever settings of other services there are in the environment.

    Args:
        crews: what can be executed, by name.

    Raises:
        ServerStartError: the servers cannot be started.
    """
    secret = secrets.token_urlsafe(48)
    with TemporaryDirectory(prefix="holdfast-demo-", ignore_cleanup_errors=True) as folder:
        storage, settings = Storage(Path(folder)), Settings.model_construct()
        with _environment(API_SECRET_KEY=secret, ENVIRONMENT="development"):
            apps = [crews_and_sessions.create_app(storage, settings), memory.create_app(storage, settings)]
        stage = Stage(
            [FaultInjection(app) for app in apps], [partial(app.router.lifespan_context, app) for app in apps]
        )
        first, second = stage.urls
        reference = Reference(first, second, secret)
        server = apps[0].state.crews
        server.meet({MEMORY: reference.memory})
        for name, target in crews.items():
            server.registry.add(name, target)
        with stage:
            yield reference


@contextmanager
def _environment(**own: str) -> Iterator[None]:
    """The servers read some settings from the environment only; here nobody's settings are meant but these."""
    before = dict(os.environ)
    for name in before:
        if name.startswith("MEMORY_SERVICE_"):
            del os.environ[name]
    os.environ.update(own)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)

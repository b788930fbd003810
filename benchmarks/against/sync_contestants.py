"""The clients in threads: one client for all of them, where it may be shared, else one session for each thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from against.contestants import PET, SECONDS, quiet, settings, verified

if TYPE_CHECKING:
    from against.load import Job


@dataclass
class Calls:
    """What a contestant can do."""

    get: Callable[[], None]


@contextmanager
def bare(job: Job) -> Iterator[Calls]:
    import httpx2

    limits = httpx2.Limits(max_connections=job.in_flight, max_keepalive_connections=job.in_flight)
    with httpx2.Client(base_url=job.url, limits=limits, verify=False, trust_env=False, timeout=SECONDS) as client:

        def get() -> None:
            response = client.get(PET)
            verified(response.status_code, response.headers["content-type"], response.json())

        yield Calls(get)


@contextmanager
def requests(job: Job) -> Iterator[Calls]:
    import requests as library

    # A session is not said to be safe for threads.
    own = threading.local()
    url = job.url + PET

    def get() -> None:
        session = getattr(own, "session", None)
        if session is None:
            session = own.session = library.Session()
            session.trust_env = False
        response = session.get(url, timeout=SECONDS)
        verified(response.status_code, response.headers["content-type"], response.json())

    yield Calls(get)


@contextmanager
def pyreqwest(job: Job) -> Iterator[Calls]:
    from datetime import timedelta

    from pyreqwest.client import SyncClientBuilder

    builder = SyncClientBuilder().base_url(job.url).no_proxy().timeout(timedelta(seconds=SECONDS))
    with builder.max_connections(job.in_flight).pool_max_idle_per_host(job.in_flight).build() as client:

        def get() -> None:
            response = client.get(PET).build().send()
            verified(response.status, response.headers["content-type"], response.json())

        yield Calls(get)


def holdfast(engine: str) -> Callable[[Job], AbstractContextManager[Calls]]:
    @contextmanager
    def opened(job: Job) -> Iterator[Calls]:
        from holdfast import ClientConfig, ResilientClient

        quiet()
        config: Any = ClientConfig.model_validate(settings(job, engine))
        with ResilientClient(config) as client:

            def get() -> None:
                response = client.get(PET).result()
                verified(response.status_code, response.headers["content-type"], response.json())

            yield Calls(get)

    return opened


@dataclass(frozen=True)
class Contestant:
    """As `contestants.Contestant`."""

    title: str
    opened: Callable[[Job], AbstractContextManager[Calls]]
    packages: tuple[str, ...]

    @property
    def ours(self) -> bool:
        return self.packages[0] == "holdfast"


CONTESTANTS = {
    "httpx2": Contestant("httpx2", bare, ("httpx2",)),
    "requests": Contestant("requests", requests, ("requests", "urllib3")),
    "pyreqwest": Contestant("pyreqwest", pyreqwest, ("pyreqwest",)),
    "holdfast-httpx2": Contestant("Holdfast, engine httpx2", holdfast("httpx2"), ("holdfast", "httpx2")),
    "holdfast": Contestant("Holdfast, engine native", holdfast("native"), ("holdfast",)),
}


def open_client(job: Job) -> AbstractContextManager[Calls]:
    return CONTESTANTS[job.name].opened(job)


def version_of(name: str) -> str:
    return ", ".join(f"{package} {version(package)}" for package in CONTESTANTS[name].packages)

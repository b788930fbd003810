"""The clients under asyncio, each used as its documentation says, with a pool as large as the calls in flight.

All check what they are answered: the status, a header and the JSON are read by every call. Timeouts are set where a
client has none by default; proxies of the environment are ignored by all.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from against.load import Job

PET, MODEL, LARGE = "/pets/7", "/v1/models/m", 1 << 20
KIB, MIB = b"x" * 1024, b"x" * LARGE
SECONDS = 60.0
OCTETS = {"Content-Type": "application/octet-stream"}

Call = Callable[[], Awaitable[None]]


@dataclass
class Calls:
    """What a contestant can do. What it cannot is None, and left out."""

    get: Call
    held: Call
    post: Call | None = None
    download: Call | None = None
    upload: Call | None = None
    typed: Call | None = None


def verified(status: int, kind: str, body: Any) -> None:
    assert status == 200
    assert kind == "application/json"
    assert body == {"id": 7}


def quiet() -> None:
    """Logging off, as in all that is compared."""
    for name in ("resilient_client", "holdfast", "httpx2", "glued", "stamina"):
        logging.getLogger(name).setLevel(logging.WARNING)


def tls(job: Job) -> ssl.SSLContext | None:
    return None if job.certificate is None else ssl.create_default_context(cafile=job.certificate)


def _read(path: str) -> bytes:
    return Path(path).read_bytes()


def like_httpx(client: Any) -> Calls:
    """The calls of a client with the interface of httpx."""

    async def get() -> None:
        response = await client.get(PET)
        verified(response.status_code, response.headers["content-type"], response.json())

    async def held() -> None:
        response = await client.get("/held")
        verified(response.status_code, response.headers["content-type"], response.json())

    async def post(body: bytes = KIB) -> None:
        response = await client.post("/orders", content=body, headers=OCTETS)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        assert response.json() == {"received": len(body)}

    async def upload() -> None:
        await post(MIB)

    async def download() -> None:
        response = await client.get("/large")
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/octet-stream"
        assert len(response.content) == LARGE

    return Calls(get, held, post, download, upload)


def _httpx_options(job: Job, module: Any) -> dict[str, Any]:
    limits = module.Limits(max_connections=job.in_flight, max_keepalive_connections=job.in_flight)
    return {"base_url": job.url, "limits": limits, "verify": tls(job) or False, "trust_env": False, "timeout": SECONDS}


@asynccontextmanager
async def bare(job: Job) -> AsyncIterator[Calls]:
    import httpx2

    async with httpx2.AsyncClient(**_httpx_options(job, httpx2)) as client:
        yield like_httpx(client)


@asynccontextmanager
async def legacy(job: Job) -> AsyncIterator[Calls]:
    import httpx

    async with httpx.AsyncClient(**_httpx_options(job, httpx)) as client:
        yield like_httpx(client)


@asynccontextmanager
async def httpx_aiohttp(job: Job) -> AsyncIterator[Calls]:
    import httpx2
    from httpx_aiohttp.httpx2 import Httpx2AiohttpClient

    async with Httpx2AiohttpClient(**_httpx_options(job, httpx2)) as client:
        yield like_httpx(client)


@asynccontextmanager
async def aiohttp(job: Job) -> AsyncIterator[Calls]:
    import aiohttp as library

    connector = library.TCPConnector(limit=job.in_flight, ssl=tls(job) or True)
    timeout = library.ClientTimeout(total=SECONDS)
    async with library.ClientSession(job.url, connector=connector, timeout=timeout) as session:

        async def get(path: str = PET) -> None:
            async with session.get(path) as response:
                verified(response.status, response.headers["content-type"], await response.json())

        async def post(body: bytes = KIB) -> None:
            async with session.post("/orders", data=body, headers=OCTETS) as response:
                assert response.status == 200
                assert response.headers["content-type"] == "application/json"
                assert await response.json() == {"received": len(body)}

        async def download() -> None:
            async with session.get("/large") as response:
                assert response.status == 200
                assert response.headers["content-type"] == "application/octet-stream"
                assert len(await response.read()) == LARGE

        yield Calls(get, lambda: get("/held"), post, download, lambda: post(MIB))


@asynccontextmanager
async def pyreqwest(job: Job) -> AsyncIterator[Calls]:
    from datetime import timedelta

    from pyreqwest.client import ClientBuilder

    builder = ClientBuilder().base_url(job.url).no_proxy().timeout(timedelta(seconds=SECONDS))
    builder = builder.max_connections(job.in_flight).pool_max_idle_per_host(job.in_flight)
    if job.certificate is not None:
        builder = builder.add_root_certificate_pem(_read(job.certificate))
    async with builder.build() as client:

        async def get(path: str = PET) -> None:
            response = await client.get(path).build().send()
            verified(response.status, response.headers["content-type"], await response.json())

        async def post(body: bytes = KIB) -> None:
            request = client.post("/orders").header("Content-Type", "application/octet-stream").body_bytes(body)
            response = await request.build().send()
            assert response.status == 200
            assert response.headers["content-type"] == "application/json"
            assert await response.json() == {"received": len(body)}

        async def download() -> None:
            response = await client.get("/large").build().send()
            assert response.status == 200
            assert response.headers["content-type"] == "application/octet-stream"
            assert len(await response.bytes()) == LARGE

        yield Calls(get, lambda: get("/held"), post, download, lambda: post(MIB))


@asynccontextmanager
async def niquests(job: Job) -> AsyncIterator[Calls]:
    import niquests as library

    size = job.in_flight
    async with library.AsyncSession(base_url=job.url, pool_connections=size, pool_maxsize=size, timeout=SECONDS) as one:
        one.trust_env = False

        async def get(path: str = PET) -> None:
            response = await one.get(path)
            verified(response.status_code, response.headers["content-type"], response.json())

        async def post(body: bytes = KIB) -> None:
            response = await one.post("/orders", data=body, headers=OCTETS)
            assert response.status_code == 200
            assert response.headers["content-type"] == "application/json"
            assert response.json() == {"received": len(body)}

        async def download() -> None:
            response = await one.get("/large")
            assert response.status_code == 200
            assert response.headers["content-type"] == "application/octet-stream"
            assert len(response.content or b"") == LARGE

        yield Calls(get, lambda: get("/held"), post, download, lambda: post(MIB))


@asynccontextmanager
async def zapros(job: Job) -> AsyncIterator[Calls]:
    import zapros as library

    pool = {"max_connections_per_host": job.in_flight, "max_idle_connections_per_host": job.in_flight}
    handler = library.AsyncStdNetworkHandler(
        http1=pool,
        total_timeout=SECONDS,
        connect_timeout=SECONDS,
        read_timeout=SECONDS,
        write_timeout=SECONDS,
    )
    async with library.AsyncClient(handler, base_url=job.url) as client:

        async def get(path: str = PET) -> None:
            response = await client.get(path)
            verified(response.status, response.headers["content-type"], response.json)

        async def post(body: bytes = KIB) -> None:
            response = await client.post("/orders", body=body, headers=OCTETS)
            assert response.status == 200
            assert response.headers["content-type"] == "application/json"
            assert response.json == {"received": len(body)}

        async def download() -> None:
            response = await client.get("/large")
            assert response.status == 200
            assert response.headers["content-type"] == "application/octet-stream"
            assert len(response.content or b"") == LARGE

        yield Calls(get, lambda: get("/held"), post, download, lambda: post(MIB))


@asynccontextmanager
async def glued(job: Job) -> AsyncIterator[Calls]:
    import httpx2

    from holdfast.cli.demo.glued import GluedClient

    quiet()
    options = _httpx_options(job, httpx2)
    async with GluedClient(base_url=options.pop("base_url"), in_flight=job.in_flight, **options) as client:
        calls = like_httpx(client)
        yield Calls(calls.get, calls.held)


@asynccontextmanager
async def openai(job: Job) -> AsyncIterator[Calls]:
    import httpx2
    from openai import AsyncOpenAI

    async with httpx2.AsyncClient(**_httpx_options(job, httpx2)) as client:
        sdk = AsyncOpenAI(api_key="x", base_url=f"{job.url}/v1", http_client=client, max_retries=2)

        async def typed() -> None:
            model = await sdk.models.retrieve("m")
            assert (model.id, model.created, model.owned_by) == ("m", 1686935002, "us")

        async def held() -> None:
            assert (await sdk.get("../held", cast_to=dict)) == {"id": 7}

        yield Calls(typed, held, typed=typed)


def settings(job: Job, engine: str) -> dict[str, Any]:
    """Of Holdfast: every layer on. The limiter never waits; the cache is there, and asked for nothing."""
    return {
        "base_url": job.url,
        "engine": engine,
        "timeout": {"connect": 10.0, "read": SECONDS / 2, "write": SECONDS / 2, "pool": SECONDS},
        "deadline": SECONDS,
        "rate_limit": {"rate": 10_000_000.0, "burst": 10_000_000},
        "bulkhead": {"max_concurrency": job.in_flight, "acquisition_timeout": SECONDS},
        "verify_ssl": tls(job) or True,
        "trust_env": False,
    }


def holdfast(engine: str) -> Callable[[Job], AbstractAsyncContextManager[Calls]]:
    @asynccontextmanager
    async def opened(job: Job) -> AsyncIterator[Calls]:
        from holdfast import ClientConfig, ResilientClient

        quiet()
        async with ResilientClient(ClientConfig.model_validate(settings(job, engine))) as client:
            calls = like_httpx(client)
            if job.what == "typed":
                calls.typed = _typed(job, engine)
            yield calls

    return opened


def _typed(job: Job, engine: str) -> Call:
    from holdfast.service import Call as TypedCall
    from holdfast.service import Model, ServiceClient, ServiceSettings

    class ModelSettings(ServiceSettings, env_prefix="PEERS_"):
        url: str = job.url

        def client_settings(self) -> dict[str, Any]:
            return {**super().client_settings(), **settings(job, engine)}

    class Described(Model):
        id: str
        created: int
        object: str
        owned_by: str

    class Client(ServiceClient[ModelSettings]):
        def retrieve(self, model: str) -> TypedCall[Described]:
            return self.get(Described, "/v1/models/{model}", model=model)

    client = Client()

    async def typed() -> None:
        model = await client.retrieve("m")
        assert (model.id, model.created, model.owned_by) == ("m", 1686935002, "us")

    return typed


@dataclass(frozen=True)
class Contestant:
    """A client: the function that opens it, the packages it is made of, and how it is called in tables."""

    title: str
    opened: Callable[[Job], AbstractAsyncContextManager[Calls]]
    packages: tuple[str, ...]
    uvloop: bool = False
    without: frozenset[str] = frozenset()
    note: str = ""

    @property
    def ours(self) -> bool:
        return self.packages[0] == "holdfast"


BODIES = frozenset({"post", "download", "upload"})
CONTESTANTS = {
    "httpx2": Contestant("httpx2", bare, ("httpx2",), without=frozenset({"typed"})),
    "httpx": Contestant("httpx", legacy, ("httpx",), without=frozenset({"typed"})),
    "httpx2-aiohttp": Contestant(
        "httpx2 on httpx-aiohttp", httpx_aiohttp, ("httpx-aiohttp", "aiohttp", "httpx2"), without=frozenset({"typed"})
    ),
    "aiohttp": Contestant("aiohttp", aiohttp, ("aiohttp",), without=frozenset({"typed"})),
    "aiohttp-uvloop": Contestant(
        "aiohttp on uvloop", aiohttp, ("aiohttp", "uvloop"), uvloop=True, without=frozenset({"typed"})
    ),
    "pyreqwest": Contestant("pyreqwest", pyreqwest, ("pyreqwest",), without=frozenset({"typed"})),
    "pyreqwest-uvloop": Contestant(
        "pyreqwest on uvloop", pyreqwest, ("pyreqwest", "uvloop"), uvloop=True, without=frozenset({"typed"})
    ),
    "niquests": Contestant("niquests", niquests, ("niquests",), without=frozenset({"typed", "tls"})),
    "zapros": Contestant("zapros", zapros, ("zapros",), without=frozenset({"typed", "tls"})),
    "glued": Contestant(
        "httpx2, a stack glued by hand",
        glued,
        ("httpx2", "stamina", "purgatory", "aiolimiter"),
        without=BODIES | {"typed", "tls"},
    ),
    "openai": Contestant(
        "openai's typed client on httpx2",
        openai,
        ("openai", "httpx2"),
        without=BODIES | {"tls"},
        note="its call decodes to a model, and shows no header",
    ),
    "holdfast-httpx2": Contestant("Holdfast, engine httpx2", holdfast("httpx2"), ("holdfast", "httpx2")),
    "holdfast": Contestant("Holdfast, engine native", holdfast("native"), ("holdfast",)),
    "holdfast-uvloop": Contestant(
        "Holdfast, engine native on uvloop", holdfast("native"), ("holdfast", "uvloop"), uvloop=True
    ),
}


def open_client(job: Job) -> AbstractAsyncContextManager[Calls]:
    return CONTESTANTS[job.name].opened(job)


def version_of(name: str) -> str:
    return ", ".join(f"{package} {version(package)}" for package in CONTESTANTS[name].packages)

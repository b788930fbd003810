"""Endpoints of the failure test server.

Order on /msg: slot, timeout clock, validation, failure check, answers by request id, delay, new id. So a 422 uses up no
failure, a failure beats a kept answer, and a kept answer comes without the delay.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Annotated
from uuid import uuid4

from fastapi import FastAPI, Header, Path, Query
from starlette.responses import JSONResponse

from holdfast.servers.flaky.gate import Gate
from holdfast.servers.flaky.settings import Settings
from holdfast.servers.flaky.state import Answers, Failures
from holdfast.servers.service import Service, Storage, read_settings

__all__ = ["create_app", "service"]

logger = logging.getLogger(__name__)

Delay = Annotated[int, Query(ge=0, le=30_000, description="Milliseconds to wait before answering.")]
Count = Annotated[int, Path(ge=0, le=1000, description="How many of the next requests fail.")]
Duration = Annotated[int, Path(ge=0, le=3600, description="For how many seconds every request fails.")]
RequestId = Annotated[str | None, Header(description="Requests with the same id get the same answer.")]


def service(storage: Storage) -> Service:
    """The test server with its settings from the environment. It keeps nothing.

    Raises:
        ServerStartError: a setting cannot be used.
    """
    del storage
    settings = read_settings(Settings)
    logging.getLogger("holdfast.servers").setLevel(settings.log_level)
    return Service("Test server", settings.port, create_app(settings))


def create_app(settings: Settings | None = None) -> FastAPI:
    """The app with fresh state. All of its times are the running event loop's, so a virtual loop makes them virtual."""
    settings = settings or Settings()
    failures = Failures()
    answers = Answers(settings.cache_max_size, settings.cache_ttl_seconds)
    started = time.monotonic()

    app = FastAPI(title="Holdfast test server", redirect_slashes=False)
    app.add_middleware(
        Gate, slots=settings.max_concurrency, timeout=settings.request_timeout, exempt=frozenset({"/health"})
    )

    async def message(delay: int, key: str | None) -> JSONResponse:
        if failures.hit(_now()):
            return JSONResponse({"detail": "Induced server failure"}, status_code=500)
        if not key:
            return JSONResponse({"message_id": await _new_id(delay)})
        async with answers.lock(key):
            answer = answers.get(key, _now())
            if answer is None:
                answer = await _new_id(delay)
                answers.keep(key, answer, _now())
        return JSONResponse({"message_id": answer})

    @app.get("/msg")
    async def get_message(delay: Delay = 0, x_request_id: RequestId = None) -> JSONResponse:
        """Get a new message id, unless the request is one that fails."""
        return await message(delay, x_request_id)

    @app.post("/msg")
    async def post_message(
        delay: Delay = 0, x_request_id: RequestId = None, idempotency_key: RequestId = None
    ) -> JSONResponse:
        """The same, for clients that send something."""
        return await message(delay, idempotency_key or x_request_id)

    @app.post("/fail/count/{count}")
    async def fail_count(count: Count) -> JSONResponse:
        """Let the next requests for a message fail."""
        failures.fail_next(count)
        logger.info("the next %d requests fail", count)
        return JSONResponse({"message": f"The next {count} requests will fail", "fail_requests_count": count})

    @app.post("/fail/duration/{seconds}")
    async def fail_duration(seconds: Duration) -> JSONResponse:
        """Let all requests for a message fail for a time."""
        failures.fail_for(seconds, _now())
        logger.info("all requests of the next %d s fail", seconds)
        return JSONResponse({"message": f"All requests will fail for {seconds} seconds", "duration_seconds": seconds})

    @app.post("/fail/reset")
    async def fail_reset() -> JSONResponse:
        """Let no more requests fail."""
        failures.reset()
        logger.info("no more failures")
        return JSONResponse({"message": "No more induced failures", "status": "normal_operation"})

    @app.get("/fail/status")
    async def fail_status() -> JSONResponse:
        """Which of the coming requests fail."""
        remaining = failures.remaining(_now())
        failing = failures.count > 0 or remaining > 0
        status = {
            "fail_requests_count": failures.count,
            "fail_until_timestamp": time.time() + remaining if remaining else None,
            "duration_remaining_seconds": remaining,
            "currently_failing": failing,
        }
        return JSONResponse({"failure_status": status, "currently_failing": failing})

    @app.get("/health")
    async def health() -> JSONResponse:
        """Whether the server is there; it never fails."""
        return JSONResponse({"status": "ok", "uptime_seconds": time.monotonic() - started})

    return app


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _new_id(delay: int) -> str:
    if delay:
        await asyncio.sleep(delay / 1000)
    return str(uuid4())

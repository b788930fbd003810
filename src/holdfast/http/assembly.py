"""Puts the parts of one client together. A client and all views of it (`with_options`) share one assembly."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

import httpx2

from holdfast.config import ClientConfig
from holdfast.core.breaker import Breaker
from holdfast.core.budget import RetryBudget
from holdfast.core.bulkhead import Bulkhead
from holdfast.core.cache import Cache
from holdfast.core.effects import Flow, Job
from holdfast.core.events import BreakerChanged, Event, Observer
from holdfast.core.flow import Pipeline
from holdfast.core.limiter import Limiter
from holdfast.core.outcome import Stop
from holdfast.core.ports import Plan, Ports
from holdfast.http import context
from holdfast.http.auths import ClientCarrier
from holdfast.http.classify import Classifier
from holdfast.http.connections import Connections
from holdfast.http.content import BodyLimitError, read, read_sync, with_content
from holdfast.http.cookies import OriginJar
from holdfast.http.drive_async import Owner
from holdfast.http.failures import Failures
from holdfast.http.given import BadRequest
from holdfast.http.ids import RequestIds
from holdfast.http.options import ON_CALL, check_cached, check_defaults, merged
from holdfast.http.origins import BadURL, Origins
from holdfast.http.prepared import Prepared, describe
from holdfast.http.redirects import Redirects
from holdfast.http.requests import Composer
from holdfast.http.runtime import Runtime
from holdfast.http.stored import Storage, thaw
from holdfast.http.streams import guarded

_log = logging.getLogger("holdfast")


class Assembly:
    """Everything that the calls of one client share.

    Args:
        logs: the first observer; `verbosity` tells how much it wants to hear.
        record: takes the figures of every finished call.
        observers: called with every event, after `logs`.
        http_client, transport: the caller's own, see `Connections`.
        now, rand: the clock, which must be the monotonic one under the real drivers, and the randomness.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        logs: Callable[[Event], None],
        verbosity: Callable[[], int],
        record: Callable[[str, float, str, int, int], None],
        observers: tuple[Observer, ...] = (),
        http_client: httpx2.AsyncClient | httpx2.Client | None = None,
        transport: httpx2.AsyncBaseTransport | httpx2.BaseTransport | None = None,
        now: Callable[[], float] = time.monotonic,
        rand: Callable[[], float] | None = None,
    ) -> None:
        self.config = config
        self.runtime = Runtime((logs, *observers))
        self.failures = Failures(config.service_name, config.headers)
        self.origins = Origins(config.base_url or "")
        self.ids = RequestIds(config.request_id_prefix)
        self.random = random.Random()
        own, neutral = _default_headers(config, http_client)
        self.jar = OriginJar(self.origins.own)
        if http_client is not None:
            for cookie in http_client.cookies.jar:
                self.jar.set_cookie(cookie)
        self.connections = Connections(config, self.runtime, self.jar, http_client=http_client, transport=transport)
        classifier = Classifier(now, time.time)
        storage = Storage(time.time)
        fixed = next((value for name, value in own if name.lower() == b"cookie"), None)
        # A configured Cookie wins over the jar, as on a first request.
        cookies = self.jar.header_for if fixed is None else lambda _: fixed
        redirects = Redirects(self.origins, neutral, config.max_redirects, _load, cookies)
        ports = Ports(
            now=now,
            rand=rand or self.random.random,
            classify=classifier.classify,
            pace=classifier.pace,
            follow=redirects.follow,
            load=_load,
            discard=_discard,
            path=_path,
            freeze=storage.freeze,
            thaw=thaw,
            verbosity=(lambda: 2) if observers else verbosity,
            emit=self._emit,
            record=record,
        )
        breaker, retry, limit = config.circuit_breaker, config.retry, config.rate_limit
        breaker_policy, limiter_policy = breaker.policy(), limit.policy(max_pace=retry.max_retry_after)
        budget = retry.budget
        self.cache = Cache(config.cache.max_entries, config.cache.max_bytes)
        self.pipeline = Pipeline(
            ports,
            bulkhead=Bulkhead(config.bulkhead.max_concurrency, config.bulkhead.max_queue),
            limiter=lambda: Limiter(limiter_policy),
            breaker=(lambda key: Breaker(breaker_policy, self._changed(key))) if breaker.enabled else None,
            budget=(lambda: RetryBudget(budget.ratio, budget.window, budget.floor)) if budget is not None else None,
            cache=self.cache,
            count_attempts=breaker.counts == "attempts",
            pacing=limit.pace_from_headers,
        )
        self.composer = Composer(
            self.origins,
            own=own,
            neutral=neutral,
            ids=self.ids,
            timeouts=config.timeout.seconds(),
            plan=Plan(retry.policy(), config.bulkhead.acquisition_timeout, limit.max_wait),
            deadline=config.deadline,
            cap=config.max_response_bytes,
            follow_redirects=config.follow_redirects,
            server_deduplicates=config.server_deduplicates,
            cache=config.cache,
            jar=self.jar,
            auth=http_client.auth if http_client is not None else None,
            params=http_client.params if http_client is not None else None,
            deadline_header=config.send_deadline_header,
            circuit=breaker.key,
            lane=limit.key,
        )
        self.composer.policies.carrier = ClientCarrier(self.composer.job, self.pipeline.call, self.failures, now)
        _assemblies.add(self)

    # What a call is sent by

    def job(self, prepared: Prepared, *, sync: bool) -> Job:
        """The job of a call that is about to be sent.

        Raises:
            InvalidRequestError: the request cannot be built, or must not be sent.
        """
        method, url, options, ends = prepared
        if ends is None:
            job: Job | None = None
            if not options:
                job = self.composer.known_job(method, url, sync)
            elif len(options) == 1 and "cache_ttl" in options:
                job = self.composer.known_job(method, url, sync, options["cache_ttl"])
            if job is not None:
                return job
        try:
            return self.composer.job(method, url, options, stream=ends is not None, sync=sync)
        except BadRequest as error:
            error.__context__ = None  # an encoding error has what it could not encode in it, which may be a secret
            raise self.failures.refused(str(error), describe(prepared), error.field) from error.__cause__
        except (BadURL, TypeError) as error:
            raise self.failures.refused(str(error), describe(prepared), "url") from None

    def flow(self, prepared: Prepared, *, sync: bool) -> Flow[Any]:
        """The flow of a call that is about to be sent.

        Raises:
            InvalidRequestError: the request cannot be built, or must not be sent.
        """
        job = self.job(prepared, sync=sync)
        flow = self.pipeline.call(job)
        _, _, options, ends = prepared
        if ends is None:
            return flow
        return guarded(
            flow,
            job,
            self.runtime,
            self.failures,
            ends,
            deadline="deadline" in options,
            closed=lambda: self.pipeline.closed,
        )

    def start(
        self, prepared: Prepared, task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop, owner: Owner
    ) -> Coroutine[Any, Any, Any]:
        """Prepares a request. Returns what sends it in the current task of the running loop."""
        driver = self.connections.last
        if driver is None or driver.loop is not loop:
            driver = None  # it may be that of a closed loop, which is let go of now
            driver = self.connections.driver(loop)
        method, url, options, ends = prepared
        composer = self.composer
        if options or ends is not None or composer.caches:
            reply = self._kept(prepared, False)
            if reply is not None:
                return _finished(owner, reply)
            flow = self.flow(prepared, sync=False)
        else:
            # As `flow` begins, without calling it.
            job = composer.known_job(method, url, False)
            flow = self.flow(prepared, sync=False) if job is None else self.pipeline.call(job)
        return driver.drive(flow, task, owner)

    def drive(
        self, flow: Flow[Any], task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop, owner: Owner
    ) -> Coroutine[Any, Any, Any]:
        """What runs a flow of this client's calls in the current task of the running loop."""
        return self.connections.driver(loop).drive(flow, task, owner)

    def run_flow(self, flow: Flow[Any]) -> Any:
        """Runs a flow of this client's calls on this thread. Returns what it returns."""
        return self.connections.sync_driver().drive(flow)

    def run(self, prepared: Prepared) -> Any:
        """Prepares a request and sends it on this thread."""
        if prepared[2] or self.composer.caches:
            reply = self._kept(prepared, True)
            if reply is not None:
                return reply
        return self.connections.sync_driver().drive(self.flow(prepared, sync=True))

    def _kept(self, prepared: Prepared, sync: bool) -> Any:  # noqa: FBT001  # hot
        """The reply to a call, if it is so plain and so fresh in the cache that there is no need for a flow."""
        method, url, options, ends = prepared
        ttl = None
        if options:
            if len(options) > 1 or "cache_ttl" not in options:
                return None
            ttl = options["cache_ttl"]
        if ends is not None or url.__class__ is not str:
            return None
        known = self.composer.uses.get((method, url, sync, ttl))
        if known is None:
            return None
        runtime = self.runtime
        runtime.acquire()
        try:
            return self.pipeline.fresh(known)
        finally:
            runtime.release()
            if runtime.pending:
                runtime.settle()

    def error(self, stop: Stop) -> Exception:
        """The exception for a call that was stopped."""
        return self.failures.error(stop)

    def describe(self, prepared: Prepared) -> str:
        """Method and URL of a call for people."""
        return describe(prepared)

    def raw(self, prepared: Prepared) -> tuple[Assembly, Prepared]:
        """What makes a call for the response itself: it is one."""
        return self, prepared

    def changed(self, prepared: Prepared, options: Mapping[str, Any]) -> Prepared:
        """The same request with these options in front of its own."""
        check_defaults(options)
        method, url, before, ends = prepared
        check_cached(method, options)
        both, own = merged(before, options), merged(before.get(ON_CALL, before), options)
        del own[ON_CALL]
        return method, url, {**both, ON_CALL: own}, ends

    # Life

    @property
    def closed(self) -> bool:
        """Whether no more calls are taken."""
        return self.pipeline.closed

    def shut(self) -> None:
        """Takes no more calls, and fails those that wait."""
        with self.runtime:
            self.pipeline.close()

    def forked(self) -> None:
        """In the child of a fork: nothing here is in flight, and no connection is ours."""
        self.runtime.renew()
        self.connections.forget()
        self.ids.renew()
        self.random.seed()
        self.pipeline.reset()

    def _emit(self, event: Event) -> None:
        """Takes an event of a flow, which is stepped in the context of its caller."""
        serving = context.serving.get()
        self.runtime.pending.append(event if serving is None else replace(event, correlation_id=serving[0]))

    def _changed(self, key: str) -> Callable[[str, str, float], None]:
        """What a breaker reports its changes to."""
        origin = key

        def changed(old: str, new: str, retry_after: float) -> None:
            self.runtime.pending.append(BreakerChanged("", "", origin, old, new, retry_after))

        return changed


async def _finished(owner: Owner, reply: Any) -> Any:
    return owner.finish(reply)


_assemblies: weakref.WeakSet[Assembly] = weakref.WeakSet()


def _after_fork() -> None:
    for assembly in list(_assemblies):
        assembly.forked()


os.register_at_fork(after_in_child=_after_fork)

_accepted: list[str] = []


def _accept_encoding() -> str:
    """The content codings that httpx2 can decode here, which depends on what else is installed."""
    if not _accepted:
        probe = httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(200)), trust_env=False)
        _accepted.append(probe.headers["accept-encoding"])
    return _accepted[0]


def _default_headers(
    config: ClientConfig, http_client: httpx2.AsyncClient | httpx2.Client | None
) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
    """The headers for the own origin, and those that any other may see."""
    neutral = httpx2.Headers(
        {
            "Accept": "*/*",
            "Accept-Encoding": _accept_encoding(),
            "Connection": "keep-alive",
            "User-Agent": config.user_agent or "",
        }
    )
    own = httpx2.Headers(neutral)
    if http_client is not None:
        own.update(http_client.headers)
        if "user_agent" in config.model_fields_set:
            own["User-Agent"] = neutral["User-Agent"]
    own.update(config.headers)
    return own.raw, neutral.raw


def _path(job: Any) -> str:
    path: str = job.context.path
    return path


def _load(reply: Any) -> Any:
    """Reads what is left of a streamed reply, at most a little, and closes it. Under asyncio, an awaitable."""
    if not isinstance(reply, httpx2.Response) or reply.is_closed:
        return reply
    return _load_async(reply) if isinstance(reply.stream, httpx2.AsyncByteStream) else _load_sync(reply)


_MOST_LOADED = 256 * 1024  # bytes; of an error, or of a redirect, nobody wants to read more


async def _load_async(reply: httpx2.Response) -> httpx2.Response:
    try:
        return await read(reply, _MOST_LOADED)
    except (BodyLimitError, httpx2.RequestError):
        return with_content(reply, b"")


def _load_sync(reply: httpx2.Response) -> httpx2.Response:
    try:
        return read_sync(reply, _MOST_LOADED)
    except (BodyLimitError, httpx2.RequestError):
        return with_content(reply, b"")


def _discard(reply: Any) -> Any:
    """Closes a reply that nobody will look at. Under asyncio, an awaitable."""
    if not isinstance(reply, httpx2.Response) or reply.is_closed:
        return None
    return reply.aclose() if isinstance(reply.stream, httpx2.AsyncByteStream) else reply.close()

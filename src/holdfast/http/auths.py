"""Makes the core's authenticators: of httpx2's `Auth` objects, whose flows are public generators, and of providers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import httpx2

from holdfast import _portable
from holdfast import exceptions as ex
from holdfast.auth.forms import Answer, Undelivered, form_options, is_refusal
from holdfast.auth.provider import Carrier
from holdfast.core.effects import Failed, Flow, Io, Job
from holdfast.core.outcome import Reason, Stop
from holdfast.core.ports import Authenticator
from holdfast.http.engines.base import EngineError
from holdfast.http.failures import Failures
from holdfast.http.origins import Target, origin_of
from holdfast.http.redirects import acted_upon


def as_auth(auth: Any) -> httpx2.Auth:
    """What httpx2 accepts as `auth`, as an `Auth` object.

    Raises:
        TypeError: it is none of a (user, password) tuple, a callable or an `httpx2.Auth`.
    """
    if isinstance(auth, httpx2.Auth):
        return auth
    if isinstance(auth, tuple) and len(auth) == 2:
        return httpx2.BasicAuth(username=auth[0], password=auth[1])
    if callable(auth):
        return httpx2.FunctionAuth(auth)
    raise TypeError(f"auth must be (user, password), a callable or an httpx2.Auth, not {type(auth).__name__}")


class ClientCarrier(Carrier):
    """Sends the token requests of providers by the client whose calls they authenticate.

    Args:
        compose: makes a job, as `Composer.job` does.
        call: the flow of a job through all policies.
        failures: makes the error of one that was stopped.
        now: the client's clock.
    """

    def __init__(
        self,
        compose: Callable[..., Job],
        call: Callable[[Job], Flow[Any]],
        failures: Failures,
        now: Callable[[], float],
    ) -> None:
        self._compose = compose
        self._call = call
        self._failures = failures
        self._now = now

    def now(self) -> float:
        """See `Carrier.now`."""
        return self._now()

    def is_sync(self, job: Job) -> bool:
        """See `Carrier.is_sync`."""
        sync: bool = job.context.sync
        return sync

    def may_repeat(self, job: Job, reply: Any) -> bool:
        """See `Carrier.may_repeat`."""
        if not _may_repeat(job, reply):
            return False
        # What another origin refuses had no credentials.
        return not reply.history or origin_of(reply.request.url) == job.context.origin

    def post(
        self, job: Job, url: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> Flow[Answer | Undelivered]:
        """See `Carrier.post`."""
        try:
            aside = self._compose("POST", url, form_options(form, headers), stream=False, sync=self.is_sync(job))
        except ValueError as error:
            return Undelivered(self._failures.refused(str(error), "POST", "token_url"), local=False)
        # What the user says about calls of his own is not about this one.
        aside.plan = replace(aside.plan, retry=replace(aside.plan.retry, retry_if=None))
        aside.circuit = aside.lane = aside.announce = None
        aside.patience = min(aside.patience, job.deadline - self._now())
        result = yield from self._call(aside)
        if result.__class__ is not Stop:
            return Answer(result.status_code, result.content)
        outcome = result.outcome
        if result.reason is not Reason.OUTCOME or outcome is None:
            return Undelivered(self._failures.error(result), local=True)
        if is_refusal(outcome.status):
            return Answer(outcome.status, outcome.reply.content)
        return Undelivered(self._failures.error(result), local=not outcome.status and not result.spent)


class HttpxAuth(Authenticator):
    """One call's run of an `httpx2.Auth`. Every attempt starts its flow anew.

    A flow may send other requests in between, as for a new token; those go out as the flow made them.

    Raises:
        TypeError: the auth signs the body, and this one is not in memory.
    """

    identity = None

    def __init__(self, auth: httpx2.Auth, job: Job) -> None:
        if auth.requires_request_body and not isinstance(job.body, bytes):
            raise TypeError("this auth needs the whole body: pass bytes, text, JSON or form data, not a stream")
        self._auth = auth
        self._sync: bool = job.context.sync
        self._url: httpx2.URL = job.url
        self._plain: list[tuple[bytes, bytes]] | None = None
        self.secrets: frozenset[str] = frozenset()
        self._request: httpx2.Request | None = None
        self._flow: Any = None

    def apply(self, job: Job) -> Flow[None]:
        """Runs the flow to the job's own request, and takes over the headers of that, and the query."""
        if self._plain is None:
            self._plain = job.headers
        job.headers, job.url = self._plain, self._url
        stream = httpx2.ByteStream(job.body if isinstance(job.body, bytes) else b"")
        request = self._request = httpx2.Request(job.method, job.url, headers=job.headers, stream=stream)
        self._flow = self._auth.sync_auth_flow(request) if self._sync else self._auth.async_auth_flow(request)
        yield from self._advance(job, (yield Io(_first, self._flow, job.deadline)))

    def retry(self, job: Job, reply: Any) -> Flow[bool]:
        """Hands the reply to the flow. It may ask for one more request, as digest authentication does after a 401."""
        wanted = yield from self._advance(job, (yield Io(_next, (self._flow, reply), job.deadline)))
        return wanted and _may_repeat(job, reply)

    def _advance(self, job: Job, following: Any) -> Flow[bool]:
        """Sends what the flow asks for until that is the job's own request; False if it asks for nothing more."""
        while following is not None:
            if following.__class__ is Failed:
                raise following.error
            if self._is_own(following):
                if following.url != job.url:
                    if origin_of(following.url) != job.context.origin:
                        raise ValueError(f"auth moved the request to another origin, {origin_of(following.url)}")
                    job.url = following.url
                job.headers = following.headers.raw
                added = set(job.headers).difference(self._plain or ())
                self.secrets = frozenset(name.decode("latin-1") for name, _ in added)
                return True
            answer = yield _aside(job, following)
            if answer.__class__ is Failed:
                raise _unreachable(job, following, answer.error)
            following = yield Io(_next, (self._flow, answer), job.deadline)
        return False

    def _is_own(self, following: httpx2.Request) -> bool:
        own = self._request
        if following is own or own is None or isinstance(self._auth, httpx2.FunctionAuth):
            return True
        return following.method == own.method and following.url == own.url


def _may_repeat(job: Job, reply: httpx2.Response) -> bool:
    """Whether a request can be sent once more, and was not answered with a redirect to what it has done."""
    return job.replayable and not acted_upon(job, reply.history)


def _aside(job: Job, request: httpx2.Request) -> Job:
    """The job for a request that an auth flow makes by itself."""
    target = Target(request.url, job.context.origin if job.context.target.own else "")
    aside = Job(
        request.method,
        request.url,
        request.headers.raw,
        request.content,
        job.timeouts,
        job.plan,
        target.origin,
        f"{request.method} {target.path}",
        job.id,
        job.context.at(target),
    )
    aside.cap = job.cap
    aside.deadline = job.deadline
    return aside


def _unreachable(job: Job, request: httpx2.Request, error: Exception) -> Exception:
    """The exception for a request of an auth flow that got no answer."""
    cause = error.cause if isinstance(error, EngineError) and error.cause is not None else error
    late = isinstance(error, EngineError) and error.timed_out
    public: type[ex.HoldfastError] = ex.APITimeoutError if late else ex.APIConnectionError
    made = ex.narrow(public, public, type(cause))(
        f"{job.route} was not authenticated: the auth sent a request to {origin_of(request.url)}, which failed"
        f" ({type(cause).__name__}: {error}). Request id {job.id}.",
        request_id=job.id,
        attempts=job.attempts,
        may_have_executed=job.executed,
        endpoint=job.route,
    )
    _portable.redact_error(cause)
    made.__cause__ = cause
    return made


def _first(flow: Any) -> Any:
    return anext(flow, None) if inspect.isasyncgen(flow) else next(flow, None)


def _next(step: tuple[Any, Any]) -> Any:
    flow, reply = step
    if inspect.isasyncgen(flow):
        return _next_async(flow, reply)
    try:
        return flow.send(reply)
    except StopIteration:
        return None


async def _next_async(flow: Any, reply: Any) -> Any:
    try:
        return await flow.asend(reply)
    except StopAsyncIteration:
        return None

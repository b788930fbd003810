"""What a called action is, what may become of the call, and who makes it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Self
from uuid import UUID

import httpx2
from pydantic import TypeAdapter, ValidationError

from holdfast import HoldfastError, ResponseError, TooManyRedirectsError
from holdfast.config import TimeoutConfig
from holdfast.servers.fields import JsonObject
from holdfast.servers.integration.jsonschemas import violations
from holdfast.servers.integration.service_clients import CONNECT_SECONDS, ServiceClients
from holdfast.servers.outbound.addresses import AddressPolicy
from holdfast.servers.outbound.guard import Endpoint, ForbiddenEndpointError, Guard
from holdfast.servers.outbound.guarded_transport import (
    ATTEMPTS,
    Attempts,
    ForbiddenConnectionError,
    GuardedTransport,
)

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    from holdfast.servers.integration.settings import Settings

__all__ = ["HEALTH_SECONDS", "ActionFailedError", "ActionResult", "Health", "ServiceCaller", "Target"]

HEALTH_SECONDS = 5.0
"""For one look at the health of a service."""

AGAIN = frozenset({408, 429})
"""Statuses below 500 that ask for another try: no definite answer."""

MOST_TOLD = 5
"""Violations of an output schema that are told."""

_JSON_OBJECT: TypeAdapter[dict[str, Any]] = TypeAdapter(JsonObject)
_HEADER_VALUE = re.compile(r"[!-~]{1,200}")


@dataclass(frozen=True, slots=True)
class Target:
    """An action of a service, as it is registered.

    Attributes:
        service_id, name: of the service.
        endpoint: URL that the action's name is appended to.
        deduplicates: whether the service answers a repeated `Idempotency-Key` with its first result.
        action: name of the action.
        input_schema, output_schema: JSON Schemas of what it takes and gives.
        active: whether it may be called.
    """

    service_id: UUID
    name: str
    endpoint: str
    deduplicates: bool
    action: str
    input_schema: Any
    output_schema: Any
    active: bool = True


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What a service answered.

    Attributes:
        output: JSON object, valid under the output schema.
        attempts: HTTP requests that were sent.
    """

    output: dict[str, Any]
    attempts: int


@dataclass(frozen=True, slots=True)
class Health:
    """How a service answered a GET of its endpoint.

    Attributes:
        healthy: whether that was a 200.
        status_code: of the answer; None without one.
        seconds: how long it took.
        error: why it is not healthy, for people; None if it is.
        circuit: state of its circuit breaker in this server.
    """

    healthy: bool
    status_code: int | None
    seconds: float
    error: str | None
    circuit: str


class ActionFailedError(Exception):
    """An action was called and did not give its output, or could not be called.

    Attributes:
        message: what happened, for people; also `str(error)`.
        status: HTTP status of the last answer; None if there was none.
        attempts: HTTP requests that were sent.
        may_have_executed: whether the service may have acted on any of them.
        definite: the service gave an answer that a repetition under the same key would only repeat: a refusal, or an
            output that cannot be used.
    """

    def __init__(
        self, message: str, *, status: int | None, attempts: int, may_have_executed: bool, definite: bool
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.attempts = attempts
        self.may_have_executed = may_have_executed
        self.definite = definite


class ServiceCaller:
    """Calls actions of services, from `async with` to its end.

    Args:
        settings: of the server.
        guard: judges what is connected to; None makes one of the settings.
        tls: what certificates are checked with; None takes the system's.
    """

    def __init__(self, settings: Settings, *, guard: Guard | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.guard = guard or Guard(AddressPolicy(private=settings.private_allowed))
        self._tls = tls or httpx2.create_ssl_context()
        self._clients = ServiceClients(settings, self.guard, self._tls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._clients.aclose()

    def forget(self, service_id: UUID) -> None:
        """A service was changed or removed: its connections are closed when its calls have ended."""
        self._clients.forget(service_id)

    async def call(
        self,
        target: Target,
        input_data: dict[str, Any],
        *,
        key: str | None,
        correlation_id: str | None,
        timeout: float,  # noqa: ASYNC109 - the client keeps to it, and says what came of it
    ) -> ActionResult:
        """What an action makes of its input. It is called again where that is safe.

        Args:
            target: the action.
            input_data: sent as it is. Whether it fits the input schema is the caller's to check.
            key: sent as `Idempotency-Key`, in a form that fits into a header. None sends none, unless the service
                deduplicates: then one is made up.
            correlation_id: sent as `X-Correlation-ID`.
            timeout: seconds for all of it.

        Raises:
            ActionFailedError: there is no output, or one that does not fit the output schema.
        """
        if not target.active:
            _fail(target, "the service is INACTIVE, so nothing was sent")
        attempts = Attempts()
        headers = {"X-Correlation-ID": correlation_id} if correlation_id and _fits(correlation_id) else {}
        try:
            async with self._clients.of(
                target.service_id, name=target.name, endpoint=target.endpoint, deduplicates=target.deduplicates
            ) as client:
                response = await client.post(
                    f"/{target.action}",
                    json=input_data,
                    headers=headers,
                    idempotency_key=_sendable(key) if key else (None if target.deduplicates else False),
                    server_deduplicates=target.deduplicates,
                    deadline=timeout,
                    # Shorter than the deadline: a service that hangs is one that fails, and its circuit breaker has to
                    # learn of it. A deadline says nothing about the service.
                    timeout=TimeoutConfig(
                        connect=min(CONNECT_SECONDS, 0.9 * timeout), read=0.9 * timeout, write=0.9 * timeout
                    ),
                    extensions={ATTEMPTS: attempts},
                )
        except ForbiddenEndpointError as error:
            _fail(target, f"the endpoint {error}; nothing was sent")
        except HoldfastError as error:
            raise _failed(target, error, attempts) from error
        return ActionResult(_output(target, response, attempts), attempts.sent)

    async def health(self, target: Target) -> Health:
        """How a service answers a GET of its endpoint now. Its circuit breaker is not asked, and learns nothing."""
        began = time.monotonic()
        status: int | None = None
        error: str | None = None
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                status = await self._look(target.endpoint)
            if status != 200:
                error = f"GET {target.endpoint} was answered {status}, not 200"
        except TimeoutError:
            error = f"GET {target.endpoint} was not answered within {HEALTH_SECONDS:g} s"
        except ForbiddenEndpointError as refused:
            error = f"the endpoint {refused}"
        except (httpx2.HTTPError, httpx2.InvalidURL) as failure:
            error = f"GET {target.endpoint} failed: {str(failure) or type(failure).__name__}"
        seconds = time.monotonic() - began
        return Health(error is None, status, seconds, error, self._clients.circuit(target.service_id))

    async def _look(self, endpoint: str) -> int:
        transport = GuardedTransport(Endpoint.parse(endpoint), self.guard, self._tls)
        async with (
            httpx2.AsyncClient(transport=transport, trust_env=False, timeout=HEALTH_SECONDS) as client,
            # The body is not read: it may have no end.
            client.stream("GET", endpoint, follow_redirects=False) as response,
        ):
            return response.status_code


def _fail(target: Target, what: str) -> NoReturn:
    """Raises the failure of a call that was not made."""
    raise ActionFailedError(_message(target, what), status=None, attempts=0, may_have_executed=False, definite=False)


def _failed(target: Target, error: HoldfastError, attempts: Attempts) -> ActionFailedError:
    status, what = error.status_code, error.message
    if isinstance(error.__cause__, ForbiddenConnectionError):
        what = f"the guard refused a request: {error.__cause__}"
        # After a first request, it was a redirect that led there.
        definite = attempts.sent > 0
    elif isinstance(error, TooManyRedirectsError):
        definite = True
    elif isinstance(error, ResponseError):
        # One that broke off is another thing than one that is too large, or badly encoded.
        definite = not isinstance(error, httpx2.TransportError)
        what += " The limit of an answer is INTEGRATION_MAX_BODY_BYTES." if "max_response_bytes" in what else ""
    else:
        definite = status is not None and 400 <= status < 500 and status not in AGAIN
    return ActionFailedError(
        _message(target, what),
        status=status,
        attempts=attempts.sent,
        may_have_executed=error.may_have_executed,
        definite=definite,
    )


def _output(target: Target, response: httpx2.Response, attempts: Attempts) -> dict[str, Any]:
    """The output in an answer.

    Raises:
        ActionFailedError: there is none that can be used.
    """
    status = response.status_code
    try:
        if not response.is_success:
            raise ValueError(f"it was answered {status}, which is no success")
        output = _parsed(response.content)
        found = violations(target.output_schema, output)
        if found:
            told = "; ".join(f"{_where(path)}: {message}" for path, message in found[:MOST_TOLD])
            more = f"; and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
            raise ValueError(f"its output does not fit the output schema: {told}{more}")
    except ValueError as error:
        raise ActionFailedError(
            _message(target, str(error)), status=status, attempts=attempts.sent, may_have_executed=True, definite=True
        ) from error
    return output


def _parsed(content: bytes) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        ValueError: there is none that can be stored; says why.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        shown = f"{type(error).__name__}: {error}" if content else "the body is empty"
        raise ValueError(f"its answer is no JSON ({shown})") from error
    if not isinstance(value, dict):
        raise ValueError("its answer is JSON, but no object")  # noqa: TRY004 - one kind of error for all of this
    try:
        return _JSON_OBJECT.validate_python(value, strict=True)
    except ValidationError as error:
        why = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise ValueError(f"its answer is no JSON object that can be used: {why}") from error


def _where(path: tuple[str | int, ...]) -> str:
    return "output" + "".join(f"[{part!r}]" for part in path)


def _message(target: Target, what: str) -> str:
    return f"action {target.action!r} of service {target.name!r} failed: {what}"


def _fits(value: str) -> bool:
    return _HEADER_VALUE.fullmatch(value) is not None


def _sendable(key: str) -> str:
    """The key, or another one that stands for it: ids of steps may be long, and in any script."""
    return key if _fits(key) else "sha256:" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()

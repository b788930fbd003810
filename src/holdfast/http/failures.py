"""Turns the core's `Stop` into the exception that the caller sees: its classes, its attributes and its message."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from http import HTTPStatus
from typing import Any

import httpx2

from holdfast import _portable
from holdfast import exceptions as ex
from holdfast.core.effects import FOREVER, Job
from holdfast.core.outcome import Kind, Outcome, Reason, Stop
from holdfast.http.engines.base import EngineError
from holdfast.http.redirects import RedirectRefused
from holdfast.redaction import REDACTED, is_secret_header, redact_url

_BY_STATUS: dict[int, type[ex.HoldfastError]] = {
    400: ex.InvalidRequestError,
    401: ex.AuthenticationError,
    403: ex.AuthenticationError,
    404: ex.NotFoundError,
    408: ex.ServerTimeoutError,
    409: ex.ConflictError,
    422: ex.InvalidRequestError,
    429: ex.RateLimitError,
    502: ex.ServiceUnavailableError,
    503: ex.ServiceUnavailableError,
    504: ex.ServiceUnavailableError,
}

_HINTS: dict[type[ex.HoldfastError], str] = {
    ex.AuthenticationError: "Check the credentials and what they are allowed to do.",
    ex.RateLimitError: "Send less, or configure rate_limit so that the client keeps to the server's limit.",
    ex.PoolTimeoutError: "Raise bulkhead.max_concurrency or acquisition_timeout, or send less at once.",
    ex.CircuitOpenError: "The service has been failing: check its health.",
    ex.ClientClosedError: "Make a new client; a closed one stays closed.",
}

_PARTS = re.compile(r"[\s;,=]+")
_SHORTEST_SECRET = 8  # characters; what is shorter may be a word, such as Bearer
_MOST_DETAIL = 200  # characters of the server's own explanation


def class_of_status(status: int) -> type[ex.HoldfastError]:
    """The public class for an HTTP status of 400 and above."""
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    return ex.ServerError if status >= 500 else ex.APIStatusError


class Failures:
    """Makes the exceptions of one client.

    Args:
        service_name: what messages call the server; None for its origin.
        secret_headers: names of headers to redact besides those known as secret.
    """

    def __init__(self, service_name: str | None = None, secret_headers: Collection[str] = frozenset()) -> None:
        self._service = service_name
        self._secret = frozenset(secret_headers)

    def error(self, stop: Stop) -> ex.HoldfastError:
        """The exception for a call that ended with `stop`."""
        reason, outcome = stop.reason, stop.outcome
        if reason is Reason.OUTCOME and outcome is not None:
            return self._of_outcome(stop, outcome)
        job = stop.job
        details: dict[str, Any] = {}
        if reason is Reason.CIRCUIT_OPEN:
            cls: type[ex.HoldfastError] = ex.CircuitOpenError
            wait = stop.retry_after
            when = "until it is closed by hand" if wait is None or wait > 1e9 else f"for another {wait:.3g} s"
            what = f"Circuit breaker is OPEN {when}"
        elif reason is Reason.DEADLINE:
            cls = ex.DeadlineExceededError
            limit = f" of {job.patience:.3g} s" if job.patience < FOREVER else ""
            what = f"the deadline{limit} passed"
            if stop.why:
                what = f"{what} ({stop.why})"
            if outcome is not None:
                last = self._of_outcome(stop, outcome)
                details["last_error"] = last
                what = f"{what}; the last attempt ended with: {_first_clause(last, outcome, self._secrets(job))}"
        elif reason is Reason.CLOSED:
            cls, what = ex.ClientClosedError, "the client is closed"
        else:
            cls, what = ex.PoolTimeoutError, stop.why
        message = self._message(stop, what, cls, why="")
        error = cls(message, **self._facts(stop), **details)
        if outcome is not None:
            self._chain(job, error, self._cause(outcome))
        return error

    def refused(self, message: str, job_route: str, field: str | None = None) -> ex.InvalidRequestError:
        """The exception for a request that could not be built."""
        errors = {field: [message]} if field else {}
        return ex.InvalidRequestError(
            f"{job_route} was not sent: {message}", endpoint=job_route, field_errors=errors, may_have_executed=False
        )

    def quoted(self, job: Job, said: object) -> str:
        """What the server said, in one line: cut where it is long, and without the credentials that were sent."""
        return _one_line(said if isinstance(said, str) else json.dumps(said, default=str), self._secrets(job))

    def closed(self) -> ex.ClientClosedError:
        """The exception for using a closed client other than by a call."""
        return ex.ClientClosedError(f"the client is closed. {_HINTS[ex.ClientClosedError]}")

    def _of_outcome(self, stop: Stop, outcome: Outcome) -> ex.HoldfastError:
        cls, what = self._public(stop.job, outcome)
        details: dict[str, Any] = {}
        if issubclass(cls, ex.ServiceUnavailableError):
            details["service_name"] = self._service
        response = outcome.reply if isinstance(outcome.reply, httpx2.Response) else None
        if issubclass(cls, ex.InvalidRequestError) and response is not None:
            details.update(_validation(response))
        message = self._message(stop, what, cls, stop.why)
        facts = self._facts(stop)
        if outcome.retry_after is not None:
            facts["retry_after"] = outcome.retry_after
        if outcome.status:
            facts["status_code"] = outcome.status
        if stop.spent and stop.attempts > 1:
            facts["retries_spent"] = True
        if response is not None:
            narrowed = ex.narrow(cls, cls, httpx2.HTTPStatusError)
            return narrowed(message, response=response, **facts, **details)
        cause = self._cause(outcome)
        narrowed = ex.narrow(cls, cls, type(cause) if cause is not None else None)
        if cause is not None and hasattr(narrowed, "request"):
            facts["request"] = _request_of(stop.job)
        error = narrowed(message, **facts, **details)
        self._chain(stop.job, error, cause)
        return error

    def _chain(self, job: Job, error: ex.HoldfastError, cause: Exception | None) -> None:
        """Makes `cause` the cause of `error`, the credentials in its request masked."""
        if cause is not None:
            _portable.redact_error(cause, self._names(job))
            error.__cause__ = cause

    def _names(self, job: Job) -> frozenset[str]:
        """The names of the headers of a call that are secret besides those known as such."""
        return self._secret if job.auth is None else self._secret | job.auth.secrets

    def _secrets(self, job: Job) -> list[str]:
        """What was sent as credentials, longest first."""
        found: set[str] = set()
        names = self._names(job)
        for raw_name, raw_value in job.headers:
            if is_secret_header(raw_name.decode("latin-1"), names):
                value = raw_value.decode("latin-1")
                found.update(part for part in (value, *_PARTS.split(value)) if len(part) >= _SHORTEST_SECRET)
        return sorted(found, key=len, reverse=True)

    def _public(self, job: Job, outcome: Outcome) -> tuple[type[ex.HoldfastError], str]:
        """The public class of an outcome, and what happened in words."""
        kind, cause = outcome.kind, outcome.error
        said = _said(type(self._cause(outcome) or cause).__name__, cause) if cause is not None else ""
        if kind is Kind.REFUSED:
            if isinstance(cause, EngineError) and isinstance(cause.cause, RedirectRefused):
                return ex.TooManyRedirectsError, f"a redirect was not followed: {cause}"
            return ex.InvalidRequestError, f"the request cannot be sent: {cause}"
        if outcome.status:
            return class_of_status(outcome.status), _status_line(outcome, self._secrets(job))
        if kind is Kind.POOL:
            return ex.PoolTimeoutError, f"the connection pool gave no connection in time ({said})"
        if kind in (Kind.TRUNCATED, Kind.UNDECODABLE, Kind.UNUSABLE):
            return ex.ResponseError, f"the response cannot be used: {cause}"
        if outcome.timed_out:
            return ex.APITimeoutError, f"timed out ({said})"
        return ex.APIConnectionError, f"connection failed ({said})"

    def _facts(self, stop: Stop) -> dict[str, Any]:
        return {
            "request_id": stop.job.id,
            "attempts": stop.attempts,
            "may_have_executed": stop.may_have_executed,
            "endpoint": stop.job.route,
            "retry_after": stop.retry_after,
            "secret_headers": self._names(stop.job),
        }

    def _message(self, stop: Stop, what: str, cls: type[ex.HoldfastError], why: str) -> str:
        job = stop.job
        where = f"{self._service} ({job.key})" if self._service else job.key
        tries = f" after {stop.attempts} attempts" if stop.attempts > 1 else ""
        parts = [f"{job.route} on {where}{tries}: {what}"]
        if why:
            parts.append(f"Not retried: {why}" if not stop.spent else why[:1].upper() + why[1:])
        if stop.attempts == 0:
            parts.append("Nothing was sent")
        elif stop.may_have_executed and not job.idempotent:
            parts.append("The server may have executed it")
        hint = next((text for known, text in _HINTS.items() if issubclass(cls, known)), "")
        if stop.reason is Reason.CANNOT_WAIT:
            hint = ""  # why it must not says what to do
        text = ". ".join(part.rstrip(".") for part in parts) + f". Request id {job.id}."
        return f"{text} {hint}".rstrip()

    def _cause(self, outcome: Outcome) -> Exception | None:
        error = outcome.error
        if isinstance(error, EngineError):
            if isinstance(error.cause, (httpx2.RequestError, httpx2.InvalidURL)) or error.cause is None:
                return error.cause
            if isinstance(error.cause, RedirectRefused):
                return httpx2.TooManyRedirects(str(error.cause))
            return error.cause
        return error


def _first_clause(error: ex.HoldfastError, outcome: Outcome, secrets: list[str]) -> str:
    return _status_line(outcome, secrets) if outcome.status else _said(type(error).__name__, outcome.error)


def _said(name: str, error: object) -> str:
    """An exception by name and message. Many of httpx2's have no message, and stand with their name for it."""
    text = str(error)
    return name if text in ("", name) else f"{name}: {text}"


def _status_line(outcome: Outcome, secrets: list[str]) -> str:
    try:
        phrase = f" {HTTPStatus(outcome.status).phrase}"
    except ValueError:
        phrase = ""
    detail = _detail(outcome.reply, secrets)
    return f"{outcome.status}{phrase}" + (f" ({detail})" if detail else "")


def _detail(reply: Any, secrets: list[str]) -> str:
    """The server's own explanation, if it is one line of a known JSON shape."""
    body = _json(reply)
    if not isinstance(body, dict):
        return ""
    for name in ("detail", "message", "error", "title"):
        value = body.get(name)
        if isinstance(value, str) and value:
            return _one_line(value, secrets)
    return _one_line("; ".join(f"{field}: {said}" for field, said in _problems(body)), secrets)


def _one_line(text: str, secrets: list[str]) -> str:
    line = " ".join(text.split())
    for secret in secrets:
        line = line.replace(secret, REDACTED)  # servers quote the token that they refuse
    return line if len(line) <= _MOST_DETAIL else line[: _MOST_DETAIL - 1] + "…"


def _validation(response: httpx2.Response) -> dict[str, Any]:
    """Messages by field from a 422 of FastAPI's shape: ``{"detail": [{"loc": [...], "msg": ...}, ...]}``."""
    body = _json(response)
    if not isinstance(body, dict) or not isinstance(body.get("detail"), list):
        return {}
    fields: dict[str, list[str]] = {}
    for field, said in _problems(body):
        fields.setdefault(field, []).append(said)
    return {"field_errors": fields, "validation_errors": body["detail"]}


def _problems(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Field and message of each problem that an answer of FastAPI's shape lists."""
    listed = body.get("detail")
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, dict) and isinstance(item.get("loc"), list):
            # Only the first says in which part of the request it is: a field of the body may be called "path".
            path = item["loc"][1:] if item["loc"][:1] in (["body"], ["query"], ["path"], ["header"]) else item["loc"]
            yield ".".join(map(str, path)) or "body", str(item.get("msg", "invalid"))


def _json(reply: Any) -> Any:
    if not isinstance(reply, httpx2.Response) or "json" not in reply.headers.get("content-type", ""):
        return None
    try:
        return json.loads(reply.content)
    except (ValueError, httpx2.ResponseNotRead, RecursionError):
        return None


def _request_of(job: Job) -> httpx2.Request:
    return httpx2.Request(job.method, redact_url(str(job.url)), headers=job.headers, stream=httpx2.ByteStream(b""))

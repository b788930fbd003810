"""What a call came to: its exit code, and one JSON object for machines."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from holdfast.cli.body import as_json, pretty
from holdfast.cli.exits import Exit
from holdfast.redaction import redact_headers, redact_url

if TYPE_CHECKING:
    from collections.abc import Collection

    import httpx2

    from holdfast.cli.timeline import Attempt, Timeline
    from holdfast.exceptions import HoldfastError

__all__ = ["exit_code", "head_lines", "machine_report"]


def exit_code(error: HoldfastError | None) -> Exit:
    """The exit code for the end of a call; None for a good answer."""
    from holdfast.exceptions import DeadlineExceededError, InvalidRequestError

    if error is None:
        return Exit.OK
    if isinstance(error, DeadlineExceededError):
        return Exit.DEADLINE
    if error.status_code is not None:
        return Exit.FAILED
    return Exit.BAD_INPUT if isinstance(error, InvalidRequestError) else Exit.NO_ANSWER


def head_lines(response: httpx2.Response, secret: Collection[str]) -> list[str]:
    """Status line and headers of a response, without its secrets."""
    first = f"{response.http_version} {response.status_code} {response.reason_phrase}".rstrip()
    pairs = redact_headers(response.headers.multi_items(), secret)
    return [first, *(f"{name}: {value}" for name, value in pairs)]


def machine_report(
    timeline: Timeline,
    response: httpx2.Response | None,
    error: HoldfastError | None,
    *,
    method: str,
    url: str,
    secret: Collection[str],
    saved_to: str | None,
) -> str:
    """The report of ``--json``, on one line.

    Args:
        timeline: has seen the whole call.
        response: the last one, None if there was none.
        error: what the client raised, if it did.
        method: of the request.
        url: as it was asked for.
        secret: names of headers to mask besides those known as secret.
        saved_to: the file that holds the body, if one does; it is left out of the report then.
    """
    finished = timeline.finished
    encoding, body = (None, "null") if saved_to is not None else as_json(response)
    request = _request(response, error)
    code = exit_code(error)
    report: dict[str, Any] = {
        "ok": code is Exit.OK,
        "exit_code": int(code),
        "outcome": finished.outcome if finished is not None else "refused",
        "request": {
            "method": method,
            "url": redact_url(url),
            "headers": _headers(request.headers.multi_items(), secret) if request is not None else None,
        },
        "request_id": finished.request_id if finished is not None else None,
        "attempts": [_attempt(one) for one in timeline.attempts],
        "stopped_because": (finished.detail or None) if finished is not None else None,
        "may_have_executed": error.may_have_executed if error is not None else True,
        "redirects": [
            {"status": one.status_code, "url": redact_url(one.url)}
            for one in (response.history if response is not None else ())
        ],
        "status": None,
        "http_version": None,
        "url": None,
        "headers": None,
        "timings": {
            "total": round(finished.seconds if finished is not None else timeline.seconds, 6),
            "in_attempts": round(sum(one.seconds or 0.0 for one in timeline.attempts), 6),
            "in_waits": round(sum(one.wait or 0.0 for one in timeline.attempts), 6),
        },
        "error": None,
        "body_bytes": len(response.content) if response is not None else 0,
        "body_file": saved_to,
        "body_encoding": encoding,
    }
    if response is not None:
        report["status"] = response.status_code
        report["http_version"] = response.http_version
        report["url"] = redact_url(response.url)
        report["headers"] = _headers(response.headers.multi_items(), secret)
    if error is not None:
        report["error"] = {
            "type": type(error).__name__,
            "message": str(error),
            "retry_after": error.retry_after,
        }
    # The body goes in as it came, layout apart: read and written again, a number could lose digits.
    return pretty(json.dumps(report), None)[:-1] + f',"body":{body}}}'


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        **asdict(attempt),
        "started": round(attempt.started, 6),
        "seconds": None if attempt.seconds is None else round(attempt.seconds, 6),
        "status": attempt.status or None,
        "wait": None if attempt.wait is None else round(attempt.wait, 6),
    }


def _headers(items: list[tuple[str, str]], secret: Collection[str]) -> dict[str, str]:
    """By lower-case name; a repeated one joined (RFC 9110, section 5.3)."""
    found: dict[str, str] = {}
    for name, value in redact_headers(items, secret):
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _request(response: httpx2.Response | None, error: HoldfastError | None) -> httpx2.Request | None:
    """What was sent last. Requests of errors are redacted copies, and some errors have none."""
    if response is not None:
        return response.request
    found: httpx2.Request | None = getattr(error, "request", None)
    return found

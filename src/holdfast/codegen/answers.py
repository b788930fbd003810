"""Log lines about what the service answers."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from holdfast.service.endpoint import Answered
from holdfast.service.paging import Offset, Step
from holdfast.telemetry.logs import Logs

if TYPE_CHECKING:
    import httpx2

_PRIVATE: Final = frozenset(
    {
        "avatar_url",
        "email",
        "full_name",
        "github_user_id",
        "github_username",
        "logs",
        "metadata",
        "prompt",
        "result",
        "secret",
        "summary",
        "token",
    }
)
_HIDDEN: Final = "***"
_MOST: Final = 200  # characters


class AnswerLog:
    """Writes a line for each answer, at INFO.

    Args:
        logs: where it is written to.
        private: whether names, addresses, prompts and results are shown.
    """

    def __init__(self, logs: Logs, *, private: bool) -> None:
        self._logs = logs
        self._private = private

    def __call__(self, answered: Answered) -> None:
        """Writes the line for the answer to a call."""
        text = answered.quote(self._shown(answered.response))
        self._write(answered.endpoint, answered.response, text, request_id=answered.request_id)

    def page(self, response: httpx2.Response) -> None:
        """Writes the line for a page of a list."""
        text = self._shown(response)
        text = text if len(text) <= _MOST else text[: _MOST - 1] + "…"
        self._write(f"GET {response.url.path}", response, text)

    def _write(self, endpoint: str, response: httpx2.Response, text: str, **fields: Any) -> None:
        self._logs.write(logging.INFO, f"{endpoint} answered {response.status_code}: {text}", **fields)

    def _shown(self, response: httpx2.Response) -> str:
        try:
            body = response.json()
        except (ValueError, RecursionError):
            return f"{len(response.content)} bytes that are no JSON"
        return json.dumps(body if self._private else _masked(body), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class LoggedPages(Offset):
    """Pages whose answers are logged as they come."""

    log: AnswerLog | None = None

    def after(self, query: Mapping[str, Any], count: int, body: Any, response: httpx2.Response) -> Step | None:
        """See `Paging.after`."""
        if self.log is not None:
            self.log.page(response)
        return Offset.after(self, query, count, body, response)


def _masked(body: Any) -> Any:
    """JSON without the values that belong to somebody."""
    if isinstance(body, dict):
        return {
            name: _HIDDEN if name in _PRIVATE and value is not None else _masked(value) for name, value in body.items()
        }
    return [_masked(one) for one in body] if isinstance(body, list) else body

"""Log lines: one INFO line for a finished request, WARNING for a retry, ERROR only when retries are spent."""

from __future__ import annotations

import logging
import sys
from typing import Any

from holdfast.core.events import (
    AttemptFinished,
    AttemptStarted,
    BreakerChanged,
    CacheUsed,
    CallFinished,
    Event,
    RetryScheduled,
    SlotWaited,
    TokenWaited,
)

_DEBUG, _INFO, _WARNING, _ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR

_IDS = ("request_id", "correlation_id")
_levelled: set[str] = set()  # the loggers whose level was set here, and may be lowered again


class Logs:
    """An observer that writes log lines: through structlog if that is configured, else through `logging`.

    With `logging`, the fields of a line are attributes of its record, by the same names as in structlog.

    Args:
        name: of the logger.
        level: number of the lowest level that is logged. It becomes the level of the logger if that has none.
        include_request_id: whether lines and records tell the request id, and that of the request being served.
    """

    def __init__(self, name: str, level: int, *, include_request_id: bool = True) -> None:
        self._logger = logging.getLogger(name)
        self._name = name
        self._level = level
        self._with_id = include_request_id
        self._enabled = self._logger.isEnabledFor
        if self._logger.level == logging.NOTSET or (name in _levelled and level < self._logger.level):
            _levelled.add(name)
            self._logger.setLevel(level)

    def verbosity(self) -> int:
        """How much is wanted: 0 for warnings, 1 for finished calls too, 2 for everything."""
        if self._level > _INFO:
            return 0
        if "structlog" in sys.modules and _structlog() is not None:
            return 2 if self._level <= _DEBUG else 1
        # A level of the logger's own is quicker asked for than what it inherits, and most that are silent have one.
        if self._logger.level > _INFO or not self._enabled(_INFO):
            return 0
        return 2 if self._level <= _DEBUG and self._enabled(_DEBUG) else 1

    def __call__(self, event: Event) -> None:
        """Writes the line for an event, if its level is wanted."""
        level, text = _line(event)
        if level < self._level:
            return
        self._write(level, text, {name: getattr(event, name) for name in _fields(type(event))})

    def found(self, message: str, **fields: Any) -> None:
        """Writes a warning about the configuration."""
        self.write(_WARNING, f"configuration: {message}", **fields)

    def write(self, level: int, text: str, **fields: Any) -> None:
        """Writes a line that is about no event, if its level is wanted. It ends with `request_id`, if that is given."""
        if level >= self._level:
            self._write(level, text, fields)

    def _write(self, level: int, text: str, fields: dict[str, Any]) -> None:
        given = [fields.get(name) for name in _IDS]
        if not self._with_id:
            fields = {name: value for name, value in fields.items() if name not in _IDS}
        elif any(given):
            text = f"{text} [{' for '.join(id_ for id_ in given if id_)}]"
        structlog = _structlog()
        if structlog is not None:
            structlog.get_logger(self._name).log(level, text, **fields)
        elif self._enabled(level):
            self._logger.log(level, text, extra=fields)


def _structlog() -> Any:
    """structlog, if the program uses it and has configured it."""
    module = sys.modules.get("structlog")
    if module is not None and module.is_configured():
        return module
    return None


def _fields(cls: type[Event]) -> list[str]:
    return list(cls.__dataclass_fields__)


def _line(event: Event) -> tuple[int, str]:
    """The level and the text of an event."""
    route, origin = event.route, event.origin
    match event:
        case CallFinished(error=False):
            tries = f", {event.attempts} attempts" if event.attempts > 1 else ""
            return _INFO, f"{route} {event.status} in {event.seconds:.3f} s{tries}"
        case CallFinished():
            neutral = 400 <= event.status < 500 or event.outcome == "cancelled"
            level = _ERROR if event.spent else _INFO if neutral else _WARNING
            what = f" {event.status}" if event.status else ""
            why = f" ({event.detail})" if event.detail else ""
            tries = "1 attempt" if event.attempts == 1 else f"{event.attempts} attempts"
            return level, (
                f"{route} failed:{what} {event.outcome} after {tries} in {event.seconds:.3f} s on {origin}{why}"
            )
        case RetryScheduled():
            return _WARNING, f"{route} attempt {event.attempt} failed ({event.cause}), next in {event.delay:.2f} s"
        case BreakerChanged():
            level = _INFO if event.new == "closed" else _WARNING
            when = f", next probe in {event.retry_after:.3g} s" if event.new == "open" else ""
            return level, f"circuit breaker of {origin}: {event.old} -> {event.new}{when}"
        case AttemptStarted():
            return _DEBUG, f"{route} attempt {event.attempt} starts on {origin}"
        case AttemptFinished():
            what = f"{event.status} {event.outcome}" if event.status else event.outcome
            return _DEBUG, f"{route} attempt {event.attempt} ended: {what} in {event.seconds:.3f} s"
        case SlotWaited():
            how = "got a slot" if event.granted else "got no slot"
            return _DEBUG, f"{route} {how} of the bulkhead after {event.seconds:.3f} s"
        case TokenWaited():
            how = "waited for" if event.granted else "got no token of"
            return _DEBUG, f"{route} {how} the rate limiter ({event.seconds:.3f} s)"
        case CacheUsed():
            return _DEBUG, f"{route} answered from the cache ({event.how})"
        case _:
            return _DEBUG, f"{route} {type(event).__name__}"

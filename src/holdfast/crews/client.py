"""`CrewClient`, and the one that all of a process can share."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from holdfast.auth.internal import internal_auth
from holdfast.call import Call, returns_call
from holdfast.crews.config import CrewClientConfig
from holdfast.crews.exceptions import (
    CrewClientError,
    CrewExecutionError,
    CrewNotFoundError,
    CrewServiceUnavailableError,
)
from holdfast.crews.models import CrewResult, Crews, Execution, NewExecution, Trace
from holdfast.exceptions import APIConnectionError, HoldfastError, NotFoundError, RateLimitError
from holdfast.http.context import serving
from holdfast.parts import TimeoutConfig
from holdfast.service.client import ServiceClient
from holdfast.service.endpoint import Answered
from holdfast.service.errors import renamed, unreachable
from holdfast.service.shared import Shared
from holdfast.telemetry.logs import Logs

if TYPE_CHECKING:
    import httpx2

    from holdfast.core.events import Observer

__all__ = ["CrewClient", "close_crew_client", "get_crew_client"]

_MARGIN = 10.0  # seconds that the service has for its answer after a crew has used up its time
_LISTED = re.compile(r"Available crews:\s*\[([^\]]*)\]")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


class CrewClient(ServiceClient[CrewClientConfig]):
    """Executes crews. Its tokens are signed with the secret in its settings, kept for 23 hours, and renewed in time.

    Args:
        config: None reads the settings from the environment.
        auth: credentials in place of those tokens.
        http_client: see `ResilientClient`.
        transport: see `ResilientClient`.
        observers: see `ResilientClient`.

    Raises:
        pydantic.ValidationError: a setting is wrong; it is also a ValueError.
        TypeError: `config` is none.
        SigningKeyError: the secret is missing or short, in production; it is also a ValueError.
    """

    def __init__(
        self,
        config: CrewClientConfig | None = None,
        *,
        auth: Any = None,
        http_client: httpx2.AsyncClient | httpx2.Client | None = None,
        transport: httpx2.AsyncBaseTransport | httpx2.BaseTransport | None = None,
        observers: tuple[Observer, ...] | list[Observer] = (),
    ) -> None:
        config = CrewClientConfig() if config is None else config
        given: object = config
        if not isinstance(given, CrewClientConfig):
            raise TypeError(f"config must be a CrewClientConfig, such as CrewClientConfig(url=...), not {given!r:.100}")
        if auth is None:
            auth = internal_auth(config.api_secret_key, environment=config.environment)
        super().__init__(config, auth=auth, http_client=http_client, transport=transport, observers=observers)
        settings = self.resilient.config.logging
        self._logs = Logs(settings.logger_name, logging.getLevelNamesMapping()[settings.level])

    @property
    def config(self) -> CrewClientConfig:
        """The settings that the client was made with."""
        return self.settings

    def execute_crew(
        self,
        crew_name: str,
        inputs: Mapping[str, Any],
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Call[CrewResult]:
        """Executes a crew, and waits for its result.

        It is sent again after a failure to connect, a 429 or a 5xx. When it is unclear whether the crew has run, as
        after a timeout or a lost connection, it is sent again only if the settings say `server_deduplicates`.

        Args:
            crew_name: the crew.
            inputs: its input, which is sent as JSON.
            timeout: seconds that the crew may run; None for `default_crew_timeout`. The client waits 10 s longer for
                the answer, if `read_timeout` is not longer still.
            request_id: sent as X-Request-ID, to be found in logs; None for a new one.

        Raises:
            CrewNotFoundError: there is no such crew.
            CrewExecutionError: it ran and failed; carries what the service answered.
            CrewServiceUnavailableError: the service cannot be reached, or does not serve.
            CrewClientError: anything else.
        """
        settings = self.settings
        seconds = settings.default_crew_timeout if timeout is None else timeout
        new = NewExecution(crew_name=crew_name, inputs=_dict(inputs), timeout=seconds)
        read = max(settings.read_timeout, new.timeout + _MARGIN)
        steps = TimeoutConfig.model_validate({**settings.timeouts(), "read": read})
        limits = self.unless_given(timeout=steps, deadline=settings.patience(read))
        call = self.post(Execution, "/execute_crew", json=new, **limits, **_traced(request_id))
        return self.then(call, partial(self._finished, crew_name), partial(_of_crew, crew_name))

    def list_crews(self, request_id: str | None = None) -> Call[list[str]]:
        """The names of all crews."""
        return self.then(self.get(Crews, "/crews", **_traced(request_id)), lambda crews, _: list(crews.available_crews))

    def health_check(self, request_id: str | None = None) -> Call[dict[str, Any]]:
        """How the service is: its `status`, and what else it tells."""
        return self.get(dict[str, Any], "/health", **_traced(request_id))

    def translate(self, error: HoldfastError) -> HoldfastError:
        """Gives errors the classes of `holdfast.crews.exceptions`."""
        if isinstance(error, CrewClientError):
            return error
        error = unreachable(error, self.resilient.config.service_name)
        if isinstance(error, NotFoundError):
            return _not_found(error)
        unavailable = isinstance(error, APIConnectionError | RateLimitError)
        return renamed(error, CrewServiceUnavailableError if unavailable else CrewClientError)

    def _finished(self, crew_name: str, execution: Execution, answered: Answered) -> CrewResult:
        result: CrewResult = {
            **dict(execution),  # type: ignore[typeddict-item]  # what else the service answered
            "success": execution.success,
            "result": execution.result,
            "error": execution.error,
            "execution_time": execution.seconds,
            "total_time": answered.seconds,
            "crew_name": crew_name,
            "request_id": answered.request_id,
            "timestamp": execution.timestamp,
        }
        incoming = serving.get()
        facts = {
            "crew_name": crew_name,
            "success": execution.success,
            "execution_time": execution.seconds,
            "total_time": answered.seconds,
            "attempts": answered.attempts,
            "request_id": answered.request_id,
            "correlation_id": incoming[0] if incoming else "",
        }
        ran = answered.seconds if execution.seconds is None else execution.seconds
        if execution.success:
            self._logs.write(logging.INFO, f"Crew {crew_name!r} succeeded in {ran:.2f} s", **facts)
            return result
        said = answered.quote(execution.error) if execution.error else "it does not say why"
        what = f"Crew {crew_name!r} failed after {ran:.2f} s: {said.rstrip('.')}"
        self._logs.write(logging.ERROR, what, error=said, **facts)
        raise CrewExecutionError(
            f"{what}. {answered.endpoint}, request id {answered.request_id}.",
            crew_name=crew_name,
            result=result,
            request_id=answered.request_id,
            endpoint=answered.endpoint,
            attempts=answered.attempts,
            may_have_executed=True,
            response=answered.response,
        )


def _dict(value: Any) -> Any:
    """A mapping as a dict; what is none, for the model to refuse."""
    return dict(value) if isinstance(value, Mapping) else value


def _traced(request_id: str | None) -> dict[str, Any]:
    """The option for an id that was given."""
    return {} if request_id is None else Trace(request_id=request_id).model_dump()


def _of_crew(crew_name: str, error: HoldfastError) -> HoldfastError:
    """Says of an error which crew was to be executed."""
    if isinstance(error, CrewClientError):
        error.crew_name = crew_name
    if isinstance(error, CrewNotFoundError) and error.resource_type is None:
        error.resource_type, error.resource_id = "crew", crew_name
    return error


def _not_found(error: NotFoundError) -> CrewNotFoundError:
    try:
        detail = error.response.json()["detail"] if error.response is not None else None
    except (ValueError, LookupError, TypeError, RecursionError):  # it is no object of JSON, or has no such key
        detail = None
    if detail == "Not Found":  # what FastAPI says of a path that it does not know
        missing = f"{error.message} This server has no such endpoint: check the setting url (CREWS_SERVICE_URL)."
        return renamed(error, CrewNotFoundError, missing, resource_type="endpoint", resource_id=error.endpoint)
    listed = _LISTED.search(detail) if isinstance(detail, str) else None
    names = tuple(one or other for one, other in _QUOTED.findall(listed[1])) if listed else ()
    return renamed(error, CrewNotFoundError, available_crews=names)


_shared = Shared(CrewClient)


def get_crew_client() -> CrewClient:
    """The client that all of this process shares, with the settings of the environment; made when first asked for.

    Raises:
        ValueError: as for `CrewClient`.
    """
    return _shared.get()


@returns_call
def close_crew_client() -> Call[None]:
    """Closes the client that this process shares, if there is one: awaited, or in sync code by ``.result()``.

    Whoever asks for it then gets a new one.
    """
    return _shared.close()

"""What all parts of the client share: its settings, how often an operation is repeated, and its errors."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.call import Call
from holdfast.exceptions import HoldfastError
from holdfast.integration.config import Operation, ServiceIntegrationSettings
from holdfast.integration.translation import translated
from holdfast.service.client import ServiceClient

if TYPE_CHECKING:
    import httpx2

    from holdfast.core.events import Observer

R = TypeVar("R")

_OPERATIONS: tuple[Operation, ...] = ("create", "update", "delete", "read")


class IntegrationClient(ServiceClient[ServiceIntegrationSettings]):
    """The base of the parts, which `ServiceIntegrationClient` puts together; see there."""

    def __init__(
        self,
        base_url: str | None = None,
        timeout: float | None = None,
        *,
        settings: ServiceIntegrationSettings | None = None,
        auth: Any = None,
        http_client: httpx2.AsyncClient | httpx2.Client | None = None,
        transport: httpx2.AsyncBaseTransport | httpx2.BaseTransport | None = None,
        observers: tuple[Observer, ...] | list[Observer] = (),
    ) -> None:
        given = {"url": base_url, "timeout": timeout}
        known: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if settings is not None and known:
            raise TypeError(f"settings and {', '.join(known)} cannot be given together")
        made = ServiceIntegrationSettings(**known) if settings is None else settings
        super().__init__(made, auth=auth, http_client=http_client, transport=transport, observers=observers)
        self._policies = {one: {"retry": made.retry(one), "deadline": made.patience_for(one)} for one in _OPERATIONS}

    def translate(self, error: HoldfastError) -> HoldfastError:
        """Gives errors the classes of `holdfast.integration.exceptions`."""
        return translated(error, self.resilient.config.service_name)

    def options_of(self, operation: Operation) -> dict[str, Any]:
        """The options of an operation of this kind."""
        return self.unless_given(**self._policies[operation])

    def made_of(self, name: str, steps: Callable[[], Generator[Call[Any], Any, R]]) -> Call[R]:
        """A call of several, see `ServiceClient.steps`. `name`: of the method, for messages."""
        steps.__qualname__ = f"{type(self).__name__}.{name}"
        return self.steps(steps)


def listed(value: Any) -> Any:
    """What can be iterated over as a list; what cannot, and text, for the model to refuse."""
    return list(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)) else value


def mapped(value: Any) -> Any:
    """A mapping as a dict; what is none, for the model to refuse."""
    return dict(value) if isinstance(value, Mapping) else value

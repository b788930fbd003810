"""`ServiceIntegrationClient`, and the one that all of a process can share."""

from __future__ import annotations

from holdfast.call import Call, returns_call
from holdfast.integration.executions import Executions
from holdfast.integration.models import IntegrationHealth
from holdfast.integration.workflows import Workflows
from holdfast.service.readable import ReadCall
from holdfast.service.shared import Shared

__all__ = ["ServiceIntegrationClient", "close_service_integration_client", "get_service_integration_client"]


class ServiceIntegrationClient(Workflows, Executions):
    """Registers services, makes workflows of their actions, and executes both.

    What reads returns a `ReadCall`, which can be looked into without `await`, as ``client.get_workflows()["items"]``.

    Args:
        base_url: where the service is; None leaves it to the environment, and then to http://localhost:8005/api.
        timeout: seconds for every read and write of one attempt; None for 10, or what the environment says.
        settings: all settings in place of the arguments above.
        auth: see `ServiceClient`.
        http_client: see `ResilientClient`.
        transport: see `ResilientClient`.
        observers: see `ResilientClient`.

    Raises:
        pydantic.ValidationError: a setting is wrong; it is also a ValueError.
        TypeError: `settings` is given together with one of the first two.
    """

    def get_integration_health(self) -> ReadCall[IntegrationHealth]:
        """How the service itself is."""
        return self.readable(self.get(IntegrationHealth, "/health", **self.options_of("read")))


_shared = Shared(ServiceIntegrationClient)


def get_service_integration_client() -> ServiceIntegrationClient:
    """The client that all of this process shares, with the settings of the environment; made when first asked for.

    Raises:
        ValueError: as for `ServiceIntegrationClient`.
    """
    return _shared.get()


@returns_call
def close_service_integration_client() -> Call[None]:
    """Closes the client that this process shares, if there is one: awaited, or in sync code by ``.result()``.

    Whoever asks for it then gets a new one.
    """
    return _shared.close()

"""The part of the client that registers services, and executes their actions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.call import Call
from holdfast.integration.base import IntegrationClient, listed, mapped
from holdfast.integration.models import Action, Deleted, Service, ServiceHealth
from holdfast.integration.requests import ActionInput, ChangedService, NewService, Part, Status
from holdfast.service.paging import PageNumber
from holdfast.service.readable import ReadCall, ReadPagedCall


class Services(IntegrationClient):
    """Services and their actions."""

    def register_service(
        self,
        name: str,
        description: str = "",
        *,
        endpoint: str,
        actions: Iterable[Mapping[str, Any] | Action],
        metadata: Mapping[str, Any] | None = None,
        deduplicates: bool | None = None,
    ) -> Call[Service]:
        """Registers a service.

        Args:
            name: unique; by it workflows call the service.
            description: for people.
            endpoint: where it is. Its actions are below, by their names.
            actions: each with ``name``, and if you like ``description``, ``input_schema`` and ``output_schema``.
            metadata: kept with it.
            deduplicates: whether it executes a repeated ``Idempotency-Key`` once. Only then a request to it is repeated
                of which it is unclear whether it was executed.

        Raises:
            ValidationError: an argument, a schema or the endpoint is refused.
            ConflictError: the name is taken.
        """
        new = NewService(
            name=name,
            description=description,
            endpoint=endpoint,
            actions=listed(actions),
            metadata=mapped(metadata),
            deduplicates=deduplicates,
        )
        return self.post(Service, "/services", json=new, **self.options_of("create"))

    def update_service(
        self,
        service_id: str,
        name: str | None = None,
        description: str | None = None,
        endpoint: str | None = None,
        actions: Iterable[Mapping[str, Any] | Action] | None = None,
        metadata: Mapping[str, Any] | None = None,
        status: Status | None = None,
        *,
        deduplicates: bool | None = None,
    ) -> Call[Service]:
        """Changes what is given about a service, and nothing else. Workflows follow a new name.

        Raises:
            ResourceNotFoundError: there is no such service.
            ValidationError: an argument, a schema or the endpoint is refused.
            ConflictError: the name is taken, or a workflow uses an action that would be gone.
        """
        changed = ChangedService(
            name=name,
            description=description,
            endpoint=endpoint,
            actions=None if actions is None else listed(actions),
            metadata=mapped(metadata),
            deduplicates=deduplicates,
            status=status,
        )
        return self.put(
            Service, "/services/{service_id}", service_id=service_id, json=changed, **self.options_of("update")
        )

    def deregister_service(self, service_id: str) -> Call[Deleted]:
        """Removes a service.

        Raises:
            ResourceNotFoundError: there is no such service.
            ConflictError: workflows use it.
        """
        return self.delete(Deleted, "/services/{service_id}", service_id=service_id, **self.options_of("delete"))

    def get_service(self, service_id: str) -> ReadCall[Service]:
        """One service."""
        return self.readable(
            self.get(Service, "/services/{service_id}", service_id=service_id, **self.options_of("read"))
        )

    def get_services(self, status: Status | None = None, page: int = 1, per_page: int = 10) -> ReadPagedCall[Service]:
        """The services, newest first: a page of 1 to 100; ``async for`` and ``all()`` go on to the last page."""
        part = Part(status=status, page=page, per_page=per_page)
        return self.readable(
            self.pages(Service, "/services", paging=PageNumber(), query=part.body(), **self.options_of("read"))
        )

    def execute_service_action(
        self,
        service_id: str,
        action: str,
        input_data: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Call[dict[str, Any]]:
        """Executes one action of a service, and gives its output.

        The registry does the calling, and repeats what is safe to repeat; an action that takes longer than this
        client's timeout needs ``.with_options(timeout=...)``.

        Args:
            service_id: the service.
            action: the name of the action.
            input_data: sent to the service as it is. It must fit the action's `input_schema`.
            context: not sent to the service, but for its ``request_id``, by which its logs can be joined with yours.

        Raises:
            ValidationError: the input does not fit.
            ResourceNotFoundError: there is no such service, or no such action.
            ServiceActionError: the service failed, or its output does not fit.
        """
        new = ActionInput(input_data={} if input_data is None else mapped(input_data), context=mapped(context))
        path = "/services/{service_id}/actions/{action}"
        return self.post(
            dict[str, Any], path, service_id=service_id, action=action, json=new, **self.options_of("create")
        )

    def get_service_health(self, service_id: str) -> ReadCall[ServiceHealth]:
        """How a registered service is, asked for now. One that is not well is no error: its `status` says so."""
        path = "/services/{service_id}/health"
        return self.readable(self.get(ServiceHealth, path, service_id=service_id, **self.options_of("read")))

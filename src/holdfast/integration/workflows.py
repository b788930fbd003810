"""The part of the client that makes workflows, and checks them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import Any

from holdfast.call import Call
from holdfast.integration.base import listed, mapped
from holdfast.integration.exceptions import ValidationError
from holdfast.integration.graph import problems
from holdfast.integration.models import Deleted, Service, Workflow, WorkflowStep
from holdfast.integration.requests import ChangedWorkflow, CheckedSteps, NewWorkflow, Part, Status
from holdfast.integration.services import Services
from holdfast.service.pages import Page
from holdfast.service.paging import PageNumber
from holdfast.service.readable import ReadCall, ReadPagedCall


class Workflows(Services):
    """Workflows of the actions of services."""

    def create_workflow(
        self,
        name: str,
        description: str = "",
        *,
        steps: Iterable[Mapping[str, Any] | WorkflowStep],
        metadata: Mapping[str, Any] | None = None,
    ) -> Call[Workflow]:
        """Creates a workflow.

        Args:
            name: for people; several may have the same.
            description: for people.
            steps: each with ``id``, ``service`` and ``action`` (by their names), ``next`` (the id of the step after it;
                None for the last), and if you like ``timeout`` (seconds). Together they make one path.
            metadata: kept with it.

        Raises:
            ValidationError: steps are wrong; it names each. See `validate_workflow` to find out before.
        """
        new = NewWorkflow(name=name, description=description, steps=listed(steps), metadata=mapped(metadata))
        return self.post(Workflow, "/workflows", json=new, **self.options_of("create"))

    def update_workflow(
        self,
        workflow_id: str,
        name: str | None = None,
        description: str | None = None,
        steps: Iterable[Mapping[str, Any] | WorkflowStep] | None = None,
        metadata: Mapping[str, Any] | None = None,
        status: Status | None = None,
    ) -> Call[Workflow]:
        """Changes what is given about a workflow, and nothing else.

        Raises:
            ResourceNotFoundError: there is no such workflow.
            ValidationError: an argument is refused, or steps are wrong.
        """
        changed = ChangedWorkflow(
            name=name,
            description=description,
            steps=None if steps is None else listed(steps),
            metadata=mapped(metadata),
            status=status,
        )
        path = "/workflows/{workflow_id}"
        return self.put(Workflow, path, workflow_id=workflow_id, json=changed, **self.options_of("update"))

    def delete_workflow(self, workflow_id: str) -> Call[Deleted]:
        """Deletes a workflow.

        Raises:
            ResourceNotFoundError: there is no such workflow.
            ConflictError: it is being executed.
        """
        return self.delete(Deleted, "/workflows/{workflow_id}", workflow_id=workflow_id, **self.options_of("delete"))

    def get_workflow(self, workflow_id: str) -> ReadCall[Workflow]:
        """One workflow."""
        path = "/workflows/{workflow_id}"
        return self.readable(self.get(Workflow, path, workflow_id=workflow_id, **self.options_of("read")))

    def get_workflows(self, status: Status | None = None, page: int = 1, per_page: int = 10) -> ReadPagedCall[Workflow]:
        """The workflows, newest first: a page of 1 to 100; ``async for`` and ``all()`` go on to the last page."""
        part = Part(status=status, page=page, per_page=per_page)
        return self.readable(
            self.pages(Workflow, "/workflows", paging=PageNumber(), query=part.body(), **self.options_of("read"))
        )

    def validate_workflow(self, steps: Iterable[Mapping[str, Any] | WorkflowStep]) -> Call[None]:
        """Checks steps before a workflow is made of them: whether they make one path, and their actions exist.

        It reads the whole registry once, and creates nothing.

        Raises:
            ValidationError: names every step that is wrong.
        """
        given = CheckedSteps(steps=listed(steps)).steps

        def checking() -> Generator[Call[Any], Any, None]:
            actions: dict[str, set[str]] = {}
            position: str | None = None
            while True:
                listed = self.get_services(per_page=100)
                page: Page[Service] = yield listed if position is None else listed.resume(position)
                actions |= {service.name: {action.name for action in service.actions} for service in page}
                position = page.position
                if position is None:
                    break
            found = problems(given)
            for index, step in enumerate(given):
                if step.service not in actions:
                    what = f"no service is called {step.service!r}"
                    found.append((f"steps.{index}.service", f"step {step.id!r}: {what}"))
                elif step.action not in actions[step.service]:
                    what = f"the service {step.service!r} has no action {step.action!r}"
                    found.append((f"steps.{index}.action", f"step {step.id!r}: {what}"))
            if found:
                raise _invalid(f"{type(self).__name__}.validate_workflow", found)

        return self.made_of("validate_workflow", checking)


def _invalid(name: str, found: list[tuple[str, str]]) -> ValidationError:
    fields: dict[str, list[str]] = {}
    for field, message in found:
        fields.setdefault(field, []).append(message)
    said = "; ".join(message for _, message in found)
    return ValidationError(
        f"{name}: {said}",
        endpoint=name,
        field_errors=fields,
        validation_errors={field: "; ".join(messages) for field, messages in fields.items()},
        may_have_executed=False,
    )

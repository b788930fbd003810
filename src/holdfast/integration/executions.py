"""The part of the client that executes workflows, waits for them, and follows them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar

from holdfast.call import Call
from holdfast.integration.base import IntegrationClient, mapped
from holdfast.integration.exceptions import ServiceIntegrationError, WorkflowDeadlineError, WorkflowExecutionError
from holdfast.integration.following import ExecutionEvents
from holdfast.integration.models import EventBatch, Execution, WorkflowResult
from holdfast.integration.requests import Deadline, Events, ExecutionStatus, NewExecution, PartOfExecutions, Wait
from holdfast.service.errors import renamed
from holdfast.service.paging import PageNumber
from holdfast.service.poll import PollDeadlineError
from holdfast.service.readable import ReadCall, ReadPagedCall

T = TypeVar("T")

_LONGEST_WAIT = 30.0  # seconds that the service agrees to take its time with an answer
_BETWEEN = 0.1  # seconds between such answers: it does the waiting
_TOLERATED = 6  # polls that may fail in a row: enough to outlast a restart, and an open circuit breaker once
_A_MOMENT = 0.001  # seconds
_SHOWN = 300  # characters of what went wrong with an execution

_EXECUTION = "/executions/{execution_id}"
_EXECUTE = "/workflows/{workflow_id}/execute"


class Executions(IntegrationClient):
    """Executions of workflows."""

    def execute_workflow(
        self,
        workflow_id: str,
        input_data: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
    ) -> Call[WorkflowResult]:
        """Executes a workflow, waits until it has ended, and gives the output of its last step.

        It is started once, however often the request for it has to be repeated. The execution belongs to the service:
        cancelling this call, or losing it with its process, ends the waiting and not the execution; see
        `cancel_execution` and `wait_for_execution`.

        Args:
            workflow_id: the workflow.
            input_data: what the first step is given. Each other one is given the same, with the outputs of those before
                merged into it.
            context: kept with the execution. Its ``request_id`` is passed on to the services.
            timeout: seconds that the execution may take; then it fails.
            deadline: seconds to wait here; then it goes on alone. None: until it has ended.

        Raises:
            ValidationError: the input does not fit the first step.
            ResourceNotFoundError: there is no such workflow.
            ConflictError: it is inactive.
            WorkflowExecutionError: it failed, or was cancelled.
            WorkflowDeadlineError: it has not ended by the deadline.
        """
        limit = Deadline(deadline=deadline).deadline
        new = _new(input_data, context, timeout)
        options = self.options_of("create")
        if limit is not None:
            options["deadline"] = min(limit, self.settings.patience_for("create"))

        def executing() -> Generator[Call[Any], Any, WorkflowResult]:
            until = None if limit is None else self.now() + limit
            # Without a wait: while the service has not answered, losing it is losing the execution's id.
            execution: Execution = yield self.post(Execution, _EXECUTE, workflow_id=workflow_id, json=new, **options)
            return (yield from self._ending(execution.id, execution, until))

        return self.made_of("execute_workflow", executing)

    def start_workflow(
        self,
        workflow_id: str,
        input_data: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> Call[Execution]:
        """Starts a workflow as `execute_workflow` does, and does not wait for its end.

        What becomes of it, `follow`, `wait_for_execution` and `get_workflow_execution_status` tell.
        """
        new = _new(input_data, context, timeout)
        return self.post(Execution, _EXECUTE, workflow_id=workflow_id, json=new, **self.options_of("create"))

    def wait_for_execution(self, execution_id: str, *, deadline: float | None = None) -> Call[WorkflowResult]:
        """Waits until an execution has ended, and gives the output of its last step.

        Args:
            execution_id: the execution.
            deadline: seconds to wait; None: until it has ended.

        Raises:
            ResourceNotFoundError: there is no such execution.
            WorkflowExecutionError: it failed, or was cancelled.
            WorkflowDeadlineError: it has not ended by the deadline.
        """
        limit = Deadline(deadline=deadline).deadline

        def waiting() -> Generator[Call[Any], Any, WorkflowResult]:
            until = None if limit is None else self.now() + limit
            return (yield from self._ending(execution_id, None, until))

        return self.made_of("wait_for_execution", waiting)

    def follow(self, execution_id: str, *, after: int = 0) -> ExecutionEvents:
        """The events of an execution, as they happen, until it has ended.

        ::

            async for event in client.follow(execution_id):
                print(event.kind, event.step)

        None is lost and none comes twice, however often the connection does. A service that is away for long ends it
        with an error; `after` goes on from there.

        Args:
            execution_id: the execution.
            after: the number of the event after which it begins; 0 for all.
        """

        def ask(number: int) -> Call[EventBatch]:
            return self.made_of(
                "follow",
                lambda: self._patiently(
                    execution_id,
                    lambda: self.get_execution_events(execution_id, number, wait=self._wait()),
                    lambda batch: batch.done or bool(batch.events),
                ),
            )

        return ExecutionEvents(ask, after)

    def get_execution_events(
        self, execution_id: str, after: int = 0, *, wait: float = 0.0, limit: int = 100
    ) -> ReadCall[EventBatch]:
        """The events of an execution so far; `follow` gives them as they happen.

        Args:
            execution_id: the execution.
            after: the number of the event after which to begin; 0 for all.
            wait: seconds that the service waits for the first of them, 0 to 30; less than the client's timeout.
            limit: 1 to 1,000 of them.
        """
        query = Events(after=after, wait=wait, limit=limit).body()
        path = f"{_EXECUTION}/events"
        options = self.options_of("read")
        return self.readable(self.get(EventBatch, path, execution_id=execution_id, query=query, **options))

    def get_workflow_execution_status(self, execution_id: str, *, wait: float = 0.0) -> ReadCall[Execution]:
        """One execution: its status, and those of its steps.

        Args:
            execution_id: the execution.
            wait: seconds that the service waits for its end, 0 to 30; less than the client's timeout.
        """
        query = Wait(wait=wait).body()
        options = self.options_of("read")
        return self.readable(self.get(Execution, _EXECUTION, execution_id=execution_id, query=query, **options))

    def get_workflow_executions(
        self, workflow_id: str, status: ExecutionStatus | None = None, page: int = 1, per_page: int = 10
    ) -> ReadPagedCall[Execution]:
        """The executions of a workflow, newest first: a page of 1 to 100; ``async for`` and ``all()`` go on."""
        query = PartOfExecutions(status=status, page=page, per_page=per_page).body()
        path = "/workflows/{workflow_id}/executions"
        options = self.options_of("read")
        return self.readable(
            self.pages(Execution, path, paging=PageNumber(), query=query, workflow_id=workflow_id, **options)
        )

    def get_executions(
        self,
        workflow_id: str | None = None,
        status: ExecutionStatus | None = None,
        page: int = 1,
        per_page: int = 10,
    ) -> ReadPagedCall[Execution]:
        """The executions of all workflows, or of one; besides, as `get_workflow_executions`."""
        query = PartOfExecutions(workflow_id=workflow_id, status=status, page=page, per_page=per_page).body()
        return self.readable(
            self.pages(Execution, "/executions", paging=PageNumber(), query=query, **self.options_of("read"))
        )

    def cancel_execution(self, execution_id: str) -> Call[Execution]:
        """Ends an execution where it stands. What its steps have done stays done.

        Raises:
            ResourceNotFoundError: there is no such execution.
            ConflictError: it has ended already, other than by being cancelled.
        """
        return self.post(Execution, f"{_EXECUTION}/cancel", execution_id=execution_id, **self.options_of("update"))

    def resume_execution(self, execution_id: str) -> Call[Execution]:
        """Goes on with an execution that failed or was cancelled, at the first step that is not completed.

        Raises:
            ResourceNotFoundError: there is no such execution.
            ConflictError: it did neither.
        """
        return self.post(Execution, f"{_EXECUTION}/resume", execution_id=execution_id, **self.options_of("update"))

    def _wait(self, left: float | None = None) -> float:
        """Seconds that the service may take its time with an answer: less than it is waited for, and than are left."""
        timeout = self.answer_timeout()
        seconds = _LONGEST_WAIT if timeout is None else min(_LONGEST_WAIT, timeout / 2)
        return round(seconds if left is None else min(seconds, 0.8 * max(left, 0.0)), 3)

    def _patiently(
        self,
        execution_id: str,
        make: Callable[[], Call[T]],
        until: Callable[[T], bool],
        deadline: float | None = None,
    ) -> Generator[Call[T], Any, T]:
        """Asks until the answer is there, also over a restart of the service, which does most of the waiting itself."""
        try:
            found: T = yield self.poll(
                make, until=until, interval=_BETWEEN, factor=1.0, deadline=deadline, tolerate=_TOLERATED
            )
        except ServiceIntegrationError as error:
            error.execution_id = execution_id
            raise
        return found

    def _ending(
        self, execution_id: str, execution: Execution | None, until: float | None
    ) -> Generator[Call[Any], Any, WorkflowResult]:
        """Waits for the end of an execution. `until`: when to give up, on the clock of this client."""
        if execution is None or not execution.ended:
            # If no time is left, it has passed since the last look.
            left = None if until is None else max(until - self.now(), _A_MOMENT)
            try:
                execution = yield from self._patiently(
                    execution_id,
                    lambda: self.get_workflow_execution_status(
                        execution_id, wait=self._wait(None if until is None else until - self.now())
                    ),
                    lambda found: found.ended,
                    left,
                )
            except PollDeadlineError as late:
                raise _late(execution_id, late.last_result or execution, late) from None
        return _result(execution)


def _new(
    input_data: Mapping[str, Any] | None, context: Mapping[str, Any] | None, timeout: float | None
) -> NewExecution:
    given: Any = {} if input_data is None else mapped(input_data)
    return NewExecution(input_data=given, context=mapped(context), timeout=timeout)


def _result(execution: Execution) -> WorkflowResult:
    if execution.status == "COMPLETED":
        return WorkflowResult(execution)
    failure = execution.error
    step = failure.step if failure is not None else None
    said = failure.message if failure is not None else None
    how = "was cancelled" if execution.status == "CANCELLED" else "failed"
    where = f" at step {step!r}" if step is not None else ""
    line = " ".join((said or "").split())
    why = f": {line if len(line) <= _SHOWN else line[: _SHOWN - 1] + '…'}" if line else ""
    raise WorkflowExecutionError(
        f"the execution {execution.id} of workflow {execution.workflow_id} {how}{where}{why.rstrip('.')}."
        f" resume_execution({execution.id!r}) goes on from there. Request id {execution.request_id}.",
        execution_id=execution.id,
        step=step,
        error=said,
        status=execution.status,
        execution=execution,
        request_id=execution.request_id,
        may_have_executed=True,
    )


def _late(execution_id: str, execution: Execution | None, late: PollDeadlineError) -> WorkflowDeadlineError:
    cause = "" if late.last_error is None else f": {str(late.last_error).rstrip('.')}"
    if execution is None:
        said = f"nothing was heard of the execution {execution_id} by the deadline{cause}."
    else:
        failed = f", and then could not be{cause}" if cause else ""
        said = (
            f"the execution {execution_id} has not ended by the deadline; it was {execution.status} when last looked at"
            f"{failed}. It goes on."
        )
    message = f"{said} wait_for_execution({execution_id!r}) waits for it again."
    return renamed(late, WorkflowDeadlineError, message, execution_id=execution_id, execution=execution)

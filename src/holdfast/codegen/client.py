"""`AsyncCodegenClient`: users, organizations, repositories and agent runs of the Codegen API."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from holdfast.call import Call
from holdfast.codegen import monitoring
from holdfast.codegen.bulk import BulkTotals, batched
from holdfast.codegen.config import ClientConfig
from holdfast.codegen.endpoints import CodegenEndpoints
from holdfast.codegen.models import AgentRunResponse, UserResponse
from holdfast.codegen.requests import CreateAgentRunRequest, SourceType, Waiting
from holdfast.service.endpoint import Answered
from holdfast.service.health import HealthReport, check_health
from holdfast.service.pages import PagedCall

if TYPE_CHECKING:
    import httpx2

    from holdfast.codegen.webhooks import CodegenWebhooks
    from holdfast.core.events import Observer
    from holdfast.service.bulk import BulkResult, Progress
    from holdfast.service.webhooks import WebhookResult

__all__ = ["AsyncCodegenClient"]

M = TypeVar("M")

_TOLERATED = 6  # looks at a run that may fail in a row: enough to outlast a restart of the service


class AsyncCodegenClient(CodegenEndpoints):
    """The Codegen API. Also for sync code, where ``.result()`` stands in place of ``await``.

    An agent run costs money. So creating and resuming one is sent again only where it is certain that the service has
    not done it: where no connection came about, or after a 429 or 503. Otherwise the error says by
    `may_have_executed` that there may be a run.

    Calls that name no organization are about the one in the settings.

    Args:
        config: None reads the settings from the environment. Changing them later changes nothing.
        auth: credentials in place of the token in the settings.
        http_client: see `ResilientClient`.
        transport: see `ResilientClient`.
        observers: see `ResilientClient`.

    Raises:
        ConfigurationError: there is no token, or one that cannot be sent; it is also a ValueError.
        pydantic.ValidationError: a setting in the environment is wrong; it is also a ValueError.
        TypeError: `config` is none.
    """

    def __init__(
        self,
        config: ClientConfig | None = None,
        *,
        auth: Any = None,
        http_client: httpx2.AsyncClient | httpx2.Client | None = None,
        transport: httpx2.AsyncBaseTransport | httpx2.BaseTransport | None = None,
        observers: tuple[Observer, ...] | list[Observer] = (),
    ) -> None:
        super().__init__(config, auth=auth, http_client=http_client, transport=transport, observers=observers)
        # What all views of it share.
        self._bulks = BulkTotals()
        self._receivers: list[CodegenWebhooks] = []

    # Until a run has ended

    def wait_for_agent_run_completion(
        self,
        org_id: int | str | None = None,
        run_id: int | str = "",
        timeout: float | None = None,
        poll_interval: float | None = None,
        *,
        on_update: Callable[[AgentRunResponse], object] | None = None,
    ) -> Call[AgentRunResponse]:
        """Looks at an agent run until it has ended, and gives it however it has: `succeeded` and `failed` tell.

        It goes past the cache. A paused run has not ended, and neither has one with a status that is not known here.
        Failures of the service are outlasted, up to 6 in a row.

        Args:
            org_id: the organization.
            run_id: the run.
            timeout: seconds for the whole; None for `agent_run_timeout` of the settings.
            poll_interval: seconds between two looks; None for `agent_run_poll_interval` of the settings.
            on_update: called with what each look finds.

        Raises:
            TimeoutError: it had not ended in time. The run goes on; the error's `last_result` is how it was seen last.
            NotFoundError: there is no such run.
        """
        settings, org = self.settings, self._organization(org_id)
        waiting = Waiting(
            timeout=settings.agent_run_timeout if timeout is None else timeout,
            poll_interval=settings.agent_run_poll_interval if poll_interval is None else poll_interval,
        )

        def ended(run: AgentRunResponse) -> bool:
            if run.is_finished:
                self._forget_runs(org)  # what was kept is from before
            return run.is_finished

        return self.poll(
            self.get_agent_run(org, run_id),
            until=ended,
            interval=waiting.poll_interval,
            factor=1.0,
            deadline=waiting.timeout,
            on_update=on_update,
            tolerate=_TOLERATED,
        )

    # Streams

    def get_users_stream(self, org_id: int | str | None = None, *, page_size: int = 100) -> PagedCall[UserResponse]:
        """All users of an organization, for ``async for`` (and ``for`` in sync code): never more than a page in memory.

        It goes past the cache.

        Raises:
            ConfigurationError: streaming is switched off (``CODEGEN_ENABLE_STREAMING``).
        """
        self.settings.needs("streaming")
        return self.get_users(org_id, limit=page_size).with_options(cache_ttl=0)

    def get_all_agent_runs(
        self,
        org_id: int | str | None = None,
        *,
        user_id: int | None = None,
        source_type: SourceType | None = None,
        page_size: int = 100,
    ) -> PagedCall[AgentRunResponse]:
        """All agent runs of an organization, as `get_users_stream`.

        The list begins with the newest: a run that is created while it is walked over moves the others on by one, so
        that the last one of a page comes again as the first one of the next.
        """
        self.settings.needs("streaming")
        runs = self.list_agent_runs(org_id, user_id=user_id, source_type=source_type, limit=page_size)
        return runs.with_options(cache_ttl=0)

    # Bulks

    def bulk_get_users(
        self,
        org_id: int | str | None = None,
        user_ids: Iterable[int | str] = (),
        *,
        progress: Progress | None = None,
        workers: int | None = None,
        batch_size: int | None = None,
        stop_on_error: bool = False,
        deadline: float | None = None,
    ) -> Call[BulkResult[UserResponse]]:
        """Gets many users, one request each.

        One that fails does not stop the others: the result's `results` are in the order of the ids, None for those that
        failed, and its `errors` name them.

        Args:
            org_id: the organization.
            user_ids: a list, or any iterable.
            progress: called with the number of ids that are done and of all, such as a `holdfast.service.ProgressBar`.
            workers: calls at a time; None for `bulk_max_workers` of the settings.
            batch_size: ids after which it waits for all to be done; None for `bulk_batch_size` of the settings.
            stop_on_error: begins no further one after the first failure.
            deadline: seconds for the whole; None for no limit.

        Raises:
            BulkOperationError: it did not come to its end; it has the `result` so far.
            ConfigurationError: bulks are switched off (``CODEGEN_ENABLE_BULK_OPERATIONS``).
            TypeError, ValueError: an argument is wrong; the message names it.
        """
        org = self._organization(org_id)
        return self._bulk(
            user_ids, lambda id_: self.get_user(org, id_), progress, workers, batch_size, stop_on_error, deadline
        )

    def bulk_create_agent_runs(
        self,
        org_id: int | str | None = None,
        run_configs: Iterable[Mapping[str, Any] | CreateAgentRunRequest] = (),
        *,
        progress: Progress | None = None,
        workers: int | None = None,
        batch_size: int | None = None,
        stop_on_error: bool = False,
        deadline: float | None = None,
    ) -> Call[BulkResult[AgentRunResponse]]:
        """Creates many agent runs, as `bulk_get_users`.

        Args:
            org_id: the organization.
            run_configs: what each is made of, by the names of the arguments of `create_agent_run`. One that is wrong is
                a failure of its own, and not sent. Where the `exception` of a failure says `may_have_executed`, there
                may be a run.
            progress: as for `bulk_get_users`.
            workers: as for `bulk_get_users`.
            batch_size: as for `bulk_get_users`.
            stop_on_error: as for `bulk_get_users`.
            deadline: as for `bulk_get_users`.
        """
        org = self._organization(org_id)
        return self._bulk(
            run_configs,
            lambda config: self.create_agent_run_from(config, org),
            progress,
            workers,
            batch_size,
            stop_on_error,
            deadline,
        )

    # Webhooks

    def get_webhook_handler(self) -> CodegenWebhooks:
        """What verifies webhooks and calls the handlers that are registered there: one for the life of the client.

        Raises:
            ConfigurationError: webhooks are switched off (``CODEGEN_ENABLE_WEBHOOKS``).
        """
        from holdfast.codegen.webhooks import CodegenWebhooks

        self.settings.needs("webhooks")
        if not self._receivers:
            self._receivers.append(CodegenWebhooks(self.settings))
        return self._receivers[0]

    def process_webhook(
        self,
        payload: bytes | str | Mapping[str, Any],
        signature: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Call[WebhookResult]:
        """Verifies a webhook, and calls its handlers.

        Args:
            payload: the body as it came. A dict is verified as what `json.dumps` makes of it.
            signature: the header ``X-Hub-Signature-256``, or ``X-Signature``.
            headers: all headers of the request, in place of `signature`.

        Raises:
            WebhookError: it is not signed with `webhook_secret`, or malformed, too old, or seen before.
            ConfigurationError: webhooks are switched off.
        """
        return self.get_webhook_handler().process(payload, signature, headers)

    # What it can tell of itself

    def health_check(self) -> Call[HealthReport]:
        """How the API and this client's part of the way to it are: ``overall_status``, and ``checks`` by name.

        The checks are ``api_connectivity`` (the service is asked, past the cache), ``rate_limiting`` and
        ``circuit_breaker``, each with a ``status`` of "healthy", "degraded" or "unhealthy". A check that fails is part
        of the report, and raises nothing.
        """
        client, settings = self.resilient, self.settings
        return check_health(
            {
                "api_connectivity": self.then(self.get_current_user(), _connected),
                "rate_limiting": partial(monitoring.limiter_health, settings, client),
                "circuit_breaker": partial(monitoring.breaker_health, client),
            }
        )

    def get_metrics_summary(self) -> dict[str, Any]:
        """The figures of this client since it was made, as plain dicts and lists. Secrets are masked.

        ``client_config``; ``enabled_features``; ``engine`` that sends, "native" or "httpx2"; ``monitoring`` with
        ``performance_stats`` (counts of calls, answers from the cache included; ``error_rate`` in percent;
        ``average_response_time_ms``, ``p50``, ``p95``, ``p99`` in milliseconds, waits included), unless
        `enable_metrics` is off; ``cache``; ``rate_limiter``; ``circuit_breaker``; ``bulk_operations``; ``webhooks``
        once there is a handler for them.
        """
        found = monitoring.summary(self.settings, self.resilient)
        found["bulk_operations"] = {
            "enabled": self.settings.enable_bulk_operations,
            "max_workers": self.settings.bulk_max_workers,
            "batch_size": self.settings.bulk_batch_size,
            **self._bulks.to_dict(),
        }
        if self._receivers:
            found["webhooks"] = self._receivers[0].statistics().to_dict()
        return found

    def export_metrics(self, format: Literal["json", "prometheus"] = "json") -> str:  # noqa: A002  # as documented
        """The same as text: JSON with a ``timestamp`` (Unix seconds), or the text format of Prometheus.

        Raises:
            ValueError: there is no such format.
        """
        wanted: object = format
        if wanted == "json":
            return json.dumps({"timestamp": time.time(), **self.get_metrics_summary()}, indent=2, default=str)
        if wanted == "prometheus":
            return monitoring.prometheus(self.get_metrics_summary())
        raise ValueError(f"there is no format {wanted!r}: metrics are exported as 'json' or 'prometheus'")

    def _bulk(
        self,
        items: Iterable[Any],
        make: Callable[[Any], Call[M]],
        progress: Progress | None,
        workers: int | None,
        batch_size: int | None,
        stop_on_error: bool,  # noqa: FBT001  # only passed through
        deadline: float | None,
    ) -> Call[BulkResult[M]]:
        self.settings.needs("bulk_operations")
        return batched(
            self,
            items,
            make,
            self._bulks,
            workers=self.settings.bulk_max_workers if workers is None else workers,
            batch_size=self.settings.bulk_batch_size if batch_size is None else batch_size,
            progress=progress,
            stop_on_error=stop_on_error,
            deadline=deadline,
        )


def _connected(user: UserResponse, answered: Answered) -> dict[str, Any]:
    return {"status": "healthy", "user": user.github_username, "attempts": answered.attempts}

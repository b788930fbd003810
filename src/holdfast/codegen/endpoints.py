"""`CodegenEndpoints`: the endpoints of the Codegen API, one method each."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from holdfast.auth.static import BearerAuth
from holdfast.call import Call
from holdfast.codegen.answers import AnswerLog, LoggedPages
from holdfast.codegen.config import ClientConfig
from holdfast.codegen.exceptions import ConfigurationError, NotFoundError
from holdfast.codegen.models import (
    AgentRunResponse,
    AgentRunWithLogsResponse,
    OrganizationResponse,
    RepositoryResponse,
    UserResponse,
)
from holdfast.codegen.requests import (
    AgentType,
    CreateAgentRunRequest,
    Part,
    PartOfLogs,
    PartOfRuns,
    ResumeAgentRunRequest,
    SourceType,
    path_id,
    run_request,
    whole,
)
from holdfast.codegen.translation import translated
from holdfast.exceptions import HoldfastError
from holdfast.parts import RetryConfig
from holdfast.service.client import ServiceClient
from holdfast.service.endpoint import Answered
from holdfast.service.pages import Page, PagedCall
from holdfast.telemetry.logs import Logs

if TYPE_CHECKING:
    import httpx2

    from holdfast.core.events import Observer
    from holdfast.http.options import RequestOptions

M = TypeVar("M")

_USERS, _ORGANIZATIONS, _RUNS = 600.0, 1800.0, 60.0  # seconds that answers about them are kept

_RUN = "/organizations/{org_id}/agent/run"


class CodegenEndpoints(ServiceClient[ClientConfig]):
    """What is one request of the Codegen API; for users there is `AsyncCodegenClient`.

    Args:
        config: see `AsyncCodegenClient`.
        auth: see `AsyncCodegenClient`.
        http_client: see `ResilientClient`.
        transport: see `ResilientClient`.
        observers: see `ResilientClient`.
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
        config = ClientConfig() if config is None else config
        given: object = config
        if not isinstance(given, ClientConfig):
            raise TypeError(f"config must be a holdfast.codegen.ClientConfig, not {type(given).__name__}")
        if auth is None:
            try:
                auth = BearerAuth(config.token)
            except ConfigurationError:
                raise
            except ValueError as error:
                raise ConfigurationError(f"api_token (CODEGEN_API_TOKEN) cannot be sent: {error}") from None
        own = config.model_copy()
        super().__init__(own, auth=auth, http_client=http_client, transport=transport, observers=observers)
        level = logging.getLevelNamesMapping()["DEBUG" if own.debug_mode else own.log_level]
        answers = AnswerLog(Logs("holdfast.codegen", level), private=own.log_sensitive_data)
        self._answers = answers if own.log_responses else None

    @property
    def config(self) -> ClientConfig:
        """The settings that the client was made with."""
        return self.settings

    # Users, organizations, repositories

    def get_current_user(self) -> Call[UserResponse]:
        """The user that the token belongs to."""
        return self._asked(self.get(UserResponse, "/users/me", **self._kept(_USERS, "users")))

    def get_users(self, org_id: int | str | None = None, skip: int = 0, limit: int = 100) -> PagedCall[UserResponse]:
        """The users of an organization: a page of up to 100, and the walk over all pages from there.

        Args:
            org_id: the organization.
            skip: users before the page.
            limit: users on it.
        """
        kept = self._kept(_USERS, "users")
        return self._listed(UserResponse, "/organizations/{org_id}/users", Part(skip=skip, limit=limit), org_id, kept)

    def get_user(self, org_id: int | str | None = None, user_id: int | str = "") -> Call[UserResponse]:
        """One user of an organization.

        Raises:
            NotFoundError: there is none with this id.
        """
        org, user = self._organization(org_id), path_id("user_id", user_id)
        path = "/organizations/{org_id}/users/{user_id}"
        call = self.get(UserResponse, path, org_id=org, user_id=user, **self._kept(_USERS, "users"))
        return self._asked(call, ("user", user))

    def get_organizations(self, skip: int = 0, limit: int = 100) -> PagedCall[OrganizationResponse]:
        """The organizations that the token has access to, as `get_users`."""
        part = Part(skip=skip, limit=limit)
        kept = self._kept(_ORGANIZATIONS, "organizations")
        return self.pages(OrganizationResponse, "/organizations", paging=self._paging(), query=part.body(), **kept)

    def get_organization(self, org_id: int | str | None = None) -> Call[OrganizationResponse]:
        """One organization. The service has no endpoint for one: it is looked up in the list of all.

        Raises:
            NotFoundError: the token has no access to one with this id.
        """
        org = self._organization(org_id)
        return self.steps(partial(self._found, org))

    def get_repositories(
        self, org_id: int | str | None = None, skip: int = 0, limit: int = 100
    ) -> PagedCall[RepositoryResponse]:
        """The repositories of an organization, as `get_users`."""
        kept, part = self._kept(self.settings.cache_ttl_seconds, "repositories"), Part(skip=skip, limit=limit)
        return self._listed(RepositoryResponse, "/organizations/{org_id}/repos", part, org_id, kept)

    # Agent runs

    def create_agent_run(
        self,
        org_id: int | str | None = None,
        prompt: str = "",
        *,
        images: list[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        repo_id: int | None = None,
        model: str | None = None,
        agent_type: AgentType | None = None,
    ) -> Call[AgentRunResponse]:
        """Creates an agent run, which begins by itself. For when it is sent again, see the class.

        Args:
            org_id: the organization that it is made in, and paid by.
            prompt: what the agent is to do: 1 to 100,000 characters.
            images: data URIs, such as ``"data:image/png;base64,..."``.
            metadata: any JSON object, kept with the run.
            repo_id: the repository that it is about.
            model: the model; None for the organization's.
            agent_type: ``"codegen"`` or ``"claude_code"``; None for the organization's.

        Raises:
            ValidationError: an argument is wrong; `field_errors` tells which. Nothing was sent, or nothing done.
            QuotaExceededError: the runs of the billing plan are used up.
        """
        new = CreateAgentRunRequest(
            prompt=prompt,
            images=images,
            metadata=_dict(metadata),
            repo_id=repo_id,
            model=model,
            agent_type=agent_type,
        )
        return self._created(self._organization(org_id), new)

    def create_agent_run_from(
        self, config: CreateAgentRunRequest | Mapping[str, Any], org_id: int | str | None = None
    ) -> Call[AgentRunResponse]:
        """Creates an agent run of what a mapping has by the names of the arguments of `create_agent_run`."""
        return self._created(self._organization(org_id), run_request(config))

    def get_agent_run(self, org_id: int | str | None = None, run_id: int | str = "") -> Call[AgentRunResponse]:
        """One agent run, as it was up to 60 s ago. `wait_for_agent_run_completion` looks at it as it is.

        Raises:
            NotFoundError: there is none with this id.
        """
        org, run = self._organization(org_id), path_id("run_id", run_id)
        call = self.get(
            AgentRunResponse, _RUN + "/{run_id}", org_id=org, run_id=run, **self._kept(_RUNS, f"runs of {org}")
        )
        return self._asked(call, ("agent run", run))

    def list_agent_runs(
        self,
        org_id: int | str | None = None,
        *,
        user_id: int | None = None,
        source_type: SourceType | None = None,
        skip: int = 0,
        limit: int = 100,
    ) -> PagedCall[AgentRunResponse]:
        """The agent runs of an organization, newest first; as `get_users`.

        Args:
            org_id: the organization.
            user_id: only those that this user has started.
            source_type: only those that were started from there, such as ``"API"`` or ``"GITHUB"``.
            skip: runs before the page.
            limit: runs on it.
        """
        part = PartOfRuns(user_id=user_id, source_type=source_type, skip=skip, limit=limit)
        kept = self._kept(_RUNS, f"runs of {self._organization(org_id)}")
        return self._listed(AgentRunResponse, _RUN + "s", part, org_id, kept)

    def resume_agent_run(
        self,
        org_id: int | str | None = None,
        run_id: int | str = "",
        prompt: str = "",
        *,
        images: list[str] | None = None,
    ) -> Call[AgentRunResponse]:
        """Has an agent run go on, with what is to be done now. For when it is sent again, see the class.

        Raises:
            NotFoundError: there is no such run.
            ValidationError: as for `create_agent_run`.
        """
        new = ResumeAgentRunRequest(agent_run_id=whole(run_id), prompt=prompt, images=images)
        org = self._organization(org_id)
        call = self.post(AgentRunResponse, _RUN + "/resume", org_id=org, json=new)
        return self._asked(call, ("agent run", str(new.agent_run_id)), changes=org)

    def get_agent_run_logs(
        self,
        org_id: int | str | None = None,
        run_id: int | str = "",
        *,
        skip: int = 0,
        limit: int = 100,
        reverse: bool = False,
    ) -> Call[AgentRunWithLogsResponse]:
        """An agent run with a page of its log, of up to 100 entries; oldest first, unless `reverse`.

        Raises:
            NotFoundError: there is no such run.
        """
        org, run = self._organization(org_id), path_id("run_id", run_id)
        part = PartOfLogs(skip=skip, limit=limit, reverse=reverse)
        kept = self._kept(_RUNS, f"runs of {org}")
        path = f"/alpha{_RUN}/{{run_id}}/logs"
        call = self.get(AgentRunWithLogsResponse, path, org_id=org, run_id=run, query=part.body(), **kept)
        return self._asked(call, ("agent run", run))

    # For all of it

    def with_options(self, **options: Unpack[RequestOptions]) -> Self:
        """See `ServiceClient.with_options`. A `retry` that does not say what to replay keeps to what is safe."""
        retry = options.get("retry")
        if isinstance(retry, RetryConfig) and "replay" not in retry.model_fields_set:
            options["retry"] = retry.model_copy(update={"replay": "when_safe"})
        return super().with_options(**options)

    def translate(self, error: HoldfastError) -> HoldfastError:
        """Gives errors the classes of `holdfast.codegen.exceptions`."""
        return translated(error, self.resilient.config.service_name)

    def _organization(self, given: int | str | None) -> str:
        return path_id("org_id", self.settings.organization(given))

    def _kept(self, ttl: float, tag: str) -> dict[str, Any]:
        """The options of a call whose answer is kept for so many seconds."""
        return self.unless_given(cache_ttl=ttl, tags=(tag,)) if self.settings.enable_caching else {}

    def _paging(self) -> LoggedPages:
        return LoggedPages("skip", log=self._answers)

    def _listed(
        self, item: type[M], path: str, part: Part, org_id: int | str | None, kept: Mapping[str, Any]
    ) -> PagedCall[M]:
        org = self._organization(org_id)
        return self.pages(item, path, paging=self._paging(), org_id=org, query=part.body(), **kept)

    def _asked(
        self, call: Call[M], about: tuple[str, str | None] = ("", None), *, changes: str | None = None
    ) -> Call[M]:
        """The same call, whose errors say what it is about, and whose answer is logged if that is wanted.

        Args:
            call: by `get` or `post`.
            about: what is asked for: the kind and the id.
            changes: the organization whose runs it changes.
        """

        def answered(found: M, how: Answered) -> M:
            if changes is not None:
                self._forget_runs(changes)
            if self._answers is not None:
                self._answers(how)
            return found

        def failed(error: HoldfastError) -> HoldfastError:
            if changes is not None and error.may_have_executed:
                self._forget_runs(changes)
            if isinstance(error, NotFoundError) and error.resource_type is None and about[0]:
                error.resource_type, error.resource_id = about
            return error

        return self.then(call, answered, failed)

    def _created(self, org: str, new: CreateAgentRunRequest) -> Call[AgentRunResponse]:
        return self._asked(self.post(AgentRunResponse, _RUN, org_id=org, json=new), changes=org)

    def _forget_runs(self, org: str) -> None:
        self.resilient.cache.invalidate_tag(f"runs of {org}")

    def _found(self, org: str) -> Generator[Call[Any], Any, OrganizationResponse]:
        skip: int | None = 0
        while skip is not None:
            page: Page[OrganizationResponse] = yield self.get_organizations(skip=skip)
            for one in page:
                if str(one.id) == org:
                    return one
            skip = None if page.position is None or not page.items else skip + len(page.items)
        self.resilient.cache.invalidate_tag("organizations")  # the list may be old: the next one is told the latest
        raise NotFoundError(
            f"AsyncCodegenClient.get_organization: the token has no access to an organization with the id {org}.",
            endpoint="GET /organizations",
            resource_type="organization",
            resource_id=org,
        )


def _dict(value: Any) -> Any:
    """A mapping as a dict; what is none, for the model to refuse."""
    return dict(value) if isinstance(value, Mapping) else value

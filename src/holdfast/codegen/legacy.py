"""`CodegenClient`: the former client, for programs that still use it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from holdfast.call import Call, returns_call
from holdfast.codegen.client import AsyncCodegenClient
from holdfast.codegen.config import ClientConfig

if TYPE_CHECKING:
    from holdfast.codegen.models import AgentRunResponse

__all__ = ["CodegenClient"]


class CodegenClient:
    """Deprecated: use `AsyncCodegenClient`, which `create_enhanced_client` makes with the same settings.

    It works on an `AsyncCodegenClient` with the settings of the environment, and on its organization
    (``CODEGEN_ORG_ID``). Its methods return calls as those of that one do.

    Args:
        config: None reads the settings from the environment.

    Raises:
        ConfigurationError: there is no token.
        pydantic.ValidationError: a setting in the environment is wrong.
    """

    def __init__(self, config: ClientConfig | None = None) -> None:
        warnings.warn(
            "CodegenClient is deprecated: use AsyncCodegenClient, such as CodegenClient.create_enhanced_client() makes",
            DeprecationWarning,
            stacklevel=2,
        )
        self._client = self.create_enhanced_client(config)

    @staticmethod
    def create_enhanced_client(config: ClientConfig | None = None) -> AsyncCodegenClient:
        """The client to use in place of this one, with these settings, or those of the environment."""
        return AsyncCodegenClient(config)

    @returns_call
    def create_agent_run(
        self, target: str, repo_name: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Call[AgentRunResponse]:
        """Creates an agent run.

        Args:
            target: what the agent is to do; it becomes the prompt.
            repo_name: the repository that it is about; it becomes ``repo`` in the metadata.
            metadata: any JSON object, kept with the run.
        """
        known = metadata if repo_name is None else {"repo": repo_name, **(metadata or {})}
        return self._client.create_agent_run(prompt=target, metadata=known)

    @returns_call
    def get_agent_run(self, run_id: int | str) -> Call[AgentRunResponse]:
        """One agent run."""
        return self._client.get_agent_run(run_id=run_id)

    @returns_call
    def close(self) -> Call[None]:
        """Closes the client."""
        return self._client.close()

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __enter__(self) -> Self:
        self._client.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.__exit__(kind, error, traceback)

    def __repr__(self) -> str:
        return f"<CodegenClient (deprecated) on {self._client!r}>"

"""What an `AsyncCodegenClient` raises.

.. code-block:: text

    CodegenAPIError               everything
      ValidationError             400, 422, and arguments that were found wrong before anything was sent
      AuthenticationError         401, 403
      QuotaExceededError          402: the agent runs of the billing plan are used up
      NotFoundError               404
      RateLimitError              429
      ServerError                 5xx
      NetworkError                the service could not be reached, or the connection was lost
      TimeoutError                the client's own time ran out; also the builtin TimeoutError
      BulkOperationError          a bulk did not come to its end
      WebhookError                a webhook that cannot be trusted or read
      ConfigurationError          a setting is missing, or switches off what was asked for; also a ValueError

Each is at the same time the error of `holdfast.exceptions` for what happened, and the httpx2 one of its cause: a 429 is
a `holdfast.RateLimitError` and an `httpx2.HTTPStatusError` too. What is none of these is a plain `CodegenAPIError` and
the error of `holdfast.exceptions`, such as a `holdfast.CircuitOpenError`.
"""

from __future__ import annotations

from holdfast import exceptions as core
from holdfast.service.bulk import BulkResult

__all__ = [
    "AuthenticationError",
    "BulkOperationError",
    "CodegenAPIError",
    "ConfigurationError",
    "NetworkError",
    "NotFoundError",
    "QuotaExceededError",
    "RateLimitError",
    "ServerError",
    "TimeoutError",
    "ValidationError",
    "WebhookError",
]


class CodegenAPIError(core.HoldfastError):
    """A call of the Codegen API failed. For its attributes see `holdfast.HoldfastError`."""


class ValidationError(CodegenAPIError, core.InvalidRequestError):
    """What was to be sent is wrong, or the service says so.

    Attributes:
        field_errors: a list of messages for each field, such as ``{"prompt": ["it is empty"]}``.
    """


class AuthenticationError(CodegenAPIError, core.AuthenticationError):
    """The token is refused, or does not allow this."""


class QuotaExceededError(CodegenAPIError, core.APIStatusError):
    """402: all agent runs that the billing plan has were used. No run was created."""


class NotFoundError(CodegenAPIError, core.NotFoundError):
    """There is no such thing, or no such endpoint.

    Attributes:
        resource_type: "user", "organization", "agent run", or None if it is not known.
        resource_id: its id.
    """


class RateLimitError(CodegenAPIError, core.RateLimitError):
    """The service asks for fewer requests. `retry_after`: in how many seconds, if it tells."""


class ServerError(CodegenAPIError):
    """The service failed with a 5xx."""


class NetworkError(CodegenAPIError, core.ServiceUnavailableError):
    """The service could not be reached, or the connection was lost."""


class TimeoutError(CodegenAPIError, core.APITimeoutError):  # noqa: A001  # the name that is documented
    """The client's own time ran out: that of one attempt, of a whole call, or for the end of an agent run."""


class BulkOperationError(CodegenAPIError):
    """A bulk did not come to its end: its deadline passed, it was to stop at the first failure, the client was closed.

    It is also the error that stopped it.

    Attributes:
        result: what was done until then.
    """

    result: BulkResult[object] | None = None


class WebhookError(CodegenAPIError, core.WebhookError):
    """A webhook with a wrong signature, a timestamp out of range, seen before, too large, or malformed."""


class ConfigurationError(CodegenAPIError, ValueError):
    """A setting is missing, or it switches off what was asked for. The message names its environment variable."""

"""What a `CrewClient` raises.

.. code-block:: text

    CrewClientError                  everything, also 400, 401, 403, 422 and arguments that cannot be sent
      CrewNotFoundError              404
      CrewExecutionError             the crew ran and failed
      CrewServiceUnavailableError    429, 5xx, and a service that cannot be reached, in time or at all

Each is at the same time the error of `holdfast.exceptions` for what happened, and the httpx2 one of its cause: a 429 is
a `RateLimitError` and an `httpx2.HTTPStatusError` too, a lost connection an `httpx2.ReadError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.exceptions import HoldfastError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.crews.models import CrewResult

__all__ = ["CrewClientError", "CrewExecutionError", "CrewNotFoundError", "CrewServiceUnavailableError"]


class CrewClientError(HoldfastError):
    """A call of the Crews service failed.

    Attributes:
        crew_name: the crew that was to be executed; None for other calls, and for arguments that cannot be sent.
    """

    crew_name: str | None = None


class CrewNotFoundError(CrewClientError, NotFoundError):
    """The service has no such crew, or no such endpoint: the message tells which.

    Attributes:
        available_crews: the names of those that it has, if it told.
    """

    available_crews: Sequence[str] = ()


class CrewExecutionError(CrewClientError):
    """The crew ran and failed. It is not run again by itself.

    Attributes:
        result: what `CrewClient.execute_crew` would have returned, with `error` as the service worded it.
    """

    result: CrewResult | None = None


class CrewServiceUnavailableError(CrewClientError):
    """The service cannot be reached, fails, or asks for fewer requests. Trying later may help."""

"""Where webhooks may be: at what the guard of the Service Integration server lets be called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from holdfast.servers.outbound.guard import Endpoint, ForbiddenEndpointError

if TYPE_CHECKING:
    from holdfast.servers.outbound.guard import Guard

__all__ = ["Destination", "ForbiddenEndpointError"]

_QUERY = re.compile(r"[!-~]*")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a webhook is.

    Attributes:
        endpoint: whose origin it is.
        base: its URL up to the path.
        target: path and query.
    """

    endpoint: Endpoint
    base: str
    target: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """The destination in a URL. Unlike the endpoint of a service it may have a query.

        Raises:
            ForbiddenEndpointError: it can be none; says what is wrong with it.
        """
        if "#" in url:
            raise ForbiddenEndpointError("must have no fragment: it would not be sent")
        plain, mark, query = url.partition("?")
        if not _QUERY.fullmatch(query):
            raise ForbiddenEndpointError("has characters in its query that must be percent-encoded")
        endpoint = Endpoint.parse(plain)
        scheme, _, rest = plain.partition("://")
        authority, slash, path = rest.partition("/")
        return cls(endpoint, f"{scheme}://{authority}", f"/{path if slash else ''}{mark}{query}")

    async def check(self, guard: Guard) -> None:
        """Returns if a webhook may be there. A name that does not resolve now is judged again when it is called.

        Raises:
            ForbiddenEndpointError: it may not.
        """
        await guard.check(self.base)

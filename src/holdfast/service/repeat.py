"""What can be told of a call before it is sent: the method of its request, and how it is asked past the cache."""

from __future__ import annotations

from typing import TypeVar

from holdfast.call import Call
from holdfast.service.endpoint import Endpoint, Refused
from holdfast.service.inside import home_of
from holdfast.service.pages import PagedEndpoint

T = TypeVar("T")


def method_of(call: Call[T]) -> str | None:
    """The method of a request that can be made again. None if the call is made of several, or of state."""
    source = call._source  # noqa: SLF001  # of this package
    if isinstance(source, (PagedEndpoint, Refused)):
        return "GET"
    return str(call.request[0]).upper() if isinstance(source, Endpoint) or home_of(call) is source else None


def past_cache(call: Call[T]) -> Call[T]:
    """The same call, but it is answered by the service and nobody else. One that is made of several stays as it is."""
    return call.with_options(cache_ttl=0) if method_of(call) == "GET" else call

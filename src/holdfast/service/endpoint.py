"""Makes the calls of endpoints: sends what was prepared, decodes the reply, gives errors the service's own classes."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from holdfast.core.effects import Failed, Flow, Io, Job
from holdfast.core.outcome import Stop
from holdfast.exceptions import HoldfastError

if TYPE_CHECKING:
    import httpx2

    from holdfast.http.assembly import Assembly
    from holdfast.http.drive_async import Owner
    from holdfast.http.prepared import Prepared

T = TypeVar("T")
R = TypeVar("R")
Translate = Callable[[HoldfastError], HoldfastError]
"""Gives an error the class by which a service's users know it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """How an answer came about.

    Attributes:
        request_id: under which all attempts were sent.
        endpoint: method and path.
        attempts: how many were sent.
        seconds: the whole call until now, waits included.
        response: what the answer came in.
        quote: gives what the service said in one line, for messages and logs: cut where it is long, and without the
            credentials that were sent.
    """

    request_id: str
    endpoint: str
    attempts: int
    seconds: float
    response: httpx2.Response
    quote: Callable[[object], str]


class FlowSource(ABC):
    """A source of calls (see `holdfast.call.Source`) that are flows of a client's calls.

    Args:
        assembly: sends the requests.
        translate: called with every error, whoever raised it.
    """

    def __init__(self, assembly: Assembly, translate: Translate) -> None:
        self.assembly = assembly
        self.translate = translate

    @abstractmethod
    def flow(self, request: Any, *, sync: bool) -> Flow[Any]:
        """The flow of one call: the result, or a `Stop`. It raises what is wrong with the request."""

    @abstractmethod
    def describe(self, request: Any) -> str:
        """See `holdfast.call.Source`."""

    @abstractmethod
    def raw(self, request: Any) -> tuple[FlowSource, Any]:
        """See `holdfast.call.Source`."""

    @abstractmethod
    def changed(self, request: Any, options: Mapping[str, Any]) -> Any:
        """See `holdfast.call.Source`."""

    def start(
        self, request: Any, task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop, owner: Owner
    ) -> Coroutine[Any, Any, Any]:
        """See `holdfast.call.Source`."""
        return self.assembly.drive(self.flow(request, sync=False), task, loop, owner)

    def run(self, request: Any) -> Any:
        """See `holdfast.call.Source`."""
        return self.assembly.run_flow(self.flow(request, sync=True))

    def error(self, stop: Stop) -> Exception:
        """See `holdfast.call.Source`."""
        return self.translate(self.assembly.failures.error(stop))


class Endpoint(FlowSource, Generic[T]):
    """A source of calls that give what `decode` makes of their replies. Their requests are `Prepared`."""

    def __init__(self, assembly: Assembly, decode: Callable[[Job, Any], T], translate: Translate) -> None:
        super().__init__(assembly, translate)
        self._decode = decode

    def flow(self, request: Prepared, *, sync: bool) -> Flow[Any]:
        """See `FlowSource.flow`."""
        try:
            job = self.assembly.job(request, sync=sync)
        except HoldfastError as error:
            raise self.translate(error) from error.__cause__
        return self._sent(job)

    def _sent(self, job: Job) -> Flow[Any]:
        try:
            reply = yield from self.assembly.pipeline.call(job)
        except HoldfastError as broken_off:  # there is no token, for one
            raise self.translate(broken_off) from broken_off.__cause__
        if reply.__class__ is Stop:
            return reply
        result = yield Io(partial(self._decode, job), reply)  # outside the lock, for it may take its time
        if result.__class__ is Failed:
            error = result.error
            raise self.translate(error) if isinstance(error, HoldfastError) else error
        return result

    def then(self, make: Callable[[T, Answered], R], otherwise: Translate | None = None) -> Endpoint[R]:
        """A source of calls that give what `make` makes of the results of this one's, see `ServiceClient.then`."""

        def decode(job: Job, reply: Any) -> R:
            value = self._decode(job, reply)
            seconds = self.assembly.runtime.now() - job.started
            quote = partial(self.assembly.failures.quoted, job)
            return make(value, Answered(job.id, job.route, job.attempts, seconds, reply, quote))

        def translate(error: HoldfastError) -> HoldfastError:
            known = self.translate(error)
            return known if otherwise is None else otherwise(known)

        return Endpoint(self.assembly, decode, translate)

    def describe(self, request: Prepared) -> str:
        """See `holdfast.call.Source`."""
        return self.assembly.describe(request)

    def raw(self, request: Prepared) -> tuple[Raw, Prepared]:
        """See `holdfast.call.Source`."""
        return Raw(self.assembly, self.translate), request

    def changed(self, request: Prepared, options: Mapping[str, Any]) -> Prepared:
        """See `holdfast.call.Source`."""
        return self.assembly.changed(request, options)


class Raw(Endpoint[Any]):
    """A source of calls that give the response itself, with the service's own errors."""

    def __init__(self, assembly: Assembly, translate: Translate) -> None:
        super().__init__(assembly, _as_it_is, translate)

    def raw(self, request: Prepared) -> tuple[Raw, Prepared]:
        """See `holdfast.call.Source`."""
        return self, request


def _as_it_is(_: Job, reply: Any) -> Any:
    return reply


class Refused:
    """A source of calls that send nothing and raise the error that stood in their way."""

    def __init__(self, error: HoldfastError) -> None:
        self._error = error

    def then(self, otherwise: Translate | None) -> Refused:
        """As `Endpoint.then`: there will be no result to make anything of, but the error may want to be another."""
        return self if otherwise is None else Refused(otherwise(self._error))

    async def start(self, request: str, task: Any, loop: Any, owner: Owner) -> None:
        """See `holdfast.call.Source`."""
        owner.fail(self._error)
        raise self._error

    def run(self, request: str) -> Any:
        """See `holdfast.call.Source`."""
        raise self._error

    def error(self, stop: Stop) -> Exception:
        """See `holdfast.call.Source`."""
        return self._error

    def describe(self, request: str) -> str:
        """See `holdfast.call.Source`."""
        return request

    def raw(self, request: str) -> tuple[Refused, str]:
        """See `holdfast.call.Source`."""
        return self, request

    def changed(self, request: str, options: Mapping[str, Any]) -> str:
        """See `holdfast.call.Source`."""
        return request

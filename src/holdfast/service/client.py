"""`ServiceClient`: the base of typed clients, one plain method per endpoint."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Callable, Collection, Generator, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, Unpack, cast, get_args, get_origin, overload

from holdfast.call import Call, returns_call
from holdfast.client import ResilientClient
from holdfast.exceptions import HoldfastError
from holdfast.http.options import BodyOptions, RequestOptions, check, check_cached, seconds_of
from holdfast.service.decode import decoder
from holdfast.service.described import described, says
from holdfast.service.endpoint import Answered, Endpoint, Refused, Translate
from holdfast.service.pages import PagedCall, PagedEndpoint, PageRequest
from holdfast.service.readable import J, ReadCall, ReadPagedCall, readable
from holdfast.service.sending import body_of, with_query
from holdfast.service.settings import BaseServiceSettings, ServiceSettings
from holdfast.service.template import template

if TYPE_CHECKING:
    import httpx2

    from holdfast.core.events import Observer
    from holdfast.service.bulk import BulkResult, Progress
    from holdfast.service.paging import Paging

__all__ = ["ServiceClient"]

I = TypeVar("I")  # noqa: E741  # an item
M = TypeVar("M")
R = TypeVar("R")
S = TypeVar("S", bound=BaseServiceSettings)

_OPTIONS = frozenset(BodyOptions.__annotations__) - {"params", "json"}
_CALLS = frozenset({"Call", "PagedCall", "ReadCall", "ReadPagedCall"})


class ServiceClient(Generic[S]):
    """The base of a typed client: its methods describe requests, and return a `Call` of what comes back.

    ::

        class PetClient(ServiceClient[PetSettings]):
            def get_pet(self, pet_id: int) -> Call[Pet]:
                return self.get(Pet, "/pets/{pet_id}", pet_id=pet_id, cache_ttl=60)

    Methods whose annotation says that they return a `Call` count as coroutine functions. A request model that is found
    invalid in one of them becomes an InvalidRequestError, raised when the call is awaited; nothing is sent then.

    A client is used as a `ResilientClient` is: from async and sync code, as a context manager, closed when done with.

    Args:
        settings: None reads them from the environment.
        auth: credentials for every request, as httpx2 takes them; given to the origin of `base_url` alone.
        http_client: see `ResilientClient`.
        transport: see `ResilientClient`.
        observers: see `ResilientClient`.

    Raises:
        pydantic.ValidationError: a setting in the environment is wrong.
    """

    settings_class: ClassVar[type[BaseServiceSettings]] = ServiceSettings

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        # The bases of the class itself: what an inherited attribute says was taken down where it was written.
        for base in vars(cls).get("__orig_bases__", ()):
            origin = get_origin(base)
            if "settings_class" not in vars(cls) and isinstance(origin, type) and issubclass(origin, ServiceClient):
                for given in get_args(base):
                    if isinstance(given, type) and issubclass(given, BaseServiceSettings):
                        cls.settings_class = given
        for name, member in list(vars(cls).items()):
            if inspect.isfunction(member) and says(member) in _CALLS:
                setattr(cls, name, described(member))

    def __init__(
        self,
        settings: S | None = None,
        *,
        auth: Any = None,
        http_client: httpx2.AsyncClient | httpx2.Client | None = None,
        transport: httpx2.AsyncBaseTransport | httpx2.BaseTransport | None = None,
        observers: tuple[Observer, ...] | list[Observer] = (),
    ) -> None:
        self.settings: S = cast("Callable[[], S]", self.settings_class)() if settings is None else settings
        client = ResilientClient(
            self.settings.client_config(), http_client=http_client, transport=transport, observers=observers
        )
        # Whether the service deduplicates is its settings' business: who gives an id wants to find it in the logs.
        client._assembly.composer.id_is_key = False  # noqa: SLF001
        self.resilient = client if auth is None else client.with_options(auth=auth)

    # What methods of a subclass describe requests with

    def get(self, model: type[M], path: str, /, *, query: Mapping[str, Any] | None = None, **more: Any) -> Call[M]:
        """A GET whose answer is a `model`.

        Args:
            model: a `Model`, a list of them, or another type that pydantic knows; `NoneType` for an answer that is not
                read.
            path: below `base_url`, with parameters in braces.
            query: parameters of the URL. None is left out; `NULL` is ``null``.
            **more: the parameters of the path, and options of the call (see `holdfast.http.options.RequestOptions`).

        Raises:
            TypeError: a keyword that is neither, or a parameter of the path without a value.
            ValueError: an option is of the right type and wrong.
        """
        return self.request("GET", model, path, query=query, **more)

    def post(
        self, model: type[M], path: str, /, *, query: Mapping[str, Any] | None = None, json: Any = None, **more: Any
    ) -> Call[M]:
        """A POST, as `get`. `json`: the body: a `RequestModel`, or any JSON; None in objects is left out."""
        return self.request("POST", model, path, query=query, json=json, **more)

    def put(
        self, model: type[M], path: str, /, *, query: Mapping[str, Any] | None = None, json: Any = None, **more: Any
    ) -> Call[M]:
        """A PUT, as `post`."""
        return self.request("PUT", model, path, query=query, json=json, **more)

    def patch(
        self, model: type[M], path: str, /, *, query: Mapping[str, Any] | None = None, json: Any = None, **more: Any
    ) -> Call[M]:
        """A PATCH, as `post`."""
        return self.request("PATCH", model, path, query=query, json=json, **more)

    def delete(self, model: type[M], path: str, /, *, query: Mapping[str, Any] | None = None, **more: Any) -> Call[M]:
        """A DELETE, as `get`."""
        return self.request("DELETE", model, path, query=query, **more)

    def request(
        self,
        method: str,
        model: type[M],
        path: str,
        /,
        *,
        query: Mapping[str, Any] | None = None,
        json: Any = None,
        **more: Any,
    ) -> Call[M]:
        """A request by any method, as `post`."""
        url, options = self._checked(method, path, more)
        if json is not None:
            options["json"] = body_of(json)
        source: Endpoint[M] = Endpoint(self.resilient._assembly, decoder(model), self.translate)  # noqa: SLF001
        return Call(source, self.resilient.prepared(method, with_query(url, query), options))

    def _checked(self, method: str, path: str, more: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The path with its parameters, and the options, out of the keywords of a call."""
        route = template(path)
        unknown = more.keys() - route.names - _OPTIONS
        if unknown or not route.names <= more.keys():
            raise TypeError(_mismatch(path, unknown, route.names - more.keys()))
        options = {name: value for name, value in more.items() if name not in route.names}
        check(options)
        check_cached(method, options)
        return route.fill(more), options

    def pages(
        self,
        item: type[M],
        path: str,
        /,
        *,
        paging: Paging,
        items: str = "items",
        query: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> PagedCall[M]:
        """A GET for a list that comes in pages.

        Args:
            item: the model of an item.
            path: as for `get`.
            paging: how the service divides lists: `Offset`, `PageNumber`, `Cursor`, `LinkHeader`, or one of your own.
            items: where in the answer the items are, names joined by dots; empty if the answer is the list itself.
            query: of the first page; the next ones are asked for with the same, and what `paging` changes in it.
            **more: as for `get`.
        """
        url, options = self._checked("GET", path, more)
        merged = self.resilient.prepared("GET", url, options)[2]
        source: PagedEndpoint[M] = PagedEndpoint(self.resilient._assembly, item, items, paging, self.translate)  # noqa: SLF001
        return PagedCall(source, PageRequest(url, dict(query or {}), merged))

    def then(self, call: Call[M], make: Callable[[M, Answered], R], otherwise: Translate | None = None) -> Call[R]:
        """A call of what is made of the result of another, which counts as used.

        Args:
            call: by `get`, `post` and the like.
            make: called with the result, and with how it came. What it raises, the call raises.
            otherwise: called with every error of the call, gives the one that is raised.
        """
        source = call._source  # noqa: SLF001
        if isinstance(source, Refused):
            call._take_over()  # noqa: SLF001
            return Call(source.then(otherwise), call.request)
        if not isinstance(source, Endpoint):
            raise TypeError(f"{call!r} is not the call of a single endpoint")
        call._take_over()  # noqa: SLF001
        return Call(source.then(make, otherwise), call.request)

    @overload
    def readable(self, call: PagedCall[M]) -> ReadPagedCall[M]: ...

    @overload
    def readable(self, call: Call[J]) -> ReadCall[J]: ...

    def readable(self, call: Call[Any]) -> ReadCall[Any]:
        """The same call, which can also be read as a dict without being awaited; the call that is given counts as used.

        For endpoints whose users read what they get as JSON, and have done so without `await`::

            def get_pet(self, pet_id: int) -> ReadCall[Pet]:
                return self.readable(self.get(Pet, "/pets/{pet_id}", pet_id=pet_id))

        Args:
            call: of anything that has keys, as a `Model` has; or a paged one.

        Raises:
            RuntimeError: it was sent already.
        """
        return readable(call)

    # What is made of several calls

    def bulk(
        self,
        items: Iterable[I] | AsyncIterable[I],
        make: Callable[[I], Call[R]],
        *,
        workers: int = 10,
        progress: Progress | None = None,
        stop_on_error: bool = False,
        deadline: float | None = None,
    ) -> Call[BulkResult[R]]:
        """A call that sends one call for each item, several at a time, and tells what became of all of them.

        ::

            found = await client.bulk(range(1000), client.get_pet, workers=20)
            print(found.success_rate, found.errors[:3])

        An item that fails does not stop the others. The items are taken one by one, when a worker is free; in async
        code a paged call is walked while its items are worked on. Cancelled, it cancels what is in flight and sends
        nothing more; in sync code, where no request can be interrupted, those in flight end in the background.

        Args:
            items: any iterable.
            make: called with each item, on the caller's task or thread; its call may be of another client, or one that
                is itself made of several. A HoldfastError or a ValueError (such as pydantic's ValidationError) that it
                raises is the failure of that item. Anything else is taken for a mistake in the program, and ends the
                bulk.
            workers: calls at a time. More than the settings' `max_concurrency` wait for each other.
            progress: called at the beginning and after each item, on the caller's task or thread, with the number of
                items that are finished and, if it is known, of all; `holdfast.service.ProgressBar` is one. What it
                raises ends the bulk.
            stop_on_error: begins no further item after the first failure. Those in flight are finished.
            deadline: seconds for the whole; None for no limit but those of each call.

        Raises:
            BulkStoppedError: it did not come to its end, but has the `result` so far. It is also what stopped it: a
                DeadlineExceededError, a ClientClosedError, the error of the item.
            TypeError, ValueError: an argument is wrong; the message names it.
        """
        from holdfast.service.bulk import Bulk, BulkRequest

        request = BulkRequest(items, make, workers, progress, stop_on_error, deadline)
        return Call(Bulk(self.resilient._assembly, self.translate), request)  # noqa: SLF001

    def poll(
        self,
        call: Call[M] | Callable[[], Call[M]],
        *,
        until: Callable[[M], bool],
        interval: float = 1.0,
        factor: float = 1.5,
        max_interval: float | None = None,
        jitter: bool = False,
        deadline: float | None = None,
        on_update: Callable[[M], object] | None = None,
        tolerate: int = 0,
    ) -> Call[M]:
        """A call that repeats another until its result is the one that is waited for, and gives that.

        ::

            run = await client.poll(client.get_run(7), until=lambda run: run.status == "done", deadline=600)

        It goes past the cache; a call that is made of several does only if those do. Each poll is retried as the call
        always is; an error that is left then ends it.

        Args:
            call: a GET, which counts as used; or a function that makes a call each time.
            until: tells by a result whether it is the one.
            interval: seconds between the first answer and the second poll.
            factor: by which each interval is longer than the one before; 1 keeps it.
            max_interval: the longest; None for 30 s, or for `interval` if that is longer.
            jitter: waits between half of an interval and all of it, so that many clients do not poll at once.
            deadline: seconds for the whole; None for no limit. Shortly before it there is a last poll.
            on_update: called with each result, on the caller's task or thread. What it, or `until`, raises ends the
                poll.
            tolerate: polls in a row that may fail for what may pass: network, timeouts, 5xx, 429, saturation. If the
                error tells when to come back, the poll waits as long.

        Raises:
            PollDeadlineError: it was not the one in time; also a DeadlineExceededError. It has the last result.
            HoldfastError: a poll failed.
            TypeError, ValueError: an argument is wrong; the message names it.
        """
        from holdfast.service.poll import Poll, poll_request

        request = poll_request(
            call,
            until,
            interval=interval,
            factor=factor,
            max_interval=max_interval,
            jitter=jitter,
            deadline=deadline,
            on_update=on_update,
            tolerate=tolerate,
        )
        return Call(Poll(self.resilient._assembly, self.translate), request)  # noqa: SLF001

    def steps(self, make: Callable[[], Generator[Call[Any], Any, R]]) -> Call[R]:
        """A call of several, one after the other, as a generator decides: it yields calls, and is sent their results.

        ::

            def adopt(self, pet_id: int) -> Call[Owner]:
                def steps() -> Generator[Call[Any], Any, Owner]:
                    pet: Pet = yield self.get_pet(pet_id)
                    adoption: Adoption = yield self.post(Adoption, "/adoptions", json={"pet": pet.id})
                    return (yield self.get(Owner, "/owners/{id}", id=adoption.owner))

                return self.steps(steps)

        The error of a call is raised where it was yielded. What the generator raises, the call raises. If something may
        have been executed by then, `may_have_executed` is true of it, and a note on it tells what.

        Args:
            make: a generator function without arguments; called when the call is sent.
        """
        from holdfast.service.stepwise import Stepwise

        return Call(Stepwise(self.resilient._assembly, self.translate), make)  # noqa: SLF001

    # For subclasses

    def unless_given(self, **options: Any) -> dict[str, Any]:
        """Options of an endpoint that give way to those of the view (see `with_options`) that it is called on."""
        given = self.resilient._defaults  # noqa: SLF001
        return {name: value for name, value in options.items() if name not in given}

    def answer_timeout(self) -> float | None:
        """Seconds that a call of this view waits for bytes of its answer; None for as long as its deadline lets it.

        A service that answers when something has happened has to be told a shorter time than that.
        """
        given = self.resilient._defaults  # noqa: SLF001
        timeouts = seconds_of(given["timeout"]) if "timeout" in given else self.resilient.config.timeout.seconds()
        return timeouts["read"]

    def now(self) -> float:
        """Monotonic seconds, by the clock that the waits of this client go by."""
        return self.resilient._assembly.runtime.now()  # noqa: SLF001

    def translate(self, error: HoldfastError) -> HoldfastError:
        """The error that users of the service see in place of `error`, for a subclass with classes of its own."""
        return error

    # Use

    def with_options(self, **options: Unpack[RequestOptions]) -> Self:
        """A view of this client whose calls all have these options, but for those that an endpoint has of its own.

        Those can be changed on the call. See `ResilientClient.with_options`.
        """
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view.resilient = self.resilient.with_options(**options)
        return view

    @returns_call
    def close(self) -> Call[None]:
        """Closes the client, as `ResilientClient.close`."""
        return self.resilient.close()

    aclose = close

    async def __aenter__(self) -> Self:
        await self.resilient.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __enter__(self) -> Self:
        self.resilient.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.resilient.__exit__(kind, error, traceback)

    def __repr__(self) -> str:
        state = "closed" if self.resilient.is_closed else "open"
        return f"<{type(self).__name__} {self.resilient.config.base_url} ({state})>"


def _mismatch(path: str, unknown: Collection[str], missing: Collection[str]) -> str:
    parts = []
    if unknown:
        parts.append(f"{', '.join(sorted(unknown))}: neither in the path nor an option")
    if missing:
        parts.append(f"{', '.join(sorted(missing))}: in the path, but not given")
    return f"{path}: {'; '.join(parts)}"

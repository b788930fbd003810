"""`Page` and `PagedCall`: lists that come in pages, and the walk over all of their items."""

from __future__ import annotations

from asyncio.events import _get_running_loop  # in its __all__
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

import httpx2

from holdfast.call import Call, returns_call
from holdfast.core.effects import FOREVER, Child, Failed, Flow, Job, Park, Spawn
from holdfast.core.outcome import Stop
from holdfast.exceptions import ResponseError
from holdfast.redaction import redact_url
from holdfast.service.decode import Decoder, decoder
from holdfast.service.endpoint import Endpoint, FlowSource, Raw, Translate
from holdfast.service.model import mark
from holdfast.service.paging import Offset, Paging, Step, at, position_of, step_at
from holdfast.service.sending import with_query

if TYPE_CHECKING:
    from holdfast.exceptions import HoldfastError
    from holdfast.http.assembly import Assembly
    from holdfast.http.prepared import Prepared

__all__ = ["Page", "PagedCall"]

T = TypeVar("T")


class Page(Generic[T]):
    """One page of a list: iterates over its items, and can be read like the JSON that it came from.

    ``page["items"]`` are the items, by whatever name the service has for them; ``page[0]`` is the first one.

    Attributes:
        items: the models.
        total: how many items there are on all pages, None if the service does not tell.
        position: where the next page begins, a text to be kept and given to `PagedCall.resume`; None on the last page.
            It is as good as a query: who can change it can ask for other pages than these.
        response_headers: the headers of the response that it came in. `request_id`: the X-Request-ID it was asked with.
    """

    def __init__(
        self,
        items: list[T],
        body: Any,
        key: str,
        *,
        total: int | None = None,
        position: str | None = None,
        response_headers: httpx2.Headers | None = None,
        request_id: str | None = None,
    ) -> None:
        self.items = items
        self.total = total
        self.position = position
        self.response_headers = httpx2.Headers() if response_headers is None else response_headers
        self.request_id = request_id
        self._body: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
        self._key = key

    def keys(self) -> list[str]:
        """The keys of the JSON object; none if it was a list."""
        return list(self._body)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key of the JSON object, or `default` if there is none by that name."""
        try:
            return self[key]
        except KeyError:
            return default

    def __getitem__(self, key: str | int) -> Any:
        if isinstance(key, int):
            return self.items[key]
        if key == self._key:
            return self.items
        return self._body[key]

    def __contains__(self, key: object) -> bool:
        return (isinstance(key, str) and key in self._body) or key in self.items

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        of = "" if self.total is None else f" of {self.total}"
        return f"<Page of {len(self.items)} items{of}>"


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What one page is asked for with.

    Attributes:
        path: with its parameters filled in. `query`: the parameters of the URL; `url`: in place of both.
        options: those of the call. `ahead`: whether the next page is fetched while this one is being read.
    """

    path: str
    query: Mapping[str, Any]
    options: Mapping[str, Any]
    url: str | None = None
    ahead: bool = False

    def prepared(self) -> Prepared:
        """The request."""
        url = self.url
        if url is None:
            url = with_query(self.path, self.query)
        return "GET", url, self.options, None

    def at(self, step: Step) -> PageRequest:
        """The request for another page."""
        return replace(self, url=step.url, query={**self.query, **(step.query or {})})


class PagedEndpoint(FlowSource, Generic[T]):
    """A source of calls for pages. Their requests are `PageRequest`.

    Args:
        assembly, translate: see `FlowSource`.
        item: the model of an item.
        key: where in the answer the items are, see `paging.at`; empty if the answer is the list itself.
        paging: how to get from page to page.
    """

    def __init__(self, assembly: Assembly, item: Any, key: str, paging: Paging, translate: Translate) -> None:
        super().__init__(assembly, translate)
        self._decode: Decoder[list[T]] = decoder(list[item])
        self._key = key
        self._paging = paging

    def flow(self, request: PageRequest, *, sync: bool) -> Flow[Any]:
        """See `FlowSource.flow`: a `Page`, or a `Stop`."""
        endpoint = Endpoint(self.assembly, partial(self._page, request), self.translate)
        return endpoint.flow(request.prepared(), sync=sync)

    def following(self, request: PageRequest, page: Page[T]) -> PageRequest | None:
        """The request for the page after this one, None after the last."""
        return None if page.position is None else request.at(step_at(page.position))

    def resumed(self, request: PageRequest, position: str) -> PageRequest:
        """The request for the page at a position that was kept.

        Raises:
            ValueError: not a position, or one on another origin.
        """
        step = step_at(position)
        if step.url is not None and not self.assembly.origins.target(step.url).own:
            raise ValueError(f"the position is a page on another origin: {redact_url(step.url)}")
        return request.at(step)

    def refuse_circle(self, page: Page[T], passed: set[int]) -> None:
        """Notes where the page after this one is, among the places of a walk.

        Raises:
            ResponseError: the walk was there before, and would never end.
        """
        place = hash(page.position)
        if place in passed:
            raise self.translate(
                ResponseError(
                    "the pages lead in a circle: the next one would be one that was there before."
                    f" Request id of the page before it {page.request_id}.",
                    request_id=page.request_id,
                    may_have_executed=True,
                )
            )
        passed.add(place)

    def _page(self, request: PageRequest, job: Job, reply: httpx2.Response) -> Page[T]:
        whole = decoder(Any)(job, reply)
        found = at(whole, self._key) if self._key else whole
        if not isinstance(found, list):
            where = f"has no list by the name {self._key!r}" if self._key else "is no list"
            raise self._decode.unusable(job, reply, f"the body {where}")
        items = self._decode.validated(job, reply, found, self._key)
        mark(items, reply.headers, job.id)
        step = self._paging.after(request.query, len(items), whole, reply)
        if step is not None and (step.url is not None and not self.assembly.origins.target(step.url).own):
            raise self._decode.unusable(job, reply, f"the next page would be on another origin: {step.url}")
        if step is not None and request.at(step) == request:
            raise self._decode.unusable(job, reply, "the next page would be this one again")
        return Page(
            items,
            whole,
            self._key,
            total=self._paging.total(whole, reply),
            position=None if step is None else position_of(step),
            response_headers=reply.headers,
            request_id=job.id,
        )

    def describe(self, request: Any) -> str:
        """See `holdfast.call.Source`."""
        return self.assembly.describe(request.prepared())

    def raw(self, request: Any) -> tuple[Raw, Prepared]:
        """See `holdfast.call.Source`."""
        return Raw(self.assembly, self.translate), request.prepared()

    def changed(self, request: Any, options: Mapping[str, Any]) -> Any:
        """See `holdfast.call.Source`."""
        changed = self.assembly.changed(request.prepared(), options)
        return replace(request, options=changed[2])


class RefusedPages(PagedEndpoint[Any]):
    """A source of calls for pages that send nothing and raise the error that stood in their way."""

    def __init__(self, assembly: Assembly, error: HoldfastError) -> None:
        super().__init__(assembly, Any, "", Offset(), lambda one: one)
        self._error = error

    def flow(self, request: PageRequest, *, sync: bool) -> Flow[Any]:
        """See `FlowSource.flow`."""
        raise self._error

    def describe(self, request: PageRequest) -> str:
        """See `holdfast.call.Source`: what was called, in place of a path."""
        return request.path


class Walk(Generic[T]):
    """A source of calls for one page after the other. It is also the request of these calls.

    Attributes:
        following: the request for the next page, None after the last.
    """

    def __init__(self, endpoint: PagedEndpoint[T], request: PageRequest) -> None:
        self.following: PageRequest | None = request
        self._endpoint = endpoint
        self._ahead: Child | None = None
        self._passed: set[int] = set()

    def flow(self, *, sync: bool) -> Flow[Any]:
        """The next page, or a `Stop`."""
        request = self.following
        if request is None:
            raise RuntimeError("there is no page after the last one")
        child, self._ahead = self._ahead, None
        if child is None:
            result = yield from self._endpoint.flow(request, sync=sync)
        else:
            try:
                yield Park(FOREVER, child)
            except BaseException:
                child.cancel()
                raise
            result = child.value
            if result.__class__ is Failed:
                raise result.error
        if result.__class__ is Stop:
            return result
        self.following = self._endpoint.following(request, result)
        if self.following is not None:
            self._endpoint.refuse_circle(result, self._passed)
        if self.following is not None and request.ahead:
            self._ahead = yield Spawn(self._endpoint.flow(self.following, sync=sync))
        return result

    def all(self, *, sync: bool) -> Flow[Any]:
        """The items of all pages, or a `Stop`."""
        items: list[T] = []
        try:
            while self.following is not None:
                page = yield from self.flow(sync=sync)
                if page.__class__ is Stop:
                    return page
                items += page.items
        finally:
            self.close()
        return items

    def close(self) -> None:
        """Gives up the page that is being fetched ahead, if one is."""
        child, self._ahead = self._ahead, None
        if child is not None:
            child.cancel()

    def calls(self) -> Iterator[Call[Page[T]]]:
        """A call for every page, each to be sent before the next one is asked for."""
        while self.following is not None:
            yield Call(Steps(self._endpoint.assembly, self._endpoint.translate), self.flow)


class Steps(FlowSource):
    """A source of calls whose flow takes several pages. Their request is that flow."""

    def flow(self, request: Callable[..., Flow[Any]], *, sync: bool) -> Flow[Any]:
        """See `FlowSource.flow`."""
        return request(sync=sync)

    def describe(self, request: Any) -> str:
        """See `holdfast.call.Source`."""
        return "a walk over pages"

    def raw(self, request: Any) -> Any:
        """See `holdfast.call.Source`."""
        raise TypeError("it is made of several responses: take .raw() of the call for the first page")

    def changed(self, request: Any, options: Mapping[str, Any]) -> Any:
        """See `holdfast.call.Source`."""
        raise TypeError("give the options to the call for the first page: they hold for all of them")


class PagedCall(Call[Page[T]]):
    """A call for a list that comes in pages: awaited, the first page; iterated over, the items of all pages.

    ::

        page = await client.list_pets(limit=50)
        async for pet in client.list_pets():
            ...
        pets = await client.list_pets().all()

    In sync code ``.result()``, ``for`` and ``.all().result()``. Iterating takes the call over: it counts as used. Each
    page has its own deadline. Leaving a loop sends no more.
    """

    def __init__(self, source: PagedEndpoint[T], request: PageRequest) -> None:
        super().__init__(source, request)

    def resume(self, position: str) -> Self:
        """The same list from a saved `Page.position` on. This call counts as used.

        Raises:
            ValueError: not a position, or one on another origin than that of the client.
            RuntimeError: it was sent already.
        """
        request = self._endpoint.resumed(self.request, position)
        self._take_over()
        return type(self)(self._endpoint, request)

    def ahead(self) -> Self:
        """The same call, but a walk fetches each next page while the one before is read. This call counts as used."""
        self._take_over()
        return type(self)(self._endpoint, replace(self.request, ahead=True))

    @returns_call
    def all(self) -> Call[list[T]]:
        """A call for the items of all pages. This call counts as used."""
        walk = self._walk()
        return Call(Steps(self._endpoint.assembly, self._endpoint.translate), walk.all)

    def pages(self) -> Pages[T]:
        """Page after page, to be iterated over. This call counts as used."""
        return Pages(self._walk())

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page.items:
                yield item

    def __iter__(self) -> Iterator[T]:
        return self.walked()

    def walked(self) -> Iterator[T]:
        """The items of all pages, in sync code. This call counts as used."""
        pages = iter(self.pages())
        return (item for page in pages for item in page.items)

    @property
    def _endpoint(self) -> PagedEndpoint[T]:
        return cast("PagedEndpoint[T]", self._source)

    def _walk(self) -> Walk[T]:
        self._take_over()
        return Walk(self._endpoint, self.request)


class Pages(Generic[T]):
    """The pages of a list, one after the other: for ``async for``, and ``for`` in sync code."""

    def __init__(self, walk: Walk[T]) -> None:
        self._walk = walk

    async def __aiter__(self) -> AsyncIterator[Page[T]]:
        try:
            for call in self._walk.calls():
                yield await call
        finally:
            self._walk.close()

    def __iter__(self) -> Iterator[Page[T]]:
        if _get_running_loop() is not None:
            raise RuntimeError("'for' over pages would block the running event loop: write 'async for'")
        return self._sync()

    def _sync(self) -> Iterator[Page[T]]:
        try:
            for call in self._walk.calls():
                yield call.result()
        finally:
            self._walk.close()

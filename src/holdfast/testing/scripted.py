"""Scripts of what happens to which request, as `FaultTransport` and `FaultyServer` play them."""

from __future__ import annotations

import json as codec
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, overload

import httpx2

from holdfast.testing.routes import Route, told


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one request: an answer, or a failure.

    Attributes:
        status, json, content, headers: the answer.
        delay: seconds before it. They pass at once under virtual time and with a `VirtualClock` installed. Where the
            request's read timeout is shorter, it ends the wait.
        error: raised instead of an answer, such as ``httpx2.ConnectError``; an exception, or a class of them.
        broken: raised after the body was handed out, such as ``httpx2.ReadError``: the connection broke inside of it.
    """

    status: int = 200
    json: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    error: Exception | type[Exception] | None = None
    broken: Exception | type[Exception] | None = None

    def response(self, request: httpx2.Request) -> httpx2.Response:
        """The answer.

        Raises:
            Exception: the step is a failure.
        """
        if self.error is not None:
            raise _made(self.error, request)
        headers = dict(self.headers)
        if self.content is not None or self.json is None:
            response = httpx2.Response(self.status, headers=headers, content=self.content or b"", request=request)
        else:
            response = httpx2.Response(self.status, headers=headers, json=self.json, request=request)
        if self.broken is None:
            return response
        stream = _BrokenBody(response.content, _made(self.broken, request))
        return httpx2.Response(self.status, headers=response.headers, stream=stream, request=request)


Item: TypeAlias = Step | int | httpx2.Response | Exception | type[Exception]
"""A step, or what stands for one: a status, a response, a failure."""

Script: TypeAlias = Item | Iterable[Item] | Callable[[httpx2.Request], Item]
"""An item for every request, items that are taken in turn, or a function that gives the item for a request."""


class Scripted:
    """Plays a script, and remembers the requests.

    Args:
        script: see `Script`; or a mapping of routes (see `Route`) to scripts. The first route that fits counts.

    Attributes:
        requests: what was asked, in order, with bodies read.

    Raises:
        TypeError, ValueError: names what cannot be in a script.
    """

    @overload
    def __init__(self, script: Mapping[str, Script]) -> None: ...

    @overload
    def __init__(self, script: Script) -> None: ...

    def __init__(self, script: Script | Mapping[str, Script]) -> None:
        self._lock = threading.Lock()
        self._routes: dict[str, tuple[Route, _Steps]] = {}
        self._others: _Steps | None = None
        self.requests: list[httpx2.Request] = []
        if isinstance(script, Mapping):
            for pattern, part in script.items():
                self.route(pattern, part)
        else:
            self._others = _Steps(script)

    def route(self, pattern: str, script: Script) -> None:
        """Sets what happens to the requests of a route, in place of what was set for that very pattern before.

        Routes come before a script that is for all requests.
        """
        with self._lock:
            self._routes[pattern] = Route(pattern), _Steps(script)

    def take(self, request: httpx2.Request) -> Step | None:
        """The next step for a request, whose body has been read; None if no route fits."""
        with self._lock:
            self.requests.append(request)
            steps = next((steps for route, steps in self._routes.values() if route.fits(request)), self._others)
            if steps is None:
                return None
            step = steps.take()
        return step if steps.choose is None else _step(steps.choose(request))

    # What was sent

    def sent(self, pattern: str | None = None) -> list[httpx2.Request]:
        """The requests of a route, in order; without one, all."""
        if pattern is None:
            return list(self.requests)
        route = Route(pattern)
        return [request for request in self.requests if route.fits(request)]

    def assert_sent(
        self,
        pattern: str,
        *,
        times: int | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> list[httpx2.Request]:
        """Asserts that requests of a route were sent, each of them with this body and these headers.

        Args:
            pattern: see `Route`.
            times: how many; None: at least one.
            json: what each body is as JSON; None: not looked at.
            headers: which each request has, among others.

        Returns:
            The requests.

        Raises:
            AssertionError: it was not so; the message shows what was sent instead.
        """
        found = self.sent(pattern)
        if times is None and not found:
            raise AssertionError(f"no request to {pattern} was sent. Sent were:\n{told(self.requests)}")
        if times is not None and len(found) != times:
            expected = f"{times} {'request' if times == 1 else 'requests'} to {pattern}"
            raise AssertionError(f"expected {expected}, but there were {len(found)}. Sent were:\n{told(self.requests)}")
        for number, request in enumerate(found, start=1):
            _compare(f"request {number} to {pattern}", request, json, headers or {})
        return found

    def assert_not_sent(self, pattern: str = "/**") -> None:
        """Asserts that no request of a route was sent, or none at all.

        Raises:
            AssertionError: there was one; the message shows it.
        """
        found = self.sent(pattern)
        if found:
            raise AssertionError(f"expected no request to {pattern}, but there were {len(found)}:\n{told(found)}")

    def assert_played(self) -> None:
        """Asserts that every step of every sequence in the script has happened.

        Raises:
            AssertionError: some have not; the message names the next one of each.
        """
        scripts = [(pattern, steps) for pattern, (_, steps) in self._routes.items()]
        if self._others is not None:
            scripts.append(("the script", self._others))
        left = [f"  {name}: {steps.left()}" for name, steps in scripts if steps]
        if left:
            raise AssertionError("not all that was scripted has happened:\n" + "\n".join(left))


class _Steps:
    """A script that is being played. True as long as some step of it has not happened."""

    def __init__(self, script: Script) -> None:
        self.choose: Callable[[httpx2.Request], Item] | None = None
        self._played = 0
        self._steps: list[Step] = []
        if _is_item(script):
            self._steps = [_step(script)]
        elif callable(script):
            self.choose = script
        elif isinstance(script, Iterable) and not isinstance(script, (str, bytes)):
            self._steps = [_step(item) for item in script]
            if not self._steps:
                raise ValueError("the script has no step")
        else:
            raise TypeError(f"{script!r} is no script: expected steps, statuses, exceptions, or a function")

    def take(self) -> Step:
        """The next step. Under the transport's lock."""
        self._played += 1
        return self._steps[min(self._played, len(self._steps)) - 1] if self._steps else _NO_STEP

    def __bool__(self) -> bool:
        return self._played < len(self._steps)

    def left(self) -> str:
        """What has not happened, for people."""
        return f"{self._played} of {len(self._steps)} steps; next is {self._steps[self._played]}"


class _BrokenBody(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body after which the connection breaks."""

    def __init__(self, content: bytes, error: Exception) -> None:
        self._content = content
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise self._error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content
        raise self._error


_NO_STEP = Step()


def _is_item(script: object) -> bool:
    return isinstance(script, (Step, int, httpx2.Response, Exception)) or (
        isinstance(script, type) and issubclass(script, Exception)
    )


def _step(item: Any) -> Step:
    if isinstance(item, Step):
        return item
    if isinstance(item, int) and not isinstance(item, bool):
        return Step(item)
    if isinstance(item, Exception) or (isinstance(item, type) and issubclass(item, Exception)):
        return Step(error=item)
    if isinstance(item, httpx2.Response):
        # Its body is decoded here, and may be needed more than once.
        coded = ("content-encoding", "content-length", "transfer-encoding")
        headers = {name: value for name, value in item.headers.items() if name not in coded}
        return Step(item.status_code, content=item.read(), headers=headers)
    raise TypeError(f"{item!r} is no step: expected a Step, a status, a response, or an exception")


def _made(error: Exception | type[Exception], request: httpx2.Request) -> Exception:
    if isinstance(error, Exception):
        return error
    return error("scripted", request=request) if issubclass(error, httpx2.RequestError) else error("scripted")


def _compare(what: str, request: httpx2.Request, json: Any, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        given = request.headers.get(name)
        if given != value:
            has = "has none" if given is None else f"has {given!r}"
            raise AssertionError(f"{what}: expected the header {name}: {value!r}, but it {has}")
    if json is not None:
        try:
            body = codec.loads(request.content)
        except ValueError:
            raise AssertionError(f"{what}: expected a JSON body, but it is {request.content[:200]!r}") from None
        if body != json:
            raise AssertionError(f"{what}: expected the body\n  {codec.dumps(json)}\nbut it is\n  {codec.dumps(body)}")

"""One scenario, three drivers: what the same calls come to under asyncio, on threads and under virtual time.

A scenario is data: settings, what the server does, the calls, and what is expected of each. The runners give results
that can be compared with ``==``, so that a difference between two drivers is a failed test.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from holdfast.client import ResilientClient
from holdfast.config import ClientConfig
from holdfast.core.effects import FOREVER, Failed, Flow, Park, Spawn
from holdfast.core.events import CallFinished, Event
from holdfast.core.outcome import Stop
from holdfast.testing.clock import installed
from holdfast.testing.transport import FaultTransport, Script
from holdfast.testing.virtual import VirtualClient, VirtualTime


@dataclass(frozen=True, slots=True)
class CallSpec:
    """One call of a scenario, and what is expected of it.

    Attributes:
        outcome: the status of the response, or the name of the exception's class.
        attempts: how many attempts the call itself makes.
        method, url, options: as for `ResilientClient.request`.
        at: seconds after the beginning; None: as soon as the call before it in the list has ended.
        stream: whether it is a `ResilientClient.stream`, whose body is read at once.
    """

    outcome: int | str
    attempts: int = 1
    method: str = "GET"
    url: str = "/"
    options: Mapping[str, Any] = field(default_factory=dict)
    at: float | None = 0.0
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is called, and what answers.

    Attributes:
        name: for people, in a few words.
        script: what the server does, as for `FaultTransport`; used for several runs, so without a memory of its own.
        calls: in the order of their beginning.
        requests: how many requests reach the transport, redirects and renewed credentials included; None: as many as
            all calls make attempts.
        config: the client's settings.
    """

    name: str
    script: Script
    calls: tuple[CallSpec, ...]
    requests: int | None = None
    config: ClientConfig = field(default_factory=lambda: ClientConfig(base_url="https://api.example.com"))

    @property
    def expected(self) -> Run:
        """What every driver must come to."""
        results = tuple(Result(call.outcome, call.attempts) for call in self.calls)
        sent = self.requests if self.requests is not None else sum(call.attempts for call in self.calls)
        return Run(results, sent)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one call: its outcome and attempts as in `CallSpec`; `error` is what was raised, for people."""

    outcome: int | str
    attempts: int
    error: BaseException | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a scenario: a result for every call, and the number of requests that the transport saw."""

    results: tuple[Result, ...]
    requests: int


async def run_async(scenario: Scenario) -> Run:
    """Runs a scenario on the running event loop, in real time; with a `VirtualClock` installed, on that."""
    transport, attempts = FaultTransport(scenario.script), _Attempts()
    ended: dict[int, Any] = {}
    clock = installed()
    now, sleep = (time.monotonic, asyncio.sleep) if clock is None else (clock.now, clock.sleep)
    begun = now()

    async def walk(client: ResilientClient, chain: list[int]) -> None:
        for number in chain:
            spec = scenario.calls[number]
            if spec.at is not None:
                await sleep(max(begun + spec.at - now(), 0.0))
            try:
                ended[number] = await _call_async(client, spec, _options(spec, number))
            except Exception as error:  # noqa: BLE001  # the outcome of this call
                ended[number] = error

    async with ResilientClient(scenario.config, transport=transport, observers=[attempts]) as client:
        await asyncio.gather(*(walk(client, chain) for chain in _chains(scenario)))
    return _run(scenario, ended, attempts, transport)


def run_sync(scenario: Scenario) -> Run:
    """Runs a scenario on threads, in real time; with a `VirtualClock` installed, on that."""
    transport, attempts = FaultTransport(scenario.script), _Attempts()
    ended: dict[int, Any] = {}
    chains = list(_chains(scenario))
    clock = installed()
    now, sleep = (time.monotonic, time.sleep) if clock is None else (clock.now, clock.sleep_sync)
    ready = threading.Barrier(len(chains))
    begun = now()

    def walk(client: ResilientClient, chain: list[int]) -> None:
        # Time must not jump before everybody is there.
        with contextlib.nullcontext() if clock is None else clock.party(threading.get_ident()):
            ready.wait()
            for number in chain:
                spec = scenario.calls[number]
                if spec.at is not None:
                    sleep(max(begun + spec.at - now(), 0.0))
                try:
                    ended[number] = _call_sync(client, spec, _options(spec, number))
                except Exception as error:  # noqa: BLE001  # the outcome of this call
                    ended[number] = error

    with ResilientClient(scenario.config, transport=transport, observers=[attempts]) as client:
        threads = [threading.Thread(target=walk, args=(client, chain)) for chain in chains]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return _run(scenario, ended, attempts, transport)


def run_virtual(scenario: Scenario, world: VirtualTime | None = None) -> Run:
    """Runs a scenario under virtual time; in a world of your own, from its present on."""
    attempts = _Attempts()
    world = world if world is not None else VirtualTime()
    client = VirtualClient(world, scenario.config, scenario.script, (attempts,))
    ended = start_virtual(scenario, client)
    world.run()
    results = {number: _raised(client, end) for number, end in ended.items()}
    return _run(scenario, results, attempts, client.transport)


def start_virtual(scenario: Scenario, client: VirtualClient) -> dict[int, Any]:
    """Starts the calls of a scenario on a client under virtual time.

    Returns:
        What the calls end with, by their number; filled while the time runs.
    """
    ended: dict[int, Any] = {}
    for chain in _chains(scenario):
        client.start_flow(_walk(scenario, client, chain, client.world.now, ended))
    return ended


def _walk(
    scenario: Scenario, client: VirtualClient, chain: list[int], begun: float, ended: dict[int, Any]
) -> Flow[None]:
    for number in chain:
        spec = scenario.calls[number]
        if spec.at is not None:
            yield Park(begun + spec.at)
        ends: list[Any] | None = [] if spec.stream else None
        try:
            flow = client.flow(spec.method, spec.url, ends=ends, **_options(spec, number))
        except Exception as error:  # noqa: BLE001  # the outcome of this call
            ended[number] = error
            continue
        child = yield Spawn(flow)
        yield Park(FOREVER, child)
        ended[number] = child.value
        for end in ends or ():
            end()


def _chains(scenario: Scenario) -> Iterator[list[int]]:
    """The numbers of the calls, those together that follow each other."""
    chain: list[int] = []
    for number, spec in enumerate(scenario.calls):
        if chain and spec.at is not None:
            yield chain
            chain = []
        chain.append(number)
    if chain:
        yield chain


def _options(spec: CallSpec, number: int) -> dict[str, Any]:
    """The options of a call, with an id by which its events are told from those of the others."""
    options = dict(spec.options)
    if "request_id" not in options:
        options["headers"] = {**options.get("headers", {}), "X-Request-ID": f"call-{number}"}
    return options


async def _call_async(client: ResilientClient, spec: CallSpec, options: dict[str, Any]) -> httpx2.Response:
    if not spec.stream:
        return await client.request(spec.method, spec.url, **options)
    async with client.stream(spec.method, spec.url, **options) as response:
        await response.aread()
    return response


def _call_sync(client: ResilientClient, spec: CallSpec, options: dict[str, Any]) -> httpx2.Response:
    if not spec.stream:
        return client.request(spec.method, spec.url, **options).result()
    with client.stream(spec.method, spec.url, **options) as response:
        response.read()
    return response


def _raised(client: VirtualClient, end: Any) -> Any:
    if isinstance(end, Stop):
        return client.assembly.error(end)
    return end.error if isinstance(end, Failed) else end


class _Attempts:
    """Counts the attempts of every call by its request id."""

    def __init__(self) -> None:
        self.by_id: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, CallFinished):
            self.by_id[event.request_id] = event.attempts


def _run(scenario: Scenario, ended: Mapping[int, Any], attempts: _Attempts, transport: FaultTransport) -> Run:
    results = []
    for number, spec in enumerate(scenario.calls):
        end = ended[number]
        made = attempts.by_id.get(spec.options.get("request_id", f"call-{number}"), 0)
        if isinstance(end, BaseException):
            results.append(Result(type(end).__name__, made, end))
        else:
            results.append(Result(end.status_code, made))
    return Run(tuple(results), len(transport.requests))

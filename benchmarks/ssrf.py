"""Prints what becomes of hostile endpoints that are registered with a running Service Integration server, and called.

    .venv/bin/python benchmarks/ssrf.py

The server is a real one on the loopback interface, once as in production and once with private addresses allowed. On
the port that the endpoints mean, a canary listens: a connection to it is a failure. The exit status is 1 if there was
one, or if an endpoint was not refused where it has to be.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import uvicorn

sys.path.insert(0, str(Path(__file__).parents[1]))

from holdfast.servers.integration import create_app
from holdfast.servers.integration.settings import Settings
from holdfast.servers.outbound.addresses import AddressPolicy
from holdfast.servers.outbound.guard import Guard
from holdfast.servers.service import Storage
from tests.support.hostile import HOSTILE, UNKNOWN_FIRST, Hostile, Names
from tests.support.loopback import Loopback, json_answer, redirect


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    case: Hostile
    endpoint: str
    status: int
    detail: str
    refused: bool


async def tried(client: httpx2.AsyncClient, case: Hostile, names: Names, canary: Loopback, peer: Loopback) -> Row:
    names.lookups, names.asked = case.lookups, []
    if case.redirect is not None:
        status, location = case.redirect
        peer.on("/act", redirect(status, location.format(port=canary.port, other=peer.port)))
    endpoint = case.filled(canary.port, peer.port)
    answer = await client.post(
        "/services", json={"name": case.what, "endpoint": endpoint, "actions": [{"name": "act"}]}
    )
    if case.at == "registration":
        problems = [one["msg"] for one in answer.json()["detail"]] if answer.status_code == 422 else [answer.text]
        return Row(case, endpoint, answer.status_code, "; ".join(problems), answer.status_code == 422)
    if case.what == UNKNOWN_FIRST:
        names.lookups = [("127.0.0.1",)]
    called = await client.post(f"/services/{answer.json()['id']}/actions/act", json={"input_data": {}})
    return Row(case, endpoint, called.status_code, called.json()["detail"], called.status_code == 424)


async def rows(canary: Loopback, peer: Loopback, *, private: bool) -> list[Row]:
    names = Names()
    guard = Guard(AddressPolicy(private=private), names)
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Storage(Path(folder)), Settings(), guard=guard)
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="on"))
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}/api", trust_env=False, timeout=30) as client:
            cases = [case for case in HOSTILE if case.private is private]
            found = [await tried(client, case, names, canary, peer) for case in cases]
        server.should_exit = True
        await serving
    return found


@contextmanager
def listening() -> Iterator[tuple[Loopback, Loopback]]:
    with Loopback(default=json_answer(200, "{}")) as canary, Loopback() as peer:
        yield canary, peer


def main() -> int:
    logging.disable(logging.CRITICAL)
    with listening() as (canary, peer):
        found = {private: asyncio.run(rows(canary, peer, private=private)) for private in (False, True)}
        reached = canary.connections
    for private, listed in found.items():
        print(f"\nPrivate addresses {'allowed, as in development' if private else 'not allowed, as in production'}\n")
        print("| | endpoint | refused when | status | because |\n|---|---|---|---|---|")
        for row in listed:
            when = row.case.at if row.refused else "NOT REFUSED"
            print(f"| {row.case.what} | `{ascii(row.endpoint)[1:-1]}` | {when} | {row.status} | {row.detail} |")
    every = [row for listed in found.values() for row in listed]
    refused = sum(row.refused for row in every)
    print(f"\n{refused} of {len(every)} refused; connections to the canary: {reached}")
    return 0 if refused == len(every) and not reached else 1


if __name__ == "__main__":
    sys.exit(main())

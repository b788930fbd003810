"""Every hostile endpoint of the table is refused, and nothing ever connects to the canary."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from functools import partial
from uuid import uuid4

import pytest

from holdfast.servers.integration import create_app
from holdfast.servers.integration.calling import ActionFailedError, ServiceCaller, Target
from holdfast.servers.integration.settings import Settings
from holdfast.servers.outbound.addresses import AddressPolicy
from holdfast.servers.outbound.guard import ForbiddenEndpointError, Guard
from holdfast.servers.service import Storage
from tests.support.hostile import HOSTILE, UNKNOWN_FIRST, Hostile, Names
from tests.support.loopback import Loopback, json_answer, redirect
from tests.support.registry import Registry
from tests.support.served import serving_app

pytestmark = pytest.mark.loopback

TLS = ssl.create_default_context()


@pytest.fixture
def canary() -> Iterator[Loopback]:
    canary = Loopback(default=json_answer(200, "{}"))
    yield canary
    canary.close()


def prepared(case: Hostile, canary: Loopback, peer: Loopback) -> tuple[Guard, Names]:
    names = Names(case.lookups)
    peer.routes.clear()
    if case.redirect is not None:
        status, location = case.redirect
        peer.on("/act", redirect(status, location.format(port=canary.port, other=peer.port)))
    return Guard(AddressPolicy(private=case.private), names), names


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.what)
def test_a_hostile_endpoint_is_refused(case, canary, peer):
    guard, names = prepared(case, canary, peer)
    endpoint = case.filled(canary.port, peer.port)

    async def main() -> None:
        if case.at == "registration":
            with pytest.raises(ForbiddenEndpointError) as refused:
                await guard.check(endpoint)
            assert case.expect in str(refused.value)
        else:
            await guard.check(endpoint)
        if case.what == UNKNOWN_FIRST:
            names.lookups = [("127.0.0.1",)]
        # Whatever was found at registration: nothing is called.
        target = Target(uuid4(), "evil", endpoint, False, "act", {}, {})
        async with ServiceCaller(Settings(action_attempts=3), guard=guard, tls=TLS) as caller:
            with pytest.raises(ActionFailedError) as failed:
                await caller.call(target, {"secret": 1}, key=None, correlation_id=None, timeout=5)
            assert case.at == "registration" or case.expect in failed.value.message
            assert failed.value.attempts == (0 if case.redirect is None else 1)
            if case.redirect is None:
                assert not failed.value.may_have_executed
                health = await caller.health(target)
                assert not health.healthy and health.status_code is None and health.error

    asyncio.run(main())
    assert canary.connections == 0 and canary.seen == []
    assert len(peer.seen) == (case.redirect is not None)


@pytest.mark.parametrize("private", [False, True], ids=["production", "development"])
def test_a_running_server_says_so(tmp_path, canary, peer, private):
    names = Names()
    guard = Guard(AddressPolicy(private=private), names)
    make = partial(create_app, guard=guard)
    with serving_app(make, Storage(tmp_path), Settings(action_attempts=1)) as served:
        registry = Registry(served)
        for number, case in enumerate(case for case in HOSTILE if case.private is private):
            names.lookups, names.asked = case.lookups, []
            prepared(case, canary, peer)
            given = {
                "name": f"s{number}",
                "endpoint": case.filled(canary.port, peer.port),
                "actions": [{"name": "act"}],
            }
            answer = registry("POST", "/services", given)
            if case.at == "registration":
                assert answer.status_code == 422, case
                (problem,) = answer.json()["detail"]
                assert (problem["loc"], problem["type"]) == (["body", "endpoint"], "forbidden_endpoint")
                assert case.expect in problem["msg"]
                continue
            assert answer.status_code == 201, answer.text
            if case.what == UNKNOWN_FIRST:
                names.lookups = [("127.0.0.1",)]
            called = registry("POST", f"/services/{answer.json()['id']}/actions/act", {"input_data": {}})
            assert called.status_code == 424 and case.expect in called.json()["detail"]
            assert called.json()["service"] == given["name"]
    assert canary.connections == 0 and canary.seen == []

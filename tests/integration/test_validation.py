"""`validate_workflow`: the path that steps make, and whether their actions exist, before anything is created."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.integration import ServiceIntegrationClient, ServiceIntegrationSettings, ValidationError
from holdfast.integration.graph import problems
from holdfast.integration.requests import NewStep
from holdfast.testing import FaultTransport
from tests.support.colours import Colour
from tests.support.integration import StubRegistry


def steps_of(**following: str | None) -> list[dict[str, Any]]:
    return [{"id": name, "service": "texts", "action": "act", "next": to} for name, to in following.items()]


def made(registry: StubRegistry) -> ServiceIntegrationClient:
    return ServiceIntegrationClient(settings=ServiceIntegrationSettings(), transport=FaultTransport(registry))


def with_services(registry: StubRegistry, *names: str) -> StubRegistry:
    for name in names:
        facts = {"id": name, "name": name, "endpoint": "http://t/api", "actions": [{"name": "act"}], "status": "ACTIVE"}
        registry.services[name] = facts
    return registry


def test_steps_that_are_right(registry: StubRegistry, colour: Colour) -> None:
    client = made(with_services(registry, "texts"))
    assert colour(client.validate_workflow(steps_of(a="b", b=None))) is None
    assert set(registry.counts) == {"GET /services"}
    colour(client.close())


def test_the_registry_is_read_once_and_whole(registry: StubRegistry, colour: Colour) -> None:
    with_services(registry, "texts", *(f"service-{number}" for number in range(250)))
    client = made(registry)
    colour(client.validate_workflow(steps_of(a="b", b="c", c=None)))
    assert registry.counts == {"GET /services": 3}  # "texts" is the oldest, and on the last page
    colour(client.close())


def test_every_wrong_step_is_named(registry: StubRegistry, colour: Colour) -> None:
    client = made(with_services(registry, "texts"))
    steps = steps_of(a="b", b="x", c=None, d=None)
    steps[0]["service"] = "nobody"
    steps[1]["action"] = "guess"
    error = colour.error(client.validate_workflow(steps), ValidationError)
    assert error.validation_errors == {
        "steps.1.next": "step 'b': no step has the id 'x'",
        "steps.2.id": "step 'c': no step leads to it, and the workflow begins with 'a' already",
        "steps.3.id": "step 'd': no step leads to it, and the workflow begins with 'a' already",
        "steps.0.service": "step 'a': no service is called 'nobody'",
        "steps.1.action": "step 'b': the service 'texts' has no action 'guess'",
    }
    assert all(message in str(error) for message in error.validation_errors.values())
    assert str(error).startswith("ServiceIntegrationClient.validate_workflow: ")
    assert not error.may_have_executed and not getattr(error, "__notes__", [])
    assert registry.workflows == {} and error.field_errors["steps.1.next"] == ["step 'b': no step has the id 'x'"]
    colour(client.close())


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        (steps_of(a=None), []),
        (steps_of(c=None, b="c", a="b"), []),
        (steps_of(a="a"), ["step 'a': leads in a circle, 'a' -> 'a'"]),
        (steps_of(a="b", b="a"), ["step 'b': leads in a circle, 'a' -> 'b' -> 'a'"]),
        (
            steps_of(a="b", b=None, c="d", d="c"),
            ["step 'd': leads in a circle, 'c' -> 'd' -> 'c'"],
        ),
        (
            steps_of(a="b", b="c", c="b"),
            ["step 'c': leads to 'b', as 'a' does", "step 'c': leads in a circle, 'b' -> 'c' -> 'b'"],
        ),
        (
            steps_of(a="c", b="c", c=None),
            [
                "step 'b': leads to 'c', as 'a' does",
                "step 'b': no step leads to it, and the workflow begins with 'a' already",
            ],
        ),
        ([*steps_of(a=None), *steps_of(a=None)], ["step 'a': another step has this id"]),
    ],
)
def test_what_makes_no_path(steps: list[dict[str, Any]], found: list[str]) -> None:
    assert [message for _, message in problems([NewStep(**step) for step in steps])] == found


NAMES = st.sampled_from("abcde")


@given(st.lists(st.tuples(NAMES, st.none() | NAMES), min_size=1, max_size=6))
def test_no_problem_is_found_exactly_where_there_is_one_path(pairs: list[tuple[str, str | None]]) -> None:
    steps = [NewStep(id=name, service="s", action="a", next=to) for name, to in pairs]
    following = dict(pairs)
    assert (not problems(steps)) is (len(following) == len(pairs) and _is_path(following))


def _is_path(following: dict[str, str | None]) -> bool:
    """Whether some step leads through all others, each once, to the end."""
    for beginning in following:
        walk: list[str | None] = [beginning]
        while walk[-1] in following and len(walk) <= len(following):
            walk.append(following[walk[-1] or ""])
        if walk[-1] is None and len(walk) == len(following) + 1 and set(walk[:-1]) == set(following):
            return True
    return False

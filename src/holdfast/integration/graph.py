"""Whether the steps of a workflow make one path, from a first step to a last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.integration.requests import NewStep

Problem = tuple[str, str]
"""A field, such as ``"steps.0.next"``, and what is wrong with it: a message that names the step."""


def problems(steps: Sequence[NewStep]) -> list[Problem]:
    """What keeps steps from being a workflow; nothing if they are one.

    A workflow begins with the one step that no other leads to, and goes from step to step until one leads nowhere.
    """
    found: list[Problem] = []
    place: dict[str, int] = {}
    for index, step in enumerate(steps):
        if step.id in place:
            found.append((f"steps.{index}.id", f"step {step.id!r}: another step has this id"))
        place.setdefault(step.id, index)
    reached_from: dict[str, str] = {}
    for step_id, index in place.items():
        following = steps[index].next
        if following is None:
            continue
        if following not in place:
            found.append((f"steps.{index}.next", f"step {step_id!r}: no step has the id {following!r}"))
        elif following in reached_from:
            other = reached_from[following]
            found.append((f"steps.{index}.next", f"step {step_id!r}: leads to {following!r}, as {other!r} does"))
        else:
            reached_from[following] = step_id
    beginnings = [step_id for step_id in place if step_id not in reached_from]
    for step_id in beginnings[1:]:
        known = f"no step leads to it, and the workflow begins with {beginnings[0]!r} already"
        found.append((f"steps.{place[step_id]}.id", f"step {step_id!r}: {known}"))
    return [*found, *_circles(steps, place)]


def _circles(steps: Sequence[NewStep], place: dict[str, int]) -> list[Problem]:
    found: list[Problem] = []
    passed: set[str] = set()
    for beginning in place:
        walk: list[str] = []
        at: str | None = beginning
        while at is not None and at in place and at not in passed:
            passed.add(at)
            walk.append(at)
            at = steps[place[at]].next
        if at in walk:
            circle = [*walk[walk.index(at) :], at]
            last = place[circle[-2]]
            shown = " -> ".join(map(repr, circle))
            found.append((f"steps.{last}.next", f"step {circle[-2]!r}: leads in a circle, {shown}"))
    return found

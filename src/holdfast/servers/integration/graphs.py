"""Whether the steps of a workflow are one path, and in which order they are executed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Protocol

from holdfast.servers.integration.problems import Problem

__all__ = ["Node", "check_path", "in_order"]


class Node(Protocol):
    """What is looked at of a step."""

    @property
    def id(self) -> str: ...

    @property
    def next(self) -> str | None: ...


def check_path(steps: Sequence[Node]) -> list[Problem]:
    """What keeps the steps from being one path: from one first step, over all others, to one without a `next`."""
    by_id: dict[str, int] = {}
    problems: list[Problem] = []
    for index, step in enumerate(steps):
        if step.id in by_id:
            message = f"step {step.id!r}: step {by_id[step.id]} has the same id; give each one of its own"
            problems.append(_problem(index, "id", message))
        by_id.setdefault(step.id, index)
    for index, step in enumerate(steps):
        if step.next is not None and step.next not in by_id:
            message = (
                f"step {step.id!r}: its next, {step.next!r}, is no step of this workflow; name one, or null to end"
            )
            problems.append(_problem(index, "next", message))
        elif step.next == step.id:
            problems.append(_problem(index, "next", f"step {step.id!r}: leads to itself; name another step, or null"))
    if problems:
        # What follows would say the same in other words.
        return problems
    return [*_meetings(steps), *_cycles(steps, by_id), *_beginnings(steps)]


def in_order(steps: Sequence[Node]) -> list[int]:
    """Positions of the steps of one path, in the order in which they are executed."""
    by_id = {step.id: index for index, step in enumerate(steps)}
    led_to = {step.next for step in steps}
    order = [next(index for index, step in enumerate(steps) if step.id not in led_to)]
    while (following := steps[order[-1]].next) is not None:
        order.append(by_id[following])
    return order


def _meetings(steps: Sequence[Node]) -> list[Problem]:
    leading: dict[str, list[int]] = defaultdict(list)
    for index, step in enumerate(steps):
        if step.next is not None:
            leading[step.next].append(index)
    problems = []
    for name, indexes in leading.items():
        for index in indexes[1:]:
            first = steps[indexes[0]].id
            message = f"step {steps[index].id!r}: leads to {name!r}, as step {first!r} does; only one step may"
            problems.append(_problem(index, "next", message))
    return problems


def _cycles(steps: Sequence[Node], by_id: dict[str, int]) -> list[Problem]:
    """One problem for each cycle, at the step that closes it, counted in the order in which they are listed."""
    problems = []
    seen: dict[int, int] = {}
    for start in range(len(steps)):
        walked: list[int] = []
        index: int | None = start
        while index is not None and index not in seen:
            seen[index] = start
            walked.append(index)
            following = steps[index].next
            index = None if following is None else by_id[following]
        if index is not None and seen[index] == start and walked:
            round_ = [steps[one].id for one in walked[walked.index(index) :]]
            path = " -> ".join([*round_, round_[0]])
            message = f"step {steps[walked[-1]].id!r}: closes a cycle, {path}; a workflow has to end"
            problems.append(_problem(walked[-1], "next", message))
    return problems


def _beginnings(steps: Sequence[Node]) -> list[Problem]:
    led_to = Counter(step.next for step in steps)
    beginnings = [index for index, step in enumerate(steps) if not led_to[step.id]]
    first = steps[beginnings[0]].id if beginnings else ""
    return [
        _problem(
            index,
            "id",
            f"step {steps[index].id!r}: is never reached, for no step leads to it, and the workflow begins with "
            f"{first!r}; let the step before it name it as its next, or leave it out",
        )
        for index in beginnings[1:]
    ]


def _problem(index: int, field: str, message: str) -> Problem:
    return Problem(("body", "steps", index, field), message, "workflow_graph")

"""Whether steps are one path: all graphs that hypothesis thinks of, against a definition in other words."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from holdfast.servers.integration.graphs import check_path, in_order


@dataclass(frozen=True)
class Step:
    id: str
    next: str | None


NAMES = st.sampled_from("abcdef")
GRAPHS = st.lists(st.builds(Step, NAMES, st.none() | NAMES), min_size=1, max_size=6)


def is_path(steps: list[Step]) -> bool:
    """Some order of the steps has each lead to the one after it, and the last one to none."""
    following = {step.id: step.next for step in steps}
    if len(following) < len(steps):
        return False
    for first in following:
        walked: list[str] = []
        at: str | None = first
        while at in following and at not in walked:
            walked.append(at)
            at = following[at]
        if at is None and len(walked) == len(steps):
            return True
    return False


@given(GRAPHS)
def test_exactly_one_path_is_accepted(steps):
    problems = check_path(steps)
    assert (not problems) == is_path(steps)
    for problem in problems:
        body, kind, index, field = problem.loc
        assert (body, kind) == ("body", "steps") and field in {"id", "next"}
        assert problem.message.startswith(f"step {steps[int(index)].id!r}: ")
    # Each thing is said once.
    assert len(set(problems)) == len(problems)


@given(st.permutations("abcdef").flatmap(lambda names: st.tuples(st.just(names), st.permutations(range(6)))))
def test_a_path_is_executed_in_its_order_however_it_is_listed(drawn):
    names, listing = drawn
    path = [Step(name, following) for name, following in zip(names, [*names[1:], None], strict=True)]
    listed = [path[position] for position in listing]
    assert check_path(listed) == []
    assert [listed[index].id for index in in_order(listed)] == list(names)


def test_each_cycle_is_told_once_with_its_way():
    steps = [Step("a", "b"), Step("b", "a"), Step("c", "d"), Step("d", "e"), Step("e", "d"), Step("f", None)]
    cycles = [problem.message for problem in check_path(steps) if "cycle" in problem.message]
    assert cycles == [
        "step 'b': closes a cycle, a -> b -> a; a workflow has to end",
        "step 'e': closes a cycle, d -> e -> d; a workflow has to end",
    ]

"""Waiters, children and jobs by themselves."""

from __future__ import annotations

from typing import Any

from holdfast.core.effects import FOREVER, Child, Failed, Io, Job, Waiter


def job(**attributes: Any) -> Job:
    made = Job("GET", "/a", [(b"accept", b"x")], b"", {"read": 5.0}, "plan", "origin", "GET /a", "id-1", "context")
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def test_a_waiter_is_woken_once():
    waiter = Waiter()
    assert (waiter.woken, waiter.value) == (False, None)
    assert waiter.wake("first")
    assert not waiter.wake("second")
    assert (waiter.woken, waiter.value) == (True, "first")


def test_who_has_gone_is_not_woken():
    waiter = Waiter()
    waiter.gone = True
    assert not waiter.wake("late")
    assert (waiter.woken, waiter.value) == (False, None)


def test_who_cannot_be_told_has_gone():
    waiter = Waiter()
    waiter.notify = lambda: False
    assert not waiter.wake("first")
    assert (waiter.woken, waiter.gone) == (False, True)
    waiter.notify = lambda: True
    assert not waiter.wake("second")


def test_who_is_told_is_woken_with_the_value_already_there():
    waiter = Waiter()
    seen: list[Any] = []

    def notify() -> bool:
        seen.append((waiter.woken, waiter.value))
        return True

    waiter.notify = notify
    assert waiter.wake("first")
    assert seen == [(True, "first")]


def test_a_child_that_was_not_started_can_be_cancelled():
    child = Child()
    child.cancel()
    assert child.wake("end")


def test_an_operation_has_a_deadline():
    assert (Io(print, "x", 5.0).arg, Io(print, "x", 5.0).deadline) == ("x", 5.0)
    assert (Io(print).arg, Io(print).deadline) == (None, FOREVER)


def test_a_failure_has_no_status():
    error = ValueError()
    assert (Failed(error).error, Failed(error).status_code) == (error, 0)


def test_a_clone_is_the_same_request_and_another_call():
    original = job(keyed=True, patience=5.0, attempts=2, executed=True, on_end=print)
    clone = original.clone()
    assert {**vars(original), "attempts": 0, "executed": False, "on_end": None} == vars(clone)
    clone.attempts = 1
    assert original.attempts == 2


def test_jobs_share_no_defaults():
    first, second = job(), job()
    first.attempts = 1
    first.stream = True
    assert (second.attempts, second.stream, Job.attempts) == (0, False, 0)


def test_what_a_job_was_made_with():
    made = job()
    assert (made.method, made.url, made.headers, made.body) == ("GET", "/a", [(b"accept", b"x")], b"")
    assert (made.timeouts, made.plan, made.key, made.route) == ({"read": 5.0}, "plan", "origin", "GET /a")
    assert (made.id, made.context) == ("id-1", "context")

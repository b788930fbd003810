"""Again or halt, and the reasons given."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.backoff import Backoff
from holdfast.core.outcome import Kind, Outcome
from holdfast.core.replay import ReplayMode, may_replay
from holdfast.core.retry import Again, Halt, RetryPolicy

STATUS = {
    Kind.OK: 200,
    Kind.THROTTLED: 429,
    Kind.UNAVAILABLE: 503,
    Kind.SERVER_TIMEOUT: 408,
    Kind.SERVER_ERROR: 500,
    Kind.REJECTED: 404,
}
MODES: tuple[ReplayMode, ...] = ("answered", "when_safe", "always")
STEADY = Backoff("constant", 2.0, 60.0, 1.0, "off")
POLICY = RetryPolicy(max_attempts=3, backoff=STEADY)
POST: dict[str, Any] = {"idempotent": False}
KEYED: dict[str, Any] = {"idempotent": False, "keyed": True}


def outcome(kind: Kind, retry_after: float | None = None) -> Outcome:
    return Outcome(kind, STATUS.get(kind, 0), retry_after=retry_after)


def decide(policy: RetryPolicy, what: Kind | Outcome, **given_: Any) -> Again | Halt:
    facts: dict[str, Any] = {
        "attempts": 1,
        "idempotent": True,
        "keyed": False,
        "replayable": True,
        "left": math.inf,
        "previous": None,
        "rand": lambda: 0.0,
        "wanted": None,
    }
    return policy.next(what if isinstance(what, Outcome) else outcome(what), **{**facts, **given_})


def why(step: Again | Halt) -> str:
    assert isinstance(step, Halt)
    return step.why


def test_a_failure_is_repeated_until_the_attempts_are_used_up():
    assert decide(POLICY, Kind.SERVER_ERROR, attempts=1) == Again(2.0)
    assert decide(POLICY, Kind.SERVER_ERROR, attempts=2) == Again(2.0)
    assert decide(POLICY, Kind.SERVER_ERROR, attempts=3) == Halt("all 3 attempts are used up", spent=True)
    twice = RetryPolicy(max_attempts=2, backoff=STEADY)
    assert decide(twice, Kind.SERVER_ERROR, attempts=2) == Halt("all 2 attempts are used up", spent=True)


def test_a_single_attempt_is_spent_only_if_it_could_have_been_repeated():
    once = RetryPolicy(max_attempts=1, backoff=STEADY)
    assert decide(once, Kind.SERVER_ERROR) == Halt("only one attempt is allowed (max_attempts=1)", spent=True)
    assert decide(once, Kind.REJECTED) == Halt("a 404 is not retried", spent=False)
    assert decide(once, Kind.REJECTED, wanted=True) == Halt("only one attempt is allowed (max_attempts=1)", spent=True)


def test_what_is_not_retryable_after_the_last_retry_is_not_for_want_of_attempts():
    assert decide(POLICY, Kind.REJECTED, attempts=2) == Halt("a 404 is not retried", spent=False)
    assert decide(POLICY, Kind.REJECTED, attempts=3) == Halt("a 404 is not retried", spent=False)


def test_the_backoff_is_asked_for_the_right_retry():
    policy = RetryPolicy(max_attempts=9, backoff=Backoff("exponential", 1.0, 60.0, 2.0, "off"))
    assert [decide(policy, Kind.LOST, attempts=count) for count in (1, 2, 3)] == [Again(1.0), Again(2.0), Again(4.0)]


def test_the_backoff_gets_the_wait_before_and_the_randomness():
    policy = RetryPolicy(max_attempts=9, backoff=Backoff("exponential", 1.0, 60.0, 2.0, "decorrelated"))
    assert decide(policy, Kind.LOST, attempts=2, previous=5.0, rand=lambda: 0.5) == Again(8.0)


# Reasons


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Kind.OK, "a success is not retried"),
        (Kind.UNUSABLE, "a body that must not be read is not asked for again"),
        (Kind.REFUSED, "what cannot be sent, or must not be followed, stays so"),
        (Kind.LATE, "the deadline has passed"),
    ],
)
@pytest.mark.parametrize("method", [{}, POST, KEYED])
def test_what_is_never_repeated_says_so(kind, expected, method):
    assert decide(POLICY, kind, **method) == Halt(expected)


@pytest.mark.parametrize(("left", "said"), [(0.5, "0.5 s"), (-1.0, "0 s")])
def test_the_time_that_is_left_is_told(left, said):
    step = decide(POLICY, outcome(Kind.THROTTLED, 5.0), left=left)
    assert why(step) == f"the server asks for a wait of 5 s, but the deadline leaves {said}"


def test_a_backoff_longer_than_the_rest_keeps_what_the_server_told():
    expected = Halt("the deadline leaves no time for the wait of 2 s", retry_after=1.0)
    assert decide(POLICY, outcome(Kind.THROTTLED, 1.0), left=1.5) == expected


@pytest.mark.parametrize("kind", [Kind.REFUSED, Kind.LATE])
def test_what_was_not_executed_does_not_want_a_key(kind):
    assert "key" not in why(decide(POLICY, kind, **POST, wanted=True))


@pytest.mark.parametrize("kind", [Kind.LOST, Kind.TRUNCATED, Kind.UNDECODABLE])
def test_a_post_that_may_have_been_executed_says_what_is_missing(kind):
    expected = "a POST or PATCH that may have been executed is not repeated without a key the server deduplicates"
    assert decide(POLICY, kind, **POST) == Halt(expected)
    assert decide(POLICY, kind, **KEYED) == Again(2.0)


def test_when_safe_names_itself_and_the_status():
    policy = RetryPolicy(backoff=STEADY, replay="when_safe")
    expected = 'with replay="when_safe", a POST or PATCH is not repeated after a 500'
    assert why(decide(policy, Kind.SERVER_ERROR, **POST)) == expected
    assert why(decide(policy, Kind.SERVER_ERROR, **KEYED)) == expected
    assert decide(policy, Kind.SERVER_ERROR) == Again(2.0)


def test_a_body_that_can_be_sent_once_says_so():
    assert decide(POLICY, Kind.SERVER_ERROR, replayable=False) == Halt("its body can be sent only once")
    assert decide(POLICY, Kind.REJECTED, replayable=False) == Halt("a 404 is not retried")


@pytest.mark.parametrize("kind", list(Kind))
def test_every_refusal_says_why_in_a_phrase(kind):
    for mode, (idempotent, keyed), wanted in itertools.product(
        MODES, ((True, False), (False, True), (False, False)), (None, True, False)
    ):
        policy = RetryPolicy(max_attempts=5, backoff=STEADY, replay=mode)
        step = decide(policy, kind, idempotent=idempotent, keyed=keyed, wanted=wanted)
        if isinstance(step, Halt):
            assert step.why
            assert not step.why.endswith(".")
            assert step.why[0].islower()


# The caller's predicate


@pytest.mark.parametrize("kind", list(Kind))
def test_a_no_of_the_predicate_stops_everything(kind):
    assert decide(POLICY, kind, wanted=False) == Halt("retry_if decided against it")


@pytest.mark.parametrize("kind", [Kind.OK, Kind.REJECTED, Kind.UNUSABLE, Kind.REFUSED])
def test_a_yes_makes_anything_retryable_where_replaying_is_safe(kind):
    assert isinstance(decide(POLICY, kind), Halt)
    assert decide(POLICY, kind, wanted=True) == Again(2.0)
    assert decide(POLICY, kind, wanted=True, **KEYED) == Again(2.0)
    assert isinstance(decide(POLICY, kind, wanted=True, **POST), Halt)
    always = RetryPolicy(backoff=STEADY, replay="always")
    assert decide(always, kind, wanted=True, **POST) == Again(2.0)


def test_a_yes_for_a_plain_post_goes_as_far_as_the_table():
    assert decide(POLICY, Kind.SERVER_ERROR, wanted=True, **POST) == Again(2.0)
    assert "may have been executed" in why(decide(POLICY, Kind.LOST, wanted=True, **POST))
    assert "may have been executed" in why(decide(POLICY, Kind.OK, wanted=True, **POST))
    assert "after a 404 without a key" in why(decide(POLICY, Kind.REJECTED, wanted=True, **POST))


def test_a_yes_does_not_lift_the_other_bounds():
    assert decide(POLICY, Kind.REJECTED, wanted=True, attempts=3) == Halt("all 3 attempts are used up", spent=True)
    assert decide(POLICY, Kind.REJECTED, wanted=True, replayable=False) == Halt("its body can be sent only once")
    assert isinstance(decide(POLICY, Kind.REJECTED, wanted=True, left=1.0), Halt)


# Waits


def test_at_least_the_wait_that_the_server_asks_for():
    assert decide(POLICY, outcome(Kind.THROTTLED, 10.0)) == Again(10.0)
    assert decide(POLICY, outcome(Kind.THROTTLED, 1.0)) == Again(2.0)
    assert decide(POLICY, outcome(Kind.THROTTLED, 60.0)) == Again(60.0)


def test_a_longer_wait_than_allowed_stops_now_and_tells_it():
    expected = "the server asks for a wait of 3600 s, more than max_retry_after=60"
    assert decide(POLICY, outcome(Kind.UNAVAILABLE, 3600.0)) == Halt(expected, retry_after=3600.0)


def test_a_wait_beyond_the_deadline_stops_now_and_tells_it():
    expected = "the server asks for a wait of 10 s, but the deadline leaves 4.5 s"
    assert decide(POLICY, outcome(Kind.UNAVAILABLE, 10.0), left=4.5) == Halt(expected, retry_after=10.0)
    assert "but the deadline leaves 10 s" in why(decide(POLICY, outcome(Kind.UNAVAILABLE, 10.0), left=10.0))
    assert decide(POLICY, outcome(Kind.UNAVAILABLE, 10.0), left=10.1) == Again(10.0)


@pytest.mark.parametrize("left", [2.0, 1.0, 0.0, -1.0])
def test_no_wait_that_leaves_no_time_for_the_attempt(left):
    assert decide(POLICY, Kind.SERVER_ERROR, left=left) == Halt("the deadline leaves no time for the wait of 2 s")


def test_a_wait_that_just_fits():
    assert decide(POLICY, Kind.SERVER_ERROR, left=2.001) == Again(2.0)


def test_an_endless_wait_can_be_put_into_words():
    assert "inf s" in why(decide(POLICY, outcome(Kind.THROTTLED, math.inf)))


@given(
    kind=st.sampled_from(Kind),
    mode=st.sampled_from(MODES),
    attempts=st.integers(1, 5),
    max_attempts=st.integers(1, 5),
    idempotent=st.booleans(),
    keyed=st.booleans(),
    replayable=st.booleans(),
    left=st.floats(-10, 200) | st.just(math.inf),
    told=st.none() | st.floats(0, 200),
    wanted=st.none() | st.booleans(),
    fraction=st.floats(0, 1, exclude_max=True),
)
def test_whatever_is_repeated_may_be(
    kind, mode, attempts, max_attempts, idempotent, keyed, replayable, left, told, wanted, fraction
):
    policy = RetryPolicy(max_attempts=max_attempts, replay=mode)
    step = decide(
        policy,
        outcome(kind, told),
        attempts=attempts,
        idempotent=idempotent,
        keyed=keyed,
        replayable=replayable,
        left=left,
        wanted=wanted,
        rand=lambda: fraction,
    )
    allowed = may_replay(kind, idempotent=idempotent, keyed=keyed, mode=mode)
    if isinstance(step, Again):
        assert wanted is not False
        assert replayable
        assert attempts < max_attempts
        assert allowed or (wanted and (idempotent or keyed or mode == "always"))
        assert (told or 0.0) <= step.delay < left
        assert step.delay <= 60.0
        assert step.delay >= policy.backoff.min_wait
    else:
        assert not (step.spent and attempts < max_attempts)
        assert step.retry_after in {None, told}

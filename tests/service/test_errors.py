"""Errors under the names that a service documents."""

from __future__ import annotations

import pickle

import httpx2
import pytest

from holdfast import (
    APIConnectionError,
    CircuitOpenError,
    DeadlineExceededError,
    HoldfastError,
    MaxRetriesExceededError,
    NotFoundError,
    ServerError,
    ServiceUnavailableError,
)
from holdfast.exceptions import narrow
from holdfast.service.errors import renamed, unreachable


class LostPetError(HoldfastError):
    pet: str | None = None


def lost() -> HoldfastError:
    error = narrow(APIConnectionError, APIConnectionError, httpx2.ConnectError)(
        "gone", endpoint="GET /pets", attempts=3
    )
    error.__cause__ = ValueError("below")
    error.add_note("look there")
    return error


def test_an_error_by_another_name_is_still_all_that_it_was():
    error = lost()
    other = renamed(error, LostPetError, pet="Rex")
    assert all(isinstance(other, kind) for kind in (LostPetError, APIConnectionError))
    assert isinstance(other, httpx2.ConnectError) and type(other).__name__ == "LostPetError"
    assert (str(other), other.attempts, other.endpoint, other.pet) == ("gone", 3, "GET /pets", "Rex")
    assert other.__cause__ is error.__cause__ and other.__notes__ == ["look there"]
    assert not isinstance(error, LostPetError)


def test_it_survives_a_pickle():
    other = pickle.loads(pickle.dumps(renamed(lost(), ServiceUnavailableError, service_name="Pets")))
    assert isinstance(other, ServiceUnavailableError) and isinstance(other, httpx2.ConnectError)
    assert (other.service_name, other.attempts) == ("Pets", 3)


def test_the_message_can_be_another():
    other = renamed(NotFoundError("no"), NotFoundError, "no pet", resource_id="7")
    assert (str(other), other.args, other.resource_id) == ("no pet", ("no pet",), "7")


def test_what_the_class_does_not_declare_is_refused():
    with pytest.raises(TypeError, match="has no attribute 'colour'"):
        renamed(lost(), LostPetError, colour="brown")


@pytest.mark.parametrize("error", [lost(), DeadlineExceededError("late"), CircuitOpenError("open")])
def test_a_service_that_cannot_be_reached_is_unavailable(error):
    other = unreachable(error, "Pets")
    assert all(isinstance(other, kind) for kind in (ServiceUnavailableError, APIConnectionError))
    assert getattr(other, "service_name", None) == "Pets"


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("no", status_code=404),
        ServerError("broken", status_code=500),
        ServiceUnavailableError("down", service_name="Pets"),
        MaxRetriesExceededError("spent"),
    ],
)
def test_others_stay_as_they_are(error):
    assert unreachable(error, "Pets") is error

"""What a typed client makes of answers, which options of its endpoints give way, and what an id vouches for."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from holdfast import Call, HoldfastError, InvalidRequestError
from holdfast.exceptions import NotFoundError
from holdfast.service.client import ServiceClient
from holdfast.service.endpoint import Answered
from holdfast.service.model import Model
from holdfast.service.settings import ServiceSettings
from holdfast.testing import FaultTransport, Step, VirtualClock
from tests.support.colours import Colour


class Pet(Model):
    name: str


class ShoutError(HoldfastError):
    """The client's own."""


class PetClient(ServiceClient[ServiceSettings]):
    def get_name(self, pet_id: str) -> Call[str]:
        return self.then(self.get(Pet, "/pets/{pet_id}", pet_id=pet_id), self._name, self._lost)

    def how(self) -> Call[Answered]:
        return self.then(self.post(Pet, "/pets"), lambda _, answered: answered)

    def twice(self, pet_id: str = "7") -> Call[str]:
        return self.then(self.get_name(pet_id), lambda name, _: name * 2)

    def known(self, pet_id: str) -> Call[str]:
        return self.then(self.get_name(pet_id), lambda name, _: name, self._lost)

    def create(self, **options: Any) -> Call[Pet]:
        return self.post(Pet, "/pets", json={}, **options)

    def slow(self) -> Call[Pet]:
        return self.get(Pet, "/slow", **self.unless_given(deadline=100.0, timeout=100.0))

    def translate(self, error: HoldfastError) -> HoldfastError:
        error.add_note("translated")
        return error

    def _name(self, pet: Pet, _: Answered) -> str:
        if pet.name.isupper():
            raise ShoutError(pet.name)
        return pet.name

    def _lost(self, error: HoldfastError) -> HoldfastError:
        error.add_note("lost")
        return error


def pets(script: Any, **settings: Any) -> tuple[PetClient, FaultTransport]:
    transport = FaultTransport(script)
    return PetClient(ServiceSettings(url="http://pets.test", **settings), transport=transport), transport


@pytest.fixture(params=["async", "sync"])
def colour(request: pytest.FixtureRequest) -> Any:
    user = Colour(sync=request.param == "sync")
    yield user
    user.close()


def test_a_call_may_give_what_is_made_of_the_answer(colour: Colour) -> None:
    client, transport = pets(Step(json={"name": "Rex"}))
    assert colour(client.get_name("7")) == "Rex" and colour(client.twice()) == "RexRex"
    assert colour(client.get_name("7").raw()).json() == {"name": "Rex"}
    assert colour(client.get_name("7").with_options(headers={"X-A": "b"})) == "Rex"
    assert transport.requests[-1].headers["X-A"] == "b"


def test_a_call_that_was_refused_stays_refused(colour: Colour) -> None:
    client, transport = pets(200)
    error = colour.error(client.get_name(""), InvalidRequestError)
    assert error.field_errors["pet_id"]
    assert colour.error(client.twice(""), InvalidRequestError).__notes__ == ["translated"]
    assert colour.error(client.known(""), InvalidRequestError).__notes__ == ["translated", "lost"]
    assert transport.requests == []


def test_how_an_answer_came(colour: Colour, holdfast_clock: VirtualClock) -> None:
    client, transport = pets([503, Step(json={"name": "Rex"}, delay=5.0)])
    answered = colour(client.how())
    assert answered.request_id == transport.requests[0].headers["X-Request-ID"]
    assert (answered.endpoint, answered.attempts) == ("POST /pets", 2)
    assert answered.seconds == pytest.approx(holdfast_clock.elapsed, abs=0.1) and answered.seconds > 6
    assert answered.response.json() == {"name": "Rex"}


def test_what_it_quotes_is_one_line_without_credentials() -> None:
    client, _ = pets(Step(json={"name": "Rex"}))
    answered = client.with_options(headers={"X-API-Key": "very-secret"}).how().result()
    assert answered.quote("you sent\nvery-secret") == "you sent [redacted]"
    assert answered.quote({"at": object}) and len(answered.quote("x" * 1000)) == 200


@pytest.mark.parametrize(
    ("step", "kind"),
    [(Step(404), NotFoundError), (Step(json={"name": "REX"}), ShoutError), (Step(json={}), HoldfastError)],
)
def test_errors_are_translated_and_then_given_to_the_endpoint(
    colour: Colour, step: Step, kind: type[HoldfastError]
) -> None:
    client, _ = pets(step)
    for call in (client.get_name("7"), client.twice()):
        assert colour.error(call, kind).__notes__ == ["translated", "lost"]


def test_only_calls_of_single_endpoints_can_be_made_into_others() -> None:
    client, transport = pets(200)
    closing = client.close()
    with pytest.raises(TypeError, match="not the call of a single endpoint"):
        client.then(closing, lambda *_: None)  # type: ignore[unused-awaitable]
    used = client.slow()
    wanted = client.then(used, lambda *_: None)
    with pytest.raises(RuntimeError, match="only what"):
        used.result()
    assert wanted.cancel() and transport.requests == []
    closing.result()


def test_what_a_view_was_given_wins_over_what_an_endpoint_asks_for(holdfast_clock: VirtualClock) -> None:
    client, transport = pets(Step(json={"name": "Rex"}, delay=50.0), timeout=1.0)
    assert client.slow().result().name == "Rex"
    with pytest.raises(TimeoutError):
        client.with_options(deadline=3.0).slow().result()
    with pytest.raises(TimeoutError):
        client.slow().with_options(deadline=3.0).result()
    assert len(transport.requests) == 3 and holdfast_clock.elapsed == pytest.approx(56.0, abs=0.1)


@pytest.mark.parametrize(
    ("options", "requests"),
    [
        ({"request_id": "mine"}, 1),
        ({"request_id": "mine", "server_deduplicates": True}, 2),
        ({"idempotency_key": "mine"}, 2),
        ({"idempotency_key": "mine", "server_deduplicates": False}, 1),
    ],
)
def test_an_id_that_is_given_only_traces(options: dict[str, Any], requests: int) -> None:
    for trusting in (False, True):
        client, transport = pets(
            [httpx2.ReadError, Step(json={"name": "Rex"})], retry_delay=0.001, server_deduplicates=trusting
        )
        wanted = 2 if trusting and options.get("server_deduplicates", True) else requests
        try:
            client.create(**options).result()
        except HoldfastError:
            assert wanted == 1
        assert len(transport.requests) == wanted
        if "request_id" in options:
            assert {one.headers["X-Request-ID"] for one in transport.requests} == {"mine"}

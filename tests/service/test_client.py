"""A typed client, written as a user writes one."""

from __future__ import annotations

import asyncio
import inspect
from types import NoneType
from typing import Any, Generic, TypeVar
from uuid import UUID

import httpx2
import pytest
from pydantic import Field, SecretBytes, SecretStr

from holdfast import Call, HoldfastError, InvalidRequestError, NotFoundError, ResponseError
from holdfast.service.client import ServiceClient
from holdfast.service.model import Model
from holdfast.service.sending import NULL, RequestModel, body_of
from holdfast.service.settings import ServiceSettings
from holdfast.testing import FaultTransport, Step


class PetSettings(ServiceSettings, env_prefix="PETS_"):
    url: str = "http://pets.test/api"
    retry_delay: float = 0.001


class Pet(Model):
    id: int
    name: str
    tag: str | None = None


class NewPet(RequestModel):
    name: str
    tag: str | None = None


class PetClient(ServiceClient[PetSettings]):
    def get_pet(self, pet_id: int | str) -> Call[Pet]:
        return self.get(Pet, "/pets/{pet_id}", pet_id=pet_id, cache_ttl=60)

    def list_pets(self, *, status: str | None = None, tags: list[str] | None = None) -> Call[list[Pet]]:
        return self.get(list[Pet], "/pets", query={"status": status, "tag": tags})

    def create_pet(self, *, name: str, tag: Any = None) -> Call[Pet]:
        return self.post(Pet, "/pets", json=NewPet(name=name, tag=tag), server_deduplicates=True)

    def delete_pet(self, pet_id: int) -> Call[None]:
        return self.delete(NoneType, "/pets/{pet_id}", pet_id=pet_id)


REX = {"id": 7, "name": "Rex", "colour": "brown"}


def pets(script: Any = None, **more: Any) -> tuple[PetClient, FaultTransport]:
    transport = FaultTransport(Step(json=REX) if script is None else script)
    return PetClient(transport=transport, **more), transport


def sent(call: Call[Any], colour: str) -> Any:
    async def main() -> Any:
        return await call

    return call.result() if colour == "sync" else asyncio.run(main())


both = pytest.mark.parametrize("colour", ["async", "sync"])


@both
def test_an_endpoint_gives_its_model(colour):
    client, transport = pets()
    rex = sent(client.get_pet(7), colour)
    assert type(rex) is Pet and (rex.id, rex.name, rex["colour"]) == (7, "Rex", "brown")
    assert str(transport.requests[0].url) == "http://pets.test/api/pets/7"
    assert rex.request_id == transport.requests[0].headers["X-Request-ID"]
    assert rex.response_headers["content-type"] == "application/json"


@both
def test_the_response_itself_is_to_be_had(colour):
    client, _ = pets()
    response = sent(client.get_pet(7).raw(), colour)
    assert type(response) is httpx2.Response and response.json() == REX


@both
def test_an_option_can_be_put_on_one_call(colour):
    client, transport = pets()
    call = client.get_pet(7).with_options(headers={"X-Trace": "on"}, cache_ttl=0)
    assert sent(call, colour).name == "Rex" and transport.requests[0].headers["X-Trace"] == "on"


def test_options_of_a_view_hold_for_all_its_calls():
    client, transport = pets()
    view = client.with_options(headers={"X-Trace": "on"})
    view.get_pet(7).result()
    client.get_pet(8).result()
    assert [request.headers.get("X-Trace") for request in transport.requests] == ["on", None]
    assert type(view) is PetClient


def test_credentials_go_along():
    client, transport = pets(auth=("ada", "secret"))
    client.get_pet(7).result()
    assert transport.requests[0].headers["Authorization"].startswith("Basic ")


def test_the_cache_gives_every_caller_a_model_of_its_own():
    client, transport = pets()
    first, second = client.get_pet(7).result(), client.get_pet(7).result()
    assert len(transport.requests) == 1 and first == second and first is not second


def test_methods_count_as_coroutine_functions():
    client, _ = pets()
    assert inspect.iscoroutinefunction(client.get_pet) and inspect.iscoroutinefunction(PetClient.close)
    assert client.get_pet.__name__ == "get_pet" and "pet_id" in inspect.signature(client.get_pet).parameters


def test_lists_of_models_and_queries():
    client, transport = pets([Step(json=[REX, {"id": 8, "name": "Tom"}])])
    found = client.list_pets(status="at home & well", tags=["a", "b"]).result()
    assert [pet.name for pet in found] == ["Rex", "Tom"]
    assert transport.requests[0].url.query == b"status=at%20home%20%26%20well&tag=a&tag=b"
    assert {pet.request_id for pet in found} == {transport.requests[0].headers["X-Request-ID"]}


def test_none_is_left_out_of_queries_and_bodies():
    client, transport = pets([Step(json=[]), Step(201, json=REX), Step(201, json=REX)])
    client.list_pets().result()
    client.create_pet(name="Rex").result()
    client.create_pet(name="Rex", tag=NULL).result()
    assert [request.url.query for request in transport.requests] == [b"", b"", b""]
    assert [request.content for request in transport.requests[1:]] == [b'{"name":"Rex"}', b'{"name":"Rex","tag":null}']


class Inner(RequestModel):
    kind: str | None = Field(default=None, alias="type")
    size: int = 1


class Outer(RequestModel):
    inner: Inner | None = None
    inners: list[Inner] = Field(default_factory=list)
    free: dict[str, Any] = Field(default_factory=dict)


def test_a_null_is_one_wherever_it_stands():
    inner = Inner(type=NULL)  # type: ignore[arg-type]
    outer = Outer(inner=inner, inners=[inner, Inner()], free={"a": NULL, "b": [NULL, None]})
    null = {"size": 1, "type": None}
    assert outer.body() == {"inner": null, "inners": [null, {"size": 1}], "free": {"a": None, "b": [None, None]}}
    assert Outer(inner=NULL).body() == {"inner": None, "inners": [], "free": {}}  # type: ignore[arg-type]
    assert body_of({"a": outer, "b": NULL, "c": None}) == {"a": outer.body(), "b": None}


class Login(RequestModel):
    user: str
    password: SecretStr = Field(alias="pass")
    pins: SecretBytes | None = None


class Logins(RequestModel):
    first: Login


class Door(ServiceClient[PetSettings]):
    def enter(self, login: Any) -> Call[Any]:
        return self.post(Any, "/enter", json=login)

    def look(self, token: Any) -> Call[Any]:
        return self.get(Any, "/door", query={"token": token})


def test_a_secret_is_sent_as_it_is_and_shown_to_nobody_else():
    transport = FaultTransport(Step(json=[]))
    door = Door(transport=transport)
    login = Login.model_validate({"user": "ada", "pass": "hush", "pins": b"12"})
    door.enter(Logins(first=login)).result()
    assert transport.requests[0].content == b'{"first":{"user":"ada","pass":"hush","pins":"12"}}'
    for shown in (repr(login), str(login.model_dump()), login.model_dump_json()):
        assert "hush" not in shown
    with pytest.raises(InvalidRequestError, match="token is a secret, and URLs end up in logs") as info:
        door.look(SecretStr("hush")).result()
    assert "hush" not in str(info.value) and len(transport.requests) == 1


def test_an_answer_that_is_not_read():
    client, transport = pets([Step(204)])
    assert client.delete_pet(7).result() is None and transport.requests[0].method == "DELETE"


def test_an_endpoint_that_deduplicates_is_repeated_after_a_lost_answer():
    client, transport = pets([httpx2.ReadError, Step(201, json=REX)])
    assert client.create_pet(name="Rex").result().id == 7
    first, second = transport.requests
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]


# What is wrong with a request


@pytest.mark.parametrize(
    ("value", "quoted"),
    [("a/b", "a%2Fb"), ("a b?c#d", "a%20b%3Fc%23d"), ("ä", "%C3%A4"), (UUID(int=1), str(UUID(int=1))), ("...", "...")],
)
def test_parameters_of_a_path_are_quoted(value, quoted):
    client, transport = pets()
    client.get_pet(value).result()
    assert transport.requests[0].url.raw_path == f"/api/pets/{quoted}".encode()


@both
@pytest.mark.parametrize("value", ["", ".", "..", None, True, ["7"], "\ud800"])
def test_a_parameter_that_cannot_stand_in_a_path_is_named(value, colour):
    client, transport = pets()
    call = client.get_pet(value)
    with pytest.raises(InvalidRequestError, match=r"PetClient\.get_pet was not sent: pet_id: pet_id ") as caught:
        sent(call, colour)
    assert list(caught.value.field_errors) == ["pet_id"] and not caught.value.may_have_executed
    assert caught.value.response is None and transport.requests == []


@pytest.mark.parametrize("value", ["../admin", "a/../../b"])
def test_nobody_climbs_out_of_the_base_url(value):
    client, transport = pets()
    with pytest.raises(InvalidRequestError):
        client.get_pet(value).result()
    assert transport.requests == []


@both
def test_a_request_model_that_is_wrong_is_raised_by_the_call(colour):
    client, transport = pets()
    call = client.create_pet(name=7)  # type: ignore[arg-type]  # not everybody type-checks
    with pytest.raises(
        InvalidRequestError, match="create_pet was not sent: name: Input should be a valid string"
    ) as caught:
        sent(call, colour)
    assert list(caught.value.field_errors) == ["name"] and caught.value.validation_errors[0]["loc"] == ("name",)
    assert transport.requests == []
    with pytest.raises(InvalidRequestError):
        sent(call, "sync")


def test_a_refused_call_that_nobody_awaits_warns():
    client, _ = pets()
    unsent = client.get_pet("")
    with pytest.warns(RuntimeWarning, match=r"PetClient\.get_pet.* was never sent"):
        del unsent


def test_a_keyword_without_meaning_is_a_mistake_of_the_author():
    client, _ = pets()
    with pytest.raises(TypeError, match="colour: neither in the path nor an option; pet_id: in the path"):
        _ = client.get(Pet, "/pets/{pet_id}", colour="brown")
    with pytest.raises(TypeError, match="cache_ttl is an option of GET"):
        _ = client.post(Pet, "/pets", cache_ttl=3)
    with pytest.raises(ValueError, match="deadline"):
        _ = client.get(Pet, "/pets", deadline=-1)


@pytest.mark.parametrize("path", ["/pets/{}", "/pets/{pet id}", "/pets/{pet_id:>3}", "/pets/{pet_id", "/pets/{0}"])
def test_a_template_that_is_none_is_refused(path):
    client, _ = pets()
    with pytest.raises(ValueError, match=r"parameter|expected"):
        _ = client.get(Pet, path, pet_id=3)


# What is wrong with an answer


@both
@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Step(json={"id": "x", "name": 3}), "not Pet: id: .* valid integer.*; name: .* valid string"),
        (Step(content=b"<html>"), r"not JSON \(no content type\), and Pet was expected"),
        (Step(200), "is empty without saying why, and Pet was expected"),
        (Step(204), "is empty as its status says, and Pet was expected"),
        (Step(json=[]), "not Pet: the whole: Input should be"),
    ],
)
def test_a_body_that_is_not_the_model_names_the_field(step, message, colour):
    client, transport = pets([step])
    with pytest.raises(ResponseError, match=message) as caught:
        sent(client.get_pet(7), colour)
    error = caught.value
    assert error.request_id == transport.requests[0].headers["X-Request-ID"] and error.attempts == 1
    assert error.may_have_executed and error.endpoint == "GET /api/pets/7" and error.response is not None
    assert len(transport.requests) == 1


def test_a_write_that_was_executed_says_so():
    client, _ = pets([Step(201, json={})])
    with pytest.raises(ResponseError, match="The server did answer, so it has executed it"):
        client.create_pet(name="Rex").result()


def test_errors_of_the_server_are_raised():
    client, _ = pets([Step(404, json={"detail": "no such pet"})])
    with pytest.raises(NotFoundError, match="no such pet"):
        client.get_pet(7).result()


def test_a_service_may_have_errors_of_its_own():
    class PetError(HoldfastError):
        pass

    class Strict(PetClient):
        def translate(self, error: HoldfastError) -> HoldfastError:
            return PetError(f"pets: {error}")

    client = Strict(transport=FaultTransport([Step(404), Step(json={}), Step(404)]))
    for call in (client.get_pet(7), client.get_pet(8), client.get_pet(9).raw(), client.get_pet("")):
        with pytest.raises(PetError, match="pets: "):
            call.result()


# Life


def test_settings_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("PETS_TIMEOUT=7\nPETS_MAX_RETRIES=2\nOTHER=1\n")
    monkeypatch.setenv("PETS_TIMEOUT", "8")
    client = PetClient()
    assert (client.settings.timeout, client.settings.max_retries) == (8.0, 2)
    config = client.resilient.config
    assert (config.timeout.read, config.retry.max_attempts, config.deadline) == (8.0, 2, 2 * 16.0 + 10.0)
    assert config.lint() == []


def test_the_defaults_fit_together():
    assert PetSettings().client_config().lint() == []


@pytest.mark.parametrize(("name", "value"), [("TIMEOUT", "0"), ("MAX_RETRIES", "many"), ("TIMEOUT", "inf")])
def test_a_wrong_variable_is_named(monkeypatch, name, value):
    monkeypatch.setenv(f"PETS_{name}", value)
    with pytest.raises(ValueError, match=name.lower()):
        PetClient()


def test_it_is_a_context_manager_of_both_colours():
    with pets()[0] as client:
        client.get_pet(7).result()
    assert client.resilient.is_closed and "closed" in repr(client)

    async def main() -> PetClient:
        async with pets()[0] as client:
            await asyncio.gather(client.get_pet(7), client.get_pet(8))
        return client

    assert asyncio.run(main()).resilient.is_closed


class Odd(Model):
    kind: str = Field(alias="type")
    their_id: int = Field(default=0, validation_alias="request_id")
    note: str | None = None


def test_a_field_of_another_name_reads_like_the_json():
    json = {"type": "dog", "request_id": 3, "keys": [1]}
    odd = Odd.model_validate(json)
    assert dict(odd) == json and odd["request_id"] == odd.their_id == 3 and odd.request_id is None
    assert "request_id" in odd and "note" not in odd and odd["note"] is None and odd.get("nothing", 7) == 7


class OtherSettings(PetSettings, env_prefix="OTHER_"):
    url: str = "http://other.test"


X = TypeVar("X")
AnySettings = TypeVar("AnySettings", bound=ServiceSettings)


class Shop(ServiceClient[AnySettings], Generic[X, AnySettings]):
    pass


class PetShop(Shop[int, OtherSettings]):
    pass


class Renamed(PetClient):
    settings_class = OtherSettings


class Grandchild(Renamed):
    pass


class Both(ServiceClient[PetSettings]):
    settings_class = OtherSettings


@pytest.mark.parametrize("client", [PetShop, Renamed, Grandchild, Both])
def test_a_subclass_may_have_settings_of_its_own(client):
    assert isinstance(client(transport=FaultTransport(200)).settings, OtherSettings)


class Models(ServiceClient[PetSettings]):
    def get_model(self, model: str, path: str) -> Call[Any]:
        return self.get(Any, "/models/{model}/files/{path}?v=1", model=model, path=path, query={"q": [1, 2]})


def test_parameters_of_a_path_may_have_any_name_and_the_path_a_query():
    transport = FaultTransport(Step(json=[]))
    Models(transport=transport).get_model("a", "b/c").result()
    assert str(transport.requests[0].url) == "http://pets.test/api/models/a/files/b%2Fc?v=1&q=1&q=2"

"""Typed clients with credentials: their errors go by the service's names, whatever stood in the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast import AuthenticationError, Call, HoldfastError
from holdfast.auth import OAuth2ClientCredentials, TokenError
from holdfast.service.client import ServiceClient
from holdfast.service.errors import renamed
from holdfast.service.model import Model
from holdfast.service.settings import ServiceSettings
from holdfast.testing import FaultTransport, Step
from tests.support.tokens import BASE, TOKEN_URL


class PetError(HoldfastError):
    """What goes wrong with pets."""


class Pet(Model):
    id: int


class PetClient(ServiceClient[ServiceSettings]):
    def get_pet(self, pet_id: int) -> Call[Pet]:
        return self.get(Pet, "/pets/{pet_id}", pet_id=pet_id)

    def translate(self, error: HoldfastError) -> HoldfastError:
        return renamed(error, PetError)


def pets(token: Any) -> tuple[PetClient, FaultTransport]:
    transport = FaultTransport({"POST /token": token, "GET /pets/*": Step(json={"id": 7})})
    auth = OAuth2ClientCredentials(TOKEN_URL, "id", "client-secret")
    return PetClient(ServiceSettings(url=BASE), auth=auth, transport=transport), transport


@pytest.mark.parametrize("sync", [False, True])
def test_a_typed_client_takes_a_provider(sync: bool) -> None:
    client, transport = pets(Step(json={"access_token": "T", "token_type": "Bearer"}))

    async def main() -> Pet:
        return await client.get_pet(7)

    assert (client.get_pet(7).result() if sync else asyncio.run(main())).id == 7
    assert transport.requests[-1].headers["authorization"] == "Bearer T"


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("raw", [False, True])
def test_a_token_that_cannot_be_had_is_an_error_of_the_service_too(sync: bool, raw: bool) -> None:
    client, transport = pets(Step(401, json={"error": "invalid_client"}))

    async def main() -> Any:
        return await (client.get_pet(7).raw() if raw else client.get_pet(7))

    with pytest.raises(PetError, match="invalid_client") as caught:
        _ = (client.get_pet(7).raw() if raw else client.get_pet(7)).result() if sync else asyncio.run(main())
    assert isinstance(caught.value, TokenError) and isinstance(caught.value, AuthenticationError)
    assert len(transport.requests) == 1

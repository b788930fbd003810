"""A typed client as the README shows it, and what it prints."""

# ruff: noqa: T201  # printing is how it shows what comes back

from holdfast.service import Call, Model, Offset, PagedCall, RequestModel, ServiceClient, ServiceSettings


class PetSettings(ServiceSettings, env_prefix="PETS_"):  # PETS_URL, PETS_TIMEOUT, PETS_MAX_RETRIES, ...
    url: str = "http://localhost:9000"


class Pet(Model):
    id: int
    name: str
    status: str


class NewPet(RequestModel):
    name: str


class PetClient(ServiceClient[PetSettings]):
    def get_pet(self, pet_id: int) -> Call[Pet]:
        return self.get(Pet, "/pets/{pet_id}", pet_id=pet_id, cache_ttl=60)

    def list_pets(self, *, limit: int = 20) -> PagedCall[Pet]:
        return self.pages(Pet, "/pets", query={"limit": limit}, paging=Offset())

    def create_pet(self, name: str) -> Call[Pet]:
        return self.post(Pet, "/pets", json=NewPet(name=name), server_deduplicates=True)


async def main() -> None:
    async with PetClient() as pets:
        rex = await pets.create_pet("Rex")
        print(rex.name, rex["id"])  # a model, and the JSON that it came from
        print([pet.name async for pet in pets.list_pets(limit=2)])  # all pages
        found = await pets.bulk([1, 2, 99], pets.get_pet, workers=2)
        print(f"{found.success_rate:.0f} %", found.errors[0].error_type)
        rex = await pets.poll(pets.get_pet(rex.id), until=lambda pet: pet.status == "at home", interval=0.01)
        print(rex.name, "is", rex.status)


def sync() -> None:
    with PetClient() as pets:
        print(pets.get_pet(1).result().name)

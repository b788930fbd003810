"""The typed client of the README, against a server on the loopback interface. What its types are: see ``typed/``."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from holdfast.testing.scripted import Step
from holdfast.testing.server import FaultyServer
from tests.service.typed import pets

pytestmark = pytest.mark.loopback

NAMES = ["Ada", "Bo", "Cleo"]

PRINTED = """\
Rex 4
['Ada', 'Bo', 'Cleo', 'Rex']
67 % NotFoundError
Rex is at home
"""


class Shop:
    """Pets 1 to 3, and those that are made; a new one is at home when it was asked for twice."""

    def __init__(self) -> None:
        self.names = list(NAMES)
        self.asked = 0

    def __call__(self, request: httpx2.Request) -> Step:
        if request.method == "POST":
            self.names.append("Rex")
            return Step(201, json=self.pet(len(self.names), "on its way"))
        if request.url.path == "/pets":
            start, limit = (int(request.url.params.get(name, 0)) for name in ("offset", "limit"))
            items = [self.pet(start + n + 1) for n in range(len(self.names[start : start + limit]))]
            return Step(json={"items": items, "total": len(self.names)})
        number = int(request.url.path.rpartition("/")[2])
        if number > len(self.names):
            return Step(404, json={"detail": "no such pet"})
        self.asked += number == 4
        return Step(json=self.pet(number, "on its way" if number == 4 and self.asked < 2 else "at home"))

    def pet(self, number: int, status: str = "at home") -> dict[str, object]:
        return {"id": number, "name": self.names[number - 1], "status": status}


@pytest.fixture
def shop(faulty_server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> FaultyServer:
    shop = Shop()
    for route in ("GET /pets", "POST /pets", "GET /pets/*"):
        faulty_server.route(route, shop)
    monkeypatch.setenv("PETS_URL", faulty_server.url)
    return faulty_server


def test_it_prints_what_the_readme_says(shop, capsys):
    asyncio.run(pets.main())
    assert capsys.readouterr().out == PRINTED
    pets.sync()
    assert capsys.readouterr().out == "Ada\n"


def test_it_does_so_where_a_request_fails(shop, capsys, monkeypatch):
    monkeypatch.setenv("PETS_RETRY_DELAY", "0.001")
    shop.misbehave("status", status=503, count=2)
    shop.misbehave("reset", count=1)
    asyncio.run(pets.main())
    assert capsys.readouterr().out == PRINTED

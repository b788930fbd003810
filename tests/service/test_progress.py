"""The progress bar: what it draws, where, and what it needs."""

from __future__ import annotations

import asyncio
import io
import sys
from typing import Any

import pytest
from rich.console import Console

from holdfast import Call
from holdfast.service import Model, ProgressBar, ServiceClient, ServiceSettings
from holdfast.testing import FaultTransport, Step


class Settings(ServiceSettings):
    url: str = "http://pets.test"


class Pet(Model):
    id: int


class Pets(ServiceClient[Settings]):
    def get_pet(self, pet_id: int) -> Call[Pet]:
        return self.get(Pet, "/pets/{pet_id}", pet_id=pet_id)


def drawn(items: Any, colour: str, *, terminal: bool = True) -> str:
    client = Pets(transport=FaultTransport(Step(json={"id": 7})))
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=80, no_color=True)

    async def main() -> None:
        await client.bulk(items, client.get_pet, progress=bar)

    with ProgressBar("pets", console=console) as bar:
        if colour == "sync":
            client.bulk(items, client.get_pet, progress=bar).result()
        else:
            asyncio.run(main())
    return out.getvalue()


both = pytest.mark.parametrize("colour", ["async", "sync"])


@both
def test_it_shows_how_many_are_finished(colour):
    last = drawn(range(12), colour).rstrip().rpartition("\r")[2]
    assert "pets" in last and "12/12" in last


@both
def test_without_a_known_number_it_counts(colour):
    assert "12/?" in drawn(iter(range(12)), colour)


@both
def test_it_draws_nothing_where_there_is_no_terminal(colour):
    assert drawn(range(12), colour, terminal=False) == ""


def test_one_bar_may_serve_one_bulk_after_the_other():
    out = io.StringIO()
    with ProgressBar("pets", console=Console(file=out, force_terminal=True, width=80)) as bar:
        for total in (2, 3):
            for done in range(total + 1):
                bar(done, total)
    assert "2/2" in out.getvalue() and "3/3" in out.getvalue()


def test_by_default_it_draws_on_standard_error(capsys):
    with ProgressBar() as bar:
        bar(1, 1)
    assert capsys.readouterr() == ("", "")


def test_without_rich_it_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(ImportError, match=r"needs the extra 'cli' of Holdfast: pip install 'holdfast\[cli\]'"):
        ProgressBar()

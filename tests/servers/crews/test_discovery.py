"""Where crews come from."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from holdfast.servers.crews import CrewRegistrationError, Registry, crew, discovery
from holdfast.servers.service import ServerStartError

MODULE = '''
from holdfast.servers.crews import crew

@crew
def greeter(inputs):
    """Greets."""
    return "hello"

@crew("weekly.report-1", description="What happened.")
class Report:
    def kickoff(self, inputs):
        return 1

async def plain(inputs):
    return 2

class Holder:
    inner = staticmethod(plain)

no_crew = 7
'''


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one])
    before = set(sys.modules)
    importlib.invalidate_caches()
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def module(here) -> str:
    (here / "shop_crews.py").write_text(MODULE)
    return "shop_crews"


def found(modules: str = "") -> dict[str, Any]:
    made = Registry()
    discovery.discover(made, modules)
    return {one.name: one for one in made}


def entry_points(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    points = [EntryPoint(name, value, discovery.GROUP) for name, value in values.items()]
    monkeypatch.setattr(discovery, "entry_points", lambda group: [one for one in points if one.group == group])


def test_a_decorated_function_is_a_crew_and_stays_what_it_is(decorated):
    @crew
    def one(inputs: dict[str, Any]) -> str:
        """Does something. And more."""
        return "1"

    @crew(description="Other.")
    async def two(inputs: dict[str, Any]) -> str:
        return "2"

    class Thing:
        def kickoff(self, inputs: dict[str, Any]) -> str:
            return "3"

    thing = crew("three")(Thing())
    assert one({}) == "1" and thing.kickoff({}) == "3"
    assert [(known.name, known.description) for known in decorated] == [
        ("one", "Does something. And more."),
        ("three", ""),
        ("two", "Other."),
    ]


@pytest.mark.parametrize("name", ["", " ", "a b", "ü", "a/b", "-a", "a" * 101, "a\n"])
def test_a_name_that_cannot_be_asked_for_is_refused(name):
    with pytest.raises(CrewRegistrationError, match="cannot be the name"):
        Registry().add(name, print)


@pytest.mark.parametrize("target", [7, "text", object(), int, type("Empty", (), {"kickoff": 7})])
def test_what_cannot_be_executed_is_refused(target):
    with pytest.raises(CrewRegistrationError, match=r"is no crew: .*kickoff"):
        Registry().add("it", target)


def test_a_name_belongs_to_one_crew():
    made = Registry()
    made.add("it", print)
    made.add("it", print)
    with pytest.raises(CrewRegistrationError, match="'it' already, print in builtins"):
        made.add("it", repr)
    assert [one.target for one in made] == [print]


def test_a_module_of_the_current_folder_is_imported_by_name(module):
    crews = found(module)
    assert sorted(crews) == ["greeter", "weekly.report-1"]
    assert (crews["greeter"].class_name, crews["greeter"].module) == ("greeter", "shop_crews")
    assert crews["weekly.report-1"].description == "What happened."


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("shop_crews:plain", ["greeter", "plain", "weekly.report-1"]),
        ("shop_crews:Holder.inner", ["greeter", "inner", "weekly.report-1"]),
        ("other = shop_crews:plain", ["greeter", "other", "weekly.report-1"]),
        ("shop_crews:greeter", ["greeter", "weekly.report-1"]),
        ("hello=shop_crews:greeter", ["greeter", "hello", "weekly.report-1"]),
        (" shop_crews , shop_crews:plain,, ", ["greeter", "plain", "weekly.report-1"]),
    ],
)
def test_objects_of_modules_are_named(module, text, names):
    assert sorted(found(text)) == names


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nowhere", "nowhere: ModuleNotFoundError: No module named 'nowhere'"),
        ("shop_crews:nothing", "shop_crews:nothing: AttributeError"),
        ("shop_crews:no_crew", "no_crew: 7 is no crew"),
        ("=shop_crews:plain", "write module, module:object or name=module:object"),
        ("name=shop_crews", "write module, module:object or name=module:object"),
        ("bad name=shop_crews:plain", "'bad name' cannot be the name"),
        ("greeter=shop_crews:plain", "'greeter' already"),
        ("broken", "broken: ZeroDivisionError"),
        ("exits", "exits: SystemExit: 3"),
    ],
)
def test_a_crew_that_was_named_and_cannot_be_had_is_an_error(module, here, text, says):
    (here / "broken.py").write_text("1 / 0")
    (here / "exits.py").write_text("raise SystemExit(3)")
    with pytest.raises(ServerStartError) as caught:
        found(text)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_nothing_in_the_current_folder_stands_in_for_what_is_installed(here, monkeypatch, tmp_path_factory):
    installed = tmp_path_factory.mktemp("installed")
    (installed / "installed_crews.py").write_text(MODULE)
    monkeypatch.syspath_prepend(installed)
    (here / "installed_crews.py").write_text("raise RuntimeError('the wrong one')")
    (here / "fine.py").write_text("import installed_crews")
    assert sorted(found("fine")) == ["greeter", "weekly.report-1"]


def test_entry_points_are_crews(module, monkeypatch, here):
    monkeypatch.syspath_prepend(here)
    entry_points(monkeypatch, report="shop_crews:plain", greeter="shop_crews:greeter")
    assert sorted(found()) == ["greeter", "report"]


def test_a_broken_entry_point_is_a_warning(module, monkeypatch, here, caplog):
    monkeypatch.syspath_prepend(here)
    (here / "exits.py").write_text("raise SystemExit(3)")
    (here / "broken.py").write_text("raise ValueError('one\\ntwo')")
    broken = {"a": "nowhere:x", "b": "shop_crews:nothing", "c": "shop_crews:no_crew", "d": "exits:x", "e": "broken:x"}
    entry_points(monkeypatch, **broken, fine="shop_crews:plain")
    assert sorted(found()) == ["fine"]
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 5
    for (name, value), message in zip(broken.items(), messages, strict=True):
        assert message.startswith(f"the crew '{name}' = '{value}' cannot be used: ")
    assert messages[-1].endswith("ValueError: one two")


def test_of_two_with_a_name_the_one_that_was_named_goes_first(module, monkeypatch, here, caplog):
    monkeypatch.syspath_prepend(here)
    entry_points(monkeypatch, mine="shop_crews:plain")
    crews = found("mine=shop_crews:Report")
    assert crews["mine"].class_name == "Report"
    assert "'mine' already" in caplog.text

"""The sources of the documentation: what is made from the code is as the code has it, and nothing is left out."""

from __future__ import annotations

import builtins
import inspect
import re
import xml.etree.ElementTree as ET
from collections import deque
from pathlib import Path

import pytest
import tenacity

import holdfast
import holdfast.codegen
import holdfast.contextiq
import holdfast.crews
import holdfast.integration
import holdfast.servers.crews
import holdfast.service
from holdfast.core.breaker import TRANSITIONS
from scripts.docs import build, generate, svg
from scripts.docs.explore import explore
from scripts.docs.machines import breaker_states_are_reached, machines
from scripts.docs.markdown import table
from scripts.docs.parts import commands, described, parts

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
TEXTS = {path.relative_to(DOCS).as_posix(): path.read_text() for path in generate.pages()}


# What is made from the code


@pytest.fixture(scope="module")
def made() -> dict[Path, str]:
    return generate.generated()


def test_what_is_made_from_the_code_is_as_the_code_has_it(made: dict[Path, str]):
    stale = [
        str(path.relative_to(ROOT)) for path, text in made.items() if not path.exists() or path.read_text() != text
    ]
    assert not stale, f"out of date: {', '.join(stale)}; run: make docs"


def test_the_tree_of_exceptions_has_each_once():
    named = re.findall(r"^ *- \[`(\w+)`\]", TEXTS["errors.md"], re.MULTILINE)
    assert sorted(named) == sorted({name for name in holdfast.__all__ if name.endswith("Error")} - {"MyAPIError"})


def test_every_part_is_used():
    used = set(re.findall(r"<!-- generated: ([\w\- ]+) -->", "".join(TEXTS.values())))
    pictures = {"transitions circuit-breaker", "transitions token-bucket"}  # said otherwise on their pages
    assert used == parts().keys() - pictures


def test_every_picture_is_used():
    shown = set(re.findall(r'--8<-- "docs/diagrams/([\w\-]+)\.svg"', "".join(TEXTS.values())))
    assert shown == {path.stem for path in (DOCS / "diagrams").glob("*.svg")} == machines().keys() | {"backoff"}


def test_the_picture_of_the_breaker_has_every_change_of_its_table():
    drawn = {(edge.old, label, edge.new) for edge in machines()["circuit-breaker"].edges for label in edge.labels}
    assert drawn == {(old, trigger.name.lower(), new) for (old, trigger), new in TRANSITIONS.items() if old != new}
    said = ET.parse(DOCS / "diagrams" / "circuit-breaker.svg").findtext("{*}desc") or ""
    for old, label, new in drawn:
        assert re.search(rf"{old} to {new}: [^;]*\b{label}\b", said), (old, label, new)
    assert breaker_states_are_reached() == {new for _, _, new in drawn} | {old for old, _, _ in drawn}


@pytest.mark.parametrize("name", machines())
def test_every_state_of_a_picture_can_be_reached(name: str):
    machine = machines()[name]
    seen, queue = {machine.layout.start}, deque([machine.layout.start])
    while queue:
        state = queue.popleft()
        for edge in machine.edges:
            if edge.old == state and edge.new not in seen:
                seen.add(edge.new)
                queue.append(edge.new)
    assert seen == machine.layout.places.keys()


def test_a_state_without_a_place_is_noticed():
    layout = svg.Layout({"a": (100, 50)}, 100, "a")
    with pytest.raises(KeyError, match="b"):
        svg.machine("x", [svg.Edge("a", "b", ("c",))], layout)


def test_exploring_finds_what_there_is_and_nothing_else():
    def make() -> list[int]:
        return [0]

    def step(world: list[int]) -> bool | None:
        if world[0] == 2:
            return False
        world[0] += 1
        return None

    found = explore(make, {"step": step}, lambda world: str(world[0]), 5)
    assert found == {("0", "step"): {"1"}, ("1", "step"): {"2"}}


def test_a_page_that_asks_for_nothing_that_is_made_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("# A\n\nText.\n\n<!-- generated: no such thing -->\n<!-- end -->\n")
    monkeypatch.setattr(generate, "pages", lambda: [page])
    with pytest.raises(KeyError, match="no such thing"):
        generate.generated()


def test_markers_come_in_pairs():
    for name, text in TEXTS.items():
        assert text.count("<!-- generated:") == text.count("<!-- end -->"), name


def test_a_described_attribute_may_have_two_names_and_several_lines():
    class Thing:
        """A thing.

        Attributes:
            one, two: the first line
                and the second.
            three: `x`.

        More.
        """

    assert described(Thing) == {
        "one": "The first line and the second.",
        "two": "The first line and the second.",
        "three": "`x`.",
    }
    assert table(("a",), [("b|c",)]) == "| a |\n| --- |\n| b\\|c |"


# The pages


def test_every_page_is_in_the_navigation():
    assert {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} == TEXTS.keys()


def test_every_link_leads_somewhere():
    for name, text in TEXTS.items():
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", prose):
            if link.startswith("https://"):
                continue
            target, _, anchor = link.partition("#")
            place = (DOCS / name).parent / target if target else DOCS / name
            assert place.is_file(), (name, link)
            if anchor:
                assert anchor in anchors(place.read_text()), (name, link)


def anchors(text: str) -> set[str]:
    found = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in found}


def test_every_name_of_ours_exists():
    clients = [holdfast.crews, holdfast.contextiq, holdfast.integration, holdfast.codegen]
    services = [*clients, holdfast.servers.crews]
    parts = [holdfast, holdfast.service, *services, builtins, tenacity]
    for name, text in TEXTS.items():
        for found in re.findall(r"`(\w+(?:Config|Error))\b", text):
            assert any(hasattr(part, found) for part in parts), (name, found)


def test_every_public_name_is_in_the_reference():
    text = "".join(text for name, text in TEXTS.items() if name.startswith("reference/"))
    exceptions = {name for name in holdfast.__all__ if name.endswith("Error")}
    for name in set(holdfast.__all__) - exceptions - {"__version__"}:
        assert re.search(rf"^::: holdfast(?:\.\w+)*\.{name}$", text, re.MULTILINE), name
    assert "::: holdfast.exceptions" in text
    from holdfast import exceptions as module

    for name in exceptions:
        assert name in module.__all__ and inspect.getdoc(getattr(module, name)), name


def test_the_language_models_index_has_every_page():
    text = (DOCS / "llms.txt").read_text()
    links = re.findall(r"^- \[(.+?)\]\((.+?)\): (.+)$", text, re.MULTILINE)
    assert sorted(link for _, link, _ in links) == sorted(TEXTS)
    for name, link, says in links:
        assert generate.title(TEXTS[link]) == name
        assert len(says) > 20 and says[-1] == ".", link


def test_the_commands_are_those_of_the_command_line():
    from typer.main import get_command

    from holdfast.cli.app import app

    text = commands()
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        assert f"## `holdfast {name}" in text, name
        for option in command.params:
            if not getattr(option, "hidden", False) and option.name != "help" and option.opts:
                assert option.opts[0] in text or option.param_type_name == "argument", (name, option.name)


def test_the_limits_of_the_readme_are_named():
    """The first words of each, for the rest is said in other words."""
    readme = (ROOT / "README.md").read_text().partition("## What it does not do")[2].partition("\n## ")[0]
    text = (TEXTS["limits.md"] + TEXTS["layers/redirects.md"]).lower().replace("`", "")
    subjects = re.findall(r"^- \*\*(.+?)\*\*", readme, re.MULTILINE)
    assert len(subjects) >= 10
    for subject in subjects:
        words = [word for word in re.findall(r"[a-z0-9/]+", subject.lower()) if len(word) > 3 or word.isupper()]
        missing = [word for word in words[:4] if word not in text]
        assert not missing, (subject, missing)


# The built pages


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('<a href="https://example.com/">x</a><link rel="canonical" href="https://example.com/">', 0),
        ('<link rel="stylesheet" href="style.css"><img src="data:image/png;base64,AA">', 0),
        ('<link rel="stylesheet" href="https://fonts.example.com/css">', 1),
        ('<link rel="preconnect" href="//fonts.example.com">', 1),
        ('<script src="https://cdn.example.com/x.js"></script>', 1),
        ('<img src="http://example.com/x.png">', 1),
    ],
)
def test_what_is_loaded_from_elsewhere_is_noticed(tmp_path: Path, text: str, found: int):
    (tmp_path / "index.html").write_text(f"<html>{text}</html>")
    (tmp_path / "style.css").write_text("a{background:url(x.png)}")
    assert len(build.foreign(tmp_path)) == found


def test_a_style_that_loads_from_elsewhere_is_noticed(tmp_path: Path):
    (tmp_path / "style.css").write_text("@font-face{src:url(https://fonts.example.com/a.woff2)}")
    assert len(build.foreign(tmp_path)) == 1

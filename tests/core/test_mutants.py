"""Every give-back is needed: without any single one of them, something is missing after a throw."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import pytest

from tests.support.crowds import ALL
from tests.support.throwing import refusals, throws

MODULES = ("flow", "attempt", "state", "cached", "bulkhead", "cache")

GIVE_BACKS = frozenset(
    {
        "_close_gate",
        "_end",
        "abandon",
        "discard",
        "end",
        "fail",
        "give_back",
        "hand_over",
        "land",
        "leave",
        "on_end",
        "pop",
        "refund",
        "settle",
        "succeed",
    }
)  # fmt: skip
"""The names of what gives something back; each call to one of these is a place that a mutant can drop."""


class Place(NamedTuple):
    """A call that gives something back: the `number`-th call in the module's syntax tree."""

    module: str
    function: str
    line: int
    text: str
    number: int

    def __str__(self) -> str:
        return f"{self.module}.{self.function}: {self.text}"


class Dropper(ast.NodeTransformer):
    """Numbers the calls of a module that give something back, and replaces one of them by None."""

    def __init__(self, module: str, drop: int = -1) -> None:
        self.module = module
        self.drop = drop
        self.places: list[Place] = []
        self._within: list[str] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._inside(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._inside(node)

    def _inside(self, node: ast.ClassDef | ast.FunctionDef) -> ast.AST:
        self._within.append(node.name)
        self.generic_visit(node)
        self._within.pop()
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        if name in GIVE_BACKS:
            place = Place(self.module, ".".join(self._within), node.lineno, ast.unparse(node), len(self.places))
            self.places.append(place)
            if place.number == self.drop:
                return ast.copy_location(ast.Constant(None), node)
        self.generic_visit(node)
        return node


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"holdfast.core.{name}")


def _places(name: str) -> list[Place]:
    dropper = Dropper(name)
    dropper.visit(ast.parse(inspect.getsource(_module(name))))
    return dropper.places


PLACES = [place for name in MODULES for place in _places(name)]


@contextmanager
def mutated(place: Place) -> Iterator[None]:
    """The module compiled without the call, its code run instead of the original's."""
    module = _module(place.module)
    tree = Dropper(place.module, place.number).visit(ast.parse(inspect.getsource(module)))
    compiled = compile(ast.fix_missing_locations(tree), f"<{place.module} without {place.text}>", "exec")
    function: Any = module
    for name in place.function.split("."):
        function = inspect.getattr_static(function, name)
    assert isinstance(function, FunctionType)
    original = function.__code__
    function.__code__ = _code(compiled, place.function)
    try:
        yield
    finally:
        function.__code__ = original


def _code(code: CodeType, qualified_name: str) -> CodeType:
    for name in qualified_name.split("."):
        code = next(const for const in code.co_consts if isinstance(const, CodeType) and const.co_name == name)
    return code


def caught() -> str:
    """The first thing that is missing, if anything is."""
    for crowd in ALL:
        try:
            for what, found in chain(throws(crowd, [GeneratorExit]), refusals(crowd)):
                if found:
                    return f"{what}: {'; '.join(found)}"
        except AssertionError as error:
            return str(error)
    return ""


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_dropped_give_back_is_caught(place: Place):
    with mutated(place):
        found = caught()
    print(f"line {place.line} of {place.module}.py, dropped {place.text}: {found}")  # noqa: T201  # shown with pytest -rP
    assert found, f"nobody misses {place.text} in line {place.line} of {place.module}.py"


def test_nothing_is_missing_without_mutants():
    assert not caught()
    names = {place.text.rpartition("(")[0].rpartition(".")[2] for place in PLACES}
    print(f"{len(PLACES)} mutants")  # noqa: T201
    assert {"leave", "abandon", "give_back", "refund", "hand_over", "land", "settle"} <= names

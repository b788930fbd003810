"""What the core may not do, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import holdfast.core

FILES = sorted(Path(next(iter(holdfast.core.__path__))).glob("**/*.py"))

ALLOWED = frozenset({"__future__", "collections", "dataclasses", "enum", "math", "re", "typing"})
"""From the standard library, what neither does I/O nor knows the time, chance, threads or event loops."""

_YIELDS = (ast.Yield, ast.YieldFrom, ast.Await)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_EVERYTHING = frozenset({"BaseException", "GeneratorExit"})


def yields(nodes: Iterable[ast.AST]) -> Iterator[int]:
    """The lines of yields, those of nested functions left out."""
    for node in nodes:
        if isinstance(node, _YIELDS):
            yield node.lineno
        if not isinstance(node, _SCOPES):
            yield from yields(ast.iter_child_nodes(node))


def catches_everything(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return bool(names & _EVERYTHING)


def forbidden_yields(source: str) -> list[int]:
    """Lines of yields that closing a flow would run into, which is a RuntimeError."""
    found: list[int] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Try, ast.TryStar)):
            found += yields(node.finalbody)
            for handler in node.handlers:
                if catches_everything(handler):
                    found += yields(handler.body)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            # Leaving the block is a `finally`, and what is in the way of `close` there cannot be seen from here.
            found += yields(node.body)
    return found


def forbidden_imports(source: str) -> list[str]:
    """Modules that the core must not know, wherever in the source they are imported."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""] if not node.level else ["." * node.level]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "import_module", "open", "print"):
            names = [ast.unparse(node)]
        else:
            continue
        found += [name for name in names if name.partition(".")[0] not in ALLOWED and not _is_core(name)]
    return found


def _is_core(name: str) -> bool:
    return name == "holdfast.core" or name.startswith("holdfast.core.")


def test_the_files_are_found():
    assert {"flow.py", "cached.py", "effects.py", "breaker.py"} <= {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_yields_where_a_flow_is_being_closed(path: Path):
    assert forbidden_yields(path.read_text()) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_of_the_world_is_imported(path: Path):
    assert forbidden_imports(path.read_text()) == []


@pytest.mark.parametrize(
    "body",
    [
        "try:\n  pass\n finally:\n  yield 1",
        "try:\n  pass\n finally:\n  if x:\n   y = yield 1",
        "try:\n  pass\n except BaseException:\n  yield from g()\n  raise",
        "try:\n  pass\n except (ValueError, GeneratorExit):\n  yield",
        "try:\n  pass\n except:\n  yield",
        "with x:\n  yield",
    ],
)
def test_a_forbidden_yield_is_found(body: str):
    assert forbidden_yields(f"def f():\n {body}")


@pytest.mark.parametrize(
    "body",
    [
        "try:\n  yield\n except ValueError:\n  yield\n finally:\n  x()",
        "try:\n  pass\n finally:\n  def g():\n   yield\n  y = lambda: (yield)",
    ],
)
def test_other_yields_are_not(body: str):
    assert forbidden_yields(f"def f():\n {body}") == []


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio",
        "import os, time",
        "from threading import Lock",
        "def f():\n import random",
        "from holdfast.exceptions import HoldfastError",
        "from holdfast import config",
        "from . import flow",
        "import_module('socket')",
        "print(1)",
    ],
)
def test_a_forbidden_import_is_found(source: str):
    assert forbidden_imports(source)


def test_the_core_may_import_itself():
    assert forbidden_imports("from holdfast.core.effects import Job\nimport math\nimport collections.abc") == []

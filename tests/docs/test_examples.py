"""The examples of the documentation: all of them are run, and print what the page says they print.

The blocks of a page share their names, as in one session. Blocks whose title is the name of a file are written to a
folder, and what is a test in there is run by pytest, with the plugin as users have it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from holdfast.testing import VirtualClock
from scripts.docs.generate import DOCS, pages
from tests.support.examples import Block, Service, blocks, run
from tests.support.wire import serve

pytestmark = pytest.mark.loopback

PAGES = {page.relative_to(DOCS).as_posix(): blocks(page.read_text()) for page in pages()}
RUN = [name for name, found in PAGES.items() if any(one.language == "python" and not one.title for one in found)]
FILES = [name for name, found in PAGES.items() if any(one.title.endswith(".py") for one in found)]


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment, the logs and structlog as they were, whatever an example does to them."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    logging.getLogger("billing").handlers.clear()
    structlog.reset_defaults()


def played(found: list[Block], place: str) -> list[tuple[Block, str]]:
    """Runs the blocks of a page in order; what each printed."""
    names: dict[str, Any] = {}
    shown: list[tuple[Block, str]] = []
    with VirtualClock():
        for block in found:
            if block.language != "python" or block.title:
                continue
            out = io.StringIO()
            with serve(Service()) as server, contextlib.redirect_stdout(out):
                run(block, server, names, place)
            shown.append((block, out.getvalue()))
    return shown


@pytest.mark.parametrize("name", RUN)
def test_the_examples_of_a_page(name: str):
    expected: dict[int, str] = {}
    for block, following in zip(PAGES[name], [*PAGES[name][1:], None], strict=True):
        if following is not None and following.title == "prints":
            expected[block.line] = following.text
    for block, out in played(PAGES[name], name):
        if block.line in expected:
            assert out.rstrip("\n") == expected.pop(block.line), f"{name}, line {block.line}"
    assert not expected, "something is said to be printed, but not by an example"


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_the_files_of_a_page(name: str, tmp_path: Path):
    files = [block for block in PAGES[name] if block.title.endswith(".py")]
    for block in files:
        (tmp_path / block.title).write_text(block.text + "\n")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings =\n    error\n    ignore::DeprecationWarning:starlette\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-rA", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for block in files:
        for line in block.text.splitlines():
            if line.startswith("def test_"):
                test = line.removeprefix("def ").partition("(")[0]
                assert f"PASSED {block.title}::{test}" in done.stdout


def test_there_are_examples():
    assert len(RUN) >= 18
    assert FILES == ["guides/fastapi.md", "guides/testing.md"]
    languages = {block.language for found in PAGES.values() for block in found}
    assert languages == {"python", "bash", "text"}


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ("```python\nawait client.get('/orders/8')\n```", "NotFoundError"),
        ("```python\nnothing\n```", "NameError"),
    ],
)
def test_an_example_that_fails_is_noticed(page: str, problem: str):
    with pytest.raises(Exception) as caught:
        played(blocks(page), "page.md")
    assert type(caught.value).__name__ == problem

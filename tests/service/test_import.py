"""The public names of the base: all there, and loaded when they are first used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import holdfast.service


def loaded(script: str, *names: str) -> list[str]:
    """Which of these modules are loaded after a script in a fresh interpreter."""
    code = f"{script}\nimport sys\nprint(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout.split()


def test_nothing_is_loaded_before_it_is_used():
    parts = ("bulk", "poll", "health", "progress", "stepwise")
    heavy = ("rich", *(f"holdfast.service.{part}" for part in parts))
    assert loaded("import holdfast.service", "httpx2", "pydantic_settings", "holdfast.service.client", *heavy) == []
    assert loaded("from holdfast.service import Model, Offset, RequestModel, ServiceClient", *heavy) == []
    assert loaded("from holdfast.service import ProgressBar", "rich") == []


@pytest.mark.parametrize("name", holdfast.service.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert name in dir(holdfast.service)
    assert getattr(holdfast.service, name) is not None


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="Nothing"):
        _ = holdfast.service.Nothing  # type: ignore[attr-defined]

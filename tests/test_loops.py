"""Which event loop the commands and the servers run on."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys

import pytest

from holdfast import _loops


async def running():
    return type(asyncio.get_running_loop())


def test_uvloops_loop_is_taken_where_it_is_installed(caplog):
    uvloop = pytest.importorskip("uvloop")
    with caplog.at_level(logging.DEBUG, "holdfast._loops"):
        assert _loops.run(running()) is uvloop.Loop
    assert caplog.messages == ["event loops are uvloop's"]


def test_without_uvloop_it_is_asyncios_own(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with caplog.at_level(logging.DEBUG, "holdfast._loops"):
        assert _loops.loop_factory() is None
        assert _loops.run(running()).__module__.startswith("asyncio.")
    assert [record.levelname for record in caplog.records] == ["DEBUG", "DEBUG"]
    assert "event loops are asyncio's" in caplog.text


def test_a_broken_uvloop_is_no_reason_not_to_run(monkeypatch, tmp_path):
    (tmp_path / "uvloop.py").write_text("raise ImportError('undefined symbol: uv_version')")
    monkeypatch.delitem(sys.modules, "uvloop", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert _loops.loop_factory() is None


def test_a_client_brings_no_event_loop_with_it():
    script = "import sys, holdfast; holdfast.ResilientClient; print('uvloop' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

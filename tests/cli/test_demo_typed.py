"""The demo's acts with the typed clients, on servers of their own, and what becomes of these."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.cli.demo.screen import Screen
from holdfast.cli.demo.typed import conversation, crews
from holdfast.cli.demo.typed.conversation import Conversation, Merge
from holdfast.cli.demo.typed.crews import Batch, Fate
from holdfast.cli.demo.typed.play import LeftOutError, play
from holdfast.cli.demo.typed.reference import Reference, reference_servers
from tests.support.demo_acts import batch, typed
from tests.support.serving import environment

pytestmark = pytest.mark.loopback

ORDERS = 20

ONE_SHORT_ACT = """
import sys
from holdfast.cli.demo import acts
class Short(acts.Overload):
    length = 0.5
acts.ACTS = (Short,)
for name in sys.argv.pop(1).split():
    sys.modules[name] = None
from holdfast.cli import main
main(["demo", "--seconds", "15"])
"""


@dataclass
class Played:
    """Both acts, as they were played once, and what was left of the servers then."""

    conversation: Conversation
    told: list[str]
    batches: list[Batch]
    reference: Reference
    left: list[Path]


@contextmanager
def other_settings(folder: Path) -> Iterator[None]:
    """An environment that is meant for other services than these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        for name, value in {"ENVIRONMENT": "production", "MEMORY_SERVICE_TIMEOUT": "soon"}.items():
            patch.setenv(name, value)
        patch.delenv("API_SECRET_KEY", raising=False)
        before = dict(os.environ)
        yield
        assert dict(os.environ) == before


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> Played:
    folder = tmp_path_factory.mktemp("temporary")
    bookings = crews.Bookings()
    told: list[str] = []
    with other_settings(folder), reference_servers({crews.CREW: bookings.book}) as reference:
        remembered = asyncio.run(conversation.remember(reference, told.append))
        batches = [asyncio.run(crews.book(reference, bookings, ORDERS, keyed=keyed)) for keyed in (True, False)]
    return Played(remembered, told, batches, reference, list(folder.iterdir()))


@pytest.mark.slow
def test_a_conversation_becomes_memory_though_requests_fail(played):
    seen = played.conversation
    assert [(talk.stored, len(talk.found), talk.again) for talk in seen.talks] == [(5, 6, 0), (3, 4, 0)]
    assert seen.matches[0].fact == "User does not drink coffee" and seen.matches[1].score > seen.matches[2].score > 0.1
    assert sorted(merge.told for merge in seen.merges) == [
        "User is allergic to peanuts, which was there 2 times",
        "User loves to drink hot green tea, in place of: User loves to drink green tea",
    ]
    assert (seen.made, seen.merged, len(seen.left), seen.failures) == (10, 2, 8, 0)
    assert seen.left[0] == "User's name is Ada"
    # It was not spared: among so many requests there are always some that fail.
    assert seen.traffic.calls + 5 <= seen.traffic.requests
    assert f"{seen.traffic.calls} calls took {seen.traffic.requests} requests" in seen.facts()[1]
    assert "  0.51  User does not drink coffee" in played.told and max(map(len, played.told)) <= 80


@pytest.mark.slow
def test_crews_run_once_and_nobody_is_left_in_doubt(played):
    keyed, plain = played.batches
    assert keyed.fates == {Fate.DELIVERED: ORDERS} and not keyed.errors
    assert keyed.executed == dict.fromkeys(keyed.orders, 1) and keyed.traffic.requests > ORDERS
    assert plain.fates[Fate.TWICE] == plain.fates[Fate.LOST] == 0
    assert plain.fates[Fate.TOLD] + plain.fates[Fate.UNSURE] == len(plain.errors) > 0
    assert plain.traffic.calls == ORDERS and "may have executed" in plain.example


@pytest.mark.slow
def test_nothing_is_left_of_the_servers(played):
    assert played.left == []
    for url in played.reference.urls:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=5)


def test_every_fate_is_counted():
    keyed = batch(keyed=True)
    assert keyed.fates == {
        Fate.TOLD: 1, Fate.UNSURE: 1, Fate.SAFE: 1, Fate.LOST: 1, Fate.TWICE: 1, Fate.DELIVERED: 18,
    }  # fmt: skip
    assert {name: one for name, one, _ in crews.figures([keyed, batch(keyed=False)])} == {
        "results delivered": "19",
        "orders booked": "21",
        "booked twice": "1",
        "failed, may have run": "2",
        "of these, had run": "1",
        "failed, has not run": "1",
        "ran, and nobody was told": "1",
        "requests sent": "31",
    }
    assert "of 23 executions 19 were delivered with server_deduplicates and 19 without, 2 of all 46 ran twice" in (
        typed().summary()
    )


def test_merged_memories_are_told_apart():
    assert Merge("a", ("a", "b", "c")).told == "a, in place of: b; c"
    assert Merge("a", ("a", "a")).told == "a, which was there 3 times"


def test_servers_that_cannot_start_are_left_out_with_a_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("MEMORY_SERVICE_TIMEOUT=soon\n")
    with pytest.raises(LeftOutError, match="MEMORY_SERVICE_TIMEOUT"):
        play(Screen(), 5, 1.0)


@pytest.mark.slow
def test_without_a_package_of_the_servers_they_are_left_out_in_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ONE_SHORT_ACT, "fastapi"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    (line,) = [line for line in lines if "left out" in line]
    assert line.startswith('The acts with the typed clients are left out: the package "fastapi"')
    report = tmp_path / "holdfast-demo.html"
    assert lines[-1] == f"Report: {report}" and "pip install &quot;holdfast[servers]&quot;" in report.read_text()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_ctrl_c_ends_it_and_its_servers(tmp_path):
    folder, temporary = tmp_path / "here", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, "-u", "-c", ONE_SHORT_ACT, ""],
        cwd=folder,
        env=environment({"TMPDIR": str(temporary)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            if "Monday: " in line:
                assert len(list(temporary.iterdir())) == 1
                process.send_signal(signal.SIGINT)
                break
        process.stdout.read()
        assert (process.wait(timeout=30), process.stderr.read()) == (130, "holdfast demo: stopped\n")
    assert list(temporary.iterdir()) == [] and list(folder.iterdir()) == []

"""`holdfast demo`, shortened, as a process of its own; and what its parts count and say."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time

import httpx2
import pytest

from holdfast.cli.acts import ACTS, BARE, HOLDFAST, Flaky, Outage, Overload, Server, Tally, play
from holdfast.cli.screen import Screen
from holdfast.cli.stage import Counted, Limited, Stage, flaky_server
from tests.support.serving import command, environment

pytestmark = pytest.mark.loopback

SHORT = ["demo", "--seconds", "8"]


def figures(out: str, name: str) -> list[list[str]]:
    """The cells of the rows of one side."""
    rows = [re.split(r"\s*[│|]\s*", line.strip(" │|")) for line in out.splitlines()]
    return [cells[1:] for cells in rows if cells[0] == name and len(cells) == 6]


@pytest.mark.slow
def test_the_whole_demo_ends_with_a_table_for_each_act():
    # SERVER_MAX_CONCURRENCY and a proxy would change what is compared, if they were looked at.
    odd = {"SERVER_MAX_CONCURRENCY": "1", "HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"}
    before = time.monotonic()
    done = subprocess.run(
        command(*SHORT), env=environment(odd), capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - before < 60
    out = done.stdout
    assert "\x1b" not in out and "Traceback" not in out
    bare, hold = figures(out, BARE), figures(out, HOLDFAST)
    assert len(bare) == len(hold) == len(ACTS)
    for left, right in zip(bare, hold, strict=True):
        # The same number of calls, whatever became of them.
        assert int(left[0]) + int(left[1]) == int(right[0]) + int(right[1]) > 10
        # Bare httpx2 sends each call once.
        assert int(left[4]) == int(left[0]) + int(left[1])
        assert re.fullmatch(r"\d+ ms|\d+\.\d s", left[2]) and re.fullmatch(r"\d+ ms|\d+\.\d s", right[3])
    flaky, outage, overload = range(3)
    assert int(hold[flaky][1]) < int(bare[flaky][1]) and int(hold[flaky][4]) > int(bare[flaky][4])
    assert int(bare[outage][1]) > 0 and int(hold[outage][4]) < int(bare[outage][4]) + 10
    assert int(hold[overload][1]) == 0 < int(bare[overload][1])
    assert out.count("Failed calls: ") == 3
    assert "due to the answer" in " ".join(out.split())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")
@pytest.mark.parametrize("colour", [True, False])
def test_on_a_terminal_it_draws_unless_no_color_is_set(colour):
    out, code = on_a_terminal(
        {"TERM": "xterm-256color", **({} if colour else {"NO_COLOR": "1"})}, interrupt_after="2. "
    )
    assert ("\x1b[" in out) is colour
    assert code == 130
    assert "Traceback" not in out and "holdfast demo: stopped" in out


def on_a_terminal(extra: dict[str, str], *, interrupt_after: str) -> tuple[str, int]:
    """Runs the demo on a pseudo-terminal; Ctrl-C once it has shown a text."""
    ours, theirs = pty.openpty()
    env = {name: value for name, value in environment(extra).items() if name != "NO_COLOR" or name in extra}
    with subprocess.Popen(
        command(*SHORT), env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = b""
        interrupted = False
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
            if not interrupted and interrupt_after.encode() in shown:
                interrupted = True
                process.send_signal(signal.SIGINT)
        code = process.wait(timeout=20)
    os.close(ours)
    return shown.decode(), code


@pytest.mark.parametrize("missing", ["uvicorn", "starlette", "rich.live"])
def test_a_missing_extra_is_one_line(missing):
    program = "import sys; sys.modules[sys.argv.pop(1)] = None; from holdfast.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, missing, "demo"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert missing in line and 'pip install "holdfast[cli,servers]"' in line


@pytest.mark.parametrize("seconds", ["2", "many", "nan"])
def test_a_wrong_length_is_named(seconds):
    done = subprocess.run(
        command("demo", "--seconds", seconds), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2 and "--seconds" in done.stderr and "Traceback" not in done.stderr


def test_the_servers_of_the_stage_answer_without_delay_and_count_only_the_work():
    counted = [Counted(flaky_server()), Counted(flaky_server())]
    with Stage(counted) as stage, httpx2.Client(trust_env=False) as client:
        first, second = stage.urls
        before = time.monotonic()
        for _ in range(50):
            assert client.get(f"{first}/msg").status_code == 200
        # 2 s if head and body of an answer travelled as two delayed packets.
        assert time.monotonic() - before < 1.5
        assert client.get(f"{second}/health").status_code == 200
    assert [one.requests for one in counted] == [50, 0]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(first.rpartition(":")[2])), timeout=5)


def test_the_limited_server_tells_its_limit():
    with Stage([Limited(flaky_server(), 3, 1)]) as stage, httpx2.Client(trust_env=False) as client:
        answers = [client.get(f"{stage.urls[0]}/msg") for _ in range(5)]
        assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
        assert [one.headers["RateLimit"] for one in answers][::3] == ['"demo";r=2;t=1', '"demo";r=0;t=1']
        assert answers[0].headers["RateLimit-Policy"] == '"demo";q=3;w=1'
        assert "Retry-After" not in answers[0].headers and answers[3].headers["Retry-After"] == "1"
        time.sleep(1.05)
        assert client.get(f"{stage.urls[0]}/msg").status_code == 200


def test_both_sides_get_the_same_calls():
    act = Flaky(0.05)
    act.calls = 12
    counted = {name: Counted(flaky_server()) for name in (BARE, HOLDFAST)}
    with Stage(list(counted.values())) as stage:
        servers = {name: Server(url, app) for (name, app), url in zip(counted.items(), stage.urls, strict=True)}
        asyncio.run(play(act, servers))
    assert [tally.done for tally in act.tallies.values()] == [12, 12]
    assert act.tallies[BARE].sent == 12 <= act.tallies[HOLDFAST].sent


def test_percentiles_are_of_the_calls_that_succeeded():
    tally = Tally(100, Counted(flaky_server()))
    assert tally.percentile(0.5) is None
    tally.seconds = [0.001 * number for number in range(100, 0, -1)]
    tally.failures["500"] += 7
    assert (tally.succeeded, tally.failed, tally.done) == (100, 7, 107)
    assert tally.percentile(0.5) == pytest.approx(0.051)
    assert tally.percentile(0.99) == pytest.approx(0.1)


@pytest.mark.parametrize("kind", [Flaky, Outage, Overload])
def test_what_is_configured_is_what_is_said(kind):
    act = kind(1.0)
    config = act.config("http://127.0.0.1:1")
    assert config.lint() == []
    # The demo says that both sides have these, and that beyond what it names Holdfast has its defaults.
    assert (config.bulkhead.max_concurrency, config.timeout.read) == (50, 15.0)
    assert (config.retry.min_wait_seconds, config.retry.max_wait_seconds) == (0.1, 2.0)
    assert "0.1 to 2 s" in act.settings
    changed = {"base_url", "retry", "logging", "trust_env"}
    if kind is Outage:
        changed.add("circuit_breaker")
        assert f"{config.circuit_breaker.recovery_timeout:g} s" in act.settings
    if kind is Overload:
        changed.add("rate_limit")
        assert f"{config.rate_limit.rate:g}/s" in act.settings
        assert config.rate_limit.max_wait == 30.0  # named by the verdict
    assert config.model_fields_set == changed


def test_without_a_single_success_there_is_still_a_table(capsys):
    act = Overload(1.0)
    act.tallies = {name: Tally(act.calls, Counted(flaky_server())) for name in (BARE, HOLDFAST)}
    act.tallies[BARE].failures["429"] = act.calls
    Screen().results([act])
    out = capsys.readouterr().out
    assert [row[:4] for row in figures(out, BARE)] == [["0", str(act.calls), "-", "-"]]

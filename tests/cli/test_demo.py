"""`holdfast demo`, shortened, as a process of its own; and what its parts count and say."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from holdfast.cli.demo.acts import ACTS, Act, Broken, Flaky, Outage, Overload, Rules
from holdfast.cli.demo.contestants import contestants, holdfast_config
from holdfast.cli.demo.play import perform
from holdfast.cli.demo.screen import Screen
from holdfast.cli.demo.settings import BARE, GLUED, HOLDFAST, Settings
from holdfast.cli.demo.shop import Counted, Limited, shop
from holdfast.cli.demo.stage import Stage
from holdfast.cli.demo.tally import Done, ServerLog, Tally
from holdfast.cli.demo.verdicts import FIGURES, drawbacks, summary, too_busy
from tests.support.browser import chromium, show
from tests.support.demo_acts import NAMES, played, totals
from tests.support.serving import command, environment

pytestmark = pytest.mark.loopback

SHORT = ["demo", "--seconds", "15"]
FLAKY, OUTAGE, OVERLOAD, BROKEN, ALL = range(5)
CUT = {"ReadError", "RemoteProtocolError"}
BUSY = {"ConnectTimeout", "ReadTimeout"}  # the timeouts of the demo are short, and the machine may be busy


def rows(out: str, name: str) -> list[dict[str, str]]:
    """The tables' rows of one contestant, in order."""
    found = []
    for line in out.splitlines():
        cells = re.split(r"\s{2,}", line.strip())
        if cells[0] == name and len(cells) == len(FIGURES) + 1:
            found.append(dict(zip((figure.key for figure in FIGURES), cells[1:], strict=True)))
    return found


@pytest.mark.slow
def test_the_whole_demo_ends_with_tables_and_a_report(tmp_path):
    # A proxy would change what is compared, if it were looked at; and settings are for other services than these.
    odd = {
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
        "ENVIRONMENT": "production",
        "API_SECRET_KEY": "short",
        "MEMORY_SERVICE_TIMEOUT": "soon",
        "CREWS_MAX_RETRIES": "none",
        "CONTEXTIQ_REQUIRE_AUTH": "true",
    }
    report = tmp_path / "report.html"
    before = time.monotonic()
    done = subprocess.run(
        command(*SHORT, "--report", str(report)),
        env=environment(odd),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - before < 60
    out = done.stdout
    assert "\x1b" not in out and "Traceback" not in out
    assert re.search(r"^bare httpx2: \d+ of \d+ done, ", out, re.MULTILINE)
    assert out.splitlines()[-1] == f"Report: {report}"
    bare, glued, hold = rows(out, BARE), rows(out, GLUED), rows(out, HOLDFAST)
    assert len(bare) == len(glued) == len(hold) == len(ACTS) + 1
    for three in zip(bare, glued, hold, strict=True):
        # The same number of calls, whatever became of them.
        assert len({int(row["succeeded"]) + int(row["failed"]) for row in three}) == 1
        assert all(re.fullmatch(r"\d+ ms|\d+\.\d s", row["p50"]) for row in three)
    assert [row["twice"] for row in bare] == ["0"] * 5
    # What was answered with a 429 or a 503 was not executed, and what may have been is not repeated.
    assert [hold[act]["twice"] for act in (OUTAGE, OVERLOAD, BROKEN)] == ["0"] * 3
    assert int(hold[FLAKY]["failed"]) < int(bare[FLAKY]["failed"])
    assert int(hold[OUTAGE]["sent"]) < 2 * int(bare[OUTAGE]["sent"])
    assert int(bare[ALL]["sent"]) <= int(bare[ALL]["succeeded"]) + int(bare[ALL]["failed"])
    assert "Where Holdfast is not better:" in out
    assert "8 messages were sent, and 8 are stored." in out and "the second time it made no more memories" in out
    assert re.search(r"^ results delivered +20 +\d+$", out, re.MULTILINE)
    assert re.search(r"^ booked twice +0 +0$", out, re.MULTILINE)
    with chromium() as browser:
        shown = show(browser, report, "document.querySelectorAll('svg[role=img]').length")
    assert shown.values == [1 + 2 * len(ACTS) + 2]
    assert shown.complaints == [] and shown.requests == [report.as_uri()]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")
@pytest.mark.parametrize("colour", [True, False])
def test_on_a_terminal_it_draws_unless_no_color_is_set(colour, tmp_path):
    extra = {"TERM": "xterm-256color", **({} if colour else {"NO_COLOR": "1"})}
    out, code = on_a_terminal(extra, tmp_path, interrupt_after="2. ")
    assert ("\x1b[" in out) is colour
    assert code == 130
    assert "Traceback" not in out and "holdfast demo: stopped" in out
    assert list(tmp_path.iterdir()) == []


def on_a_terminal(extra: dict[str, str], folder: Path, *, interrupt_after: str) -> tuple[str, int]:
    """Runs the demo on a pseudo-terminal; Ctrl-C once it has shown a text."""
    ours, theirs = pty.openpty()
    env = {name: value for name, value in environment(extra).items() if name != "NO_COLOR" or name in extra}
    with subprocess.Popen(
        command(*SHORT), env=env, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
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


@pytest.mark.slow
def test_it_ends_when_nobody_reads_on(tmp_path):
    with subprocess.Popen(
        command(*SHORT), env=environment(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        code = process.wait(timeout=60)
        assert (code, process.stderr.read()) == (141, b"")


@pytest.mark.parametrize("missing", ["uvicorn", "starlette", "rich.live"])
def test_a_missing_extra_is_one_line(missing, tmp_path):
    program = "import sys; sys.modules[sys.argv.pop(1)] = None; from holdfast.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, missing, "demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert missing in line and 'pip install "holdfast[cli,servers]"' in line


@pytest.mark.parametrize("missing", ["stamina", "purgatory", "aiolimiter"])
def test_without_its_packages_the_glued_stack_is_left_out(monkeypatch, missing):
    monkeypatch.delitem(sys.modules, "holdfast.cli.demo.glued", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, missing, None)
    players, left_out = contestants()
    assert [player.name for player in players] == [BARE, HOLDFAST]
    assert f'"{missing}" is missing' in left_out and "pip install" in left_out


@pytest.mark.parametrize("seconds", ["14", "many", "nan"])
def test_a_wrong_length_is_named(seconds):
    done = subprocess.run(
        command("demo", "--seconds", seconds), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2 and "--seconds" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("where", [".", "no/where.html", "closed/report.html"])
def test_a_report_that_cannot_be_written_is_refused_before_anything_starts(tmp_path, where):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if where.startswith("closed") and os.access(closed, os.W_OK):
        pytest.skip("root may write anywhere")
    done = subprocess.run(
        command("demo", "--report", where), cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("holdfast demo: --report: ")


def test_the_servers_answer_without_delay_and_count_only_the_work():
    logs = [ServerLog(), ServerLog()]
    with Stage([Counted(shop(log), log) for log in logs]) as stage, httpx2.Client(trust_env=False) as client:
        first, second = stage.urls
        before = time.monotonic()
        for number in range(50):
            assert client.get(f"{first}/shop/articles/{number}").json()["article"] == number
        # 2 s more if head and body of an answer travelled as two delayed packets.
        assert time.monotonic() - before < 2.5
        assert client.get(f"{second}/health").status_code == 200
        for _ in range(2):
            assert client.post(f"{second}/shop/orders", json={"order": "a"}).status_code == 201
        assert client.post(f"{second}/shop/orders", json={"order": "b"}).status_code == 201
    assert [len(log.arrivals) for log in logs] == [50, 3]
    assert logs[1].executed == {"a": 2, "b": 1}
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(first.rpartition(":")[2])), timeout=5)


def test_the_limited_server_tells_its_limit():
    with Stage([Limited(shop(ServerLog()), 3, 1)]) as stage, httpx2.Client(trust_env=False) as client:
        answers = [client.get(f"{stage.urls[0]}/shop/articles/1") for _ in range(5)]
        assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
        assert [one.headers["RateLimit"] for one in answers][::3] == ['"demo";r=2;t=1', '"demo";r=0;t=1']
        assert answers[0].headers["RateLimit-Policy"] == '"demo";q=3;w=1'
        assert "Retry-After" not in answers[0].headers and answers[3].headers["Retry-After"] == "1"
        time.sleep(1.05)
        assert client.get(f"{stage.urls[0]}/shop/articles/1").status_code == 200


@pytest.mark.slow
def test_all_contestants_get_the_same_calls_and_the_same_trouble():
    players, left_out = contestants()
    assert left_out == ""
    act = Broken(0.25)
    looked = 0

    def watch() -> None:
        nonlocal looked
        looked += 1

    perform(act, players, watch)
    assert looked > 3
    assert tuple(act.tallies) == NAMES
    orders = {name: {one.order for one in tally.done} for name, tally in act.tallies.items()}
    assert orders[BARE] == orders[GLUED] == orders[HOLDFAST]
    assert orders[BARE] == {"", *(f"broken-{number}" for number in range(act.calls) if number % 10 in {2, 5, 8})}
    for tally in act.tallies.values():
        assert len(tally.done) == tally.planned == act.calls
        assert set(tally.server.executed) <= orders[BARE]
    bare = act.tallies[BARE]
    assert bare.sent <= act.calls and set(bare.failures) <= CUT | BUSY


class LostAnswers(Broken):
    """The answers to the first two orders are lost."""

    def rules(self) -> Rules:
        return [{"kind": "reset", "at": "after", "method": "POST", "path": "/shop", "count": 2}]


@pytest.mark.slow
def test_who_repeats_what_was_executed_is_found_out():
    act = LostAnswers(0.25)
    perform(act, contestants()[0], lambda: None)
    bare, glued, hold = (act.tallies[name] for name in NAMES)
    assert (bare.executed_twice, hold.executed_twice) == (0, 0) and glued.executed_twice > 0
    assert len(bare.placed_but_failed) == len(hold.placed_but_failed) == 2
    # Holdfast's errors leave nobody in doubt.
    assert [one.unsure for one in hold.placed_but_failed] == [True, True]
    assert f"Orders that were placed twice: 0 with Holdfast, {glued.executed_twice} with" in " ".join(act.facts())


def test_an_act_is_stopped_by_what_its_watcher_raises():
    def watch() -> None:
        raise BlockingIOError("nobody looks")

    before = time.monotonic()
    with pytest.raises(BlockingIOError, match="nobody looks"):
        perform(Flaky(5.0), contestants()[0], watch)
    assert time.monotonic() - before < 20  # of 40


def test_a_tally_counts_what_happened():
    tally = Tally(100, ServerLog())
    assert (tally.p50, tally.p99, tally.worst_wait, tally.share, tally.lateness) == (None, None, None, 0.0, 0.0)
    tally.done = [Done(0, 0.001 * number) for number in range(100, 0, -1)]
    tally.done += [Done(0, 3.0, "503", order, unsure=True, late=0.5) for order in ("a", "b", "")]
    tally.server.executed.update({"a": 1, "c": 2, "d": 3})
    assert (tally.succeeded, tally.failed, tally.executed_twice) == (100, 3, 2)
    assert tally.p50 == pytest.approx(0.051)
    assert tally.p99 == pytest.approx(0.1)
    assert tally.worst_wait == 3.0 and tally.failures == {"503": 3}
    assert [one.order for one in tally.placed_but_failed] == ["a"]
    assert tally.lateness == 0.0
    both = Tally.total([tally, tally])
    assert (both.planned, both.failed, both.executed_twice) == (200, 6, 3)


@pytest.mark.parametrize("kind", ACTS)
def test_what_is_configured_is_what_is_said(kind):
    act = kind(1.0)
    settings = act.settings
    assert settings == Settings()
    config = holdfast_config("http://127.0.0.1:1", settings)
    assert config.lint() == []
    said = {name: what[HOLDFAST] for name, what in settings.compared()}
    assert config.timeout.seconds() == {"connect": 0.5, "read": 0.9, "write": 0.9, "pool": 2.0}
    assert said["timeouts: connect, read, write, pool"] == "0.5, 0.9, 0.9 and 2 s"
    assert said["connections at a time"] == str(config.bulkhead.max_concurrency)
    assert said["attempts"].startswith(f"{config.retry.max_attempts} if ") and config.retry.budget is not None
    assert (config.retry.budget.window, config.retry.budget.floor, config.retry.budget.ratio) == (10.0, 10, 0.2)
    assert said["time for a whole call"].startswith(f"{config.deadline:g} s")
    assert f"after {config.circuit_breaker.failure_threshold} failed" in said["circuit breaker"]
    assert f"after {config.circuit_breaker.recovery_timeout:g} s" in said["circuit breaker"]
    # "Beyond this table Holdfast has its defaults."
    beside = {"base_url", "logging", "trust_env", "verify_ssl"}
    assert config.model_fields_set == {"deadline", "timeout", "retry", "circuit_breaker", "bulkhead"} | beside
    assert config.retry.model_fields_set == {"max_attempts", "min_wait_seconds", "max_wait_seconds"}
    assert config.circuit_breaker.model_fields_set == {"failure_threshold", "recovery_timeout"}
    assert config.bulkhead.model_fields_set == {"max_concurrency"}


def test_a_drawback_is_found_whoever_it_is_and_explained():
    made = dict(zip(NAMES, (Tally(2, ServerLog()) for _ in NAMES), strict=True))
    made[BARE].done = [Done(0, 0.02), Done(0, 0.03, "503")]
    made[GLUED].done = [Done(0, 0.02), Done(0, 0.03)]
    made[HOLDFAST].done = [Done(0, 0.02), Done(0, 2.0, "503")]
    made[HOLDFAST].server.executed["a"] = 2
    found = drawbacks(made, {"worst_wait": "it slept"})
    assert found == [
        "succeeded: 1, to 2 of the glued stack.",
        "worst wait: 2.0 s, to 30 ms of bare httpx2 and 30 ms of the glued stack: it slept.",
        "executed twice: 1, to 0 of bare httpx2 and 0 of the glued stack.",
    ]
    assert summary(made)[0] == (
        "With Holdfast 1 of 2 calls succeeded: 1 fewer than with the glued stack and as many as with bare httpx2."
    )
    assert too_busy(made) == ""
    made[BARE].done = [Done(0, 0.5, late=0.4)]
    assert "400 ms" in too_busy(made)
    made[HOLDFAST] = made[GLUED]
    assert drawbacks(made, {}) == []


@pytest.mark.parametrize("names", [NAMES, (BARE, HOLDFAST)])
def test_every_act_has_something_to_say(names):
    acts = played(names)
    for act in acts:
        assert act.trouble and act.facts()
        text = " ".join(act.facts())
        assert ("glued" in text) is (GLUED in names) and text.count(" with ") >= len(names)


def test_a_shorter_demo_is_honest_about_its_times():
    act: Act = Outage(0.25)
    assert "for 1.2 s" in act.trouble and "16 times as fast" in act.trouble
    assert act.settings.deadline == 2.5
    assert Overload(0.25).limit == 15


def test_without_a_single_success_there_is_still_a_table(capsys):
    acts = played()
    for tally in acts[0].tallies.values():
        tally.done = [Done(one.due, one.seconds, "429") for one in tally.done]
    Screen().results(acts, totals(acts))
    out = capsys.readouterr().out
    first = rows(out, BARE)[0]
    assert (first["succeeded"], first["failed"], first["p50"]) == ("0", str(acts[0].calls), "-")
    # 80 columns are enough for all of it.
    assert max(map(len, out.splitlines())) <= 80 and "…" not in out


def test_what_surrounds_the_servers_is_entered_and_left_around_them():
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        seen.append("entered")
        yield
        seen.append("left")

    with Stage([shop(ServerLog())], [lifespan, lifespan]) as stage, httpx2.Client(trust_env=False) as client:
        assert seen == ["entered"] * 2
        assert client.get(f"{stage.urls[0]}/health").status_code == 200
    assert seen == ["entered"] * 2 + ["left"] * 2


def test_servers_that_cannot_start_say_why():
    def lifespan() -> AbstractAsyncContextManager[None]:
        raise LookupError("no database")

    stage = Stage([shop(ServerLog())], [lifespan])
    with pytest.raises(LookupError, match="no database"), stage:
        pass
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(stage.urls[0].rpartition(":")[2])), timeout=5)


def test_the_servers_are_gone_after_an_error():
    class BrokeError(Exception):
        pass

    with pytest.raises(BrokeError), Stage([shop(ServerLog())]) as stage:
        raise BrokeError
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(stage.urls[0].rpartition(":")[2])), timeout=5)

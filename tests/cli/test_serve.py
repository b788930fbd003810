"""The command line: real processes on free ports."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest

import holdfast
from tests.support.serving import finished, free_offset, request, serving

pytestmark = pytest.mark.loopback


def interrupted(url: str) -> None:
    """A request whose server is ended meanwhile; how it fails depends on when."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        request(url)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.stdout == ""
    # That tokens are signed with a development key is warned of in any case.
    (line,) = (line for line in done.stderr.splitlines() if " WARNING holdfast.auth: " not in line)
    return line


def test_it_serves_until_sigterm(tmp_path):
    data = tmp_path / "not" / "there"
    with serving(data, fresh=True) as server:
        status, body = request(f"{server.url}/health")
        assert (status, json.loads(body)["status"]) == (200, "ok")
        assert data.is_dir()
        code, out = server.stop()
        assert code == 0
        lines = {line.split("  ")[0]: line.split()[-1] for line in out.splitlines() if " WARNING " not in line}
        offset = 8000 + server.offset
        assert lines == {
            "Test server": server.url,
            "Crews and Sessions": f"http://127.0.0.1:{offset + 1}",
            "Memory": f"http://127.0.0.1:{offset + 2}",
            "Service Integration": f"http://127.0.0.1:{offset + 5}",
            "Codegen": f"http://127.0.0.1:{offset + 10}",
        }


def test_it_ends_on_ctrl_c(tmp_path):
    with serving(tmp_path, fresh=True) as server:
        code, out = server.stop(signal.SIGINT)
        assert (code, "Traceback" in out) == (0, False)


def test_sigterm_ends_it_also_while_requests_are_in_flight(tmp_path):
    with serving(tmp_path) as server:
        slow = threading.Thread(target=interrupted, args=(f"{server.url}/msg?delay=30000",))
        slow.start()
        time.sleep(0.5)
        code, out = server.stop(patience=25)  # the answer would take 30
        slow.join()
        assert (code, "Traceback" in out) == (0, False), out


def test_answers_do_not_wait_for_acknowledgements(test_server):
    with httpx2.Client(base_url=test_server, trust_env=False) as client:
        before = time.monotonic()
        assert {client.get("/msg").status_code for _ in range(100)} == {200}
        # 4 s if head and body of an answer travel as two delayed packets, a tenth of that otherwise.
        assert time.monotonic() - before < 3


def test_faults_can_be_injected_only_if_asked_for(test_server, tmp_path):
    rule = b'{"kind": "status", "status": 503}'
    assert request(f"{test_server}/_faults", "POST", rule)[0] == 201
    assert request(f"{test_server}/msg")[0] == 503
    assert request(f"{test_server}/_faults", "DELETE")[0] == 200
    assert request(f"{test_server}/msg", headers={"X-Holdfast-Fault": rule.decode()})[0] == 503
    with serving(tmp_path) as server:
        assert request(f"{server.url}/_faults", "POST", rule)[0] == 404
        for header in (rule.decode(), "reset", "meteor"):
            assert request(f"{server.url}/msg", headers={"X-Holdfast-Fault": header})[0] == 200


def test_failures_from_the_start(tmp_path):
    rules = ["--fault", "status=503;path=/msg;count=1", "--fault", '{"kind": "reset", "path": "/fail"}']
    with serving(tmp_path, "--faults", *rules) as server:
        assert [request(f"{server.url}/msg")[0] for _ in range(2)] == [503, 200]
        with pytest.raises(ConnectionResetError):
            request(f"{server.url}/fail/status")
        assert len(json.loads(request(f"{server.url}/_faults")[1])["rules"]) == 2
        _, out = server.stop()
        line = next(line for line in out.splitlines() if line.startswith("Test server"))
        assert line.endswith(f"failures at {server.url}/_faults, 2 from the start")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--fault", "status=503"], ["--faults"]),
        (["--faults", "--fault", "meteor"], ["meteor", "status", "silence"]),
        (["--faults", "--fault", "status=503;rate=1.5"], ["status=503;rate=1.5", "rate: ", "1.5"]),
        (["--faults", "--fault", "reset", "--fault", "latency=100ms"], ["latency=100ms", "seconds", "'100ms'"]),
        (["--faults", "--reload", "--fault", "status"], ["status: is required"]),
    ],
)
def test_a_bad_failure_is_one_line(arguments, names, tmp_path):
    done = finished("serve", "--data-dir", str(tmp_path), "--port-offset", str(free_offset()), *arguments)
    assert done.returncode == 2
    line = one_line(done)
    assert line.startswith("holdfast serve: ") and "--fault" in line
    assert all(name in line for name in names), line


def test_sigterm_ends_it_also_while_a_failure_holds_a_request(tmp_path):
    with serving(tmp_path, "--faults", "--fault", "silence;path=/msg") as server:
        silent = threading.Thread(target=interrupted, args=(f"{server.url}/msg",))
        silent.start()
        time.sleep(0.5)
        code, out = server.stop()
        silent.join()
        assert (code, "Traceback" in out) == (0, False), out


def test_settings_come_from_the_environment(tmp_path):
    with serving(tmp_path, env={"SERVER_REQUEST_TIMEOUT": "0.05"}) as server:
        assert request(f"{server.url}/msg?delay=30000") == (408, '{"detail":"Request timeout"}')


def test_a_port_in_use_is_one_line(test_server, tmp_path):
    offset = str(int(test_server.rpartition(":")[2]) - 8000)
    for more in ([], ["--reload"]):
        done = finished("serve", "--data-dir", str(tmp_path), "--port-offset", offset, *more)
        assert done.returncode == 1
        line = one_line(done)
        assert "in use" in line and test_server.rpartition(":")[2] in line and "--port-offset" in line


@pytest.mark.parametrize(
    ("arguments", "env", "names", "code"),
    [
        (["--host", "no.such.host.invalid"], {}, "no.such.host.invalid", 1),
        (["--host", "192.0.2.1"], {}, "192.0.2.1", 1),
        (["--port-offset", "100"], {"SERVER_PORT": "65500"}, "65600", 2),
        ([], {"SERVER_PORT": "http"}, "SERVER_PORT", 2),
        ([], {"SERVER_LOG_LEVEL": "LOUD"}, "SERVER_LOG_LEVEL", 2),
        (["--data-dir", "/dev/null/data"], {}, "/dev/null/data", 2),
    ],
)
def test_what_cannot_work_is_one_line(arguments, env, names, code, tmp_path):
    done = finished("serve", "--data-dir", str(tmp_path), "--port-offset", str(free_offset()), *arguments, env=env)
    assert done.returncode == code
    assert names in one_line(done)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["serve", "--port-offset", "many"], "--port-offset"),
        (["serve", "--port-offset", "-1"], "--port-offset"),
        (["serve", "--port-offset", "60000"], "--port-offset"),
        (["serve", "--data-dir", __file__], "--data-dir"),
        (["serve", "--fault"], "--fault"),
        (["server"], "server"),
    ],
)
def test_a_wrong_option_is_named(arguments, names):
    done = finished(*arguments)
    assert done.returncode == 2
    assert names in done.stderr
    assert "Traceback" not in done.stderr


def test_version_and_help():
    assert finished("--version").stdout.startswith("holdfast 0.")
    assert "serve" in finished("--help").stdout


@pytest.mark.parametrize("missing", ["typer", "uvicorn"])
def test_a_missing_extra_is_one_line(missing, tmp_path):
    program = "import sys; sys.modules[sys.argv.pop(1)] = None; from holdfast.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, missing, "serve", "--data-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    line = one_line(done)
    assert missing in line and 'pip install "holdfast[cli,servers]"' in line


@pytest.mark.slow
def test_reload_restarts_on_a_change_of_the_sources(tmp_path, monkeypatch):
    # A copy, so that the project's own sources stay as they are, and not measured: it would count as untested code.
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)
    shutil.copytree(Path(holdfast.__file__).parent, tmp_path / "src" / "holdfast")
    source = tmp_path / "src" / "holdfast" / "servers" / "flaky" / "app.py"
    with serving(tmp_path / "data", "--reload", env={"PYTHONPATH": str(tmp_path / "src")}, fresh=True) as server:
        source.write_text(source.read_text().replace('"status": "ok"', '"status": "mended"'))
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if "mended" in request(f"{server.url}/health")[1]:
                    break
            except OSError:
                pass
            time.sleep(0.1)
        else:
            pytest.fail("the change was not picked up")
        code, out = server.stop()
        assert (code, "restarting" in out, "Traceback" in out) == (0, True, False), out

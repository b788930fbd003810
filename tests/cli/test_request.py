"""`holdfast request`, as the console script, against a server on the loopback interface."""

from __future__ import annotations

import base64
import functools
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest
import trustme

from tests.support import wire
from tests.support.loopback import RESET, Loopback, answer, json_answer, raw, redirect
from tests.support.terminal import HOLDFAST, PATIENCE, environment, inside, on_terminal, run

pytestmark = pytest.mark.loopback

QUICK = ("--min-wait", "0.01", "--max-wait", "0.02")
ODD = '{"id":12345678901234567.890,"name":"\\u00e9","id":1e400,"empty":[],"nested":{"a":[1,{}]}}'
LAID_OUT = """\
{
  "id": 12345678901234567.890,
  "name": "\\u00e9",
  "id": 1e400,
  "empty": [],
  "nested": {
    "a": [
      1,
      {}
    ]
  }
}
"""


@pytest.fixture
def server():
    with Loopback() as server:
        yield server


@pytest.fixture
def holdfast(capsys):
    """The command line in this process: for what does not depend on being a process."""
    return functools.partial(inside, capsys)


# What is shown


def test_the_timeline_tells_attempts_waits_and_the_end(server):
    server.on("/flaky", answer(503), RESET, json_answer(200, ODD))
    done = run("request", f"{server.url}/flaky", *QUICK)
    assert (done.code, done.out) == (0, LAID_OUT)
    lines = [re.sub(r"\d+ ms", "N ms", line.partition(" s  ")[2]) for line in done.err.splitlines()]
    (request_id,) = {one.get("X-Request-ID") for one in server.seen}
    assert lines == [
        f"attempt 1: GET /flaky on {server.url}",
        "attempt 1: 503 Service Unavailable, N ms",
        "attempt 2 follows in N ms (503)",
        "attempt 2",
        "attempt 2: no answer: the connection broke or timed out after something was sent, N ms",
        lines[5],
        "attempt 3",
        "attempt 3: 200 OK, N ms",
        f"done: 200 OK after 3 attempts (request id {request_id})",
    ]
    assert re.fullmatch(r"attempt 3 follows in N ms \(\w+Error\)", lines[5])
    offsets = [float(line.partition(" s  ")[0]) for line in done.err.splitlines()]
    assert offsets == sorted(offsets) and offsets[0] < 1


def test_an_error_says_why_it_ended_and_shows_the_body(server):
    server.on("/users/9", json_answer(404, '{"detail":"no such user"}'))
    done = run("request", f"{server.url}/users/9")
    assert (done.code, json.loads(done.out)) == (1, {"detail": "no such user"})
    last = done.err.splitlines()[-1]
    assert last.startswith("holdfast request: GET /users/9 on ") and "404 Not Found (no such user)" in last
    assert "Not retried: a 404 is not retried" in last


def test_quiet_leaves_the_errors(server, holdfast):
    server.on("/bad", answer(400))
    assert holdfast("request", f"{server.url}/", "--quiet").err == ""
    assert len(holdfast("request", f"{server.url}/bad", "--quiet").err.splitlines()) == 1


def test_a_pipe_gets_text_and_bytes_as_they_are(server):
    content = bytes(range(256))
    server.on("/image", answer(200, content, ("Content-Type", "image/png")))
    server.on("/text", answer(200, b"a\x1b[31mb", ("Content-Type", "text/plain")))
    done = subprocess.run([HOLDFAST, "request", f"{server.url}/image"], capture_output=True, timeout=60, check=True)
    assert done.stdout == content
    assert run("request", f"{server.url}/text").out == "a\x1b[31mb"


def test_raw_leaves_json_alone(server):
    server.on("/", json_answer(200, ODD))
    assert run("request", f"{server.url}/", "--raw").out == ODD


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_slow_reader_gets_all_of_a_large_body(server, unbuffered):
    server.on("/", answer(200, b"x" * 1_000_000))
    with subprocess.Popen(
        [HOLDFAST, "request", f"{server.url}/"],
        env=environment({"PYTHONUNBUFFERED": unbuffered}),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        size = len(process.stdout.read(1))
        time.sleep(0.2)
        size += len(process.stdout.read())
    assert (process.returncode, size) == (0, 1_000_000)


def test_head_shows_the_head(server, holdfast):
    server.on("/", answer(200, b"", ("ETag", '"7"'), ("Set-Cookie", "sid=geheim")))
    done = holdfast("request", "HEAD", f"{server.url}/")
    assert 'etag: "7"' in done.out.lower() and "geheim" not in done.out
    assert server.last.method == "HEAD"


def test_verbose_shows_both_heads_without_their_secrets(server, holdfast):
    server.on("/here", redirect(302, "/there?api_key=geheim"))
    server.on("/there", answer(200, b"", ("X-Api-Token", "geheim")))
    done = holdfast("request", f"{server.url}/here", "-v", "-H", "Authorization: Bearer geheim", "-H", "X-Team: a")
    assert server.seen[0].get("Authorization") == "Bearer geheim"
    assert "geheim" not in done.err and "> x-team: a" in done.err.lower()
    assert f"redirected by 302 from {server.url}/here" in done.err
    assert "api_key=***" in done.err and "< x-api-token: [redacted]" in done.err.lower()


def test_output_goes_to_a_file_byte_for_byte_if_the_answer_is_good(server, tmp_path):
    server.on("/good", json_answer(200, ODD))
    server.on("/bad", json_answer(500, '{"detail":"broken"}'))
    target = tmp_path / "body"
    done = run("request", f"{server.url}/good", "-o", str(target))
    assert (done.code, done.out, target.read_text()) == (0, "", ODD)
    done = run("request", f"{server.url}/bad", "-o", str(target), "--attempts", "1")
    assert (done.code, target.read_text()) == (1, ODD)
    assert "broken" in done.out


# A terminal


def test_a_terminal_gets_colours_unless_it_must_not(server):
    server.on("/", json_answer(200, ODD))
    coloured = on_terminal("request", f"{server.url}/")
    assert "\x1b[" in coloured.out
    assert LAID_OUT in re.sub(r"\x1b\[[\d;]*m", "", coloured.out)
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        plain = on_terminal("request", f"{server.url}/", env=env)
        assert "\x1b" not in plain.out and LAID_OUT in plain.out


def test_nothing_that_a_server_sends_drives_the_terminal(server):
    server.on("/text", answer(200, b"a\x1b]0;b\x07\xc2\x9bc\n", ("Content-Type", "text/plain; charset=utf-8")))
    server.on("/json", json_answer(200, '["\x7f\u009b31m"]'))
    server.on("/error", json_answer(400, '{"detail":"\\u001b[2J"}'))
    server.on("/image", answer(200, bytes(range(256)), ("Content-Type", "image/png")))
    env = {"NO_COLOR": "1"}
    assert "a\\x1b]0;b\\x07\\x9bc\n" in on_terminal("request", f"{server.url}/text", env=env).out
    for path in ("/json", "/error"):
        done = on_terminal("request", f"{server.url}{path}", env=env)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", done.out), done.out
    done = on_terminal("request", f"{server.url}/image", env=env)
    assert "256 bytes of image/png are not shown" in done.out and "-o FILE" in done.out


# What is sent


def test_a_request_is_sent_as_it_was_asked_for(server, holdfast):
    done = holdfast(
        *("request", "delete", f"{server.url}/a?x=0#part", "-q", "x=1", "-q", "y=a b&c", "-q", "e="),
        *("-H", "X-One: 1", "-H", "X-One: 2", "-H", "X-Empty:", "--request-id", "mine-7"),
    )
    assert done.code == 0
    seen = server.last
    assert (seen.method, seen.target) == ("DELETE", "/a?x=0&x=1&y=a%20b%26c&e=")
    assert seen.all("X-One") == ["1", "2"] and seen.get("X-Empty") == "" and seen.get("X-Request-ID") == "mine-7"


@pytest.mark.parametrize(
    ("arguments", "method", "kind", "body"),
    [
        (["-j", '{"a": 1.0}'], "POST", "application/json", b'{"a": 1.0}'),
        (["-j", "-"], "POST", "application/json", b"[7]"),
        (["-j", "@{file}"], "POST", "application/json", b'{"from":"file"}'),
        (["-d", "hällo"], "POST", "text/plain; charset=utf-8", "hällo".encode()),
        (["-d", ""], "POST", "text/plain; charset=utf-8", b""),
        (["-d", "-"], "POST", "application/octet-stream", b"[7]"),
        (["-d", "@{file}"], "POST", "application/json", b'{"from":"file"}'),
        (["-d", "@{file}", "-H", "content-type: text/x"], "POST", "text/x", b'{"from":"file"}'),
        (["-f", "a=1", "-f", "a=2", "-f", "b=x y"], "POST", "application/x-www-form-urlencoded", b"a=1&a=2&b=x+y"),
    ],
)
def test_bodies(server, tmp_path, arguments, method, kind, body, holdfast):
    (tmp_path / "body.json").write_text('{"from":"file"}')
    given = [one.replace("{file}", str(tmp_path / "body.json")) for one in arguments]
    assert holdfast("request", server.url, *given, stdin=b"[7]").code == 0
    seen = server.last
    assert (seen.method, seen.all("Content-Type"), seen.body) == (method, [kind], body)
    assert holdfast("request", "PUT", server.url, *given, stdin=b"[7]").code == 0
    assert server.last.method == "PUT"


def test_a_file_in_a_form_is_uploaded(server, tmp_path, holdfast):
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    assert holdfast("request", server.url, "-f", "title=x", "-f", f"photo=@{tmp_path / 'photo.png'}").code == 0
    assert (server.last.get("Content-Type") or "").startswith("multipart/form-data; boundary=")
    for part in (b'name="title"', b'name="photo"; filename="photo.png"', b"image/png", b"\x89PNG"):
        assert part in server.last.body


@pytest.mark.parametrize("given", ["-", "@{file}", "@{fifo}"])
def test_bodies_are_sent_again_in_full(server, tmp_path, given):
    server.on("/", answer(503), answer(200))
    (tmp_path / "body").write_bytes(b"x" * 100_000)
    os.mkfifo(tmp_path / "fifo")
    where = given.replace("{file}", str(tmp_path / "body")).replace("{fifo}", str(tmp_path / "fifo"))
    with subprocess.Popen(["cp", str(tmp_path / "body"), str(tmp_path / "fifo")]) as writer:
        try:
            done = run("request", f"{server.url}/", "-d", where, *QUICK, stdin=b"x" * 100_000)
        finally:
            if given != "@{fifo}":
                writer.kill()
    assert (done.code, server.bodies) == (0, [b"x" * 100_000] * 2)


def test_credentials_come_from_the_environment_or_a_file(server, tmp_path, monkeypatch, holdfast):
    (tmp_path / "head").write_text("X-Api-Key: geheim\n\nX-Team: a\n")
    monkeypatch.setenv("TOKEN", "geheim")
    monkeypatch.setenv("LOGIN", "ada:löve")
    assert holdfast("request", server.url, "--bearer-env", "TOKEN", "-H", f"@{tmp_path / 'head'}").code == 0
    assert server.last.get("Authorization") == "Bearer geheim"
    assert (server.last.get("X-Api-Key"), server.last.get("X-Team")) == ("geheim", "a")
    assert holdfast("request", server.url, "--basic-env", "LOGIN").code == 0
    assert server.last.get("Authorization") == "Basic " + base64.b64encode("ada:löve".encode()).decode()


@pytest.mark.parametrize(
    ("promise", "attempts", "code"),
    [
        ([], 1, 3),
        (["--key", "order-7"], 2, 0),
        (["--request-id", "mine-7"], 2, 0),
        (["--server-deduplicates"], 2, 0),
        (["--replay", "always"], 2, 0),
    ],
)
def test_a_post_that_may_have_been_executed_is_repeated_only_on_a_promise(server, promise, attempts, code, holdfast):
    server.on("/", RESET, answer(200))
    done = holdfast("request", f"{server.url}/", "-j", "{}", *QUICK, *promise)
    assert (done.code, len(server.seen)) == (code, attempts)
    assert ("The server may have executed it" in done.err) is (code == 3)
    if "--key" in promise:
        assert {one.get("Idempotency-Key") for one in server.seen} == {"order-7"}


def test_one_wait_moves_the_other_out_of_its_way(server, holdfast):
    server.on("/", answer(503), answer(200))
    assert holdfast("request", f"{server.url}/", "--max-wait", "0.01").code == 0
    server.on("/", answer(503), answer(200))
    assert holdfast("request", f"{server.url}/", "--max-wait", "0").code == 0
    assert holdfast("request", f"{server.url}/", "--min-wait", "90").code == 0


def test_more_attempts_than_a_retry_budget_would_allow(server, holdfast):
    server.on("/", *[answer(503)] * 19, answer(200))
    assert holdfast("request", f"{server.url}/", "--attempts", "20", *QUICK, "--quiet").code == 0
    assert len(server.seen) == 20


def test_redirects_are_followed_unless_not(server, holdfast):
    server.on("/old", redirect(302, "/new")).on("/new", answer(200, b"new"))
    assert holdfast("request", f"{server.url}/old").out == "new"
    done = holdfast("request", f"{server.url}/old", "--no-follow")
    assert (done.code, done.out) == (0, "") and "302 Found" in done.err


def test_settings_come_from_a_file_and_options_win(server, tmp_path):
    server.on("/api/users", answer(503))
    settings = tmp_path / "client.toml"
    settings.write_text(
        f'base_url = "{server.url}/api"\nheaders = {{X-Api-Key = "geheim"}}\n'
        "[retry]\nmax_attempts = 2\nmin_wait_seconds = 0\nmax_wait_seconds = 0.01\n"
    )
    done = run("request", "--config", str(settings), "/users", "-v")
    assert (done.code, len(server.seen)) == (1, 2)
    assert server.last.get("X-Api-Key") == "geheim" and "geheim" not in done.err
    run("request", "--config", str(settings), "/users", "--attempts", "1")
    assert len(server.seen) == 3


def test_credentials_in_clear_and_unchecked_certificates_are_warned_of(monkeypatch, holdfast):
    monkeypatch.setenv("TOKEN", "geheim")
    plain = ("--attempts", "1", "--proxy", "http://127.0.0.1:9")
    done = holdfast("request", "http://192.0.2.1/", "--bearer-env", "TOKEN", *plain)
    assert "warning: Sent in clear text to 192.0.2.1: authorization" in done.err
    done = holdfast("request", "https://192.0.2.1/", "--insecure", *plain)
    assert "warning: verify_ssl is False" in done.err
    done = holdfast("request", "https://192.0.2.1/", *plain)
    assert "warning" not in done.err


def test_http2_is_offered_only_if_asked_for(holdfast):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        hellos: list[bytes] = []

        def listen():
            for _ in range(2):
                connection, _ = listening.accept()
                with connection:
                    hellos.append(connection.recv(65536))

        listener = threading.Thread(target=listen)
        listener.start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/"
        assert holdfast("request", url, "--attempts", "1").code == 3
        assert holdfast("request", url, "--attempts", "1", "--http2").code == 3
        listener.join(PATIENCE)
    assert [b"\x02h2" in hello for hello in hellos] == [False, True]


def test_a_proxy_is_asked(server, holdfast):
    assert holdfast("request", "http://service.test/path", "--proxy", server.url).out == "ok"
    assert server.last.target == "http://service.test/path"


def test_certificates_are_checked_by_those_that_are_trusted(holdfast, tmp_path):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with wire.serve(wire.scripted(wire.answer(200, "ok")), tls=context) as server:
        done = holdfast("request", server.url, "--attempts", "1")
        assert done.code == 3 and "CERTIFICATE_VERIFY_FAILED" in done.err
        assert holdfast("request", server.url, "--ca-file", str(tmp_path / "ca.pem")).out == "ok"
        assert holdfast("request", server.url, "--insecure").out == "ok"


def test_the_timeline_tells_of_the_layers_that_held_the_call_up(server, holdfast, tmp_path):
    server.on("/slow", answer(503), answer(200))
    settings = tmp_path / "client.json"
    settings.write_text('{"rate_limit": {"rate": 5, "burst": 1}}')
    done = holdfast("request", "--config", str(settings), f"{server.url}/slow", "--min-wait", "0", "--max-wait", "0")
    assert done.code == 0 and re.search(r"waited \d+ ms for the rate limit", done.err)
    server.on("/down", answer(503))
    settings.write_text('{"circuit_breaker": {"failure_threshold": 1, "counts": "attempts"}}')
    done = holdfast("request", "--config", str(settings), f"{server.url}/down", *QUICK)
    assert done.code == 1 and f"circuit breaker of {server.url}: closed -> open" in done.err


# How it ends


def test_the_exit_code_tells_an_error_status_from_no_answer_and_from_the_deadline(server, holdfast):
    server.on("/429", answer(429, b"", ("Retry-After", "86400")))
    server.on("/short", answer(200, b"short", ("Content-Length", "10"), end="close"))
    server.on("/trickle", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", *[b"x"] * 100, pause=0.3))
    done = holdfast("request", f"{server.url}/429")
    assert done.code == 1 and "86400" in done.err.splitlines()[-1]
    assert holdfast("request", f"{server.url}/short", "--attempts", "1").code == 3
    assert holdfast("request", "http://127.0.0.1:9/", "--attempts", "1").code == 3
    began = time.monotonic()
    done = holdfast("request", f"{server.url}/trickle", "--deadline", "0.5")
    assert (done.code, done.out) == (4, "") and "the deadline of 0.5 s passed" in done.err
    assert time.monotonic() - began < 15  # the body takes 30


@pytest.mark.parametrize("option", [["--timeout", "0.2", "--attempts", "1"], ["--max-bytes", "10"]])
def test_limits_end_an_attempt(server, option, holdfast):
    server.on("/", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", *[b"x" * 20] * 5, pause=0.5))
    assert holdfast("request", f"{server.url}/", *option).code == 3


def test_a_name_that_takes_long_to_look_up_does_not_outlast_the_deadline(monkeypatch, holdfast):
    def slow(*args, flags=0, **named):
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "it is a name")
        time.sleep(20)

    monkeypatch.setattr("socket.getaddrinfo", slow)
    began = time.monotonic()
    assert holdfast("request", "http://service.test/", "--deadline", "0.2").code == 4
    assert time.monotonic() - began < 10


def test_ctrl_c_says_what_was_in_flight(server):
    server.on("/", raw(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 100, pause=0.3))
    with subprocess.Popen(
        [HOLDFAST, "request", f"{server.url}/"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        end = time.monotonic() + PATIENCE
        while not server.seen and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    last = err.splitlines()[-1]
    assert "during attempt 1: the server may have executed it" in last and "Traceback" not in err


def test_a_reader_that_has_gone_is_no_traceback(server):
    server.on("/", json_answer(200, json.dumps(list(range(100_000)))))
    for more, unbuffered in (([], ""), (["--raw"], "1"), (["--json"], "1")):
        with subprocess.Popen(
            [HOLDFAST, "request", f"{server.url}/", "--quiet", *more],
            env=environment({"PYTHONUNBUFFERED": unbuffered}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None and process.stderr is not None
            process.stdout.read(1)
            process.stdout.close()
            assert process.wait(PATIENCE) == 141
            assert process.stderr.read() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux only")
@pytest.mark.parametrize(
    ("redirection", "code", "out", "err"),
    [
        (">/dev/full", 2, "", "holdfast: cannot write to standard output: No space left on device\n"),
        (">&-", 0, "", ""),
        ("2>&-", 0, "ok", ""),
        (">&- 2>&-", 0, "", ""),
        ("--help >/dev/full", 2, "", "holdfast: cannot write to standard output: No space left on device\n"),
    ],
)
def test_a_full_disk_and_closed_streams_are_no_traceback(server, redirection, code, out, err):
    done = subprocess.run(
        ["sh", "-c", f"{HOLDFAST} request {server.url}/ --quiet {redirection}"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)


# For machines


def test_the_report_for_machines(server):
    server.on("/a", redirect(302, "/b"))
    server.on("/b", answer(503), json_answer(200, ODD, ("X-A", "1"), ("X-A", "2"), ("Set-Cookie", "sid=geheim")))
    done = run("request", f"{server.url}/a?token=geheim", "--json", "-H", "X-Api-Key: geheim", *QUICK)
    assert (done.code, done.err) == (0, "")
    assert done.out.count("\n") == 1 and '"id":12345678901234567.890' in done.out and "geheim" not in done.out
    report = json.loads(done.out)
    assert report["ok"] is True and report["exit_code"] == 0 and report["outcome"] == "success"
    assert (report["status"], report["may_have_executed"], report["error"]) == (200, True, None)
    assert report["url"] == f"{server.url}/b"
    assert report["redirects"] == [{"status": 302, "url": f"{server.url}/a?token=***"}]
    assert report["request"]["headers"]["x-api-key"] == "[redacted]"
    assert report["request_id"] == server.last.get("X-Request-ID")
    assert (report["headers"]["x-a"], report["headers"]["set-cookie"]) == ("1, 2", "[redacted]")
    assert report["body"]["nested"] == {"a": [1, {}]} and report["body_encoding"] == "json"
    first, second = report["attempts"]
    assert (first["number"], first["status"], first["outcome"], first["cause"]) == (1, 503, "unavailable", "503")
    assert (second["number"], second["status"], second["outcome"], second["wait"]) == (2, 200, "success", None)
    assert 0.01 <= first["wait"] <= 0.02 and first["wait"] == report["timings"]["in_waits"]
    assert second["started"] >= first["seconds"] + first["wait"] - 0.001
    assert report["timings"]["total"] >= report["timings"]["in_attempts"] > 0


def test_the_report_of_a_failure(server, holdfast):
    server.on("/", RESET)
    done = holdfast("request", f"{server.url}/", "--json", "-j", "{}")
    report = json.loads(done.out)
    assert (done.code, done.err) == (3, "")
    assert (report["ok"], report["exit_code"], report["outcome"], report["status"]) == (False, 3, "lost", None)
    assert report["may_have_executed"] is True and report["body"] is None
    assert report["error"]["type"] == "APIConnectionError" and "may have executed it" in report["error"]["message"]
    assert "not repeated without a key" in report["stopped_because"]
    server.on("/", json_answer(404, "{}"))
    report = json.loads(holdfast("request", f"{server.url}/", "--json").out)
    assert (report["exit_code"], report["outcome"], report["may_have_executed"]) == (1, "rejected", False)
    report = json.loads(holdfast("request", "http://127.0.0.1:9/", "--json", "--attempts", "1").out)
    assert (report["outcome"], report["may_have_executed"]) == ("unsent", False)


@pytest.mark.parametrize(
    ("content", "kind", "encoding", "body"),
    [
        (b"\x00\xff", "image/png", "base64", "AP8="),
        (b"h\xe4", "text/plain; charset=latin-1", "text", "hä"),
        (b"[NaN]", "application/json", "text", "[NaN]"),
        (b"[" * 100_000, "application/json", "text", "[" * 100_000),
        (b'\xef\xbb\xbf{"a":1}', "application/problem+json", "json", {"a": 1}),
        (b'{"a":1}', "", "json", {"a": 1}),
        (b'{"a":1}', "text/plain", "text", '{"a":1}'),
        (b"", "text/plain", None, None),
    ],
)
def test_bodies_in_the_report(server, content, kind, encoding, body, holdfast):
    server.on("/", answer(200, content, *([("Content-Type", kind)] if kind else [])))
    report = json.loads(holdfast("request", f"{server.url}/", "--json").out)
    assert (report["body_encoding"], report["body"], report["body_bytes"]) == (encoding, body, len(content))


def test_a_saved_body_is_not_in_the_report(server, tmp_path, holdfast):
    server.on("/", json_answer(200, ODD))
    report = json.loads(holdfast("request", f"{server.url}/", "--json", "-o", str(tmp_path / "body")).out)
    assert (report["body"], report["body_file"], report["body_bytes"]) == (None, str(tmp_path / "body"), len(ODD))
    assert (tmp_path / "body").read_text() == ODD

"""Bad input: one line that says what and where, exit code 2, nothing sent, no traceback."""

from __future__ import annotations

import os

import pytest

from tests.support.loopback import Loopback
from tests.support.terminal import inside, run

URL = "http://127.0.0.1:9/"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["URL", "missing"]),
        (["GET"], ["URL", "missing"]),
        (["http:///path"], ["URL", "no host"]),
        (["https://"], ["URL", "no host"]),
        (["127.0.0.1:9/path"], ["URL", "http://"]),
        (["/path"], ["URL", "http://"]),
        ([""], ["URL", "http://"]),
        (["ftp://host/"], ["URL", "http"]),
        (["http://host:99999/"], ["URL", "port"]),
        (["http://[::1/"], ["URL"]),
        (["http://a..b/"], ["URL", "host"]),
        (["http://ada:geheim@host/"], ["URL", "--basic-env"]),
        (["http://host/a b"], ["URL", "white space"]),
        (["http://host/a\nb"], ["URL", "\\n"]),
        (["http://host/../a"], ["URL", "dot segment"]),
        ([URL, "GET"], ["METHOD", "URL comes last"]),
        (["GE T", URL], ["METHOD", "GE T"]),
        (["GET", URL, "more"], ["more"]),
        ([URL, "--heder", "X: y"], ["--heder", "--header"]),
        ([URL, "-H"], ["-H"]),
        ([URL, "-H", "geheim"], ["--header", "colon"]),
        ([URL, "-H", "a b: geheim"], ["--header", "a b"]),
        ([URL, "-H", ": geheim"], ["--header"]),
        ([URL, "-H", "X: geheim\x01"], ["--header", "X", "control"]),
        ([URL, "-H", "X: geheimé"], ["--header", "X", "ASCII"]),
        ([URL, "-H", "X: geheim\u2192"], ["--header", "X", "Latin-1"]),
        ([URL, "-H", "@/no/such/file"], ["--header", "/no/such/file", "No such file"]),
        ([URL, "-H", "Content-Length: 7"], ["Content-Length"]),
        ([URL, "-q", "lamp"], ["--query", "lamp"]),
        ([URL, "-q", "=lamp"], ["--query", "=lamp"]),
        ([URL, "-j", '{"a": }'], ["--json-body", "line 1, column 7"]),
        ([URL, "-j", ""], ["--json-body", "not JSON"]),
        ([URL, "-j", "[NaN]"], ["--json-body", "NaN"]),
        ([URL, "-j", "[" * 100_000], ["--json-body", "deep"]),
        ([URL, "-j", "@/no/such/file"], ["--json-body", "/no/such/file", "No such file"]),
        ([URL, "-d", "@/"], ["--data", "'/'", "directory"]),
        ([URL, "-d", "@\0"], ["--data"]),
        ([URL, "-f", "photo=@/no/such/file"], ["--form", "/no/such/file"]),
        ([URL, "-f", "photo"], ["--form", "photo"]),
        ([URL, "-d", "a", "-j", "1"], ["--data", "--json-body"]),
        ([URL, "-d", "a", "-f", "b=1"], ["--data", "--form"]),
        ([URL, "--bearer-env", "NOT_SET"], ["--bearer-env", "NOT_SET"]),
        ([URL, "--bearer-env", "BROKEN"], ["--bearer-env", "BROKEN"]),
        ([URL, "--basic-env", "TOKEN"], ["--basic-env", "user:password"]),
        ([URL, "--bearer-env", "TOKEN", "--basic-env", "TOKEN"], ["--bearer-env", "--basic-env"]),
        ([URL, "--bearer-env", "TOKEN", "-H", "authorization: x"], ["--bearer-env", "Authorization"]),
        ([URL, "--key", "two words"], ["--key", "ASCII"]),
        ([URL, "--request-id", ""], ["--request-id", "1 to 200"]),
        ([URL, "--attempts", "0"], ["--attempts", "1"]),
        ([URL, "--attempts", "many"], ["--attempts"]),
        ([URL, "--deadline", "0"], ["--deadline", "above 0"]),
        ([URL, "--deadline", "nan"], ["--deadline", "above 0"]),
        ([URL, "--deadline", "inf"], ["--deadline", "above 0"]),
        ([URL, "--deadline", "soon"], ["--deadline", "soon"]),
        ([URL, "--timeout", "-1"], ["--timeout", "above 0"]),
        ([URL, "--min-wait", "-1"], ["--min-wait"]),
        ([URL, "--max-wait", "inf"], ["--max-wait", "finite"]),
        ([URL, "--min-wait", "2", "--max-wait", "1"], ["--max-wait", "shorter"]),
        ([URL, "--replay", "never"], ["--replay", "never", "when_safe"]),
        ([URL, "--max-bytes", "0"], ["--max-bytes"]),
        ([URL, "--max-bytes", "³"], ["--max-bytes"]),
        ([URL, "--proxy", "nowhere"], ["--proxy"]),
        ([URL, "--ca-file", "/no/such/file"], ["--ca-file", "/no/such/file"]),
        ([URL, "--ca-file", __file__], ["--ca-file", "certificate"]),
        ([URL, "--ca-file", __file__, "--insecure"], ["--ca-file", "--insecure"]),
        ([URL, "-o", "/no/such/directory/file"], ["--output", "/no/such/directory"]),
        ([URL, "-o", "/"], ["--output", "directory"]),
        ([URL, "--config", "/no/such/file.toml"], ["--config", "/no/such/file.toml"]),
        ([URL, "--config", "/etc/hostname"], ["--config", ".toml"]),
    ],
)
def test_a_request_that_cannot_be_made_is_one_line(capsys, monkeypatch, arguments, words):
    monkeypatch.setenv("TOKEN", "geheim")
    monkeypatch.setenv("BROKEN", "geheim\ngeheim")
    done = inside(capsys, "request", *arguments)
    assert done.code == 2
    assert done.line.startswith("holdfast")
    assert all(word in done.line for word in words), done.line
    assert "geheim" not in done.line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("deadline = \n", ["line 1, column 12"]),
        ("deadline = -1", ["deadline", "greater than 0", "-1"]),
        ('base_url = "nowhere"', ["base_url", "http://"]),
        ('[retry]\nmax_attempt = 1\n[timeout]\nread = "5"', ["did you mean max_attempts?", "timeout.read", "'5'"]),
    ],
)
def test_a_bad_file_of_settings_is_one_line(capsys, tmp_path, text, words):
    settings = tmp_path / "client.toml"
    settings.write_text(text)
    done = inside(capsys, "request", "--config", str(settings), URL)
    assert done.code == 2
    assert done.line.startswith(f"holdfast request: --config: {settings}: ")
    assert all(word in done.line for word in words), done.line


def test_standard_input_that_is_no_json(capsys):
    done = inside(capsys, "request", URL, "-j", "-", stdin=b"\xff")
    assert done.code == 2 and "byte 0 is not UTF-8" in done.line
    done = inside(capsys, "request", URL, "-j", "-", stdin=b"{\n]")
    assert done.code == 2 and "line 2, column 1" in done.line


def test_a_header_file_is_named_with_the_line(capsys, tmp_path):
    (tmp_path / "head").write_text("X: y\ngeheim\n")
    done = inside(capsys, "request", URL, "-H", f"@{tmp_path / 'head'}")
    assert done.code == 2 and "line 2" in done.line and "geheim" not in done.line
    (tmp_path / "head").write_bytes(b"\xff")
    assert "UTF-8" in inside(capsys, "request", URL, "-H", f"@{tmp_path / 'head'}").line


@pytest.mark.parametrize(("package", "option"), [("h2", ["--http2"]), ("socksio", ["--proxy", "socks5://127.0.0.1:9"])])
def test_a_missing_extra_is_named(capsys, monkeypatch, package, option):
    monkeypatch.setattr("holdfast.cli.sending.find_spec", lambda name: None)
    done = inside(capsys, "request", URL, *option)
    assert done.code == 2 and package in done.line and "pip install" in done.line


def test_nothing_is_sent_before_all_of_it_is_known_to_be_good(capsys, tmp_path):
    with Loopback() as server:
        for option in (["-o", "/no/such/file"], ["-H", "x"], ["--key", ""], ["-q", "x"], ["-d", "@/no"]):
            assert inside(capsys, "request", "POST", server.url, *option).code == 2
        assert server.seen == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_file_that_may_not_be_written_is_found_before_sending(capsys, tmp_path):
    target = tmp_path / "kept"
    target.touch(0o400)
    assert "may not be written" in inside(capsys, "request", URL, "-o", str(target)).line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reqest", URL], ["reqest"]),
        (["--verison"], ["--verison"]),
        (["config", "lnt"], ["lnt"]),
        (["serve", "--port-offset", "x"], ["holdfast serve", "--port-offset"]),
        (["serve", "--faults", "--fault", "plague"], ["holdfast serve", "--fault", "plague"]),
        (["serve", "--faults", "--fault", "status=503;rate=1.5"], ["holdfast serve", "--fault", "rate"]),
        (["demo", "--seconds", "0"], ["holdfast demo", "--seconds"]),
    ],
)
def test_other_wrong_words_are_one_line(capsys, arguments, words):
    done = inside(capsys, *arguments)
    assert done.code == 2
    assert all(word in done.line for word in words), done.line


def test_the_process_says_the_same(tmp_path):
    done = run("request", "http:///")
    assert (done.code, done.line) == (2, "holdfast request: URL: 'http:///' has no host")
    done = run("request", URL, "-H", b"X: \xff".decode("utf-8", "surrogateescape"))
    assert done.code == 2 and "--header" in done.line

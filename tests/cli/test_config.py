"""`holdfast config`: lint, show, schema."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from holdfast import ClientConfig
from holdfast.cli.settings import Preset
from holdfast.presets import PRESETS
from tests.support.terminal import inside, on_terminal, run

GOOD = 'base_url = "https://api.example.com"\n'
ODD = GOOD + "deadline = 10.0\n"  # shorter than the timeouts


@pytest.fixture
def holdfast(capsys, tmp_path, monkeypatch):
    """The command line in this process, in a directory with the files that are asked for."""
    monkeypatch.chdir(tmp_path)

    def run_with(*arguments, **files):
        for name, text in files.items():
            stem, _, kind = name.rpartition("_")
            (tmp_path / f"{stem}.{kind}").write_bytes(text if isinstance(text, bytes) else text.encode())
        return inside(capsys, "config", *arguments)

    return run_with


def test_good_settings(tmp_path):
    (tmp_path / "client.toml").write_text(GOOD)
    done = run("config", "lint", str(tmp_path / "client.toml"), "--strict")
    assert (done.code, done.out, done.err) == (0, f"{tmp_path / 'client.toml'}: ok\n", "")


def test_a_warning_names_fields_and_remedy_and_fails_only_if_strict(holdfast):
    done = holdfast("lint", "client.toml", client_toml=ODD)
    (line,) = done.out.splitlines()
    assert done.code == 0 and line.startswith("client.toml: warning: deadline, timeout.connect, timeout.read: The ")
    assert "shorten the timeouts [deadline-shorter-than-attempt]" in line
    assert holdfast("lint", "client.toml", "--strict").code == 1


def test_every_error_has_a_line_with_file_field_and_reason(holdfast):
    text = """
        base_url = "https://api.example.com"
        deadlin = 10.0
        proxy = "geheim"
        [retry]
        max_attempts = 0
        jitter = "some"
        budget = 5
        [timeout]
        reed = 5
        [headers]
        X-Api-Key = 5
        [circuit_breaker]
        window = "weekly"
    """
    done = holdfast("lint", "client.toml", client_toml=text)
    assert (done.code, done.err) == (2, "")
    assert sorted(done.out.splitlines()) == [
        "client.toml: error: circuit_breaker.window: must be 'count' or 'time', not 'weekly'",
        "client.toml: error: deadlin: is not a setting; did you mean deadline?",
        "client.toml: error: headers.X-Api-Key: must be a valid string",
        "client.toml: error: proxy: proxy is not a URL that starts with http://, https://, socks5:// or socks5h://",
        "client.toml: error: retry.budget: must be a table, not 5",
        "client.toml: error: retry.jitter: must be a valid boolean or 'full', 'equal' or 'decorrelated', not 'some'",
        "client.toml: error: retry.max_attempts: must be greater than or equal to 1, not 0",
        "client.toml: error: timeout.reed: is not a setting; did you mean read?",
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a_toml", GOOD + "deadline = \n", "not TOML: Invalid value (at line 2, column 12)"),
        ("a_toml", "a = 1\na = 2\n", "not TOML: Cannot overwrite a value (at line 2, column 6)"),
        ("a_json", '{"a": 1,\n "b": }', "not JSON: Expecting value (at line 2, column 7)"),
        ("a_json", '{"a": 1, "a": 2}', "not JSON: 'a' is given twice in one object"),
        ("a_json", "[1]", "must hold a table of settings, not a list"),
        ("a_json", "[" * 100_000, "is nested too deeply to be settings"),
        ("a_json", '{"base_url": "http://a", "deadline": NaN}', "deadline: must be a finite number, not nan"),
        ("a_toml", b"\xff", "byte 0 is not UTF-8"),
        ("a_toml", "", "base_url: is missing; give an absolute URL such as 'https://api.example.com'"),
    ],
)
def test_a_file_that_is_no_settings(holdfast, name, text, message):
    done = holdfast("lint", name.replace("_", "."), **{name: text})
    assert (done.code, done.out, done.err) == (2, f"{name.replace('_', '.')}: error: {message}\n", "")
    done = holdfast("show", name.replace("_", "."))
    assert (done.code, done.out, done.err) == (2, "", f"{name.replace('_', '.')}: error: {message}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["FILE", "--env"]),
        (["nowhere.toml"], ["FILE", "nowhere.toml", "No such file"]),
        (["a.yaml"], ["FILE", "a.yaml", ".toml"]),
        (["a.toml", "--env"], ["not both"]),
        (["--env", "--table", "a"], ["--table"]),
        (["--env", "--prefix", ""], ["--prefix"]),
        (["a.toml", "--preset", "testing"], ["--preset", "high_throughput"]),
        (["a.toml", "--strickt"], ["--strickt", "--strict"]),
    ],
)
def test_wrong_arguments_are_one_line(holdfast, arguments, words):
    done = holdfast("lint", *arguments, a_yaml="", a_toml=GOOD)
    assert done.code == 2 and done.line.startswith("holdfast config lint: ")
    assert all(word in done.line for word in words), done.line


def test_settings_in_a_table_of_another_file(holdfast):
    text = '[tool.billing]\nbase_url = "https://api.example.com"\n'
    assert holdfast("lint", "py.toml", "--table", "tool.billing", py_toml=text).out == "py.toml: ok\n"
    done = holdfast("lint", "py.toml", "--table", "tool.shipping")
    assert (done.code, done.out) == (2, "py.toml: error: has no table 'tool.shipping'\n")


def test_a_base_url_that_the_program_gives_itself(holdfast):
    assert holdfast("lint", "a.toml", a_toml="deadline = 250").code == 2
    assert holdfast("lint", "a.toml", "--base-url", "https://api.example.com", "--strict").code == 0


def test_presets_lie_below_the_settings(holdfast):
    assert [preset.value for preset in Preset] == list(PRESETS)
    given = '{"base_url": "https://api.example.com", "timeout": {"read": 7.0}, "cert": ["a.json", "a.json"]}'
    shown = json.loads(holdfast("show", "a.json", "--preset", "production", a_json=given).out)
    assert (shown["timeout"]["read"], shown["timeout"]["write"], shown["retry"]["max_wait_seconds"]) == (7, 30, 30)
    assert shown["cert"] == ["a.json", "a.json"]
    for preset in PRESETS:
        assert holdfast("lint", "a.json", "--preset", preset, "--strict").code == 0


def test_the_environment(holdfast, monkeypatch):
    (line,) = holdfast("lint", "--env").out.splitlines()
    assert "HOLDFAST_BASE_URL" in line
    monkeypatch.setenv("BILLING_BASE_URL", "https://api.example.com")
    monkeypatch.setenv("BILLING_TIMEOUT_READ", "7")
    done = holdfast("lint", "--env", "--prefix", "BILLING_", "--strict")
    assert (done.code, done.out) == (0, "environment (BILLING_*): ok\n")
    shown = json.loads(holdfast("show", "--env", "--prefix", "BILLING_", "--preset", "production").out)
    assert (shown["timeout"]["read"], shown["timeout"]["write"], shown["logging"]["level"]) == (7, 30, "INFO")
    monkeypatch.setenv("BILLING_RETRY_MAX_ATTEMPT", "7")
    monkeypatch.setenv("BILLING_DEADLINE", "soon")
    done = holdfast("lint", "--env", "--prefix", "BILLING_")
    assert done.code == 2 and done.out.splitlines() == [
        "environment (BILLING_*): error: BILLING_DEADLINE: 'soon' is not a number, nor none",
        (
            "environment (BILLING_*): error: BILLING_RETRY_MAX_ATTEMPT: is not a setting;"
            " did you mean BILLING_RETRY_MAX_ATTEMPTS?"
        ),
    ]


def test_lint_for_machines(holdfast):
    done = holdfast("lint", "a.toml", "--json", a_toml=ODD)
    report = json.loads(done.out)
    assert done.code == 0 and report["source"] == "a.toml" and report["ok"] and not report["errors"]
    (warning,) = report["warnings"]
    assert warning["code"] == "deadline-shorter-than-attempt" and warning["fields"][0] == "deadline"
    done = holdfast("lint", "b.toml", "--json", b_toml="x = 1\n" + GOOD)
    report = json.loads(done.out)
    assert done.code == 2 and report["errors"] == [{"field": "x", "message": "is not a setting"}]


def test_show_masks_secrets(holdfast, tmp_path):
    given = {
        "base_url": "https://api.example.com",
        "headers": {"X-Team": "geheim"},
        "proxy": "http://ada:geheim@proxy:8080",
        "cert": ["a.json", "a.json", "geheim"],
    }
    done = holdfast("show", "a.json", a_json=json.dumps(given))
    shown = json.loads(done.out)
    assert done.code == 0 and "geheim" not in done.out
    assert shown["headers"] == {"X-Team": "[redacted]"} and shown["proxy"] == "http://ada:***@proxy:8080"
    assert shown["retry"]["max_attempts"] == 3 and "retry_if" not in shown["retry"]


def test_what_is_shown_can_be_read_again(holdfast):
    shown = holdfast("show", "a.toml", a_toml=ODD).out
    assert holdfast("show", "b.json", b_json=shown).out == shown


def test_the_schema_agrees_with_the_settings(holdfast):
    schema = json.loads(holdfast("schema").out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert set(schema["properties"]) == set(ClientConfig.model_fields)
    assert "retry_if" not in schema["$defs"]["RetryConfig"]["properties"]
    assert schema["additionalProperties"] is False
    with pytest.raises(ValidationError):
        ClientConfig.model_validate({"base_url": "https://api.example.com", "deadlin": 1.0})


def test_colours_only_on_a_terminal(tmp_path):
    (tmp_path / "a.toml").write_text(ODD)
    assert "\x1b[33m" in on_terminal("config", "lint", str(tmp_path / "a.toml")).out
    assert "\x1b" not in on_terminal("config", "lint", str(tmp_path / "a.toml"), env={"NO_COLOR": "1"}).out

from __future__ import annotations

import pytest

from holdfast.config import BulkheadConfig, ClientConfig, RetryBudgetConfig, RetryConfig, TimeoutConfig
from holdfast.environment import variables
from holdfast.parts import Part

URL = "https://api.example.com"


def from_env(overrides=None, /, **environ):
    environ.setdefault("HOLDFAST_BASE_URL", URL)
    return ClientConfig.from_env(environ=environ, **(overrides or {}))


def complaint(overrides=None, /, **environ):
    with pytest.raises(ValueError) as caught:
        from_env(overrides, **environ)
    return str(caught.value)


def test_without_variables_everything_is_default():
    assert from_env() == ClientConfig(base_url=URL)


def test_variables_are_named_after_the_fields():
    config = from_env(
        HOLDFAST_TIMEOUT_CONNECT="20.5",
        HOLDFAST_TIMEOUT_READ="7",
        HOLDFAST_RETRY_MAX_ATTEMPTS="5",
        HOLDFAST_RETRY_BUDGET_RATIO="0.5",
        HOLDFAST_CIRCUIT_BREAKER_FAILURE_THRESHOLD="3",
        HOLDFAST_BULKHEAD_MAX_CONCURRENCY="80",
        HOLDFAST_LOGGING_LEVEL="debug",
        HOLDFAST_SERVER_DEDUPLICATES="yes",
        HOLDFAST_USER_AGENT="MyApp/1.0",
    )
    assert config.timeout == TimeoutConfig(connect=20.5, read=7)
    assert config.retry == RetryConfig(max_attempts=5, budget=RetryBudgetConfig(ratio=0.5))
    assert config.circuit_breaker.failure_threshold == 3
    assert config.bulkhead == BulkheadConfig(max_concurrency=80)
    assert (config.logging.level, config.server_deduplicates, config.user_agent) == ("DEBUG", True, "MyApp/1.0")


def test_the_process_environment_is_read_when_called(monkeypatch):
    monkeypatch.setenv("HOLDFAST_BASE_URL", URL)
    monkeypatch.setenv("HOLDFAST_DEADLINE", "12")
    assert ClientConfig.from_env().deadline == 12
    monkeypatch.setenv("HOLDFAST_DEADLINE", "13")
    assert ClientConfig.from_env().deadline == 13


def test_another_prefix():
    environ = {"PETS_BASE_URL": URL, "PETS_DEADLINE": "9", "HOLDFAST_DEADLINE": "1", "PETSHOP": "x"}
    assert ClientConfig.from_env("PETS_", environ).deadline == 9


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("DEADLINE", "none", "deadline", None),
        ("DEADLINE", "1e2", "deadline", 100.0),
        ("TIMEOUT_READ", "None", "timeout.read", None),
        ("RETRY_BUDGET", "none", "retry.budget", None),
        ("RETRY_JITTER", "false", "retry.jitter", False),
        ("RETRY_JITTER", "1", "retry.jitter", True),
        ("RETRY_JITTER", "Full", "retry.jitter", "full"),
        ("RETRY_REPLAY", "when_safe", "retry.replay", "when_safe"),
        ("CIRCUIT_BREAKER_ENABLED", "off", "circuit_breaker.enabled", False),
        ("CIRCUIT_BREAKER_WINDOW", "time", "circuit_breaker.window", "time"),
        ("CIRCUIT_BREAKER_WINDOW", "none", "circuit_breaker.window", None),
        ("BULKHEAD_MAX_QUEUE", " 7 ", "bulkhead.max_queue", 7),
        ("VERIFY_SSL", "False", "verify_ssl", False),
        ("VERIFY_SSL", __file__, "verify_ssl", __file__),
        ("CERT", __file__, "cert", __file__),
        ("CERT", f'["{__file__}", "{__file__}", "pw"]', "cert", (__file__, __file__, "pw")),
        ("HEADERS", '{"X-Team": "a"}', "headers", {"X-Team": "a"}),
        ("PROXY", "http://u:p@proxy:3128", "proxy", "http://u:p@proxy:3128"),
        ("LOGGING_LOGGER_NAME", "true", "logging.logger_name", "true"),
    ],
)
def test_values_are_read_by_the_type_of_the_field(name, text, path, value):
    read = from_env(**{f"HOLDFAST_{name}": text})
    for step in path.split("."):
        read = getattr(read, step)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_counts_as_unset(text):
    assert from_env(HOLDFAST_DEADLINE=text, HOLDFAST_TYPO=text).deadline == 300


@pytest.mark.parametrize("environ", [{}, {"HOLDFAST_BASE_URL": ""}])
def test_a_missing_base_url_names_its_variable(environ):
    with pytest.raises(ValueError, match="HOLDFAST_BASE_URL: base_url is None"):
        ClientConfig.from_env(environ=environ)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("TIMEOUT_READ", "15s", "'15s' is not a number"),
        ("TIMEOUT_READ", "true", "is not a number"),
        ("TIMEOUT_READ", "0", "greater than 0"),
        ("TIMEOUT_READ", "inf", "finite"),
        ("RETRY_MAX_ATTEMPTS", "2.0", "'2.0' is not a whole number"),
        ("RETRY_MAX_ATTEMPTS", "none", "is not a whole number"),
        ("RETRY_MIN_WAIT_SECONDS", "61", "shorter than min_wait_seconds (61)"),
        ("RETRY_BUDGET", "0.2", "can only be none"),
        ("RETRY_RETRY_IF", "print", "Python code"),
        ("RETRY_BACKOFF", "quadratic", "exponential, linear, constant"),
        ("HTTP2", "maybe", "'maybe' is not one of true, false"),
        ("LOGGING_LEVEL", "LOUD", "WARNING"),
        ("BASE_URL", "localhost:8000", "http:// or https://"),
        ("VERIFY_SSL", "/no/such/file", "does not exist"),
    ],
)
def test_a_value_that_cannot_be_used_names_its_variable(name, text, reason):
    message = complaint(**{f"HOLDFAST_{name}": text})
    assert reason in message
    assert "HOLDFAST_" + ("RETRY_MAX_WAIT_SECONDS" if "MIN_WAIT" in name else name) + ":" in message


def test_all_problems_are_told_at_once():
    message = complaint(HOLDFAST_DEADLINE="5m", HOLDFAST_TIMEOUT_READ="15s", HOLDFAST_NONSENSE="1")
    assert all(name in message for name in ("HOLDFAST_DEADLINE", "HOLDFAST_TIMEOUT_READ", "HOLDFAST_NONSENSE"))


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("HOLDFAST_TIMEOUT_RAED", "HOLDFAST_TIMEOUT_READ"),
        ("HOLDFAST_MAX_CONCURRENCY", "HOLDFAST_BULKHEAD_MAX_CONCURRENCY"),
        ("HOLDFAST_RETRY_MAX_ATTEMPT", "HOLDFAST_RETRY_MAX_ATTEMPTS"),
    ],
)
def test_an_unknown_variable_is_refused_with_a_suggestion(typo, meant):
    assert f"{typo} is not a setting; did you mean {meant}?" in complaint(**{typo: "1"})


def test_an_unknown_variable_that_resembles_nothing():
    assert "HOLDFAST_Q is not a setting" in complaint(HOLDFAST_Q="1")
    assert "did you mean" not in complaint(HOLDFAST_Q="1")


def test_a_part_that_is_none_cannot_have_settings():
    message = complaint(HOLDFAST_RETRY_BUDGET="none", HOLDFAST_RETRY_BUDGET_RATIO="0.5")
    assert "HOLDFAST_RETRY_BUDGET_RATIO: contradicts HOLDFAST_RETRY_BUDGET" in message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("HEADERS", "Authorization: s3cret"),
        ("HEADERS", '{"Authorization": "s3cret"'),
        ("HEADERS", '{"Authorization": "s3cret\\n"}'),
        ("HEADERS", '{"Authorization": ["s3cret"]}'),
        ("PROXY", "ftp://u:s3cret@proxy"),
        ("BASE_URL", "https://u:s3cret@api.example.com"),
        ("CERT", '["a", "b", "s3cret", "d"]'),
    ],
)
def test_no_message_repeats_a_secret(name, text):
    message = complaint(**{f"HOLDFAST_{name}": text})
    assert f"HOLDFAST_{name}:" in message
    assert "s3cret" not in message


class TestOverrides:
    def test_they_win(self):
        assert from_env({"deadline": 9.0}, HOLDFAST_DEADLINE="5").deadline == 9

    def test_they_stand_in_for_a_missing_variable(self):
        assert ClientConfig.from_env(environ={}, base_url=URL).base_url == URL

    def test_a_mapping_for_a_part_changes_only_what_it_names(self):
        config = from_env({"retry": {"multiplier": 3}}, HOLDFAST_RETRY_MAX_ATTEMPTS="5", HOLDFAST_RETRY_MULTIPLIER="4")
        assert config.retry == RetryConfig(max_attempts=5, multiplier=3)

    def test_an_object_replaces_the_part(self):
        config = from_env({"retry": RetryConfig(multiplier=3)}, HOLDFAST_RETRY_MAX_ATTEMPTS="5")
        assert config.retry == RetryConfig(multiplier=3)

    def test_a_refused_one_names_the_field_and_no_variable(self):
        message = complaint({"timeout": {"read": "15s"}}, HOLDFAST_TIMEOUT_CONNECT="5")
        assert "timeout.read:" in message
        assert "HOLDFAST_TIMEOUT_READ" not in message

    def test_an_unknown_one_is_refused(self):
        assert "deadlin:" in complaint({"deadlin": 3})


def _fields(part, path=()):
    for name, field in part.model_fields.items():
        made = field.get_default(call_default_factory=True)
        if isinstance(made, Part):
            yield from _fields(type(made), (*path, name))
        else:
            yield (*path, name)


def test_every_field_has_a_variable_of_its_own():
    known = variables(ClientConfig, "HOLDFAST_")
    paths = [path for path, _ in known.values()]
    assert set(_fields(ClientConfig)) | {("retry", "budget")} == set(paths)
    assert len(paths) == len(set(paths))


def test_fields_of_a_subclass_are_read_too():
    class Mine(ClientConfig):
        team: str | None = None

    assert Mine.from_env(environ={"HOLDFAST_BASE_URL": URL, "HOLDFAST_TEAM": "a"}).team == "a"

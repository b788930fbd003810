from __future__ import annotations

import logging
import os
import pickle
import ssl
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from holdfast.config import (
    BulkheadConfig,
    CacheConfig,
    CircuitBreakerConfig,
    ClientConfig,
    LoggingConfig,
    RateLimitConfig,
    RetryBudgetConfig,
    RetryConfig,
    TimeoutConfig,
)
from holdfast.parts import Part

URL = "https://api.example.com"
MIB = 1024 * 1024

PARTS: list[type[Part]] = [
    TimeoutConfig,
    RetryBudgetConfig,
    RetryConfig,
    CircuitBreakerConfig,
    BulkheadConfig,
    RateLimitConfig,
    CacheConfig,
    LoggingConfig,
]

DEFAULTS: dict[type[Part], dict[str, object]] = {
    TimeoutConfig: {"connect": 60, "read": 15, "write": 15, "pool": 5},
    RetryBudgetConfig: {"ratio": 0.2, "window": 10, "floor": 10},
    RetryConfig: {
        "max_attempts": 3,
        "min_wait_seconds": 1,
        "max_wait_seconds": 60,
        "multiplier": 2,
        "jitter": True,
        "backoff": "exponential",
        "replay": "answered",
        "max_retry_after": 60,
        "budget": RetryBudgetConfig(),
        "retry_if": None,
    },
    CircuitBreakerConfig: {
        "enabled": True,
        "failure_threshold": 5,
        "recovery_timeout": 30,
        "half_open_probes": 1,
        "window": None,
        "counts": "calls",
        "key": None,
        "slow_call_seconds": None,
        "slow_call_rate": None,
    },
    BulkheadConfig: {"max_concurrency": 50, "acquisition_timeout": 30, "max_queue": None},
    RateLimitConfig: {
        "rate": None,
        "period": 1,
        "burst": None,
        "max_wait": 30,
        "adaptive": False,
        "min_rate": None,
        "max_rate": None,
        "pace_from_headers": True,
        "key": None,
    },
    CacheConfig: {
        "default_ttl": None,
        "max_entries": 1000,
        "max_bytes": 64 * MIB,
        "stale_if_error": 0,
        "stale_while_revalidate": 0,
        "from_response": False,
    },
    LoggingConfig: {"level": "INFO", "include_request_id": True, "logger_name": "resilient_client"},
}


def refusal(call, *args, **kwargs):
    """The refused fields with their messages."""
    with pytest.raises(ValidationError) as caught:
        call(*args, **kwargs)
    return {".".join(str(step) for step in item["loc"]): item["msg"] for item in caught.value.errors()}


@pytest.mark.parametrize("part", PARTS)
def test_documented_defaults_of_every_part(part):
    made = part()
    assert {name: getattr(made, name) for name in DEFAULTS[part]} == DEFAULTS[part]


def test_documented_defaults_of_the_client():
    config = ClientConfig(base_url=URL)
    assert (config.deadline, config.follow_redirects, config.max_redirects) == (300, True, 20)
    assert (config.verify_ssl, config.cert, config.http2, config.proxy, config.trust_env) == (
        True,
        None,
        False,
        None,
        True,
    )
    assert (config.max_response_bytes, config.max_connections, config.keepalive_expiry) == (64 * MIB, None, 5)
    assert config.max_keepalive_connections is None
    assert (config.server_deduplicates, config.headers, config.send_deadline_header) == (False, {}, None)
    assert config.user_agent is not None
    assert config.user_agent.startswith("holdfast/")
    for name, part in [
        ("timeout", TimeoutConfig),
        ("retry", RetryConfig),
        ("circuit_breaker", CircuitBreakerConfig),
        ("bulkhead", BulkheadConfig),
        ("rate_limit", RateLimitConfig),
        ("cache", CacheConfig),
        ("logging", LoggingConfig),
    ]:
        assert getattr(config, name) == part()


def test_every_part_can_be_configured_at_once():
    config = ClientConfig(
        base_url=URL,
        timeout=TimeoutConfig(connect=20.0, read=7.5, write=7.5, pool=2.0),
        retry=RetryConfig(max_attempts=5, min_wait_seconds=0.5, max_wait_seconds=40.0, multiplier=3.0, jitter=False),
        circuit_breaker=CircuitBreakerConfig(failure_threshold=3, recovery_timeout=5.0),
        bulkhead=BulkheadConfig(max_concurrency=5, acquisition_timeout=1.0),
        logging=LoggingConfig(level="DEBUG", include_request_id=False, logger_name="my_client"),
        follow_redirects=False,
        verify_ssl=False,
        user_agent="MyApp/1.0",
    )
    assert config.timeout.seconds() == {"connect": 20.0, "read": 7.5, "write": 7.5, "pool": 2.0}
    assert config.retry.jitter is False
    assert config.circuit_breaker.failure_threshold == 3
    assert config.bulkhead.max_concurrency == 5
    assert config.logging.logger_name == "my_client"
    assert config.user_agent == "MyApp/1.0"


def test_parts_are_not_shared_between_configurations():
    one, two = ClientConfig(base_url=URL), ClientConfig(base_url=URL)
    one.timeout.read = 1
    one.headers["X-Team"] = "a"
    assert (two.timeout.read, two.headers) == (15, {})


@pytest.mark.parametrize(
    ("part", "settings", "field"),
    [
        (TimeoutConfig, {"read": "15s"}, "read"),
        (TimeoutConfig, {"read": "15"}, "read"),
        (TimeoutConfig, {"read": True}, "read"),
        (TimeoutConfig, {"read": 0}, "read"),
        (TimeoutConfig, {"connect": -1.0}, "connect"),
        (TimeoutConfig, {"write": float("inf")}, "write"),
        (TimeoutConfig, {"pool": float("nan")}, "pool"),
        (TimeoutConfig, {"total": 5}, "total"),
        (RetryConfig, {"max_attempts": 0}, "max_attempts"),
        (RetryConfig, {"max_attempts": 2.0}, "max_attempts"),
        (RetryConfig, {"max_attempts": True}, "max_attempts"),
        (RetryConfig, {"max_attempts": "3"}, "max_attempts"),
        (RetryConfig, {"min_wait_seconds": -0.1}, "min_wait_seconds"),
        (RetryConfig, {"multiplier": 0.5}, "multiplier"),
        (RetryConfig, {"jitter": 1}, "jitter"),
        (RetryConfig, {"jitter": "some"}, "jitter"),
        (RetryConfig, {"backoff": "quadratic"}, "backoff"),
        (RetryConfig, {"replay": "never"}, "replay"),
        (RetryConfig, {"retry_if": 3}, "retry_if"),
        (RetryConfig, {"budget": {"floor": -1}}, "budget.floor"),
        (CircuitBreakerConfig, {"failure_threshold": 0}, "failure_threshold"),
        (CircuitBreakerConfig, {"recovery_timeout": "30"}, "recovery_timeout"),
        (CircuitBreakerConfig, {"window": "minutes"}, "window"),
        (CircuitBreakerConfig, {"failure_rate": 50}, "failure_rate"),
        (CircuitBreakerConfig, {"counts": "requests"}, "counts"),
        (BulkheadConfig, {"max_concurrency": 0}, "max_concurrency"),
        (BulkheadConfig, {"acquisition_timeout": None}, "acquisition_timeout"),
        (BulkheadConfig, {"max_queue": -1}, "max_queue"),
        (RateLimitConfig, {"rate": 0}, "rate"),
        (RateLimitConfig, {"burst": 0}, "burst"),
        (CacheConfig, {"default_ttl": 0}, "default_ttl"),
        (CacheConfig, {"max_bytes": 0}, "max_bytes"),
        (CacheConfig, {"from_response": "yes"}, "from_response"),
        (LoggingConfig, {"level": "LOUD"}, "level"),
        (LoggingConfig, {"level": True}, "level"),
        (LoggingConfig, {"logger_name": ""}, "logger_name"),
        (ClientConfig, {"deadline": "5m"}, "deadline"),
        (ClientConfig, {"deadline": 0}, "deadline"),
        (ClientConfig, {"http2": "true"}, "http2"),
        (ClientConfig, {"max_redirects": -1}, "max_redirects"),
        (ClientConfig, {"max_response_bytes": 1.5}, "max_response_bytes"),
        (ClientConfig, {"timeout": 30}, "timeout"),
        (ClientConfig, {"timeout": {"raed": 3}}, "timeout.raed"),
        (ClientConfig, {"retries": 3}, "retries"),
        (ClientConfig, {"service_name": ""}, "service_name"),
    ],
)
def test_wrong_values_units_and_names_are_refused_with_the_field(part, settings, field):
    required = {"base_url": URL} if part is ClientConfig else {}
    assert any(place == field or place.startswith(f"{field}.") for place in refusal(part, **required, **settings))


def test_whole_numbers_are_taken_for_seconds_and_none_for_no_limit():
    timeouts = TimeoutConfig(connect=3, read=None)
    assert timeouts.connect == 3.0
    assert isinstance(timeouts.connect, float)
    assert timeouts.read is None


@given(low=st.floats(0, 1e6), high=st.floats(0, 1e6))
def test_waits_must_be_in_order(low, high):
    if low <= high:
        assert RetryConfig(min_wait_seconds=low, max_wait_seconds=high).max_wait_seconds == high
    else:
        assert "max_wait_seconds" in refusal(RetryConfig, min_wait_seconds=low, max_wait_seconds=high)


def test_a_minimum_wait_beyond_the_default_maximum_is_refused():
    assert "shorter than min_wait_seconds (90)" in refusal(RetryConfig, min_wait_seconds=90)["max_wait_seconds"]


def test_assignment_is_validated_and_a_refused_one_changes_nothing():
    retry = RetryConfig()
    assert "min_wait_seconds" in refusal(setattr, retry, "min_wait_seconds", 61)
    assert "max_wait_seconds" in refusal(setattr, retry, "max_wait_seconds", 0.5)
    assert "max_attempts" in refusal(setattr, retry, "max_attempts", "4")
    assert retry == RetryConfig()
    retry.max_wait_seconds = 100
    retry.min_wait_seconds = 61
    assert (retry.min_wait_seconds, retry.max_wait_seconds) == (61, 100)

    config = ClientConfig(base_url=URL)
    assert "base_url" in refusal(setattr, config, "base_url", None)
    assert "deadlin" in refusal(setattr, config, "deadlin", 3)
    config.timeout.read = 3
    config.deadline = None
    assert (config.base_url, config.timeout.read, config.deadline) == (URL, 3, None)


@pytest.mark.parametrize("level", ["debug", "Debug", "DEBUG", logging.DEBUG])
def test_log_levels_are_known_by_name_in_any_case_and_by_number(level):
    assert LoggingConfig(level=level).level == "DEBUG"


class TestCopies:
    def test_a_copy_shares_no_part_with_its_source(self):
        source = ClientConfig(base_url=URL, headers={"X-Team": "a"})
        copy = source.model_copy()
        assert copy == source
        copy.timeout.read = 1
        copy.retry.budget = None
        copy.headers["X-Team"] = "b"
        assert (source.timeout.read, source.retry.budget, source.headers) == (15, RetryBudgetConfig(), {"X-Team": "a"})

    def test_an_update_is_validated_as_a_whole(self):
        retry = RetryConfig()
        assert retry.model_copy(update={"min_wait_seconds": 90.0, "max_wait_seconds": 120.0}).min_wait_seconds == 90
        assert "deadline" in refusal(ClientConfig(base_url=URL).model_copy, update={"deadline": "15s"})
        assert "deadlin" in refusal(ClientConfig(base_url=URL).model_copy, update={"deadlin": 15})

    def test_a_mapping_for_a_part_changes_only_what_it_names(self):
        source = ClientConfig(base_url=URL, retry=RetryConfig(max_attempts=5, multiplier=3))
        assert source.model_copy(update={"retry": {"max_attempts": 7}}).retry == RetryConfig(
            max_attempts=7, multiplier=3
        )
        assert source.model_copy(update={"retry": RetryConfig(jitter="full")}).retry == RetryConfig(jitter="full")
        assert source.retry == RetryConfig(max_attempts=5, multiplier=3)

    def test_what_was_set_by_hand_is_remembered(self):
        copy = ClientConfig(base_url=URL).model_copy(update={"deadline": 5})
        assert copy.model_fields_set == {"base_url", "deadline"}

    def test_a_deep_copy_copies_everything(self):
        source = ClientConfig(base_url=URL, headers={"X-Team": "a"})
        copy = source.model_copy(deep=True, update={"deadline": 5.0})
        assert copy == source.model_copy(update={"deadline": 5.0})
        assert copy.retry is not source.retry

    def test_a_context_and_a_predicate_survive_copying(self):
        context = ssl.create_default_context()
        source = ClientConfig(base_url=URL, verify_ssl=context, retry=RetryConfig(retry_if=callable))
        copy = source.model_copy()
        assert copy.verify_ssl is context
        assert copy.retry.retry_if is callable

    def test_configurations_can_be_pickled(self):
        config = ClientConfig(base_url=URL, deadline=7, headers={"X-Team": "a"})
        assert pickle.loads(pickle.dumps(config)) == config


class TestBaseUrl:
    @pytest.mark.parametrize("value", [None, "", "   "])
    def test_a_missing_one_hints_at_an_unset_variable(self, value):
        message = refusal(ClientConfig, base_url=value)["base_url"]
        assert "base_url" in message
        assert "environment variable" in message

    def test_it_has_no_default(self):
        assert "environment variable" in refusal(ClientConfig)["base_url"]

    @pytest.mark.parametrize(
        "value",
        [
            "http://localhost:8000",
            "http://test",
            "https://api.example.com/v1/",
            "HTTPS://API.EXAMPLE.COM",
            "http://[::1]:8080/api",
            "http://127.0.0.1",
            "http://my_service.internal.",
            "https://bücher.example",
            "https://api.example.com/a%20b",
        ],
    )
    def test_absolute_urls_are_kept_as_given(self, value):
        assert ClientConfig(base_url=value).base_url == value

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ("api.example.com", "http:// or https://"),
            ("localhost:8000", "http:// or https://"),
            ("/v1", "http:// or https://"),
            ("ftp://api.example.com", "http:// or https://"),
            ("http:/api.example.com", "http:// or https://"),
            ("https://", "host"),
            ("https:///v1", "host"),
            ("https://:8080", "host"),
            ("https://api.example.com:99999", "port"),
            ("https://api.example.com:0", "port"),
            ("https://api..example.com", "RFC 1123"),
            ("https://%61pi.example.com", "RFC 1123"),
            (f"https://{'a' * 64}.example.com", "RFC 1123"),
            ("http://1.2.3.999", "host"),
            ("https://api.example.com:http", "port"),
            ("http://[::1", "host"),
            ("https://api.example.com?key=1", "query"),
            ("https://api.example.com/?", "query"),
            ("https://api.example.com/#top", "fragment"),
            ("https://api.example.com/a b", "white space"),
            ("https://api.example.com/\n", "white space"),
            ("https://api.example.com\\v1", "backslash"),
            ("https://api.example.com/v1/..", "path segment"),
            ("https://api.example.com/%2e%2e/admin", "path segment"),
            ("https://user:pa55@api.example.com", "headers="),
            ("https://t0ken@api.example.com", "headers="),
        ],
    )
    def test_others_are_refused_with_the_reason(self, value, reason):
        assert reason in refusal(ClientConfig, base_url=value)["base_url"]

    def test_credentials_in_it_are_not_repeated(self):
        with pytest.raises(ValidationError) as caught:
            ClientConfig(base_url="https://user:pa55@api.example.com")
        assert "pa55" not in str(caught.value) + repr(caught.value)


class TestHeaders:
    @pytest.mark.parametrize(
        ("headers", "reason"),
        [
            ({"X Team": "a"}, "not a header name"),
            ({"": "a"}, "not a header name"),
            ({"X-Täam": "a"}, "not a header name"),
            ({"X-Team\r\nX-Evil": "a"}, "not a header name"),
            ({"Authorization": "Bearer s3cret\n"}, "the value of Authorization contains a line break"),
            ({"Authorization": "Bearer s3cret\r\nX-Evil: 1"}, "line break"),
            ({"Authorization": "Bearer s3cret "}, "white space"),
            ({"Authorization": "s3cret\x00"}, "control character"),
            ({"Authorization": "s3cret\u2026"}, "outside Latin-1"),
            ({"X-Api-Key": "s3cret", "x-api-key": "s3cret"}, "same header"),
            ({"Content-Length": "3"}, "set by the client"),
            ({"transfer-encoding": "chunked"}, "set by the client"),
            ({"X-Request-ID": "1"}, "request_id="),
            ({"idempotency-key": "1"}, "idempotency_key="),
        ],
    )
    def test_unusable_ones_are_refused_by_name_without_their_value(self, headers, reason):
        with pytest.raises(ValidationError) as caught:
            ClientConfig(base_url=URL, headers=headers)
        assert caught.value.errors()[0]["loc"] == ("headers",)
        assert reason in str(caught.value)
        assert "s3cret" not in str(caught.value) + repr(caught.value)

    def test_values_must_be_text(self):
        assert "headers.X-Team" in refusal(ClientConfig, base_url=URL, headers={"X-Team": 1})

    def test_usable_ones_are_kept_in_order(self):
        headers = {"X-Team": "käse\tbrot", "Accept": "application/json", "X-Empty": ""}
        assert list(ClientConfig(base_url=URL, headers=headers).headers.items()) == list(headers.items())

    @given(st.text(max_size=20))
    def test_any_accepted_value_can_be_sent(self, value):
        try:
            config = ClientConfig(base_url=URL, headers={"X-Team": value})
        except ValidationError:
            return
        encoded = config.headers["X-Team"].encode("latin-1")
        assert not set(encoded) & (set(range(32)) - {9} | {127})

    @pytest.mark.parametrize("agent", ["", "a\nb", "a\u2026"])
    def test_the_user_agent_is_checked(self, agent):
        assert "user_agent" in refusal(ClientConfig, base_url=URL, user_agent=agent)

    def test_no_user_agent_gives_the_default(self):
        assert ClientConfig(base_url=URL, user_agent=None).user_agent == ClientConfig(base_url=URL).user_agent

    @pytest.mark.parametrize("name", ["", "X Deadline", "X-Deadline:"])
    def test_the_name_of_the_deadline_header_is_checked(self, name):
        assert "send_deadline_header" in refusal(ClientConfig, base_url=URL, send_deadline_header=name)

    @pytest.mark.parametrize("prefix", ["", "a b", "a\n", "é", "x" * 65])
    def test_the_prefix_of_ids_is_checked(self, prefix):
        assert "request_id_prefix" in refusal(ClientConfig, base_url=URL, request_id_prefix=prefix)
        assert ClientConfig(base_url=URL, request_id_prefix="crew-client").request_id_prefix == "crew-client"


class TestSecrets:
    def test_no_secret_is_shown(self):
        config = ClientConfig(
            base_url=URL,
            headers={"Authorization": "Bearer s3cret", "X-Whatever": "s3cret"},
            proxy="http://user:s3cret@proxy.example:3128",
            cert=(__file__, __file__, "s3cret"),
        )
        shown = f"{config!r} {config} {config.model_copy()!r}"
        assert "s3cret" not in shown
        assert "X-Whatever" in shown
        assert "proxy.example:3128" in shown

    def test_what_is_kept_is_not_masked(self):
        config = ClientConfig(base_url=URL, headers={"Authorization": "Bearer s3cret"}, proxy="http://u:s3cret@proxy")
        assert config.headers == {"Authorization": "Bearer s3cret"}
        assert config.proxy == "http://u:s3cret@proxy"

    def test_a_wrong_type_does_not_show_secrets_either(self):
        wrong: dict[str, Any] = {"headers": ["s3cret"], "proxy": ("s3cret",), "cert": ("a", "b", "s3cret", 1)}
        with pytest.raises(ValidationError) as caught:
            ClientConfig(base_url=URL, **wrong)
        assert "s3cret" not in str(caught.value) + repr(caught.value)


class TestProxyAndTls:
    @pytest.mark.parametrize(
        "url", ["http://proxy:3128", "https://u:p@proxy", "socks5://127.0.0.1:1080", "socks5h://p"]
    )
    def test_proxies_by_url(self, url):
        assert ClientConfig(base_url=URL, proxy=url).proxy == url

    @pytest.mark.parametrize(
        "url", ["", "proxy:3128", "ftp://proxy", "http://", "http://pro xy", "http://u:s3cret@proxy:x"]
    )
    def test_unusable_proxies_are_refused_without_their_password(self, url):
        with pytest.raises(ValidationError) as caught:
            ClientConfig(base_url=URL, proxy=url)
        assert "proxy" in str(caught.value)
        assert "s3cret" not in str(caught.value)

    @pytest.mark.parametrize("field", ["verify_ssl", "cert"])
    def test_files_must_exist(self, field, tmp_path):
        assert "does not exist" in next(
            iter(refusal(ClientConfig, base_url=URL, **{field: str(tmp_path / "no")}).values())
        )
        path = tmp_path / "yes.pem"
        path.touch()
        assert getattr(ClientConfig(base_url=URL, **{field: path}), field) == str(path)

    def test_a_certificate_does_not_go_with_a_context(self, tmp_path):
        path = tmp_path / "c.pem"
        path.touch()
        context = ssl.create_default_context()
        assert "context" in refusal(ClientConfig, base_url=URL, verify_ssl=context, cert=str(path))["cert"]
        config = ClientConfig(base_url=URL, cert=str(path))
        refusal(setattr, config, "verify_ssl", context)
        assert config.verify_ssl is True

    @pytest.mark.parametrize("verify", [True, False])
    def test_without_files_the_switch_is_passed_on(self, verify):
        assert ClientConfig(base_url=URL, verify_ssl=verify).tls() is verify

    def test_a_context_is_passed_on(self):
        context = ssl.create_default_context()
        assert ClientConfig(base_url=URL, verify_ssl=context).tls() is context

    def test_files_become_a_context(self, tmp_path):
        trustme = pytest.importorskip("trustme")
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        authority.issue_cert("client").private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
        both = ClientConfig(base_url=URL, verify_ssl=tmp_path / "ca.pem", cert=tmp_path / "client.pem").tls()
        assert isinstance(both, ssl.SSLContext)
        assert both.verify_mode is ssl.CERT_REQUIRED
        assert [name["subject"] for name in both.get_ca_certs()]
        assert isinstance(ClientConfig(base_url=URL, verify_ssl=tmp_path).tls(), ssl.SSLContext)
        pair = ClientConfig(base_url=URL, cert=(tmp_path / "client.pem", tmp_path / "client.pem")).tls()
        assert isinstance(pair, ssl.SSLContext)
        unverified = ClientConfig(base_url=URL, verify_ssl=False, cert=tmp_path / "client.pem").tls()
        assert isinstance(unverified, ssl.SSLContext)
        assert unverified.verify_mode is ssl.CERT_NONE

    def test_an_unusable_certificate_is_told_when_loaded(self, tmp_path):
        (tmp_path / "c.pem").write_text("no certificate")
        with pytest.raises(ssl.SSLError):
            ClientConfig(base_url=URL, cert=tmp_path / "c.pem").tls()


class TestPresets:
    def test_production(self):
        config = ClientConfig.production(URL)
        assert config.timeout == TimeoutConfig(connect=60, read=30, write=30, pool=10)
        assert config.retry == RetryConfig(max_attempts=3, min_wait_seconds=1, max_wait_seconds=30, jitter=True)
        assert config.circuit_breaker == CircuitBreakerConfig(failure_threshold=5, recovery_timeout=60)
        assert config.bulkhead == BulkheadConfig(max_concurrency=20, acquisition_timeout=10)
        assert config.logging == LoggingConfig(level="INFO", include_request_id=True)
        assert config.verify_ssl is True

    def test_high_throughput(self):
        config = ClientConfig.high_throughput(URL)
        assert config.timeout == TimeoutConfig(connect=30, read=10, write=10, pool=2)
        assert config.retry == RetryConfig(max_attempts=2, min_wait_seconds=0.1, max_wait_seconds=1)
        assert config.bulkhead == BulkheadConfig(max_concurrency=100, acquisition_timeout=5)
        assert config.logging.level == "WARNING"

    def test_development(self):
        config = ClientConfig.development("http://localhost:8000")
        assert config.logging.level == "DEBUG"
        assert config.retry.max_attempts < RetryConfig().max_attempts
        assert config.circuit_breaker.recovery_timeout < CircuitBreakerConfig().recovery_timeout

    @pytest.mark.parametrize(
        "preset", [ClientConfig.development, ClientConfig.production, ClientConfig.high_throughput]
    )
    def test_overrides_win_and_are_checked(self, preset):
        config = preset(URL, deadline=9, retry={"max_attempts": 5}, logging=LoggingConfig(level="ERROR"))
        plain = preset(URL)
        assert (config.deadline, config.retry.max_attempts, config.logging.level) == (9, 5, "ERROR")
        assert config.retry.max_wait_seconds == plain.retry.max_wait_seconds
        assert config.timeout == plain.timeout
        assert "deadlin" in refusal(preset, URL, deadlin=9)
        assert "environment variable" in refusal(preset, None)["base_url"]

    def test_presets_of_a_subclass_are_of_that_class(self):
        class Mine(ClientConfig):
            team: str = "a"

        assert Mine.production(URL, team="b").team == "b"


class TestPolicies:
    def test_retry(self):
        def predicate(outcome):
            return None

        config = RetryConfig(
            max_attempts=4,
            min_wait_seconds=0.5,
            max_wait_seconds=8,
            multiplier=3,
            replay="when_safe",
            max_retry_after=7,
            retry_if=predicate,
        )
        policy = config.policy()
        assert (policy.max_attempts, policy.replay, policy.max_retry_after) == (4, "when_safe", 7)
        assert policy.retry_if is predicate
        backoff = policy.backoff
        assert (backoff.kind, backoff.min_wait, backoff.max_wait, backoff.multiplier) == ("exponential", 0.5, 8, 3)

    @pytest.mark.parametrize(
        ("jitter", "name"),
        [(True, "uniform"), (False, "off"), ("full", "full"), ("equal", "equal"), ("decorrelated", "decorrelated")],
    )
    @pytest.mark.parametrize("kind", ["constant", "linear", "exponential"])
    def test_every_backoff_and_jitter_gives_waits_within_bounds(self, jitter, name, kind):
        backoff = RetryConfig(backoff=kind, jitter=jitter).policy().backoff
        assert (backoff.kind, backoff.jitter) == (kind, name)
        assert 0 <= backoff.wait(3, 2.0, lambda: 0.5) <= 60

    @pytest.mark.parametrize("window", [None, "count", "time"])
    def test_breaker(self, window):
        config = CircuitBreakerConfig(
            failure_threshold=2,
            recovery_timeout=9,
            half_open_probes=3,
            window=window,
            window_size=40,
            window_seconds=50,
            minimum_calls=6,
            failure_rate=0.7,
            slow_call_seconds=1.5,
            slow_call_rate=0.8,
        )
        policy = config.policy()
        for name in ("failure_threshold", "recovery_timeout", "half_open_probes", "minimum_calls", "failure_rate"):
            assert getattr(policy, name) == getattr(config, name)
        assert (policy.slow_call_seconds, policy.slow_call_rate) == (1.5, 0.8)

    def test_limiter(self):
        config = RateLimitConfig(
            rate=5, period=2, burst=7, adaptive=True, min_rate=1, max_rate=9, pace_from_headers=False
        )
        policy = config.policy(max_pace=12)
        assert (policy.rate, policy.period, policy.burst) == (5, 2, 7)
        assert (policy.adaptive, policy.min_rate, policy.max_rate) == (True, 1, 9)
        assert (policy.pace, policy.max_pace) == (False, 12)


def test_importing_the_configuration_builds_no_validator_and_pulls_in_nothing_heavy():
    code = (
        "import sys, holdfast.config as c;"
        "print(type(c.ClientConfig.__pydantic_validator__).__name__,"
        " *[m for m in ('pydantic_settings', 'pydantic.networks', 'httpx2', 'asyncio', 'holdfast.lint',"
        " 'holdfast.environment', 'holdfast.presets', 'holdfast.core.breaker', 'difflib') if m in sys.modules])"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert done.stdout.split() == ["MockValSer"]

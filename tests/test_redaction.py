"""What is masked in headers and URLs, and what is left readable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.redaction import REDACTED, URL_MASK, is_secret_header, is_secret_parameter, redact_headers, redact_url

SECRET = "s3cr3tvalue"


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "proxy-authorization",
        "COOKIE",
        "Set-Cookie",
        "X-API-Key",
        "apikey",
        "X-Vault-Token",
        "X-Amz-Security-Token",
        "Client-Secret",
        "X-Password",
        "X-Hub-Signature-256",
        "X-Auth-User",
        "X-Credential",
        "X-Passphrase",
        "X-Jwt-Assertion",
    ],
)
def test_secret_headers_are_masked(name):
    assert redact_headers([(name, SECRET)]) == [(name, REDACTED)]
    assert is_secret_header(name)


@pytest.mark.parametrize(
    "name",
    [
        "Accept",
        "Content-Type",
        "Host",
        "X-Request-ID",
        "X-Correlation-ID",
        "Idempotency-Key",
        "Retry-After",
        "WWW-Authenticate",
        "X-RateLimit-Remaining-Tokens",
        "RateLimit",
        "Keep-Alive",
    ],
)
def test_other_headers_stay_readable(name):
    assert redact_headers([(name, "value")]) == [(name, "value")]
    assert not is_secret_header(name)


def test_further_names_are_masked_in_any_case_even_harmless_ones():
    extra = {"X-Tenant", "idempotency-KEY"}
    items = [("x-TENANT", SECRET), ("Idempotency-Key", SECRET), ("X-Tenants", "shown")]
    assert redact_headers(items, extra) == [
        ("x-TENANT", REDACTED),
        ("Idempotency-Key", REDACTED),
        ("X-Tenants", "shown"),
    ]
    assert is_secret_header("x-tenant", extra)
    assert not is_secret_header("x-tenant")


def test_order_and_repetitions_are_kept_and_bytes_are_read():
    items: list[tuple[str | bytes, str | bytes]] = [
        (b"Accept", b"a"),
        ("Set-Cookie", "one"),
        (b"accept", b"caf\xe9"),
        (b"set-cookie", b"two"),
    ]
    assert redact_headers(items) == [
        ("Accept", "a"),
        ("Set-Cookie", REDACTED),
        ("accept", "café"),
        ("set-cookie", REDACTED),
    ]


@pytest.mark.parametrize("name", ["Location", "content-location", "Referer"])
def test_urls_in_headers_lose_their_secrets_only(name):
    assert redact_headers([(name, f"https://h/next?page=2&token={SECRET}")]) == [
        (name, f"https://h/next?page=2&token={URL_MASK}")
    ]


def test_each_target_of_a_link_header_loses_its_secrets():
    value = f'<https://h/?sig={SECRET}&page=2>; rel="next", <https://u:{SECRET}@h/>; rel="last"'
    assert redact_headers([("Link", value)]) == [
        ("Link", f'<https://h/?sig={URL_MASK}&page=2>; rel="next", <https://u:{URL_MASK}@h/>; rel="last"')
    ]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://user:{SECRET}@host:81/p", "https://user:***@host:81/p"),
        (f"https://user:{SECRET}@x@host/p", "https://user:***@host/p"),
        (f"https://{SECRET}@host/p", "https://***@host/p"),
        (f"https://{SECRET}:@host/p", "https://***@host/p"),
        (f"//user:{SECRET}@host/p", "//user:***@host/p"),
        (f"https://user:ab/{SECRET}@host/p", "https://user:***@host/p"),
        (f"https://user:p#{SECRET}@host/p", "https://user:***@host/p"),
        (f"https://h/p?token={SECRET}", "https://h/p?token=***"),
        (f"/p?a=1&api_key={SECRET}&b=2", "/p?a=1&api_key=***&b=2"),
        (f"/p?accessToken={SECRET}#frag", "/p?accessToken=***#frag"),
        (f"/p#access_token={SECRET}&state=x", "/p#access_token=***&state=x"),
        (f"/p?X-Amz-Signature={SECRET}", "/p?X-Amz-Signature=***"),
        (f"/p?%74oken={SECRET}", "/p?%74oken=***"),
        (f"/p?client%5Fsecret={SECRET}", "/p?client%5Fsecret=***"),
        (f"/p?a=1;sig={SECRET};still", "/p?a=1;sig=***"),
        (f"/p?next=https://h/?token={SECRET}", "/p?next=https://h/?token=***"),
        (f"/p?filter[password]={SECRET}", "/p?filter[password]=***"),
        (f"/p?token=a={SECRET}", "/p?token=***"),
        (f"http://[::1]:80/?key={SECRET}", "http://[::1]:80/?key=***"),
        (f"not a url?auth={SECRET}", "not a url?auth=***"),
    ],
)
def test_secrets_in_urls_are_masked(url, shown):
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://host:8443/a/b?page=2&limit=10#top",
        "https://host/users/jo@example.org?mail=jo@example.org",
        "https://host:80/at@sign",
        "/search?author=x&design=y&max_tokens=5&keyword=z&sigma=1",
        "/p?token",
        "/p?a=b;c=d?e=f&&=",
        "https://[fe80::1]/x@y",
    ],
)
def test_other_urls_stay_as_they_are(url):
    assert redact_url(url) == url


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_text_is_taken_and_masking_twice_changes_nothing(text):
    once = redact_url("https://" + text)
    assert redact_url(once) == once


@given(
    st.sampled_from(["token", "key", "secret", "password", "signature", "sig", "access_token", "apiKey", "X-Auth"]),
    st.text(st.characters(codec="utf-8", exclude_characters="&#"), min_size=1, max_size=20),
)
def test_no_value_of_a_secret_parameter_gets_through(name, value):
    assert is_secret_parameter(name)
    assert redact_url(f"https://h/p?a=1&{name}={value}&b=2#c") == f"https://h/p?a=1&{name}=***&b=2#c"

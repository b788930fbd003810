"""Proxies of the environment: the same as httpx2 finds for its own transports."""

from __future__ import annotations

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.http.proxies import environment_proxies

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD")

CASES = [
    {},
    {"HTTP_PROXY": "http://proxy.test:8080"},
    {"HTTP_PROXY": "proxy.test:8080", "HTTPS_PROXY": "https://jo:pw@proxy.test"},
    {"ALL_PROXY": "socks5://proxy.test:1080", "http_proxy": "http://small.test"},
    {"ALL_PROXY": ""},
    {"ALL_PROXY": "http://proxy.test", "NO_PROXY": "*"},
    {"ALL_PROXY": "http://proxy.test", "NO_PROXY": "example.com, *"},
    {"ALL_PROXY": "http://proxy.test", "NO_PROXY": "example.com,.example.org , *.example.net"},
    {"ALL_PROXY": "http://proxy.test", "NO_PROXY": "localhost,LOCALHOST,127.0.0.1,10.0.0.0/8,192.168.0.1/33"},
    {"ALL_PROXY": "http://proxy.test", "NO_PROXY": "::1,fe80::/10,[::1],[fe80::1]:8080,::1/200"},
    {"ALL_PROXY": "http://proxy.test", "NO_PROXY": "http://example.com,https://example.org:8443,all://*.x"},
    {"ALL_PROXY": "http://proxy.test", "NO_PROXY": ",, ,"},
    {"ALL_PROXY": "http://proxy.test", "NO_PROXY": "example.com/path,*.a/b,a:b:c,exa mple,%zz,*x"},
    {"no_proxy": "example.com"},
]

HOSTS = st.lists(
    st.one_of(
        st.sampled_from(["localhost", "*.a.test", ".a.test", "a.test:80", "10.0.0.0/8", "::1", "[::1]", "http://a"]),
        st.text(alphabet="ab1.:*/[]%@- ", max_size=12),
    ),
    max_size=4,
)


def compared(environment: dict[str, str], patch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        patch.delenv(name, raising=False)
        patch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        patch.setenv(name, value)
    ours = environment_proxies()
    own = httpx2.Client(
        transport=httpx2.BaseTransport(),
        mounts={pattern: None if url is None else httpx2.HTTPTransport(proxy=url) for pattern, url in ours.items()},
    )
    with httpx2.Client() as client:
        theirs = client._mounts
        assert {one.pattern for one in own._mounts} == {one.pattern for one in theirs}
        for pattern, transport in own._mounts.items():
            other = next(theirs[one] for one in theirs if one.pattern == pattern.pattern)
            assert _proxy(transport) == _proxy(other)


def _proxy(transport: object) -> object:
    pool = getattr(transport, "_pool", None)
    return None if pool is None else (type(pool), pool._proxy_url, getattr(pool, "_proxy_headers", None))


@pytest.mark.parametrize("environment", CASES, ids=str)
def test_they_are_those_of_httpx2(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    compared(environment, monkeypatch)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(HOSTS)
def test_whatever_no_proxy_says(hosts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        compared({"ALL_PROXY": "http://proxy.test", "NO_PROXY": ",".join(hosts)}, patch)

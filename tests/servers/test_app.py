"""How the reference servers are put together."""

from __future__ import annotations

from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from holdfast.servers.app import ServeOptions, _config, _whole
from holdfast.servers.faults import FaultInjection, FaultProtocol, parse_rules
from holdfast.servers.service import Service


async def app(scope, receive, send):
    raise NotImplementedError


@pytest.mark.parametrize(("faults", "protocol"), [(False, HttpToolsProtocol), (True, FaultProtocol)])
def test_nothing_of_failure_injection_is_there_unless_asked_for(tmp_path, faults, protocol):
    rules = tuple(parse_rules("reset")) if faults else ()
    options = ServeOptions(host="127.0.0.1", data_dir=tmp_path, faults=faults, rules=rules)
    whole: Any = _whole(options, Service("Test", 8000, app), {})
    config = _config(options, whole)
    config.load()
    assert config.http_protocol_class is protocol
    behind_pages = whole._app._app
    assert isinstance(behind_pages, FaultInjection) is faults
    assert (behind_pages is app) is not faults


@pytest.mark.parametrize(
    ("host", "shown", "local"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0", "localhost"),
        ("::", "[::]", "localhost"),
        ("", "", "localhost"),
        ("::1", "[::1]", "[::1]"),
        ("some.host", "some.host", "some.host"),
    ],
)
def test_all_addresses_are_none_to_connect_to(tmp_path, host, shown, local):
    options = ServeOptions(host=host, data_dir=tmp_path, port_offset=10)
    service = Service("Test", 8000, app)
    assert options.url_of(service) == f"http://{shown}:8010"
    assert options.local_url_of(service) == f"http://{local}:8010"

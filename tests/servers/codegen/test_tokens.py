"""Bearer tokens, and settings that decide about them."""

from __future__ import annotations

import pytest

from holdfast.servers.codegen import service
from holdfast.servers.service import SettingsError, Storage
from tests.support.codegen_served import codegen_served

ME = "/v1/users/me"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer   ", "Basic abc", "token"])
def test_there_must_be_a_token(codegen, header):
    status, message = codegen.refused("GET", ME, headers={"Authorization": header})
    assert status == 401 and "Authorization: Bearer <token>" in message
    assert codegen("GET", ME, headers={"Authorization": header}).headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("token", ["x", "bearer of news", "tökén".encode(), b"\xff\xfe"])
def test_in_development_any_token_will_do(codegen, token):
    text = token if isinstance(token, bytes) else token.encode()
    assert codegen("GET", ME, headers=[(b"Authorization", b"bearer " + text)]).status_code == 200


@pytest.mark.parametrize("path", [f"{ME}%0A", "/v1/", "/v1/nowhere", "/v1/activity", "/v1/webhooks"])
def test_nothing_below_the_prefix_is_open(codegen, path):
    assert codegen("GET", path, headers={"Authorization": ""}).status_code == 401


def test_where_one_is_set_no_other_will_do(tmp_path):
    with codegen_served(Storage(tmp_path), api_token="tökén") as codegen:
        status, message = codegen.refused("GET", ME)
        assert status == 401 and "CODEGEN_API_TOKEN" in message and "tökén" not in message
        right = [(b"Authorization", b"Bearer " + "tökén".encode())]
        assert codegen("GET", ME, headers=right).status_code == 200


def test_a_blank_token_in_the_environment_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("CODEGEN_API_TOKEN", "  ")
    with codegen_served(Storage(tmp_path)) as codegen:
        assert codegen("GET", ME).status_code == 200


def test_production_needs_a_token(tmp_path, monkeypatch):
    monkeypatch.setenv("ENVIRONMENT", "production")
    with pytest.raises(SettingsError, match=r"^CODEGEN_API_TOKEN: .*ENVIRONMENT is production"):
        service(Storage(tmp_path))
    monkeypatch.setenv("CODEGEN_API_TOKEN", "a token")
    assert service(Storage(tmp_path)).name == "Codegen"


def test_a_setting_that_cannot_be_used_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CODEGEN_ORG_ID", "your-org-id")
    monkeypatch.setenv("CODEGEN_RUN_SECONDS", "inf")
    with pytest.raises(SettingsError) as caught:
        service(Storage(tmp_path))
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "CODEGEN_ORG_ID",
        "CODEGEN_RUN_SECONDS",
    ]

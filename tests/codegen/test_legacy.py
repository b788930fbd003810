"""The former client: it warns, and works on the one that takes its place."""

from __future__ import annotations

import pytest

from holdfast.codegen import AsyncCodegenClient, ClientConfig, CodegenClient, ConfigurationError
from tests.support.codegen import TOKEN, Service, body_of
from tests.support.colours import Colour


@pytest.fixture
def legacy(service: Service, monkeypatch: pytest.MonkeyPatch) -> CodegenClient:
    """On a client of the scripted service."""
    made = service.client()
    monkeypatch.setattr(CodegenClient, "create_enhanced_client", staticmethod(lambda config=None: made))
    with pytest.warns(DeprecationWarning, match="CodegenClient is deprecated: use AsyncCodegenClient") as caught:
        client = CodegenClient()
    assert caught[0].filename == __file__
    return client


def test_what_it_can_do(service: Service, legacy: CodegenClient, colour: Colour) -> None:
    run = colour(legacy.create_agent_run(target="Fix the bug", repo_name="my-repo"))
    assert body_of(service.requests[0]) == {"prompt": "Fix the bug", "metadata": {"repo": "my-repo"}}
    assert colour(legacy.get_agent_run(run.id)).id == run.id
    colour(legacy.create_agent_run("Fix", metadata={"a": 1}))
    assert body_of(service.requests[-1]) == {"prompt": "Fix", "metadata": {"a": 1}}
    assert "deprecated" in repr(legacy)
    colour(legacy.close())


def test_as_a_context(legacy: CodegenClient) -> None:
    with legacy as client:
        assert client is legacy
    assert "closed" in repr(legacy)


def test_its_settings_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="CODEGEN_API_TOKEN"), pytest.warns(match="deprecated"):
        CodegenClient()
    monkeypatch.setenv("CODEGEN_API_TOKEN", TOKEN)
    monkeypatch.setenv("CODEGEN_ORG_ID", "77")
    client = CodegenClient.create_enhanced_client()
    assert type(client) is AsyncCodegenClient and client.config.org_id == "77"
    assert CodegenClient.create_enhanced_client(ClientConfig(timeout=3)).config.timeout == 3

"""What is loaded when: nothing of it before it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import holdfast.auth


def loaded(script: str, *names: str) -> list[str]:
    """Which of these modules are loaded after a script in a fresh interpreter."""
    code = f"{script}\nimport sys\nprint(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout.split()


HEAVY = ("httpx2", "jwt", "cryptography", "pydantic_settings", "holdfast.auth.minted", "holdfast.auth.provider")


def test_the_package_and_its_clients_load_no_credentials():
    assert (
        loaded("from holdfast import ClientConfig, ResilientClient", "jwt", "cryptography", "holdfast.auth.provider")
        == []
    )
    assert loaded("import holdfast.auth", *HEAVY) == []


def test_a_client_and_static_credentials_load_no_library_for_tokens():
    script = """if True:
        import httpx2
        from holdfast import ClientConfig, ResilientClient
        from holdfast.auth import APIKeyAuth, BearerAuth, OAuth2ClientCredentials, TokenAuth
        transport = httpx2.MockTransport(lambda request: httpx2.Response(200))
        with ResilientClient(ClientConfig(base_url="http://service.test"), transport=transport) as client:
            client.get("/", auth=BearerAuth("abc")).result()
        """
    assert loaded(script, "jwt", "holdfast.auth.minted") == []
    assert loaded("from holdfast.auth import JWTAuth", "jwt") == []
    assert loaded("from holdfast.auth import JWTAuth; JWTAuth('k' * 32, subject='me')", "jwt") == ["jwt"]


@pytest.mark.parametrize("name", holdfast.auth.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert name in dir(holdfast.auth)
    assert getattr(holdfast.auth, name) is not None


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="Nothing"):
        _ = holdfast.auth.Nothing  # type: ignore[attr-defined]

"""The flat settings of service clients: what they refuse, and what they turn into."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import AliasChoices, Field, SecretBytes, SecretStr, ValidationError

from holdfast.service.settings import BaseServiceSettings, ServiceSettings

URL = "http://pets.test"


class PetSettings(ServiceSettings, env_prefix="PETS_"):
    url: str = URL
    colour: str = Field(default="brown", validation_alias=AliasChoices("PET_COLOUR", "PET_COLOR"))


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("made", [PetSettings, PetSettings.model_validate])
def test_a_setting_that_there_is_not_is_refused(made: Any) -> None:
    wrong: dict[str, Any] = {"tiemout": 3, "timeout": 5}
    with pytest.raises(ValidationError, match="tiemout") as caught:
        made(wrong) if made is not PetSettings else PetSettings(**wrong)
    (error,) = caught.value.errors()
    assert (error["type"], error["loc"]) == ("extra_forbidden", ("tiemout",))
    assert PetSettings(PET_COLOR="black").colour == "black"  # type: ignore[call-arg]


def test_a_file_may_serve_other_programs_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PETS_TIMEOUT=7\nPETS_TIEMOUT=8\nTIMEOUT=9\n")
    assert PetSettings().timeout == 7.0


@pytest.mark.parametrize(
    "url", ["", "pets.test", "ftp://pets.test", "http://ada:secret@pets.test", "http://pets.test?a"]
)
def test_a_url_that_no_client_can_use_is_refused_as_such(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETS_URL", url)
    with pytest.raises(ValidationError, match="url ") as caught:
        PetSettings()
    assert [error["loc"] for error in caught.value.errors()] == [("url",)] and "secret" not in str(caught.value)
    assert "base_url" not in str(caught.value)


class SecretSettings(PetSettings, env_prefix="VAULT_"):
    key: SecretStr | None = None
    raw: SecretBytes = Field(default=SecretBytes(b"none"), validation_alias="VAULT_RAW_BYTES")
    note: str | None = None


def test_secrets_are_not_pickled_but_taken_from_where_it_is_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SecretSettings(key=SecretStr("given-here"), VAULT_RAW_BYTES=b"bytes-here", timeout=7)  # type: ignore[call-arg]
    pickled = pickle.dumps(settings)
    assert b"given-here" not in pickled and b"bytes-here" not in pickled
    monkeypatch.setenv("VAULT_KEY", "from there")
    monkeypatch.setenv("VAULT_NOTE", "not this")
    monkeypatch.setenv("PETS_TIMEOUT", "9")
    other = pickle.loads(pickled)
    assert other.key.get_secret_value() == "from there" and other.raw.get_secret_value() == b"none"
    assert (other.timeout, other.note, other.colour) == (7.0, None, "brown")
    for kept in (settings.model_copy(), copy.deepcopy(settings)):
        assert kept == settings and kept.key is not None


def test_a_base_without_timeouts_makes_no_client() -> None:
    with pytest.raises(TypeError, match="timeouts"):
        BaseServiceSettings(url=URL)  # type: ignore[abstract]


def test_a_whole_call_may_take_all_attempts_and_waits() -> None:
    settings = PetSettings(timeout=20, max_retries=4, retry_max_wait=7)
    assert settings.patience() == settings.client_config().deadline == 4 * 30 + 3 * 7
    assert settings.patience(50) == 4 * 60 + 3 * 7


def test_policies_can_be_turned_off() -> None:
    config = PetSettings(retry_budget=False, circuit_breaker=False, acquisition_timeout=60).client_config()
    assert (config.retry.budget, config.circuit_breaker.enabled) == (None, False)
    assert config.bulkhead.acquisition_timeout == 60
    config = PetSettings().client_config()
    assert config.retry.budget is not None and config.circuit_breaker.enabled
    assert config.bulkhead.acquisition_timeout == 30


@pytest.mark.parametrize("quick", [{"timeout": 1, "max_retries": 1}, {"timeout": 0.1}, {"max_retries": 10}])
def test_settings_that_fit_together_are_no_finding(quick: dict[str, Any]) -> None:
    assert PetSettings(**quick).client_config().lint() == []

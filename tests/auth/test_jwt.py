"""Tokens that are minted here: their claims, their keys, and how long each is used."""

from __future__ import annotations

import asyncio
import base64
import copy
import logging
import math
import pickle
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from holdfast.auth import JWTAuth, SigningKeyError
from tests.support.tokens import SECRET, credentials, guarded, pem

HOUR = 3600.0


def claims_of(token: str | None, key: str = SECRET, **more: Any) -> dict[str, Any]:
    """The claims of a token whose signature is right."""
    assert token is not None
    found: dict[str, Any] = jwt.decode(
        token.removeprefix("Bearer "),
        key,
        algorithms=["HS256", "RS256", "ES256"],
        options={"verify_aud": False},
        **more,
    )
    return found


# Claims


def test_the_claims_are_those_that_were_asked_for():
    wall = 1_700_000_000.75
    auth = JWTAuth(SECRET, subject="me", issuer="us", scopes=["a", "b"], wall=lambda: wall)
    found = jwt.decode(auth.mint(), SECRET, algorithms=["HS256"], options={"verify_exp": False})
    assert found == {
        "sub": "me", "iss": "us", "scopes": ["a", "b"], "iat": int(wall) - 30, "exp": int(wall + 23 * HOUR),
    }  # fmt: skip


def test_what_is_optional_is_left_out():
    assert claims_of(JWTAuth(SECRET, subject="me").mint()).keys() == {"sub", "iat", "exp"}


def test_the_header_names_the_algorithm_and_the_key():
    assert jwt.get_unverified_header(JWTAuth(SECRET, subject="me", key_id="k1").mint()) == {
        "alg": "HS256",
        "typ": "JWT",
        "kid": "k1",
    }


NAMES = st.text(min_size=1).filter(lambda name: name not in {"sub", "exp", "iat", "iss", "scopes", "nbf", "aud", "jti"})
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(
    subject=st.text(min_size=1),
    issuer=st.none() | st.text(min_size=1),
    scopes=st.lists(st.text()),
    more=st.dictionaries(NAMES, JSON),
    wall=st.floats(1e9, 4e9),
    lifetime=st.floats(1.0, 1e8),
    skew=st.floats(0.0, 1e4),
)
def test_any_claims_come_back_as_they_were(subject, issuer, scopes, more, wall, lifetime, skew):
    auth = JWTAuth(
        SECRET,
        subject=subject,
        issuer=issuer,
        scopes=scopes,
        claims=more,
        lifetime=lifetime,
        clock_skew=skew,
        wall=lambda: wall,
    )
    found = jwt.decode(auth.mint(), SECRET, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False})
    assert found.pop("exp") == math.floor(wall + lifetime)
    assert found.pop("iat") == math.floor(wall - skew)
    assert found.pop("sub") == subject
    assert found.pop("iss", None) == issuer
    assert found.pop("scopes", []) == scopes
    assert found == more


@pytest.mark.parametrize("claim", ["sub", "exp", "iat", "iss", "scopes"])
def test_a_claim_that_has_an_argument_is_given_there(claim: str) -> None:
    with pytest.raises(ValueError, match=claim):
        JWTAuth(SECRET, subject="me", claims={claim: 1})


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"subject": ""}, "subject"),
        ({"subject": None}, "subject"),
        ({"issuer": ""}, "issuer"),
        ({"issuer": 5}, "issuer"),
        ({"scopes": "a b"}, "scopes"),
        ({"scopes": [1]}, "scopes"),
        ({"claims": {"x": object()}}, "JSON"),
        ({"claims": {"x": math.nan}}, "JSON"),
        ({"key_id": 5}, "key_id"),
        ({"lifetime": 0}, "lifetime"),
        ({"lifetime": -5.0}, "lifetime"),
        ({"lifetime": math.inf}, "lifetime"),
        ({"lifetime": math.nan}, "lifetime"),
        ({"lifetime": True}, "lifetime"),
        ({"lifetime": "60"}, "lifetime"),
        ({"early": -1}, "early"),
        ({"clock_skew": -1}, "clock_skew"),
        ({"passphrase": "x"}, "passphrase"),
    ],
)
def test_a_wrong_argument_is_named_at_once(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises((TypeError, ValueError), match=named):
        JWTAuth(SECRET, **{"subject": "me", **wrong})


# Clocks


@pytest.mark.parametrize("behind", [0.0, 29.0])
def test_a_server_whose_clock_is_behind_takes_it(behind: float) -> None:
    token = JWTAuth(SECRET, subject="me", wall=lambda: time.time() + behind).mint()
    assert claims_of(token)["sub"] == "me"


def test_a_server_whose_clock_is_far_behind_does_not():
    with pytest.raises(jwt.ImmatureSignatureError):
        claims_of(JWTAuth(SECRET, subject="me", wall=lambda: time.time() + 40).mint())
    assert claims_of(JWTAuth(SECRET, subject="me", clock_skew=120, wall=lambda: time.time() + 40).mint())


# Keys and algorithms


def test_it_is_signed_with_the_secret():
    with pytest.raises(jwt.InvalidSignatureError):
        claims_of(JWTAuth(SECRET, subject="me").mint(), SECRET + "x")


@pytest.mark.parametrize(("algorithm", "kind"), [("RS256", "rsa"), ("ES256", "p256")])
@pytest.mark.parametrize("passphrase", [None, "open"])
@pytest.mark.parametrize("wrapped", [str, str.encode, SecretStr])
def test_it_is_signed_with_a_private_key(algorithm: Any, kind: str, passphrase: str | None, wrapped: Any) -> None:
    private, public = pem(kind, passphrase)
    token = JWTAuth(wrapped(private), subject="me", algorithm=algorithm, passphrase=passphrase).mint()
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    assert claims_of(token, public)["sub"] == "me"
    with pytest.raises(jwt.InvalidSignatureError):
        claims_of(token, pem(kind, "another")[1])


@pytest.mark.parametrize("size", [1, 8, 31])
def test_a_short_secret_is_refused_without_being_shown(size: int) -> None:
    secret = "s" * size
    with pytest.raises(SigningKeyError, match=rf"{size} bytes.*32.*RFC 7518") as caught:
        JWTAuth(secret, subject="me")
    assert secret * 2 not in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_bytes_are_counted_not_characters():
    assert JWTAuth("é" * 16, subject="me").mint()
    with pytest.raises(SigningKeyError, match="31 bytes"):
        JWTAuth("s" * 31, subject="me")
    assert JWTAuth(b"\xff" * 32, subject="me").mint()


def test_the_development_switch_takes_a_short_secret_and_says_so_once(caplog):
    tokens = [JWTAuth("short", subject="me", allow_short_key=True).mint() for _ in range(3)]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and record.name.startswith("holdfast")
    assert "allow_short_key" in record.message and "5 bytes" in record.message and "'short'" not in record.message
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        assert jwt.decode(tokens[0], "short", algorithms=["HS256"])["sub"] == "me"


def test_the_development_switch_is_silent_where_it_is_not_needed(caplog):
    assert JWTAuth(SECRET, subject="me", allow_short_key=True).mint()
    assert not caplog.records


@pytest.mark.parametrize("algorithm", ["none", "None", "HS384", "HS512", "RS512", "PS256", "EdDSA", "hs256", "", None])
def test_other_algorithms_are_refused(algorithm: Any) -> None:
    with pytest.raises(ValueError, match="algorithm must be one of HS256, RS256, ES256"):
        JWTAuth(SECRET, subject="me", algorithm=algorithm)


@pytest.mark.parametrize(
    ("algorithm", "kind", "said"),
    [
        ("RS256", "p256", "RSA"),
        ("RS256", "ed25519", "RSA"),
        ("RS256", "rsa-1024", "1024 bits"),
        ("ES256", "rsa", "P-256"),
        ("ES256", "p384", "secp384r1"),
        ("HS256", "rsa", "secret"),
        ("HS256", "p256", "secret"),
    ],
)
def test_a_key_that_is_not_of_the_algorithm_is_refused(algorithm: Any, kind: str, said: str) -> None:
    private, public = pem(kind)
    with pytest.raises(SigningKeyError, match=said) as caught:
        JWTAuth(private, subject="me", algorithm=algorithm)
    assert not any(line in str(caught.value) for line in private.splitlines()[1:-1])
    with pytest.raises(SigningKeyError):
        JWTAuth(public, subject="me", algorithm=algorithm)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
@pytest.mark.parametrize(
    "key", ["no PEM at all", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", SECRET]
)
def test_a_key_that_cannot_be_read_is_refused(algorithm: Any, key: str) -> None:
    with pytest.raises(SigningKeyError, match="PEM") as caught:
        JWTAuth(key, subject="me", algorithm=algorithm)
    assert key not in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize(("with_one", "given"), [("open", None), ("open", "wrong"), (None, "open")])
def test_a_passphrase_that_does_not_fit_is_refused(with_one: str | None, given: str | None) -> None:
    with pytest.raises(SigningKeyError, match=r"(?i)passphrase|password"):
        JWTAuth(pem("p256", with_one)[0], subject="me", algorithm="ES256", passphrase=given)


@pytest.mark.parametrize("key", ["", " ", b"", b"\n", None, 5, "\ud800" * 40])
def test_a_missing_key_is_refused(key: Any) -> None:
    with pytest.raises((SigningKeyError, TypeError), match="key"):
        JWTAuth(key, subject="me")


def test_without_cryptography_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(jwt.algorithms, "has_crypto", False)
    with pytest.raises(SigningKeyError, match=r"holdfast\[jwt\]"):
        JWTAuth(pem("rsa")[0], subject="me", algorithm="RS256")


@pytest.mark.parametrize("algorithm", ["HS256", "ES256"])
def test_nobody_reads_the_key(algorithm: Any) -> None:
    key = SECRET if algorithm == "HS256" else pem("p256")[0]
    auth = JWTAuth(key, subject="me", issuer="us", scopes=["a"], algorithm=algorithm)
    client, _ = guarded(200, auth)
    client.get("/x").result()
    token = auth._renewal.token
    assert token is not None
    shown = repr(auth) + repr(vars(auth)) + repr(auth._key) + repr(vars(auth._renewal)) + str(auth.identity)
    assert repr(auth) == f"<JWTAuth {algorithm} sub='me' iss='us' scopes=['a']>"
    assert SECRET not in shown and "PRIVATE" not in shown and token.value.decode() not in shown
    for held in (auth, auth._key, token):
        for taken in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                taken(held)


def test_a_token_is_no_other_when_its_claims_are_changed():
    head, _, signature = JWTAuth(SECRET, subject="me").mint().split(".")
    forged = base64.urlsafe_b64encode(b'{"sub":"root"}').rstrip(b"=").decode()
    with pytest.raises(jwt.InvalidSignatureError):
        claims_of(f"{head}.{forged}.{signature}")


# How long each is used


def ticking(clock: Any) -> Any:
    """The time of day on a virtual clock."""
    return lambda: 1_800_000_000.0 + clock.elapsed


def test_one_is_used_for_23_hours_and_renewed_5_minutes_before(holdfast_clock):
    auth = JWTAuth(SECRET, subject="me", wall=ticking(holdfast_clock))
    client, transport = guarded(200, auth)
    for at in (0, HOUR, 22 * HOUR, 23 * HOUR - 301, 23 * HOUR - 299, 24 * HOUR):
        holdfast_clock.advance(at - holdfast_clock.elapsed)
        client.get("/x").result()
    first, *others = credentials(transport)
    assert others[:3] == [first] * 3
    assert others[3] != first and others[4] == others[3]
    times = jwt.decode(str(others[4])[7:], SECRET, algorithms=["HS256"], options={"verify_iat": False})
    assert times["exp"] == pytest.approx(1_800_000_000 + 46 * HOUR - 299, abs=1)


@pytest.mark.parametrize(
    ("lifetime", "early", "renewed"), [(100.0, 20.0, 80.0), (100.0, 0.0, 100.0), (100.0, 90.0, 50.0), (2.0, 300.0, 1.0)]
)
def test_when_it_is_renewed_can_be_set_but_not_to_always(holdfast_clock, lifetime, early, renewed):
    auth = JWTAuth(SECRET, subject="me", lifetime=lifetime, early=early, wall=ticking(holdfast_clock))
    client, transport = guarded(200, auth)
    for at in (0.0, renewed * 0.99, renewed * 1.01 + 1):
        holdfast_clock.advance(at - holdfast_clock.elapsed)
        client.get("/x").result()
    first, second, third = credentials(transport)
    assert first == second != third


def test_one_that_is_refused_is_renewed_and_the_request_sent_once_more(holdfast_clock):
    walls = iter([1e9, 1e9, 1e9 + 1, 1e9 + 2])
    auth = JWTAuth(SECRET, subject="me", wall=lambda: next(walls))
    client, transport = guarded([401, 200], auth)
    assert client.post("/x", json={"a": 1}).result().status_code == 200
    first, second = credentials(transport)
    assert first != second
    assert [one.content for one in transport.requests] == [b'{"a":1}'] * 2
    assert len({one.headers["x-request-id"] for one in transport.requests}) == 1


def test_one_token_for_all_under_asyncio():
    minted: list[float] = []

    def wall() -> float:
        minted.append(1e9 + len(minted))
        return minted[-1]

    client, transport = guarded(200, JWTAuth(SECRET, subject="me", wall=wall))
    minted.clear()

    async def main() -> None:
        await asyncio.gather(*(client.get("/x") for _ in range(100)))

    asyncio.run(main())
    assert len(minted) == 1 and len(set(credentials(transport))) == 1 and len(transport.requests) == 100


def test_a_claim_that_can_no_longer_be_signed_fails_the_call_with_the_cause():
    from holdfast.auth import TokenError

    growing: dict[str, Any] = {"list": []}
    auth = JWTAuth(SECRET, subject="me", claims=growing)
    growing["list"].append(object())
    client, transport = guarded(200, auth)
    with pytest.raises(TokenError, match="could not be signed") as caught:
        client.get("/x").result()
    assert isinstance(caught.value.__cause__, TypeError) and not transport.requests

"""Clients with credentials over scripted transports, token endpoints, and keys to sign with."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import httpx2

from holdfast import ClientConfig, ResilientClient
from holdfast.testing import FaultTransport, Step

BASE = "https://api.test"
TOKEN_URL = "https://login.test/token"
SECRET = "a-secret-of-more-than-32-bytes-for-tests"


def guarded(script: Any, auth: Any, **settings: Any) -> tuple[ResilientClient, FaultTransport]:
    """A client whose calls all carry credentials, and its transport. It retries without waiting."""
    transport = FaultTransport(script)
    quick = {"retry": {"min_wait_seconds": 0.0, "max_wait_seconds": 0.0}}
    config = ClientConfig.model_validate({"base_url": BASE, **quick, **settings})
    return ResilientClient(config, transport=transport).with_options(auth=auth), transport


def credentials(transport: FaultTransport, name: str = "authorization", path: str | None = None) -> list[str | None]:
    """What was sent in a header, request by request."""
    return [one.headers.get(name) for one in transport.requests if path is None or one.url.path == path]


class Endpoint:
    """A service and its token endpoint: tokens T1, T2, ... of which only those in `good` (all if None) are taken."""

    def __init__(self, *, delay: float = 0.0, **answer: Any) -> None:
        self.delay = delay
        self.answer = {"token_type": "Bearer", "expires_in": 3600, **answer}
        self.good: set[str] | None = None
        self.issued = 0
        self.forms: list[httpx2.Request] = []
        self._numbers = itertools.count(1)
        self.instead: Callable[[httpx2.Request], Any] | None = None

    def __call__(self, request: httpx2.Request) -> Any:
        if request.url.host == "login.test":
            self.forms.append(request)
            if self.instead is not None:
                step = self.instead(request)
                if step is not None:
                    return step
            self.issued = next(self._numbers)
            found = {**self.answer, "access_token": f"T{self.issued}"}
            return Step(json={name: value for name, value in found.items() if value is not None}, delay=self.delay)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return 200 if self.good is None or token in self.good else 401


@functools.cache
def pem(kind: str, passphrase: str | None = None) -> tuple[str, str]:
    """A private and a public key in PEM: ``rsa``, ``rsa-1024``, ``p256``, ``p384`` or ``ed25519``."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    key: Any
    if kind.startswith("rsa"):
        key = rsa.generate_private_key(65537, 1024 if kind == "rsa-1024" else 2048)
    elif kind == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = ec.generate_private_key(ec.SECP384R1() if kind == "p384" else ec.SECP256R1())
    cipher = form.BestAvailableEncryption(passphrase.encode()) if passphrase else form.NoEncryption()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, cipher).decode()
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo).decode()
    return private, public

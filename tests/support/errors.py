"""Public error classes of a made-up service, and requests and responses full of secrets."""

from __future__ import annotations

import pickle
from typing import Any

import httpx2

import holdfast.exceptions as tree
from holdfast.exceptions import APIStatusError, HoldfastError, MaxRetriesExceededError

TOKEN = "eyJsecretBearerToken"
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class PetError(HoldfastError):
    """The public base of a service client."""


class PetBusyError(PetError):
    """A public class with a detail of its own."""

    queue: int | None = None


class PetStatusError(PetError, APIStatusError):
    """A public class that is below a core class already."""


class TransportOfOursError(httpx2.ConnectError):
    """An exception of a handed-in transport."""

    def __init__(self, message: str, host: str) -> None:
        super().__init__(message)
        self.host = host


CORE = sorted(
    {cls for cls in vars(tree).values() if isinstance(cls, type) and issubclass(cls, HoldfastError)},
    key=lambda cls: cls.__name__,
)
NARROWABLE = [cls for cls in CORE if cls is not MaxRetriesExceededError]
PUBLIC = [*NARROWABLE, PetError, PetBusyError, PetStatusError]
HTTPX: list[type[Exception]] = sorted(
    (cls for cls in vars(httpx2).values() if isinstance(cls, type) and issubclass(cls, Exception)),
    key=lambda cls: cls.__name__,
)


def request_with_secrets() -> httpx2.Request:
    return httpx2.Request(
        "POST",
        f"https://jo:{TOKEN}@api.example.com/pets?page=1&access_token={TOKEN}",
        headers={
            "Authorization": f"Bearer {TOKEN}",
            "Cookie": f"session={TOKEN}",
            "X-API-Key": TOKEN,
            "X-Tenant": "acme",
            "X-Request-ID": "id-1",
        },
        content=b'{"name": "Rex"}',
        extensions={"timeout": {"read": 5.0}},
    )


def response_with_secrets(status: int = 429, **more: Any) -> httpx2.Response:
    headers = [("Set-Cookie", f"session={TOKEN}"), ("Retry-After", "3"), ("Content-Type", "application/json")]
    return httpx2.Response(
        status, headers=headers, content=b'{"detail": "busy"}', request=request_with_secrets(), **more
    )


def make(cls: type[HoldfastError], message: str = "it failed", **fields: Any) -> Any:
    if httpx2.HTTPStatusError in cls.__mro__:
        fields.setdefault("response", httpx2.Response(429, request=httpx2.Request("GET", "https://h/p")))
    return cls(message, **fields)


def again(error: HoldfastError, protocol: int = pickle.HIGHEST_PROTOCOL) -> Any:
    return pickle.loads(pickle.dumps(error, protocol))

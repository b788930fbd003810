"""`RenewingAuth`, the base of providers whose tokens expire, and `TokenAuth`, which asks a function for them."""

from __future__ import annotations

import inspect
import math
import os
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

from holdfast.auth.provider import AuthProvider, Carrier, fingerprint
from holdfast.auth.renewal import Renewal
from holdfast.auth.tokens import NoToken, Token, bearer
from holdfast.core.effects import FOREVER, Failed, Flow, Io, Job
from holdfast.exceptions import HoldfastError

__all__ = ["RenewingAuth", "TokenAuth"]

Issued: TypeAlias = str | tuple[str, float]
"""A token, or a token with the seconds that it lives."""


class RenewingAuth(AuthProvider):
    """A provider that keeps a token and renews it before it expires.

    While one call renews it, others use the old one as long as it holds, and wait if it does not. If it cannot be
    renewed but still holds, it is used, and the next attempt is made some seconds later. A token that the server
    answers with 401 is renewed whatever its age, and the request is sent once more.

    Args:
        early: seconds before its end that a token is renewed; at most half of its life.
    """

    def __init__(self, early: float) -> None:
        self._early = seconds("early", early, least=0.0)
        self._renewal = Renewal()

    def current(self, now: float) -> Token | None:
        """See `AuthProvider.current`."""
        token = self._renewal.token
        return token if token is not None and now < token.renew_at else None

    def obtain(self, job: Job, carrier: Carrier, refused: Token | None = None) -> Flow[Token | NoToken]:
        """See `AuthProvider.obtain`."""
        return self._renewal.obtain(job, carrier.now, partial(self.fetch, job, carrier), refused)

    def spent(self, token: Token, now: float) -> None:
        """See `AuthProvider.spent`."""
        self._renewal.spent(token, now)

    @abstractmethod
    def fetch(self, job: Job, carrier: Carrier) -> Flow[Token | NoToken]:
        """Obtains a token. Called for one call at a time."""


class TokenAuth(RenewingAuth):
    """Bearer tokens that a function of yours obtains.

    Args:
        source: called without arguments for every token. Returns it, or it and the seconds that it lives; may be async
            if all calls are awaited. What it raises becomes the cause of a `TokenError`. Under asyncio a source that is
            not async runs on the event loop.
        lifetime: seconds that a token lives if `source` does not tell; None: until the server answers 401.
        early: see `RenewingAuth`.

    Raises:
        TypeError, ValueError: names the argument that is wrong.
    """

    def __init__(
        self,
        source: Callable[[], Issued | Awaitable[Issued]],
        *,
        lifetime: float | None = None,
        early: float = 300.0,
    ) -> None:
        super().__init__(early)
        if not callable(source):
            raise TypeError(f"source must be callable without arguments, not {type(source).__name__}")
        self._source = source
        self._lifetime = FOREVER if lifetime is None else seconds("lifetime", lifetime)
        # Whose tokens they are is the function's business; it is the same for all of one provider, which keeps them.
        self.identity = fingerprint(os.urandom(16))

    def fetch(self, job: Job, carrier: Carrier) -> Flow[Token | NoToken]:
        """See `RenewingAuth.fetch`."""
        began = carrier.now()
        issued = yield Io(self._ask_sync if carrier.is_sync(job) else self._ask, None, job.deadline)
        try:
            if issued.__class__ is Failed:
                raise issued.error
            text, lifetime = issued if isinstance(issued, tuple) else (issued, self._lifetime)
            return Token.lasting(
                bearer("the token", text), began, seconds("its lifetime", lifetime, most=FOREVER), self._early
            )
        except Exception as error:  # noqa: BLE001  # the user's own function raises anything
            local = carrier.now() >= job.deadline
            return NoToken(f"its source failed ({type(error).__name__}: {error})", HoldfastError, local, cause=error)

    def _ask(self, _: None) -> Any:
        return self._source()

    def _ask_sync(self, _: None) -> Any:
        issued = self._source()
        if inspect.isawaitable(issued):
            if inspect.iscoroutine(issued):
                issued.close()
            raise TypeError("the source is async, and this call is not: await it, or give a source that is not")
        return issued

    def __repr__(self) -> str:
        return f"<TokenAuth of {getattr(self._source, '__qualname__', type(self._source).__name__)}>"


def seconds(name: str, value: Any, *, least: float = math.ulp(0.0), most: float = 1e10) -> float:
    """A duration.

    Raises:
        TypeError, ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be {'at least' if least == 0 else 'more than'} 0 seconds, not {value!r}")
    return float(value)

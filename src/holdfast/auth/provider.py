"""`AuthProvider`: where the credentials of a client come from, and how they get onto its calls."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NoReturn, Protocol

from holdfast.auth.forms import Answer, Undelivered
from holdfast.auth.tokens import NoToken, Token
from holdfast.core.effects import Flow, Job
from holdfast.core.ports import Authenticator

__all__ = ["AuthProvider"]

_SALT = os.urandom(32)


class Carrier(Protocol):
    """What the client does for a provider, on behalf of one of its calls."""

    def now(self) -> float:
        """The client's clock, in monotonic seconds."""
        ...

    def is_sync(self, job: Job) -> bool:
        """Whether the call is made from sync code, where nothing can be awaited."""
        ...

    def may_repeat(self, job: Job, reply: Any) -> bool:
        """Whether a request that was refused by `reply` may be sent once more: it can be, and did nothing."""
        ...

    def post(
        self, job: Job, url: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> Flow[Answer | Undelivered]:
        """Sends a form, with the client's retries, within the deadline of the call."""
        ...


class AuthProvider(ABC):
    """Where the credentials of a client come from. Given as ``auth=`` to a client or a call.

    They go to the origin of `base_url` and to no other, and no redirect takes them elsewhere. One provider may serve
    any number of clients, threads and event loops. It is never pickled or copied, and its `repr` is without secrets.

    Attributes:
        header: the name of the header that it sets. Its value is masked wherever people may read it.
        identity: a hash of whose credentials they are, which keeps cached answers apart; None if nobody knows, and
            answers are not cached.
    """

    header: str = "Authorization"
    identity: str | None = None

    @abstractmethod
    def current(self, now: float) -> Token | None:
        """The token, if it can be used without further ado."""

    @abstractmethod
    def obtain(self, job: Job, carrier: Carrier, refused: Token | None = None) -> Flow[Token | NoToken]:
        """Waits for a token, or obtains one. `refused`: one that the server did not take, which must not be it."""

    def spent(self, token: Token, now: float) -> None:  # noqa: B027  # most have nothing to do about it
        """Learns that the server did not take a token that had been obtained because it did not take the last one."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be pickled or copied: it holds credentials")


class Authentication(Authenticator):
    """Puts the token of a provider on one call; renews it once if the server answers 401, and sends once more."""

    __slots__ = ("_carrier", "_name", "_provider", "_renewed", "_token", "identity", "secrets")

    def __init__(self, provider: AuthProvider, carrier: Carrier) -> None:
        self._provider = provider
        self._carrier = carrier
        self._name = provider.header.encode("ascii")
        self._renewed = False
        self._token: Token | None = None
        self.identity = provider.identity
        self.secrets = frozenset({provider.header})

    def apply(self, job: Job) -> Flow[None]:
        """See `Authenticator.apply`.

        Raises:
            TokenError: there is none.
        """
        token: Token | NoToken | None = self._provider.current(self._carrier.now())
        if token is None:
            token = yield from self._provider.obtain(job, self._carrier)
        if isinstance(token, NoToken):
            raise token.error(job)
        self._put(job, token)

    def retry(self, job: Job, reply: Any) -> Flow[bool]:
        """See `Authenticator.retry`."""
        if reply.status_code != 401 or self._token is None:
            return False
        if self._renewed:
            self._provider.spent(self._token, self._carrier.now())
            return False
        if not self._carrier.may_repeat(job, reply):
            return False
        self._renewed = True
        token = yield from self._provider.obtain(job, self._carrier, self._token)
        if isinstance(token, NoToken):
            return False
        self._put(job, token)
        return True

    def _put(self, job: Job, token: Token) -> None:
        self._token = token
        name = self._name.lower()
        # A new list: whoever has the old one, such as the cache, has the request as it was before.
        job.headers = [pair for pair in job.headers if pair[0].lower() != name]
        job.headers.append((self._name, token.value))


def fingerprint(*parts: str | bytes) -> str:
    """A hash of what makes an identity, of no use outside of this process."""
    digest = hashlib.blake2b(key=_SALT, digest_size=16)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(b"%d:%s" % (len(raw), raw))
    return digest.hexdigest()

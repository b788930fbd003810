"""`OAuth2ClientCredentials`: tokens by the client credentials grant of OAuth 2.0 (RFC 6749, section 4.4)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, Protocol
from urllib.parse import quote_plus, urlsplit

from holdfast.auth.forms import Answer, Undelivered, form_options, is_refusal
from holdfast.auth.provider import Carrier, fingerprint
from holdfast.auth.renewing import RenewingAuth, seconds
from holdfast.auth.tokens import NoToken, Token, bearer, secret_text
from holdfast.core.effects import FOREVER, Failed, Flow, Io, Job
from holdfast.exceptions import (
    APIStatusError,
    AuthenticationError,
    DeadlineExceededError,
    HoldfastError,
    MaxRetriesExceededError,
    ResponseError,
)
from holdfast.redaction import REDACTED, redact_url

__all__ = ["OAuth2ClientCredentials"]

_OWN_PARAMETERS = frozenset({"audience", "client_id", "client_secret", "grant_type", "scope"})
_CODE_LENGTH, _TEXT_LENGTH = 60, 200  # characters of the server's own words that a message repeats


class Posting(Protocol):
    """A client that token requests can be sent by, such as a `ResilientClient`."""

    def post(self, url: str, /, **options: Any) -> Any:
        """A call: awaitable, with a `result()` for sync code."""
        ...


class OAuth2ClientCredentials(RenewingAuth):
    """Bearer tokens from a token endpoint, for a client that acts on its own behalf (RFC 6749, section 4.4).

    A token serves all calls and is renewed before its ``expires_in``, by one call at a time; without ``expires_in``,
    when the server answers 401. Token requests are sent by the client whose calls need the token, with its retries,
    timeouts and circuit breaker, within the deadline of the call, and follow no redirect.

    Args:
        token_url: absolute http or https URL of the token endpoint.
        client_id: of the client.
        client_secret: of the client; a str, or a pydantic `SecretStr`.
        scope: what is asked for; a str with spaces, or a list. None leaves it to the server.
        audience: for servers that want to know whom the token is for. None sends none.
        client_authentication: ``"basic"`` sends id and secret in the Authorization header, which every server must
            understand; ``"post"`` in the form (RFC 6749, section 2.3.1).
        parameters: further parameters of the form.
        early: seconds before its end that a token is renewed; at most half of its life.
        client: sends the token requests in place of the calling client; stays yours to close.

    Raises:
        TypeError, ValueError: names the argument that is wrong.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: Any,
        *,
        scope: str | Sequence[str] | None = None,
        audience: str | None = None,
        client_authentication: Literal["basic", "post"] = "basic",
        parameters: Mapping[str, str] | None = None,
        early: float = 60.0,
        client: Posting | None = None,
    ) -> None:
        super().__init__(early)
        if client_authentication not in ("basic", "post"):
            raise ValueError(f"client_authentication must be 'basic' or 'post', not {client_authentication!r}")
        if client is not None and not callable(getattr(client, "post", None)):
            raise TypeError(f"client must be a ResilientClient, not {type(client).__name__}")
        self._url = _checked_url(token_url)
        self._id = secret_text("client_id", client_id)
        self._secret = secret_text("client_secret", client_secret)
        self._form = {"grant_type": "client_credentials", **_asked(scope, audience, parameters)}
        self._headers = {"Accept": "application/json"}
        self._client = client
        if client_authentication == "basic":
            pair = f"{quote_plus(self._id)}:{quote_plus(self._secret)}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            self._form |= {"client_id": self._id, "client_secret": self._secret}
        self.identity = fingerprint(self._url, self._id, self._secret, json.dumps(self._form, sort_keys=True))

    def fetch(self, job: Job, carrier: Carrier) -> Flow[Token | NoToken]:
        """See `RenewingAuth.fetch`."""
        began = carrier.now()
        if self._client is None:
            got = yield from carrier.post(job, self._url, self._form, self._headers)
        else:
            got = yield from self._by(self._client, job, carrier)
        return self._read(got, began) if isinstance(got, Answer) else self._failed(got)

    def _by(self, client: Posting, job: Job, carrier: Carrier) -> Flow[Answer | Undelivered]:
        """Sends the request by another client."""
        left = job.deadline - carrier.now()
        if left <= 0.0:
            return Undelivered(DeadlineExceededError("the deadline passed before that"), local=True)
        options = form_options(self._form, self._headers)
        if left < FOREVER:
            options["deadline"] = left
        send = _result if carrier.is_sync(job) else _call
        reply = yield Io(partial(send, client.post, self._url), options, job.deadline)
        if reply.__class__ is not Failed:
            return Answer(reply.status_code, reply.content)
        error = reply.error
        response = getattr(error, "response", None)
        if response is not None and is_refusal(response.status_code):
            return Answer(response.status_code, response.content)
        if carrier.now() >= job.deadline or isinstance(error, DeadlineExceededError):
            return Undelivered(DeadlineExceededError("the deadline passed meanwhile"), local=True)
        if not isinstance(error, HoldfastError):
            error = HoldfastError(f"{type(error).__name__}: {error}")
        return Undelivered(error, local=False)

    def _read(self, answer: Answer, began: float) -> Token | NoToken:
        """The token in an answer (RFC 6749, section 5.1), or what the answer says instead (section 5.2)."""
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError):
            found = None
        if answer.status not in (200, 201):
            return self._refused(answer.status, found if isinstance(found, dict) else {})
        if not isinstance(found, dict):
            return self._unusable("is no JSON object")
        kind = found.get("token_type", "bearer")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            return self._unusable(f"is a token of another type, {str(kind)[:_CODE_LENGTH]!r}")
        try:
            value = bearer("access_token", found.get("access_token"))
            told = found.get("expires_in")
            lifetime = FOREVER if told is None else _lifetime(told)
        except (TypeError, ValueError) as error:
            return self._unusable(f"cannot be used: {error}")
        return Token.lasting(value, began, lifetime, self._early)

    def _refused(self, status: int, found: Mapping[str, Any]) -> NoToken:
        code, text = (self._said(found.get(name), most) for name, most in _SAID)
        said = f" ({': '.join(part for part in (code, text) if part)})" if code or text else ""
        if status < 400:
            return NoToken(f"{self._place} answered {status}, which is no token", ResponseError)
        return NoToken(
            f"{self._place} answered {status}{said}. Check client_id, client_secret and what they may ask for",
            AuthenticationError if status in (400, 401, 403) else APIStatusError,
            details={"error": code, "error_description": text, "status_code": status},
        )

    def _unusable(self, why: str) -> NoToken:
        return NoToken(f"the answer of {self._place} {why}", ResponseError)

    def _failed(self, undelivered: Undelivered) -> NoToken:
        error = undelivered.error
        kind = next(
            one for one in type(error).__mro__ if "_parts" not in one.__dict__ and issubclass(one, HoldfastError)
        )
        if issubclass(kind, MaxRetriesExceededError):
            kind = HoldfastError
        cause = error.__cause__
        return NoToken(
            f"{self._place} could not be asked: {self._masked(str(error))}",
            kind,
            undelivered.local,
            foreign=type(cause) if isinstance(cause, Exception) else None,
            details={"status_code": error.status_code, "retry_after": error.retry_after},
        )

    @property
    def _place(self) -> str:
        return redact_url(self._url)

    def _said(self, value: Any, most: int) -> str | None:
        """The server's own words, on one line and without the secret."""
        if not isinstance(value, str) or not value.strip():
            return None
        line = self._masked(" ".join(value.split()))
        return line if len(line) <= most else line[: most - 1] + "…"

    def _masked(self, text: str) -> str:
        for secret in (self._secret, quote_plus(self._secret)):
            text = text.replace(secret, REDACTED)
        return text

    def __repr__(self) -> str:
        return f"<OAuth2ClientCredentials {self._place} client_id={self._id!r}>"


_SAID = (("error", _CODE_LENGTH), ("error_description", _TEXT_LENGTH))


def _call(post: Any, url: str, options: Mapping[str, Any]) -> Any:
    return post(url, **options)


def _result(post: Any, url: str, options: Mapping[str, Any]) -> Any:
    return post(url, **options).result()


def _lifetime(told: Any) -> float:
    """The seconds in ``expires_in``; some servers send them as text."""
    value = float(told) if isinstance(told, str) else told
    return seconds("expires_in", value, least=0.0, most=FOREVER)


def _checked_url(url: Any) -> str:
    if not isinstance(url, str):
        raise TypeError(f"token_url must be a str, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.fragment and parts.port != 0
        userinfo = parts.username is not None
    except ValueError:  # the port, or an address in brackets
        usable = userinfo = False
    if not usable:
        raise ValueError(f"token_url must be an absolute http or https URL without a fragment: {redact_url(url)!r}")
    if userinfo:
        raise ValueError("token_url carries credentials: give them as client_id and client_secret")
    return url


def _asked(scope: Any, audience: Any, parameters: Mapping[str, str] | None) -> dict[str, str]:
    """The parameters of the form that say what is asked for."""
    clash = _OWN_PARAMETERS & (parameters or {}).keys()
    if clash:
        raise ValueError(f"parameters contains {', '.join(sorted(clash))}, for which there are arguments")
    asked = dict(parameters or {})
    if scope:
        if not isinstance(scope, str):
            if not isinstance(scope, Sequence) or not all(isinstance(one, str) for one in scope):
                raise TypeError(f"scope must be a str or a list of str, not {scope!r}")
            scope = " ".join(scope)
        asked["scope"] = scope
    if audience is not None:
        asked["audience"] = audience
    for name, value in asked.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    return asked
